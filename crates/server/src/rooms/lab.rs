//! What a machine's lab says, brought into its room.

use std::sync::Arc;
use std::time::Instant;

use stackvm_host::protocol::{Command, Event, Hello, PICTURE_BYTES_MAX, Picture, Reply, Size};
use stackvm_machine::ConsoleId;

use super::console::{Attachment, Console, Typist};
use super::link::{Link, LinkError, Waiter};
use super::people::End;
use super::room::{Inner, Room};
use crate::protocol::ConsoleIndex;

impl Room {
    /// A lab is on the line.
    pub(super) fn linked(self: &Arc<Self>, hello: &Hello, link: Link) {
        self.change(|inner| {
            inner.link = Some(link);
            inner.told.lab_says(&hello.state);
            inner.meet_consoles(&hello.consoles);
            inner.attach(0);
            for index in 1..inner.consoles.len() as ConsoleIndex {
                if inner.people.iter().any(|person| person.floors.contains_key(&index)) {
                    inner.attach(index);
                }
            }
            inner.resend_keys();
        });
    }

    /// The lab is not on the line any more; what was asked of it and not answered never will be.
    pub(super) fn unlinked(&self) {
        self.change(|inner| {
            inner.link = None;
            inner.told.lab_gone();
            inner.text.unlink();
            for console in &mut inner.consoles {
                console.unlink();
            }
        });
    }

    /// Why there is no line to a lab that should be there.
    pub(super) fn unreachable(&self, error: &LinkError) {
        self.change(|inner| inner.told.unreachable(error.to_string()));
    }

    /// The lab says something.
    ///
    /// # Errors
    /// It breaks a limit: the guest may have taken its process over.
    pub(super) fn lab_event(&self, event: Event) -> Result<(), LinkError> {
        self.change(|inner| match event {
            Event::Reply { tag, reply } => {
                match inner.link.as_mut().and_then(|link| link.answered(tag)) {
                    Some(waiter) => inner.answer(waiter, reply),
                    None => Ok(()),
                }
            }
            event => {
                inner.event(event);
                Ok(())
            }
        })
    }
}

impl Inner {
    fn event(&mut self, event: Event) {
        match event {
            Event::State(state) => self.told.lab_says(&state),
            Event::Notice { message } => self.notify(message),
            Event::Console { console, bytes } => {
                let Some((index, console)) = self.console_of(console) else { return };
                if console.attachment == Attachment::Yes {
                    console.stream.push(&bytes);
                }
                if index == 0 {
                    self.text.touch();
                }
            }
            Event::ConsoleLost { console, .. } => {
                if let Some((_, console)) = self.console_of(console) {
                    console.clear();
                }
            }
            Event::Resized { console, size } => {
                if let Some((_, console)) = self.console_of(console)
                    && console.attachment == Attachment::Yes
                {
                    console.has_size = true;
                    console.stream.resize(size);
                    // Somebody at the command line may have asked for another than we did.
                    console.asked_size = None;
                }
            }
            Event::Typed { console, name } => self.typed(console, name),
            _ => {}
        }
    }

    fn answer(&mut self, waiter: Waiter, reply: Reply) -> Result<(), LinkError> {
        match (waiter, reply) {
            (Waiter::Attached(index), Reply::Attached { picture, size }) => {
                check_picture(&picture)?;
                self.attached(index, size);
            }
            (Waiter::Picture(index, past), reply) => {
                let Some(console) = self.console(index) else { return Ok(()) };
                console.asked.remove(&past);
                if let Reply::Picture(picture) = reply {
                    check_picture(&picture)?;
                    console.keep_picture(index, past, &picture);
                }
            }
            (Waiter::Text, reply) => {
                let lines = if let Reply::Text { lines, .. } = reply { lines } else { Vec::new() };
                if self.text.keep(&lines, Instant::now()) {
                    self.announce();
                }
            }
            (Waiter::Key { person, epoch, number }, reply) => {
                let refused = match reply {
                    Reply::Failed { message } => Some(message),
                    _ => None,
                };
                self.key_answered(person, epoch, number, refused);
            }
            (Waiter::Caller(caller), reply) => {
                // Whoever asked may have stopped waiting.
                let _ = caller.send(reply);
            }
            (Waiter::Attached(index), _) => {
                if let Some(console) = self.console(index) {
                    console.attachment = Attachment::No;
                }
            }
        }
        Ok(())
    }

    pub(super) fn console(&mut self, index: ConsoleIndex) -> Option<&mut Console> {
        self.consoles.get_mut(usize::from(index))
    }

    fn console_of(&mut self, id: ConsoleId) -> Option<(usize, &mut Console)> {
        self.consoles.iter_mut().enumerate().find(|(_, console)| console.id == id)
    }

    /// The lab's terminals. Pages that were told of others join again.
    fn meet_consoles(&mut self, ids: &[ConsoleId]) {
        if self.consoles.iter().map(|console| console.id).eq(ids.iter().copied()) {
            return;
        }
        self.consoles = Console::all(ids, Instant::now());
        for person in self.people.iter_mut() {
            person.end(End::Renewed);
        }
    }

    /// Lets the lab send a terminal, unless it does.
    pub(super) fn attach(&mut self, index: ConsoleIndex) {
        let Some(console) = self.consoles.get_mut(usize::from(index)) else { return };
        if let Some(link) = self.link.as_mut().filter(|_| console.attachment == Attachment::No) {
            console.attachment = Attachment::Asked;
            console.watched = Instant::now();
            link.ask(Command::Attach { console: console.id }, Waiter::Attached(index));
        }
    }

    fn attached(&mut self, index: ConsoleIndex, size: Option<Size>) {
        let Some(console) = self.console(index) else { return };
        console.attachment = Attachment::Yes;
        console.asked_size = None;
        console.has_size = size.is_some();
        match size {
            Some(size) => console.stream.resize(size),
            None => self.size_of_first_typist(index),
        }
        if index == 0 {
            self.text.touch();
        }
    }

    /// Somebody types whom the lab knows by name: here, or at the command line.
    fn typed(&mut self, console: ConsoleId, name: String) {
        let person = self.people.iter().find(|person| person.grant.name == name);
        let person = person.map(|person| person.id);
        let Some((_, console)) = self.console_of(console) else { return };
        let is_told = console.typist.get().as_ref().is_some_and(|typist| typist.name == name);
        if !is_told {
            console.typist.set(Some(Typist { person, name }));
            self.last_typist = person;
        }
    }
}

fn check_picture(picture: &Picture) -> Result<(), LinkError> {
    match picture.history.len() + picture.screen.len() > PICTURE_BYTES_MAX {
        true => Err(LinkError::Breach("a picture that is too large")),
        false => Ok(()),
    }
}
