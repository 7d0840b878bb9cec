//! What an owner does to people at a machine, for the audit: who was put out, muted or locked out.

use stackvm_catalog::rows::AuditRow;

use super::page::Page;
use crate::clock::unix_ms;
use crate::protocol::{ClientMessage, PersonId};
use crate::rights::Right;

impl Page {
    /// What is noted of a message, if it is one that the audit is about and its person may send it.
    /// To be asked before it is done: afterwards somebody may be gone.
    pub(super) fn audit_row(&self, message: &ClientMessage) -> Option<AuditRow> {
        let (action, detail) = match message {
            ClientMessage::Remove { person } => ("person.remove", self.called(*person)?),
            ClientMessage::Mute { person, muted: true } => ("person.mute", self.called(*person)?),
            ClientMessage::Mute { person, muted: false } => {
                ("person.unmute", self.called(*person)?)
            }
            ClientMessage::LockDoor { locked: true } => ("door.lock", String::new()),
            ClientMessage::LockDoor { locked: false } => ("door.open", String::new()),
            ClientMessage::SetKeyboard { mode, locked } => {
                let locked = if *locked { ", locked" } else { "" };
                ("keyboard.set", format!("{mode:?}{locked}").to_lowercase())
            }
            _ => return None,
        };
        let is_allowed = self.room.look(|inner| {
            inner.people.get(self.id).is_some_and(|person| person.grant.may(Right::Share))
        });
        is_allowed.then(|| AuditRow {
            id: 0,
            at_unix_ms: unix_ms(),
            actor: "owner".to_owned(),
            action: action.to_owned(),
            subject: self.room.machine.clone(),
            detail,
        })
    }

    /// Notes what was done.
    pub(super) async fn audit(&self, row: Option<AuditRow>) {
        let Some(row) = row else { return };
        if let Err(error) = self.room.catalog.audit(&row).await {
            self.tell(&format!("That is done, but could not be noted: {error}"));
        }
    }

    /// Name and session of somebody who is here.
    fn called(&self, who: PersonId) -> Option<String> {
        self.room.look(|inner| {
            let grant = &inner.people.get(who)?.grant;
            Some(format!("{} (guest {})", grant.name, grant.session))
        })
    }
}
