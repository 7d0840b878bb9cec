//! What is said beside a machine: kept in the catalog, and the latest of it here for those who are
//! there. What happens to people is said, too, unless it happens too often.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use stackvm_catalog::rows::SaidRow;
use stackvm_host::protocol::{Command, Reply};
use stackvm_machine::Instant as MachineInstant;

use super::budget::Budget;
use super::room::Room;
use crate::clock::unix_ms;
use crate::protocol::{CHAT_MAX, Said};

/// Happenings that wait to be kept.
const HAPPENED_MAX: usize = 16;
/// No instant of a machine's is beyond this: 36 years.
const AT_NS_MAX: u64 = 1 << 60;
/// How long the machine may take to say what time it has.
const INSTANT_TIME: Duration = Duration::from_millis(500);
/// Happenings at once, and time between them after that: people who come and go all the time must
/// not push out what was said.
const HAPPENINGS: Budget = Budget::new(20, Duration::from_secs(3));

/// The chat of a machine.
#[derive(Debug)]
pub(super) struct Chat {
    recent: VecDeque<Said>,
    happened: Vec<String>,
    happenings: Budget,
}

impl Default for Chat {
    fn default() -> Chat {
        Chat { recent: VecDeque::new(), happened: Vec::new(), happenings: HAPPENINGS }
    }
}

impl Chat {
    /// Something happened that people should find in the chat.
    pub(super) fn happened(&mut self, text: String, now: Instant) {
        if self.happened.len() < HAPPENED_MAX && self.happenings.take(now) {
            self.happened.push(text);
        }
    }

    /// What was said after `after`, and not before `since_unix_ms`.
    pub(super) fn after(&self, after: u64, since_unix_ms: u64) -> Vec<Said> {
        let new = |said: &&Said| said.id > after && said.at_unix_ms >= since_unix_ms;
        self.recent.iter().filter(new).cloned().collect()
    }

    pub(super) fn has_happenings(&self) -> bool {
        !self.happened.is_empty()
    }

    fn push(&mut self, said: Said) {
        self.recent.push_back(said);
        if self.recent.len() > CHAT_MAX {
            self.recent.pop_front();
        }
    }
}

impl Room {
    /// Keeps something said, of the present or of an instant before it, and shows it to everybody.
    ///
    /// # Errors
    /// Why it could not be kept, for whoever said it.
    pub(super) async fn say(
        &self,
        name: &str,
        hue: u8,
        text: String,
        at_ns: Option<u64>,
    ) -> Result<(), String> {
        let instant_ns = match (at_ns, self.instant_ns().await) {
            (Some(at_ns), Some(now_ns)) => Some(at_ns.min(now_ns)),
            // Of a machine that is off nobody here knows how far it has come.
            (at_ns, now_ns) => at_ns.filter(|at_ns| *at_ns < AT_NS_MAX).or(now_ns),
        };
        let name = name.to_owned();
        let _in_order = self.saying.lock().await;
        let at_unix_ms = unix_ms();
        let mut row = SaidRow { id: 0, name, hue, text, at_unix_ms, instant_ns };
        let kept = self.catalog.say(&self.machine, &row).await;
        row.id = kept.map_err(|error| format!("that could not be kept: {error}"))?;
        self.change(|inner| inner.chat.push(said(row)));
        Ok(())
    }

    /// Keeps what has happened since this was called last.
    pub(super) async fn keep_happenings(&self) {
        for text in self.change(|inner| std::mem::take(&mut inner.chat.happened)) {
            // It is no loss: people are shown to each other anyway.
            let _ = self.say("", 0, text, None).await;
        }
    }

    /// What was said lately and may be known, after what a page has already.
    pub(super) async fn said(&self, after: u64, since_unix_ms: u64) -> Vec<Said> {
        let rows = self.catalog.said(&self.machine, after, since_unix_ms, CHAT_MAX as u32).await;
        match rows {
            Ok(rows) => rows.into_iter().map(said).collect(),
            // Whoever comes now at least meets what is said from now on.
            Err(_) => Vec::new(),
        }
    }

    /// The machine's time, if it runs.
    async fn instant_ns(&self) -> Option<u64> {
        match tokio::time::timeout(INSTANT_TIME, self.call(Command::Info)).await {
            Ok(Ok(Reply::Info(info))) => Some(MachineInstant::from_ticks(info.instant_ticks).ns()),
            _ => None,
        }
    }
}

fn said(row: SaidRow) -> Said {
    let SaidRow { id, name, hue, text, at_unix_ms, instant_ns } = row;
    Said { id, name, hue, text, at_unix_ms, instant_ns }
}
