//! Whose turn it is to have an instant computed exactly: few at once, and one for each person, whose
//! next wish takes the place of the one before. Whoever drags through an hour keeps nobody waiting.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stackvm_catalog::ids::SessionId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Replays at once.
pub(crate) const REPLAYS_MAX: usize = 2;

/// The queue: whoever came first is first.
pub(crate) struct Replays {
    turns: Arc<Semaphore>,
    wishes: Mutex<HashMap<SessionId, Wanted>>,
}

/// Whether something is still wanted. Clones are of the same wish.
#[derive(Clone, Debug)]
pub(crate) struct Wanted(Arc<AtomicBool>);

/// A wish of a person. Dropping it takes it back: a page that goes on to another instant, or away,
/// ends its request.
pub(crate) struct Wish<'a> {
    replays: &'a Replays,
    of: SessionId,
    wanted: Wanted,
}

impl Wanted {
    /// It is.
    pub(crate) fn new() -> Wanted {
        Wanted(Arc::new(AtomicBool::new(true)))
    }

    /// It is not any more.
    pub(crate) fn take_back(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn is_same(&self, other: &Wanted) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Replays {
    pub(crate) fn new() -> Replays {
        Replays { turns: Arc::new(Semaphore::new(REPLAYS_MAX)), wishes: Mutex::default() }
    }

    /// Somebody wishes something; what they wished before is not wanted any more.
    pub(crate) fn wish(&self, of: SessionId) -> Wish<'_> {
        let wanted = Wanted::new();
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = wishes.insert(of, wanted.clone()) {
            before.take_back();
        }
        Wish { replays: self, of, wanted }
    }
}

impl Wish<'_> {
    /// Waits for its turn; `None` if it is not wanted by then.
    pub(crate) async fn turn(&self) -> Option<(OwnedSemaphorePermit, Wanted)> {
        let turn = self.replays.turns.clone().acquire_owned().await.ok()?;
        self.wanted.is_wanted().then(|| (turn, self.wanted.clone()))
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        self.wanted.take_back();
        let mut wishes = self.replays.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        if wishes.get(&self.of).is_some_and(|wanted| wanted.is_same(&self.wanted)) {
            wishes.remove(&self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u64) -> SessionId {
        format!("{n:016x}").parse().unwrap()
    }

    #[tokio::test]
    async fn the_next_wish_takes_the_place_of_the_one_before() {
        let replays = Replays::new();
        let first = replays.wish(session(1));
        let (_turn, wanted) = first.turn().await.unwrap();
        let other = replays.wish(session(2));
        assert!(wanted.is_wanted());
        let second = replays.wish(session(1));
        assert!(!wanted.is_wanted());
        // The end of a former wish takes nothing back.
        drop(first);
        assert!(second.turn().await.is_some());
        assert!(other.wanted.is_wanted());
        drop((second, other));
        assert!(replays.wishes.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn few_are_computed_at_once_and_whoever_left_is_passed_over() {
        let replays = Replays::new();
        let (a, b) = (replays.wish(session(1)), replays.wish(session(2)));
        let (turn, _) = a.turn().await.unwrap();
        let (_other, _) = b.turn().await.unwrap();
        let c = replays.wish(session(3));
        let d = replays.wish(session(4));
        let again = {
            let waiting = c.turn();
            let next = replays.wish(session(3));
            drop(turn);
            assert!(waiting.await.is_none(), "it has another wish");
            next
        };
        assert!(d.turn().await.is_some());
        assert!(again.turn().await.is_some());
    }
}
