//! Compressing extents, here or on a thread of its own.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::codec::Compressor;

/// Extents that wait for the thread or for being written, at most: 8 MiB.
const QUEUE_MAX: usize = 32;

/// Where a pack's extents are compressed. The bytes written are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worker {
    /// In the thread that writes.
    None,
    /// In another thread, beside the one that reads and hashes.
    Thread,
}

/// An extent, in the order they were given: as it was, and compressed if that is smaller.
pub(super) struct Done<T> {
    pub(super) what: T,
    pub(super) raw: Vec<u8>,
    pub(super) compressed: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) enum Compressing<T> {
    Here { compressor: Compressor },
    There { thread: Thread, waiting: VecDeque<T> },
}

#[derive(Debug)]
pub(super) struct Thread {
    /// `None` only while it ends.
    jobs: Option<SyncSender<Vec<u8>>>,
    done: Receiver<(Vec<u8>, Option<Vec<u8>>)>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(handle) = self.handle.take() {
            // It only ever computes; a panic there shows as a missing result.
            let _ = handle.join();
        }
    }
}

impl<T> Compressing<T> {
    pub(super) fn new(worker: Worker) -> Compressing<T> {
        let started = match worker {
            Worker::None => None,
            Worker::Thread => Thread::start().ok(),
        };
        match started {
            Some(thread) => Compressing::There { thread, waiting: VecDeque::new() },
            None => Compressing::Here { compressor: Compressor::new() },
        }
    }

    /// Takes an extent and gives those that are done.
    pub(super) fn push(&mut self, what: T, raw: Vec<u8>) -> io::Result<Vec<Done<T>>> {
        match self {
            Compressing::Here { compressor } => {
                let compressed = compressor.compress(&raw);
                Ok(vec![Done { what, raw, compressed }])
            }
            Compressing::There { thread, waiting } => {
                let mut done = Vec::new();
                while waiting.len() >= QUEUE_MAX {
                    done.push(thread.wait(waiting)?);
                }
                while let Ok(next) = thread.done.try_recv() {
                    done.push(join(waiting, next));
                }
                waiting.push_back(what);
                let jobs = thread.jobs.as_ref().expect("it runs");
                jobs.send(raw).map_err(|_| died())?;
                Ok(done)
            }
        }
    }

    /// Gives what is left.
    pub(super) fn finish(self) -> io::Result<Vec<Done<T>>> {
        let Compressing::There { thread, mut waiting } = self else { return Ok(Vec::new()) };
        (0..waiting.len()).map(|_| thread.wait(&mut waiting)).collect()
    }
}

impl Thread {
    fn start() -> io::Result<Thread> {
        let (jobs, todo) = sync_channel::<Vec<u8>>(QUEUE_MAX);
        let (results, done) = sync_channel(QUEUE_MAX);
        let work = move || {
            let mut compressor = Compressor::new();
            for raw in todo {
                let compressed = compressor.compress(&raw);
                if results.send((raw, compressed)).is_err() {
                    break;
                }
            }
        };
        let handle = std::thread::Builder::new().name("compress".to_owned()).spawn(work)?;
        Ok(Thread { jobs: Some(jobs), done, handle: Some(handle) })
    }

    fn wait<T>(&self, waiting: &mut VecDeque<T>) -> io::Result<Done<T>> {
        let next = self.done.recv().map_err(|_| died())?;
        Ok(join(waiting, next))
    }
}

fn join<T>(waiting: &mut VecDeque<T>, (raw, compressed): (Vec<u8>, Option<Vec<u8>>)) -> Done<T> {
    let what = waiting.pop_front().expect("a result for each extent");
    Done { what, raw, compressed }
}

fn died() -> io::Error {
    io::Error::other("the thread that compresses has died")
}
