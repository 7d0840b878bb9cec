//! Machines as rows: what `ls` shows, and what every command that does something to machines
//! answers with about each of them.

use anyhow::Result;
use serde_json::{Value, json};
use stackvm_host::machines::{Listed, Machines, Status};
use stackvm_host::protocol::{Info, State};
use stackvm_host::sandbox::Sandbox;

use crate::format::Format;
use crate::values::show_size;

/// One machine.
pub(super) struct Row {
    listed: Listed,
    info: Option<Info>,
}

impl Row {
    /// With what its lab says, if it runs.
    pub(super) fn new(machines: &Machines, listed: Listed) -> Row {
        let running = listed.status == Status::Running;
        // It may end while it is asked; then it is shown without facts.
        let info = running.then(|| machines.info(&listed.spec.name).ok()).flatten();
        Row { listed, info }
    }

    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.listed.spec.name
    }

    /// What it does, in a word.
    pub(super) fn state(&self) -> &'static str {
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

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let (spec, info) = (&self.listed.spec, self.info.as_ref());
        json!({
            "name": self.listed.label(),
            "id": spec.name,
            "state": self.state(),
            "image": spec.image_label(),
            "ephemeral": !spec.lifetime.is_kept(),
            "harts": spec.harts,
            "created_unix_s": spec.created_unix_s,
            "memory_bytes": info.map(|info| info.memory_bytes).or(spec.memory_bytes),
            "pid": info.map(|info| info.pid),
            "uptime_ms": info.map(|info| info.uptime_ms),
            "instructions": info.map(|info| info.instructions),
            "disk_bytes_written": info.map(|info| info.disk_bytes_written),
            "sandbox": info.map(|info| info.sandbox == Sandbox::On),
            "clients": info.map(|info| info.clients.saturating_sub(1)),
        })
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let (spec, info) = (&self.listed.spec, self.info.as_ref());
        let memory = info.map(|info| info.memory_bytes).or(spec.memory_bytes);
        format!(
            "{:<20} {:<8} {:<14} {:>6} {:>5}  {:<4}{}",
            self.listed.label(),
            self.state(),
            spec.image_label(),
            memory.map(show_size).unwrap_or_default(),
            spec.harts,
            info.map(|info| show_age(info.uptime_ms / 1000)).unwrap_or_default(),
            info.filter(|info| info.sandbox == Sandbox::Off).map_or("", |_| " no sandbox"),
        )
        .trim_end()
        .to_owned()
    }
}

/// Does `act` to machines, one after the other until one fails, and answers with those to which it
/// was done. `act` gets a name and returns the id.
///
/// # Errors
/// The one of `act`, after the answer.
pub(super) async fn each(
    machines: &Machines,
    names: &[String],
    format: Format,
    mut act: impl AsyncFnMut(&str) -> Result<String>,
) -> Result<u8> {
    let mut done = Vec::new();
    let mut result = Ok(0);
    for name in names {
        match act(name).await {
            Ok(id) => done.push(id),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    answer(machines, &done, format, || {});
    result
}

/// Answers with machines as they are now; `words` does it for people.
pub(super) fn answer(machines: &Machines, ids: &[String], format: Format, words: impl FnOnce()) {
    let rows: Value = match format {
        // Nobody reads them, and labs are busy.
        Format::Words | Format::Ids => Value::Null,
        Format::Json => ids.iter().map(|id| now(machines, id)).collect(),
    };
    format.print(ids.iter().map(String::as_str), &rows, words);
}

fn now(machines: &Machines, id: &str) -> Value {
    match machines.get(id) {
        Ok(listed) => Row::new(machines, listed).json(),
        // It was removed, or vanished when it stopped.
        Err(_) => json!({ "name": null, "id": id, "state": "removed" }),
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
