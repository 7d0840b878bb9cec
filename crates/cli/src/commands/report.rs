//! `stackvm report`: a machine as it is now, as text for a forum.

use anyhow::{Context, Result};
use serde_json::json;

use super::{machine, machines};
use crate::args::Report;
use crate::door::Server;

/// Has the server keep the moment, and prints what it says of it.
pub(crate) fn run(args: &Report) -> Result<u8> {
    let id = machine(&machines()?, &args.name)?.spec.name;
    let wish = json!({ "role": args.role.word() });
    let report = Server::running()?.post(&format!("/api/machines/{id}/reports"), &wish)?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => {
            let text = report["markdown"].as_str().context("the server's answer has no text")?;
            print!("{text}");
        }
    }
    Ok(0)
}
