//! The keyframes of a growing recording: a thread writes them behind the machine, as seldom as
//! their cost asks for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stackvm_machine::persist::StateTrees;
use stackvm_machine::{Frozen, Machine};
use stackvm_store::{Chunks, Digest, NoChunks, ReadError};
use stackvm_timeline::cadence::to_drop;
use stackvm_timeline::cadence::{Activity, Cadence, DISK_BYTES_MAX, Held, Moment, Role, WORK_MIN};
use stackvm_timeline::journal::Journal;
use stackvm_timeline::keyframe::{Finished, Job, Keyframer, KeyframerError, Place};
use stackvm_timeline::screen::{Derived, Screens};
use stackvm_timeline::{BranchId, Keyframe};

use super::keep::Keep;
use super::{Answer, Token, trouble};

/// How often to look whether a keyframe is done.
const LOOK_NS: u64 = 5_000_000;

/// What a keyframe that failed counts as: the next is not tried at once.
const FAILED: Duration = Duration::from_millis(100);

/// The making of a recording's keyframes.
pub(super) struct Keyframes {
    keyframer: Keyframer,
    /// What need not be written again.
    known: Arc<Known>,
    /// The recording's first one, or the first after a pause, until it is written.
    first: Option<(Frozen, Derived)>,
    /// Where the first one's pack goes.
    first_pack: PathBuf,
    /// Who waits for one that is not begun yet, and for the one being written.
    asked: Vec<Token>,
    awaited: Vec<Token>,
    /// The moment of the last one, and what it cost.
    taken: Moment,
    cadence: Cadence,
    /// How much history is kept; all, without one.
    pub(super) keep: Option<Keep>,
}

impl Keyframes {
    /// Those of a recording that will be in `folder`.
    pub(super) fn first(folder: &Path) -> Keyframes {
        Keyframes::new(Arc::new(NoChunks), None, first_pack_path(folder))
    }

    /// Those of a recording that goes on, with the trees of its last one if they are at hand.
    pub(super) fn of(journal: &Journal, trees: Option<StateTrees>) -> Keyframes {
        Keyframes::new(journal.chunks(), trees, PathBuf::new())
    }

    fn new(known: Arc<dyn Chunks>, last: Option<StateTrees>, first_pack: PathBuf) -> Keyframes {
        let known = Arc::new(Known(RwLock::new(known)));
        let taken = Moment { lab_cpu: lab_cpu(), retired: 0 };
        Keyframes {
            keyframer: Keyframer::new(known.clone(), last),
            known,
            first: None,
            first_pack,
            asked: Vec::new(),
            awaited: Vec::new(),
            taken,
            cadence: Cadence::after(taken, Duration::ZERO),
            keep: None,
        }
    }

    /// Whether a thread writes one.
    pub(super) fn is_busy(&self) -> bool {
        self.keyframer.is_busy()
    }

    /// Whether the first one has its instant: what happens from now on is after it.
    pub(super) fn is_begun(&self) -> bool {
        self.first.is_some()
    }

    /// Has one taken as soon as possible.
    pub(super) fn ask(&mut self, token: Token) {
        self.asked.push(token);
    }

    /// Takes the first one: the machine now.
    pub(super) fn begin(
        &mut self,
        machine: &mut Machine,
        screens: &Screens,
        pack: Option<PathBuf>,
    ) -> Result<(), String> {
        if let Some(pack) = pack {
            self.first_pack = pack;
        }
        self.first = Some((machine.freeze(), screens.derived()));
        self.taken = moment(machine);
        self.begin_again()
    }

    /// Writes the first one, again if it could not be written.
    pub(super) fn begin_again(&mut self) -> Result<(), String> {
        let Some((frozen, derived)) = self.first.clone() else { return Ok(()) };
        let place = Place { branch: BranchId::TRUNK, entries: 0, track_bytes: 0 };
        self.start(Job { frozen, derived, place, pack: self.first_pack.clone() })
    }

    /// The first one, if it is written.
    pub(super) fn first_finished(
        &mut self,
        patience: Patience,
    ) -> Option<Result<Finished, String>> {
        self.finished(patience).map(|result| result.map_err(|error| cannot_write(&error)))
    }

    fn finished(&mut self, patience: Patience) -> Option<Result<Finished, KeyframerError>> {
        match patience {
            Patience::Wait => self.keyframer.wait(),
            Patience::Look => self.keyframer.take_finished(),
        }
    }

    /// It is in the journal: from now on there are others.
    pub(super) fn grow(&mut self, journal: &Journal) {
        self.first = None;
        // The trees of the last one stay: they are of chunks that the journal has now.
        self.known.become_those_of(journal);
        self.cadence = Cadence::after(self.taken, Duration::ZERO);
    }

    /// The first one will not be needed.
    pub(super) fn forget_first(&mut self) {
        self.first = None;
        self.keyframer.forget_last();
    }

    /// When to look again.
    pub(super) fn due(&self, wall_ns: u64) -> Option<u64> {
        self.is_busy().then(|| wall_ns + LOOK_NS)
    }

    /// Adds the one that is done, and begins one that is due.
    pub(super) fn tick(
        &mut self,
        machine: &mut Machine,
        screens: &Screens,
        journal: &mut Journal,
        answers: &mut Vec<Answer>,
    ) {
        self.add_finished(Patience::Look, journal, answers);
        if self.is_busy() || self.asked.is_empty() && !self.is_due(machine) {
            return;
        }
        self.take(machine, screens, journal, answers);
    }

    /// Takes one now and waits until it is in the journal.
    pub(super) fn last(
        &mut self,
        machine: &mut Machine,
        screens: &Screens,
        journal: &mut Journal,
        answers: &mut Vec<Answer>,
    ) {
        self.add_finished(Patience::Wait, journal, answers);
        self.take(machine, screens, journal, answers);
        self.add_finished(Patience::Wait, journal, answers);
    }

    fn is_due(&mut self, machine: &Machine) -> bool {
        // Asking for the CPU time costs more than this.
        if machine.retired().abs_diff(self.taken.retired) < WORK_MIN {
            return false;
        }
        let idle = machine.idle_until().is_some();
        let activity = if idle { Activity::Idle } else { Activity::Busy };
        self.cadence.is_due(moment(machine), activity)
    }

    fn take(
        &mut self,
        machine: &mut Machine,
        screens: &Screens,
        journal: &mut Journal,
        answers: &mut Vec<Answer>,
    ) {
        let cut = journal.reach(machine.now()).and_then(|()| journal.cut_track());
        let track_bytes = match cut {
            Ok(bytes) => bytes,
            Err(error) => return self.failed(&trouble(&error), answers),
        };
        let tip = journal.tip();
        let place = Place { branch: tip.branch, entries: tip.entries, track_bytes };
        // What the last keyframe held is nobody's now.
        machine.give_back_when_due();
        let (frozen, derived) = (machine.freeze(), screens.derived());
        self.taken = moment(machine);
        self.awaited = std::mem::take(&mut self.asked);
        let started = self.start(Job { frozen, derived, place, pack: journal.new_pack_path() });
        if let Err(problem) = started {
            self.failed(&problem, answers);
        }
    }

    fn add_finished(
        &mut self,
        patience: Patience,
        journal: &mut Journal,
        answers: &mut Vec<Answer>,
    ) {
        let Some(finished) = self.finished(patience) else { return };
        let added = finished.map_err(|error| cannot_write(&error)).and_then(|finished| {
            let Finished { keyframe, pack, cpu, .. } = finished;
            let added = journal.add_verified_keyframe(&keyframe, pack);
            added.map_err(|error| trouble(&error)).map(|()| cpu)
        });
        match added {
            Ok(cost) => {
                self.cadence = Cadence::after(self.taken, cost);
                let done = self.awaited.drain(..).map(|token| Answer { token, result: Ok(()) });
                answers.extend(done);
                let is_folded = self.keep.is_some_and(|keep| keep.fold(journal));
                if thin(journal) || is_folded {
                    self.known.become_those_of(journal);
                }
            }
            Err(problem) => {
                self.keyframer.forget_last();
                self.failed(&problem, answers);
            }
        }
    }

    /// A keyframe is a cache: without it the recording is as good as with it.
    fn failed(&mut self, problem: &str, answers: &mut Vec<Answer>) {
        self.cadence = Cadence::after(self.taken, FAILED);
        let result = || Err(problem.to_owned());
        answers.extend(self.awaited.drain(..).map(|token| Answer { token, result: result() }));
    }

    fn start(&mut self, job: Job) -> Result<(), String> {
        self.keyframer
            .start(job, || {})
            .map_err(|error| format!("no thread for a keyframe: {error}"))
    }
}

/// Where the pack of a first keyframe is written, before there is a journal in `folder`.
pub(crate) fn first_pack_path(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{}", std::process::id()))
}

fn moment(machine: &Machine) -> Moment {
    Moment { lab_cpu: lab_cpu(), retired: machine.retired() }
}

/// CPU time that this process has used.
fn lab_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Whether to wait for a keyframe that is being written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    Wait,
    Look,
}

/// The chunks of the journal's keyframes, whichever journal it is by then.
#[derive(Debug)]
struct Known(RwLock<Arc<dyn Chunks>>);

impl Known {
    fn become_those_of(&self, journal: &Journal) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = journal.chunks();
    }

    fn now(&self) -> Arc<dyn Chunks> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Chunks for Known {
    fn get(&self, id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        self.now().get(id)
    }

    fn contains(&self, id: &Digest) -> bool {
        self.now().contains(id)
    }

    fn difference_depth(&self, id: &Digest) -> u32 {
        self.now().difference_depth(id)
    }
}

/// Keeps to the disk budget; true if some keyframes went.
fn thin(journal: &mut Journal) -> bool {
    if journal.packs_bytes() <= DISK_BYTES_MAX {
        return false;
    }
    let Ok(timeline) = journal.timeline() else { return false };
    let keyframes = timeline.keyframes();
    // How much each one takes is not known; on average it is this.
    let pack_bytes = journal.packs_bytes() / keyframes.len().max(1) as u64;
    let first: Vec<&Keyframe> = timeline.first_keyframes().collect();
    let role = |keyframe: &Keyframe| match first.contains(&keyframe) {
        true => Role::First,
        false => Role::Cache,
    };
    let held =
        |keyframe: &Keyframe| Held { retired: keyframe.retired, pack_bytes, role: role(keyframe) };
    let held: Vec<Held> = keyframes.iter().map(held).collect();
    let drop = to_drop(&held, DISK_BYTES_MAX);
    let dropped: Vec<&Keyframe> = drop.iter().map(|at| &keyframes[*at]).collect();
    // A recording that cannot be thinned now is larger, and as good.
    let _ = journal.thin(&|keyframe| !dropped.contains(&keyframe));
    !dropped.is_empty()
}

fn cannot_write(error: &KeyframerError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
