//! The people at a machine: what the room keeps of each, and what others are shown of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use stackvm_catalog::ids::SessionId;
use stackvm_host::protocol::{Size, SourceId};
use tokio::sync::watch;

use super::budget::Budget;
use super::views::View;
use crate::grant::Grant;
use crate::protocol::{ConsoleIndex, Gone, InputNumber, Person, PersonId, RefusedKey};

/// Most pages on one machine.
pub(super) const PEOPLE_MAX: usize = 64;
/// Keys of a page on their way to the machine, and their bytes, before it is heard no more.
const KEYS_MAX: usize = 256;
const KEY_BYTES_MAX: usize = 256 << 10;
/// Refusals that a page has not read before it is heard no more.
const REFUSED_MAX: usize = 64;
/// Pages that left and may go on where they were.
const RETURNING_MAX: usize = 128;
/// Personal notices that a page has not read.
const NOTICES_MAX: usize = 4;
/// How long somebody is gone before others are told.
const GONE_TIME: Duration = Duration::from_secs(30);

/// Why a page's connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It is told why, and does not come back by itself.
    Gone(Gone),
    /// The same page came again on another connection.
    Replaced,
    /// The machine has other terminals now: the page joins again.
    Renewed,
}

/// A key on its way to the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PendingKey {
    pub(super) number: InputNumber,
    pub(super) console: ConsoleIndex,
    pub(super) bytes: Vec<u8>,
}

/// Where pictures of terminals that a page watches began: what it may come back to.
pub(super) type Floors = BTreeMap<ConsoleIndex, u64>;

/// Somebody who is here.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) id: PersonId,
    /// Counts the connections of this page; what an earlier one says is not heard.
    pub(super) epoch: u64,
    pub(super) grant: Grant,
    pub(super) source: SourceId,
    pub(super) lag_ms: Option<u32>,
    pub(super) away: bool,
    pub(super) view: View,
    /// Whose view this page is told.
    pub(super) follows: Option<PersonId>,
    pub(super) wishes: BTreeMap<ConsoleIndex, Size>,
    pub(super) floors: Floors,
    pub(super) pending: VecDeque<PendingKey>,
    pub(super) applied: InputNumber,
    pub(super) refused: VecDeque<(InputNumber, RefusedKey)>,
    pub(super) notices: VecDeque<String>,
    pub(super) pong: Option<u32>,
    /// For what is kept or shown to everybody.
    pub(super) acts: Budget,
    pub(super) end: watch::Sender<Option<End>>,
}

impl Present {
    pub(super) fn new(id: PersonId, grant: Grant, source: SourceId) -> Present {
        Present {
            id,
            epoch: 0,
            grant,
            source,
            lag_ms: None,
            away: false,
            view: View::default(),
            follows: None,
            wishes: BTreeMap::new(),
            floors: BTreeMap::new(),
            pending: VecDeque::new(),
            applied: InputNumber(0),
            refused: VecDeque::new(),
            notices: VecDeque::new(),
            pong: None,
            acts: Budget::new(10, Duration::from_secs(1)),
            end: watch::channel(None).0,
        }
    }

    /// Whether its page may say more now; else it waits, and nobody else does.
    pub(super) fn is_heard(&self) -> bool {
        let bytes: usize = self.pending.iter().map(|key| key.bytes.len()).sum();
        self.pending.len() < KEYS_MAX
            && bytes < KEY_BYTES_MAX
            && self.refused.len() < REFUSED_MAX
            && self.pong.is_none()
    }

    /// Tells only this person.
    pub(super) fn notify(&mut self, text: &str) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(text.to_owned());
        }
    }

    pub(super) fn end(&self, end: End) {
        self.end.send_replace(Some(end));
    }
}

/// Everybody who is here, and who was a moment ago.
#[derive(Debug, Default)]
pub(super) struct People {
    present: BTreeMap<PersonId, Present>,
    last_id: u32,
    /// What pages that left have been shown.
    returning: VecDeque<(SourceId, Floors)>,
    /// Those others were told have come; when their last page left.
    known: BTreeMap<SessionId, Known>,
    pub(super) muted: BTreeSet<SessionId>,
    /// While the door is locked: those who were here, and may come back.
    admitted: Option<BTreeSet<SessionId>>,
}

#[derive(Debug)]
struct Known {
    name: String,
    left: Option<Instant>,
}

impl People {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Present> {
        self.present.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Present> {
        self.present.values_mut()
    }

    pub(super) fn get(&self, id: PersonId) -> Option<&Present> {
        self.present.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: PersonId) -> Option<&mut Present> {
        self.present.get_mut(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub(super) fn is_door_locked(&self) -> bool {
        self.admitted.is_some()
    }

    /// While the door is locked: who may come back.
    pub(super) fn admitted(&self) -> Option<&BTreeSet<SessionId>> {
        self.admitted.as_ref()
    }

    /// As it was when the server ended.
    pub(super) fn admit_only(&mut self, admitted: Option<BTreeSet<SessionId>>) {
        self.admitted = admitted;
    }

    /// Locks the door behind everybody who is here, or opens it.
    pub(super) fn lock_door(&mut self, locked: bool) {
        if locked != self.is_door_locked() {
            self.admitted = locked.then(|| self.known.keys().copied().collect());
        }
    }

    /// Somebody comes in, or a page comes back on a new connection: then it is who it was.
    pub(super) fn enter(&mut self, grant: Grant, source: SourceId) -> Result<&mut Present, Gone> {
        let before = self.present.values().find(|person| person.source == source);
        if let Some(before) = before {
            let (id, epoch) = (before.id, before.epoch);
            let mut before = self.present.remove(&id).expect("it was found there");
            before.end(End::Replaced);
            self.keep_floors(source, std::mem::take(&mut before.floors));
            let mut person = Present::new(id, grant, source);
            person.epoch = epoch + 1;
            person.lag_ms = before.lag_ms;
            person.acts = before.acts;
            return Ok(self.present.entry(id).or_insert(person));
        }
        let is_owner = grant.share.is_none();
        let is_shut = self.admitted.as_ref().is_some_and(|in_| !in_.contains(&grant.session));
        if is_shut && !is_owner {
            return Err(Gone::Locked);
        }
        // The owner finds a place wherever others have filled theirs.
        if self.present.len() >= PEOPLE_MAX + usize::from(is_owner) {
            return Err(Gone::Full);
        }
        self.last_id += 1;
        let id = PersonId(self.last_id);
        Ok(self.present.entry(id).or_insert_with(|| Present::new(id, grant, source)))
    }

    /// Somebody is not here any more.
    pub(super) fn remove(&mut self, id: PersonId, now: Instant) -> Option<Present> {
        let mut person = self.present.remove(&id)?;
        self.keep_floors(person.source, std::mem::take(&mut person.floors));
        let session = person.grant.session;
        if !self.present.values().any(|other| other.grant.session == session)
            && let Some(known) = self.known.get_mut(&session)
        {
            known.left = Some(now);
        }
        Some(person)
    }

    /// Notes that somebody is here; whether that is news.
    pub(super) fn greet(&mut self, session: SessionId, name: &str) -> bool {
        let known = Known { name: name.to_owned(), left: None };
        self.known.insert(session, known).is_none()
    }

    /// Whether somebody who left is still waited for.
    pub(super) fn has_known(&self) -> bool {
        !self.known.is_empty()
    }

    /// The names of those who have been gone for so long that they have left.
    pub(super) fn departed(&mut self, now: Instant) -> Vec<String> {
        let gone = |known: &Known| {
            known.left.is_some_and(|left| now.saturating_duration_since(left) >= GONE_TIME)
        };
        let left = self.known.extract_if(.., |_, known| gone(known));
        left.map(|(_, known)| known.name).collect()
    }

    /// What a page that comes back was shown; once.
    pub(super) fn take_floors(&mut self, source: SourceId) -> Floors {
        let at = self.returning.iter().position(|(other, _)| *other == source);
        at.and_then(|at| self.returning.remove(at)).map_or(Floors::new(), |(_, floors)| floors)
    }

    /// What everybody is shown of everybody.
    pub(super) fn view(&self) -> Vec<Person> {
        let person = |person: &Present| Person {
            id: person.id,
            name: person.grant.name.clone(),
            hue: person.grant.hue,
            role: person.grant.role,
            lag_ms: person.lag_ms,
            away: person.away,
            looks_back: person.view.at_ns.is_some(),
            muted: self.muted.contains(&person.grant.session),
        };
        self.present.values().map(person).collect()
    }

    fn keep_floors(&mut self, source: SourceId, floors: Floors) {
        if self.returning.len() >= RETURNING_MAX {
            self.returning.pop_front();
        }
        self.returning.push_back((source, floors));
    }
}
