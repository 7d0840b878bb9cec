//! The recording that is played, and what breaking in adds to it: a journal beside the file, which
//! is saved back into it at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use stackvm_timeline::branch::Branch;
use stackvm_timeline::journal::Journal;
use stackvm_timeline::{BranchId, Timeline};

use crate::casts::{self, Found};
use crate::failure::failure;
use crate::session::Signals;

/// What happens to new branches at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    /// They go into the file that is played.
    Back,
    /// They go into a new file, with the rest.
    As(PathBuf),
    /// They are thrown away.
    Nothing,
}

/// A recording that is played.
pub(crate) struct Tape {
    file: PathBuf,
    /// Where new branches are recorded.
    journal: PathBuf,
    keep: Keep,
    timeline: Arc<Timeline>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is as it was found.
    Untouched,
    /// There are new branches in the journal.
    Grown,
}

impl Tape {
    /// Opens a recording.
    pub(crate) fn open(file: &Path, keep: Keep) -> Result<Tape> {
        let file = casts::named(file)?;
        let (_, newest) = casts::newest(&file)?;
        let timeline = Arc::new(Timeline::open(&newest)?);
        let journal = match &keep {
            Keep::Back => casts::journal_of(&file),
            Keep::As(new) => {
                if new.exists() || casts::journal_of(new).exists() {
                    return Err(failure(
                        format!("{} is there already", new.display()),
                        "choose another name for --save-as",
                    ));
                }
                casts::journal_of(&casts::absolute(new)?)
            }
            Keep::Nothing => {
                let name = format!("stackvm-play-{}.journal", std::process::id());
                std::env::temp_dir().join(name)
            }
        };
        Ok(Tape { file, journal, keep, timeline, state: State::Untouched })
    }

    /// What is in it.
    pub(crate) fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    /// Where new branches are recorded.
    pub(crate) fn journal(&self) -> &Path {
        &self.journal
    }

    /// The branch with this name.
    pub(crate) fn branch(&self, name: &str) -> Result<BranchId> {
        branch(&self.timeline, name)
    }

    /// A name that no branch has: `branch-1`, `branch-2` and so on.
    pub(crate) fn free_name(&self) -> String {
        free_name(self.timeline.branches())
    }

    /// Opens the journal for a new branch, making it at the first time.
    pub(crate) fn writer(&mut self) -> Result<Journal> {
        let owner = casts::owner("play");
        let (found, newest) = casts::newest(&self.file)?;
        let journal = if self.journal.is_dir() {
            Journal::open(&self.journal, &owner)?
        } else if found == Found::Journal {
            return Err(failure(
                format!("{} is not finished: it cannot be copied", newest.display()),
                "play it without --save-as and --discard, or finish it first",
            ));
        } else {
            let help = match self.keep {
                Keep::Back => "play it with --save-as NEW, or with --discard",
                _ => "choose another place",
            };
            if self.keep == Keep::Back && is_read_only(&self.file) {
                let message = format!("{} cannot be written", self.file.display());
                return Err(failure(message, help));
            }
            Journal::extend(&self.journal, &self.file.canonicalize()?, &owner)
                .map_err(|error| failure(describe(&error), help))?
        };
        self.state = State::Grown;
        Ok(journal)
    }

    /// Looks at what the journal has become.
    pub(crate) fn reload(&mut self) -> Result<()> {
        if self.journal.is_dir() {
            self.timeline = Arc::new(Timeline::open(&self.journal)?);
        }
        Ok(())
    }

    /// Saves what is new, or throws it away, as was asked for.
    pub(crate) async fn close(self, signals: &mut Signals) -> Result<()> {
        let Tape { file, journal, keep, timeline, state } = self;
        drop(timeline);
        if state == State::Untouched || !journal.is_dir() {
            return Ok(());
        }
        let to = match keep {
            Keep::Back => file,
            Keep::As(new) => casts::absolute(&new)?,
            Keep::Nothing => {
                let journal = Journal::open(&journal, &casts::owner("play"))?;
                return journal.remove().context("the new branches could not be thrown away");
            }
        };
        casts::finish(&journal, &to, signals).await?;
        eprintln!("saved: {}; `stackvm log {0}` shows the branches", to.display());
        Ok(())
    }
}

/// The branch of a timeline with this name.
pub(crate) fn branch(timeline: &Timeline, name: &str) -> Result<BranchId> {
    let alive = |branch: &&Branch| !branch.deleted;
    let found =
        timeline.branches().iter().position(|branch| !branch.deleted && branch.name == name);
    found.map(|number| BranchId(number as u32)).ok_or_else(|| {
        let names: Vec<&str> =
            timeline.branches().iter().filter(alive).map(|branch| branch.name.as_str()).collect();
        failure(format!("there is no branch {name}"), format!("there are: {}", names.join(", ")))
    })
}

fn free_name(branches: &[Branch]) -> String {
    let name = |number: usize| format!("branch-{number}");
    let taken = |name: &String| branches.iter().any(|branch| branch.name == *name);
    let free = (1..).map(name).find(|name| !taken(name));
    free.expect("there are more numbers than branches")
}

/// Whether the file's owner or mount says so; writing it means replacing it in its folder.
fn is_read_only(file: &Path) -> bool {
    use rustix::fs::{Access, access};
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    access(file, Access::WRITE_OK).is_err() || access(folder, Access::WRITE_OK).is_err()
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use stackvm_machine::Instant;
    use stackvm_timeline::branch::{BranchKind, Folded, Origin};

    use super::*;

    #[test]
    fn names_are_free() {
        let check = |names: &[&str], expected: &str| {
            let branches: Vec<Branch> = names
                .iter()
                .map(|name| Branch {
                    origin: Origin::Start,
                    name: (*name).to_owned(),
                    author: String::new(),
                    created_unix_ms: 0,
                    kind: BranchKind::Exact,
                    entries: 0,
                    folded: Folded::default(),
                    end: Instant::ZERO,
                    deleted: false,
                })
                .collect();
            assert_eq!(free_name(&branches), expected, "{names:?}");
        };
        check(&["main"], "branch-1");
        check(&["main", "branch-1", "branch-3"], "branch-2");
    }
}
