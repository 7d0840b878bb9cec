//! Work that takes a while, on a thread of its own: its progress is shown, and Ctrl-C makes it
//! stop and clean up instead of tearing it off.

use std::fmt;

use anyhow::{Result, anyhow};
use stackvm_images::{Cancel, Progress as Report};
use tokio::sync::mpsc;

use crate::progress::Progress;
use crate::session::{Signal, Signals};

/// The work was called off by a signal, and nothing half-done is left.
#[derive(Debug)]
pub(crate) struct Interrupted(pub(crate) Signal);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; nothing half-done is left")
    }
}

impl std::error::Error for Interrupted {}

/// Does `work` with a line of progress; a signal cancels it.
pub(crate) async fn with_progress<T, F>(signals: &mut Signals, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&mut dyn FnMut(Report), &Cancel) -> Result<T> + Send + 'static,
{
    let cancel = Cancel::default();
    let (sender, mut reports) = mpsc::unbounded_channel::<Report>();
    let mut task = tokio::task::spawn_blocking({
        let cancel = cancel.clone();
        move || {
            let mut sink = |report| {
                // Nobody listens any more: the work will be told through `cancel`.
                let _ = sender.send(report);
            };
            work(&mut sink, &cancel)
        }
    });
    let mut progress = Progress::new();
    let mut interrupted = None;
    let result = loop {
        tokio::select! {
            result = &mut task => break result,
            Some(report) = reports.recv() => progress.update(&report),
            signal = signals.next_end() => {
                progress.redraw("stopping …");
                cancel.cancel();
                interrupted = Some(signal);
            }
        }
    };
    drop(progress);
    match (result, interrupted) {
        (Ok(Ok(value)), _) => Ok(value),
        (_, Some(signal)) => Err(Interrupted(signal).into()),
        (Ok(Err(error)), None) => Err(error),
        (Err(panic), None) => Err(anyhow!("the work failed: {panic}")),
    }
}
