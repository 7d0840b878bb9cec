//! Visitors who get machines of their own: a link to a moment says how many at once, for how long.
//!
//! Such a machine is forked from one that holds the moment in memory, so it costs what its guest
//! changes. It vanishes when its time is over, when nobody is at it for a while, when its link ends
//! or with the server. When all places are taken visitors wait in turn.
//!
//! Owns who waits, which machines hold moments, and the end of visitors' machines. Who has which is
//! in the catalog: a link per visitor that nobody else can open. A visitor is assumed to be hostile:
//! their machine has no network, a part of a core, and its process is locked in like any other's;
//! another visitor's is to them as if it were not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use stackvm_catalog::ids::{SessionId, ShareId};
use stackvm_catalog::rows::{SessionRow, ShareRow, VisitLimits};
use stackvm_host::machines::own_memory_bytes;
use tokio::sync::Semaphore;

use crate::access::over;
use crate::api::types::VisitView;
use crate::app::App;
use crate::clock::unix_ms;
use crate::machines::GivenName;
use crate::problem::{Kind, Problem};
use crate::protocol::Gone;
use crate::rights::Role;
use crate::rooms::Cut;

/// What the role of a link is called whose visitors get machines of their own: it gives none at
/// its moment.
pub(crate) const VISITOR: &str = "visitor";
/// How long nobody is at a visitor's machine before it goes away.
pub const VISIT_IDLE: Duration = Duration::from_secs(60);
/// Who waits says so at least so often.
const WAIT_TIME: Duration = Duration::from_secs(15);
/// Most that wait at one link.
const WAITING_MAX: usize = 1000;
/// How often machines are looked at that may be of no more use.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Machines that are forked at once.
const FORKS_MAX: usize = 2;

/// Who waits, and what visitors' machines are forked from.
pub(crate) struct Visits {
    idle: Duration,
    queues: Mutex<BTreeMap<ShareId, Vec<Waiting>>>,
    /// Counting machines and taking a place is one act.
    gate: tokio::sync::Mutex<()>,
    /// The machine that holds a moment in memory, by moment.
    held: tokio::sync::Mutex<BTreeMap<String, String>>,
    /// Machines that have a place and are not there yet.
    making: Mutex<BTreeSet<String>>,
    /// The processes of visitors' machines whose memory is limited.
    labs: Mutex<BTreeMap<String, u32>>,
    /// Since when nobody has been seen at a visitor's machine.
    left: Mutex<BTreeMap<String, Instant>>,
    forks: Semaphore,
}

/// Whether a visitor who has a machine wants another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// The one there is will do.
    Any,
    /// It is to go away, and another to begin.
    Anew,
}

/// A machine that is being made, until this is dropped: also when whoever asked has left meanwhile.
struct Making<'a> {
    visits: &'a Visits,
    machine: GivenName,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let making = &self.visits.making;
        making.lock().unwrap_or_else(PoisonError::into_inner).remove(self.machine.name());
    }
}

/// When a visitor's machine counts as made. One that is older than its link would not be the one that
/// the link is to.
fn made_unix_s(row: &ShareRow) -> u64 {
    row.created_unix_ms / 1000
}

struct Waiting {
    session: SessionId,
    seen: Instant,
}

impl Visits {
    /// Nobody waits. Machines go away when nobody was at them for so long.
    pub(crate) fn new(idle: Duration) -> Visits {
        Visits {
            idle,
            queues: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
            held: tokio::sync::Mutex::default(),
            making: Mutex::default(),
            labs: Mutex::default(),
            left: Mutex::default(),
            forks: Semaphore::new(FORKS_MAX),
        }
    }

    /// Asks for one of so many free places; if there is none for this session, how many are before
    /// it.
    fn wait(
        &self,
        link: ShareId,
        session: SessionId,
        free: usize,
        now: Instant,
    ) -> Result<Option<u32>, Problem> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Of all links: nobody asks at one that has ended any more.
        queues.retain(|_, queue| {
            queue.retain(|it| it.session == session || now.duration_since(it.seen) < WAIT_TIME);
            !queue.is_empty()
        });
        let queue = queues.entry(link).or_default();
        let place = queue.iter().position(|it| it.session == session);
        if place.is_none() && queue.len() >= WAITING_MAX {
            let detail = format!("{WAITING_MAX} people wait for a machine already");
            return Err(Problem::new(Kind::Unavailable, detail, "Come back later."));
        }
        let place = place.unwrap_or_else(|| {
            queue.push(Waiting { session, seen: now });
            queue.len() - 1
        });
        queue[place].seen = now;
        if place >= free {
            return Ok(Some(u32::try_from(place).unwrap_or(u32::MAX)));
        }
        queue.remove(place);
        if queue.is_empty() {
            queues.remove(&link);
        }
        Ok(None)
    }

    /// Whether nobody has been at a machine for too long. `here`: how many are now.
    fn is_left(&self, machine: &str, here: usize, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if here > 0 {
            left.remove(machine);
            return false;
        }
        let since = *left.entry(machine.to_owned()).or_insert(now);
        now.duration_since(since) >= self.idle
    }

    fn is_being_made(&self, machine: &str) -> bool {
        self.making.lock().unwrap_or_else(PoisonError::into_inner).contains(machine)
    }

    fn begin_making(&self, machine: GivenName) -> Making<'_> {
        let name = machine.name().to_owned();
        self.making.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Making { visits: self, machine }
    }

    fn lab(&self, machine: &str) -> Option<u32> {
        self.labs.lock().unwrap_or_else(PoisonError::into_inner).get(machine).copied()
    }

    fn know_lab(&self, machine: &str, pid: u32) {
        let mut labs = self.labs.lock().unwrap_or_else(PoisonError::into_inner);
        labs.insert(machine.to_owned(), pid);
    }

    fn forget(&self, machine: &str) {
        self.labs.lock().unwrap_or_else(PoisonError::into_inner).remove(machine);
        self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(machine);
    }
}

impl App {
    /// A machine of a visitor's own, or their place among those that wait for one.
    pub(crate) async fn visit(
        &self,
        session: &SessionRow,
        link: &ShareRow,
        limits: VisitLimits,
        wish: Wish,
    ) -> Result<VisitView, Problem> {
        // Of a moment that was deleted there may be a copy in memory still.
        self.fleet.get(&link.machine).await?;
        if let Some(row) = self.own_visit(session, link).await? {
            let is_there = self.fleet.get(&row.machine).await.is_ok();
            if is_there && wish == Wish::Any {
                return Ok(VisitView::begun(link.id, &row.machine, row.expires_unix_ms));
            }
            if self.visits.is_being_made(&row.machine) {
                return Err(twice());
            }
            self.end_visit(&row, Gone::Expired).await?;
        }
        let (row, making) = match self.take_place(session, link, limits).await? {
            Ok(given) => given,
            Err(ahead) => return Ok(VisitView::waits(link.id, ahead)),
        };
        let made = self.make_visit(&row, link, limits).await;
        drop(making);
        if let Err(problem) = made {
            self.end_visit(&row, Gone::Expired).await?;
            return Err(problem);
        }
        self.audit(session, "visit.begin", &row.machine, format!("by {}", link.id)).await?;
        Ok(VisitView::begun(link.id, &row.machine, row.expires_unix_ms))
    }

    /// The machine that a session has through a link.
    async fn own_visit(
        &self,
        session: &SessionRow,
        link: &ShareRow,
    ) -> Result<Option<ShareRow>, Problem> {
        let grants = self.catalog.grants(session.id).await?;
        let is_own =
            |row: &ShareRow| row.visit_of == Some(link.id) && over(row, unix_ms()).is_none();
        Ok(grants.into_iter().find(is_own))
    }

    /// Gives a visitor a place, and in it a machine that is not there yet; else how many are before
    /// them.
    async fn take_place(
        &self,
        session: &SessionRow,
        link: &ShareRow,
        limits: VisitLimits,
    ) -> Result<Result<(ShareRow, Making<'_>), u32>, Problem> {
        let _gate = self.visits.gate.lock().await;
        // Of two requests of one browser one is first; a hostile one takes no second place.
        if self.own_visit(session, link).await?.is_some() {
            return Err(twice());
        }
        let now = unix_ms();
        let taken = self.catalog.visits().await?;
        let is_taken = |row: &&ShareRow| row.visit_of == Some(link.id) && over(row, now).is_none();
        let taken = taken.iter().filter(is_taken).count();
        let free = (limits.visitors as usize).saturating_sub(taken);
        if let Some(ahead) = self.visits.wait(link.id, session.id, free, Instant::now())? {
            return Ok(Err(ahead));
        }
        self.limits.visit(session.id)?;
        let machine = self.fleet.give_name().await?;
        // Links, notes and chat of another one of its name that is gone for good.
        self.catalog.forget_machine(machine.name()).await?;
        let row = ShareRow {
            expires_unix_ms: Some(now + u64::from(limits.minutes) * 60_000),
            opened: 1,
            visit_of: Some(link.id),
            ..self.row_without_secret(machine.name(), Role::Driver)?
        };
        let making = self.visits.begin_making(machine);
        self.catalog.add_share(&row).await?;
        self.catalog.grant(session.id, row.id).await?;
        Ok(Ok((row, making)))
    }

    async fn make_visit(
        &self,
        row: &ShareRow,
        link: &ShareRow,
        limits: VisitLimits,
    ) -> Result<(), Problem> {
        let _turn = self.visits.forks.acquire().await.map_err(|it| Problem::unavailable(&it))?;
        let held = {
            let mut held = self.visits.held.lock().await;
            match held.get(&link.machine) {
                Some(name) if self.fleet.holds(name).await => name.clone(),
                _ => {
                    let name = self.fleet.hold_moment(&link.machine).await?;
                    held.insert(link.machine.clone(), name.clone());
                    name
                }
            }
        };
        let made_unix_s = made_unix_s(row);
        let pid = self.fleet.visit(&held, &row.machine, limits.cpu_percent, made_unix_s).await?;
        self.visits.know_lab(&row.machine, pid);
        self.tell_changed(&row.machine);
        Ok(())
    }

    /// Ends a visitor's machine, and tells whoever is at it why. Their link is forgotten last, so
    /// that a machine that could not be ended is tried again.
    async fn end_visit(&self, row: &ShareRow, why: Gone) -> Result<(), Problem> {
        self.rooms.cut(&Cut::Machine(row.machine.clone(), why));
        self.fleet.end_visit(&row.machine, made_unix_s(row)).await?;
        self.catalog.forget_machine(&row.machine).await?;
        self.visits.forget(&row.machine);
        self.tell_changed(&row.machine);
        Ok(())
    }

    /// Ends the machines of visitors that are of no more use. One that cannot be ended does not
    /// keep the others; the first error is returned.
    pub(crate) async fn sweep_visits(&self) -> Result<(), Problem> {
        let mut links: BTreeMap<ShareId, Option<ShareRow>> = BTreeMap::new();
        let mut done = Ok(());
        for row in self.catalog.visits().await? {
            let Some(id) = row.visit_of else { continue };
            if let std::collections::btree_map::Entry::Vacant(entry) = links.entry(id) {
                entry.insert(self.catalog.share(id).await?);
            }
            let link = links.get(&id).and_then(Option::as_ref);
            if let Some(why) = self.end_of(&row, link).await {
                done = done.and(self.end_visit(&row, why).await);
            }
        }
        done.and(self.let_go_of_moments().await)
    }

    /// Why a visitor's machine is to end now.
    async fn end_of(&self, row: &ShareRow, link: Option<&ShareRow>) -> Option<Gone> {
        let now = unix_ms();
        if self.visits.is_being_made(&row.machine) {
            // What is ended before it is there would be there afterwards.
            return None;
        }
        let Some(link) = link else { return Some(Gone::Revoked) };
        if let Some(why) = over(link, now).or_else(|| over(row, now)) {
            return Some(why);
        }
        if self.fleet.get(&link.machine).await.is_err() {
            // The moment was deleted.
            return Some(Gone::Revoked);
        }
        if self.fleet.get(&row.machine).await.is_err() {
            // It has switched itself off.
            return Some(Gone::Expired);
        }
        if let Some(limit) = link.visits.and_then(|limits| limits.memory_mib)
            && self.takes_more(&row.machine, u64::from(limit) << 20).await
        {
            return Some(Gone::OutOfMemory);
        }
        let here = self.rooms.people(&row.machine).len();
        self.visits.is_left(&row.machine, here, Instant::now()).then_some(Gone::Expired)
    }

    /// Whether a visitor's machine has more memory of the host for itself than it may.
    async fn takes_more(&self, machine: &str, bytes_max: u64) -> bool {
        let pid = match self.visits.lab(machine) {
            Some(pid) => pid,
            // The server was started again since it was made.
            None => match self.fleet.process(machine).await {
                Ok(pid) => {
                    self.visits.know_lab(machine, pid);
                    pid
                }
                // It is just ending.
                Err(_) => return false,
            },
        };
        let own = tokio::task::spawn_blocking(move || own_memory_bytes(pid)).await;
        own.ok().flatten().is_some_and(|bytes| bytes > bytes_max)
    }

    /// Moments that no good link leads to need no memory.
    async fn let_go_of_moments(&self) -> Result<(), Problem> {
        let mut held = self.visits.held.lock().await;
        let mut idle = Vec::new();
        for moment in held.keys() {
            let links = self.catalog.shares(moment).await?;
            let now = unix_ms();
            let is_good = |link: &ShareRow| link.visits.is_some() && over(link, now).is_none();
            if self.fleet.get(moment).await.is_err() || !links.iter().any(is_good) {
                idle.push(moment.clone());
            }
        }
        for moment in idle {
            if let Some(name) = held.remove(&moment) {
                self.fleet.let_go(&name).await?;
            }
        }
        Ok(())
    }

    /// With the server: nobody can reach them any more. One that cannot be ended does not keep the
    /// others; the first error is returned.
    pub(crate) async fn end_visits(&self) -> Result<(), Problem> {
        let mut done = Ok(());
        for row in self.catalog.visits().await? {
            done = done.and(self.end_visit(&row, Gone::Closing).await);
        }
        for (_, name) in std::mem::take(&mut *self.visits.held.lock().await) {
            done = done.and(self.fleet.let_go(&name).await);
        }
        done
    }
}

/// Looks after visitors' machines for as long as the server is there.
pub(crate) async fn tend(app: Weak<App>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(app) = app.upgrade() else { return };
        // What cannot be done now, on a full disk, is tried again.
        let _ = app.sweep_visits().await;
    }
}

fn twice() -> Problem {
    let detail = "a machine is being made for this browser already";
    Problem::new(Kind::Conflict, detail, "Ask again in a second.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_is_next() {
        let visits = Visits::new(VISIT_IDLE);
        let link = ShareId::random().unwrap();
        let [ann, bob, eve] = std::array::from_fn(|_| SessionId::random().unwrap());
        let start = Instant::now();
        let check = |session, free, after_s, ahead| {
            let now = start + Duration::from_secs(after_s);
            assert_eq!(visits.wait(link, session, free, now).unwrap(), ahead);
        };
        check(ann, 0, 0, Some(0));
        check(bob, 0, 1, Some(1));
        check(eve, 0, 2, Some(2));
        // Bob is not let past Ann, who says that she is still there.
        check(bob, 1, 8, Some(1));
        check(ann, 1, 9, None);
        check(bob, 0, 10, Some(0));
        // Eve has not been heard of for too long.
        check(bob, 0, 20, Some(0));
        check(ann, 1, 21, Some(1));
        check(bob, 1, 22, None);
        check(ann, 1, 23, None);
        // Whoever finds a free place does not wait.
        check(eve, 1, 24, None);
    }

    #[test]
    fn a_machine_is_left_when_nobody_comes_back() {
        let visits = Visits::new(Duration::from_secs(60));
        let start = Instant::now();
        let check = |here, after_s, is_left| {
            assert_eq!(visits.is_left("x", here, start + Duration::from_secs(after_s)), is_left);
        };
        check(0, 0, false);
        check(0, 59, false);
        check(1, 61, false);
        check(0, 62, false);
        check(0, 121, false);
        check(0, 122, true);
    }
}
