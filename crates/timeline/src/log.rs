//! The input log: entries as compact, checksummed bytes. No I/O.
//!
//! A log is a row of *blocks*, each with a header of [`BLOCK_HEADER_BYTES`] that says how many
//! entries follow, from which instant on and their checksum. So a cut log is good up to its last
//! whole block, and any entry is found without reading those before its block. There is exactly one
//! way to write the same entries: what decodes, encodes to the same bytes again. The bytes are
//! specified in `docs/vmcast-format.md`.
//!
//! Where logs are kept, and which branch they are of, is the journal's and the `.vmcast`'s business.

mod code;

use stackvm_machine::Instant;
use thiserror::Error;

use crate::event::{ActorId, Entry};
use crate::limits::{DATA_BYTES_MAX, LOG_BLOCK_BYTES};

pub(crate) use code::{Place, Reader, put_difference, put_varint};

/// Bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 40;
/// What a block begins with.
pub const BLOCK_MAGIC: [u8; 4] = *b"SVLB";
/// Inputs of a paced machine lie on multiples of this many ticks (1.024 µs), which makes the
/// difference of two of them short.
pub const UNIT_TICKS: u64 = 1 << 14;
/// Most bytes that one entry takes, with the change of actor before it.
pub const ENTRY_BYTES_MAX: usize = DATA_BYTES_MAX + 32;

/// Why bytes are no log.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("at byte {offset}: {problem}")]
pub struct LogError {
    /// Where, from the beginning of what was read.
    pub offset: u64,
    /// What is wrong.
    pub problem: String,
}

/// What a block's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockHeader {
    /// CRC-32 of the entries' bytes.
    pub crc: u32,
    /// Bytes of the entries.
    pub bytes: u32,
    /// Number of entries.
    pub entries: u32,
    /// Number of entries in all blocks before.
    pub first_entry: u64,
    /// Instant of the first entry.
    pub first_at: Instant,
}

impl BlockHeader {
    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[..4].copy_from_slice(&BLOCK_MAGIC);
        bytes[8..12].copy_from_slice(&self.crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.entries.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_entry.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_at.ticks().to_le_bytes());
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_bytes(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<BlockHeader, String> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if bytes[..4] != BLOCK_MAGIC {
            return Err("no block of a log begins here".to_owned());
        }
        if word(4) != crc32fast::hash(&bytes[8..]) {
            return Err("the checksum of a block's header is wrong".to_owned());
        }
        let header = BlockHeader {
            crc: word(8),
            bytes: word(12),
            entries: word(16),
            first_entry: long(24),
            first_at: Instant::from_ticks(long(32)),
        };
        let bytes_max = LOG_BLOCK_BYTES.max(ENTRY_BYTES_MAX);
        if header.bytes as usize > bytes_max {
            return Err(format!("a block of {} bytes: at most {bytes_max}", header.bytes));
        }
        if word(20) != 0 || header.entries == 0 || header.entries > header.bytes {
            return Err("a block's header makes no sense".to_owned());
        }
        Ok(header)
    }

    /// The entries of this block from its bytes.
    ///
    /// # Errors
    /// [`LogError`] if the checksum is wrong.
    pub fn open<'a>(&self, bytes: &'a [u8]) -> Result<Entries<'a>, LogError> {
        if bytes.len() != self.bytes as usize || crc32fast::hash(bytes) != self.crc {
            let problem =
                format!("the checksum of the block from entry {} on is wrong", self.first_entry);
            return Err(LogError { offset: 0, problem });
        }
        Ok(Entries {
            reader: Reader::new(bytes),
            at: self.first_at,
            actor: ActorId::HOST,
            left: self.entries,
            first: true,
        })
    }
}

/// The entries of a block, decoded one after another. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    at: Instant,
    actor: ActorId,
    left: u32,
    first: bool,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let rest = self.reader.rest();
            if rest == 0 {
                return None;
            }
            self.reader.end();
            return Some(Err(self.error(format!("{rest} bytes too many in a block"))));
        }
        let first = std::mem::take(&mut self.first);
        match code::read_entry(&mut self.reader, self.at, self.actor, first) {
            Ok(entry) => {
                self.left -= 1;
                (self.at, self.actor) = (entry.at, entry.actor);
                Some(Ok(entry))
            }
            Err(problem) => {
                let error = self.error(problem);
                self.left = 0;
                self.reader.end();
                Some(Err(error))
            }
        }
    }
}

impl Entries<'_> {
    fn error(&self, problem: String) -> LogError {
        LogError { offset: self.reader.offset(), problem }
    }
}

/// Writes the entries of one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Encoder {
    at: Option<Instant>,
    actor: ActorId,
}

impl Encoder {
    /// At the beginning of a block.
    pub(crate) fn new() -> Encoder {
        Encoder { at: None, actor: ActorId::HOST }
    }

    /// After an entry.
    pub(crate) fn after(at: Instant, actor: ActorId) -> Encoder {
        Encoder { at: Some(at), actor }
    }

    /// Adds an entry's bytes to `out`.
    pub(crate) fn encode(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        let before = self.at.unwrap_or(entry.at);
        assert!(entry.at >= before, "entries are in the order of their instants");
        code::write_entry(entry, before, self.actor, out);
        *self = Encoder::after(entry.at, entry.actor);
    }
}

/// Writes a whole log.
#[derive(Debug)]
pub struct LogWriter {
    encoder: Encoder,
    block: Vec<u8>,
    block_entries: u32,
    first_at: Instant,
    entries: u64,
    log: Vec<u8>,
}

impl Default for LogWriter {
    fn default() -> LogWriter {
        LogWriter::new(0)
    }
}

impl LogWriter {
    /// A log whose first entry has the number `first_entry` in its branch (0 for a whole one).
    pub fn new(first_entry: u64) -> LogWriter {
        LogWriter {
            encoder: Encoder::new(),
            block: Vec::new(),
            block_entries: 0,
            first_at: Instant::ZERO,
            entries: first_entry,
            log: Vec::new(),
        }
    }

    /// Adds an entry.
    ///
    /// # Panics
    /// When it is earlier than the one before, or has more data than
    /// [`DATA_BYTES_MAX`].
    pub fn push(&mut self, entry: &Entry) {
        let mut encoder = self.encoder;
        let before = self.block.len();
        encoder.encode(entry, &mut self.block);
        if self.block.len() > LOG_BLOCK_BYTES && before > 0 {
            self.block.truncate(before);
            self.seal();
            encoder = Encoder::new();
            encoder.encode(entry, &mut self.block);
        }
        if self.block_entries == 0 {
            self.first_at = entry.at;
        }
        self.encoder = encoder;
        self.block_entries += 1;
    }

    /// The log's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.seal();
        self.log
    }

    /// Whole blocks so far, which are handed out and forgotten.
    pub fn take_blocks(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.log)
    }

    fn seal(&mut self) {
        if self.block_entries == 0 {
            return;
        }
        let header = BlockHeader {
            crc: crc32fast::hash(&self.block),
            bytes: u32::try_from(self.block.len()).expect("blocks are small"),
            entries: self.block_entries,
            first_entry: self.entries,
            first_at: self.first_at,
        };
        self.log.extend_from_slice(&header.to_bytes());
        self.log.append(&mut self.block);
        self.entries += u64::from(self.block_entries);
        self.block_entries = 0;
        self.encoder = Encoder::new();
    }
}

/// Reads the log at the beginning of `bytes`: entries of all whole, sound blocks, and what is wrong
/// with the rest, if there is one.
pub fn read(bytes: &[u8]) -> (Vec<Entry>, Option<LogError>) {
    let mut entries: Vec<Entry> = Vec::new();
    let mut offset = 0;
    while offset < bytes.len() {
        match read_block(&bytes[offset..], entries.len() as u64, entries.last().map(|e| e.at)) {
            Ok((mut block, size)) => {
                entries.append(&mut block);
                offset += size;
            }
            Err(error) => {
                let offset = offset as u64 + error.offset;
                return (entries, Some(LogError { offset, ..error }));
            }
        }
    }
    (entries, None)
}

fn read_block(
    bytes: &[u8],
    first_entry: u64,
    not_before: Option<Instant>,
) -> Result<(Vec<Entry>, usize), LogError> {
    let fail = |problem: &str| LogError { offset: 0, problem: problem.to_owned() };
    let (header, rest) =
        bytes.split_first_chunk().ok_or_else(|| fail("cut in the middle of a block's header"))?;
    let header = BlockHeader::from_bytes(header).map_err(|problem| fail(&problem))?;
    header.follows(first_entry, not_before).map_err(|problem| fail(&problem))?;
    let payload =
        rest.get(..header.bytes as usize).ok_or_else(|| fail("cut in the middle of a block"))?;
    let entries = header
        .open(payload)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| LogError { offset: error.offset + BLOCK_HEADER_BYTES as u64, ..error })?;
    Ok((entries, BLOCK_HEADER_BYTES + payload.len()))
}

impl BlockHeader {
    /// Checks that this block comes after `first_entry` others, the last of them at `not_before`.
    pub(crate) fn follows(
        &self,
        first_entry: u64,
        not_before: Option<Instant>,
    ) -> Result<(), String> {
        if self.first_entry != first_entry {
            let found = self.first_entry;
            return Err(format!("a block from entry {found} on where {first_entry} is next"));
        }
        match not_before {
            Some(before) if self.first_at < before => {
                Err(format!("a block begins at {}, before {before}", self.first_at))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
