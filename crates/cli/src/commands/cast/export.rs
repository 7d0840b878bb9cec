//! `stackvm cast export`: the picture of a recording, for other programs.

mod script;
mod text;

use std::io::{BufWriter, ErrorKind, Write};
use std::sync::Arc;

use anyhow::Result;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Instant, Output};
use stackvm_timeline::film::{Asciicast, Exporter, Head, Inputs, Telling, Visit};
use stackvm_timeline::replay::{Reached, Replay};
use stackvm_timeline::{BranchId, Position};

use super::Recording;
use super::sink::Sink;
use crate::args::{CastExport, ExportFormat};
use crate::player::console_name;

/// Virtual time between two looks at whether somebody still reads.
const SLICE: Ticks = Ticks::from_ns(100_000_000);

pub(super) fn run(args: &CastExport) -> Result<u8> {
    match export(args) {
        Err(error) if is_broken_pipe(&error) => Ok(0),
        result => result.map(|()| 0),
    }
}

fn export(args: &CastExport) -> Result<()> {
    let recording = Recording::open(&args.file, &args.branch)?;
    let header = recording.timeline.header();
    let console = args.console.unwrap_or(header.first_console());
    if args.format == ExportFormat::Svg {
        let svg = recording.timeline.poster(recording.branch, console, &header.label)?;
        let mut sink = Sink::open(&args.output)?;
        sink.write_all(svg.as_bytes())?;
        return sink.finish();
    }
    let mut replay = recording.replay()?;
    let Recording { timeline, branch, begin } = &recording;
    replay.seek(Position { branch: *branch, at: *begin, entries: None })?;
    let title = format!("{} ({})", header.label, args.branch);
    let head = Head::new(timeline, title, replay.screens().get(console));
    let mut sink = Sink::open(&args.output)?;
    {
        let mut out = BufWriter::new(&mut sink);
        let mut exporter = exporter(args, console, &head, &mut out)?;
        let at_ns = |at: Instant| at.since(*begin).ns();
        let visit: &mut Visit<'_> = &mut |at, what| exporter.happened(at_ns(at), &what);
        happenings(&mut replay, *branch, console, visit)?;
        exporter.end(at_ns(timeline.branch(*branch).end))?;
        out.flush()?;
    }
    sink.finish()
}

fn exporter<'a>(
    args: &CastExport,
    console: ConsoleId,
    head: &Head,
    out: &'a mut dyn Write,
) -> Result<Box<dyn Exporter + 'a>> {
    Ok(match args.format {
        ExportFormat::Asciicast => {
            let inputs = if args.input { Inputs::Written } else { Inputs::LeftOut };
            Box::new(Asciicast::new(out, head, inputs)?)
        }
        ExportFormat::Text => Box::new(text::Text::new(out, head)),
        ExportFormat::Script => {
            Box::new(script::Script::new(out, &head.title, &console_name(console))?)
        }
        // It is no row of happenings.
        ExportFormat::Svg => anyhow::bail!("a picture is drawn at once"),
    })
}

/// Tells everything that happened at a terminal along a branch's path, in order. Outputs are from
/// the track, and computed again where it ends early.
fn happenings(
    replay: &mut Replay,
    branch: BranchId,
    console: ConsoleId,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let timeline = Arc::clone(replay.timeline());
    let mut reached = timeline.begin(branch);
    for part in timeline.path(branch) {
        let mut telling = Telling::new(&timeline, &part, reached, console);
        // One that is damaged ends early, and is made again below.
        let track = timeline.track(part.branch).take_while(Result::is_ok);
        let told = telling.track(track, visit)?;
        reached = told.map_or(reached, |told| told.max(reached));
        replay.seek(Position { branch: part.branch, at: reached, entries: None })?;
        while replay.machine().now() < part.at {
            let (mut printed, now) = (Vec::new(), replay.machine().now());
            let run = replay.run((now + SLICE).min(part.at), &mut |at, output| {
                if let Output::Console { console: from, bytes } = output
                    && *from == console
                {
                    printed.push((at, bytes.clone()));
                }
            })?;
            for (at, bytes) in printed {
                telling.printed(at, bytes, visit)?;
            }
            if run == Reached::End {
                break;
            }
        }
        telling.end(visit)?;
        reached = part.at;
    }
    Ok(())
}

/// Whether whoever reads has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|io| io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use std::io;

    use stackvm_timeline::film::Happening;

    use super::*;

    /// What an exporter makes of these events.
    pub(super) fn export(
        events: &[(u64, Happening)],
        end_ns: u64,
        make: impl for<'a> FnOnce(&'a mut dyn Write) -> io::Result<Box<dyn Exporter + 'a>>,
    ) -> String {
        let mut bytes = Vec::new();
        let mut exporter = make(&mut bytes).expect("it begins");
        for (at_ns, what) in events {
            exporter.happened(*at_ns, what).expect("it goes on");
        }
        exporter.end(end_ns).expect("it ends");
        String::from_utf8(bytes).expect("text")
    }

    pub(super) fn head() -> Head {
        Head {
            title: "tiny (main)".to_owned(),
            unix_s: 1_700_000_000,
            size: (80, 24),
            screen: "\x1b[2Jlogin".to_owned(),
        }
    }
}
