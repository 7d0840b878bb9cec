//! What a page says, checked against what its person may do: the only way from a page to a machine.
//!
//! The attacker is whoever has a link: their page may send anything at any time. What the buttons of
//! our page would never send ends the connection; what can happen to an honest page (the keyboard
//! went on to somebody else a moment ago) is passed over or answered.

use std::time::Instant;

use stackvm_catalog::ids::ShareId;
use stackvm_host::protocol::Size;

use super::names::{clean_name, clean_text};
use super::page::Page;
use super::people::End;
use super::room::Inner;
use super::settled::settles;
use super::views::View;
use crate::protocol::{ClientMessage, Gone, PersonId, SIZE_RANGE, parse_keys};
use crate::rights::Right;

/// A page broke the protocol; its connection ends with this reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Breach(pub(crate) &'static str);

const NO_RIGHT: Breach = Breach("that is not yours to do");
const NO_CONSOLE: Breach = Breach("there is no such terminal");
/// Largest lag that is believed.
const LAG_MS_MAX: u32 = 60_000;
/// A change of the lag that is worth telling everybody: in milliseconds, and as its part.
const LAG_STEP_MS: u32 = 20;
const LAG_STEP_PART: u32 = 4;

impl Page {
    /// Keys that the page sent.
    ///
    /// # Errors
    /// They are none.
    pub(crate) fn hear_keys(&mut self, frame: &[u8]) -> Result<(), Breach> {
        let keys = parse_keys(frame).ok_or(Breach("those are no keys"))?;
        let (id, epoch, now) = (self.id, self.epoch, Instant::now());
        self.room.change(|inner| match inner.person(id, epoch) {
            Some(_) => inner.type_keys(id, epoch, keys, now).ok_or(NO_CONSOLE),
            // It was cut, or came again: nobody listens to this connection any more.
            None => Ok(()),
        })
    }

    /// A message that the page sent.
    ///
    /// # Errors
    /// It is not one that an honest page of this person sends.
    pub(crate) async fn hear(&mut self, message: ClientMessage) -> Result<(), Breach> {
        let row = self.audit_row(&message);
        let settles = settles(&message);
        self.do_what(message).await?;
        if settles && let Err(error) = self.room.keep_settled().await {
            self.tell(&format!("That holds only until the server ends: {error}"));
        }
        self.audit(row).await;
        Ok(())
    }

    async fn do_what(&mut self, message: ClientMessage) -> Result<(), Breach> {
        match message {
            ClientMessage::Join { .. } => Err(Breach("this page is here already")),
            ClientMessage::Watch { console } => {
                self.check_console(console)?;
                if !self.watches.take(Instant::now()) {
                    return Err(Breach("too many pictures"));
                }
                self.watch(console);
                Ok(())
            }
            ClientMessage::Unwatch { console } => {
                self.unwatch(console);
                Ok(())
            }
            ClientMessage::Drawn { console, position } => {
                self.drawn(console, position);
                Ok(())
            }
            ClientMessage::Resize { console, columns, rows } => {
                self.check_console(console)?;
                let clamp = |n: u16| n.clamp(*SIZE_RANGE.start(), *SIZE_RANGE.end());
                let size = Size { columns: clamp(columns), rows: clamp(rows) };
                // Every page says how large its window is; only of those who type it matters.
                self.act(Right::See, |inner, id| {
                    if inner.may(id, Right::Type) {
                        inner.wish(id, console, size);
                    }
                })
            }
            ClientMessage::Look { console, at_ns } => {
                self.check_console(console)?;
                if !self.looks.take(Instant::now()) {
                    return Err(Breach("too many looks"));
                }
                self.look_at(View { console, at_ns })
            }
            ClientMessage::Follow { person } => self.follow(person),
            ClientMessage::Bring => self.bring(),
            ClientMessage::Say { text, at_ns } => self.say(&text, at_ns).await,
            ClientMessage::Rename { name } => self.rename(&name).await,
            ClientMessage::Remove { person } => self.remove(person).await,
            message => self.hear_about_people(message),
        }
    }

    /// The part of [`Page::do_what`] about people and the keyboard.
    fn hear_about_people(&mut self, message: ClientMessage) -> Result<(), Breach> {
        let now = Instant::now();
        match message {
            ClientMessage::Away { away } => self.act(Right::See, |inner, id| {
                if let Some(person) = inner.people.get_mut(id) {
                    person.away = away;
                }
            }),
            ClientMessage::Ping { nonce, lag_ms } => self.act(Right::See, |inner, id| {
                if let Some(person) = inner.people.get_mut(id) {
                    person.pong = Some(nonce);
                    person.lag_ms = told_lag(person.lag_ms, lag_ms);
                }
            }),
            ClientMessage::AskKeyboard => {
                self.act(Right::Type, |inner, id| inner.turns.ask(id, now))
            }
            ClientMessage::ReleaseKeyboard => {
                self.act(Right::Type, |inner, id| inner.turns.release(id, now))
            }
            ClientMessage::GiveKeyboard { to } => {
                self.act(Right::Type, |inner, id| inner.turns.give(id, to, now))
            }
            ClientMessage::TakeKeyboard => {
                self.act(Right::Share, |inner, id| inner.turns.take(id, now))
            }
            ClientMessage::SetKeyboard { mode, locked } => {
                self.act(Right::Share, |inner, _| inner.turns.set(mode, locked))
            }
            ClientMessage::LockDoor { locked } => {
                self.act(Right::Share, |inner, _| inner.people.lock_door(locked))
            }
            ClientMessage::Mute { person, muted } => {
                self.act(Right::Share, |inner, _| inner.mute(person, muted))
            }
            _ => unreachable!("`do_what` keeps the others"),
        }
    }

    /// Does something for which its person needs a right.
    pub(super) fn act(
        &self,
        right: Right,
        act: impl FnOnce(&mut Inner, PersonId),
    ) -> Result<(), Breach> {
        self.room.change(|inner| match inner.person(self.id, self.epoch) {
            Some(person) if person.grant.may(right) => {
                act(inner, self.id);
                Ok(())
            }
            Some(_) => Err(NO_RIGHT),
            None => Ok(()),
        })
    }

    /// Whether its person may say or change something that is kept, once more; else they are told.
    pub(super) fn may_act(&self, right: Right) -> Result<bool, Breach> {
        let now = Instant::now();
        self.room.change(|inner| match inner.person(self.id, self.epoch) {
            Some(person) if person.grant.may(right) => {
                let may = person.acts.take(now);
                if !may {
                    person.notify("That was too much at once; wait a moment.");
                }
                Ok(may)
            }
            Some(_) => Err(NO_RIGHT),
            None => Ok(false),
        })
    }

    fn check_console(&self, console: u8) -> Result<(), Breach> {
        let count = self.room.look(|inner| inner.consoles.len());
        if usize::from(console) < count { Ok(()) } else { Err(NO_CONSOLE) }
    }

    async fn say(&self, text: &str, at_ns: Option<u64>) -> Result<(), Breach> {
        if !self.may_act(Right::Comment)? {
            return Ok(());
        }
        let Some(text) = clean_text(text) else { return Ok(()) };
        let who = self.room.with(|inner| {
            let is_muted = |inner: &Inner, session| inner.people.muted.contains(&session);
            let grant = inner.people.get(self.id)?.grant.clone();
            let muted = is_muted(inner, grant.session);
            Some((grant, muted))
        });
        let Some((grant, is_muted)) = who else { return Ok(()) };
        if is_muted {
            self.tell("The owner of this machine has muted you.");
            return Ok(());
        }
        // Nobody speaks of what they may not see.
        let at_ns = at_ns.map(|at_ns| at_ns.max(grant.past_from_ns));
        if let Err(reason) = self.room.say(&grant.name, grant.hue, text, at_ns).await {
            self.tell(&reason);
        }
        Ok(())
    }

    async fn rename(&self, name: &str) -> Result<(), Breach> {
        if !self.may_act(Right::See)? {
            return Ok(());
        }
        let Some(name) = clean_name(name) else {
            self.tell("A name needs at least one letter.");
            return Ok(());
        };
        let (id, epoch) = (self.id, self.epoch);
        let who = self.room.change(|inner| {
            let person = inner.person(id, epoch)?;
            person.grant.name = name.clone();
            let (session, hue) = (person.grant.session, person.grant.hue);
            inner.people.greet(session, &name);
            Some((session, hue))
        });
        let Some((session, hue)) = who else { return Ok(()) };
        if let Err(error) = self.room.catalog.name_session(session, &name, hue).await {
            self.tell(&format!("The name could not be kept: {error}"));
        }
        Ok(())
    }

    /// The owner puts somebody out: all their pages, and their way back by this link.
    async fn remove(&self, who: PersonId) -> Result<(), Breach> {
        self.act(Right::Share, |_, _| {})?;
        let guest = self.room.look(|inner| {
            let grant = &inner.people.get(who)?.grant;
            grant.share.map(|share: ShareId| (grant.session, share))
        });
        let Some((session, share)) = guest else { return Ok(()) };
        let ungranted = self.room.catalog.ungrant(session, share).await;
        self.room
            .cut(Gone::Removed, |grant| grant.session == session && grant.share == Some(share));
        if let Err(error) = ungranted {
            self.tell(&format!("They are out, but may come back: {error}; revoke their link."));
        }
        Ok(())
    }

    pub(super) fn tell(&self, text: &str) {
        self.room.change(|inner| {
            if let Some(person) = inner.person(self.id, self.epoch) {
                person.notify(text);
            }
        });
    }
}

impl Inner {
    fn may(&self, id: PersonId, right: Right) -> bool {
        self.people.get(id).is_some_and(|person| person.grant.may(right))
    }

    fn mute(&mut self, id: PersonId, muted: bool) {
        let Some(session) = self.people.get(id).map(|person| person.grant.session) else { return };
        if muted {
            self.people.muted.insert(session);
        } else {
            self.people.muted.remove(&session);
        }
    }
}

/// The lag that others are told: the one they know, unless it is clearly another.
fn told_lag(known: Option<u32>, new: Option<u32>) -> Option<u32> {
    let new = new?.min(LAG_MS_MAX);
    match known {
        Some(known) if known.abs_diff(new) < LAG_STEP_MS.max(known / LAG_STEP_PART) => Some(known),
        _ => Some(new),
    }
}

impl End {
    /// What the page is told, if it is told anything.
    pub(crate) fn reason(self) -> Option<Gone> {
        match self {
            End::Gone(reason) => Some(reason),
            End::Replaced | End::Renewed => None,
        }
    }
}
