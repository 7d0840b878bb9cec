//! `stackvm events`: what people did at a machine.

use anyhow::{Context, Result};
use serde_json::Value;

use super::past::seconds;
use super::{machine, machines};
use crate::args::Events;
use crate::door::Server;

/// Prints the last ones, each with its instant as `--at` of other commands takes it.
pub(crate) fn run(args: &Events) -> Result<u8> {
    let id = machine(&machines()?, &args.name)?.spec.name;
    let path = format!("/api/machines/{id}/events?limit={}", args.last);
    let answer = Server::running()?.get(&path)?;
    let events = answer.as_array().context("the server's answer is no list")?;
    let at = |event: &Value| seconds(event["at_ns"].as_u64().unwrap_or_default());
    let seconds: Vec<String> = events.iter().map(at).collect();
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
