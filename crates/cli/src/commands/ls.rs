//! `stackvm ls`: the machines, running and kept.

use anyhow::Result;

use super::machines;
use super::rows::Row;
use crate::args::List;

/// One line, or one object, per machine.
pub(crate) fn run(args: &List) -> Result<u8> {
    let machines = machines()?;
    let rows: Vec<Row> =
        machines.list()?.into_iter().map(|listed| Row::new(&machines, listed)).collect();
    let json = rows.iter().map(Row::json).collect();
    args.format.format().print(rows.iter().map(Row::id), &json, || table(&rows));
    Ok(0)
}

fn table(rows: &[Row]) {
    if rows.is_empty() {
        eprintln!("no machines; `stackvm run tiny` runs one");
        return;
    }
    println!("{:<20} {:<8} {:<14} {:>6} {:>5}  UP", "MACHINE", "STATE", "IMAGE", "MEM", "HARTS");
    rows.iter().for_each(|row| println!("{}", row.line()));
}
