//! `stackvm log`: the branches of a recording.

mod tree;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use stackvm_machine::instant::Ticks;
use stackvm_timeline::branch::{BranchKind, Origin};
use stackvm_timeline::journal::Journal;
use stackvm_timeline::note::{Note, Words};
use stackvm_timeline::{BranchId, Timeline};

use crate::args::Log;
use crate::casts;
use crate::days;
use crate::failure::failure;
use crate::player::tape::branch;
use crate::session::Signals;
use tree::{Begin, Row};

/// Shows, renames or deletes.
pub(crate) async fn run(args: Log) -> Result<u8> {
    if let [old, new] = args.rename.as_slice() {
        change(&args.file, |journal, timeline| {
            Ok(journal.rename_branch(branch(timeline, old)?, new)?)
        })
        .await?;
        return Ok(0);
    }
    if let Some(name) = &args.delete {
        change(&args.file, |journal, timeline| {
            let branch = branch(timeline, name)?;
            if branch == BranchId::TRUNK {
                return Err(failure(
                    format!("{name} is the trunk: without it there is no recording"),
                    "remove the file instead",
                ));
            }
            Ok(journal.delete_branch(branch)?)
        })
        .await?;
        return Ok(0);
    }
    let timeline = casts::open(&args.file)?;
    let rows = rows(&timeline)?;
    if args.json {
        let branches: Vec<Value> = rows.iter().map(|row| row_json(row, &rows)).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "branches": branches }))?);
    } else {
        print!("{}", tree::draw(&rows));
    }
    Ok(0)
}

/// Changes what a recording says of its branches.
async fn change(
    file: &Path,
    change: impl FnOnce(&mut Journal, &Timeline) -> Result<()>,
) -> Result<()> {
    let file = &casts::named(file)?;
    let (found, newest) = casts::newest(file)?;
    let folder = match found {
        casts::Found::Journal => newest,
        casts::Found::File => casts::journal_of(file),
    };
    let owner = casts::owner("log");
    let mut journal = match found {
        casts::Found::Journal => Journal::open(&folder, &owner)?,
        casts::Found::File => Journal::extend(&folder, file, &owner)?,
    };
    let timeline = journal.timeline()?;
    let changed = change(&mut journal, &timeline);
    drop(timeline);
    match (found, changed) {
        (casts::Found::Journal, changed) => changed,
        (casts::Found::File, Ok(())) => {
            drop(journal);
            casts::finish(&folder, file, &mut Signals::new()?).await
        }
        (casts::Found::File, Err(error)) => {
            // The error at hand matters more than a folder left behind.
            let _ = journal.remove();
            Err(error)
        }
    }
}

/// The branches that are not deleted, parents before children.
fn rows(timeline: &Timeline) -> Result<Vec<Row>> {
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

fn words(note: &Note) -> String {
    match &note.words {
        Words::Mark(name) => format!("#{name}"),
        Words::Comment(text) => format!("{}: {text}", note.author),
    }
}

fn row_json(row: &Row, rows: &[Row]) -> Value {
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
