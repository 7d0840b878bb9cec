//! Appending to the log of the branch that grows.

use std::path::Path;

use stackvm_machine::Instant;

use super::JournalError;
use super::files::DiskFile;
use super::read::FoundTail;
use super::sync::{Background, Job, Outcome};
use super::tail::{TAIL_BYTES, Tail};
use crate::event::Entry;
use crate::limits::LOG_BLOCK_BYTES;
use crate::log::{BLOCK_HEADER_BYTES, BlockHeader, Encoder};

/// Bytes that may be unsynced before an append syncs by itself.
const UNSYNCED_BYTES_MAX: usize = 8 << 20;

/// The log of a branch and its tail, open for writing.
#[derive(Debug)]
pub(super) struct LogFiles {
    log: DiskFile,
    tail_file: DiskFile,
    tail: Tail,
    encoder: Encoder,
    crc: crc32fast::Hasher,
    /// Blocks that were closed since it was opened: where their entries begin.
    closed: Vec<(u64, BlockHeader)>,
    /// How far it is safe against a power loss.
    safe: Tail,
    safe_slot: u64,
    unsynced: Vec<(u64, Vec<u8>)>,
    unsynced_bytes: usize,
    write_again: bool,
    background: Background,
}

impl LogFiles {
    /// Makes the files of a branch with `first_entry` entries elsewhere that has come to `reached`.
    /// They are safe when this returns, but for their names.
    pub(super) fn create(
        log: &Path,
        tail: &Path,
        first_entry: u64,
        reached: Instant,
    ) -> Result<LogFiles, JournalError> {
        let state = Tail { first_entry, reached, ..Tail::default() };
        let log = DiskFile::create(log)?;
        let tail_file = DiskFile::create(tail)?;
        // Its whole length, so that overwriting needs no space.
        tail_file.write_at(&[0; TAIL_BYTES as usize], 0)?;
        tail_file.write_at(&state.to_slot(), state.live_offset())?;
        tail_file.write_at(&state.to_slot(), Tail::safe_offset(0))?;
        log.sync()?;
        tail_file.sync()?;
        Ok(LogFiles::new(log, tail_file, state, Encoder::new(), 1))
    }

    /// Opens the files of a branch at the end that was found.
    pub(super) fn open(
        log: &Path,
        tail: &Path,
        found: &FoundTail,
    ) -> Result<LogFiles, JournalError> {
        let state = found.tail;
        assert_eq!(found.block.len(), state.bytes as usize, "the block that was found");
        let encoder = found.last.map_or(Encoder::new(), |(at, actor)| Encoder::after(at, actor));
        let (log, tail_file) = (DiskFile::open(log)?, DiskFile::open(tail)?);
        let mut files = LogFiles::new(log, tail_file, state, encoder, found.safe_slot);
        files.crc.update(&found.block);
        // What was found may not have been safe, and slots that speak of more must not come back.
        let end = state.block_start + BLOCK_HEADER_BYTES as u64 + u64::from(state.bytes);
        files.log.set_len(end)?;
        files.log.sync()?;
        let sequence = state.sequence + 2;
        for sequence in [sequence, sequence + 1] {
            let tail = Tail { sequence, ..state };
            files.tail_file.write_at(&tail.to_slot(), tail.live_offset())?;
            files.tail = tail;
        }
        files.sync()?;
        Ok(files)
    }

    fn new(
        log: DiskFile,
        tail_file: DiskFile,
        tail: Tail,
        encoder: Encoder,
        safe_slot: u64,
    ) -> LogFiles {
        LogFiles {
            log,
            tail_file,
            tail,
            encoder,
            crc: crc32fast::Hasher::new(),
            closed: Vec::new(),
            safe: tail,
            safe_slot,
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            write_again: false,
            background: Background::default(),
        }
    }

    pub(super) fn tail(&self) -> Tail {
        self.tail
    }

    pub(super) fn log_path(&self) -> &Path {
        self.log.path()
    }

    /// Blocks that were closed since it was opened.
    pub(super) fn closed(&self) -> &[(u64, BlockHeader)] {
        &self.closed
    }

    /// The open block, if it has entries.
    pub(super) fn open_block(&self) -> Option<(u64, BlockHeader)> {
        (self.tail.entries > 0).then(|| open_block(&self.tail))
    }

    /// Writes an entry: its bytes, then a slot that speaks of them. If either fails, nothing has
    /// changed, and the same again is the same.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        if self.unsynced_bytes > UNSYNCED_BYTES_MAX {
            self.sync()?;
        }
        let mut next = self.tail;
        let mut encoder = self.encoder;
        let mut crc = self.crc.clone();
        let mut closed = None;
        let mut bytes = Vec::new();
        encoder.encode(entry, &mut bytes);
        if next.entries > 0 && next.bytes as usize + bytes.len() > LOG_BLOCK_BYTES {
            let block = open_block(&next);
            closed = Some(block);
            self.log.write_at(&block.1.to_bytes(), next.block_start)?;
            next.block_start += BLOCK_HEADER_BYTES as u64 + u64::from(next.bytes);
            next.first_entry += u64::from(next.entries);
            (next.bytes, next.entries) = (0, 0);
            crc = crc32fast::Hasher::new();
            encoder = Encoder::new();
            bytes.clear();
            encoder.encode(entry, &mut bytes);
        }
        if next.entries == 0 {
            next.first_at = entry.at;
        }
        let offset = next.block_start + BLOCK_HEADER_BYTES as u64 + u64::from(next.bytes);
        self.log.write_at(&bytes, offset)?;
        crc.update(&bytes);
        next.bytes += bytes.len() as u32;
        next.crc = crc.clone().finalize();
        next.entries += 1;
        next.reached = next.reached.max(entry.at);
        self.write_slot(next)?;
        (self.encoder, self.crc) = (encoder, crc);
        if let Some((payload, header)) = closed {
            self.closed.push((payload, header));
            self.note_write(payload - BLOCK_HEADER_BYTES as u64, header.to_bytes().to_vec());
        }
        self.note_write(offset, bytes);
        Ok(())
    }

    /// Notes how far the machine was shown, in place.
    pub(super) fn reach(&mut self, at: Instant) -> Result<(), JournalError> {
        if at <= self.tail.reached {
            return Ok(());
        }
        self.write_slot(Tail { reached: at, ..self.tail })
    }

    /// Writes the other live slot, which becomes the one that counts.
    fn write_slot(&mut self, mut next: Tail) -> Result<(), JournalError> {
        next.sequence = self.tail.sequence + 1;
        self.tail_file.write_at(&next.to_slot(), next.live_offset())?;
        self.tail = next;
        Ok(())
    }

    fn note_write(&mut self, offset: u64, bytes: Vec<u8>) {
        self.unsynced_bytes += bytes.len();
        match self.unsynced.last_mut() {
            Some((start, last)) if *start + last.len() as u64 == offset => last.extend(bytes),
            _ => self.unsynced.push((offset, bytes)),
        }
    }

    /// Bytes up to its end.
    pub(super) fn bytes(&self) -> u64 {
        let (payload, header) = open_block(&self.tail);
        payload + u64::from(header.bytes)
    }

    /// What is before a byte, at which a block begins, is gone.
    pub(super) fn fold(&mut self, start: u64) {
        self.closed.retain(|(payload, _)| *payload > start);
        self.log.punch(start);
    }

    /// Whether everything written is safe against a power loss.
    pub(super) fn is_safe(&self) -> bool {
        self.safe.sequence == self.tail.sequence
    }

    /// Makes everything written safe.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        if let Some(outcome) = self.background.wait() {
            // Another try follows; what failed is written again.
            let _ = self.note_outcome(outcome);
        }
        if self.is_safe() {
            return Ok(());
        }
        let outcome = self.job().run();
        self.note_outcome(outcome)
    }

    /// Begins to make what was written safe. An earlier failure is tried again.
    pub(super) fn sync_in_background(&mut self) {
        if let Some(outcome) = self.background.take() {
            let _ = self.note_outcome(outcome);
        }
        if !self.is_safe() && !self.background.is_busy() {
            let job = self.job();
            self.background.begin(job);
        }
    }

    fn job(&mut self) -> Job {
        self.unsynced_bytes = 0;
        Job {
            log: self.log.clone(),
            tail_file: self.tail_file.clone(),
            tail: self.tail,
            slot: Tail::safe_offset(self.safe_slot),
            writes: std::mem::take(&mut self.unsynced),
            again: self.write_again,
        }
    }

    fn note_outcome(&mut self, outcome: Outcome) -> Result<(), JournalError> {
        match outcome {
            Ok(tail) => {
                self.safe = tail;
                self.safe_slot += 1;
                self.write_again = false;
                Ok(())
            }
            Err(failed) => {
                let newer = std::mem::replace(&mut self.unsynced, failed.job.writes);
                self.unsynced.extend(newer);
                self.unsynced_bytes = self.unsynced.iter().map(|(_, bytes)| bytes.len()).sum();
                self.write_again = true;
                Err(failed.error)
            }
        }
    }
}

impl Drop for LogFiles {
    fn drop(&mut self) {
        // The thread writes to files that another writer may open next.
        let _ = self.background.wait();
    }
}

/// The header that the open block of a log gets when it is closed, and where its entries begin.
pub(super) fn open_block(tail: &Tail) -> (u64, BlockHeader) {
    let header = BlockHeader {
        crc: tail.crc,
        bytes: tail.bytes,
        entries: tail.entries,
        first_entry: tail.first_entry,
        first_at: tail.first_at,
    };
    (tail.block_start + BLOCK_HEADER_BYTES as u64, header)
}
