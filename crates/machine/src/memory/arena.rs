//! The arena: hands out pages for a machine to write to, from segments it fills one after another.
//! Pages are never taken back one by one; a segment goes when nothing refers to it any more.

use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use super::segment::Segment;

/// Pages committed at a time when the machine did not reserve enough.
const COMMIT_PAGES: usize = 64;

/// The part of a segment that is not handed out yet: pages `next..`, of which those below
/// `committed` cannot fail when touched.
#[derive(Debug)]
struct Span {
    segment: Arc<Segment>,
    next: usize,
    committed: usize,
}

/// A machine's source of own pages.
#[derive(Debug)]
pub(super) struct Arena {
    segment_pages: usize,
    /// Filled front to back; only the last may have uncommitted pages.
    spans: VecDeque<Span>,
    /// Handed out completely since the last freeze.
    full: Vec<Arc<Segment>>,
}

impl Arena {
    /// An arena with nothing in it, for a machine of `ram_pages`.
    pub(super) fn new(ram_pages: usize) -> Arena {
        // Each segment is a descriptor and a mapping of the process, so there are few of them:
        // about 64 for a whole RAM, unless that makes them smaller than 2 or larger than 256 MiB.
        let segment_pages = (ram_pages / 64).next_power_of_two().clamp(512, 65_536);
        Arena { segment_pages, spans: VecDeque::new(), full: Vec::new() }
    }

    /// Makes sure that the next `pages` calls of [`Arena::take`] need nothing from the host.
    /// New segments go to `segments` at once, whose holder keeps them alive.
    pub(super) fn reserve(
        &mut self,
        pages: usize,
        segments: &mut Vec<Arc<Segment>>,
    ) -> io::Result<()> {
        let mut ready = self.ready();
        while ready < pages {
            if let Some(span) = self.spans.back_mut()
                && span.committed < span.segment.pages()
            {
                let room = span.segment.pages() - span.committed;
                let count = (pages - ready).max(COMMIT_PAGES).min(room);
                span.segment.commit(span.committed, count)?;
                span.committed += count;
                ready += count;
                continue;
            }
            let segment = Arc::new(Segment::new(self.segment_pages)?);
            segments.push(Arc::clone(&segment));
            self.spans.push_back(Span { segment, next: 0, committed: 0 });
        }
        Ok(())
    }

    /// Pages that [`Arena::take`] gives without needing anything from the host.
    pub(super) fn ready(&self) -> usize {
        self.spans.iter().map(|span| span.committed - span.next).sum()
    }

    /// A committed page of unspecified content, or `None` when a reserve is due.
    pub(super) fn take(&mut self) -> Option<NonNull<u8>> {
        let span = self.spans.front_mut()?;
        if span.next == span.committed {
            return None;
        }
        let page = span.segment.page(span.next);
        span.next += 1;
        if span.next == span.segment.pages() {
            let span = self.spans.pop_front().expect("looked at above");
            self.full.push(span.segment);
        }
        Some(page)
    }

    /// Declares every page handed out so far frozen.
    pub(super) fn freeze(&mut self) {
        for full in self.full.drain(..) {
            full.set_frozen(full.pages());
        }
        for span in &self.spans {
            span.segment.set_frozen(span.next);
        }
    }

    /// Whether pages of `segment` are still to be handed out.
    pub(super) fn is_open(&self, segment: &Arc<Segment>) -> bool {
        self.spans.iter().any(|span| Arc::ptr_eq(&span.segment, segment))
    }
}
