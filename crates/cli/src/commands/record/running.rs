//! Recording a machine that runs already: from now on, until Ctrl-C or until it stops.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use stackvm_host::protocol::{Command, Event, RecordingAction, Reply, State, Tag};

use super::Recording;
use crate::commands::{machine, machines, settle};
use crate::people;
use crate::progress::Progress;
use crate::session::{Link, Signals, message};
use crate::values::show_bytes;

/// How often the line is rewritten.
const REDRAW: Duration = Duration::from_millis(500);

const TAG_RECORD: u32 = 1;
const TAG_END: u32 = 2;
const TAG_NAME: u32 = 3;

/// Records the machine `name`.
pub(super) async fn run(name: &str, recording: Recording, signals: &mut Signals) -> Result<u8> {
    let machines = machines()?;
    let id = &machine(&machines, name)?.spec.name;
    let annex = machines.info(id)?.annex.map(|annex| machines.annex(&annex)).transpose()?;
    let journal = recording.grow_in(annex.as_deref())?;
    let mut link = Link::connect(&machines.socket(id)).await?;
    send(&link, TAG_NAME, Command::Name { name: people::user() }).await;
    send(&link, TAG_RECORD, Command::Record { journal: journal.clone() }).await;
    let mut progress = Progress::new();
    let (start, mut redraw) = (Instant::now(), tokio::time::interval(REDRAW));
    let mut ending = false;
    loop {
        tokio::select! {
            event = link.events.recv() => match event {
                Some(Event::Reply { tag: Tag(TAG_RECORD), reply: Reply::Failed { message } }) => {
                    recording.forget();
                    return Err(anyhow!(message));
                }
                Some(Event::Reply { tag: Tag(TAG_RECORD), .. }) => {
                    progress.erase();
                    eprintln!("recording {name}; Ctrl-C ends the recording, not the machine");
                }
                Some(Event::Reply { tag: Tag(TAG_END), reply }) => {
                    drop(progress);
                    recording.finish(signals).await?;
                    return match reply {
                        Reply::Failed { message } => Err(anyhow!(message)),
                        _ => Ok(0),
                    };
                }
                Some(Event::State(State::Stalled { reason })) => {
                    progress.erase();
                    eprintln!("machine {name} waits: {reason}");
                }
                Some(Event::Notice { message }) => {
                    progress.erase();
                    eprintln!("{message}");
                }
                Some(_) => {}
                // The machine has stopped, and with it the recording has ended.
                None => {
                    drop(progress);
                    settle(&machines, id).await;
                    recording.finish(signals).await?;
                    return Ok(0);
                }
            },
            _ = signals.next_end(), if !ending => {
                ending = true;
                let action = RecordingAction::End;
                let command = Command::Recording { journal: journal.clone(), action };
                send(&link, TAG_END, command).await;
            }
            _ = redraw.tick() => progress.redraw(&line(name, start.elapsed(), &journal)),
        }
    }
}

async fn send(link: &Link, tag: u32, command: Command) {
    // A lab that is gone ends its events, which is seen soon.
    if let Some(room) = link.commands.room().await {
        room.send(message(tag, command));
    }
}

fn line(name: &str, elapsed: Duration, journal: &std::path::Path) -> String {
    let seconds = elapsed.as_secs();
    let size = show_bytes(folder_bytes(journal));
    format!("recording {name}  {}:{:02}  {size}  Ctrl-C ends it", seconds / 60, seconds % 60)
}

/// Bytes of the files in a folder; what cannot be seen counts nothing.
fn folder_bytes(folder: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}
