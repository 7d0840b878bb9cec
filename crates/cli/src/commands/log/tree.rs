//! The branches of a recording as a tree of lines, as `git log --graph` draws commits. Pure.

use stackvm_machine::instant::Ticks;

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

/// The tree.
pub(super) fn draw(rows: &[Row]) -> String {
    let mut text = String::new();
    for (root, row) in rows.iter().enumerate().filter(|(_, row)| row.parent.is_none()) {
        text += &format!("* {}\n", words(row));
        below(rows, root, "", &mut text);
    }
    text
}

fn below(rows: &[Row], parent: usize, indent: &str, text: &mut String) {
    let mut children: Vec<usize> =
        (0..rows.len()).filter(|n| rows[*n].parent == Some(parent)).collect();
    children.sort_by_key(|n| rows[*n].from);
    let rail = if children.is_empty() { "   " } else { "|  " };
    for (at, note) in &rows[parent].notes {
        let note: String = note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!("{indent}{rail} {}  {note}\n", tenths(*at)));
    }
    let last = children.last().copied();
    for child in children {
        let (own, next) = if Some(child) == last { ("`-", "   ") } else { ("|-", "|  ") };
        text.push_str(&format!("{indent}{own}* {}\n", words(&rows[child])));
        below(rows, child, &format!("{indent}{next}"), text);
    }
}

fn words(row: &Row) -> String {
    let length = tenths(row.length);
    let place = match row.begin {
        Begin::Start => length,
        Begin::Fork => format!("at {} for {length}", tenths(row.from)),
        Begin::Pause => format!("after a pause, for {length}"),
    };
    let inputs = if row.inputs == 1 { "input" } else { "inputs" };
    let fresh = if row.fresh { "  fresh" } else { "" };
    let (name, created) = (clean(&row.name), &row.created);
    // A trunk has nobody who began it but the recording itself.
    let who = if row.author.is_empty() { String::new() } else { clean(&row.author) + ", " };
    format!("{name}  {place}  {} {inputs}  {who}{created}{fresh}", row.inputs)
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
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
        assert_eq!(draw(&rows), expected);
    }

    #[test]
    fn a_recording_without_branches_is_one_line() {
        let expected = "* main  0:07.0  7 inputs  ada, 2026-11-21 13:40\n";
        assert_eq!(draw(&[row(None, "main", 0, 7)]), expected);
    }
}
