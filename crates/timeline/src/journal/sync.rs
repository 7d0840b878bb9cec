//! Making a log safe against a power loss, in this thread or behind its back.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::JournalError;
use super::files::DiskFile;
use super::tail::Tail;

/// What is to be made safe.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) log: DiskFile,
    pub(super) tail_file: DiskFile,
    pub(super) tail: Tail,
    /// Where the safe slot goes.
    pub(super) slot: u64,
    /// What was written to the log since it was last safe: after a failed sync the host may have
    /// dropped it.
    pub(super) writes: Vec<(u64, Vec<u8>)>,
    /// A sync has failed: the writes are made again first.
    pub(super) again: bool,
}

/// A job that failed: nothing of it is safe.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) job: Job,
    pub(super) error: JournalError,
}

/// What came of a job: how far the log is safe, or not.
pub(super) type Outcome = Result<Tail, Box<Failed>>;

impl Job {
    /// Does it.
    pub(super) fn run(mut self) -> Outcome {
        match self.try_run() {
            Ok(()) => Ok(self.tail),
            Err(error) => {
                self.again = true;
                Err(Box::new(Failed { job: self, error }))
            }
        }
    }

    fn try_run(&self) -> Result<(), JournalError> {
        if self.again {
            for (offset, bytes) in &self.writes {
                self.log.write_at(bytes, *offset)?;
            }
        }
        self.log.sync()?;
        self.tail_file.write_at(&self.tail.to_slot(), self.slot)?;
        self.tail_file.sync()
    }
}

/// A thread that makes one log safe: begun when there is something to do, ended when it is done.
#[derive(Debug, Default)]
pub(super) struct Background {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    outcome: Option<Outcome>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Background {
    /// Whether a job is being done, or its outcome was not taken.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.shared.lock();
        state.running || state.outcome.is_some()
    }

    /// Begins a job.
    pub(super) fn begin(&self, job: Job) {
        assert!(!self.is_busy(), "one job at a time");
        self.shared.lock().running = true;
        let shared = self.shared.clone();
        let mut job = Some(job);
        let (hand_over, take) = std::sync::mpsc::sync_channel::<Job>(1);
        let spawned =
            std::thread::Builder::new().name("journal-sync".to_owned()).spawn(move || {
                let Ok(job) = take.recv() else { return };
                let outcome = job.run();
                let mut state = shared.lock();
                state.outcome = Some(outcome);
                state.running = false;
                shared.done.notify_all();
            });
        let job = job.take().expect("it was just put there");
        if spawned.is_ok() {
            hand_over.send(job).expect("the thread waits for it");
        } else {
            let outcome = job.run();
            let mut state = self.shared.lock();
            state.outcome = Some(outcome);
            state.running = false;
        }
    }

    /// The outcome of the job, if it is done.
    pub(super) fn take(&self) -> Option<Outcome> {
        self.shared.lock().outcome.take()
    }

    /// Waits until no job is being done.
    pub(super) fn wait(&self) -> Option<Outcome> {
        let mut state = self.shared.lock();
        while state.running {
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.outcome.take()
    }
}
