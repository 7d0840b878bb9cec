//! One machine and everybody at it. The room keeps what pages must be told (condition, people, the
//! keyboard, recent output) and each page keeps only numbers saying what it has been told, so a slow
//! or absent page costs no memory: it finds the latest state, and a picture instead of a gap.
//!
//! Here: what the room is, who comes and goes, and its clock. What pages say is in `hear` and
//! `keys`, what they are told in `page`, what the lab says in `lab`, the chat in `chat`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stackvm_catalog::Catalog;
use stackvm_host::machines::{Listed, Status};
use stackvm_host::protocol::{Command, Reply};
use tokio::sync::{broadcast, oneshot, watch};

use super::chat::Chat;
use super::condition::Told;
use super::console::{Attachment, Console, UNWATCHED_TIME};
use super::keyboard::{Standing, Turns};
use super::link::{Link, Waiter};
use super::people::{End, People, Present};
use super::text::Text;
use super::versioned::Versioned;
use super::views::Brought;
use super::{Condition, News, Progress, RoomError};
use crate::clock::unix_ms;
use crate::grant::Grant;
use crate::protocol::{ConsoleIndex, Gone, Keyboard, Person, PersonId};
use crate::rights::{Right, Role};

/// Calls of the rest of the server to one lab that wait at once.
const CALLERS_MAX: usize = 256;
/// How long the lab may take for an answer.
const CALL_TIME: Duration = Duration::from_secs(60);
/// How long a call waits for the line to a lab that has just started.
const LINK_TIME: Duration = Duration::from_secs(5);
/// Notices that are kept for pages which are busy.
const NOTICES_MAX: usize = 16;

/// A machine and the people at it.
pub(super) struct Room {
    pub(super) machine: String,
    /// Names what positions count from.
    pub(super) run: String,
    pub(super) catalog: Arc<dyn Catalog>,
    /// Held while something is said, so that ids and order agree.
    pub(super) saying: tokio::sync::Mutex<()>,
    pub(super) settled: super::settled::Settled,
    inner: Mutex<Inner>,
    /// Wakes pages; the value says nothing.
    changed: watch::Sender<()>,
    /// Tells the rest of the server that something about this machine changed.
    news: broadcast::Sender<String>,
}

/// What is behind the room's lock.
pub(super) struct Inner {
    pub(super) name: Versioned<String>,
    pub(super) image: String,
    pub(super) condition: Versioned<Condition>,
    pub(super) told: Told,
    pub(super) progress: Versioned<Progress>,
    pub(super) link: Option<Link>,
    pub(super) consoles: Vec<Console>,
    pub(super) people: People,
    pub(super) shown_people: Versioned<Vec<Person>>,
    pub(super) turns: Turns,
    pub(super) keyboard: Versioned<Keyboard>,
    pub(super) door_locked: Versioned<bool>,
    pub(super) brought: Versioned<Option<Brought>>,
    pub(super) last_typist: Option<PersonId>,
    pub(super) chat: Chat,
    pub(super) text: Text,
    notices: std::collections::VecDeque<(u64, String)>,
    pub(super) notices_count: u64,
    /// Whether the rest of the server is to be told.
    is_news: bool,
}

/// When pages look at what there is for them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// There may be anything: output, an answer.
    Always,
    /// Only if what people are shown is another thing now: clocks must not wake 64 idle pages.
    IfShown,
}

impl Room {
    pub(super) fn new(
        machine: &str,
        run: &str,
        catalog: Arc<dyn Catalog>,
        news: broadcast::Sender<String>,
    ) -> Arc<Room> {
        let now = Instant::now();
        let told = Told::default();
        let inner = Inner {
            name: Versioned::new(machine.to_owned()),
            image: String::new(),
            condition: Versioned::new(told.condition()),
            told,
            progress: Versioned::new(Progress::default()),
            link: None,
            consoles: Console::all(&super::condition::likely_consoles(), now),
            people: People::default(),
            shown_people: Versioned::new(Vec::new()),
            turns: Turns::default(),
            keyboard: Versioned::new(Keyboard::default()),
            door_locked: Versioned::new(false),
            brought: Versioned::new(None),
            last_typist: None,
            chat: Chat::default(),
            text: Text::default(),
            notices: std::collections::VecDeque::new(),
            notices_count: 0,
            is_news: false,
        };
        Arc::new(Room {
            machine: machine.to_owned(),
            run: run.to_owned(),
            catalog,
            saying: tokio::sync::Mutex::new(()),
            settled: super::settled::Settled::default(),
            inner: Mutex::new(inner),
            changed: watch::channel(()).0,
            news,
        })
    }

    /// What is there now.
    pub(super) fn look<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.lock())
    }

    /// Changes something that is nobody else's business.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.lock())
    }

    /// Changes something, and wakes whoever must know.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        self.publish(inner, Wake::Always);
        result
    }

    /// Frees the room after a change and tells whoever must know of it.
    fn publish(&self, mut inner: MutexGuard<'_, Inner>, wake: Wake) {
        let shown = inner.show();
        let is_news = std::mem::take(&mut inner.is_news);
        drop(inner);
        if shown || wake == Wake::Always {
            self.changed.send_replace(());
        }
        if is_news {
            // Nobody may be listening.
            let _ = self.news.send(self.machine.clone());
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What the host knows of the machine now.
    pub(super) fn listed(&self, listed: &Listed) {
        let known = self.look(|inner| {
            inner.told.listed == Some(listed.status.clone())
                && *inner.name.get() == name_of(listed)
                && !inner.image.is_empty()
        });
        if !known {
            self.change(|inner| {
                inner.told.listed = Some(listed.status.clone());
                inner.image = listed.spec.image_label();
                inner.is_news |= inner.name.set(name_of(listed));
            });
        }
    }

    /// What a task does to the machine.
    pub(super) fn tell(&self, news: News) {
        self.change(|inner| {
            if let News::Progress(progress) = &news {
                inner.progress.set(progress.clone());
            }
            inner.told.tell(news);
        });
    }

    pub(super) fn rename(&self, name: &str) {
        self.change(|inner| inner.is_news |= inner.name.set(name.to_owned()));
    }

    /// Whether a lab should be there but is not on the line.
    pub(super) fn wants_link(&self) -> bool {
        self.look(|inner| inner.told.listed == Some(Status::Running) && inner.link.is_none())
    }

    /// Whether the machine is expected although nothing of it is there yet.
    pub(super) fn is_expected(&self) -> bool {
        self.look(|inner| inner.told.is_pending() || inner.link.is_some())
    }

    /// Ends the connections of those for whom `whom` is true, with nothing more to come.
    pub(super) fn cut(&self, reason: Gone, whom: impl Fn(&Grant) -> bool) {
        self.change(|inner| inner.cut(reason, whom, Instant::now()));
    }

    /// What happens by itself: links expire, idle people lose the keyboard, others have left.
    pub(super) fn tick(&self, now: Instant, is_looked_at: bool) {
        let unix_ms = unix_ms();
        let is_due = self.look(|inner| {
            !inner.people.is_empty() || inner.people.has_known() || inner.link.is_some()
        });
        if !is_due {
            return;
        }
        let mut inner = self.lock();
        let expired = |grant: &Grant| grant.expires_unix_ms.is_some_and(|end| end <= unix_ms);
        inner.cut(Gone::Expired, expired, now);
        inner.turns.expire(now);
        for name in inner.people.departed(now) {
            inner.chat.happened(format!("{name} left"), now);
        }
        inner.detach_unwatched(now);
        inner.ask_text(now, is_looked_at);
        self.publish(inner, Wake::IfShown);
    }

    /// Whether something happened that is to be kept.
    pub(super) fn has_happenings(&self) -> bool {
        self.look(|inner| inner.chat.has_happenings())
    }

    /// Says a command to the lab and waits for its answer.
    pub(super) async fn call(&self, command: Command) -> Result<Reply, RoomError> {
        self.await_link().await;
        let (sender, reply) = oneshot::channel();
        {
            let mut inner = self.lock();
            let is_running = inner.told.listed == Some(Status::Running);
            let Some(link) = &mut inner.link else {
                let lost = "the connection to the machine's process is being made; try again";
                return Err(if is_running { RoomError::Lost(lost.into()) } else { RoomError::Off });
            };
            if link.callers() >= CALLERS_MAX {
                return Err(RoomError::Lost("too much is asked of it at once; try again".into()));
            }
            link.ask(command, Waiter::Caller(sender));
        }
        match tokio::time::timeout(CALL_TIME, reply).await {
            Ok(Ok(Reply::Failed { message })) => Err(RoomError::Refused(message)),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => {
                Err(RoomError::Lost("the machine's process ended; look at it again".into()))
            }
            Err(_) => Err(RoomError::Lost(format!(
                "the machine's process has not answered for {} s; stop it if that goes on",
                CALL_TIME.as_secs()
            ))),
        }
    }

    /// Waits until the lab is on the line, if it should be: it has just started, or the server has.
    async fn await_link(&self) {
        let mut changed = self.subscribe();
        let linked = async { while self.wants_link() && changed.changed().await.is_ok() {} };
        // Without it, the call says so.
        let _ = tokio::time::timeout(LINK_TIME, linked).await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every critical section leaves the room whole at each step that can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The person whose page this is, while this is its last connection.
    pub(super) fn person(&mut self, id: PersonId, epoch: u64) -> Option<&mut Present> {
        self.people.get_mut(id).filter(|person| person.epoch == epoch)
    }

    /// Somebody who has come, with what they are to the keyboard.
    pub(super) fn joined(&mut self, id: PersonId, now: Instant) {
        let Some(person) = self.people.get(id) else { return };
        let Grant { role, session, name, .. } = person.grant.clone();
        let standing = match role {
            Role::Owner => Standing::Owns,
            _ if role.may(Right::Type) => Standing::Types,
            _ => Standing::Watches,
        };
        self.turns.join(id, standing);
        if self.people.greet(session, &name) {
            self.chat.happened(format!("{name} came"), now);
        }
    }

    pub(super) fn leave(&mut self, id: PersonId, now: Instant) -> Option<Present> {
        self.turns.leave(id, now);
        if self.last_typist == Some(id) {
            self.last_typist = None;
        }
        self.people.remove(id, now)
    }

    fn cut(&mut self, reason: Gone, whom: impl Fn(&Grant) -> bool, now: Instant) {
        let ids: Vec<PersonId> = self
            .people
            .iter()
            .filter(|person| whom(&person.grant))
            .map(|person| person.id)
            .collect();
        for id in ids {
            if let Some(person) = self.leave(id, now) {
                person.end(End::Gone(reason));
            }
        }
    }

    /// Something everybody here should read.
    pub(super) fn notify(&mut self, text: String) {
        self.notices_count += 1;
        self.notices.push_back((self.notices_count, text));
        if self.notices.len() > NOTICES_MAX {
            self.notices.pop_front();
        }
    }

    /// The first notice after the one with number `told`.
    pub(super) fn notice_after(&self, told: u64) -> Option<&(u64, String)> {
        self.notices.iter().find(|(number, _)| *number > told)
    }

    /// The small picture, the people or the like are others now.
    pub(super) fn announce(&mut self) {
        self.is_news = true;
    }

    /// Brings what is shown up to date; whether that is anything else than before.
    fn show(&mut self) -> bool {
        let before = (self.keyboard.version(), self.notices_count);
        self.refuse_pending_if_off();
        let people = self.shown_people.set(self.people.view());
        let condition = self.condition.set(self.told.condition());
        let keyboard = self.turns.view(Instant::now());
        if keyboard.passed
            && let Some(holder) =
                keyboard.holder.filter(|who| Some(*who) != self.keyboard.get().holder)
            && let Some(person) = self.people.get(holder)
        {
            let text = format!("{} has the keyboard", person.grant.name);
            self.chat.happened(text, Instant::now());
        }
        self.keyboard.set(keyboard);
        let door = self.door_locked.set(self.people.is_door_locked());
        self.is_news |= people || condition;
        people || condition || door || before != (self.keyboard.version(), self.notices_count)
    }

    /// Terminals that nobody has watched for a while are sent no more; the first one always is.
    fn detach_unwatched(&mut self, now: Instant) {
        for (index, console) in self.consoles.iter_mut().enumerate().skip(1) {
            let index = index as ConsoleIndex;
            if self.people.iter().any(|person| person.floors.contains_key(&index)) {
                console.watched = now;
            }
            let unwatched = now.saturating_duration_since(console.watched) >= UNWATCHED_TIME;
            if let Some(link) = &self.link
                && unwatched
                && console.attachment == Attachment::Yes
            {
                link.tell(Command::Detach { console: console.id });
                console.unlink();
            }
        }
        for console in &mut self.consoles {
            console.drop_stale_pictures();
        }
    }
}

fn name_of(listed: &Listed) -> String {
    listed.label().to_owned()
}
