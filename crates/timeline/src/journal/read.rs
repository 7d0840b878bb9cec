//! Reading a journal's folder, also while another process writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use stackvm_machine::Instant;
use stackvm_store::chunks::file::FileAt;
use stackvm_store::{Pack, PackSet, ReadAt};

use super::manifest::{BranchInfo, Fold, KeyframeRecord, Manifest};
use super::paths::{self, PathAt};
use super::tail::Tail;
use super::writer::open_block;
use super::{base, records};
use crate::branch::{Branch, BranchId, Origin};
use crate::event::ActorId;
use crate::keyframe::Keyframe;
use crate::limits::{KEYFRAMES_MAX, NOTES_MAX, TEXT_BYTES_MAX};
use crate::note::Note;
use crate::timeline::{OpenError, Parts, Piece, Timeline, TrackPart, scan_log, track_extent};

/// How often a folder is read again that changes while it is read.
const ATTEMPTS: u32 = 4;
/// Most bytes of the files of keyframes and notes.
const RECORDS_BYTES_MAX: u64 = (NOTES_MAX * (TEXT_BYTES_MAX + 1024)) as u64;

/// What is in a folder.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) manifest: Manifest,
    pub(super) base: Option<Timeline>,
    pub(super) branches: Vec<Branch>,
    pub(super) logs: Vec<Vec<Piece>>,
    pub(super) tails: Vec<Option<FoundTail>>,
    pub(super) tracks: Vec<Vec<TrackPart>>,
    /// Those of this folder; the base has its own.
    pub(super) records: Vec<KeyframeRecord>,
    pub(super) records_end: u64,
    pub(super) notes: Vec<Note>,
    pub(super) notes_end: u64,
    pub(super) chunks: PackSet,
    pub(super) pack_bytes: BTreeMap<String, u64>,
}

/// The end of a branch's log.
#[derive(Debug)]
pub(super) struct FoundTail {
    pub(super) tail: Tail,
    pub(super) safe_slot: u64,
    /// The open block's entries.
    pub(super) block: Vec<u8>,
    /// When and from whom the last of them is.
    pub(super) last: Option<(Instant, ActorId)>,
}

/// Reads a folder as a timeline.
pub(crate) fn timeline(folder: &Path) -> Result<Timeline, OpenError> {
    let mut attempt = 1;
    loop {
        let read = load(folder).and_then(|loaded| {
            let timeline = Timeline::new(loaded.parts(folder));
            timeline.check().map(|()| (loaded.manifest, timeline))
        });
        // A writer may have replaced or removed files between two of our reads.
        let settled = match &read {
            Ok((manifest, _)) => Manifest::read(folder).is_ok_and(|now| now == *manifest),
            Err(OpenError::NotOne { .. } | OpenError::Version { .. }) => true,
            Err(_) => false,
        };
        if settled || attempt == ATTEMPTS {
            return read.map(|(_, timeline)| timeline);
        }
        attempt += 1;
    }
}

/// The marks and comments in a journal's folder, in the order they were made, without its log and
/// keyframes. Another process may write it.
///
/// # Errors
/// See [`OpenError`].
pub fn notes(folder: &Path) -> Result<Vec<Note>, OpenError> {
    let manifest = Manifest::read(folder)?;
    let base = manifest.base.as_ref().map(|base| base::open(folder, base)).transpose()?;
    let (mut own, _) = read_records::<Note>(&paths::notes(folder))?;
    let fold_of = |branch: BranchId| manifest.branches.get(branch.0 as usize)?.fold;
    own.retain(|note| fold_of(note.branch).is_none_or(|fold| note.at >= fold.at));
    let base = base.iter().flat_map(|base| base.notes()).cloned();
    Ok(base.chain(own).collect())
}

/// Reads a folder.
pub(super) fn load(folder: &Path) -> Result<Loaded, OpenError> {
    let manifest = Manifest::read(folder)?;
    let base = manifest.base.as_ref().map(|base| base::open(folder, base)).transpose()?;
    let (mut records, records_end) = read_records::<KeyframeRecord>(&paths::keyframes(folder))?;
    let (mut notes, notes_end) = read_records::<Note>(&paths::notes(folder))?;
    // Of branches that were begun after the manifest was read.
    records.retain(|record| (record.keyframe.branch.0 as usize) < manifest.branches.len());
    notes.retain(|note| (note.branch.0 as usize) < manifest.branches.len());
    records.truncate(KEYFRAMES_MAX);
    let chunks = match &base {
        Some(base) => base.parts().chunks.clone(),
        None => PackSet::new(),
    };
    let pack_bytes = open_packs(folder, &manifest, &records, &chunks)?;
    // Of what was being folded when its writer ended; what is kept may need packs of that.
    let fold_of = |branch: BranchId| manifest.branches[branch.0 as usize].fold;
    records.retain(|record| {
        fold_of(record.keyframe.branch).is_none_or(|fold| record.keyframe.at >= fold.at)
    });
    notes.retain(|note| fold_of(note.branch).is_none_or(|fold| note.at >= fold.at));
    let mut loaded = Loaded {
        branches: Vec::new(),
        logs: Vec::new(),
        tails: Vec::new(),
        tracks: Vec::new(),
        manifest,
        base,
        records,
        records_end,
        notes,
        notes_end,
        chunks,
        pack_bytes,
    };
    for n in 0..loaded.manifest.branches.len() {
        loaded.load_branch(folder, BranchId(n as u32))?;
    }
    loaded.drop_unfinished();
    Ok(loaded)
}

impl Loaded {
    fn load_branch(&mut self, folder: &Path, id: BranchId) -> Result<(), OpenError> {
        let info: &BranchInfo = &self.manifest.branches[id.0 as usize];
        let (mut logs, mut track) = (Vec::new(), Vec::new());
        let (mut entries, mut end) = (0, Instant::ZERO);
        if let (Some(base), Some(part)) = (&self.base, &info.base) {
            let parts = base.parts();
            let found = parts.logs.get(id.0 as usize).zip(parts.tracks.get(id.0 as usize));
            let (log, base_track) = found.ok_or_else(|| OpenError::Damaged {
                place: folder.display().to_string(),
                problem: format!("its base has no branch {}", id.0),
            })?;
            logs.clone_from(log);
            track = cut_track(base_track, part.track_bytes);
            (entries, end) = (part.entries, part.end);
        }
        let mut tail = None;
        if info.has_files {
            let start =
                info.fold.map_or(LogStart { offset: 0, first_entry: entries }, LogStart::of);
            let (mut own, found) =
                find_end(&paths::log(folder, id), &paths::tail(folder, id), start)?;
            logs.append(&mut own);
            entries = found.tail.count();
            end = end.max(found.tail.reached);
            tail = Some(found);
            let start = info.fold.map_or(0, |fold| fold.track_start);
            track.extend(own_track(&paths::track(folder, id), start));
        }
        self.branches.push(info.branch(entries, end));
        self.logs.push(logs);
        self.tracks.push(track);
        self.tails.push(tail);
        Ok(())
    }

    /// A branch that was begun after a gap, and whose first keyframe did not come any more, is not
    /// there: nothing of it was kept.
    fn drop_unfinished(&mut self) {
        let mut keyframes = self.keyframes();
        keyframes.sort_by_key(|keyframe| keyframe.branch);
        while let Some(last) = self.branches.last() {
            let id = BranchId(self.branches.len() as u32 - 1);
            let has_first = keyframes.binary_search_by_key(&id, |k| k.branch).is_ok();
            let Origin::Gap { after } = last.origin else { return };
            if has_first || last.entries > 0 {
                return;
            }
            self.branches.pop();
            self.logs.pop();
            self.tails.pop();
            self.tracks.pop();
            self.manifest.branches.pop();
            if self.manifest.grows == id {
                self.manifest.grows = after;
            }
            self.notes.retain(|note| note.branch != id);
        }
    }

    /// All keyframes, the base's included.
    pub(super) fn keyframes(&self) -> Vec<Keyframe> {
        let base = self.base.iter().flat_map(|base| base.keyframes()).cloned();
        base.chain(self.records.iter().map(|record| record.keyframe.clone())).collect()
    }

    /// As a timeline.
    pub(super) fn parts(&self, folder: &Path) -> Parts {
        let base_notes = self.base.iter().flat_map(|base| base.notes()).cloned();
        Parts {
            place: folder.display().to_string(),
            header: self.manifest.header.clone(),
            actors: self.manifest.actors.clone(),
            branches: self.branches.clone(),
            keyframes: self.keyframes(),
            notes: base_notes.chain(self.notes.iter().cloned()).collect(),
            chunks: self.chunks.clone(),
            logs: self.logs.clone(),
            tracks: self.tracks.clone(),
        }
    }
}

fn open_packs(
    folder: &Path,
    manifest: &Manifest,
    records: &[KeyframeRecord],
    chunks: &PackSet,
) -> Result<BTreeMap<String, u64>, OpenError> {
    let mut sizes = BTreeMap::new();
    let own = records.iter().flat_map(|record| &record.packs);
    for name in manifest.packs.iter().chain(own) {
        if sizes.contains_key(name) {
            continue;
        }
        let path = folder.join(name);
        let place = path.display().to_string();
        if paths::pack_number(name).is_none() {
            let problem = format!("{name:?} is no name of a pack");
            return Err(OpenError::Damaged { place: folder.display().to_string(), problem });
        }
        let file = FileAt::open(&path).map_err(|error| io_error(&path, error))?;
        sizes.insert(name.clone(), file.size_bytes());
        chunks.add(Pack::open(&place, Arc::new(file))?);
    }
    Ok(sizes)
}

fn read_records<T: serde::de::DeserializeOwned>(path: &Path) -> Result<(Vec<T>, u64), OpenError> {
    let bytes = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > RECORDS_BYTES_MAX => {
            return Err(OpenError::TooMuch {
                place: path.display().to_string(),
                what: "bytes",
                count: metadata.len(),
                max: RECORDS_BYTES_MAX,
            });
        }
        Ok(_) => fs::read(path).map_err(|error| io_error(path, error))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(io_error(path, error)),
    };
    Ok(records::read(&bytes))
}

/// Where a branch's log begins in this folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogStart {
    pub(super) offset: u64,
    /// Number of the first entry there.
    pub(super) first_entry: u64,
}

impl LogStart {
    pub(super) fn of(fold: Fold) -> LogStart {
        LogStart { offset: fold.log_start, first_entry: fold.log_first_entry }
    }
}

/// The blocks of a branch's log in this folder, up to the latest end that holds.
pub(super) fn find_end(
    log: &Path,
    tail: &Path,
    start: LogStart,
) -> Result<(Vec<Piece>, FoundTail), OpenError> {
    // The slots first: what they speak of is in the log by then.
    let tail_file = PathAt::open(tail).map_err(|error| io_error(tail, error))?;
    let (candidates, safe_slot) = Tail::read(&tail_file);
    let source: Arc<dyn ReadAt> =
        Arc::new(PathAt::open(log).map_err(|error| io_error(log, error))?);
    let place: Arc<str> = log.display().to_string().into();
    let mut problem = None;
    for tail in candidates {
        match up_to(&source, &place, start, &tail) {
            Ok((pieces, block, last)) => {
                return Ok((pieces, FoundTail { tail, safe_slot, block, last }));
            }
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    match problem {
        Some(problem) => Err(problem),
        None => Ok(whole_blocks(&source, &place, start)),
    }
}

type Found = (Vec<Piece>, Vec<u8>, Option<(Instant, ActorId)>);

/// The blocks up to an end, if all is as it says.
fn up_to(
    source: &Arc<dyn ReadAt>,
    place: &Arc<str>,
    LogStart { offset, first_entry }: LogStart,
    tail: &Tail,
) -> Result<Found, OpenError> {
    let mut pieces = scan_log(source, place, offset, tail.block_start, first_entry)?;
    for piece in &pieces {
        piece.read()?;
    }
    let before = pieces
        .last()
        .map_or(first_entry, |piece| piece.header.first_entry + u64::from(piece.header.entries));
    let damaged = |problem: &str| OpenError::Damaged {
        place: place.to_string(),
        problem: problem.to_owned(),
    };
    if before != tail.first_entry {
        return Err(damaged("blocks are missing at its end"));
    }
    if tail.entries == 0 {
        return Ok((pieces, Vec::new(), None));
    }
    let (offset, header) = open_block(tail);
    if offset + u64::from(header.bytes) > source.size_bytes() {
        return Err(damaged("its last block is cut off"));
    }
    let piece = Piece { source: source.clone(), place: place.clone(), offset, header };
    let last = piece.read()?.last().map(|entry| (entry.at, entry.actor));
    let mut block = vec![0; header.bytes as usize];
    source
        .read_at(offset, &mut block)
        .map_err(|error| OpenError::Io { place: place.to_string(), error })?;
    pieces.push(piece);
    Ok((pieces, block, last))
}

/// Without any slot to go by: the whole blocks at the beginning.
fn whole_blocks(
    source: &Arc<dyn ReadAt>,
    place: &Arc<str>,
    LogStart { offset, first_entry }: LogStart,
) -> (Vec<Piece>, FoundTail) {
    let mut tail = Tail { first_entry, block_start: offset, ..Tail::default() };
    let mut pieces = Vec::new();
    loop {
        let next = crate::timeline::scan_block(source, place, tail.block_start, tail.first_entry);
        let Some(piece) = next else { break };
        let Ok(entries) = piece.read() else { break };
        tail.block_start = piece.offset + u64::from(piece.header.bytes);
        tail.first_entry += u64::from(piece.header.entries);
        tail.reached = entries.last().map_or(tail.reached, |entry| entry.at);
        pieces.push(piece);
    }
    (pieces, FoundTail { tail, safe_slot: 0, block: Vec::new(), last: None })
}

/// The track in a folder, as far as its blocks are whole.
fn own_track(path: &Path, start: u64) -> Option<TrackPart> {
    let source = PathAt::open(path).ok()?;
    let end = track_extent(&source, start, source.size_bytes());
    let place = path.display().to_string().into();
    (end > start).then(|| TrackPart { source: Arc::new(source), place, start, end })
}

/// The first `bytes` of a track.
pub(super) fn cut_track(parts: &[TrackPart], bytes: u64) -> Vec<TrackPart> {
    let mut left = bytes;
    let mut cut = Vec::new();
    for part in parts {
        let length = (part.end - part.start).min(left);
        left -= length;
        if length > 0 {
            cut.push(TrackPart { end: part.start + length, ..part.clone() });
        }
    }
    cut
}

/// Bytes of a track.
pub(super) fn track_bytes(parts: &[TrackPart]) -> u64 {
    parts.iter().map(|part| part.end - part.start).sum()
}

pub(super) fn io_error(path: &Path, error: std::io::Error) -> OpenError {
    OpenError::Io { place: path.display().to_string(), error }
}
