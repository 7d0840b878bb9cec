//! Rooms against a lab that speaks the real protocol over its real socket.

mod exactly_once;
#[path = "../../tests/api/frame.rs"]
mod frame;
mod lab;
mod past;
mod rights;
mod slow;
mod socket;
mod together;
mod views;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stackvm_catalog::SqliteCatalog;
use stackvm_machine::ConsoleId;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::grant::Grant;
use crate::protocol::{ClientMessage, InputNumber, OUTPUT_HEADER_BYTES, ServerMessage};
use crate::rights::Role;
use lab::{TestLab, make_machine};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

const OWNER: u8 = 0;
/// Who comes through the same link as this one is a driver; see [`grant_of`].
const ADA: u8 = 1;
const BOB: u8 = 2;
const EVE: u8 = 3;
const COMMENTER: u8 = 10;
const VIEWER: u8 = 20;

/// What person `who` may do: 0 is the owner, then drivers, from 10 on commenters, from 20 on
/// viewers.
fn grant_of(who: u8) -> Grant {
    let role = match who {
        OWNER => Role::Owner,
        1..10 => Role::Driver,
        10..20 => Role::Commenter,
        _ => Role::Viewer,
    };
    let id = format!("{:016x}", 0x100 + u64::from(who));
    Grant {
        session: id.parse().unwrap(),
        machine: "m".into(),
        name: format!("person {who}"),
        hue: who % 8,
        role,
        share: (who != OWNER).then(|| id.parse().unwrap()),
        past_from_ns: 0,
        past_from_unix_ms: 0,
        visit_of: None,
        expires_unix_ms: None,
    }
}

/// A name for a page of person `who`.
fn page_name(who: u8) -> String {
    format!("{who:032x}")
}

fn joining(who: u8) -> Joining {
    Joining { page: page_name(who), run: None, seen: BTreeMap::new(), chat: 0 }
}

/// A machine `m` that runs in a data directory of its own.
struct World {
    data: TempDir,
    catalog: Arc<SqliteCatalog>,
    rooms: Arc<Rooms>,
    lab: TestLab,
}

impl World {
    async fn new() -> World {
        let data = tempfile::tempdir().unwrap();
        make_machine(data.path(), "m");
        let lab = TestLab::start(data.path(), "m");
        let catalog = Arc::new(SqliteCatalog::open(&data.path().join("catalog")).await.unwrap());
        let rooms = rooms(data.path(), &catalog, "r1");
        let world = World { data, catalog, rooms, lab };
        world.until(MachineState::Running).await;
        world
    }

    /// Waits for a state of the machine.
    async fn until(&self, state: MachineState) {
        let mut changes = self.rooms.changes();
        let wait = async {
            while self.rooms.condition("m").state != state {
                let _ = timeout(Duration::from_millis(100), changes.recv()).await;
            }
        };
        let waited = timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("not {state:?} but {:?}", self.rooms.condition("m")));
    }

    async fn join(&self, who: u8) -> Guest {
        self.join_as(joining(who), grant_of(who)).await.unwrap()
    }

    async fn join_as(&self, joining: Joining, grant: Grant) -> Result<Guest, Gone> {
        Ok(Guest { page: self.rooms.join(joining, grant).await?, got: Vec::new(), number: 0 })
    }
}

fn rooms(data: &Path, catalog: &Arc<SqliteCatalog>, run: &str) -> Arc<Rooms> {
    Rooms::new(data.to_owned(), catalog.clone(), run.into()).unwrap()
}

/// Somebody at the machine, without a socket.
struct Guest {
    page: Page,
    got: Vec<Frame>,
    number: u64,
}

impl Guest {
    /// Takes what comes until `wanted` finds something in all that came.
    async fn until<T>(&mut self, wanted: impl Fn(&[Frame]) -> Option<T>) -> T {
        let wait = async {
            loop {
                let frames = self.page.next_frames();
                let is_current = frames.is_empty();
                self.got.extend(frames);
                if let Some(found) = wanted(&self.got) {
                    return found;
                }
                if is_current {
                    self.page.changed().await;
                }
            }
        };
        match timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("what was waited for is not in {:?}", self.got),
        }
    }

    /// Waits for a message.
    async fn message<T>(&mut self, wanted: impl Fn(&ServerMessage) -> Option<T>) -> T {
        let of_frame = |frame: &Frame| match frame {
            Frame::Message(message) => wanted(message),
            Frame::Terminal(_) => None,
        };
        self.until(|frames| frames.iter().rev().find_map(of_frame)).await
    }

    async fn hear(&mut self, message: ClientMessage) {
        self.page.hear(message).await.unwrap();
    }

    /// Types the next key.
    fn type_text(&mut self, text: &str) -> InputNumber {
        self.number += 1;
        let mut frame = vec![0];
        frame.extend_from_slice(&self.number.to_be_bytes());
        frame.extend_from_slice(text.as_bytes());
        self.page.hear_keys(&frame).unwrap();
        InputNumber(self.number)
    }

    /// Says that everything was drawn, and forgets what came.
    fn acknowledge(&mut self) {
        self.page.drawn(0, u64::MAX);
        self.got.clear();
    }

    /// Waits until all that was typed is applied or refused.
    async fn applied(&mut self, number: InputNumber) {
        self.message(|message| match message {
            ServerMessage::Applied { number: applied } if *applied >= number => Some(()),
            _ => None,
        })
        .await;
    }

    async fn refused(&mut self, number: InputNumber) -> crate::protocol::RefusedKey {
        self.message(|message| match message {
            ServerMessage::Refused { number: refused, reason } if *refused == number => {
                Some(*reason)
            }
            _ => None,
        })
        .await
    }

    /// Watches the first terminal; its picture is the number of bytes written before it.
    async fn watch(&mut self) -> (u64, String) {
        self.got.retain(|frame| matches!(frame, Frame::Message(_)));
        self.hear(ClientMessage::Watch { console: 0 }).await;
        self.picture().await
    }

    async fn picture(&mut self) -> (u64, String) {
        self.until(|frames| frames.iter().find_map(picture_of)).await
    }

    /// Waits for so many bytes of output; they follow each other without a gap.
    async fn output(&mut self, bytes: usize) -> Vec<u8> {
        self.until(|frames| {
            let output = output_of(frames);
            (output.len() >= bytes).then_some(output)
        })
        .await
    }
}

fn picture_of(frame: &Frame) -> Option<(u64, String)> {
    match frame {
        Frame::Terminal(bytes) if bytes[0] == 1 => {
            let position = u64::from_be_bytes(bytes[2..10].try_into().unwrap());
            Some((position, String::from_utf8(bytes[14..].to_vec()).unwrap()))
        }
        _ => None,
    }
}

/// All output among `frames`, which must be one piece from the last picture on.
fn output_of(frames: &[Frame]) -> Vec<u8> {
    let (mut output, mut next) = (Vec::new(), None);
    for frame in frames {
        match frame {
            Frame::Terminal(bytes) if bytes[0] == 0 => {
                let position = u64::from_be_bytes(bytes[2..10].try_into().unwrap());
                assert!(next.is_none_or(|next| next == position), "a gap before {position}");
                output.extend_from_slice(&bytes[OUTPUT_HEADER_BYTES..]);
                next = Some(position + (bytes.len() - OUTPUT_HEADER_BYTES) as u64);
            }
            frame => {
                if let Some((position, _)) = picture_of(frame) {
                    next = Some(position);
                }
            }
        }
    }
    output
}

/// A server that has just begun, or a machine that has just been started: nobody who asks something
/// of it then is told to ask again.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_waits_for_the_line_to_the_lab() {
    let world = World::new().await;
    world.lab.known().text = vec!["here".to_owned()];
    let rooms = rooms(world.data.path(), &world.catalog, "r2");
    let text = || rooms.command("m", Command::Text { console: ConsoleId::Hvc(0) });
    let reply = async {
        loop {
            match text().await {
                // It was not looked at yet.
                Err(RoomError::Off) => tokio::task::yield_now().await,
                reply => return reply,
            }
        }
    };
    let reply = timeout(PATIENCE, reply).await.unwrap();
    assert!(matches!(reply, Ok(Reply::Text { .. })), "{reply:?}");
}
