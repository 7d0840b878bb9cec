//! The processes that compute exact states, lent out one instant at a time. One that has answered
//! stays for a while: the next instant of the same machine is near in most cases, and quick then.
//!
//! Whose turn it is to use one is said in [`crate::replays`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as WallInstant};

use stackvm_host::machines::{Exact, Machines, MachinesError, Replayer};
use stackvm_machine::{ConsoleId, Instant};
use tokio::sync::OwnedSemaphorePermit;

use super::{Fleet, memory_left};
use crate::problem::Problem;
use crate::replays::{REPLAYS_MAX, Wanted};

/// How long one that nobody asks stays.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Most memory that one keeps for the next instants: what an hour at a shell takes.
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// Those that there are.
#[derive(Clone, Default)]
pub(super) struct Replayers(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    /// How many are lent out.
    lent: usize,
    /// The others, and since when: whoever was asked last is last.
    idle: Vec<(Replayer, WallInstant)>,
}

/// A place for one, given back when dropped.
struct Lent<'a> {
    from: &'a Replayers,
    replayer: Option<Replayer>,
}

impl Fleet {
    /// The machine's exact state at an instant, and what a terminal showed then; `None` if it is not
    /// wanted any more. `turn` is given back then.
    pub(crate) async fn exact(
        &self,
        id: &str,
        console: ConsoleId,
        at: Instant,
        (turn, wanted): (OwnedSemaphorePermit, Wanted),
    ) -> Result<Option<Exact>, Problem> {
        self.read_past(id, |machines, id| machines.reached(id)).await?;
        let memory_bytes = self.get(id).await?.spec.memory_bytes;
        self.check_room(memory_bytes).await?;
        let replayers = self.replayers.clone();
        let exact = self.with(id, move |machines, id| {
            let _turn = turn;
            match replayers.exact(machines, id, console, at, &|| wanted.is_wanted()) {
                Err(MachinesError::Unwanted(_)) => Ok(None),
                exact => exact.map(Some),
            }
        });
        let exact = exact.await;
        let replayers = self.replayers.clone();
        tokio::spawn(async move {
            tokio::time::sleep(IDLE_MAX).await;
            replayers.end(|_, idle| idle >= IDLE_MAX);
        });
        exact
    }
}

impl Replayers {
    /// Ends those of a machine that nobody uses: it goes away.
    pub(super) fn forget(&self, id: &str) {
        self.end(|replayer, _| replayer.of() == id);
    }

    fn exact(
        &self,
        machines: &Machines,
        id: &str,
        console: ConsoleId,
        at: Instant,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Exact, MachinesError> {
        let mut lent = self.lend(id);
        // Nobody else is to lack it.
        let kept_bytes_max = KEPT_BYTES_MAX.min(memory_left() / 8);
        if let Some(replayer) = &mut lent.replayer {
            match replayer.exact(console, at, kept_bytes_max, is_wanted) {
                // The journal that it has open may have been folded since.
                Err(MachinesError::Start(_) | MachinesError::Died { .. }) => {}
                exact => return exact,
            }
        }
        lent.replayer.insert(machines.replayer(id)?).exact(console, at, kept_bytes_max, is_wanted)
    }

    /// One of a machine that is there, or room for it.
    fn lend(&self, id: &str) -> Lent<'_> {
        let mut all = self.lock();
        all.lent += 1;
        let found = all.idle.iter().rposition(|(replayer, _)| replayer.of() == id);
        let replayer = found.map(|at| all.idle.remove(at).0);
        let idle_max = REPLAYS_MAX.saturating_sub(all.lent);
        let surplus = all.idle.len().saturating_sub(idle_max);
        let ended: Vec<_> = all.idle.drain(..surplus).collect();
        drop(all);
        // They are waited for, and nobody else is to wait as well.
        drop(ended);
        Lent { from: self, replayer }
    }

    fn end(&self, is_over: impl Fn(&Replayer, Duration) -> bool) {
        let ended: Vec<_> =
            self.lock().idle.extract_if(.., |(of, since)| is_over(of, since.elapsed())).collect();
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let replayer = self.replayer.take().filter(Replayer::is_fit);
        let mut all = self.from.lock();
        all.lent -= 1;
        all.idle.extend(replayer.map(|replayer| (replayer, WallInstant::now())));
    }
}
