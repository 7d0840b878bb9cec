//! Compressing extents, here or on threads of their own.

use std::collections::VecDeque;
use std::io;

use super::codec::Compressor;
use crate::pool::Pool;

/// Extents that wait for each thread or for being written, at most: 2 MiB.
const QUEUE_MAX: usize = 8;

/// Where a pack's extents are compressed. The bytes written are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worker {
    /// In the thread that writes.
    None,
    /// In others, one for each processor.
    Threads,
}

/// An extent, in the order they were given: as it was, and compressed if that is smaller.
pub(super) struct Done<T> {
    pub(super) what: T,
    pub(super) bytes: Compressed,
}

/// Room for an extent before and after compression, which is used again and again.
#[derive(Debug, Default)]
pub(super) struct Compressed {
    pub(super) raw: Vec<u8>,
    stored: Vec<u8>,
    is_smaller: bool,
}

impl Compressed {
    /// What is stored, if that is not what it was.
    pub(super) fn compressed(&self) -> Option<&[u8]> {
        self.is_smaller.then_some(&self.stored)
    }

    fn compress(mut self, compressor: &mut Compressor) -> Compressed {
        self.is_smaller = compressor.compress_into(&self.raw, &mut self.stored);
        self
    }
}

#[derive(Debug)]
pub(super) enum Compressing<T> {
    Here { compressor: Compressor },
    There { pool: Pool<Compressed, Compressed>, waiting: VecDeque<T> },
}

impl<T> Compressing<T> {
    pub(super) fn new(worker: Worker) -> Compressing<T> {
        let work = || {
            let mut compressor = Compressor::new();
            move |bytes: Compressed| bytes.compress(&mut compressor)
        };
        let started = match worker {
            Worker::None => None,
            Worker::Threads => Pool::start("compress", QUEUE_MAX, work).ok(),
        };
        match started {
            Some(pool) => Compressing::There { pool, waiting: VecDeque::new() },
            None => Compressing::Here { compressor: Compressor::new() },
        }
    }

    /// Takes an extent's raw bytes, and gives one that is done if it is time to write one.
    pub(super) fn push(&mut self, what: T, bytes: Compressed) -> io::Result<Option<Done<T>>> {
        match self {
            Compressing::Here { compressor } => {
                Ok(Some(Done { what, bytes: bytes.compress(compressor) }))
            }
            Compressing::There { pool, waiting } => {
                let done = if pool.is_full() { take(pool, waiting)? } else { None };
                waiting.push_back(what);
                pool.push(bytes)?;
                Ok(done)
            }
        }
    }

    /// Gives the next one of those that are left.
    pub(super) fn finish(&mut self) -> io::Result<Option<Done<T>>> {
        match self {
            Compressing::Here { .. } => Ok(None),
            Compressing::There { pool, waiting } => take(pool, waiting),
        }
    }
}

fn take<T>(
    pool: &mut Pool<Compressed, Compressed>,
    waiting: &mut VecDeque<T>,
) -> io::Result<Option<Done<T>>> {
    let Some(bytes) = pool.take().transpose()? else { return Ok(None) };
    let what = waiting.pop_front().expect("what each result is of");
    Ok(Some(Done { what, bytes }))
}
