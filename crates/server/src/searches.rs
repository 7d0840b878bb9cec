//! Whose turn it is to look through all that a machine printed, which may be long: few at once, and
//! one for each person. Whoever drags does not wait for them; who hangs up is not searched for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stackvm_catalog::ids::SessionId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::replays::Wanted;

/// Searches at once.
const SEARCHES_MAX: usize = 2;

/// The queue: whoever came first is first, each person once.
pub(crate) struct Searches {
    turns: Arc<Semaphore>,
    people: Mutex<HashMap<SessionId, Arc<Semaphore>>>,
}

/// A question of a person. Dropping it takes it back.
pub(crate) struct Question {
    turns: Arc<Semaphore>,
    own: Arc<Semaphore>,
    wanted: Wanted,
}

/// A question's turn: until it is dropped.
pub(crate) struct Turn {
    wanted: Wanted,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Searches {
    pub(crate) fn new() -> Searches {
        Searches { turns: Arc::new(Semaphore::new(SEARCHES_MAX)), people: Mutex::default() }
    }

    /// Somebody asks something.
    pub(crate) fn ask(&self, of: SessionId) -> Question {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.retain(|_, own| Arc::strong_count(own) > 1);
        let own = people.entry(of).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        Question { turns: self.turns.clone(), own, wanted: Wanted::new() }
    }
}

impl Question {
    /// Waits for its turn.
    pub(crate) async fn turn(&self) -> Turn {
        let permit = async |turns: &Arc<Semaphore>| {
            turns.clone().acquire_owned().await.expect("it is never closed")
        };
        let own = permit(&self.own).await;
        let one = permit(&self.turns).await;
        Turn { wanted: self.wanted.clone(), _permits: [own, one] }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.wanted.take_back();
    }
}

impl Turn {
    /// Whether somebody still waits for the answer.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.is_wanted()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn session(n: u64) -> SessionId {
        format!("{n:016x}").parse().unwrap()
    }

    fn is_its_turn(question: &Question) -> Option<Turn> {
        match pin!(question.turn()).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(turn) => Some(turn),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn nobody_has_two_turns_and_few_have_one() {
        let searches = Searches::new();
        let (first, again) = (searches.ask(session(1)), searches.ask(session(1)));
        let turn = is_its_turn(&first).unwrap();
        assert!(is_its_turn(&again).is_none(), "one for each person");
        let others: Vec<_> = (2..4).map(|n| searches.ask(session(n))).collect();
        let other = is_its_turn(&others[0]).unwrap();
        assert!(is_its_turn(&others[1]).is_none(), "so many at once");
        drop(other);
        let _other = is_its_turn(&others[1]).unwrap();
        assert!(is_its_turn(&again).is_none());
        drop(turn);
        assert!(is_its_turn(&again).is_some());
    }

    #[test]
    fn who_hangs_up_is_not_searched_for_and_is_forgotten() {
        let searches = Searches::new();
        let question = searches.ask(session(1));
        let turn = is_its_turn(&question).unwrap();
        assert!(turn.is_wanted());
        drop(question);
        assert!(!turn.is_wanted());
        // As long as it is not given up, it is that person's.
        assert!(is_its_turn(&searches.ask(session(1))).is_none());
        drop(turn);
        let _question = searches.ask(session(2));
        assert_eq!(searches.people.lock().unwrap().len(), 1);
    }
}
