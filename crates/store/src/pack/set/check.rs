//! Whole packs, checked on all processors.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stackvm_machine::digest::Digest;

use super::PackSet;
use crate::chunks::ReadError;
use crate::pack::read::PagesCheck;

impl PackSet {
    /// Hashes every chunk of pack `number`, on as many threads as there are processors; returns
    /// those that are damaged. Extents are read once and decompressed once.
    pub fn check_all(&self, number: usize) -> Vec<(Digest, ReadError)> {
        let pack = Arc::clone(&self.packs()[number]);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut damaged = Vec::new();
            let mut check = PagesCheck::new(&pack);
            loop {
                let extent = next.fetch_add(1, Ordering::Relaxed);
                let Some(chunks) = pack.chunks_of(extent) else { return damaged };
                if !check.is_whole(extent as u32, &chunks) {
                    damaged.extend(self.check(number, chunks));
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(8)).map(|_| scope.spawn(work)).collect();
            let mut damaged = work();
            for other in others {
                damaged.extend(other.join().expect("hashing does not panic"));
            }
            damaged.sort_by_key(|(id, _)| *id);
            damaged
        })
    }
}
