//! Each keystroke is applied exactly once, whatever is cut and whoever is killed.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::runtime::Runtime;

use super::*;
use crate::protocol::KeyboardMode;
use lab::Typed;
use socket::{Got, TestPage, TestServer};

const KEYS: u64 = 200;

/// Numbers that depend on a seed alone.
struct Random(u64);

impl Random {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).is_multiple_of(n)
    }
}

/// Types all keys as our page does: keeps what is not acknowledged, and sends it again.
async fn type_all(addr: impl Fn() -> SocketAddr, who: u8, mut random: Random) {
    let mut applied = 0;
    while applied < KEYS {
        let Some(mut page) = TestPage::try_open(addr(), who, &page_name(who)).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let mut next = None;
        loop {
            // Some keys are on their way while the page hears of others; where none is, there is
            // nothing to wait for.
            let is_waiting = |number: u64| number > applied + 1;
            let due = next.filter(|number| *number <= KEYS);
            if let Some(number) = due.filter(|it| !is_waiting(*it) || !random.one_in(3)) {
                if random.one_in(25) {
                    break;
                }
                let text = format!("{who}:{number};");
                if !page.type_key(InputNumber(number), text.as_bytes()).await {
                    break;
                }
                next = Some(number + 1);
                continue;
            }
            match page.next().await {
                Got::Message(ServerMessage::Welcome(welcome)) => {
                    applied = applied.max(welcome.applied.0);
                    next = Some(applied + 1);
                }
                Got::Message(ServerMessage::Applied { number }) => applied = applied.max(number.0),
                Got::Message(ServerMessage::Refused { number, reason }) => {
                    panic!("{who}: {number:?} was refused: {reason:?}");
                }
                Got::Closed => break,
                _ => {}
            }
            if applied >= KEYS || random.one_in(40) {
                break;
            }
        }
    }
}

/// All keys of all pages, once, in order within each page.
fn check_typed(typed: &[Typed], whose: &[u8]) {
    assert_eq!(typed.len(), whose.len() * KEYS as usize);
    for who in whose {
        let source = keys::source(grant_of(*who).session, &page_name(*who));
        let own: Vec<&Typed> = typed.iter().filter(|typed| typed.source == source).collect();
        for (number, typed) in (1..=KEYS).zip(&own) {
            assert_eq!(typed.number, number);
            assert_eq!(typed.bytes, format!("{who}:{number};").into_bytes());
        }
        assert_eq!(own.len(), KEYS as usize);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_lines_of_pages_and_labs_are_cut_at_random() {
    for seed in 1..=2 {
        let world = World::new().await;
        let mut owner = world.join(OWNER).await;
        owner.hear(ClientMessage::SetKeyboard { mode: KeyboardMode::Open, locked: false }).await;
        world.lab.known().hang_up_every = Some(50);
        let server = TestServer::start(world.rooms.clone()).await;
        let pages = [ADA, BOB, EVE].map(|who| {
            let random = Random(seed * 100 + u64::from(who));
            tokio::spawn(type_all(move || server.addr, who, random))
        });
        for page in pages {
            timeout(6 * PATIENCE, page).await.expect("all is typed in time").unwrap();
        }
        check_typed(&world.lab.known().typed, &[ADA, BOB, EVE]);
    }
}

/// A server that can be killed: everything it has runs in a runtime of its own.
struct Killable {
    runtime: Runtime,
    addr: SocketAddr,
}

impl Killable {
    fn start(data: &Path, run: usize) -> Killable {
        let runtime = Runtime::new().unwrap();
        let addr = runtime.block_on(async {
            let catalog = SqliteCatalog::open(&data.join("catalog")).await.unwrap();
            let rooms = rooms(data, &Arc::new(catalog), &format!("r{run}"));
            TestServer::start(rooms).await.addr
        });
        Killable { runtime, addr }
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

#[test]
fn when_the_server_is_killed_again_and_again() {
    let data = tempfile::tempdir().unwrap();
    make_machine(data.path(), "m");
    let lab = TestLab::start(data.path(), "m");
    let mut server = Killable::start(data.path(), 0);
    let addr = Arc::new(Mutex::new(server.addr));
    let client = Runtime::new().unwrap();
    let pages = [ADA, BOB].map(|who| {
        let addr = addr.clone();
        client.spawn(type_all(move || *addr.lock().unwrap(), who, Random(u64::from(who))))
    });
    for run in 1..=6 {
        let due = run * 60;
        let start = Instant::now();
        while lab.known().typed.len() < due {
            assert!(start.elapsed() < PATIENCE, "only {} keys", lab.known().typed.len());
            std::thread::yield_now();
        }
        server.kill();
        server = Killable::start(data.path(), run);
        *addr.lock().unwrap() = server.addr;
    }
    for page in pages {
        let typed = client.block_on(async { timeout(6 * PATIENCE, page).await });
        typed.expect("all is typed in time").unwrap();
    }
    check_typed(&lab.known().typed, &[ADA, BOB]);
    server.kill();
}
