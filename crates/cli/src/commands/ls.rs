//! `stackvm ls`: the machines, running and kept.

use anyhow::Result;
use serde_json::{Value, json};
use stackvm_host::machines::{Lifetime, Listed, Machines, Status};
use stackvm_host::protocol::{Info, State};

use super::machines;
use crate::args::List;
use crate::values::show_size;

/// One line, or one object, per machine.
pub(crate) fn run(args: &List) -> Result<u8> {
    let machines = machines()?;
    let rows: Vec<Row> =
        machines.list()?.into_iter().map(|listed| Row::new(&machines, listed)).collect();
    if args.quiet {
        rows.iter().for_each(|row| println!("{}", row.listed.spec.name));
    } else if args.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else if rows.is_empty() {
        eprintln!("no machines; `stackvm run tiny` runs one");
    } else {
        println!(
            "{:<20} {:<8} {:<14} {:>6} {:>5}  UP",
            "MACHINE", "STATE", "IMAGE", "MEM", "HARTS"
        );
        for row in &rows {
            println!("{}", row.line());
        }
    }
    Ok(0)
}

struct Row {
    listed: Listed,
    info: Option<Info>,
}

impl Row {
    fn new(machines: &Machines, listed: Listed) -> Row {
        let running = listed.status == Status::Running;
        // It may end while it is asked; then it is shown without facts.
        let info = running.then(|| machines.info(&listed.spec.name).ok()).flatten();
        Row { listed, info }
    }

    fn state(&self) -> &'static str {
        match (&self.listed.status, self.info.as_ref().map(|info| &info.state)) {
            (Status::Off, _) => "off",
            (Status::Saved, _) => "saved",
            (Status::Crashed, _) => "crashed",
            (Status::Running, Some(State::Paused)) => "paused",
            (Status::Running, Some(State::Stalled { .. })) => "stalled",
            (Status::Running, Some(State::Starting)) => "starting",
            (Status::Running, Some(State::Stopped(_))) => "stopping",
            (Status::Running, Some(State::Running) | None) => "running",
        }
    }

    fn json(&self) -> Value {
        let (spec, info) = (&self.listed.spec, self.info.as_ref());
        json!({
            "name": self.listed.label(),
            "id": spec.name,
            "state": self.state(),
            "image": spec.image_label(),
            "ephemeral": spec.lifetime == Lifetime::Ephemeral,
            "harts": spec.harts,
            "created_unix_s": spec.created_unix_s,
            "memory_bytes": info.map(|info| info.memory_bytes).or(spec.memory_bytes),
            "pid": info.map(|info| info.pid),
            "uptime_ms": info.map(|info| info.uptime_ms),
            "instructions": info.map(|info| info.instructions),
            "disk_bytes_written": info.map(|info| info.disk_bytes_written),
            "clients": info.map(|info| info.clients.saturating_sub(1)),
        })
    }

    fn line(&self) -> String {
        let (spec, info) = (&self.listed.spec, self.info.as_ref());
        let memory = info.map(|info| info.memory_bytes).or(spec.memory_bytes);
        format!(
            "{:<20} {:<8} {:<14} {:>6} {:>5}  {}",
            self.listed.label(),
            self.state(),
            spec.image_label(),
            memory.map(show_size).unwrap_or_default(),
            spec.harts,
            info.map(|info| show_age(info.uptime_ms / 1000)).unwrap_or_default(),
        )
    }
}

/// `12s`, `5m`, `3h`, `2d`: for people.
fn show_age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let check = |seconds, text: &str| assert_eq!(show_age(seconds), text);
        check(59, "59s");
        check(60, "1m");
        check(7_199, "1h");
        check(200_000, "2d");
    }
}
