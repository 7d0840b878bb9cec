//! Recordings of a running machine: journals that get everything before anybody sees it.
//!
//! Owns all recordings of a machine together: each gets everything once, also when one of them
//! could not be written at first. [`one`] is what the lab's thread does for a journal: writing
//! entries and the instant reached, syncing behind, beginning and ending branches. When keyframes
//! are taken is in [`keyframes`]; the files are the timeline's. While nothing happens in the
//! machine, nothing happens here.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use stackvm_machine::{Instant, Machine, Output};
use stackvm_timeline::journal::JournalError;
use stackvm_timeline::screen::Screens;
use stackvm_timeline::{BranchId, Event};

use crate::lab::Actor;

mod header;
mod keep;
mod keyframes;
mod one;

pub(crate) use header::{HeaderError, header};
pub use keep::Keep;
pub(crate) use keyframes::first_pack_path;
pub(crate) use one::Recorder;

/// What somebody waits for, by a number of theirs.
pub(crate) type Token = u64;

/// Something that somebody waited for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) token: Token,
    pub(crate) result: Result<(), String>,
}

/// Which entry of a journal something is: the so-manieth of a branch's own, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EntryPlace {
    pub(crate) branch: BranchId,
    pub(crate) entries: u64,
}

impl EntryPlace {
    /// Whether it comes before another in the life of one machine. Branches of its journal follow
    /// each other.
    pub(crate) fn is_before(self, other: EntryPlace) -> bool {
        (self.branch, self.entries) < (other.branch, other.entries)
    }
}

/// Everybody who keeps what happens to a machine.
#[derive(Default)]
pub(crate) struct Recorders {
    list: Vec<Recorder>,
    /// How many of them have taken what is being written: one that failed is tried again.
    done: usize,
    screens: Screens,
    answers: Vec<Answer>,
}

impl Recorders {
    /// Adds a recording. `screens` are what the terminals show, if no recording has kept them.
    pub(crate) fn add(&mut self, recorder: Recorder, screens: impl FnOnce() -> Screens) {
        if self.list.is_empty() {
            self.screens = screens();
        }
        self.list.push(recorder);
    }

    /// Whether nobody records.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The recording in `folder`.
    pub(crate) fn get(&mut self, folder: &Path) -> Option<&mut Recorder> {
        self.list.iter_mut().find(|recorder| recorder.folder == folder)
    }

    /// The recording in `folder` keeps so much history from now on.
    pub(crate) fn keep(&mut self, folder: &Path, keep: Keep) {
        if let Some(recorder) = self.get(folder) {
            recorder.keyframes.keep = Some(keep);
        }
    }

    /// Whether no thread works for any recording.
    pub(crate) fn is_quiet(&self) -> bool {
        self.list.iter().all(|recorder| !recorder.keyframes.is_busy())
    }

    /// Whether nothing waits for a recording to begin.
    pub(crate) fn have_all(&self) -> bool {
        self.list.iter().all(Recorder::has_all)
    }

    /// Why a recording of everything could not begin yet; the machine must not go on.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.list.iter().find_map(|recorder| recorder.trouble.as_deref())
    }

    /// Tries again what [`Recorders::trouble`] names.
    pub(crate) fn retry(&mut self) {
        for recorder in self.list.iter_mut().filter(|recorder| recorder.trouble.is_some()) {
            recorder.trouble = recorder.keyframes.begin_again().err();
        }
    }

    /// Takes what has been done for those who wait.
    pub(crate) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// Where the next entry will be in the machine's own journal, which is the first.
    pub(crate) fn next_entry(&self) -> Option<EntryPlace> {
        self.list.first().map(Recorder::next_entry)
    }

    /// Writes what is about to happen. After an error the same call is to be repeated.
    pub(crate) fn entry(
        &mut self,
        at: Instant,
        actor: &Actor,
        event: &Event,
    ) -> Result<(), JournalError> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.each(|recorder| recorder.entry(at, actor, event))?;
        self.screens.event(event);
        Ok(())
    }

    /// Writes what is about to be shown. After an error the same call is to be repeated.
    pub(crate) fn shown(&mut self, at: Instant, output: &Output) -> Result<(), JournalError> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.each(|recorder| recorder.shown(at, output))?;
        self.screens.output(output);
        Ok(())
    }

    /// Does what is due behind the machine's back; the wall time at which more is.
    pub(crate) fn tick(&mut self, wall_ns: u64, machine: &mut Machine) -> Option<u64> {
        let mut due: Option<u64> = None;
        let mut at = 0;
        while let Some(recorder) = self.list.get_mut(at) {
            let next = recorder.tick(wall_ns, machine, &self.screens, &mut self.answers);
            due = [due, next].into_iter().flatten().min();
            match recorder.over(machine.now()) {
                Some(answer) => {
                    // Whoever waits may open it: it is closed before they hear.
                    self.remove(at);
                    self.answers.extend(answer);
                }
                None => at += 1,
            }
        }
        due
    }

    /// Waits until every recording has begun.
    pub(crate) fn settle(&mut self, machine: &mut Machine) -> Result<(), String> {
        let Recorders { list, screens, answers, .. } = self;
        list.iter_mut().try_for_each(|recorder| recorder.settle(machine, screens, answers))
    }

    /// The journals' folders.
    pub(crate) fn folders(&self) -> impl Iterator<Item = PathBuf> {
        self.list.iter().map(|recorder| recorder.folder.clone())
    }

    /// The finished recordings that journals go on from.
    pub(crate) fn bases(&self) -> impl Iterator<Item = PathBuf> {
        self.list.iter().filter_map(Recorder::base)
    }

    /// Ends recordings where the machine is, each with a keyframe if `last` says so.
    pub(crate) fn finish(
        &mut self,
        machine: &mut Machine,
        which: Which<'_>,
        last: Last,
    ) -> Result<(), String> {
        let (mut result, mut at) = (Ok(()), 0);
        while let Some(recorder) = self.list.get_mut(at) {
            if which == Which::AllBut(&recorder.folder) {
                at += 1;
                continue;
            }
            let ended = recorder.finish(machine, &self.screens, &mut self.answers, last);
            result = result.and(ended);
            self.remove(at);
        }
        result
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&mut self, at: Instant) -> Result<(), String> {
        let mut synced = self.list.iter_mut().map(|recorder| recorder.complete(at));
        synced.try_for_each(|result| result).map_err(|error| trouble(&error))
    }

    fn each(
        &mut self,
        mut write: impl FnMut(&mut Recorder) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        while let Some(recorder) = self.list.get_mut(self.done) {
            write(recorder)?;
            self.done += 1;
        }
        self.done = 0;
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        self.list.remove(at);
        if self.done > at {
            self.done -= 1;
        }
    }
}

/// Which recordings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which<'a> {
    All,
    /// All but the one in this folder.
    AllBut(&'a PathBuf),
}

/// Whether a recording ends with a keyframe, so that going on from there is quick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Last {
    /// Yes.
    Keyframe,
    /// No.
    Entry,
}

/// What a person is told when a recording cannot be written.
pub(crate) fn trouble(error: &JournalError) -> String {
    let mut words = error.to_string();
    let mut full = false;
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            full = matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
            );
        }
        cause = error.source();
    }
    if full {
        format!("the disk is full: {words}; free some space and resume")
    } else {
        format!("the recording cannot be written: {words}")
    }
}
