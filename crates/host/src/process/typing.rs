//! Who types at the machine's terminals, and what was typed already.
//!
//! Whoever numbers inputs may send them again after a lost connection: a number that is not above
//! the last one of its source does nothing. This is the lab's to know, not the server's, which may
//! be killed at any moment. It is not kept when the lab itself is: then a source's numbers begin
//! anew, and what was not answered may be typed twice.

use std::collections::{BTreeMap, HashMap};

use stackvm_machine::{ConsoleId, Input};

use super::Process;
use super::clients::ClientId;
use super::recording::check_actor;
use super::requests::{Refusal, check_data};
use crate::lab::Actor;
use crate::protocol::{Event, Reply, SOURCES_MAX, SourceId, Tag};

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
    /// Whether this is new; it is not, the next time.
    fn take(&mut self, Key { source, number }: Key) -> bool {
        let before = self.last.get(&source).copied();
        if before.is_some_and(|last| number <= last.number) || number == 0 {
            return false;
        }
        self.count += 1;
        if let Some(last) = before {
            self.heard.remove(&last.heard);
        } else if self.last.len() >= SOURCES_MAX
            && let Some((_, quietest)) = self.heard.pop_first()
        {
            self.last.remove(&quietest);
        }
        self.heard.insert(self.count, source);
        self.last.insert(source, Last { number, heard: self.count });
        true
    }

    fn last(&self, source: SourceId) -> u64 {
        self.last.get(&source).map_or(0, |last| last.number)
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
        if self.typing.typists.get(&console) != Some(actor) {
            self.typing.typists.insert(console, actor.clone());
            let name = actor.name().to_owned();
            self.tell_attached(console, &Event::Typed { console, name });
        }
        self.lab.put(actor, Input::Console { console, bytes });
        Ok(())
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
        if self.typing.sources.take(key) {
            self.type_at(console, &Actor::Named(name.into()), bytes)?;
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

    #[test]
    fn a_number_is_taken_once() {
        let check = |numbers: &[(u16, u64)], taken: &[bool]| {
            let mut sources = Sources::default();
            let now: Vec<bool> = numbers.iter().map(|(s, n)| sources.take(key(*s, *n))).collect();
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
            assert!(sources.take(key(source, 7)));
        }
        assert!(sources.take(key(0, 8)), "it is not the quietest any more");
        assert!(sources.take(key(5000, 1)));
        let lasts = [0, 1, 2, 5000].map(|source| sources.last(key(source, 0).source));
        assert_eq!(lasts, [8, 0, 7, 1]);
        assert_eq!((sources.last.len(), sources.heard.len()), (SOURCES_MAX, SOURCES_MAX));
    }
}
