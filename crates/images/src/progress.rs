//! How long work tells what it does, and how it is told to stop.
//!
//! It owns no presentation: bars, lines and pages are the caller's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use thiserror::Error;

/// What kind of work is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Another process builds an image in the same data directory.
    Waiting,
    /// apt reads the mirror's package lists.
    Lists,
    /// apt fetches packages.
    Download,
    /// Packages are unpacked on the host.
    Unpack,
    /// The guest installs packages inside the machine.
    Install,
    /// The image's files are hashed and put in place.
    Save,
    /// A bundle is read.
    Import,
    /// A bundle is written.
    Export,
    /// What is there is read and hashed.
    Check,
    /// What later starts begin from is made.
    Prepare,
}

impl Phase {
    /// The phase in a word or two, for people.
    pub fn label(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Lists => "package lists",
            Phase::Download => "download",
            Phase::Unpack => "unpack",
            Phase::Install => "install",
            Phase::Save => "save",
            Phase::Import => "import",
            Phase::Export => "export",
            Phase::Check => "check",
            Phase::Prepare => "preparing",
        }
    }
}

/// One report of progress.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Progress {
    /// What kind of work.
    pub phase: Phase,
    /// Units done so far: bytes, or hundredths of a percent in [`Phase::Install`].
    pub done_bytes: Option<u64>,
    /// Units altogether, when known.
    pub total_bytes: Option<u64>,
    /// The present step, for people; lower case, without a full stop.
    pub message: String,
}

impl Progress {
    /// How much is done, in whole percent, when that is known.
    pub fn percent(&self) -> Option<u8> {
        let (done, total) = (self.done_bytes?, self.total_bytes?);
        let percent = u128::from(done.min(total)) * 100 / u128::from(total.max(1));
        Some(u8::try_from(percent).expect("at most 100"))
    }
}

/// Work was told to stop, and stopped; nothing half-done is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("cancelled")]
pub struct Cancelled;

/// A handle that tells work to stop. Clones tell the same work.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Tells the work to stop. Safe to call from any thread, any number of times.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work was told to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for a signal handler that can only store to an atomic.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// # Errors
    /// [`Cancelled`] once the work was told to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}

/// A piece of work's line to whoever waits for it: reports out, cancellation in.
pub struct Job<'a> {
    sink: &'a mut dyn FnMut(Progress),
    cancel: &'a Cancel,
}

impl<'a> Job<'a> {
    /// Work that reports to `sink` and obeys `cancel`.
    pub fn new(sink: &'a mut dyn FnMut(Progress), cancel: &'a Cancel) -> Job<'a> {
        Job { sink, cancel }
    }

    /// Reports a step of unknown size.
    pub fn say(&mut self, phase: Phase, message: impl Into<String>) {
        let message = message.into();
        (self.sink)(Progress { phase, done_bytes: None, total_bytes: None, message });
    }

    /// Reports how far a step of known size is.
    pub fn advance(&mut self, phase: Phase, done: u64, total: u64, message: impl Into<String>) {
        let message = message.into();
        (self.sink)(Progress { phase, done_bytes: Some(done), total_bytes: Some(total), message });
    }

    /// # Errors
    /// [`Cancelled`] once the work was told to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.cancel.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_whole_and_never_above_a_hundred() {
        let check = |done, total, expected| {
            let message = String::new();
            let progress =
                Progress { phase: Phase::Save, done_bytes: done, total_bytes: total, message };
            assert_eq!(progress.percent(), expected);
        };
        check(Some(1), Some(3), Some(33));
        check(Some(9), Some(3), Some(100));
        check(Some(0), Some(0), Some(0));
        check(None, Some(3), None);
        check(Some(u64::MAX), Some(u64::MAX), Some(100));
    }
}
