//! One terminal of a machine in its room: its recent output, its pictures, its size and who types
//! at it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use stackvm_host::protocol::{Picture, Size};
use stackvm_machine::ConsoleId;

use super::stream::{Seen, Stream};
use super::versioned::Versioned;
use crate::protocol::{ConsoleIndex, ConsoleInfo, PersonId, picture_frame};

/// How long a terminal that nobody watches stays attached, for pages that come back.
pub(super) const UNWATCHED_TIME: Duration = Duration::from_secs(30);
/// Pictures kept of a terminal, one for each kind of right to the past.
const PICTURES_MAX: usize = 16;
/// Most output after a picture for which it is still worth sending.
const FRESH_BYTES: u64 = 64 << 10;

/// How much of a terminal's past somebody may see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Past {
    pub(super) since_ticks: u64,
    pub(super) lines_max: u32,
}

/// Whether the lab sends a terminal's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Attachment {
    No,
    /// Asked for; what comes before the answer is not known to follow anything.
    Asked,
    Yes,
}

/// Who typed last at a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Typist {
    /// `None` for somebody who is not here: at the command line.
    pub(super) person: Option<PersonId>,
    pub(super) name: String,
}

/// A picture ready to be sent, and what follows it.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    past: Past,
    pub(super) seen: Seen,
    pub(super) frame: Bytes,
}

/// A terminal.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) id: ConsoleId,
    pub(super) info: ConsoleInfo,
    pub(super) stream: Stream,
    pub(super) attachment: Attachment,
    /// When somebody watched it last.
    pub(super) watched: Instant,
    pub(super) typist: Versioned<Option<Typist>>,
    /// Whether somebody has given it a size.
    pub(super) has_size: bool,
    /// The size the lab was asked for last.
    pub(super) asked_size: Option<Size>,
    pictures: Vec<Drawn>,
    /// Pictures on their way.
    pub(super) asked: BTreeSet<Past>,
}

impl Console {
    /// Those of a machine, the one to show first.
    pub(super) fn all(ids: &[ConsoleId], now: Instant) -> Vec<Console> {
        let ids = &ids[..ids.len().min(usize::from(ConsoleIndex::MAX))];
        let console = |(index, id): (usize, &ConsoleId)| Console {
            id: *id,
            info: info(index, *id),
            stream: Stream::default(),
            attachment: Attachment::No,
            watched: now,
            typist: Versioned::new(None),
            has_size: false,
            asked_size: None,
            pictures: Vec::new(),
            asked: BTreeSet::new(),
        };
        ids.iter().enumerate().map(console).collect()
    }

    /// Whether output comes, so that a picture has a place in it.
    pub(super) fn is_attached(&self) -> bool {
        self.attachment != Attachment::No
    }

    /// What was kept no longer joins what comes.
    pub(super) fn clear(&mut self) {
        self.stream.clear();
        self.pictures.clear();
    }

    /// No lab sends anything; positions go on.
    pub(super) fn unlink(&mut self) {
        self.clear();
        self.attachment = Attachment::No;
        self.has_size = false;
        self.asked_size = None;
        self.asked.clear();
    }

    /// A picture has come, taken exactly at the end of what was received.
    pub(super) fn keep_picture(&mut self, index: ConsoleIndex, past: Past, picture: &Picture) {
        self.stream.resize(picture.size);
        let seen = self.stream.end();
        let bytes = [&picture.history[..], &picture.screen].concat();
        let size = (picture.size.columns, picture.size.rows);
        let frame = picture_frame(index, seen.position, size, &bytes).into();
        self.pictures.retain(|drawn| drawn.past != past);
        if self.pictures.len() >= PICTURES_MAX {
            self.pictures.remove(0);
        }
        self.pictures.push(Drawn { past, seen, frame });
    }

    /// A picture for this right that output can follow, if there is one.
    pub(super) fn picture(&self, past: Past) -> Option<&Drawn> {
        let end = self.stream.end();
        self.pictures.iter().find(|drawn| {
            drawn.past == past
                && drawn.seen.size == end.size
                && drawn.seen.position >= end.position.saturating_sub(FRESH_BYTES)
                && self.stream.has(drawn.seen.position)
        })
    }

    /// Whether pictures are too old to be sent to anybody; then they go.
    pub(super) fn drop_stale_pictures(&mut self) {
        let fresh = self.stream.end().position.saturating_sub(FRESH_BYTES);
        self.pictures.retain(|drawn| drawn.seen.position >= fresh);
    }
}

fn info(index: usize, id: ConsoleId) -> ConsoleInfo {
    match id {
        _ if index == 0 => ConsoleInfo { name: "console".into(), typable: true },
        ConsoleId::Hvc(n) => ConsoleInfo { name: format!("hvc{n}"), typable: true },
        // It shows what firmware and kernel say; nobody listens there.
        ConsoleId::Serial => ConsoleInfo { name: "kernel log".into(), typable: false },
    }
}
