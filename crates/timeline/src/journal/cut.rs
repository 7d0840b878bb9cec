//! A part of a timeline as a journal of its own: from one instant to another, with nothing in it of
//! what was before.
//!
//! The state at the first instant is its first keyframe; entries, output track, marks, comments and
//! keyframes are taken over from there on. Chunks are copied, not linked: packs hold states of before,
//! and a part may be given away.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use stackvm_machine::Instant;
use stackvm_store::{NoChunks, PackError, PackSet, PackWriter, Tree, tree};
use thiserror::Error;

use super::manifest::KeyframeRecord;
use super::{Journal, JournalError, at_most, data_bytes, files, keyframes};
use crate::branch::BranchId;
use crate::event::{ActorId, Entry};
use crate::header::Header;
use crate::keyframe::{Keyframe, KeyframerError};
use crate::limits::DATA_BYTES_MAX;
use crate::replay::Replay;
use crate::timeline::{OpenError, Timeline, trees_of};
use crate::track::TrackItem;

/// Why a part cannot be made; nothing is left behind.
#[derive(Debug, Error)]
pub enum CutError {
    /// The state that it begins with cannot be written.
    #[error("cannot write the state that it begins with")]
    First(#[from] KeyframerError),
    /// It cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<OpenError> for CutError {
    fn from(error: OpenError) -> CutError {
        CutError::Journal(error.into())
    }
}

impl Journal {
    /// Makes a journal in `folder`, which must not be there, of what the trunk of another timeline
    /// has from where `past` is (on that trunk) until an instant. `owner` is told to others that
    /// want to write it.
    ///
    /// Where the output track is cut within what one slice printed, that is told twice: callers
    /// begin at [`Timeline::slice_end`].
    ///
    /// # Errors
    /// See [`CutError`].
    ///
    /// # Panics
    /// When `past` is on another branch, or `until` before it.
    pub fn cut(
        folder: &Path,
        header: &Header,
        past: &mut Replay,
        until: Instant,
        owner: &str,
    ) -> Result<(), CutError> {
        let place = past.position();
        assert_eq!(place.branch, BranchId::TRUNK, "a part of the trunk");
        assert!(place.at <= until, "a part that ends before it begins");
        let pack = folder.with_extension("cut.pack");
        let result = write_pack(&pack, header, past, until).and_then(|(first, later)| {
            let part = Part {
                timeline: past.timeline().clone(),
                begin: place.at,
                first_entry: place.entries.unwrap_or(0),
                until,
            };
            let mut journal =
                Journal::create(folder, header, std::slice::from_ref(&pack), &first, owner)?;
            let filled = part.fill(&mut journal, &later);
            if filled.is_err() {
                // The error at hand says more than one of cleaning up would.
                let _ = journal.remove();
            }
            filled
        });
        // It is linked into the journal now, or of no use.
        let _ = files::remove(&pack);
        result
    }
}

/// Writes what the header keeps, the state where `past` is and the keyframes until an instant into
/// one pack, which has all of their chunks.
fn write_pack(
    path: &Path,
    header: &Header,
    past: &mut Replay,
    until: Instant,
) -> Result<(Keyframe, Vec<Keyframe>), CutError> {
    let place = past.position();
    let begun = path.with_extension("first");
    let first = past.first_keyframe(&begun)?.keyframe;
    let written = (|| {
        let chunks = PackSet::above(&past.timeline().packs());
        chunks.add(keyframes::open_pack(&begun)?);
        let failed = |error: PackError| match error {
            PackError::Io(error) => files::failed(path)(error),
            PackError::Read(error) => JournalError::Open(error.into()),
        };
        let file = File::create(path).map_err(files::failed(path))?;
        let mut pack = PackWriter::new(BufWriter::new(file));
        let kept: Vec<Tree> = header.stored().chain(trees_of(&first)).collect();
        tree::copy(&chunks, &kept, &NoChunks, &mut pack).map_err(failed)?;
        let in_part = |keyframe: &&Keyframe| {
            keyframe.at > place.at
                && keyframe.at <= until
                && place.entries.is_some_and(|entries| keyframe.entries >= entries)
        };
        let mut later = Vec::new();
        for keyframe in past.timeline().keyframes_of(BranchId::TRUNK).iter().filter(in_part) {
            match tree::copy(&chunks, &trees_of(keyframe), &NoChunks, &mut pack) {
                Ok(()) => later.push(keyframe.clone()),
                // A cache: it was dropped meanwhile, or is damaged.
                Err(PackError::Read(_)) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let sink = pack.finish().map_err(failed)?;
        let file = sink.into_inner().map_err(|error| files::failed(path)(error.into_error()))?;
        file.sync_all().map_err(files::failed(path))?;
        keyframes::verify_pack(path)?;
        Ok(later)
    })();
    let _ = files::remove(&begun);
    Ok((first, written?))
}

/// What is taken over.
struct Part {
    timeline: Arc<Timeline>,
    begin: Instant,
    /// The first entry that is in it.
    first_entry: u64,
    until: Instant,
}

impl Part {
    fn fill(&self, journal: &mut Journal, later: &[Keyframe]) -> Result<(), CutError> {
        let mut entries = self.entries(journal)?.into_iter().peekable();
        let before = self.timeline.keyframes_of(BranchId::TRUNK);
        let before = before.iter().rfind(|keyframe| keyframe.at <= self.begin);
        let mut drawn_bytes = before.map_or(0, |keyframe| keyframe.track_bytes);
        let mut count = 0;
        for keyframe in later {
            let Some(own_entries) = keyframe.entries.checked_sub(self.first_entry) else {
                continue;
            };
            let Some(track_bytes) = keyframe.track_bytes.checked_sub(drawn_bytes) else { continue };
            self.take_track(journal, drawn_bytes, Some(track_bytes))?;
            drawn_bytes = keyframe.track_bytes;
            while count < own_entries
                && let Some(entry) = entries.next()
            {
                journal.log.append(&entry)?;
                count += 1;
            }
            journal.reach(keyframe.at)?;
            let record = KeyframeRecord {
                keyframe: Keyframe {
                    entries: own_entries,
                    track_bytes: journal.cut_track()?,
                    ..keyframe.clone()
                },
                packs: Vec::new(),
            };
            journal.records_file.push(&record)?;
        }
        self.take_track(journal, drawn_bytes, None)?;
        entries.try_for_each(|entry| journal.log.append(&entry))?;
        journal.track.flush()?;
        let mut notes = self.timeline.notes().iter().filter(|note| {
            note.branch == BranchId::TRUNK && (self.begin..=self.until).contains(&note.at)
        });
        notes.try_for_each(|note| journal.note(note))?;
        journal.reach(self.until)?;
        journal.sync()?;
        Ok(())
    }

    /// The entries, with the actors' numbers in the new journal.
    fn entries(&self, journal: &mut Journal) -> Result<Vec<Entry>, CutError> {
        let mut entries = Vec::new();
        let mut last = self.begin;
        for entry in self.timeline.entries(BranchId::TRUNK, self.first_entry) {
            let entry = entry?;
            if entry.at > self.until {
                break;
            }
            if entry.at < last {
                // A file from somebody else may say so.
                let problem = format!("an input at {} comes after one at {last}", entry.at);
                let place = self.timeline.place().to_owned();
                return Err(OpenError::Damaged { place, problem }.into());
            }
            last = entry.at;
            at_most("bytes in one input", data_bytes(&entry.event), DATA_BYTES_MAX)?;
            let actor = match entry.actor {
                ActorId::HOST => ActorId::HOST,
                actor => journal.actor(self.timeline.actor(actor))?,
            };
            entries.push(Entry { actor, ..entry });
        }
        Ok(entries)
    }

    /// Takes over so many bytes of the output track, or all from there on. What is damaged is left
    /// out: a replay makes it again.
    fn take_track(
        &self,
        journal: &mut Journal,
        start: u64,
        bytes: Option<u64>,
    ) -> Result<(), CutError> {
        let mut last = self.begin;
        for item in self.timeline.track_within(BranchId::TRUNK, start, bytes) {
            let Ok(item) = item else { break };
            let TrackItem { at, .. } = item;
            if at > self.until {
                break;
            }
            if at > self.begin && at >= last {
                journal.track.push(&item)?;
                last = at;
            }
        }
        Ok(())
    }
}
