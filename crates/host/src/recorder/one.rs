//! One recording: a journal, what it is doing, and who waits for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stackvm_machine::persist::StateTrees;
use stackvm_machine::{Instant, Machine, Output};
use stackvm_timeline::branch::{BranchKind, Origin};
use stackvm_timeline::journal::{Journal, JournalError};
use stackvm_timeline::keyframe::Finished;
use stackvm_timeline::note::{Note, Words};
use stackvm_timeline::screen::Screens;
use stackvm_timeline::{ActorId, BranchId, Entry, Event, Header};

use super::keyframes::{Keyframes, Patience};
use super::{Answer, EntryPlace, Last, Token, trouble};
use crate::lab::Actor;

/// Longest wall time between a write and its sync.
const SYNC_NS: u64 = 100_000_000;

/// What a recording does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Its first keyframe, or the first after a pause, is being written; what happens waits.
    Beginning { token: Option<Token> },
    /// Everything is written.
    Growing,
    /// Nothing is kept.
    Paused,
    /// It ends as soon as nothing is being written.
    Ending { token: Token },
    /// It has ended.
    Over,
}

/// What waits for a recording to begin.
enum Waiting {
    Entry { at: Instant, actor: Actor, event: Event },
    Shown { at: Instant, output: Output },
    Note { at: Instant, author: String, words: Words },
}

/// One recording.
pub(crate) struct Recorder {
    pub(super) folder: PathBuf,
    owner: String,
    /// What it starts from, until its journal is made.
    header: Option<Header>,
    journal: Option<Journal>,
    phase: Phase,
    waiting: Vec<Waiting>,
    actors: BTreeMap<Actor, ActorId>,
    pub(super) keyframes: Keyframes,
    unsynced: bool,
    synced_wall_ns: u64,
    /// Why it could not begin yet.
    pub(super) trouble: Option<String>,
}

impl Recorder {
    /// Begins a recording in a new journal, whose first keyframe is the machine now. `token` is
    /// answered when that is durable.
    pub(crate) fn begin(
        folder: &Path,
        owner: &str,
        header: Header,
        token: Option<Token>,
    ) -> Recorder {
        Recorder {
            folder: folder.to_owned(),
            owner: owner.to_owned(),
            header: Some(header),
            journal: None,
            phase: Phase::Beginning { token },
            waiting: Vec::new(),
            actors: BTreeMap::new(),
            keyframes: Keyframes::first(folder),
            unsynced: false,
            synced_wall_ns: 0,
            trouble: None,
        }
    }

    /// Goes on with a journal, with a machine that is where it ends. `trees` are those of its last
    /// keyframe, if they are at hand, which saves the next one hashing all of RAM.
    pub(crate) fn go_on(
        journal: Journal,
        trees: Option<StateTrees>,
    ) -> Result<Recorder, JournalError> {
        Ok(Recorder {
            folder: journal.folder().to_owned(),
            owner: String::new(),
            header: None,
            phase: Phase::Growing,
            waiting: Vec::new(),
            actors: BTreeMap::new(),
            keyframes: Keyframes::of(&journal, trees),
            journal: Some(journal),
            unsynced: false,
            synced_wall_ns: 0,
            trouble: None,
        })
    }

    /// Where the next entry will be.
    pub(super) fn next_entry(&self) -> EntryPlace {
        let waiting =
            self.waiting.iter().filter(|what| matches!(what, Waiting::Entry { .. })).count() as u64;
        let (branch, entries) = match &self.journal {
            Some(journal) => (journal.tip().branch, journal.tip().entries),
            None => (BranchId::TRUNK, 0),
        };
        // What comes before the first keyframe is in that.
        let is_kept = !matches!(self.phase, Phase::Beginning { .. }) || self.keyframes.is_begun();
        EntryPlace { branch, entries: entries + waiting + u64::from(is_kept) }
    }

    /// Whether nothing waits for it to begin.
    pub(super) fn has_all(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Says something about this instant.
    pub(crate) fn note(
        &mut self,
        at: Instant,
        author: &str,
        words: Words,
    ) -> Result<(), JournalError> {
        let author = author.to_owned();
        match self.phase {
            Phase::Beginning { .. } => {
                self.waiting.push(Waiting::Note { at, author, words });
                Ok(())
            }
            _ => self.write(Waiting::Note { at, author, words }),
        }
    }

    /// Takes a keyframe as soon as possible; `token` is answered then.
    pub(crate) fn take_keyframe(&mut self, token: Token) -> Result<(), String> {
        match self.phase {
            Phase::Growing => {
                self.keyframes.ask(token);
                Ok(())
            }
            Phase::Beginning { .. } => Err("the recording is just beginning".into()),
            Phase::Paused => Err("the recording is paused".into()),
            Phase::Ending { .. } | Phase::Over => Err("the recording is ending".into()),
        }
    }

    /// Writes what terminals showed so far, which otherwise waits until it is much.
    pub(crate) fn flush(&mut self) -> Result<(), JournalError> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.cut_track().map(drop))
    }

    /// Keeps nothing from now on.
    pub(crate) fn pause(&mut self, at: Instant) -> Result<(), String> {
        match self.phase {
            Phase::Growing => {
                self.reach(at).map_err(|error| trouble(&error))?;
                self.phase = Phase::Paused;
                Ok(())
            }
            Phase::Paused => Ok(()),
            _ => Err("the recording is just beginning or ending".into()),
        }
    }

    /// Keeps everything again; `token` is answered when that is durable.
    pub(crate) fn resume(&mut self, token: Token) -> Result<(), String> {
        if self.phase != Phase::Paused {
            return Err("the recording is not paused".into());
        }
        self.phase = Phase::Beginning { token: Some(token) };
        Ok(())
    }

    /// Ends the recording; `token` is answered when its files are complete and free.
    pub(crate) fn end(&mut self, token: Token) -> Result<(), String> {
        match self.phase {
            Phase::Growing | Phase::Paused => {
                self.phase = Phase::Ending { token };
                Ok(())
            }
            _ => Err("the recording is just beginning or ending; try again".into()),
        }
    }

    pub(super) fn entry(
        &mut self,
        at: Instant,
        actor: &Actor,
        event: &Event,
    ) -> Result<(), JournalError> {
        let entry = || Waiting::Entry { at, actor: actor.clone(), event: event.clone() };
        match self.phase {
            Phase::Paused | Phase::Over => Ok(()),
            Phase::Beginning { .. } => {
                if self.keyframes.is_begun() {
                    self.waiting.push(entry());
                }
                Ok(())
            }
            Phase::Growing | Phase::Ending { .. } => self.write(entry()),
        }
    }

    pub(super) fn shown(&mut self, at: Instant, output: &Output) -> Result<(), JournalError> {
        match self.phase {
            Phase::Paused | Phase::Over => Ok(()),
            Phase::Beginning { .. } => {
                if self.keyframes.is_begun() {
                    self.waiting.push(Waiting::Shown { at, output: output.clone() });
                }
                Ok(())
            }
            Phase::Growing | Phase::Ending { .. } => {
                self.reach(at)?;
                let Some(journal) = &mut self.journal else { return Ok(()) };
                journal.output(at, output)
            }
        }
    }

    fn write(&mut self, what: Waiting) -> Result<(), JournalError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        self.unsynced = true;
        match what {
            Waiting::Entry { at, actor, event } => {
                let actor = match self.actors.get(&actor) {
                    Some(id) => *id,
                    None => {
                        let id = match journal.actor(actor.name()) {
                            // Whoever types under ever new names must not stop the machine.
                            Err(JournalError::TooMuch { .. }) => ActorId::HOST,
                            id => id?,
                        };
                        self.actors.insert(actor, id);
                        id
                    }
                };
                journal.append(&Entry { at, actor, event })
            }
            Waiting::Shown { at, output } => {
                journal.reach(at)?;
                journal.output(at, &output)
            }
            Waiting::Note { at, author, words } => {
                let branch = journal.tip().branch;
                let unix_ms = crate::process::unix_ns() / 1_000_000;
                // Whoever goes there must find that the machine came so far.
                journal.reach(at)?;
                journal.note(&Note { branch, at, author, unix_ms, words })
            }
        }
    }

    fn reach(&mut self, at: Instant) -> Result<(), JournalError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        if journal.tip().reached < at {
            self.unsynced = true;
            journal.reach(at)?;
        }
        Ok(())
    }

    pub(super) fn tick(
        &mut self,
        wall_ns: u64,
        machine: &mut Machine,
        screens: &Screens,
        answers: &mut Vec<Answer>,
    ) -> Option<u64> {
        if let Phase::Beginning { .. } = self.phase {
            self.tick_beginning(Patience::Look, machine, screens, answers);
        } else if let Some(journal) = &mut self.journal {
            self.keyframes.tick(machine, screens, journal, answers);
        }
        let sync = self.tick_sync(wall_ns);
        let keyframe = self.keyframes.due(wall_ns);
        [sync, keyframe].into_iter().flatten().min()
    }

    fn tick_sync(&mut self, wall_ns: u64) -> Option<u64> {
        let journal = self.journal.as_mut().filter(|_| self.unsynced)?;
        if wall_ns < self.synced_wall_ns + SYNC_NS {
            return Some(self.synced_wall_ns + SYNC_NS);
        }
        journal.sync_in_background();
        self.synced_wall_ns = wall_ns;
        self.unsynced = false;
        None
    }

    /// Gets a recording that begins to the point where it grows.
    fn tick_beginning(
        &mut self,
        patience: Patience,
        machine: &mut Machine,
        screens: &Screens,
        answers: &mut Vec<Answer>,
    ) {
        let Phase::Beginning { token } = self.phase else { return };
        if !self.keyframes.is_begun() {
            let pack = self.journal.as_mut().map(Journal::new_pack_path);
            if let Err(problem) = self.keyframes.begin(machine, screens, pack) {
                self.gave_up(token, problem, answers);
            }
            return;
        }
        let Some(finished) = self.keyframes.first_finished(patience) else { return };
        let result =
            finished.and_then(|finished| self.begun(finished).map_err(|error| trouble(&error)));
        match result {
            Ok(()) => {
                self.phase = Phase::Growing;
                self.trouble = None;
                answers.extend(token.map(|token| Answer { token, result: Ok(()) }));
            }
            Err(problem) => self.gave_up(token, problem, answers),
        }
    }

    /// The first keyframe is there: makes the journal, or its next branch, and writes what waits.
    fn begun(&mut self, finished: Finished) -> Result<(), JournalError> {
        let Finished { mut keyframe, pack, path, .. } = finished;
        match (&mut self.journal, self.header.take()) {
            (None, Some(header)) => {
                let packs = [path.clone()];
                let made = Journal::create(&self.folder, &header, &packs, &keyframe, &self.owner);
                // It is linked into the journal now, or of no use.
                let _ = std::fs::remove_file(&path);
                match made {
                    Ok(journal) => self.journal = Some(journal),
                    Err(error) => {
                        self.header = Some(header);
                        return Err(error);
                    }
                }
            }
            (Some(journal), _) => {
                let after = journal.tip().branch;
                let origin = Origin::Gap { after };
                let name = format!("after-pause-{}", journal.timeline()?.branches().len());
                let unix_ms = crate::process::unix_ns() / 1_000_000;
                let (author, kind) = (Actor::Host.name(), BranchKind::Exact);
                keyframe.branch =
                    journal.begin_branch(origin, keyframe.at, &name, author, kind, unix_ms)?;
                journal.add_verified_keyframe(&keyframe, pack)?;
            }
            (None, None) => unreachable!("a recording has a journal or makes one"),
        }
        if let Some(journal) = &self.journal {
            self.keyframes.grow(journal);
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.write(waiting)?;
        }
        self.journal.as_mut().map_or(Ok(()), Journal::sync)
    }

    /// The recording could not begin. Who asked for it is told; what was to be recorded from the
    /// machine's start is tried again.
    fn gave_up(&mut self, token: Option<Token>, problem: String, answers: &mut Vec<Answer>) {
        match token {
            Some(token) => {
                answers.push(Answer { token, result: Err(problem) });
                self.keyframes.forget_first();
                self.waiting.clear();
                if self.journal.is_some() {
                    self.phase = Phase::Paused;
                } else {
                    self.phase = Phase::Over;
                }
            }
            None => self.trouble = Some(problem),
        }
    }

    /// Waits until it has begun; not for what to do when it cannot.
    pub(super) fn settle(
        &mut self,
        machine: &mut Machine,
        screens: &Screens,
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        self.tick_beginning(Patience::Look, machine, screens, answers);
        self.tick_beginning(Patience::Wait, machine, screens, answers);
        self.trouble.take().map_or(Ok(()), Err)
    }

    /// The finished recording that its journal goes on from.
    pub(super) fn base(&self) -> Option<PathBuf> {
        self.journal.as_ref().and_then(Journal::base)
    }

    /// Whether it is over, and who waits for that.
    pub(super) fn over(&mut self, at: Instant) -> Option<Option<Answer>> {
        match self.phase {
            Phase::Over => Some(None),
            Phase::Ending { token } if !self.keyframes.is_busy() => {
                let result = self.complete(at).map_err(|error| trouble(&error));
                Some(Some(Answer { token, result }))
            }
            _ => None,
        }
    }

    pub(super) fn complete(&mut self, at: Instant) -> Result<(), JournalError> {
        if matches!(self.phase, Phase::Growing | Phase::Ending { .. }) {
            self.reach(at)?;
        }
        let Some(journal) = &mut self.journal else { return Ok(()) };
        // Whoever opens the journal next reads the track from its file.
        journal.cut_track()?;
        journal.sync()
    }

    /// Ends here, whatever it was doing.
    pub(super) fn finish(
        &mut self,
        machine: &mut Machine,
        screens: &Screens,
        answers: &mut Vec<Answer>,
        last: Last,
    ) -> Result<(), String> {
        self.settle(machine, screens, answers)?;
        let written = self.reach(machine.now()).map_err(|error| trouble(&error));
        if let (Some(journal), Phase::Growing, Last::Keyframe) =
            (&mut self.journal, self.phase, last)
        {
            self.keyframes.last(machine, screens, journal, answers);
        }
        written?;
        self.complete(machine.now()).map_err(|error| trouble(&error))
    }
}
