//! The blocks of logs and tracks, wherever they lie.

use std::sync::Arc;

use stackvm_machine::Instant;
use stackvm_store::ReadAt;

use crate::event::Entry;
use crate::log::{BLOCK_HEADER_BYTES, BlockHeader};
use crate::timeline::OpenError;
use crate::track::{self, TrackItem};

/// A block of a log.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// The file it is in.
    pub(crate) source: Arc<dyn ReadAt>,
    /// The file's name, for messages.
    pub(crate) place: Arc<str>,
    /// Where its entries begin: behind its header, which in a journal may not be written yet.
    pub(crate) offset: u64,
    /// What its header says.
    pub(crate) header: BlockHeader,
}

/// A part of a track: whole blocks from `start` to `end`.
#[derive(Clone, Debug)]
pub(crate) struct TrackPart {
    pub(crate) source: Arc<dyn ReadAt>,
    pub(crate) place: Arc<str>,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Piece {
    /// The block's entries, if its checksum is right.
    pub(crate) fn read(&self) -> Result<Vec<Entry>, OpenError> {
        let mut bytes = vec![0; self.header.bytes as usize];
        let io = |error| OpenError::Io { place: self.place.to_string(), error };
        self.source.read_at(self.offset, &mut bytes).map_err(io)?;
        let entries = self.header.open(&bytes).and_then(Iterator::collect);
        entries.map_err(|error| OpenError::Damaged {
            place: self.place.to_string(),
            problem: format!("{}, {error}", self.name()),
        })
    }

    fn name(&self) -> String {
        format!("the block at byte {}", self.offset)
    }
}

/// Finds the blocks of the log from `start` to `end`, the first of which has the `first_entry`-th
/// entry. Their entries are not looked at.
pub(crate) fn scan_log(
    source: &Arc<dyn ReadAt>,
    place: &Arc<str>,
    start: u64,
    end: u64,
    first_entry: u64,
) -> Result<Vec<Piece>, OpenError> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut offset = start;
    let mut next = first_entry;
    while offset < end {
        let last_at = pieces.last().map(|piece| piece.header.first_at);
        let damaged = |problem: String| OpenError::Damaged {
            place: place.to_string(),
            problem: format!("at byte {offset}: {problem}"),
        };
        let mut header = [0; BLOCK_HEADER_BYTES];
        if end - offset < header.len() as u64 {
            return Err(damaged("cut in the middle of a block's header".to_owned()));
        }
        let io = |error| OpenError::Io { place: place.to_string(), error };
        source.read_at(offset, &mut header).map_err(io)?;
        let header = BlockHeader::from_bytes(&header).map_err(damaged)?;
        header.follows(next, last_at).map_err(damaged)?;
        let payload = offset + BLOCK_HEADER_BYTES as u64;
        if end - payload < u64::from(header.bytes) {
            return Err(damaged("cut in the middle of a block".to_owned()));
        }
        next = next
            .checked_add(u64::from(header.entries))
            .ok_or_else(|| damaged("too many entries".to_owned()))?;
        let (source, place) = (source.clone(), place.clone());
        pieces.push(Piece { source, place, offset: payload, header });
        offset = payload + u64::from(header.bytes);
    }
    Ok(pieces)
}

/// The block at `start`, if its header is sound and it is not cut off.
#[cfg(unix)]
pub(crate) fn scan_block(
    source: &Arc<dyn ReadAt>,
    place: &Arc<str>,
    start: u64,
    first_entry: u64,
) -> Option<Piece> {
    let mut header = [0; BLOCK_HEADER_BYTES];
    source.read_at(start, &mut header).ok()?;
    let end = start + (BLOCK_HEADER_BYTES as u64) + block_length(&header)?;
    if end > source.size_bytes() {
        return None;
    }
    scan_log(source, place, start, end, first_entry).ok()?.pop()
}

#[cfg(unix)]
fn block_length(header: &[u8; BLOCK_HEADER_BYTES]) -> Option<u64> {
    BlockHeader::from_bytes(header).ok().map(|header| u64::from(header.bytes))
}

/// The entries of a log from the `first`-th on. After an error there are no more.
pub(super) fn entries(
    pieces: &[Piece],
    first: u64,
) -> impl Iterator<Item = Result<Entry, OpenError>> + '_ {
    let at = pieces.partition_point(|piece| piece.header.first_entry <= first).saturating_sub(1);
    let mut pieces = pieces[at.min(pieces.len())..].iter();
    let mut block: std::vec::IntoIter<Entry> = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(entry) = block.next() {
                return Some(Ok(entry));
            }
            let piece = pieces.next()?;
            match piece.read() {
                Ok(mut entries) => {
                    let skip = first.saturating_sub(piece.header.first_entry);
                    let skip =
                        usize::try_from(skip).map_or(entries.len(), |n| n.min(entries.len()));
                    entries.drain(..skip);
                    block = entries.into_iter();
                }
                Err(error) => {
                    pieces = [].iter();
                    return Some(Err(error));
                }
            }
        }
    })
}

/// The entries of the last blocks of a log, which together are at most `bytes_max` long.
pub(super) fn last_entries(
    pieces: &[Piece],
    bytes_max: u64,
) -> impl Iterator<Item = Result<Entry, OpenError>> + '_ {
    let mut left = bytes_max;
    let fits = |piece: &&Piece| {
        let rest = left.checked_sub(piece.header.bytes.into());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    let count = pieces.iter().rev().take_while(fits).count();
    let last = &pieces[pieces.len() - count..];
    entries(last, last.first().map_or(0, |piece| piece.header.first_entry))
}

/// How far the blocks of a track that begins at `start` are sound, judged by their headers.
#[cfg(unix)]
pub(crate) fn track_extent(source: &dyn ReadAt, start: u64, end: u64) -> u64 {
    let mut offset = start;
    loop {
        let mut header = [0; track::BLOCK_HEADER_BYTES];
        let payload = offset + header.len() as u64;
        if payload > end || source.read_at(offset, &mut header).is_err() {
            return offset;
        }
        match track::block_bytes(&header) {
            Ok(bytes) if payload + bytes as u64 <= end => offset = payload + bytes as u64,
            _ => return offset,
        }
    }
}

/// The parts of a track without its first blocks, so that what is left is at most `bytes_max` long.
/// Where a block's header is damaged, it begins behind.
pub(super) fn last_of_track(parts: &[TrackPart], bytes_max: u64) -> Vec<TrackPart> {
    let mut left = bytes_max;
    let mut last = Vec::new();
    for part in parts.iter().rev() {
        let mut part = part.clone();
        while part.end - part.start > left {
            let mut header = [0; track::BLOCK_HEADER_BYTES];
            let read = part.source.read_at(part.start, &mut header).ok();
            let block = read.and_then(|()| track::block_bytes(&header).ok());
            let next = block.map(|bytes| part.start + (header.len() + bytes) as u64);
            part.start = next.unwrap_or(part.end).min(part.end);
        }
        left -= part.end - part.start;
        let is_whole = part.start < part.end;
        last.push(part);
        if !is_whole {
            break;
        }
    }
    last.reverse();
    last
}

/// The parts of a track without its first `bytes`, which are whole blocks.
pub(super) fn track_behind(parts: &[TrackPart], bytes: u64) -> Vec<TrackPart> {
    let mut left = bytes;
    let mut behind = Vec::new();
    for part in parts {
        let skipped = left.min(part.end - part.start);
        left -= skipped;
        let start = part.start + skipped;
        if start < part.end {
            behind.push(TrackPart { start, ..part.clone() });
        }
    }
    behind
}

/// The first `bytes` of the parts of a track, which are whole blocks.
pub(super) fn track_before(parts: &[TrackPart], bytes: u64) -> Vec<TrackPart> {
    let mut left = bytes;
    let mut before = Vec::new();
    for part in parts {
        let taken = left.min(part.end - part.start);
        left -= taken;
        if taken > 0 {
            before.push(TrackPart { end: part.start + taken, ..part.clone() });
        }
    }
    before
}

/// When each block of a track begins, and how long it is, judged by its header.
pub(super) fn track_blocks(parts: &[TrackPart]) -> Result<Vec<(Instant, u64)>, OpenError> {
    let mut found = Vec::new();
    for part in parts {
        let mut offset = part.start;
        while offset < part.end {
            let mut header = [0; track::BLOCK_HEADER_BYTES];
            let place = part.place.to_string();
            let io = |error| OpenError::Io { place: place.clone(), error };
            part.source.read_at(offset, &mut header).map_err(io)?;
            let bytes = track::block_bytes(&header).map_err(|problem| OpenError::Damaged {
                place: place.clone(),
                problem: format!("the block at byte {offset}: {problem}"),
            })?;
            found.push((track::block_begins(&header), bytes as u64));
            offset += (header.len() + bytes) as u64;
        }
    }
    Ok(found)
}

/// The items of a track.
pub(super) fn track(
    parts: Vec<TrackPart>,
) -> impl Iterator<Item = Result<TrackItem, OpenError>> + 'static {
    let mut parts = parts.into_iter();
    let mut part: Option<TrackPart> = None;
    let mut block: std::vec::IntoIter<TrackItem> = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(item) = block.next() {
                return Some(Ok(item));
            }
            if part.as_ref().is_none_or(|part| part.start >= part.end) {
                part = Some(parts.next()?);
                continue;
            }
            let here = part.as_mut().expect("there is one");
            match read_track_block(here) {
                Ok(items) => block = items.into_iter(),
                Err(error) => {
                    parts.by_ref().for_each(drop);
                    part = None;
                    return Some(Err(error));
                }
            }
        }
    })
}

fn read_track_block(part: &mut TrackPart) -> Result<Vec<TrackItem>, OpenError> {
    let place = part.place.to_string();
    let io = |error| OpenError::Io { place: place.clone(), error };
    let damaged = |problem: String| OpenError::Damaged {
        place: place.clone(),
        problem: format!("the block at byte {}: {problem}", part.start),
    };
    let mut bytes = vec![0; track::BLOCK_HEADER_BYTES];
    part.source.read_at(part.start, &mut bytes).map_err(io)?;
    let header = bytes.first_chunk().expect("a whole header");
    let length = track::block_bytes(header).map_err(damaged)?;
    let end = part.start + (track::BLOCK_HEADER_BYTES + length) as u64;
    if end > part.end {
        return Err(damaged("it is cut off".to_owned()));
    }
    bytes.resize(track::BLOCK_HEADER_BYTES + length, 0);
    part.source.read_at(part.start, &mut bytes).map_err(io)?;
    let items = track::read_block(&bytes).map_err(|error| damaged(error.to_string()))?;
    part.start = end;
    Ok(items)
}
