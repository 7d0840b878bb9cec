//! `stackvm log`: the branches of a recording, or the machines that go on from one another.

mod branches;
mod machines;
mod tree;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use stackvm_host::machines::{Listed, MachinesError, check_name};
use stackvm_timeline::journal::Journal;
use stackvm_timeline::{BranchId, Timeline};

use crate::args::Log;
use crate::casts;
use crate::failure::failure;
use crate::player::tape::branch;
use crate::session::Signals;
use branches::Row;

/// Shows, renames or deletes.
pub(crate) async fn run(args: Log) -> Result<u8> {
    if let Some(machine) = machine(&args.file)? {
        return of_machine(&args, &machine);
    }
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
    let rows = branches::rows(&timeline)?;
    if args.json {
        let branches: Vec<Value> = rows.iter().map(|row| branches::row_json(row, &rows)).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "branches": branches }))?);
    } else {
        print!("{}", tree::draw(&rows.iter().map(Row::node).collect::<Vec<_>>()));
    }
    Ok(0)
}

/// The machine that is meant, if it is not a recording that is there.
fn machine(file: &Path) -> Result<Option<Listed>> {
    let Err(no_recording) = casts::named(file).and_then(|file| casts::newest(&file)) else {
        return Ok(None);
    };
    let Some(name) = file.to_str().filter(|name| check_name(name).is_ok()) else {
        return Err(no_recording);
    };
    let machines = super::machines()?;
    match machines.find(name).and_then(|id| machines.get(&id)) {
        Ok(listed) => Ok(Some(listed)),
        Err(error @ MachinesError::Unknown { .. }) => Err(failure(
            format!("there is no recording {}, and {error}", file.display()),
            "`stackvm record IMAGE -o FILE` makes a recording, `stackvm ls` lists the machines",
        )),
        Err(error) => Err(error.into()),
    }
}

fn of_machine(args: &Log, machine: &Listed) -> Result<u8> {
    let name = machine.label();
    if !args.rename.is_empty() || args.delete.is_some() {
        return Err(failure(
            format!("{name} is a machine, and what goes on from it are machines, too"),
            "`stackvm rename MACHINE NEW` renames one, `stackvm rm MACHINE` removes one",
        ));
    }
    let rows = machines::rows(&super::machines()?, &machine.spec.name)?;
    if args.json {
        let machines: Vec<Value> = rows.iter().map(|row| row.json(&rows)).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "machines": machines }))?);
    } else {
        print!("{}", tree::draw(&rows.iter().map(machines::Row::node).collect::<Vec<_>>()));
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
