//! `stackvm cast …`: what is in a recording, and questions about it.

mod compact;
mod export;
mod extract;
mod grep;
mod info;
mod sink;
mod verify;
mod when;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};
use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;
use stackvm_timeline::replay::Replay;
use stackvm_timeline::{BranchId, Timeline};

use crate::args::Cast;
use crate::casts;
use crate::player::tape;
use crate::session::Signals;
use crate::work::Interrupted;

/// Does what `stackvm cast …` asks.
pub(crate) async fn run(command: Cast) -> Result<u8> {
    match command {
        Cast::Info(args) => info::run(&args),
        Cast::Verify(args) => verify::run(args).await,
        Cast::Compact(args) => compact::run(args).await,
        Cast::Export(args) => interruptible(move || export::run(&args)).await,
        Cast::Extract(args) => interruptible(move || extract::run(&args)).await,
        Cast::Grep(args) => grep::run(args).await,
        Cast::When(args) => interruptible(move || when::run(&args)).await,
    }
}

/// Does work on another thread. A signal ends the command without waiting for it: it only reads,
/// or writes aside.
async fn interruptible<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let mut signals = Signals::new()?;
    let result = tokio::select! {
        result = super::blocking(work) => result,
        signal = signals.next_end() => Err(Interrupted(signal).into()),
    };
    sink::remove_unfinished();
    result
}

/// A branch of a recording.
struct Recording {
    timeline: Arc<Timeline>,
    branch: BranchId,
    begin: Instant,
}

impl Recording {
    fn open(file: &Path, branch: &str) -> Result<Recording> {
        let timeline = Arc::new(casts::open(file)?);
        let branch = tape::branch(&timeline, branch)?;
        let begin = timeline.begin(branch);
        Ok(Recording { timeline, branch, begin })
    }

    fn replay(&self) -> Result<Replay> {
        Ok(Replay::new(Arc::clone(&self.timeline))?)
    }

    /// `1:23.500`: from the beginning.
    fn elapsed(&self, at: Instant) -> String {
        show_elapsed(at.since(self.begin))
    }

    /// An instant's members in JSON.
    fn json(&self, at: Instant) -> Value {
        let elapsed_s = at.since(self.begin).ns() as f64 / 1e9;
        json!({ "elapsed_s": elapsed_s, "at": at.to_string() })
    }
}

/// `1:23.500`, `1:02:03.500`: as `--at` takes it.
fn show_elapsed(span: Ticks) -> String {
    let ms = span.ns() / 1_000_000;
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let rest = format!("{:02}.{:03}", ms / 1000 % 60, ms % 1000);
    match hours {
        0 => format!("{minutes}:{rest}"),
        _ => format!("{hours}:{minutes:02}:{rest}"),
    }
}

/// `members` of an object with those of another in front.
fn joined(first: Value, members: Value) -> Value {
    match (first, members) {
        (Value::Object(mut first), Value::Object(members)) => {
            first.extend(members);
            Value::Object(first)
        }
        (_, members) => members,
    }
}

#[cfg(test)]
mod tests {
    use stackvm_timeline::When;

    use super::*;

    #[test]
    fn times_are_shown_as_they_are_read() {
        let check = |ms: u64, text: &str| {
            let span = Ticks::from_ns(ms * 1_000_000);
            assert_eq!(show_elapsed(span), text);
            assert_eq!(When::parse(text), Ok(When::Elapsed(span)), "{text}");
        };
        check(0, "0:00.000");
        check(83_500, "1:23.500");
        check(3_723_004, "1:02:03.004");
    }
}
