//! `stackvm cast when`: asks the past.

use std::io::{Write, stdout};
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};
use stackvm_host::past::Past;
use stackvm_host::past::changed::{self, Change, FileState};
use stackvm_machine::{Input, Writer};
use stackvm_timeline::Event;
use stackvm_timeline::ask::{self, Store};

use super::grep::{self, pattern};
use super::{Recording, joined};
use crate::args::CastWhen;
use crate::days;
use crate::failure::failure;
use crate::player::console_name;
use crate::progress::Progress;

pub(super) fn run(args: &CastWhen) -> Result<u8> {
    let recording = Recording::open(&args.file, &args.branch)?;
    let max = args.max_count.unwrap_or(u64::MAX);
    let mut answers = Answers { json: args.json, rows: Vec::new(), count: 0, max };
    if let Some(text) = &args.console {
        printed(&recording, text, args.ignore_case, &mut answers)?;
    } else if let Some(path) = &args.changed {
        let looks = args.looks.unwrap_or(changed::LOOKS);
        file_changed(&recording, path, looks, &mut answers)?;
    } else if let Some(range) = &args.phys {
        stored(&recording, range, &mut answers)?;
    }
    answers.finish()
}

/// What is printed: lines as they come, or one JSON list.
struct Answers {
    json: bool,
    rows: Vec<Value>,
    count: u64,
    max: u64,
}

impl Answers {
    /// Prints one; false when it was the last that is wanted.
    fn push(&mut self, line: &str, row: Value) -> Result<bool> {
        self.count += 1;
        if self.json {
            self.rows.push(row);
        } else {
            writeln!(stdout().lock(), "{line}")?;
        }
        Ok(self.count < self.max)
    }

    /// The exit code: as grep's, 1 when there is no answer.
    fn finish(self) -> Result<u8> {
        if self.json {
            writeln!(stdout().lock(), "{}", serde_json::to_string_pretty(&self.rows)?)?;
        }
        Ok(u8::from(self.count == 0))
    }
}

fn printed(
    recording: &Recording,
    text: &str,
    ignore_case: bool,
    answers: &mut Answers,
) -> Result<()> {
    let pattern = pattern(text, ignore_case)?;
    let mut replay = recording.replay()?;
    let (mut hits, max) = (Vec::new(), answers.max);
    ask::console(&mut replay, recording.branch, None, &pattern, &mut |hit| {
        hits.push(hit);
        (hits.len() as u64) < max
    })?;
    for mut hit in hits {
        hit.at = ask::exact_instant(&mut replay, &hit)?;
        answers.push(&grep::line(recording, &hit), grep::json(recording, &hit))?;
    }
    Ok(())
}

fn file_changed(
    recording: &Recording,
    path: &str,
    looks: u32,
    answers: &mut Answers,
) -> Result<()> {
    if !path.starts_with('/') {
        return Err(failure(format!("{path} is no absolute path"), "begin it with /"));
    }
    let mut past = Past::new(Arc::clone(&recording.timeline))?;
    let mut progress = Progress::new();
    let changes = changed::changes(&mut past, recording.branch, path, looks, &mut |look| {
        progress.redraw(&format!("look {} at {}", look.number, recording.elapsed(look.at)));
    });
    drop(progress);
    for change in changes? {
        let (line, row) = change_row(recording, &change);
        if !answers.push(&line, row)? {
            break;
        }
    }
    Ok(())
}

fn change_row(recording: &Recording, change: &Change) -> (String, Value) {
    let at = change.at.at;
    let cause = change.cause.as_ref().map(|entry| {
        let who = recording.timeline.actor(entry.actor).to_owned();
        (who, what(&entry.event))
    });
    let (before, after) = (state(&change.before), state(&change.after));
    let mut line = format!("{}  {at}  {before} -> {after}", recording.elapsed(at));
    if let Some((who, what)) = &cause {
        line += &format!("  after {who}: {what}");
    }
    let cause = cause.map(|(who, what)| json!({ "by": who, "input": what }));
    let row = json!({
        "before": state_json(&change.before),
        "after": state_json(&change.after),
        "cause": cause,
    });
    (line, joined(recording.json(at), row))
}

/// `17 bytes of 2026-01-01 00:00:03`.
fn state(state: &FileState) -> String {
    match state {
        FileState::Missing => state.to_string(),
        FileState::There { modified_unix_s, .. } => {
            let seconds = u64::try_from(*modified_unix_s).unwrap_or(0);
            let minute = days::for_people(seconds.saturating_mul(1000));
            format!("{state} of {minute}:{:02}", seconds % 60)
        }
    }
}

fn state_json(state: &FileState) -> Value {
    match state {
        FileState::Missing => Value::Null,
        FileState::There { bytes, modified_unix_s, kind, hash } => json!({
            "kind": kind,
            "bytes": bytes,
            "modified_unix_s": modified_unix_s,
            "sha256": hash,
        }),
    }
}

/// An input, in a few words.
fn what(event: &Event) -> String {
    match event {
        Event::Input(Input::Console { console, bytes }) => {
            let typed = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
            format!("{:?} typed at {}", typed, console_name(*console))
        }
        Event::Input(Input::Resize { console, columns, rows }) => {
            format!("{} got {columns}x{rows}", console_name(*console))
        }
        Event::Input(Input::Port { .. } | Input::PortOpen { .. } | Input::PortClose { .. }) => {
            "a command's input or the guest agent".to_owned()
        }
        Event::Input(Input::Frame { .. }) => "a frame from the network".to_owned(),
        Event::Input(Input::Rate { .. }) => "the pace of the host".to_owned(),
        Event::Input(Input::Identity { .. }) => "a new identity".to_owned(),
        Event::Reset { .. } => "the machine was switched on anew".to_owned(),
    }
}

fn stored(recording: &Recording, range: &Range<u64>, answers: &mut Answers) -> Result<()> {
    let mut replay = recording.replay()?;
    let (mut progress, mut result) = (Progress::new(), Ok(true));
    let mut visit = |store: Store| {
        let (line, row) = store_row(recording, &store);
        result = answers.push(&line, row);
        matches!(result, Ok(true))
    };
    ask::stores(&mut replay, recording.branch, range.clone(), &mut visit, &mut |at| {
        progress.redraw(&recording.elapsed(at));
        true
    })?;
    drop(progress);
    result.map(drop)
}

fn store_row(recording: &Recording, store: &Store) -> (String, Value) {
    let (at, Store { store, .. }) = (store.at.at, store);
    let (old, new) = (hex(&store.old), hex(&store.new));
    let (by, hart, pc) = match store.by {
        Writer::Hart { hart, pc } => {
            (format!("hart {hart}  pc {pc:#x}"), Some(hart), Some(format!("{pc:#x}")))
        }
        Writer::Device => ("a device".to_owned(), None, None),
    };
    let elapsed = recording.elapsed(at);
    let line = format!("{elapsed}  {at}  {by}  {:#x}: {old} -> {new}", store.addr);
    let row = json!({
        "hart": hart,
        "pc": pc,
        "address": format!("{:#x}", store.addr),
        "old": old,
        "new": new,
    });
    (line, joined(recording.json(at), row))
}

/// The number that little-endian bytes are, or the bytes where they are no number's size.
fn hex(bytes: &[u8]) -> String {
    let digits = |bytes: &mut dyn Iterator<Item = &u8>| -> String {
        bytes.map(|byte| format!("{byte:02x}")).collect()
    };
    match bytes.len() {
        1 | 2 | 4 | 8 => format!("0x{}", digits(&mut bytes.iter().rev())),
        _ => digits(&mut bytes.iter()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_are_numbers() {
        assert_eq!(hex(&[0x34, 0x12]), "0x1234");
        assert_eq!(hex(&[1, 0, 0, 0, 0, 0, 0, 0x80]), "0x8000000000000001");
        assert_eq!(hex(&[1, 2, 3]), "010203");
    }

    #[test]
    fn inputs_are_told_in_words() {
        let console = stackvm_machine::ConsoleId::Hvc(0);
        let typed = Event::Input(Input::Console { console, bytes: b"rm x\r".to_vec() });
        assert_eq!(what(&typed), "\"rm x\\r\" typed at hvc0");
        assert_eq!(what(&Event::Input(Input::Rate { ticks: 1 })), "the pace of the host");
    }
}
