//! All machines of this server, each with the people at it: a [`Room`] per machine, found by name.
//!
//! The rest of the server reaches machines' terminals, people and states only through here. Knows
//! neither HTTP nor who may come in; a page that arrives here has its [`Grant`]. Labs run on
//! whatever happens here; `supervisor` finds them, and finds them again.

mod audit;
mod budget;
mod chat;
mod condition;
mod console;
mod hear;
mod keyboard;
mod keys;
mod lab;
mod link;
pub(crate) mod names;
mod page;
mod people;
mod room;
mod settled;
mod stream;
mod supervisor;
#[cfg(test)]
mod tests;
mod text;
mod versioned;
mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::ws::WebSocket;
use stackvm_catalog::Catalog;
use stackvm_catalog::ids::{SessionId, ShareId};
use stackvm_host::machines::{Machines, MachinesError};
use stackvm_host::protocol::{Command, Reply};
use stackvm_machine::ConsoleId;
use thiserror::Error;
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;

use crate::api::types::PersonView;
use crate::clock::unix_ms;
use crate::grant::Grant;
use crate::protocol::{ConsoleIndex, Gone, MachineState};
use crate::viewer;
pub(crate) use hear::Breach;
pub(crate) use page::{Frame, Page};
pub(crate) use people::End;
use room::Room;

/// Changes that a receiver may miss before it must ask for everything.
const CHANGES_MAX: usize = 1024;

/// Why a machine could not be told something.
#[derive(Debug, Error)]
pub(crate) enum RoomError {
    /// It is not running.
    #[error("the machine is off; start it first")]
    Off,
    /// The lab refused; its words.
    #[error("{0}")]
    Refused(String),
    /// Its process does not answer.
    #[error("{0}")]
    Lost(String),
}

/// Whose connections end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// Of those who are here through a link.
    Share(ShareId, Gone),
    /// Of a browser.
    Session(SessionId, Gone),
    /// Of everybody at a machine.
    Machine(String, Gone),
    /// Of everybody.
    All(Gone),
}

/// What a page said first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Joining {
    /// Names the page.
    pub(crate) page: String,
    /// The run that `seen` belongs to.
    pub(crate) run: Option<String>,
    /// The position after the last byte received, by terminal.
    pub(crate) seen: BTreeMap<ConsoleIndex, u64>,
    /// The last message of the chat that it has.
    pub(crate) chat: u64,
}

/// How a machine is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Condition {
    pub(crate) state: MachineState,
    /// A line about it; may be empty.
    pub(crate) detail: String,
    /// What to do about it; may be empty.
    pub(crate) action: String,
}

/// How far something is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    /// What is being done, in a word or two.
    pub(crate) phase: String,
    /// With what, in a line.
    pub(crate) message: String,
    /// Bytes of this phase that are done.
    pub(crate) done_bytes: u64,
    /// Bytes of this phase, where that is known.
    pub(crate) total_bytes: Option<u64>,
}

/// Something that went wrong, as a person should read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// What happened, to what.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) action: String,
}

/// What a task does to a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// What it starts from is being made.
    Progress(Progress),
    /// Its process is being started.
    Starting,
    /// It could not be started.
    Failed(Fault),
    /// Nothing more is done to it.
    Off,
}

/// The machines of a data directory and everybody at them.
pub(crate) struct Rooms {
    machines: Machines,
    catalog: Arc<dyn Catalog>,
    /// Names what positions count from.
    run: String,
    rooms: Mutex<BTreeMap<String, Entry>>,
    changes: broadcast::Sender<String>,
    look: Notify,
    /// What runs for as long as this does.
    tasks: Mutex<Vec<AbortHandle>>,
}

struct Entry {
    room: Arc<Room>,
    /// Rounds in which the machine was not there.
    missed: u32,
    /// The task that is on the line to its lab.
    line: Option<AbortHandle>,
}

impl Rooms {
    /// Those of the machines in `data_dir`. `run` names what positions in terminals count from: a
    /// new one for each start of the server. Must be called in a runtime.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(crate) fn new(
        data_dir: PathBuf,
        catalog: Arc<dyn Catalog>,
        run: String,
    ) -> Result<Arc<Rooms>, MachinesError> {
        let rooms = Arc::new(Rooms {
            machines: Machines::open(&data_dir)?,
            catalog,
            run,
            rooms: Mutex::new(BTreeMap::new()),
            changes: broadcast::channel(CHANGES_MAX).0,
            look: Notify::new(),
            tasks: Mutex::new(Vec::new()),
        });
        supervisor::start(&rooms);
        Ok(rooms)
    }

    /// Serves a page until it leaves, is cut or the server closes. The Join message has been read
    /// and admitted by the caller.
    pub(crate) async fn serve(self: &Arc<Self>, socket: WebSocket, joining: Joining, grant: Grant) {
        match self.join(joining, grant).await {
            Ok(page) => viewer::serve(socket, page).await,
            Err(reason) => viewer::refuse(socket, reason).await,
        }
    }

    /// Lets a page in.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn join(&self, joining: Joining, grant: Grant) -> Result<Page, Gone> {
        if grant.expires_unix_ms.is_some_and(|end| end <= unix_ms()) {
            return Err(Gone::Expired);
        }
        if self.room(&grant.machine).is_none() {
            self.list_now().await;
        }
        let room = self.room(&grant.machine).ok_or(Gone::Deleted)?;
        room.join(joining, grant).await
    }

    /// Ends connections within a second, and keeps nothing of them.
    pub(crate) fn cut(&self, cut: &Cut) {
        for room in self.all() {
            match cut {
                Cut::Share(share, reason) => room.cut(*reason, |it| it.share == Some(*share)),
                Cut::Session(session, reason) => room.cut(*reason, |it| it.session == *session),
                Cut::Machine(machine, reason) => room.cut(*reason, |it| it.machine == *machine),
                Cut::All(reason) => room.cut(*reason, |_| true),
            }
        }
    }

    /// Who is at a machine.
    pub(crate) fn people(&self, machine: &str) -> Vec<PersonView> {
        let Some(room) = self.room(machine) else { return Vec::new() };
        room.look(|inner| {
            let view = |person: &people::Present| PersonView {
                name: person.grant.name.clone(),
                hue: person.grant.hue,
                role: person.grant.role,
                types: inner.last_typist == Some(person.id),
            };
            inner.people.iter().map(view).collect()
        })
    }

    /// The end of its first terminal's screen: at most 10 lines of at most 80 characters.
    pub(crate) fn screen(&self, machine: &str) -> Vec<String> {
        let now = Instant::now();
        self.room(machine).map_or(Vec::new(), |room| room.with(|inner| inner.text.read(now)))
    }

    /// The terminals, as pages count them.
    pub(crate) fn consoles(&self, machine: &str) -> Vec<ConsoleId> {
        let known = self.room(machine).map(|room| {
            room.look(|inner| inner.consoles.iter().map(|console| console.id).collect())
        });
        known
            .filter(|known: &Vec<ConsoleId>| !known.is_empty())
            .unwrap_or_else(|| condition::likely_consoles().to_vec())
    }

    /// How it is: from its lab if one runs, else from what was told, else off or saved.
    pub(crate) fn condition(&self, machine: &str) -> Condition {
        match self.room(machine) {
            Some(room) => room.look(|inner| inner.told.condition()),
            None => condition::Told::default().condition(),
        }
    }

    /// How many are here through a link.
    pub(crate) fn here(&self, share: ShareId) -> u32 {
        let count = |room: &Arc<Room>| {
            let is_here = |person: &&people::Present| person.grant.share == Some(share);
            room.look(|inner| inner.people.iter().filter(is_here).count())
        };
        self.all().iter().map(count).sum::<usize>() as u32
    }

    /// Every machine whose condition, people, screen or name has changed, as it changes. Who lags
    /// behind misses some, and then asks for all.
    pub(crate) fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }

    /// What a task does to a machine that does not run yet, for those who look at it already.
    pub(crate) fn tell(&self, machine: &str, news: News) {
        self.room_or_new(machine).tell(news);
    }

    /// It is called something else now.
    pub(crate) fn renamed(&self, machine: &str, name: &str) {
        if let Some(room) = self.room(machine) {
            room.rename(name);
        }
    }

    /// Says a command to a machine's lab over the room's own connection.
    ///
    /// # Errors
    /// See [`RoomError`].
    pub(crate) async fn command(
        &self,
        machine: &str,
        command: Command,
    ) -> Result<Reply, RoomError> {
        self.room(machine).ok_or(RoomError::Off)?.call(command).await
    }

    /// A machine is there that was not, or is gone: look now instead of with the next round.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    fn room(&self, machine: &str) -> Option<Arc<Room>> {
        self.lock().get(machine).map(|entry| entry.room.clone())
    }

    fn all(&self) -> Vec<Arc<Room>> {
        self.lock().values().map(|entry| entry.room.clone()).collect()
    }

    fn room_or_new(&self, machine: &str) -> Arc<Room> {
        let new = || {
            let (catalog, changes) = (self.catalog.clone(), self.changes.clone());
            let room = Room::new(machine, &self.run, catalog, changes);
            Entry { room, missed: 0, line: None }
        };
        self.lock().entry(machine.to_owned()).or_insert_with(new).room.clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Nothing in a critical section leaves the map half changed.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let lines = std::mem::take(&mut *self.lock()).into_values();
        for task in tasks.into_iter().chain(lines.filter_map(|entry| entry.line)) {
            task.abort();
        }
    }
}
