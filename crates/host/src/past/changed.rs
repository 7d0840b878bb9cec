//! When a file changed, found by looking at it in throw-away branches.
//!
//! The file is looked at from time to time, and where two looks differ, more of them close in on
//! the change. A look at an instant runs the guest on from there without the recording's later
//! inputs for as long as looking takes (some milliseconds), so the instant found is the first one
//! from which on the change follows without anybody's doing: the input that caused it, or the guest
//! being about to do it. A change that is undone between two looks is not seen.

use std::fmt;

use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;
use stackvm_timeline::timeline::OpenError;
use stackvm_timeline::{BranchId, Entry, Position, Timeline};
use thiserror::Error;

use super::{Past, PastError};

mod search;
#[cfg(test)]
mod tests;

use search::{Point, Schedule};

/// Looks at a file that are spread over a recording, unless it is said otherwise.
pub const LOOKS: u32 = 32;
/// A change with no input near is closed in on to this.
const RESOLUTION: Ticks = Ticks::from_ns(1_000_000);

/// What the guest runs for a look: size, modification time, kind and hash, or nothing. What changes
/// while it is looked at is looked at again.
const SCRIPT: &str = r#"
look() { stat -L -c '%s %Y %F' "$1" 2>/dev/null; }
for again in 1 2 3 4 5; do
  [ -e "$1" ] || [ -L "$1" ] || exit 0
  [ -e "$1" ] || { echo "0 0 dangling link"; exit 0; }
  before=$(look "$1"); hash=
  if [ -f "$1" ]; then hash=$(sha256sum < "$1")
  elif [ -d "$1" ]; then
    hash=$(cd "$1" && find . -exec stat -c '%n %s %Y %F' {} \; 2>/dev/null | sha256sum)
  fi
  [ -n "$before" ] && [ "$before" = "$(look "$1")" ] && break
done
[ -n "$before" ] || { stat -L "$1" >/dev/null; exit 1; }
printf '%s\n%s\n' "$before" "$hash""#;

/// What is at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileState {
    /// Nothing.
    Missing,
    /// Something.
    There {
        /// Size in bytes.
        bytes: u64,
        /// Modification time, in seconds since 1970.
        modified_unix_s: i64,
        /// `regular file`, `directory`, as stat(1) says it.
        kind: String,
        /// SHA-256 of a file's content, or of a directory's list; empty for anything else.
        hash: String,
    },
}

/// A change of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The first place from which on it follows.
    pub at: Position,
    /// The input that it follows from, if it is one.
    pub cause: Option<Entry>,
    /// How it was before.
    pub before: FileState,
    /// How it is afterwards.
    pub after: FileState,
}

/// Why it cannot be said when a file changed.
#[derive(Debug, Error)]
pub enum ChangedError {
    /// The past does not answer.
    #[error(transparent)]
    Past(#[from] PastError),
    /// The recording cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The guest could not look.
    #[error("the guest could not look at {path} at {at} (code {code}): {words}")]
    Look {
        /// At what.
        path: String,
        /// When.
        at: Instant,
        /// The exit code.
        code: u8,
        /// What it said.
        words: String,
    },
    /// At no instant could the guest be asked.
    #[error("the guest could be asked at no instant of this branch; the last time: {0}")]
    Never(Box<PastError>),
}

/// Where a search is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// How many looks there were.
    pub number: u32,
    /// Where this one is.
    pub at: Instant,
}

/// The changes of `path` along a branch, in order. At least `looks` looks are spread over it;
/// `progress` is told each.
///
/// # Errors
/// See [`ChangedError`].
pub fn changes(
    past: &mut Past,
    branch: BranchId,
    path: &str,
    looks: u32,
    progress: &mut dyn FnMut(Look),
) -> Result<Vec<Change>, ChangedError> {
    let timeline = std::sync::Arc::clone(past.replay().timeline());
    let (schedule, entries) = schedule(&timeline, branch)?;
    let (mut number, mut last, mut seen) = (0, None, false);
    let mut look = |point: Point| -> Result<Option<FileState>, ChangedError> {
        number += 1;
        progress(Look { number, at: point.at });
        let at = position(&timeline, branch, point);
        match past.exec(at, &["sh", "-c", SCRIPT, "sh", path], b"") {
            Ok(output) if output.code == 0 => {
                seen = true;
                let text = String::from_utf8_lossy(&output.stdout);
                parse(&text).map(Some).ok_or_else(|| {
                    let (path, words) = (path.to_owned(), text.trim().to_owned());
                    ChangedError::Look { path, at: point.at, code: 0, words }
                })
            }
            Ok(output) => {
                let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let (path, code) = (path.to_owned(), output.code);
                Err(ChangedError::Look { path, at: point.at, code, words })
            }
            // Before its agent is up, and when it is off, a guest cannot be asked.
            Err(error @ (PastError::NotUp { .. } | PastError::Off { .. })) => {
                last = Some(error);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    };
    let found = search::changes(&schedule, looks, &mut look)?;
    if let (false, Some(error)) = (seen, last) {
        return Err(ChangedError::Never(Box::new(error)));
    }
    let change = |found: search::Found<FileState>| Change {
        at: position(&timeline, branch, found.at),
        cause: found.cause.and_then(|entry| entries.get(entry).cloned()),
        before: found.before,
        after: found.after,
    };
    Ok(found.into_iter().map(change).collect())
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileState::Missing => f.write_str("missing"),
            FileState::There { bytes, kind, .. } if kind.starts_with("regular") => {
                write!(f, "{bytes} bytes")
            }
            FileState::There { kind, .. } => f.write_str(kind),
        }
    }
}

/// What the script says.
fn parse(text: &str) -> Option<FileState> {
    let mut lines = text.lines();
    let Some(first) = lines.next() else { return Some(FileState::Missing) };
    let mut fields = first.splitn(3, ' ');
    let bytes = fields.next()?.parse().ok()?;
    let modified_unix_s = fields.next()?.parse().ok()?;
    let kind = fields.next()?.to_owned();
    let hash = lines.next().and_then(|line| line.split(' ').next()).unwrap_or("").to_owned();
    // A directory's own size says how it is stored.
    let bytes = if kind == "directory" { 0 } else { bytes };
    Some(FileState::There { bytes, modified_unix_s, kind, hash })
}

/// The inputs of a branch's whole path, and their instants as the search needs them.
fn schedule(timeline: &Timeline, branch: BranchId) -> Result<(Schedule, Vec<Entry>), OpenError> {
    let mut entries = Vec::new();
    let path = timeline.path(branch);
    for place in &path {
        let folded = timeline.branch(place.branch).folded.entries;
        let count = place.entries.unwrap_or(u64::MAX).saturating_sub(folded);
        let own = timeline.entries(place.branch, 0);
        for entry in own.take(usize::try_from(count).unwrap_or(usize::MAX)) {
            entries.push(entry?);
        }
    }
    let begin = timeline.begin(branch);
    let end = path.last().map_or(begin, |place| place.at);
    let instants = entries.iter().map(|entry| entry.at).collect();
    Ok((Schedule { begin, end, entries: instants, resolution: RESOLUTION }, entries))
}

/// The place of a point of a branch's whole path.
fn position(timeline: &Timeline, branch: BranchId, point: Point) -> Position {
    let mut before = 0;
    for place in timeline.path(branch) {
        let folded = timeline.branch(place.branch).folded.entries;
        let own = place.entries.unwrap_or(0).saturating_sub(folded);
        let here = point.entries.saturating_sub(before) as u64;
        if place.branch == branch || (here <= own && point.at <= place.at) {
            let entries = Some(folded + here);
            return Position { branch: place.branch, at: point.at, entries };
        }
        before += usize::try_from(own).unwrap_or(usize::MAX);
    }
    unreachable!("a branch's path ends with it")
}
