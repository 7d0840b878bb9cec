//! Finding places in a timeline.

use stackvm_machine::Instant;
use stackvm_machine::instant::{TICKS_PER_NS, Ticks};

use super::{NoSuchInstant, Timeline};
use crate::branch::{BranchId, Origin};
use crate::note::Words;
use crate::position::{Position, When};

/// Marks that a message names.
const MARKS_NAMED_MAX: usize = 12;

impl Timeline {
    /// The branches from the root to `branch`, each with the place at which the next one leaves it
    /// (the last one: its end). The root is the nearest one that begins with a keyframe of its own.
    pub fn path(&self, branch: BranchId) -> Vec<Position> {
        let last = self.branch(branch);
        let mut path = vec![Position { branch, at: last.end, entries: Some(last.entries) }];
        let mut origin = last.origin;
        while let Origin::Fork(fork) = origin {
            path.push(Position { branch: fork.branch, at: fork.at, entries: Some(fork.entries) });
            origin = self.branch(fork.branch).origin;
        }
        path.reverse();
        path
    }

    /// The place on a branch's path that `when` names.
    ///
    /// # Errors
    /// [`NoSuchInstant`] with the marks or the range there are.
    pub fn find(&self, branch: BranchId, when: &When) -> Result<Position, NoSuchInstant> {
        let begin = self.begin(branch);
        let end = self.branch(branch).end;
        match when {
            When::Exact(at) => self.find_instant(branch, *at),
            When::Elapsed(ticks) => {
                let at = begin
                    .ticks()
                    .checked_add(ticks.get())
                    .map_or(Instant::MAX, Instant::from_ticks);
                self.find_instant(branch, at)
            }
            When::Part(millionths) => {
                let whole = u128::from(end.since(begin).get());
                let part = whole * u128::from(*millionths) / 1_000_000;
                let part = u64::try_from(part).expect("a part of a u64");
                self.find_instant(branch, (begin + Ticks::new(part)).min(end))
            }
            When::Mark(name) => self.find_mark(branch, name),
            When::Entry(number) => self.find_entry(branch, *number),
        }
    }

    fn find_instant(&self, branch: BranchId, at: Instant) -> Result<Position, NoSuchInstant> {
        let (begin, end) = (self.begin(branch), self.branch(branch).end);
        if at < begin || at > end {
            let length = seconds(end.since(begin));
            return Err(NoSuchInstant(format!(
                "{at} is not in the recording: branch {} goes from {begin} to {end} (0 to {length} \
                 seconds)",
                self.branch(branch).name
            )));
        }
        let path = self.path(branch);
        // The last branch that has begun by then; at its first instant it is the child's already.
        let left = path[..path.len() - 1].iter().take_while(|place| place.at <= at).count();
        Ok(Position { branch: path[left].branch, at, entries: None })
    }

    fn find_mark(&self, branch: BranchId, name: &str) -> Result<Position, NoSuchInstant> {
        let path = self.path(branch);
        let marks = || {
            self.notes().iter().filter_map(|note| match &note.words {
                Words::Mark(name) => Some((note, name)),
                Words::Comment(_) => None,
            })
        };
        let on_path = |on: BranchId, at: Instant| {
            path.iter().any(|place| place.branch == on && at <= place.at)
        };
        let mut found =
            marks().filter(|(note, mark)| *mark == name && on_path(note.branch, note.at));
        if let Some((note, _)) = found.next_back() {
            return Ok(Position { branch: note.branch, at: note.at, entries: None });
        }
        if let Some((note, _)) = marks().find(|(_, mark)| *mark == name) {
            let other = &self.branch(note.branch).name;
            return Err(NoSuchInstant(format!("the mark #{name} is on branch {other}")));
        }
        let names: Vec<_> = marks()
            .filter(|(note, _)| on_path(note.branch, note.at))
            .map(|(_, mark)| format!("#{mark}"))
            .take(MARKS_NAMED_MAX)
            .collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(NoSuchInstant(format!("there is no mark #{name}; marks here: {there}")))
    }

    fn find_entry(&self, branch: BranchId, number: u64) -> Result<Position, NoSuchInstant> {
        let mut before = 0;
        for place in self.path(branch) {
            let count = place.entries.expect("places of a path have numbers");
            if number >= 1 && number <= before + count {
                let own = number - before;
                let folded = self.branch(place.branch).folded.entries;
                let entry = self.entries(place.branch, own - 1).next().filter(|_| own > folded);
                return match entry {
                    Some(Ok(entry)) => {
                        Ok(Position { branch: place.branch, at: entry.at, entries: Some(own) })
                    }
                    Some(Err(error)) => Err(NoSuchInstant(error.to_string())),
                    None => Err(NoSuchInstant(format!("input {number} is missing"))),
                };
            }
            before += count;
        }
        let name = &self.branch(branch).name;
        Err(NoSuchInstant(format!(
            "there is no input {number}: branch {name} has {before}, counted from 1"
        )))
    }
}

/// Seconds with one decimal.
fn seconds(ticks: Ticks) -> String {
    let tenths = ticks.get() / (TICKS_PER_NS * 100_000_000);
    format!("{}.{}", tenths / 10, tenths % 10)
}
