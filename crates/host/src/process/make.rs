//! Making the lab of a machine's folder: from its journal, from a recording, or switched on anew.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use stackvm_machine::instant::Ticks;
use stackvm_machine::{Input, Instant, Machine, MachineConfig, Stop};
use stackvm_timeline::journal::Journal;
use stackvm_timeline::replay::{Boot, Departure, FirstKeyframe, Replay};
use stackvm_timeline::screen::Screens;
use stackvm_timeline::track::TrackItem;
use stackvm_timeline::{BranchId, Header, Position, Timeline};

use super::start::StartError;
use super::{believed, drawn, log, unix_ns};
use crate::lab::{Actor, FreshIdentity, Lab, rtc_base};
use crate::machines::{JOURNAL_FOLDER, MachineSpec, STOPPED_FILE, Source, StartFrom};
use crate::machines::{Left, left};
use crate::prompt::{self, BootFiles, Prompt};
use crate::recorder::{Recorder, first_pack_path, header};

/// Virtual time that a guest has to become a machine of its own.
const FRESH_LIMIT: Ticks = Ticks::from_ns(120_000_000_000);

/// A lab, ready to run.
pub(super) struct Made {
    pub(super) lab: Lab,
    /// Its guest's clock has stood still.
    pub(super) clock_is_late: bool,
    /// Its guest is to become a machine of its own in real time, with this on its clock.
    pub(super) fresh_rtc_ns: Option<u64>,
    /// Its guest was at a prompt and still has the addresses it had there.
    pub(super) needs_addresses: bool,
}

/// Makes the lab of the machine in `folder`, recordings included. `data` is the data directory.
pub(super) fn make(folder: &Path, spec: &MachineSpec, data: &Path) -> Result<Made, StartError> {
    spec.check_forwards()?;
    let own = spec.lifetime.is_kept().then(|| folder.join(JOURNAL_FOLDER));
    let kept = own.as_deref().filter(|journal| journal.is_dir());
    let (mut from_prompt, mut left_past) = (None, None);
    let mut made = match (kept, &spec.source) {
        (Some(journal), _) => go_on(journal, spec, data, left(folder))?,
        (None, _) if let StartFrom::Moment { journal, at_ticks, .. } = &spec.start => {
            let (made, replay) = from_moment(journal, Instant::from_ticks(*at_ticks), spec, data)?;
            left_past = Some(replay);
            made
        }
        (None, Source::Recording { journal }) => go_on(journal, spec, data, Left::Running)?,
        (None, _) => match at_prompt(spec, data) {
            Some((lab, prompt)) => {
                from_prompt = Some(prompt);
                Made { lab, clock_is_late: false, fresh_rtc_ns: None, needs_addresses: false }
            }
            None => {
                let mut lab = Lab::new(configure(spec, data)?)?;
                if boot_of(spec) == Boot::Later {
                    lab.leave_boot_files(boot_files(spec, data));
                }
                Made { lab, clock_is_late: false, fresh_rtc_ns: None, needs_addresses: false }
            }
        },
    };
    // From here on it runs, and only the journal knows how far.
    match std::fs::remove_file(folder.join(STOPPED_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StartError::io("write to the machine's folder", error));
        }
        _ => {}
    }
    let is_new = kept.is_none();
    let began = own.filter(|_| is_new).into_iter().chain(spec.record.clone());
    match from_prompt {
        None => {
            match left_past {
                Some(mut past) => match &spec.start {
                    StartFrom::Moment { until_ticks: Some(until), .. } => {
                        let until = Instant::from_ticks(*until);
                        take_past(&mut past, until, &made.lab, spec, data, began)?;
                    }
                    _ => record_beside(past, &mut made.lab, spec, data, began)?,
                },
                None => record(&mut made.lab, spec, data, began)?,
            }
            // What is frozen stays what it was.
            if let Some(rtc_ns) = made.fresh_rtc_ns.filter(|_| spec.lifetime.runs()) {
                made.lab.put(&Actor::Host, Input::Identity { seed: random()?, rtc_ns });
            }
        }
        Some(prompt) => {
            record_from(&prompt, &mut made.lab, spec, data, began)?;
            become_fresh(&mut made.lab, spec)?;
            made.needs_addresses = true;
        }
    }
    // Reading images and recordings takes much that nobody needs any more.
    super::fork::give_memory_back();
    Ok(made)
}

/// A fresh fork of another machine as it was at an instant. Its guest takes the rest of its identity
/// when it runs, if it has an agent.
fn from_moment(
    journal: &Path,
    at: Instant,
    spec: &MachineSpec,
    data: &Path,
) -> Result<(Made, Replay), StartError> {
    let unusable = |problem: String| StartError::Journal { path: journal.to_owned(), problem };
    let timeline = Timeline::open(journal).map_err(|error| unusable(error.to_string()))?;
    believed::check(journal, timeline.header(), None, spec, data)?;
    let place = Position { branch: BranchId::TRUNK, at, entries: None };
    let mut replay =
        Replay::near(Arc::new(timeline), place).map_err(|error| unusable(error.to_string()))?;
    replay.seek(place).map_err(|error| unusable(error.to_string()))?;
    let departure = replay.depart(boot_of(spec)).map_err(|error| unusable(error.to_string()))?;
    let lab = departed(departure, spec, data);
    let fresh_rtc_ns = Some(unix_ns());
    Ok((Made { lab, clock_is_late: false, fresh_rtc_ns, needs_addresses: false }, replay))
}

/// Whether what a machine boots from is kept in memory. Files of one's own may change meanwhile;
/// an image's do not.
fn boot_of(spec: &MachineSpec) -> Boot {
    match spec.source {
        Source::Image { .. } => Boot::Later,
        _ => Boot::Read,
    }
}

/// The lab of a machine that has left a replay.
fn departed(departure: Departure, spec: &MachineSpec, data: &Path) -> Lab {
    let Departure { machine, config, derived, .. } = departure;
    let mut lab = Lab::with_machine(machine, config);
    lab.restore(&derived);
    if boot_of(spec) == Boot::Later {
        lab.leave_boot_files(boot_files(spec, data));
    }
    lab
}

/// A lab that goes on from its image's cached prompt, if the spec says so and there is one.
fn at_prompt(spec: &MachineSpec, data: &Path) -> Option<(Lab, Prompt)> {
    let prompt = match prompt::open(data, spec) {
        Ok(prompt) => prompt?,
        Err(error) => {
            log(&format!("{error}; the machine boots instead"));
            return None;
        }
    };
    let lab = Lab::at_prompt(&prompt, boot_files(spec, data));
    Some((lab, prompt))
}

fn boot_files(spec: &MachineSpec, data: &Path) -> BootFiles {
    let (spec, data) = (spec.clone(), data.to_owned());
    Rc::new(move || spec.machine_config(&data))
}

/// Makes a machine that started from a prompt one of its own.
fn become_fresh(lab: &mut Lab, spec: &MachineSpec) -> Result<(), StartError> {
    let (seed, rtc_ns) = fresh(spec)?;
    // A host name has no underscores.
    let hostname = spec.name.replace('_', "-");
    let limit = lab.now() + FRESH_LIMIT;
    lab.become_fresh(&FreshIdentity { seed, rtc_ns, hostname }, limit)?;
    Ok(())
}

/// Begins recordings in these folders, with the machine as it is.
pub(super) fn record(
    lab: &mut Lab,
    spec: &MachineSpec,
    data: &Path,
    journals: impl Iterator<Item = PathBuf>,
) -> Result<(), StartError> {
    let owner = owner(spec);
    for journal in journals {
        let header = header(spec, data, lab.config())?;
        lab.record(Recorder::begin(&journal, &owner, header, None));
    }
    // Their first keyframes are of this instant.
    lab.tend(0);
    Ok(())
}

/// Begins recordings in these folders, with the machine at a prompt, whose keyframe is there.
fn record_from(
    prompt: &Prompt,
    lab: &mut Lab,
    spec: &MachineSpec,
    data: &Path,
    journals: impl Iterator<Item = PathBuf>,
) -> Result<(), StartError> {
    for journal in journals {
        let header = header(spec, data, lab.config())?;
        let (packs, first) = (prompt.pack_paths(), prompt.keyframe());
        let journal = Journal::create(&journal, &header, &packs, first, &owner(spec))?;
        let recorder = Recorder::go_on(journal, None)?;
        lab.recorders().add(recorder, || Screens::from_derived(prompt.derived()));
    }
    Ok(())
}

/// Begins recordings in these folders, with the machine where a replay of another's past is: what
/// that has of it is linked, not written again, since the machine waits for the first keyframe.
fn record_beside(
    mut past: Replay,
    lab: &mut Lab,
    spec: &MachineSpec,
    data: &Path,
    journals: impl Iterator<Item = PathBuf>,
) -> Result<(), StartError> {
    for folder in journals {
        let pack = first_pack_path(&folder);
        let first = past.first_keyframe(&pack).map_err(|error| error.to_string());
        let begun = first.and_then(|FirstKeyframe { keyframe, packs, trees }| {
            let header = header_after(&past, lab, spec, data).map_err(|error| error.to_string())?;
            let journal = Journal::create(&folder, &header, &packs, &keyframe, &owner(spec));
            // It is linked into the journal now, or of no use.
            let _ = std::fs::remove_file(&pack);
            let recorder = journal.and_then(|journal| Recorder::go_on(journal, Some(trees)));
            recorder.map_err(|error| error.to_string())
        });
        match begun {
            Ok(recorder) => {
                let derived = past.screens().derived();
                lab.recorders().add(recorder, || Screens::from_derived(&derived));
            }
            // The other's packs may have been dropped meanwhile.
            Err(problem) => {
                log(&format!("{problem}; the recording begins with the whole state"));
                record(lab, spec, data, std::iter::once(folder))?;
            }
        }
    }
    Ok(())
}

/// The header of a journal that begins where a replay of another's past is.
fn header_after(
    past: &Replay,
    lab: &Lab,
    spec: &MachineSpec,
    data: &Path,
) -> Result<Header, StartError> {
    match &spec.source {
        Source::Journal { .. } => Ok(Header {
            seed: lab.config().seed,
            rtc_ns: lab.config().rtc_ns,
            ..past.timeline().header().clone()
        }),
        _ => Ok(header(spec, data, lab.config())?),
    }
}

/// Makes journals of these folders that have what happened from where a replay of another's past is
/// until an instant. The machine itself is not recorded: it never runs.
fn take_past(
    past: &mut Replay,
    until: Instant,
    lab: &Lab,
    spec: &MachineSpec,
    data: &Path,
    mut journals: impl Iterator<Item = PathBuf>,
) -> Result<(), StartError> {
    let header = header_after(past, lab, spec, data)?;
    journals.try_for_each(|folder| Ok(Journal::cut(&folder, &header, past, until, &owner(spec))?))
}

/// How a recording's owner is called when somebody else wants to write it.
pub(super) fn owner(spec: &MachineSpec) -> String {
    format!("machine {:?} (process {})", spec.name, std::process::id())
}

/// The machine at a journal's end, which goes on being written.
fn go_on(folder: &Path, spec: &MachineSpec, data: &Path, left: Left) -> Result<Made, StartError> {
    let unusable = |problem: String| StartError::Journal { path: folder.to_owned(), problem };
    let mut journal = Journal::open(folder, &owner(spec))?;
    let timeline =
        Arc::new(journal.timeline().map_err(stackvm_timeline::journal::JournalError::from)?);
    believed::check(folder, timeline.header(), journal.base().as_deref(), spec, data)?;
    let tip = journal.tip();
    let end = Position { branch: tip.branch, at: tip.reached, entries: Some(tip.entries) };
    let mut replay = Replay::near(timeline, end).map_err(|error| unusable(error.to_string()))?;
    // What cannot be written now is with the next output.
    let mut redone = |item: &TrackItem| drop(journal.redo_track(item));
    let drawn = drawn::until(&mut replay, end, &mut redone);
    let drawn = drawn.map_err(|error| unusable(error.to_string()))?;
    let departure = replay.depart(boot_of(spec)).map_err(|error| unusable(error.to_string()))?;
    drop(replay);
    let derived = departure.derived.clone();
    let mut lab = departed(departure, spec, data);
    lab.remember(drawn);
    let recorder = Recorder::go_on(journal, None)?;
    lab.recorders().add(recorder, || Screens::from_derived(&derived));
    if left == Left::Off || is_off(&mut lab.machine) {
        let (seed, rtc_ns) = fresh(spec)?;
        let base = rtc_base(rtc_ns, lab.now());
        lab.switch_on(&Actor::Host, seed, base);
        lab.forget_screens();
        // Nobody has seen it off.
        while lab.next_event().is_some() {}
        return Ok(Made { lab, clock_is_late: false, fresh_rtc_ns: None, needs_addresses: false });
    }
    let clock_is_late = spec.rtc_ns.is_none() && !matches!(spec.source, Source::Recording { .. });
    Ok(Made { lab, clock_is_late, fresh_rtc_ns: None, needs_addresses: false })
}

/// Whether the guest has switched it off.
fn is_off(machine: &mut Machine) -> bool {
    matches!(machine.run(machine.now()), Stop::PowerOff { .. })
}

fn configure(spec: &MachineSpec, data: &Path) -> Result<MachineConfig, StartError> {
    let mut config = spec.machine_config(data)?;
    (config.seed, config.rtc_ns) = fresh(spec)?;
    Ok(config)
}

/// Seed and time for switching the machine on.
fn fresh(spec: &MachineSpec) -> Result<(u64, u64), StartError> {
    let seed = match spec.seed {
        Some(seed) => seed,
        None => random()?,
    };
    Ok((seed, spec.rtc_ns.unwrap_or_else(unix_ns)))
}

pub(super) fn random() -> Result<u64, StartError> {
    let random = getrandom::u64();
    random.map_err(|error| StartError::io("get a seed", std::io::Error::other(error)))
}
