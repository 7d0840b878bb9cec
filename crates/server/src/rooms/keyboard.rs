//! Who may type: open while few have the right to, then passed from hand to hand.
//!
//! Pure: time and who is there are passed in. Knows nothing of keys, pages or machines.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::protocol::{Keyboard, KeyboardMode, PersonId, RefusedKey};

/// Whoever has the keyboard and has not typed for this long loses it when somebody waits.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(60);
/// So much of that is left when everybody is told how much.
const COUNTED_TIME: Duration = Duration::from_secs(30);
/// Most people that type together where nobody has chosen.
const OPEN_MAX: usize = 2;

/// What somebody is to the keyboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Has no right to type.
    Watches,
    /// Types, when it is their turn.
    Types,
    /// Types, and rules over the keyboard.
    Owns,
}

/// The keyboard of a machine and who is around it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    mode: KeyboardMode,
    locked: bool,
    /// Only those who may type are here.
    typists: BTreeMap<PersonId, Standing>,
    holder: Option<PersonId>,
    /// When the holder typed last, or got it.
    used: Option<Instant>,
    waiting: VecDeque<PersonId>,
}

impl Turns {
    /// What people are shown.
    pub(super) fn view(&self, now: Instant) -> Keyboard {
        Keyboard {
            mode: self.mode,
            passed: self.is_passed(),
            holder: self.holder,
            waiting: self.waiting.iter().copied().collect(),
            locked: self.locked,
            left_s: self.left_s(now),
        }
    }

    /// How it goes around, and whether nobody but the owner types.
    pub(super) fn settled(&self) -> (KeyboardMode, bool) {
        (self.mode, self.locked)
    }

    /// Whole seconds that an idle holder has left while somebody waits, from [`COUNTED_TIME`] on:
    /// one number a second, instead of one for each key.
    fn left_s(&self, now: Instant) -> Option<u32> {
        let used = self.used.filter(|_| !self.waiting.is_empty())?;
        let left = IDLE_TIME.saturating_sub(now.saturating_duration_since(used));
        (left <= COUNTED_TIME).then(|| left.as_millis().div_ceil(1000) as u32)
    }

    /// How many people have the right to type.
    pub(super) fn typists(&self) -> usize {
        self.typists.len()
    }

    pub(super) fn join(&mut self, who: PersonId, standing: Standing) {
        if standing != Standing::Watches {
            self.typists.insert(who, standing);
        }
    }

    /// Somebody leaves; what they held goes to the next.
    pub(super) fn leave(&mut self, who: PersonId, now: Instant) {
        self.release(who, now);
        self.typists.remove(&who);
        self.settle();
    }

    /// Somebody is about to type; takes the keyboard for them where it is free.
    pub(super) fn type_key(&mut self, who: PersonId, now: Instant) -> Result<(), RefusedKey> {
        let standing = self.typists.get(&who).copied().ok_or(RefusedKey::NoRight)?;
        if self.locked && standing != Standing::Owns {
            return Err(RefusedKey::Locked);
        }
        if !self.is_passed() {
            return Ok(());
        }
        match self.holder {
            Some(holder) if holder != who => return Err(RefusedKey::NotYours),
            Some(_) => self.used = Some(now),
            None => self.hand_to(Some(who), now),
        }
        Ok(())
    }

    /// Somebody would like to have it: at once if nobody uses it, else after those before them.
    pub(super) fn ask(&mut self, who: PersonId, now: Instant) {
        let is_new = self.holder != Some(who) && !self.waiting.contains(&who);
        if self.is_passed() && is_new && self.typists.contains_key(&who) {
            self.waiting.push_back(who);
            if self.holder.is_none() {
                self.hand_on(now);
            }
            self.expire(now);
        }
    }

    /// Somebody does not need it, or waits no more.
    pub(super) fn release(&mut self, who: PersonId, now: Instant) {
        self.waiting.retain(|waiting| *waiting != who);
        if self.holder == Some(who) {
            self.hand_on(now);
        }
    }

    /// Gives it to somebody who may type: for the holder and the owner; of others it is nothing.
    pub(super) fn give(&mut self, from: PersonId, to: PersonId, now: Instant) {
        let may = self.holder == Some(from) || self.typists.get(&from) == Some(&Standing::Owns);
        if may && self.is_passed() && self.typists.contains_key(&to) {
            self.hand_to(Some(to), now);
        }
    }

    /// Takes it: for the owner; of others it is nothing.
    pub(super) fn take(&mut self, who: PersonId, now: Instant) {
        if self.is_passed() && self.typists.get(&who) == Some(&Standing::Owns) {
            self.hand_to(Some(who), now);
        }
    }

    /// As the owner chooses.
    pub(super) fn set(&mut self, mode: KeyboardMode, locked: bool) {
        self.mode = mode;
        self.locked = locked;
        self.settle();
    }

    /// Hands it on if its holder has not used it while somebody waits.
    pub(super) fn expire(&mut self, now: Instant) {
        let idle = self.used.map(|used| now.saturating_duration_since(used));
        if !self.waiting.is_empty() && idle.is_some_and(|idle| idle >= IDLE_TIME) {
            self.hand_on(now);
        }
    }

    fn is_passed(&self) -> bool {
        match self.mode {
            KeyboardMode::Auto => self.typists.len() > OPEN_MAX,
            KeyboardMode::Open => false,
            KeyboardMode::Passed => true,
        }
    }

    /// Where everybody types, nobody holds and nobody waits.
    fn settle(&mut self) {
        if !self.is_passed() {
            self.holder = None;
            self.used = None;
            self.waiting.clear();
        }
    }

    fn hand_on(&mut self, now: Instant) {
        let next = self.waiting.pop_front();
        self.hand_to(next, now);
    }

    fn hand_to(&mut self, who: Option<PersonId>, now: Instant) {
        self.holder = who;
        self.used = who.map(|_| now);
        self.waiting.retain(|waiting| Some(*waiting) != who);
    }
}

#[cfg(test)]
mod tests;
