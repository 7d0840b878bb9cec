//! Keystrokes on their way to the machine, and the sizes that whoever types brings along.
//!
//! Each key is kept until the lab says that it is part of the machine's past, and sent again to a lab
//! that comes back; the lab drops what it has had. So a key is applied once, whoever is killed.

use std::time::Instant;

use stackvm_catalog::ids::SessionId;
use stackvm_host::protocol::{Command, Size, SourceId};
use stackvm_machine::ConsoleId;

use super::console::Typist;
use super::link::{Link, Waiter};
use super::people::{PendingKey, Present};
use super::room::Inner;
use crate::protocol::{ConsoleIndex, InputNumber, Keys, MachineState, PersonId, RefusedKey};
use crate::rights::Right;

/// Whose numbers the keys of a page are. A neighbour's page has another session, so that it cannot use
/// up this one's numbers even if it learns the page's name.
pub(super) fn source(session: SessionId, page: &str) -> SourceId {
    let hash = blake3::hash(format!("{session}{page}").as_bytes());
    let mut source = SourceId([0; 16]);
    source.0.copy_from_slice(&hash.as_bytes()[..16]);
    source
}

impl Inner {
    /// Somebody typed. `None` if there is no such terminal.
    pub(super) fn type_keys(
        &mut self,
        id: PersonId,
        epoch: u64,
        keys: Keys<'_>,
        now: Instant,
    ) -> Option<()> {
        let is_typable = self.console(keys.console)?.info.typable;
        if let Err(reason) = self.may_type(id, epoch, is_typable, now) {
            let person = self.person(id, epoch)?;
            person.refused.push_back((keys.number, reason));
            return Some(());
        }
        self.bring_size(id, keys.console);
        let key =
            PendingKey { number: keys.number, console: keys.console, bytes: keys.bytes.to_vec() };
        let person = self.people.get_mut(id)?;
        if let Some(link) = &mut self.link {
            let console = &self.consoles[usize::from(keys.console)];
            send(link, person, console.id, &key);
        }
        person.pending.push_back(key);
        Some(())
    }

    /// The attacker here is a viewer: whatever their page sends, nothing reaches the machine.
    fn may_type(
        &mut self,
        id: PersonId,
        epoch: u64,
        is_typable: bool,
        now: Instant,
    ) -> Result<(), RefusedKey> {
        let person = self.person(id, epoch).ok_or(RefusedKey::NoRight)?;
        if !is_typable || !person.grant.may(Right::Type) {
            return Err(RefusedKey::NoRight);
        }
        if self.is_off() {
            return Err(RefusedKey::Off);
        }
        self.turns.type_key(id, now)
    }

    /// Whether keys have nowhere to go, now or in a moment.
    fn is_off(&self) -> bool {
        let state = self.told.condition().state;
        !matches!(state, MachineState::Starting | MachineState::Running | MachineState::Paused)
    }

    /// The lab has answered for a key.
    pub(super) fn key_answered(
        &mut self,
        id: PersonId,
        epoch: u64,
        number: InputNumber,
        refused: Option<String>,
    ) {
        let Some(person) = self.person(id, epoch) else { return };
        // Answers come in the order of the keys, and each key has one on each line to a lab.
        let Some(at) = person.pending.iter().position(|key| key.number == number) else { return };
        let Some(key) = person.pending.remove(at) else { return };
        if let Some(message) = refused {
            person.refused.push_back((number, RefusedKey::Off));
            person.notify(&message);
            return;
        }
        person.applied = person.applied.max(number);
        let name = person.grant.name.clone();
        self.last_typist = Some(id);
        if let Some(console) = self.console(key.console) {
            console.typist.set(Some(Typist { person: Some(id), name }));
        }
    }

    /// Sends what a lab has not answered to the one that is on the line now.
    pub(super) fn resend_keys(&mut self) {
        let Some(link) = &mut self.link else { return };
        for person in self.people.iter() {
            for key in &person.pending {
                if let Some(console) = self.consoles.get(usize::from(key.console)) {
                    send(link, person, console.id, key);
                }
            }
        }
    }

    /// Where the machine has gone off, nothing more is applied.
    pub(super) fn refuse_pending_if_off(&mut self) {
        if !self.is_off() {
            return;
        }
        for person in self.people.iter_mut() {
            let refused = person.pending.drain(..).map(|key| (key.number, RefusedKey::Off));
            person.refused.extend(refused);
        }
    }

    /// Somebody's window has this size now. The terminal follows if it is theirs.
    pub(super) fn wish(&mut self, id: PersonId, index: ConsoleIndex, size: Size) {
        let is_only_typist = self.turns.typists() == 1;
        let Some(console) = self.console(index) else { return };
        let is_theirs = match console.typist.get() {
            Some(typist) => typist.person == Some(id),
            None => false,
        };
        // Somebody at the command line has the size, too.
        let is_elsewhere = matches!(console.typist.get(), Some(Typist { person: None, .. }));
        let follows = is_theirs || !console.has_size || (is_only_typist && !is_elsewhere);
        if let Some(person) = self.people.get_mut(id) {
            person.wishes.insert(index, size);
        }
        if follows {
            self.resize(index, size);
        }
    }

    /// Whoever types has their size.
    fn bring_size(&mut self, id: PersonId, index: ConsoleIndex) {
        let wish = self.people.get(id).and_then(|person| person.wishes.get(&index).copied());
        if let Some(size) = wish {
            self.resize(index, size);
        }
    }

    /// A terminal without a size takes that of the first who may type.
    pub(super) fn size_of_first_typist(&mut self, index: ConsoleIndex) {
        let wish = {
            let mut typists = self.people.iter().filter(|person| person.grant.may(Right::Type));
            typists.find_map(|person| person.wishes.get(&index).copied())
        };
        if let Some(size) = wish {
            self.resize(index, size);
        }
    }

    fn resize(&mut self, index: ConsoleIndex, size: Size) {
        let Some(console) = self.consoles.get_mut(usize::from(index)) else { return };
        let known = console.stream.size().filter(|_| console.has_size);
        let present = console.asked_size.or(known);
        if let Some(link) = self.link.as_ref().filter(|_| present != Some(size)) {
            console.asked_size = Some(size);
            link.tell(Command::Resize { console: console.id, size });
        }
    }
}

fn send(link: &mut Link, person: &Present, console: ConsoleId, key: &PendingKey) {
    let waiter = Waiter::Key { person: person.id, epoch: person.epoch, number: key.number };
    let (bytes, number) = (key.bytes.clone(), key.number.0);
    let name = person.grant.name.clone();
    link.ask(Command::TypeOnce { console, bytes, name, source: person.source, number }, waiter);
}
