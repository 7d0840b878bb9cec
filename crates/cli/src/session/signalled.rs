//! What signals do to a session: some are the command's in the guest, some this program's.

use std::time::Duration;

use stackvm_host::protocol::Command;
use tokio::time::Instant;

use super::{EXEC, End, Phase, Session, Signal, TAG_OTHER, Target, stop_here};

/// How long a command may take to end when this program is asked to.
const TERMINATE_LIMIT: Duration = Duration::from_secs(10);

impl Session {
    pub(super) fn exec_signal(&mut self, signal: Signal) {
        let signal = signal.number();
        self.queue.push_back((TAG_OTHER, Command::ExecSignal { exec: EXEC, signal }));
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::WindowChange => self.resize(),
            Signal::Stop => self.suspend(),
            Signal::Hangup if self.raw.is_some() => self.detach(),
            // The first one is the command's; who insists means this program.
            _ if matches!(self.target, Target::Exec(_))
                && self.phase == Phase::Up
                && self.signals_seen == 0 =>
            {
                self.signals_seen += 1;
                self.exec_signal(signal);
                // Who interrupts at a keyboard can do so again; who asks to end means it.
                if signal != Signal::Interrupt {
                    self.give_up_after(TERMINATE_LIMIT, signal);
                }
            }
            _ => self.finish(End::Signal(signal)),
        }
    }

    /// Stops this program as SIGTSTP should, with the terminal as it was.
    pub(super) fn suspend(&mut self) {
        if let Some(raw) = &mut self.raw {
            raw.suspend();
        }
        stop_here();
        if let Some(raw) = &mut self.raw
            && let Err(error) = raw.resume()
        {
            self.fail(anyhow::Error::new(error).context("the terminal did not come back"));
        }
        self.resize();
    }

    /// Ends the session as `signal` does when the command has not ended by then.
    pub(super) fn give_up_after(&mut self, limit: Duration, signal: Signal) {
        self.deadline.get_or_insert((Instant::now() + limit, signal));
    }
}
