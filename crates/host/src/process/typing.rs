//! Who types at the machine's terminals, and what was typed already.
//!
//! Whoever numbers inputs may send them again after a lost connection: a number that is not above
//! the last one of its source does nothing. This is the lab's to know, not the server's, which may
//! be killed at any moment; should the lab itself be, the next one has it from the [`Ledger`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use stackvm_machine::{ConsoleId, Input};

use super::Process;
use super::clients::ClientId;
use super::ledger::Ledger;
use super::recording::check_actor;
use super::requests::{Refusal, check_data};
use crate::lab::Actor;
use crate::protocol::{Event, Reply, SOURCES_MAX, SourceId, Tag};
use crate::recorder::EntryPlace;

/// Most answers that wait until what they are about is written.
const WAITING_MAX: usize = 4096;

/// A numbered input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) source: SourceId,
    pub(super) number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Typing {
    sources: Sources,
    /// Keeps them; machines that are not kept have none.
    ledger: Option<Ledger>,
    /// Who typed last at each terminal.
    typists: BTreeMap<ConsoleId, Actor>,
    /// Answers that wait until every input is in the machine's recordings.
    waiting: Vec<(ClientId, Tag, Reply)>,
}

/// The last number of each source; of too many, the one that was quiet for longest is forgotten.
#[derive(Debug, Default)]
struct Sources {
    last: HashMap<SourceId, Last>,
    /// Sources by when they were last heard.
    heard: BTreeMap<u64, SourceId>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    number: u64,
    heard: u64,
}

impl Sources {
    /// Whether this was not taken.
    fn is_new(&self, Key { source, number }: Key) -> bool {
        number > self.last(source)
    }

    /// Who is forgotten if this one is taken.
    fn gives_way(&self, Key { source, .. }: Key) -> Option<SourceId> {
        let is_full = self.last.len() >= SOURCES_MAX && !self.last.contains_key(&source);
        self.heard.values().next().copied().filter(|_| is_full)
    }

    /// Takes what is new.
    fn take(&mut self, key: Key) {
        let Key { source, number } = key;
        if let Some(quietest) = self.gives_way(key)
            && let Some(last) = self.last.remove(&quietest)
        {
            self.heard.remove(&last.heard);
        }
        self.count += 1;
        let heard = self.count;
        if let Some(before) = self.last.insert(source, Last { number, heard }) {
            self.heard.remove(&before.heard);
        }
        self.heard.insert(heard, source);
    }

    fn last(&self, source: SourceId) -> u64 {
        self.last.get(&source).map_or(0, |last| last.number)
    }
}

impl Typing {
    /// Of a machine that is kept in `folder`, whose journal's next entry comes at `next`.
    pub(super) fn kept(folder: &Path, next: EntryPlace) -> io::Result<Typing> {
        let (ledger, typed) = Ledger::open(folder, next)?;
        let mut sources = Sources::default();
        typed.into_iter().for_each(|key| sources.take(key));
        Ok(Typing { sources, ledger: Some(ledger), ..Typing::default() })
    }
}

impl Process {
    pub(super) fn type_at(
        &mut self,
        console: ConsoleId,
        actor: &Actor,
        bytes: Vec<u8>,
    ) -> Result<(), Refusal> {
        check_data(&bytes)?;
        self.check_console(console)?;
        self.tell_typist(console, actor);
        self.lab.put(actor, Input::Console { console, bytes });
        Ok(())
    }

    fn tell_typist(&mut self, console: ConsoleId, actor: &Actor) {
        if self.typing.typists.get(&console) != Some(actor) {
            self.typing.typists.insert(console, actor.clone());
            let name = actor.name().to_owned();
            self.tell_attached(console, &Event::Typed { console, name });
        }
    }

    pub(super) fn type_once(
        &mut self,
        id: ClientId,
        tag: Tag,
        console: ConsoleId,
        name: &str,
        key: Key,
        bytes: Vec<u8>,
    ) -> Result<(), Refusal> {
        check_actor(name)?;
        // Whatever is refused must not use up its number.
        check_data(&bytes)?;
        self.check_console(console)?;
        self.check_waiting()?;
        if self.typing.sources.is_new(key) {
            let actor = Actor::Named(name.into());
            self.tell_typist(console, &actor);
            let forgotten = self.typing.sources.gives_way(key);
            let ledger = &mut self.typing.ledger;
            let noted =
                self.lab.put_noted(&actor, Input::Console { console, bytes }, |place| {
                    match (ledger, place) {
                        (Some(ledger), Some(place)) => ledger.note(key, place, forgotten),
                        _ => Ok(()),
                    }
                });
            noted.map_err(|error| format!("could not note what is typed: {error}; try again"))?;
            self.typing.sources.take(key);
        }
        self.reply_when_written(id, tag, Reply::Done);
        Ok(())
    }

    pub(super) fn applied(
        &mut self,
        id: ClientId,
        tag: Tag,
        source: SourceId,
    ) -> Result<(), Refusal> {
        self.check_waiting()?;
        let number = self.typing.sources.last(source);
        self.reply_when_written(id, tag, Reply::Applied { number });
        Ok(())
    }

    /// Answers those whose input is in the machine's recordings by now.
    pub(super) fn answer_typed(&mut self) {
        if !self.typing.waiting.is_empty() && self.lab.is_written() {
            for (client, tag, reply) in std::mem::take(&mut self.typing.waiting) {
                self.reply(client, tag, reply);
            }
        }
    }

    fn reply_when_written(&mut self, id: ClientId, tag: Tag, reply: Reply) {
        if self.lab.is_written() {
            self.answer_typed();
            self.reply(id, tag, reply);
        } else {
            self.typing.waiting.push((id, tag, reply));
        }
    }

    fn check_waiting(&self) -> Result<(), Refusal> {
        match self.typing.waiting.len() < WAITING_MAX {
            true => Ok(()),
            false => Err("the machine waits until its recording can be written; try again".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: u16, number: u64) -> Key {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&source.to_le_bytes());
        Key { source: SourceId(bytes), number }
    }

    fn take(sources: &mut Sources, source: u16, number: u64) -> bool {
        let is_new = sources.is_new(key(source, number));
        if is_new {
            sources.take(key(source, number));
        }
        is_new
    }

    #[test]
    fn a_number_is_taken_once() {
        let check = |numbers: &[(u16, u64)], taken: &[bool]| {
            let mut sources = Sources::default();
            let now: Vec<bool> = numbers.iter().map(|(s, n)| take(&mut sources, *s, *n)).collect();
            assert_eq!(now, taken, "{numbers:?}");
        };
        check(&[(1, 1), (1, 1), (1, 2), (1, 1)], &[true, false, true, false]);
        check(&[(1, 5), (2, 1), (1, 4), (2, 2)], &[true, true, false, true]);
        check(&[(1, 0), (1, u64::MAX), (1, 1)], &[false, true, false]);
    }

    #[test]
    fn the_quietest_source_is_forgotten() {
        let mut sources = Sources::default();
        for source in 0..SOURCES_MAX as u16 {
            assert!(take(&mut sources, source, 7));
        }
        assert!(take(&mut sources, 0, 8), "it is not the quietest any more");
        assert!(take(&mut sources, 5000, 1));
        let lasts = [0, 1, 2, 5000].map(|source| sources.last(key(source, 0).source));
        assert_eq!(lasts, [8, 0, 7, 1]);
        assert_eq!((sources.last.len(), sources.heard.len()), (SOURCES_MAX, SOURCES_MAX));
    }
}
