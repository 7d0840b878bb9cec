//! The lab of a recording from somebody else: it makes a journal of a `.vmcast`, and never runs.
//!
//! The file is hostile: its maker is whom all checks are for. So this lab locks itself in before it
//! opens it, and can write nothing but the folder that becomes the journal: not its spec, which says
//! what the next lab believes. Who started it puts the journal where it belongs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use stackvm_timeline::journal::Journal;
use stackvm_timeline::replay::Replay;
use stackvm_timeline::{BranchId, Timeline};

use super::make::owner;
use super::start::{StartError, in_a_line};
use crate::machines::{IMPORT_FOLDER, JOURNAL_FOLDER, Left, MachineSpec, STOPPED_FILE, Source};
use crate::machines::{Lifetime, StartFrom};
use crate::sandbox::{self, Plan, Sandbox};

/// The file that a machine is to be made of, if it is one of these.
pub(super) fn file(spec: &MachineSpec) -> Option<&Path> {
    match (&spec.source, &spec.start) {
        (Source::Journal { .. }, StartFrom::Moment { journal, until_ticks: Some(_), .. })
            if spec.lifetime == Lifetime::Frozen =>
        {
            Some(journal)
        }
        _ => None,
    }
}

/// Makes the journal of the machine in `folder` of `file`.
pub(super) fn import(
    folder: &Path,
    spec: &MachineSpec,
    file: &Path,
    sandbox: Sandbox,
) -> Result<(), StartError> {
    let import = folder.join(IMPORT_FOLDER);
    let stopped = folder.join(STOPPED_FILE);
    let made = fs::create_dir(&import).and_then(|()| fs::write(&stopped, Left::Running.word()));
    made.map_err(|error| StartError::io("write to the machine's folder", error))?;
    if sandbox == Sandbox::On {
        let (own, read) = (vec![import.clone()], vec![file.to_owned()]);
        sandbox::enter(&Plan { own, read, written: vec![stopped.clone()], ..Plan::default() })?;
    }
    let unusable = |error: &dyn std::error::Error| StartError::Foreigner(in_a_line(error));
    let timeline = Arc::new(Timeline::open(file).map_err(|error| unusable(&error))?);
    let until = timeline.branch(BranchId::TRUNK).end;
    let header = timeline.header().clone();
    let mut past = Replay::new(timeline).map_err(|error| unusable(&error))?;
    let journal = import.join(JOURNAL_FOLDER);
    Journal::cut(&journal, &header, &mut past, until, &owner(spec))
        .map_err(|error| unusable(&error))?;
    fs::write(&stopped, Left::Saved.word())
        .map_err(|error| StartError::io("write to the machine's folder", error))
}
