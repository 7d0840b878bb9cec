//! One branch of a timeline as a line to play along: its beginning, its end, the marks on the way,
//! and when anything happens.

use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;
use stackvm_timeline::note::{Note, Words};
use stackvm_timeline::{BranchId, Position, Timeline};

use super::pace::Quiet;

/// A branch from the beginning of the recording to its end.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    branch: BranchId,
    begin: Instant,
    path: Vec<Position>,
    marks: Vec<(Ticks, String)>,
}

impl Course {
    /// Of `branch`.
    pub(crate) fn new(timeline: &Timeline, branch: BranchId) -> Course {
        let (begin, path) = (timeline.begin(branch), timeline.path(branch));
        let marks = marks(timeline.notes(), &path, begin);
        Course { branch, begin, path, marks }
    }

    /// Which branch.
    pub(crate) fn branch(&self) -> BranchId {
        self.branch
    }

    /// Its length.
    pub(crate) fn total(&self) -> Ticks {
        self.path.last().map_or(Ticks::new(0), |end| end.at.since(self.begin))
    }

    /// How far an instant is from its beginning.
    pub(crate) fn elapsed(&self, at: Instant) -> Ticks {
        at.since(self.begin)
    }

    /// The place so far from its beginning, at most its end.
    pub(crate) fn place(&self, elapsed: Ticks) -> Position {
        let at = self.begin + elapsed.min(self.total());
        Position { branch: self.branch, at, entries: None }
    }

    /// Where it leaves its parent.
    pub(crate) fn own_begin(&self) -> Ticks {
        let before = self.path.len().checked_sub(2).and_then(|n| self.path.get(n));
        before.map_or(Ticks::new(0), |place| self.elapsed(place.at))
    }

    /// How many entries of the whole path have been put in at `place`, on one of its branches.
    pub(crate) fn entries_before(&self, place: &Position) -> u64 {
        let before = self.path.iter().take_while(|step| step.branch != place.branch);
        before.chain([place]).filter_map(|step| step.entries).sum()
    }

    /// Its marks, in order, counted from its beginning.
    pub(crate) fn marks(&self) -> &[(Ticks, String)] {
        &self.marks
    }

    /// When nothing happens on it. Damage is no trouble here: replaying finds it.
    pub(crate) fn quiet(&self, timeline: &Timeline) -> Quiet {
        let mut events = Vec::new();
        let mut from = self.begin;
        for place in &self.path {
            let inputs = timeline.entries(place.branch, 0).map_while(Result::ok);
            events.extend(inputs.map(|entry| entry.at).filter(|at| (from..=place.at).contains(at)));
            let outputs = timeline.track(place.branch).map_while(Result::ok);
            // Only the first and last of a burst matter, and there may be many.
            let mut last = None;
            for at in outputs.map(|item| item.at).filter(|at| (from..=place.at).contains(at)) {
                if last != Some(at.ns() / BURST_NS) {
                    last = Some(at.ns() / BURST_NS);
                    events.push(at);
                }
            }
            from = place.at;
        }
        events.sort_unstable();
        Quiet::new(events)
    }
}

/// Outputs nearer together than this are one.
const BURST_NS: u64 = 50_000_000;

fn marks(notes: &[Note], path: &[Position], begin: Instant) -> Vec<(Ticks, String)> {
    let mut marks = Vec::new();
    let mut from = begin;
    for place in path {
        for note in notes.iter().filter(|note| note.branch == place.branch) {
            if let Words::Mark(name) = &note.words
                && (from..=place.at).contains(&note.at)
            {
                marks.push((note.at.since(begin), name.clone()));
            }
        }
        from = place.at;
    }
    marks.sort();
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_whole_path_count() {
        let place = |branch, entries| Position {
            branch: BranchId(branch),
            at: Instant::ZERO,
            entries: Some(entries),
        };
        let path = vec![place(0, 7), place(3, 2), place(4, 9)];
        let course = Course { branch: BranchId(4), begin: Instant::ZERO, path, marks: Vec::new() };
        let check = |branch, entries, expected| {
            assert_eq!(course.entries_before(&place(branch, entries)), expected);
        };
        check(0, 5, 5);
        check(3, 1, 8);
        check(4, 4, 13);
    }

    #[test]
    fn marks_of_the_whole_path_count() {
        let at = Instant::from_ns;
        let mark = |branch, ns, name: &str| Note {
            branch: BranchId(branch),
            at: at(ns),
            author: String::new(),
            unix_ms: 0,
            words: Words::Mark(name.to_owned()),
        };
        let place = |branch, ns| Position { branch: BranchId(branch), at: at(ns), entries: None };
        let mut notes = vec![
            mark(0, 12, "early"),
            mark(0, 19, "late"),
            mark(0, 25, "not on the path"),
            mark(1, 30, "own"),
            mark(2, 22, "elsewhere"),
        ];
        notes.push(Note { words: Words::Comment("text".to_owned()), ..mark(0, 13, "") });
        let seen = marks(&notes, &[place(0, 20), place(1, 40)], at(10));
        let expected = [(2, "early"), (9, "late"), (20, "own")];
        let expected = expected.map(|(ns, name)| (Ticks::from_ns(ns), name.to_owned()));
        assert_eq!(seen, expected);
    }
}
