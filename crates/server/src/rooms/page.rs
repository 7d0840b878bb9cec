//! One page at a machine: what it has been told, and so what it is told next.
//!
//! Nothing is queued: the next frames are made when the last ones are on their way, from what the
//! room is then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use stackvm_host::protocol::{Command, Reply, SourceId};
use tokio::sync::watch;

use super::Joining;
use super::budget::Budget;
use super::console::Past;
use super::keys::source;
use super::link::Waiter;
use super::people::{End, Floors};
use super::room::{Inner, Room};
use super::stream::{Next, Seen};
use super::views::Led;
use crate::grant::Grant;
use crate::protocol::{
    ConsoleIndex, Gone, InputNumber, OUTPUT_BYTES_MAX, PICTURE_LINES_MAX, PersonId, Said,
    ServerMessage, VERSION, Welcome, output_frame,
};
use crate::rights::Right;

/// Bytes sent to a page and not yet acknowledged as drawn, per terminal, before it gets no more.
pub(crate) const WINDOW_BYTES: u64 = 512 << 10;
/// Things said in one message.
const SAID_AT_ONCE: usize = 50;
/// How long the lab may take to say what it has had of a page.
const APPLIED_TIME: Duration = Duration::from_secs(5);
/// Length of a page's name.
const PAGE_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// What a page may be sent.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Frame {
    Message(ServerMessage),
    Terminal(Bytes),
}

/// A page. Dropping it leaves the room.
pub(crate) struct Page {
    pub(super) room: Arc<Room>,
    pub(super) id: PersonId,
    pub(super) epoch: u64,
    changed: watch::Receiver<()>,
    end: watch::Receiver<Option<End>>,
    past: Past,
    past_from_unix_ms: u64,
    is_welcomed: bool,
    applied: InputNumber,
    /// What was said before it came, for its first frames.
    said: Vec<Said>,
    said_last: u64,
    told: Told,
    /// Times it begins to watch a terminal, each of which is a picture.
    pub(super) watches: Budget,
    /// Times it says where it looks.
    pub(super) looks: Budget,
    pub(super) led: Led,
    watched: BTreeMap<ConsoleIndex, Watched>,
}

/// The versions of things that the page knows.
#[derive(Debug, Default)]
struct Told {
    name: u64,
    condition: u64,
    progress: u64,
    people: u64,
    keyboard: u64,
    door: u64,
    notices: u64,
    typists: BTreeMap<ConsoleIndex, u64>,
}

impl Told {
    /// Notices, and who types, are news for those who are here.
    fn newcomer(inner: &Inner) -> Told {
        let consoles = inner.consoles.iter().enumerate();
        let typists = consoles.map(|(index, it)| (index as ConsoleIndex, it.typist.version()));
        Told { notices: inner.notices_count, typists: typists.collect(), ..Told::default() }
    }
}

/// A terminal that the page watches.
#[derive(Debug)]
struct Watched {
    /// `None` before its first picture, and when it has missed something.
    seen: Option<Seen>,
    acknowledged: u64,
}

impl Room {
    /// Lets a page in.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn join(
        self: &Arc<Room>,
        joining: Joining,
        grant: Grant,
    ) -> Result<Page, Gone> {
        let is_name = joining.page.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name || !PAGE_BYTES.contains(&joining.page.len()) {
            return Err(Gone::NotAdmitted);
        }
        // The page comes again by itself.
        self.recall().await.map_err(|_| Gone::Closing)?;
        let source = source(grant.session, &joining.page);
        let mut page = self.enter(&joining, grant, source)?;
        let since = page.past_from_unix_ms;
        page.said = self.said(joining.chat, since).await;
        page.said_last = page.said.last().map_or(joining.chat, |said| said.id);
        page.applied = page.last_applied(source).await;
        Ok(page)
    }

    fn enter(
        self: &Arc<Room>,
        joining: &Joining,
        grant: Grant,
        source: SourceId,
    ) -> Result<Page, Gone> {
        let lines_max = if grant.may(Right::SeePast) { PICTURE_LINES_MAX } else { 0 };
        let since_ticks = stackvm_machine::Instant::from_ns(grant.past_from_ns).ticks();
        let past_from_unix_ms = grant.past_from_unix_ms;
        let changed = self.subscribe();
        self.change(|inner| {
            let person = inner.people.enter(grant, source)?;
            let (id, epoch, end) = (person.id, person.epoch, person.end.subscribe());
            inner.joined(id, Instant::now());
            let mut page = Page {
                room: self.clone(),
                id,
                epoch,
                changed,
                end,
                past: Past { since_ticks, lines_max },
                past_from_unix_ms,
                is_welcomed: false,
                applied: InputNumber(0),
                said: Vec::new(),
                said_last: 0,
                told: Told::newcomer(inner),
                watches: Budget::new(20, Duration::from_millis(500)),
                looks: Budget::new(40, Duration::from_millis(100)),
                led: Led { brought: inner.brought.version(), ..Led::default() },
                watched: BTreeMap::new(),
            };
            let floors = inner.people.take_floors(source);
            if joining.run.as_ref() == Some(&self.run) {
                page.resume(inner, joining, &floors);
            }
            Ok(page)
        })
    }
}

impl Page {
    /// Goes on where the page was. Whoever has a link learns the run, and may claim to have seen
    /// anything: only what this very page was shown since its last picture counts.
    fn resume(&mut self, inner: &mut Inner, joining: &Joining, floors: &Floors) {
        for (&index, &position) in &joining.seen {
            let Some(console) = inner.console(index) else { continue };
            let shown = floors.get(&index).is_some_and(|floor| *floor <= position);
            let seen =
                (shown && console.stream.has(position)).then(|| console.stream.resume(position));
            self.watched.insert(index, Watched { seen, acknowledged: position });
            let floor = floors.get(&index).copied().filter(|_| seen.is_some());
            inner.watch(self.id, self.epoch, index, floor);
        }
    }

    /// The last key of this page that the machine has had, as far as that can be known now; the lab
    /// drops what it has had before, so that less is no harm.
    async fn last_applied(&self, source: SourceId) -> InputNumber {
        let asked = self.room.call(Command::Applied { source });
        match tokio::time::timeout(APPLIED_TIME, asked).await {
            Ok(Ok(Reply::Applied { number })) => InputNumber(number),
            _ => InputNumber(0),
        }
    }

    /// Returns when there may be something to send.
    pub(crate) async fn changed(&mut self) {
        // The room holds the sender, and the page holds the room.
        let _ = self.changed.changed().await;
    }

    /// Why this connection ends, once it does.
    pub(crate) fn end(&self) -> watch::Receiver<Option<End>> {
        self.end.clone()
    }

    /// Whether the page may say more now; else it waits.
    pub(crate) fn is_heard(&self) -> bool {
        self.room.look(|inner| inner.people.get(self.id).is_none_or(|person| person.is_heard()))
    }

    /// The next frames for this page, none when it is up to date: what is new, and one piece of
    /// output of each terminal, so that the page's own messages get their turn.
    pub(crate) fn next_frames(&mut self) -> Vec<Frame> {
        self.changed.borrow_and_update();
        let room = self.room.clone();
        room.with(|inner| {
            if inner.person(self.id, self.epoch).is_none() {
                return Vec::new();
            }
            let mut messages = Vec::new();
            if !self.is_welcomed {
                self.is_welcomed = true;
                messages.extend(self.welcome(inner));
            }
            self.tell_machine(inner, &mut messages);
            self.tell_people(inner, &mut messages);
            self.tell_views(inner, &mut messages);
            self.tell_own(inner, &mut messages);
            let mut frames: Vec<Frame> = messages.into_iter().map(Frame::Message).collect();
            for (&index, watched) in &mut self.watched {
                let floors = (self.id, self.past);
                frames.extend(watched.next(inner, index, floors));
            }
            frames
        })
    }

    fn welcome(&mut self, inner: &Inner) -> Option<ServerMessage> {
        let grant = &inner.people.get(self.id)?.grant;
        self.told.name = inner.name.version();
        Some(ServerMessage::Welcome(Box::new(Welcome {
            version: VERSION,
            run: self.room.run.clone(),
            machine: self.room.machine.clone(),
            name: inner.name.get().clone(),
            image: inner.image.clone(),
            you: self.id,
            role: grant.role,
            rights: grant.role.rights(),
            consoles: inner.consoles.iter().map(|console| console.info.clone()).collect(),
            applied: self.applied,
            door_locked: *inner.door_locked.get(),
        })))
    }

    fn tell_machine(&mut self, inner: &Inner, messages: &mut Vec<ServerMessage>) {
        let told = &mut self.told;
        if let Some(name) = inner.name.news(&mut told.name) {
            messages.push(ServerMessage::Renamed { name: name.clone() });
        }
        if let Some(condition) = inner.condition.news(&mut told.condition) {
            let super::Condition { state, detail, action } = condition.clone();
            messages.push(ServerMessage::State { state, detail, action });
        }
        let is_preparing = inner.told.is_pending();
        if let Some(progress) = inner.progress.news(&mut told.progress).filter(|_| is_preparing) {
            let super::Progress { phase, message, done_bytes, total_bytes } = progress.clone();
            messages.push(ServerMessage::Progress { phase, message, done_bytes, total_bytes });
        }
        if let Some((number, text)) = inner.notice_after(told.notices) {
            told.notices = *number;
            messages.push(ServerMessage::Notice { text: text.clone() });
        }
    }

    fn tell_people(&mut self, inner: &Inner, messages: &mut Vec<ServerMessage>) {
        let told = &mut self.told;
        if let Some(people) = inner.shown_people.news(&mut told.people) {
            messages.push(ServerMessage::People { people: people.clone() });
        }
        if let Some(keyboard) = inner.keyboard.news(&mut told.keyboard) {
            messages.push(ServerMessage::Keyboard(keyboard.clone()));
        }
        if let Some(&locked) = inner.door_locked.news(&mut told.door) {
            messages.push(ServerMessage::Door { locked });
        }
        for (index, console) in inner.consoles.iter().enumerate() {
            let index = index as ConsoleIndex;
            let told = told.typists.entry(index).or_default();
            if let Some(Some(typist)) = console.typist.news(told) {
                let (person, name) = (typist.person, typist.name.clone());
                messages.push(ServerMessage::Typist { console: index, person, name });
            }
        }
        let mut said = std::mem::take(&mut self.said);
        said.extend(inner.chat.after(self.said_last, self.past_from_unix_ms));
        if let Some(last) = said.last() {
            self.said_last = last.id;
        }
        for said in said.chunks(SAID_AT_ONCE) {
            messages.push(ServerMessage::Chat { said: said.to_vec() });
        }
    }

    /// What is for this page alone. Refusals come before what was applied after them.
    fn tell_own(&mut self, inner: &mut Inner, messages: &mut Vec<ServerMessage>) {
        let Some(person) = inner.person(self.id, self.epoch) else { return };
        for (number, reason) in person.refused.drain(..) {
            messages.push(ServerMessage::Refused { number, reason });
        }
        if person.applied > self.applied {
            self.applied = person.applied;
            messages.push(ServerMessage::Applied { number: self.applied });
        }
        messages.extend(person.pong.take().map(|nonce| ServerMessage::Pong { nonce }));
        messages.extend(person.notices.drain(..).map(|text| ServerMessage::Notice { text }));
    }

    /// The page wants a terminal from now on, with a picture first.
    pub(super) fn watch(&mut self, index: ConsoleIndex) {
        self.watched.entry(index).or_insert(Watched { seen: None, acknowledged: 0 });
        let (id, epoch) = (self.id, self.epoch);
        self.room.change(|inner| inner.watch(id, epoch, index, None));
    }

    pub(super) fn unwatch(&mut self, index: ConsoleIndex) {
        self.watched.remove(&index);
        let (id, epoch) = (self.id, self.epoch);
        self.room.change(|inner| {
            if let Some(person) = inner.person(id, epoch) {
                person.floors.remove(&index);
            }
        });
    }

    /// The page has drawn a terminal up to a position.
    pub(super) fn drawn(&mut self, index: ConsoleIndex, position: u64) {
        // A page may claim anything; it can only ever make the server send what it keeps anyway.
        if let Some(Watched { seen: Some(seen), acknowledged }) = self.watched.get_mut(&index) {
            *acknowledged = position.clamp(*acknowledged, seen.position.max(*acknowledged));
        }
    }
}

impl Watched {
    /// The next frame of this terminal, if there is one the page can take.
    fn next(
        &mut self,
        inner: &mut Inner,
        index: ConsoleIndex,
        (id, past): (PersonId, Past),
    ) -> Option<Frame> {
        let console = inner.consoles.get(usize::from(index))?;
        if let Some(seen) = &mut self.seen {
            if seen.position.saturating_sub(self.acknowledged) >= WINDOW_BYTES {
                return None;
            }
            match console.stream.next(*seen, OUTPUT_BYTES_MAX) {
                Next::Current => return None,
                Next::Size(number, size) => {
                    seen.size = number;
                    let (columns, rows) = (size.columns, size.rows);
                    let message = ServerMessage::Size { console: index, columns, rows };
                    return Some(Frame::Message(message));
                }
                Next::Bytes(bytes) => {
                    let frame = output_frame(index, seen.position, &bytes);
                    seen.position += bytes.len() as u64;
                    return Some(Frame::Terminal(frame.into()));
                }
                Next::Lost => self.seen = None,
            }
        }
        let Some(drawn) = console.picture(past).cloned() else {
            inner.ask_picture(index, past);
            return None;
        };
        self.seen = Some(drawn.seen);
        self.acknowledged = drawn.seen.position;
        if let Some(person) = inner.people.get_mut(id) {
            person.floors.insert(index, drawn.seen.position);
        }
        Some(Frame::Terminal(drawn.frame))
    }
}

impl Inner {
    /// Somebody watches a terminal: from `floor` on, or from their next picture.
    fn watch(&mut self, id: PersonId, epoch: u64, index: ConsoleIndex, floor: Option<u64>) {
        if let Some(person) = self.person(id, epoch) {
            person.floors.insert(index, floor.unwrap_or(u64::MAX));
        }
        self.attach(index);
    }

    /// Asks the lab for a picture, unless one is on its way.
    fn ask_picture(&mut self, index: ConsoleIndex, past: Past) {
        let Some(console) = self.consoles.get_mut(usize::from(index)) else { return };
        if let Some(link) = self.link.as_mut().filter(|_| console.is_attached())
            && console.asked.insert(past)
        {
            let Past { since_ticks, lines_max } = past;
            let look = Command::Look { console: console.id, since_ticks, lines_max };
            link.ask(look, Waiter::Picture(index, past));
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let (id, epoch) = (self.id, self.epoch);
        self.room.change(|inner| {
            // Unless the page has come again meanwhile, or was cut.
            if inner.person(id, epoch).is_some() {
                inner.leave(id, Instant::now());
            }
        });
    }
}
