//! `stackvm cast export`: the picture of a recording, for other programs.

mod asciicast;
mod script;
mod text;
mod utf8;

use std::io::{BufWriter, ErrorKind, Write};
use std::sync::Arc;

use anyhow::Result;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Input, Instant, Output};
use stackvm_timeline::note::Words;
use stackvm_timeline::replay::{Reached, Replay};
use stackvm_timeline::screen::DEFAULT_SIZE;
use stackvm_timeline::track::TrackEvent;
use stackvm_timeline::{Event, Position, Timeline};

use super::Recording;
use super::sink::Sink;
use crate::args::{CastExport, ExportFormat};
use crate::player::console_name;

/// Virtual time between two looks at whether somebody still reads.
const SLICE: Ticks = Ticks::from_ns(100_000_000);

/// What happens at a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Happening {
    /// The guest wrote.
    Output(Vec<u8>),
    /// Somebody typed.
    Typed(Vec<u8>),
    /// It has a new size in columns and rows.
    Resize(u16, u16),
    /// Somebody marked the instant.
    Mark(String),
}

/// What an export begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Head {
    /// Of whom this is.
    title: String,
    /// The terminal's name.
    console: String,
    /// When the recording was begun, in seconds since 1970.
    unix_s: u64,
    /// Columns and rows.
    size: (u16, u16),
    /// What the terminal shows at the beginning, as control sequences; empty for nothing.
    screen: String,
}

/// Writes one format; instants are nanoseconds from the beginning.
trait Exporter {
    /// Something happened.
    fn happened(&mut self, at_ns: u64, what: &Happening) -> Result<()>;

    /// Nothing more happens; the recording lasted so long.
    fn end(self: Box<Self>, at_ns: u64) -> Result<()>;
}

pub(super) fn run(args: &CastExport) -> Result<u8> {
    match export(args) {
        Err(error) if is_broken_pipe(&error) => Ok(0),
        result => result.map(|()| 0),
    }
}

fn export(args: &CastExport) -> Result<()> {
    let recording = Recording::open(&args.file, &args.branch)?;
    let header = recording.timeline.header();
    let console = args.console.unwrap_or(match header.consoles {
        0 => ConsoleId::Serial,
        _ => ConsoleId::Hvc(0),
    });
    if args.format == ExportFormat::Svg {
        let svg = recording.timeline.poster(recording.branch, console, &header.label)?;
        let mut sink = Sink::open(&args.output)?;
        sink.write_all(svg.as_bytes())?;
        return sink.finish();
    }
    let mut replay = recording.replay()?;
    let Recording { timeline, branch, begin } = &recording;
    replay.seek(Position { branch: *branch, at: *begin, entries: None })?;
    let screen = replay.screens().get(console);
    let head = Head {
        title: format!("{} ({})", header.label, args.branch),
        console: console_name(console),
        unix_s: header.created_unix_ms / 1000,
        size: screen.map_or(DEFAULT_SIZE, |screen| screen.size()),
        screen: screen.map_or_else(String::new, |screen| screen.dump()),
    };
    let mut sink = Sink::open(&args.output)?;
    {
        let mut out = BufWriter::new(&mut sink);
        let mut exporter = exporter(args, head, &mut out)?;
        let at_ns = |at: Instant| at.since(*begin).ns();
        happenings(&mut replay, *branch, console, &mut |at, what| {
            exporter.happened(at_ns(at), &what)
        })?;
        exporter.end(at_ns(timeline.branch(*branch).end))?;
        out.flush()?;
    }
    sink.finish()
}

fn exporter<'a>(
    args: &CastExport,
    head: Head,
    out: &'a mut dyn Write,
) -> Result<Box<dyn Exporter + 'a>> {
    Ok(match args.format {
        ExportFormat::Asciicast => {
            let inputs =
                if args.input { asciicast::Inputs::Written } else { asciicast::Inputs::LeftOut };
            Box::new(asciicast::Asciicast::new(out, &head, inputs)?)
        }
        ExportFormat::Text => Box::new(text::Text::new(out, &head)),
        ExportFormat::Script => Box::new(script::Script::new(out, &head)?),
        // It is no row of happenings.
        ExportFormat::Svg => anyhow::bail!("a picture is drawn at once"),
    })
}

/// Tells everything that happened at a terminal along a branch's path, in order. Outputs are from
/// the track, and computed again where it ends early.
fn happenings(
    replay: &mut Replay,
    branch: stackvm_timeline::BranchId,
    console: ConsoleId,
    visit: &mut dyn FnMut(Instant, Happening) -> Result<()>,
) -> Result<()> {
    let timeline = Arc::clone(replay.timeline());
    let mut reached = timeline.begin(branch);
    for part in timeline.path(branch) {
        let mut others = others(&timeline, &part, reached, console)?.into_iter().peekable();
        let mut before = |at: Instant, visit: &mut dyn FnMut(Instant, Happening) -> Result<()>| {
            // What a slice printed at its end was printed before what was put in there.
            while let Some((at, what)) = others.next_if(|(other, _)| *other < at) {
                visit(at, what)?;
            }
            Ok::<(), anyhow::Error>(())
        };
        for item in timeline.track(part.branch) {
            // One that ends early is made again below.
            let Ok(item) = item else { break };
            if item.at > part.at {
                break;
            }
            reached = reached.max(item.at);
            if let (TrackEvent::Output(bytes), true) = (item.event, item.console == console) {
                before(item.at, visit)?;
                visit(item.at, Happening::Output(bytes))?;
            }
        }
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
                before(at, visit)?;
                visit(at, Happening::Output(bytes))?;
            }
            if run == Reached::End {
                break;
            }
        }
        before(Instant::MAX, visit)?;
        reached = part.at;
    }
    Ok(())
}

/// What people and hosts did on a part of a path, in order.
fn others(
    timeline: &Timeline,
    part: &Position,
    from: Instant,
    console: ConsoleId,
) -> Result<Vec<(Instant, Happening)>> {
    let mut found = Vec::new();
    let count = usize::try_from(part.entries.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    for entry in timeline.entries(part.branch, 0).take(count) {
        let entry = entry?;
        match entry.event {
            Event::Input(Input::Console { console: to, bytes }) if to == console => {
                found.push((entry.at, Happening::Typed(bytes)));
            }
            Event::Input(Input::Resize { console: of, columns, rows }) if of == console => {
                found.push((entry.at, Happening::Resize(columns, rows)));
            }
            _ => {}
        }
    }
    for note in timeline.notes().iter().filter(|note| note.branch == part.branch) {
        if let Words::Mark(name) = &note.words
            && (from..=part.at).contains(&note.at)
        {
            found.push((note.at, Happening::Mark(name.clone())));
        }
    }
    found.sort_by_key(|(at, _)| *at);
    Ok(found)
}

/// Whether whoever reads has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an exporter makes of these events.
    pub(super) fn export(
        events: &[(u64, Happening)],
        end_ns: u64,
        make: impl for<'a> FnOnce(&'a mut dyn Write) -> Result<Box<dyn Exporter + 'a>>,
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
            console: "hvc0".to_owned(),
            unix_s: 1_700_000_000,
            size: (80, 24),
            screen: "\x1b[2Jlogin".to_owned(),
        }
    }
}
