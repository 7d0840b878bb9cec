//! A terminal's film: what happened at it, in order, for programs that play terminals and know no
//! machine.
//!
//! Owns what such a film consists of, in which order that is told, and the one format that servers
//! give away ([`Asciicast`]). What is told is stored: the output track, the inputs, the marks. Who
//! can replay tells the rest itself, where a track ends early; nothing here does.

mod asciicast;
#[cfg(all(test, unix))]
mod tests;
mod utf8;

use std::io::{self, Write};
use std::iter::{Peekable, from_fn};

use stackvm_machine::{ConsoleId, Input, Instant};
use thiserror::Error;

use crate::branch::BranchId;
use crate::event::{Entry, Event};
use crate::note::Words;
use crate::position::Position;
use crate::screen::{DEFAULT_SIZE, Screen};
use crate::timeline::{OpenError, Timeline};
use crate::track::{TrackEvent, TrackItem};

pub use asciicast::{Asciicast, Inputs};
pub use utf8::Decoder;

/// What happens at a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// The guest wrote.
    Output(Vec<u8>),
    /// Somebody typed.
    Typed(Vec<u8>),
    /// It has a new size in columns and rows.
    Resize(u16, u16),
    /// Somebody marked the instant.
    Mark(String),
}

/// What a film begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Of whom this is.
    pub title: String,
    /// When the recording was begun, in seconds since 1970.
    pub unix_s: u64,
    /// Columns and rows.
    pub size: (u16, u16),
    /// What the terminal shows at the beginning, as control sequences; empty for nothing.
    pub screen: String,
}

/// Writes one format; instants are nanoseconds from the beginning.
pub trait Exporter {
    /// Something happened.
    ///
    /// # Errors
    /// What the sink says.
    fn happened(&mut self, at_ns: u64, what: &Happening) -> io::Result<()>;

    /// Nothing more happens; the recording lasted so long.
    ///
    /// # Errors
    /// What the sink says.
    fn end(self: Box<Self>, at_ns: u64) -> io::Result<()>;
}

/// Why a film cannot be made.
#[derive(Debug, Error)]
pub enum FilmError {
    /// The recording cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The film cannot be written.
    #[error("the film cannot be written")]
    Write(#[from] io::Error),
}

/// Who is told what happens, and when.
pub type Visit<'v> = dyn FnMut(Instant, Happening) -> io::Result<()> + 'v;

/// Tells what happened at a terminal on a part of a branch's path, in order. What it printed comes
/// from outside; what people and hosts did there is told between that.
pub struct Telling<'a> {
    console: ConsoleId,
    until: Instant,
    others: Peekable<Others<'a>>,
}

type Others<'a> = Box<dyn Iterator<Item = Result<(Instant, Happening), OpenError>> + 'a>;

impl Head {
    /// The beginning of a film of what a terminal shows at first: nothing, if it was never written
    /// to.
    pub fn new(timeline: &Timeline, title: String, screen: Option<&Screen>) -> Head {
        Head {
            title,
            unix_s: timeline.header().created_unix_ms / 1000,
            size: screen.map_or(DEFAULT_SIZE, Screen::size),
            screen: screen.map_or_else(String::new, Screen::dump),
        }
    }
}

impl<'a> Telling<'a> {
    /// Of a part that [`Timeline::path`] has, whose marks count from an instant on.
    pub fn new(
        timeline: &'a Timeline,
        part: &Position,
        from: Instant,
        console: ConsoleId,
    ) -> Telling<'a> {
        let count = usize::try_from(part.entries.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let entries = timeline.entries(part.branch, 0).take(count);
        let done = entries.filter_map(move |entry| match entry {
            Ok(Entry { at, event, .. }) => done_at(console, event).map(|what| Ok((at, what))),
            Err(error) => Some(Err(error)),
        });
        let marks = marks(timeline, part, from);
        let others: Others<'a> = Box::new(in_order(done, marks));
        Telling { console, until: part.at, others: others.peekable() }
    }

    /// Tells what the track has of the terminal in this part, and what was done meanwhile; returns
    /// how far the track goes, if it has anything.
    ///
    /// # Errors
    /// [`FilmError`], the first that there is.
    pub fn track(
        &mut self,
        items: impl Iterator<Item = Result<TrackItem, OpenError>>,
        visit: &mut Visit<'_>,
    ) -> Result<Option<Instant>, FilmError> {
        let mut reached = None;
        for item in items {
            let TrackItem { at, console, event } = item?;
            if at > self.until {
                break;
            }
            reached = reached.max(Some(at));
            // Sizes are inputs, which know their instant better.
            if let (TrackEvent::Output(bytes), true) = (event, console == self.console) {
                self.printed(at, bytes, visit)?;
            }
        }
        Ok(reached)
    }

    /// Tells what the terminal printed until an instant, and what was done before that.
    ///
    /// # Errors
    /// [`FilmError`], the first that there is.
    pub fn printed(
        &mut self,
        at: Instant,
        bytes: Vec<u8>,
        visit: &mut Visit<'_>,
    ) -> Result<(), FilmError> {
        self.others_before(at, visit)?;
        Ok(visit(at, Happening::Output(bytes))?)
    }

    /// Nothing more was printed: tells what else was done.
    ///
    /// # Errors
    /// [`FilmError`], the first that there is.
    pub fn end(mut self, visit: &mut Visit<'_>) -> Result<(), FilmError> {
        self.others_before(Instant::MAX, visit)
    }

    /// What a slice printed at its end was printed before what was put in there.
    fn others_before(&mut self, at: Instant, visit: &mut Visit<'_>) -> Result<(), FilmError> {
        let is_before = |other: &Result<(Instant, Happening), OpenError>| {
            other.as_ref().map_or(true, |(other, _)| *other < at)
        };
        while let Some(other) = self.others.next_if(is_before) {
            let (at, what) = other?;
            visit(at, what)?;
        }
        Ok(())
    }
}

impl Timeline {
    /// Writes an asciicast of a terminal of a branch, called `title`: from the output track alone,
    /// as far as that goes, and without what was typed.
    ///
    /// # Errors
    /// [`FilmError`]: the log, the track or the first keyframe's picture is damaged, or `out` takes
    /// no more.
    pub fn asciicast(
        &self,
        branch: BranchId,
        console: ConsoleId,
        title: &str,
        out: &mut dyn Write,
    ) -> Result<(), FilmError> {
        let (begin, path) = (self.begin(branch), self.path(branch));
        // What is on the first picture is not told again.
        let (screens, track) = self.drawn_before(path[0].branch, Some(console), begin)?;
        let head = Head::new(self, title.to_owned(), screens.get(&console));
        let mut cast = Asciicast::new(out, &head, Inputs::LeftOut)?;
        let at_ns = |at: Instant| at.since(begin).ns();
        let visit: &mut Visit<'_> = &mut |at, what| cast.happened(at_ns(at), &what);
        let (mut first, mut from) = (Some(track), begin);
        for part in path {
            let track = first.take().unwrap_or_else(|| self.track(part.branch));
            let mut telling = Telling::new(self, &part, from, console);
            telling.track(track, visit)?;
            telling.end(visit)?;
            from = part.at;
        }
        Ok(Box::new(cast).end(at_ns(self.branch(branch).end))?)
    }
}

/// What an event is at a terminal.
fn done_at(console: ConsoleId, event: Event) -> Option<Happening> {
    match event {
        Event::Input(Input::Console { console: to, bytes }) if to == console => {
            Some(Happening::Typed(bytes))
        }
        Event::Input(Input::Resize { console: of, columns, rows }) if of == console => {
            Some(Happening::Resize(columns, rows))
        }
        _ => None,
    }
}

/// The marks on a part of a path, in order.
fn marks(timeline: &Timeline, part: &Position, from: Instant) -> Vec<(Instant, Happening)> {
    let notes = timeline.notes().iter();
    let within =
        notes.filter(|note| note.branch == part.branch && (from..=part.at).contains(&note.at));
    let mark = within.filter_map(|note| match &note.words {
        Words::Mark(name) => Some((note.at, Happening::Mark(name.clone()))),
        Words::Comment(_) => None,
    });
    mark.collect()
}

/// Both in one row; what was done at an instant comes before that instant's marks.
fn in_order(
    done: impl Iterator<Item = Result<(Instant, Happening), OpenError>>,
    marks: Vec<(Instant, Happening)>,
) -> impl Iterator<Item = Result<(Instant, Happening), OpenError>> {
    let (mut done, mut marks) = (done.peekable(), marks.into_iter().peekable());
    from_fn(move || {
        let is_marks_turn = match (done.peek(), marks.peek()) {
            (Some(Ok((done, _))), Some((mark, _))) => mark < done,
            (Some(_), _) => false,
            (None, _) => true,
        };
        if is_marks_turn { marks.next().map(Ok) } else { done.next() }
    })
}
