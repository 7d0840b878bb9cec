//! `stackvm record`: a machine and everything that happens to it, in one file.
//!
//! Owns the file's life: its name, the journal beside it while it grows, and writing it at the end.
//! What is recorded, and how, is the lab's business.

mod running;
mod script;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use stackvm_host::machines::{Source, Status};
use stackvm_images::{ImageStore, data_dir};
use stackvm_timeline::journal::Journal;

use super::attach::Streams;
use super::machines;
use super::run::{self, Plan};
use crate::args::Record;
use crate::casts;
use crate::days;
use crate::failure::failure;
use crate::session::{Menu, RecordingEnd, Signals};
use crate::values::show_bytes;

/// A recording that is being made.
pub(crate) struct Recording {
    file: PathBuf,
    journal: PathBuf,
    end: RecordingEnd,
}

/// What to do with a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Existing {
    /// Leave it alone, and say so.
    Refuse,
    /// Replace it, at the end.
    Replace,
}

/// Records.
pub(crate) async fn run(args: Record) -> Result<u8> {
    let mut signals = Signals::new()?;
    let end = RecordingEnd::Leave;
    if let Some(file) = &args.continued {
        let recording = Recording::go_on(file, end)?;
        let source = Source::Recording { journal: recording.journal().to_owned() };
        return live(&args, source, recording, &mut signals).await;
    }
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    let subject = subject(&args);
    let file = match &args.output {
        Some(file) => file.clone(),
        None => default_file(&subject),
    };
    let recording = Recording::new(&file, existing, end)?;
    if let Some(name) = &args.image
        && is_running_machine(name)?
    {
        return running::run(name, recording, &mut signals).await;
    }
    if !args.command.is_empty() {
        return script::script(&args, recording, &mut signals).await;
    }
    let source = run::source(args.image.as_deref(), &args.machine, &mut signals).await?;
    live(&args, source, recording, &mut signals).await
}

async fn live(
    args: &Record,
    source: Source,
    recording: Recording,
    signals: &mut Signals,
) -> Result<u8> {
    let (machine, recording) = (&args.machine, Some(recording));
    let streams = Streams::Terminal;
    let detach = None;
    run::live(Plan { source, machine, command: &[], streams, recording, detach }, signals).await
}

impl Recording {
    /// A new one.
    pub(crate) fn new(file: &Path, existing: Existing, end: RecordingEnd) -> Result<Recording> {
        let file = casts::absolute(file)?;
        let journal = casts::journal_of(&file);
        let shown = file.display();
        if journal.exists() {
            match existing {
                Existing::Replace => Journal::open(&journal, &casts::owner("record"))?.remove()?,
                Existing::Refuse => {
                    return Err(failure(
                        format!("{} is a recording that was not finished", journal.display()),
                        format!(
                            "`stackvm record --continue {shown}` goes on with it; --force \
                                 throws it away"
                        ),
                    ));
                }
            }
        }
        if file.exists() && existing == Existing::Refuse {
            return Err(failure(
                format!("{shown} is there already"),
                "choose another file with -o, or replace it with --force",
            ));
        }
        Ok(Recording { file, journal, end })
    }

    /// One that goes on: from its journal, or from a finished file.
    fn go_on(file: &Path, end: RecordingEnd) -> Result<Recording> {
        let file = casts::named(file)?;
        casts::newest(&file)?;
        let journal = casts::journal_of(&file);
        let owner = casts::owner("record --continue");
        // Whoever else has it is named here, before anything is started.
        if journal.is_dir() {
            Journal::open(&journal, &owner)?;
        } else {
            Journal::extend(&journal, &file, &owner)?;
        }
        Ok(Recording { file, journal, end })
    }

    /// Where it grows.
    pub(crate) fn journal(&self) -> &Path {
        &self.journal
    }

    /// Where it is to grow for a machine that runs already: beside its file, or in the machine's
    /// annex, where its sandbox lets it write. Then a link beside the file leads there.
    fn grow_in(&self, annex: Option<&Path>) -> Result<PathBuf> {
        let Some(annex) = annex else { return Ok(self.journal.clone()) };
        let name = self.journal.file_name().unwrap_or_default().to_string_lossy();
        let numbered = (2..).map(|number| format!("{name}.{number}"));
        let mut free = std::iter::once(name.clone().into_owned())
            .chain(numbered)
            .map(|name| annex.join(name))
            .filter(|place| !place.exists());
        let place = free.next().expect("there are more numbers than files");
        symlink(&place, &self.journal)
            .with_context(|| format!("cannot make {}", self.journal.display()))?;
        Ok(place)
    }

    /// Nothing has been recorded.
    fn forget(&self) {
        if self.journal.is_symlink() {
            // It leads nowhere.
            let _ = std::fs::remove_file(&self.journal);
        }
    }

    /// What its session's menu offers.
    pub(crate) fn menu(&self) -> Menu {
        Menu::Recording { journal: self.journal.clone(), end: self.end }
    }

    /// The machine goes on, and so does the recording.
    pub(crate) fn left_running(&self) {
        let file = self.file.display();
        eprintln!(
            "it is still being recorded; when it has stopped, `stackvm record --continue {file}` \
             and Ctrl-] e write the file"
        );
    }

    /// Nobody wants it: leaves neither a file nor a journal.
    fn discard(self) -> Result<()> {
        if self.journal.is_dir() {
            Journal::open(&self.journal, &casts::owner("record"))?.remove()?;
        }
        Ok(())
    }

    /// Nothing is being recorded any more: writes the file.
    pub(crate) async fn finish(self, signals: &mut Signals) -> Result<()> {
        let Recording { file, journal, .. } = self;
        if !journal.is_dir() {
            // The machine did not start, or did not begin, which has been said.
            return Ok(());
        }
        casts::finish(&journal, &file, signals).await?;
        let bytes = std::fs::metadata(&file).map_or(0, |meta| meta.len());
        let short = short(&file);
        eprintln!("recorded: {short} ({}); `stackvm play {short}` plays it", show_bytes(bytes));
        Ok(())
    }
}

/// What is recorded, for the file's name.
fn subject(args: &Record) -> String {
    let name = |path: &PathBuf| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let machine = &args.machine;
    machine
        .name
        .clone()
        .or_else(|| args.image.clone())
        .or_else(|| machine.kernel.as_ref().and_then(name))
        .unwrap_or_else(|| "machine".to_owned())
}

/// `NAME-DATE.vmcast`, with a number if that is taken.
fn default_file(subject: &str) -> PathBuf {
    let stem = format!("{subject}-{}", days::for_file_names(days::now_unix_ms()));
    let numbered = (2..).map(|number| format!("{stem}-{number}.vmcast"));
    let mut names = std::iter::once(format!("{stem}.vmcast")).chain(numbered).map(PathBuf::from);
    let free = names.find(|file| !file.exists() && !casts::journal_of(file).exists());
    free.expect("there are more numbers than files")
}

/// Whether `name` is a running machine and no image.
fn is_running_machine(name: &str) -> Result<bool> {
    let Ok(listed) = super::machine(&machines()?, name) else { return Ok(false) };
    let is_image = ImageStore::open(&data_dir()?)?.get(name).is_ok();
    match (listed.status, is_image) {
        (Status::Running, false) => Ok(true),
        (Status::Running, true) => Err(failure(
            format!("{name} is an image and a running machine"),
            "give the machine another name, or start the image's machine with --name",
        )),
        (_, false) => Err(failure(
            format!("machine {name} is not running"),
            format!("`stackvm start {name} --detach` starts it"),
        )),
        (_, true) => Ok(false),
    }
}

/// A path as people would type it here.
fn short(file: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| file.strip_prefix(here).ok().map(Path::to_owned));
    relative.unwrap_or_else(|| file.to_owned()).display().to_string()
}
