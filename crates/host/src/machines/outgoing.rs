//! What goes out with a kept machine's recording: how much of what, and whether a text is in it.
//!
//! A recording is the computation, not a film: whoever has it has all that was typed in it, and the
//! machine's memory and disks at any of its instants. Memory and disks are looked at as they are in
//! its keyframes: what stood in memory only between two of them is not found.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use stackvm_machine::Input;
use stackvm_machine::digest::Digest;
use stackvm_store::{Chunks, Tree, tree};
use stackvm_timeline::ask::{self, Case, Pattern};
use stackvm_timeline::film::FilmError;
use stackvm_timeline::timeline::OpenError;
use stackvm_timeline::vmcast::{self, Keyframes};
use stackvm_timeline::{ActorId, BranchId, Event, Timeline};

use super::{Machines, MachinesError, io_error};

/// Of what was typed, so much is looked at, in bytes.
const TYPED_BYTES_MAX: usize = 64 << 20;
/// Lines of a transcript that are looked at.
const LINES_MAX: usize = 100_000;
/// Longest film, in bytes: a hostile recording's would be several times as long as the recording.
const FILM_BYTES_MAX: u64 = 1 << 30;

/// What is in a recording.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outgoing {
    /// Bytes that people typed.
    pub typed_bytes: u64,
    /// Who did.
    pub typists: Vec<String>,
    /// Different bytes of memory in all keyframes.
    pub memory_bytes: u64,
    /// Different bytes in all keyframes that were written to disks.
    pub disk_bytes: u64,
    /// Where the text is that was asked for.
    pub found: Option<Found>,
}

/// How often a text is where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// In what people typed.
    pub typed: u64,
    /// In lines that terminals showed.
    pub shown: u64,
    /// In memory.
    pub memory: u64,
    /// In what was written to disks.
    pub disk: u64,
}

impl Machines {
    /// What goes out with a kept machine's recording, and where in it a text is.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn outgoing(&self, id: &str, text: Option<&str>) -> Result<Outgoing, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let (typed, typists) = typed(&timeline)?;
        let chunks = timeline.chunks();
        let needle = text.unwrap_or_default().as_bytes();
        let keyframes = timeline.keyframes_of(BranchId::TRUNK);
        let (mut memory, mut disk) = (Pages::new(&*chunks, needle), Pages::new(&*chunks, needle));
        for keyframe in keyframes {
            memory.look(&keyframe.ram).map_err(OpenError::Chunks)?;
            for written in &keyframe.disks {
                disk.look(&written.blocks).map_err(OpenError::Chunks)?;
            }
        }
        let found = match text {
            None => None,
            Some(text) => Some(Found {
                typed: count(&typed, needle),
                shown: shown(&timeline, text)?,
                memory: memory.found,
                disk: disk.found,
            }),
        };
        Ok(Outgoing {
            typed_bytes: typed.len() as u64,
            typists,
            memory_bytes: memory.bytes,
            disk_bytes: disk.bytes,
            found,
        })
    }

    /// What a kept machine's terminals showed, as text of at most so many bytes: the last lines.
    ///
    /// # Errors
    /// As [`Machines::outgoing`].
    pub fn transcript(&self, id: &str, bytes_max: usize) -> Result<String, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let (mut lines, mut bytes) = (std::collections::VecDeque::new(), 0);
        let (begin, mut count) = (timeline.begin(BranchId::TRUNK), 0);
        ask::shown(&timeline, BranchId::TRUNK, begin, &Pattern::any(), &mut |hit| {
            bytes += hit.line.len() + 1;
            lines.push_back(hit.line);
            while bytes > bytes_max {
                bytes -= lines.pop_front().map_or(0, |line| line.len() + 1);
            }
            count += 1;
            count < LINES_MAX
        })?;
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }

    /// Writes a kept machine's recording to a file, which has all that is needed for playing it:
    /// what the machine was made from is taken in.
    ///
    /// # Errors
    /// As [`Machines::outgoing`], and [`MachinesError::Export`].
    pub fn export(&self, id: &str, file: &Path) -> Result<(), MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        Ok(vmcast::write(&timeline, file, Keyframes::All, &mut |_, _| true)?)
    }

    /// Writes what the first terminal of a kept machine showed to a file, as an asciicast called
    /// `title`: as far as that is stored, and without what was typed. Nothing is computed again: a
    /// recording from somebody else is only read.
    ///
    /// # Errors
    /// As [`Machines::outgoing`], [`MachinesError::LongFilm`] and [`MachinesError::Io`].
    pub fn asciicast(&self, id: &str, title: &str, file: &Path) -> Result<(), MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let console = timeline.header().first_console();
        let sink = File::create(file).map_err(io_error("make", file))?;
        let mut sink = AtMost { sink: BufWriter::new(sink), left: FILM_BYTES_MAX };
        let written = timeline.asciicast(BranchId::TRUNK, console, title, &mut sink);
        match written.and_then(|()| Ok(sink.flush()?)) {
            Ok(()) => Ok(()),
            Err(FilmError::Open(error)) => Err(error.into()),
            Err(FilmError::Write(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(MachinesError::LongFilm { id: id.to_owned(), max: FILM_BYTES_MAX })
            }
            Err(FilmError::Write(error)) => Err(io_error("write", file)(error)),
        }
    }

    /// A kept machine's recording as a picture that moves, called `title`: an SVG.
    ///
    /// # Errors
    /// As [`Machines::outgoing`].
    pub fn poster(&self, id: &str, title: &str) -> Result<String, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let console = timeline.header().first_console();
        Ok(timeline.poster(BranchId::TRUNK, console, title)?)
    }
}

/// A file that may not grow beyond so many bytes.
struct AtMost<W> {
    sink: W,
    left: u64,
}

impl<W: Write> Write for AtMost<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        let left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        let written = self.sink.write(bytes)?;
        self.left = left + (bytes.len() - written) as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// What people typed, and who they are.
fn typed(timeline: &Timeline) -> Result<(Vec<u8>, Vec<String>), OpenError> {
    let (mut typed, mut typists) = (Vec::new(), Vec::new());
    for entry in timeline.entries(BranchId::TRUNK, 0) {
        let entry = entry?;
        let Event::Input(Input::Console { bytes, .. }) = entry.event else { continue };
        if entry.actor == ActorId::HOST {
            continue;
        }
        let name = timeline.actor(entry.actor);
        if !typists.iter().any(|known| known == name) {
            typists.push(name.to_owned());
        }
        if typed.len() < TYPED_BYTES_MAX {
            typed.extend_from_slice(&bytes);
        }
    }
    Ok((typed, typists))
}

fn shown(timeline: &Timeline, text: &str) -> Result<u64, OpenError> {
    let Some(pattern) = Pattern::new(text, Case::Matters) else { return Ok(0) };
    let mut count = 0;
    let begin = timeline.begin(BranchId::TRUNK);
    ask::shown(timeline, BranchId::TRUNK, begin, &pattern, &mut |_| {
        count += 1;
        true
    })?;
    Ok(count)
}

/// How often a text is in bytes; none is never.
fn count(bytes: &[u8], needle: &[u8]) -> u64 {
    let Some(first) = needle.first() else { return 0 };
    let (mut count, mut rest) = (0, bytes);
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        count += u64::from(rest[at..].starts_with(needle));
        rest = &rest[at + 1..];
    }
    count
}

/// Pages of several states, each of which is looked at once.
struct Pages<'a> {
    chunks: &'a dyn Chunks,
    needle: &'a [u8],
    /// Of pages that were looked at: their first and last bytes, as many as a text that begins in
    /// one and ends in the next can have in it.
    edges: HashMap<Digest, (Vec<u8>, Vec<u8>)>,
    bytes: u64,
    found: u64,
}

impl<'a> Pages<'a> {
    fn new(chunks: &'a dyn Chunks, needle: &'a [u8]) -> Pages<'a> {
        Pages { chunks, needle, edges: HashMap::new(), bytes: 0, found: 0 }
    }

    fn look(&mut self, state: &Tree) -> Result<(), stackvm_store::ReadError> {
        let chunks = self.chunks;
        let mut before: Option<(u64, Digest, bool)> = None;
        tree::visit_pages(chunks, state, &mut |number, id| {
            let is_new = !self.edges.contains_key(id);
            if is_new {
                self.look_at(id)?;
            }
            let next_to = before.filter(|(before, ..)| *before + 1 == number);
            // Two that were next to each other before have been looked at.
            if let Some((_, last, _)) = next_to.filter(|(_, _, was_new)| is_new || *was_new) {
                let joined = [self.edges[&last].1.as_slice(), &self.edges[id].0].concat();
                self.found += count(&joined, self.needle);
            }
            before = Some((number, *id, is_new));
            Ok(())
        })
    }

    fn look_at(&mut self, id: &Digest) -> Result<(), stackvm_store::ReadError> {
        let edge = self.needle.len().saturating_sub(1);
        let mut edges = (Vec::new(), Vec::new());
        let page = match self.needle {
            [] => None,
            _ => Some(tree::read_page(self.chunks, id)?),
        };
        if let Some(page) = &page {
            self.found += count(page, self.needle);
            let edge = edge.min(page.len());
            edges = (page[..edge].to_vec(), page[page.len() - edge..].to_vec());
        }
        self.bytes += stackvm_store::PAGE_BYTES as u64;
        self.edges.insert(*id, edges);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted() {
        for (bytes, needle, expected) in
            [("banana", "ana", 2), ("banana", "", 0), ("", "a", 0), ("aaa", "aaaa", 0)]
        {
            assert_eq!(count(bytes.as_bytes(), needle.as_bytes()), expected);
        }
    }

    #[test]
    fn a_film_ends_where_it_gets_too_long() {
        let mut sink = AtMost { sink: Vec::new(), left: 5 };
        sink.write_all(b"abc").unwrap();
        sink.write_all(b"de").unwrap();
        let error = sink.write_all(b"f").unwrap_err();
        assert_eq!((error.kind(), sink.sink), (io::ErrorKind::FileTooLarge, b"abcde".to_vec()));
    }
}
