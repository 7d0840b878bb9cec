//! Recordings as files: a `.vmcast`, and the journal beside it while it grows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use stackvm_timeline::Timeline;
use stackvm_timeline::journal::{EndedJournal, JournalError};
use stackvm_timeline::vmcast::{self, Keyframes, WriteError};
use tokio::sync::mpsc;

use crate::failure::failure;
use crate::progress::Progress;
use crate::session::{Signal, Signals};
use crate::values::show_bytes;
use crate::work::Interrupted;

/// Writing that takes longer than this shows its progress.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the process that wrote a recording may take to be gone.
const WRITER_END_LIMIT: Duration = Duration::from_secs(5);
/// Cells in the bar.
const BAR_CELLS: usize = 24;

/// The folder of a recording that grows.
pub(crate) fn journal_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".journal");
    PathBuf::from(name)
}

/// How this program names itself to others that want to write a recording it has.
pub(crate) fn owner(command: &str) -> String {
    format!("`stackvm {command}`, process {}", std::process::id())
}

/// The absolute path of a file that may not be there yet, in a folder that is.
pub(crate) fn absolute(file: &Path) -> Result<PathBuf> {
    let name = file.file_name().ok_or_else(|| anyhow!("{} is no file", file.display()))?;
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = folder
        .canonicalize()
        .with_context(|| format!("the folder {} cannot be used", folder.display()))?;
    Ok(folder.join(name))
}

/// The absolute path of a recording's file; its journal may be named instead.
pub(crate) fn named(file: &Path) -> Result<PathBuf> {
    let is_journal = file.extension().is_some_and(|extension| extension == "journal");
    absolute(&if is_journal { file.with_extension("") } else { file.to_owned() })
}

/// What is there of a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// A finished file.
    File,
    /// A journal: it grows right now, its process died, or a player has added branches that are
    /// not in the file yet.
    Journal,
}

/// Where the newest state of the recording `file` is: its journal, if there is one.
pub(crate) fn newest(file: &Path) -> Result<(Found, PathBuf)> {
    let journal = journal_of(file);
    if journal.is_dir() {
        return Ok((Found::Journal, journal));
    }
    if file.is_file() {
        return Ok((Found::File, file.to_owned()));
    }
    Err(failure(
        format!("there is no recording {}", file.display()),
        "`stackvm record IMAGE -o FILE` makes one",
    ))
}

/// Opens a recording as it is now, without writing it.
pub(crate) fn open(file: &Path) -> Result<Timeline> {
    Ok(Timeline::open(&newest(&named(file)?)?.1)?)
}

/// Writes the timeline in the journal `folder` to `file`, with progress if it takes long, reads it
/// back and removes the journal. When that fails or is interrupted the journal is as it was.
pub(crate) async fn finish(folder: &Path, file: &Path, signals: &mut Signals) -> Result<()> {
    let (reports, receiver) = mpsc::unbounded_channel();
    // It may be a link to where a sandboxed machine could write it.
    let from = folder.canonicalize().with_context(|| kept(file))?;
    let to = file.to_owned();
    let cancel = Arc::new(AtomicBool::new(false));
    let cancelled = cancel.clone();
    let task = tokio::task::spawn_blocking(move || {
        // Nobody may add to it meanwhile.
        let journal = ended(&from)?;
        let mut progress = |done: u64, total: u64| {
            // Who does not listen any more has cancelled.
            let _ = reports.send((done, total));
            !cancelled.load(Ordering::Relaxed)
        };
        vmcast::write(journal.timeline(), &to, Keyframes::All, &mut progress)?;
        Timeline::open(&to).context("the file does not read back")?;
        journal.remove()?;
        Ok::<(), anyhow::Error>(())
    });
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let interrupted = watch(receiver, &name, signals, &cancel, &task).await;
    let result = task.await?;
    if result.is_ok() && folder.is_symlink() {
        // It leads nowhere any more, and neither is that any harm.
        let _ = std::fs::remove_file(folder);
    }
    match (result, interrupted) {
        (Err(error), Some(signal)) if is_cancelled(&error) => {
            Err(anyhow::Error::new(Interrupted(signal)).context(kept(file)))
        }
        (result, _) => result.with_context(|| kept(file)),
    }
}

/// The journal of a machine that has just ended: its process may take a moment to be gone.
fn ended(folder: &Path) -> Result<EndedJournal, JournalError> {
    let start = Instant::now();
    loop {
        match EndedJournal::open(folder, &owner("record")) {
            Err(JournalError::Locked { .. }) if start.elapsed() < WRITER_END_LIMIT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn kept(file: &Path) -> String {
    format!("the recording is not in {} yet; it is complete beside it", file.display())
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(WriteError::Cancelled))
}

/// Shows progress until the task is done; the signal that interrupted it, if one did.
async fn watch(
    mut reports: mpsc::UnboundedReceiver<(u64, u64)>,
    name: &str,
    signals: &mut Signals,
    cancel: &AtomicBool,
    task: &tokio::task::JoinHandle<Result<()>>,
) -> Option<Signal> {
    let (start, mut progress, mut interrupted) = (Instant::now(), Progress::new(), None);
    while !task.is_finished() {
        tokio::select! {
            report = reports.recv() => match report {
                Some((done, total)) if start.elapsed() >= PATIENCE => {
                    progress.redraw(&line(name, done, total));
                }
                Some(_) => {}
                None => return interrupted,
            },
            signal = signals.next_end() => {
                progress.redraw("stopping …");
                cancel.store(true, Ordering::Relaxed);
                interrupted = Some(signal);
            }
        }
    }
    interrupted
}

fn line(name: &str, done: u64, total: u64) -> String {
    let part = |whole: u64| (done.min(total) * whole).checked_div(total).unwrap_or(whole);
    let cells = part(BAR_CELLS as u64) as usize;
    let bar = format!("{}{}", "━".repeat(cells), "─".repeat(BAR_CELLS - cells));
    let (percent, done, total) = (part(100), show_bytes(done), show_bytes(total));
    format!("writing {name}  {bar} {percent}%  {done} of {total}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_bytes_and_a_bar() {
        let check = |done, total, cells: usize, rest: &str| {
            let bar = format!("{}{}", "━".repeat(cells), "─".repeat(24 - cells));
            assert_eq!(line("a.vmcast", done, total), format!("writing a.vmcast  {bar} {rest}"));
        };
        check(26_000_000, 52_000_000, 12, "50%  26.0 MB of 52.0 MB");
        check(60_000_000, 52_000_000, 24, "100%  60.0 MB of 52.0 MB");
        check(0, 0, 24, "100%  0 bytes of 0 bytes");
    }

    #[test]
    fn the_journal_is_beside_its_file() {
        assert_eq!(journal_of(Path::new("a/b.vmcast")), Path::new("a/b.vmcast.journal"));
    }
}
