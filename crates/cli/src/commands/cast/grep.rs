//! `stackvm cast grep`: text in everything the terminals printed.

use std::io::{ErrorKind, Write, stdout};

use anyhow::Result;
use serde_json::json;
use stackvm_timeline::ask::{self, Case, Hit, Pattern};

use super::{Recording, interruptible, joined};
use crate::args::CastGrep;
use crate::failure::{describe, exit_code, failure};
use crate::player::console_name;
use crate::work::Interrupted;

/// Exit code when something went wrong, as grep's.
const TROUBLE: u8 = 2;

pub(super) async fn run(args: CastGrep) -> Result<u8> {
    match interruptible(move || search(&args)).await {
        Err(error) if error.downcast_ref::<Interrupted>().is_none() => {
            eprint!("{}", describe(&error));
            Ok(exit_code(&error).max(TROUBLE))
        }
        result => result,
    }
}

fn search(args: &CastGrep) -> Result<u8> {
    let recording = Recording::open(&args.file, &args.branch)?;
    let pattern = pattern(&args.pattern, args.ignore_case)?;
    let mut replay = recording.replay()?;
    let (mut hits, mut written) = (Vec::new(), Ok(()));
    let (mut count, mut out) = (0_u64, stdout().lock());
    ask::console(&mut replay, recording.branch, args.console, &pattern, &mut |hit| {
        count += 1;
        if args.json {
            hits.push(json(&recording, &hit));
        } else {
            written = writeln!(out, "{}", line(&recording, &hit));
        }
        written.is_ok()
    })?;
    match written {
        // Who reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
        written => written?,
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&hits)?)?;
    }
    Ok(u8::from(count == 0))
}

/// What to look for, or why not.
pub(super) fn pattern(text: &str, ignore_case: bool) -> Result<Pattern> {
    let case = if ignore_case { Case::Ignored } else { Case::Matters };
    Pattern::new(text, case).ok_or_else(|| {
        failure("there is nothing to look for", "give a text of at least one letter, on one line")
    })
}

/// `time  instant  console  line`.
pub(super) fn line(recording: &Recording, hit: &Hit) -> String {
    let (elapsed, console) = (recording.elapsed(hit.at), console_name(hit.console));
    format!("{elapsed}  {}  {console}  {}", hit.at, hit.line)
}

pub(super) fn json(recording: &Recording, hit: &Hit) -> serde_json::Value {
    joined(
        recording.json(hit.at),
        json!({ "console": console_name(hit.console), "line": hit.line }),
    )
}
