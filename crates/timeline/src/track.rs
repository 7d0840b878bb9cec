//! The output track: what terminals wrote and when, so that pictures and searches need no replay.
//! Derived from the inputs, never believed about the machine. No I/O.
//!
//! A track is a row of blocks, each with a header of [`BLOCK_HEADER_BYTES`] that has its checksum.
//! One that ends in a damaged block is good up to there: a replay makes the rest again. The bytes
//! are specified in `docs/vmcast-format.md`.

use serde::{Deserialize, Serialize};
use stackvm_machine::{ConsoleId, Instant, Output};

use crate::limits::{DATA_BYTES_MAX, TRACK_BLOCK_BYTES};
use crate::log::{LogError, Place, Reader, put_difference, put_varint};

/// Bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 24;
/// What a block begins with.
pub const BLOCK_MAGIC: [u8; 4] = *b"SVTB";
/// Most bytes in a block beside its header.
pub const BLOCK_BYTES_MAX: usize = TRACK_BLOCK_BYTES + DATA_BYTES_MAX + 32;

const OUTPUT: u8 = 1;
const RESIZE: u8 = 2;

/// Something a terminal wrote, or its new size.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackItem {
    /// When, to a slice of the recording host (about a millisecond); never early.
    pub at: Instant,
    /// Which terminal.
    pub console: ConsoleId,
    /// What happened.
    pub event: TrackEvent,
}

/// What happened at a terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TrackEvent {
    /// The guest wrote bytes.
    Output(Vec<u8>),
    /// It has a new size.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

impl TrackItem {
    /// What an output adds to the track: nothing if it is not a terminal's.
    pub fn of_output(at: Instant, output: &Output) -> Option<TrackItem> {
        match output {
            Output::Console { console, bytes } => {
                Some(TrackItem { at, console: *console, event: TrackEvent::Output(bytes.clone()) })
            }
            _ => None,
        }
    }
}

/// Writes a track.
#[derive(Debug, Default)]
pub struct TrackWriter {
    block: Vec<u8>,
    first_at: Instant,
    last_at: Instant,
}

impl TrackWriter {
    /// A writer with an empty block.
    pub fn new() -> TrackWriter {
        TrackWriter::default()
    }

    /// Adds an item. Data longer than [`DATA_BYTES_MAX`] becomes several.
    pub fn push(&mut self, item: &TrackItem) {
        match &item.event {
            TrackEvent::Output(bytes) => {
                for bytes in bytes.chunks(DATA_BYTES_MAX) {
                    self.head(OUTPUT, item);
                    put_varint(bytes.len() as u64, &mut self.block);
                    self.block.extend_from_slice(bytes);
                }
            }
            TrackEvent::Resize { columns, rows } => {
                self.head(RESIZE, item);
                put_varint(u64::from(*columns), &mut self.block);
                put_varint(u64::from(*rows), &mut self.block);
            }
        }
    }

    /// Whether there is enough for a block.
    pub fn is_full(&self) -> bool {
        self.block.len() >= TRACK_BLOCK_BYTES
    }

    /// The items since the last block, as a block with its header; empty if there are none.
    pub fn block(&self) -> Vec<u8> {
        if self.block.is_empty() {
            return Vec::new();
        }
        let mut bytes = BLOCK_MAGIC.to_vec();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(self.block.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.first_at.ticks().to_le_bytes());
        bytes.extend_from_slice(&self.block);
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Forgets the items of the block, which was written.
    pub fn begin_block(&mut self) {
        self.block.clear();
    }

    fn head(&mut self, kind: u8, item: &TrackItem) {
        if self.block.is_empty() {
            self.first_at = item.at;
            self.last_at = item.at;
        }
        // Whoever cuts outputs into slices may be out of order by one; a track never goes back.
        let at = item.at.max(self.last_at);
        let place = Place::of_console(item.console);
        let (in_ticks, difference) = put_difference(self.last_at, at);
        self.block.push(in_ticks | place.bits() | kind);
        place.put(&mut self.block);
        put_varint(difference, &mut self.block);
        self.last_at = at;
    }
}

/// How many bytes follow a block's header.
///
/// # Errors
/// What is wrong with the header.
pub fn block_bytes(header: &[u8; BLOCK_HEADER_BYTES]) -> Result<usize, String> {
    if header[..4] != BLOCK_MAGIC {
        return Err("no block of a track begins here".to_owned());
    }
    let bytes = u32::from_le_bytes(header[8..12].try_into().expect("4 bytes")) as usize;
    if bytes == 0 || bytes > BLOCK_BYTES_MAX {
        return Err(format!("a block of {bytes} bytes: at most {BLOCK_BYTES_MAX}"));
    }
    Ok(bytes)
}

/// When the first item of the block with this header was written.
pub(crate) fn block_begins(header: &[u8; BLOCK_HEADER_BYTES]) -> Instant {
    Instant::from_ticks(u64::from_le_bytes(header[16..24].try_into().expect("8 bytes")))
}

/// The items of a block, whose header is the first part of `bytes`.
///
/// # Errors
/// [`LogError`] at the first byte that makes no sense.
pub fn read_block(bytes: &[u8]) -> Result<Vec<TrackItem>, LogError> {
    let fail = |problem: &str| LogError { offset: 0, problem: problem.to_owned() };
    let (header, payload) =
        bytes.split_first_chunk().ok_or_else(|| fail("a block's header is cut off"))?;
    let length = block_bytes(header).map_err(|problem| fail(&problem))?;
    let crc = u32::from_le_bytes(header[4..8].try_into().expect("4 bytes"));
    if payload.len() != length || crc32fast::hash(&bytes[8..]) != crc {
        return Err(fail("the checksum of a block is wrong"));
    }
    let mut at = block_begins(header).ticks();
    let mut reader = Reader::new(payload);
    let mut items = Vec::new();
    while reader.rest() > 0 {
        let item = read_item(&mut reader, Instant::from_ticks(at)).map_err(|problem| LogError {
            offset: reader.offset() + BLOCK_HEADER_BYTES as u64,
            problem,
        })?;
        at = item.at.ticks();
        items.push(item);
    }
    Ok(items)
}

fn read_item(reader: &mut Reader<'_>, before: Instant) -> Result<TrackItem, String> {
    let first = reader.byte()?;
    let console = Place::read(first, reader)?.console()?;
    let at = reader.instant(first, before)?;
    let event = match first & 0xf {
        OUTPUT => TrackEvent::Output(reader.data()?),
        RESIZE => TrackEvent::Resize { columns: reader.short()?, rows: reader.short()? },
        kind => return Err(format!("unknown kind of item {kind}")),
    };
    Ok(TrackItem { at, console, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(ticks: u64, console: ConsoleId, event: TrackEvent) -> TrackItem {
        TrackItem { at: Instant::from_ticks(ticks), console, event }
    }

    fn written(items: &[TrackItem]) -> Vec<u8> {
        let mut writer = TrackWriter::new();
        items.iter().for_each(|item| writer.push(item));
        writer.block()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let items = [
            item(77, ConsoleId::Serial, TrackEvent::Output(b"boot\r\n".to_vec())),
            item(1 << 40, ConsoleId::Hvc(0), TrackEvent::Resize { columns: 200, rows: 50 }),
            item(1 << 40, ConsoleId::Hvc(255), TrackEvent::Output(vec![0; 1000])),
        ];
        assert_eq!(read_block(&written(&items)).unwrap(), items);
        assert!(written(&[]).is_empty(), "no block without items");
    }

    #[test]
    fn long_outputs_are_cut() {
        let bytes = vec![7; DATA_BYTES_MAX + 1];
        let block = written(&[item(5, ConsoleId::Serial, TrackEvent::Output(bytes))]);
        let items = read_block(&block).unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(items[1], item(5, ConsoleId::Serial, TrackEvent::Output(vec![7])));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let block = written(&[item(9, ConsoleId::Hvc(1), TrackEvent::Output(b"abc".to_vec()))]);
        for bit in 0..block.len() * 8 {
            let mut bytes = block.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_block(&bytes).is_err(), "bit {bit}");
        }
        for length in 0..block.len() {
            assert!(read_block(&block[..length]).is_err(), "{length} bytes");
        }
    }
}
