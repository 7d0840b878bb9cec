//! The output track of the branch that grows: blocks, written when there is enough for one.

use std::path::Path;
use std::sync::Arc;

use super::JournalError;
use super::files::DiskFile;
use super::paths::PathAt;
use crate::timeline::TrackPart;
use crate::track::{TrackItem, TrackWriter};

/// A track that grows.
#[derive(Debug)]
pub(super) struct TrackFile {
    file: DiskFile,
    writer: TrackWriter,
    /// What is before was folded.
    start: u64,
    end: u64,
}

impl TrackFile {
    /// Opens it with its first `end` bytes, of which those before `start` are gone; the rest is cut
    /// off.
    pub(super) fn open(path: &Path, start: u64, end: u64) -> Result<TrackFile, JournalError> {
        let file = if path.exists() { DiskFile::open(path)? } else { DiskFile::create(path)? };
        file.set_len(end)?;
        Ok(TrackFile { file, writer: TrackWriter::new(), start, end })
    }

    /// Adds an item.
    pub(super) fn push(&mut self, item: &TrackItem) -> Result<(), JournalError> {
        self.writer.push(item);
        if self.writer.is_full() { self.flush() } else { Ok(()) }
    }

    /// Writes what there is as a block.
    pub(super) fn flush(&mut self) -> Result<(), JournalError> {
        let block = self.writer.block();
        if block.is_empty() {
            return Ok(());
        }
        self.file.write_at(&block, self.end)?;
        self.end += block.len() as u64;
        self.writer.begin_block();
        Ok(())
    }

    /// Where what is there begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// What is before `start` is gone.
    pub(super) fn fold(&mut self, start: u64) {
        assert!((self.start..=self.end).contains(&start), "{start} is not in the track");
        self.start = start;
        self.file.punch(start);
    }

    /// Bytes that are written.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// What is written, to read.
    pub(super) fn part(&self) -> Option<TrackPart> {
        let source = Arc::new(PathAt::new(self.file.path(), self.end));
        let place = self.file.path().display().to_string().into();
        let (start, end) = (self.start, self.end);
        (end > start).then_some(TrackPart { source, place, start, end })
    }
}
