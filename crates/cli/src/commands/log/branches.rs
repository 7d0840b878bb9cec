//! The branches of a recording, as lines of a tree and as JSON.

use anyhow::Result;
use serde_json::{Value, json};
use stackvm_machine::instant::Ticks;
use stackvm_timeline::branch::{BranchKind, Origin};
use stackvm_timeline::note::{Note, Words};
use stackvm_timeline::{BranchId, Timeline};

use super::tree::Node;
use crate::days;
use crate::player::tenths;

/// How a branch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    /// With the recording.
    Start,
    /// Somebody broke in.
    Fork,
    /// Capture went on after a pause.
    Pause,
}

/// A branch.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its parent's place in the list.
    pub(super) parent: Option<usize>,
    /// How it begins.
    pub(super) begin: Begin,
    /// Its name.
    pub(super) name: String,
    /// Where it leaves its parent, from the beginning of the recording.
    pub(super) from: Ticks,
    /// How long it is by itself.
    pub(super) length: Ticks,
    /// How many inputs it has by itself.
    pub(super) inputs: u64,
    /// Whose inputs.
    pub(super) by: Vec<(String, u64)>,
    /// Who began it.
    pub(super) author: String,
    /// When.
    pub(super) created: String,
    /// Whether it is a machine of its own.
    pub(super) fresh: bool,
    /// Marks and comments, from the beginning of the recording.
    pub(super) notes: Vec<(Ticks, String)>,
}

impl Row {
    /// As a line of a tree.
    pub(super) fn node(&self) -> Node {
        let Row { parent, from, .. } = *self;
        Node { parent, from, words: self.words(), notes: self.notes.clone() }
    }

    fn words(&self) -> String {
        let length = tenths(self.length);
        let place = match self.begin {
            Begin::Start => length,
            Begin::Fork => format!("at {} for {length}", tenths(self.from)),
            Begin::Pause => format!("after a pause, for {length}"),
        };
        let inputs = if self.inputs == 1 { "input" } else { "inputs" };
        let fresh = if self.fresh { "  fresh" } else { "" };
        // A trunk has nobody who began it but the recording itself.
        let who = if self.author.is_empty() { String::new() } else { format!("{}, ", self.author) };
        let Row { name, created, .. } = self;
        format!("{name}  {place}  {} {inputs}  {who}{created}{fresh}", self.inputs)
    }
}

/// The branches that are not deleted, parents before children.
pub(super) fn rows(timeline: &Timeline) -> Result<Vec<Row>> {
    let branches = timeline.branches();
    let alive = || (0..branches.len()).filter(|number| !branches[*number].deleted);
    let place = |wanted: BranchId| alive().position(|number| number == wanted.0 as usize);
    let mut rows = Vec::new();
    for number in alive() {
        let (id, branch) = (BranchId(number as u32), &branches[number]);
        let start = timeline.begin(id);
        let (parent, begin, from) = match branch.origin {
            Origin::Start => (None, Begin::Start, Ticks::new(0)),
            Origin::Fork(fork) => (place(fork.branch), Begin::Fork, fork.at.since(start)),
            Origin::Gap { after } => (place(after), Begin::Pause, Ticks::new(0)),
        };
        let mut by: Vec<(String, u64)> = Vec::new();
        for entry in timeline.entries(id, 0) {
            let name = timeline.actor(entry?.actor);
            match by.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => by.push((name.to_owned(), 1)),
            }
        }
        let notes = timeline.notes().iter().filter(|note| note.branch == id);
        rows.push(Row {
            parent,
            begin,
            name: branch.name.clone(),
            from,
            length: Ticks::new(branch.end.since(start).get().saturating_sub(from.get())),
            inputs: branch.entries,
            by,
            author: branch.author.clone(),
            created: days::for_people(branch.created_unix_ms),
            fresh: branch.kind == BranchKind::Fresh,
            notes: notes.map(|note| (note.at.since(start), words(note))).collect(),
        });
    }
    Ok(rows)
}

/// For programs.
pub(super) fn row_json(row: &Row, rows: &[Row]) -> Value {
    let seconds = |ticks: Ticks| ticks.ns() as f64 / 1e9;
    let notes = row.notes.iter().map(|(at, text)| json!({ "at_s": seconds(*at), "text": text }));
    let by = row.by.iter().map(|(name, count)| (name.clone(), json!(count)));
    json!({
        "name": row.name,
        "parent": row.parent.map(|parent| rows[parent].name.clone()),
        "begin": match row.begin {
            Begin::Start => "start",
            Begin::Fork => "fork",
            Begin::Pause => "after a pause",
        },
        "from_s": seconds(row.from),
        "length_s": seconds(row.length),
        "inputs": row.inputs,
        "inputs_by": by.collect::<serde_json::Map<_, _>>(),
        "author": row.author,
        "created": row.created,
        "kind": if row.fresh { "fresh" } else { "exact" },
        "notes": notes.collect::<Vec<_>>(),
    })
}

fn words(note: &Note) -> String {
    match &note.words {
        Words::Mark(name) => format!("#{name}"),
        Words::Comment(text) => format!("{}: {text}", note.author),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::draw;
    use super::*;

    fn seconds(n: u64) -> Ticks {
        Ticks::from_ns(n * 1_000_000_000)
    }

    fn row(parent: Option<usize>, name: &str, from: u64, length: u64) -> Row {
        Row {
            parent,
            begin: if parent.is_none() { Begin::Start } else { Begin::Fork },
            name: name.to_owned(),
            from: seconds(from),
            length: seconds(length),
            inputs: length,
            by: Vec::new(),
            author: "ada".to_owned(),
            created: "2026-11-21 13:40".to_owned(),
            fresh: false,
            notes: Vec::new(),
        }
    }

    fn drawn(rows: &[Row]) -> String {
        draw(&rows.iter().map(Row::node).collect::<Vec<_>>())
    }

    #[test]
    fn branches_hang_where_they_leave() {
        let mut rows = vec![
            row(None, "main", 0, 83),
            row(Some(0), "late", 60, 1),
            row(Some(0), "early", 42, 10),
            row(Some(2), "nested", 48, 3),
            row(Some(0), "main-2", 0, 5),
        ];
        rows[0].notes.push((seconds(20), "#half".to_owned()));
        rows[2].notes.push((seconds(50), "ada: look\x1b[31m".to_owned()));
        rows[3].fresh = true;
        rows[4].begin = Begin::Pause;
        let expected = "\
* main  1:23.0  83 inputs  ada, 2026-11-21 13:40
|   0:20.0  #half
|-* main-2  after a pause, for 0:05.0  5 inputs  ada, 2026-11-21 13:40
|-* early  at 0:42.0 for 0:10.0  10 inputs  ada, 2026-11-21 13:40
|  |   0:50.0  ada: look [31m
|  `-* nested  at 0:48.0 for 0:03.0  3 inputs  ada, 2026-11-21 13:40  fresh
`-* late  at 1:00.0 for 0:01.0  1 input  ada, 2026-11-21 13:40
";
        assert_eq!(drawn(&rows), expected);
    }

    #[test]
    fn a_recording_without_branches_is_one_line() {
        let expected = "* main  0:07.0  7 inputs  ada, 2026-11-21 13:40\n";
        assert_eq!(drawn(&[row(None, "main", 0, 7)]), expected);
    }
}
