//! `stackvm events`: what people did at a machine.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{machine, machines};
use crate::args::Events;
use crate::door::Server;

/// Prints the last ones, each with its instant as `--at` of other commands takes it.
pub(crate) fn run(args: &Events) -> Result<u8> {
    let id = machine(&machines()?, &args.name)?.spec.name;
    let path = format!("/api/machines/{id}/events?limit={}", args.last);
    let answer = Server::running()?.get(&path)?;
    let events = answer.as_array().context("the server's answer is no list")?;
    let seconds: Vec<String> = events.iter().map(|event| seconds(&event["at_ns"])).collect();
    args.format.format().print(seconds.iter().map(String::as_str), &answer, || {
        for (event, at) in events.iter().zip(&seconds) {
            let word = |name: &str| event[name].as_str().unwrap_or_default();
            // A guest writes these lines: its control characters are not this terminal's.
            let text = word("text").escape_debug();
            let mark = if word("kind") == "marked" { "* " } else { "" };
            println!("{at:>16}  {:<12}  {mark}{text}", word("who").escape_debug().to_string());
        }
    });
    Ok(0)
}

/// Nanoseconds as seconds, exactly: `83.500000001`.
fn seconds(ns: &Value) -> String {
    let ns = ns.as_u64().unwrap_or_default();
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    short.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instants_are_exact_and_short() {
        for (ns, expected) in [
            (0, "0"),
            (10_000_000_000_u64, "10"),
            (83_500_000_000, "83.5"),
            (83_500_000_001, "83.500000001"),
            (1, "0.000000001"),
        ] {
            assert_eq!(seconds(&json!(ns)), expected);
        }
    }
}
