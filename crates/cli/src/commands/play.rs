//! `stackvm play`: a recording in this terminal, as plain output, or a command in its past.

use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};

use anyhow::{Context, Result};
use stackvm_host::past::Past;
use stackvm_host::protocol::Stream;
use stackvm_timeline::Position;
use stackvm_timeline::branch::BranchKind;

use super::blocking;
use crate::args::Play;
use crate::player::tape::{Keep, Tape};
use crate::player::{self, plain};
use crate::session::Signals;
use crate::terminal::RawTerminal;
use crate::work::Interrupted;

/// Plays.
pub(crate) async fn run(args: Play) -> Result<u8> {
    let mut signals = Signals::new()?;
    let keep = match (&args.save_as, args.discard) {
        (Some(new), _) => Keep::As(new.clone()),
        (None, true) => Keep::Nothing,
        (None, false) => Keep::Back,
    };
    let tape = Tape::open(&args.file, keep)?;
    let start = start(&args, &tape)?;
    if args.break_in {
        return ask(args, tape, start, signals).await;
    }
    if RawTerminal::possible() {
        let options = player::Options {
            start,
            speed: args.speed,
            limit: args.idle_time_limit,
            kind: if args.fresh { BranchKind::Fresh } else { BranchKind::Exact },
        };
        return player::play(tape, options, &mut signals).await;
    }
    let (timeline, speed, limit) = (tape.timeline().clone(), args.speed, args.idle_time_limit);
    tokio::select! {
        result = blocking(move || plain::play(timeline, start, speed, limit)) => {
            result.map(|()| 0)
        }
        signal = signals.next_end() => Ok(signal.exit_code()),
    }
}

fn start(args: &Play, tape: &Tape) -> Result<Position> {
    let branch = tape.branch(&args.branch)?;
    let timeline = tape.timeline();
    match &args.at {
        Some(when) => Ok(timeline.find(branch, when)?),
        None => Ok(Position { branch, at: timeline.begin(branch), entries: None }),
    }
}

/// Runs the command at an instant of the past; its output and exit code are passed on.
async fn ask(args: Play, tape: Tape, at: Position, mut signals: Signals) -> Result<u8> {
    let timeline = tape.timeline().clone();
    let asked = blocking(move || {
        let mut input = Vec::new();
        if !stdin().is_terminal() {
            stdin().lock().read_to_end(&mut input).context("standard input cannot be read")?;
        }
        let argv: Vec<&str> = args.command.iter().map(String::as_str).collect();
        let mut past = Past::new(timeline)?;
        Ok(past.leave(at)?.stream(&argv, &input, args.wait, &mut pass_on)?)
    });
    tokio::select! {
        result = asked => result,
        // The branch is thrown away anyhow: it can be left where it is.
        signal = signals.next_end() => Err(Interrupted(signal).into()),
    }
}

pub(super) fn pass_on(stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut out = stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Stderr => stderr().lock().write_all(bytes),
    }
}
