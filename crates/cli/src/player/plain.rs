//! Playing where there is no terminal: the console's bytes as they were written, at their pace.

use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Instant as Wall;

use anyhow::{Context, Result};
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Output};
use stackvm_timeline::replay::{Reached, Replay};
use stackvm_timeline::{Position, Timeline};

use super::course::Course;
use super::pace::Pace;

/// The machine's time between two looks at the clock.
const SLICE: Ticks = Ticks::from_ns(10_000_000);

/// Plays from `start` to the end of its branch; blocks. Standard output gets what the guest wrote,
/// bytes as they are: it is no terminal.
pub(crate) fn play(
    timeline: Arc<Timeline>,
    start: Position,
    speed: f64,
    limit: Option<Ticks>,
) -> Result<()> {
    let course = Course::new(&timeline, start.branch);
    let mut pace = Pace::new(speed, limit);
    pace.set_quiet(course.quiet(&timeline));
    let mut replay = Replay::new(timeline)?;
    replay.seek(start)?;
    let console = replay.screens().main_console();
    let (begin, wall) = (replay.position().at, Wall::now());
    loop {
        let due = pace.ahead(begin, wall.elapsed());
        let now = replay.position().at;
        if now >= due {
            std::thread::sleep(std::time::Duration::from_millis(5));
            continue;
        }
        let mut bytes = Vec::new();
        let until = due.min(now + SLICE);
        let reached = replay.run(until, &mut |_, output| collect(output, console, &mut bytes))?;
        let mut out = stdout().lock();
        out.write_all(&bytes).and_then(|()| out.flush()).context("nobody reads the output")?;
        if reached == Reached::End {
            return Ok(());
        }
    }
}

fn collect(output: &Output, wanted: ConsoleId, to: &mut Vec<u8>) {
    if let Output::Console { console, bytes } = output
        && *console == wanted
    {
        to.extend_from_slice(bytes);
    }
}
