//! A timeline that grows: a folder that survives the end of its process at any moment.
//!
//! | file | content |
//! |---|---|
//! | `lock` | locked by the one process that writes; says which one it is |
//! | `manifest.json` | header, branches, actors: replaced as a whole when they change |
//! | `branch-N.log` | a branch's own entries ([`crate::log`]), of which the last block is open |
//! | `branch-N.tail` | how far the log is good and the machine was shown: overwritten in place |
//! | `branch-N.track` | its output track ([`crate::track`]) |
//! | `keyframes`, `notes` | records that are only added to |
//! | `NNNNNN.pack` | chunks of keyframes |
//!
//! An entry is two writes, of its bytes and of the slot in the tail that speaks of them; when
//! [`Journal::append`] returns, the end of this process loses nothing, and after the next sync
//! neither does a power loss. When a write fails, nothing has changed for readers, and the same call
//! may be made again. Tests let every single operation fail and the power with it.

mod base;
mod branches;
mod create;
mod cut;
mod ended;
mod files;
mod fold;
mod keyframes;
mod manifest;
mod paths;
mod read;
mod records;
mod sync;
mod tail;
mod thin;
mod track_file;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stackvm_machine::{Instant, Output};
use stackvm_store::{Chunks, PackSet};
use thiserror::Error;

use crate::branch::{Branch, BranchId};
use crate::event::{ActorId, Entry, Event};
use crate::keyframe::Keyframe;
use crate::limits::{ACTORS_MAX, DATA_BYTES_MAX, NAME_BYTES_MAX, NOTES_MAX, TEXT_BYTES_MAX};
use crate::note::{Note, Words};
use crate::timeline::{OpenError, Parts, Piece, Timeline, TrackPart};
use crate::track::{TrackEvent, TrackItem};
use stackvm_machine::{ConsoleId, Input};

pub use cut::CutError;
pub use ended::EndedJournal;
use keyframes::CurrentChunks;
use manifest::{KeyframeRecord, Manifest};
use paths::PathAt;
use records::Records;
use track_file::TrackFile;
use writer::LogFiles;

pub use keyframes::{VerifiedPack, verify_pack};
pub use read::notes as read_notes;
pub(crate) use read::timeline as read_timeline;

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another process writes it.
    #[error("{} is being written by {owner}", folder.display())]
    Locked {
        /// The journal.
        folder: PathBuf,
        /// Who has it, as they said.
        owner: String,
    },
    /// No space, and the like: nothing was lost, and the same call may be tried again.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// It cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A name that cannot be one, or is taken.
    #[error("{what} {name:?} {problem}")]
    Name {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A branch that is being written, or from which everything else leaves.
    #[error("branch {0} cannot be deleted: it is needed")]
    Needed(String),
    /// A pack is not what it should be.
    #[error("the pack {} cannot be used: {problem}", path.display())]
    Pack {
        /// The pack.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// More than a timeline can have.
    #[error("{what}: at most {max} are possible")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

/// Where a journal's appending ends are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tip {
    /// The branch that grows.
    pub branch: BranchId,
    /// Number of its own entries.
    pub entries: u64,
    /// How far it was shown.
    pub reached: Instant,
}

/// A journal, locked for writing.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    manifest: Manifest,
    /// The branch that `log` and `track` are of.
    grows: BranchId,
    /// By [`BranchId`]; of the one that grows, entries and end are in `log`.
    branches: Vec<Branch>,
    /// Blocks that are closed, but for those that `log` has closed.
    logs: Vec<Vec<Piece>>,
    /// Of the branch that grows, what is in the base.
    tracks: Vec<Vec<TrackPart>>,
    log: LogFiles,
    track: TrackFile,
    base: Option<Timeline>,
    records: Vec<KeyframeRecord>,
    records_file: Records,
    /// With those of the base.
    notes: Vec<Note>,
    notes_file: Records,
    chunks: PackSet,
    current_chunks: Arc<CurrentChunks>,
    pack_bytes: BTreeMap<String, u64>,
    next_pack: u64,
    /// Holds the lock.
    _lock: File,
}

impl Journal {
    /// Bytes that it has on disk, without its manifest and notes.
    pub fn bytes(&self) -> u64 {
        let fold = self.manifest.branches[self.grows.0 as usize].fold;
        let log = self.log.bytes() - fold.map_or(0, |fold| fold.log_start);
        self.packs_bytes() + log + self.track.end() - self.track.start()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The timeline as it is now.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn timeline(&self) -> Result<Timeline, OpenError> {
        let grows = self.grows;
        let mut branches = self.branches.clone();
        branches[grows.0 as usize] = self.grown();
        let mut logs = self.logs.clone();
        logs[grows.0 as usize].extend(self.grown_pieces());
        let mut tracks = self.tracks.clone();
        tracks[grows.0 as usize].extend(self.track.part());
        Ok(Timeline::new(Parts {
            place: self.folder.display().to_string(),
            header: self.manifest.header.clone(),
            actors: self.manifest.actors.clone(),
            branches,
            keyframes: self.keyframes().cloned().collect(),
            notes: self.notes.clone(),
            chunks: self.chunks.clone(),
            logs,
            tracks,
        }))
    }

    /// All chunks of its keyframes: what need not be written again for the next one. It is always
    /// what the journal has now, also after [`Journal::thin`].
    pub fn chunks(&self) -> Arc<dyn Chunks> {
        self.current_chunks.clone()
    }

    /// Where it grows.
    pub fn tip(&self) -> Tip {
        let tail = self.log.tail();
        let branch = self.grows;
        Tip { branch, entries: tail.count(), reached: tail.reached }
    }

    /// The number of an actor, who is added if new.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn actor(&mut self, name: &str) -> Result<ActorId, JournalError> {
        if let Some(known) = self.manifest.actors.iter().position(|actor| actor == name) {
            return Ok(ActorId(known as u16));
        }
        check_name("the actor", name)?;
        at_most("actors", self.manifest.actors.len() + 1, ACTORS_MAX)?;
        let mut manifest = self.manifest.clone();
        manifest.actors.push(name.to_owned());
        self.write_manifest(manifest)?;
        Ok(ActorId(self.manifest.actors.len() as u16 - 1))
    }

    /// Writes an entry; it survives the end of this process when this returns, and a power loss
    /// after the next [`Journal::sync`].
    ///
    /// # Errors
    /// [`JournalError::Write`]: the entry is not written; the machine must not see it. The same
    /// call may be made again. [`JournalError::TooMuch`] when it has too much data.
    ///
    /// # Panics
    /// When the entry is earlier than the tip, or from an actor that is none.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let tip = self.tip();
        assert!(entry.at >= tip.reached, "an input at {} behind {}", entry.at, tip.reached);
        assert!(usize::from(entry.actor.0) < self.manifest.actors.len(), "an actor that is none");
        at_most("bytes in one input", data_bytes(&entry.event), DATA_BYTES_MAX)?;
        self.log.append(entry)?;
        if let Event::Input(Input::Resize { console, columns, rows }) = entry.event {
            self.note_resize(entry.at, console, columns, rows);
        }
        Ok(())
    }

    /// Notes that the machine has got this far, in place; to be called before outputs up to there
    /// are shown. One small write.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn reach(&mut self, at: Instant) -> Result<(), JournalError> {
        self.log.reach(at)
    }

    /// Adds to the output track; only what terminals show is kept. What is lost of it in a crash can
    /// be made again.
    ///
    /// # Errors
    /// [`JournalError::Write`]: the output is kept, and written with a later one.
    pub fn output(&mut self, at: Instant, output: &Output) -> Result<(), JournalError> {
        match TrackItem::of_output(at, output) {
            Some(item) => self.track.push(&item),
            None => Ok(()),
        }
    }

    /// Adds to the output track what was lost of it and a replay made again, in order: after the last
    /// keyframe, where [`Journal::open`] cut it, and before anything new.
    ///
    /// # Errors
    /// As [`Journal::output`].
    pub fn redo_track(&mut self, item: &TrackItem) -> Result<(), JournalError> {
        self.track.push(item)
    }

    /// Sizes are inputs, so the track has them from there; that writing it fails is told with the
    /// next output.
    fn note_resize(&mut self, at: Instant, console: ConsoleId, columns: u16, rows: u16) {
        let _ = self.track.push(&TrackItem {
            at,
            console,
            event: TrackEvent::Resize { columns, rows },
        });
    }

    /// Writes the output track up to here and says how many bytes it has: what a keyframe that is
    /// taken here must say in [`Keyframe::track_bytes`].
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn cut_track(&mut self) -> Result<u64, JournalError> {
        self.track.flush()?;
        Ok(read::track_bytes(&self.tracks[self.grows.0 as usize]) + self.track.end())
    }

    /// Adds a mark or comment.
    ///
    /// # Errors
    /// See [`JournalError`].
    ///
    /// # Panics
    /// When it is on no branch.
    pub fn note(&mut self, note: &Note) -> Result<(), JournalError> {
        assert!((note.branch.0 as usize) < self.branches.len(), "a note on no branch");
        at_most("marks and comments", self.notes.len() + 1, NOTES_MAX)?;
        at_most("bytes in an author's name", note.author.len(), NAME_BYTES_MAX)?;
        match &note.words {
            Words::Mark(name) => check_name("the mark", name)?,
            Words::Comment(text) => at_most("bytes in a comment", text.len(), TEXT_BYTES_MAX)?,
        }
        self.notes_file.push(note)?;
        self.notes.push(note.clone());
        Ok(())
    }

    /// Makes what was written safe against a power loss (fdatasync); returns at once when nothing
    /// was written since.
    ///
    /// # Errors
    /// [`JournalError::Write`]: nothing is lost while this process lives; the next sync writes
    /// again what this one could not.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.log.sync()
    }

    /// Begins a sync on a thread of its own, so that a slow disk does not stop the machine. While
    /// one is going on this does nothing: it is to be called until [`Journal::is_synced`].
    pub fn sync_in_background(&mut self) {
        self.log.sync_in_background();
    }

    /// Whether everything written is safe against a power loss, as far as was noticed.
    pub fn is_synced(&self) -> bool {
        self.log.is_safe()
    }

    /// Ends writing and removes the folder: after it was written to a `.vmcast`.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn remove(self) -> Result<(), JournalError> {
        let folder = self.folder.clone();
        // The lock stays until the folder is gone.
        let Journal { log, track, _lock, .. } = self;
        drop((log, track));
        std::fs::remove_dir_all(&folder).map_err(files::failed(&folder))
    }

    /// The branch that grows, as it is now.
    fn grown(&self) -> Branch {
        let tip = self.tip();
        Branch {
            entries: tip.entries,
            end: tip.reached,
            ..self.branches[tip.branch.0 as usize].clone()
        }
    }

    /// The blocks that were written since the branch that grows was opened.
    fn grown_pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let path = self.log.log_path();
        let place: Arc<str> = path.display().to_string().into();
        let blocks = self.log.closed().iter().copied().chain(self.log.open_block());
        blocks.map(move |(offset, header)| {
            let source = PathAt::new(path, offset + u64::from(header.bytes));
            Piece { source: Arc::new(source), place: place.clone(), offset, header }
        })
    }

    /// The finished recording that it goes on from: it is read in place.
    pub fn base(&self) -> Option<PathBuf> {
        self.manifest.base.as_ref().map(|base| self.folder.join(&base.path))
    }

    /// All keyframes, those of the base included.
    fn keyframes(&self) -> impl Iterator<Item = &Keyframe> {
        let base = self.base.iter().flat_map(|base| base.keyframes());
        base.chain(self.records.iter().map(|record| &record.keyframe))
    }

    fn write_manifest(&mut self, manifest: Manifest) -> Result<(), JournalError> {
        manifest.write(&self.folder)?;
        self.manifest = manifest;
        Ok(())
    }
}

fn data_bytes(event: &Event) -> usize {
    match event {
        Event::Input(
            Input::Console { bytes, .. } | Input::Port { bytes, .. } | Input::Frame { bytes, .. },
        ) => bytes.len(),
        _ => 0,
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), JournalError> {
    if count <= max { Ok(()) } else { Err(JournalError::TooMuch { what, max }) }
}

fn check_name(what: &'static str, name: &str) -> Result<(), JournalError> {
    match crate::timeline::name_problem(name) {
        None => Ok(()),
        Some(problem) => Err(JournalError::Name { what, name: name.to_owned(), problem }),
    }
}
