//! Where people look in the machine's time: who is told where somebody else looks, and who brings
//! everybody to where they are.
//!
//! Nobody is led to an instant that they may not see: the attacker is a viewer whose link begins
//! late, and who follows somebody whose past is longer. What is shown there is asked for like
//! anything else of the past; here is only where to look.

use super::hear::Breach;
use super::page::Page;
use super::room::Inner;
use crate::grant::Grant;
use crate::protocol::{ConsoleIndex, PersonId, ServerMessage};
use crate::rights::Right;

/// Where a page looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct View {
    pub(super) console: ConsoleIndex,
    /// The instant; `None` is live.
    pub(super) at_ns: Option<u64>,
}

/// Somebody brought everybody there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Brought {
    by: PersonId,
    name: String,
    view: View,
}

/// What a page has been told of where others look.
#[derive(Debug, Default)]
pub(super) struct Led {
    /// Whose view, and which.
    pub(super) last: Option<(PersonId, View)>,
    pub(super) brought: u64,
}

impl Page {
    /// The page looks somewhere else now.
    pub(super) fn look_at(&mut self, view: View) -> Result<(), Breach> {
        let (id, epoch) = (self.id, self.epoch);
        let is_news = self.room.with(|inner| {
            let Some(person) = inner.person(id, epoch) else { return false };
            let looked_back = person.view.at_ns.is_some();
            person.view = view;
            let is_followed = inner.people.iter().any(|other| other.follows == Some(id));
            is_followed || looked_back != view.at_ns.is_some()
        });
        // Whoever drags through an hour wakes only those who follow.
        if is_news {
            self.room.change(|_| {});
        }
        Ok(())
    }

    /// The page is to be told where somebody looks.
    pub(super) fn follow(&mut self, whom: Option<PersonId>) -> Result<(), Breach> {
        self.led.last = None;
        self.act(Right::SeePast, |inner, id| {
            let whom = whom.filter(|whom| *whom != id);
            if let Some(person) = inner.people.get_mut(id) {
                person.follows = whom;
            }
        })
    }

    /// Everybody is to look where this page looks.
    pub(super) fn bring(&self) -> Result<(), Breach> {
        if !self.may_act(Right::Type)? {
            return Ok(());
        }
        self.act(Right::Type, |inner, id| {
            let Some(person) = inner.people.get(id) else { return };
            let (name, view) = (person.grant.name.clone(), person.view);
            inner.brought.renew(Some(Brought { by: id, name, view }));
        })
    }

    /// Where others look, as far as it is for this page.
    pub(super) fn tell_views(&mut self, inner: &Inner, messages: &mut Vec<ServerMessage>) {
        let Some(person) = inner.people.get(self.id) else { return };
        if let Some(Some(brought)) = inner.brought.news(&mut self.led.brought)
            && brought.by != self.id
            && let Some(View { console, at_ns }) = shown_to(&person.grant, brought.view)
        {
            let name = brought.name.clone();
            messages.push(ServerMessage::Brought { name, console, at_ns });
        }
        let followed = person.follows.and_then(|whom| inner.people.get(whom));
        let led = followed.and_then(|whom| Some((whom.id, shown_to(&person.grant, whom.view)?)));
        if let Some((person, View { console, at_ns })) = led
            && self.led.last != led
        {
            messages.push(ServerMessage::Led { person, console, at_ns });
        }
        self.led.last = led;
    }
}

/// Where somebody may look when another looks somewhere.
fn shown_to(grant: &Grant, view: View) -> Option<View> {
    let at_ns = view.at_ns.map(|at_ns| at_ns.max(grant.past_from_ns));
    (grant.may(Right::SeePast) || at_ns.is_none()).then_some(View { at_ns, ..view })
}
