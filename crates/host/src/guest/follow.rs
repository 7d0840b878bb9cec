//! Following running commands: when one has ended, what it may be sent, when to ask about it.

use stackvm_machine::config::limits::PENDING_INPUT_BYTES_MAX;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{Input, Instant, PortId};

use super::{Guest, GuestEvent, Purpose};
use crate::agent::AgentError;
use crate::agent::commands::{self, ExecStatus, GuestPid};
use crate::exec::{End, Exec, ExecKey, Phase};
use crate::protocol::DATA_BYTES_MAX;

/// Time between a command's last output closing and the question for its status: it is still
/// exiting then.
const ASK_NS: u64 = 1_000_000;
/// Time after which a command that has opened no stream is asked about: its shell may have failed.
pub(super) const ASK_UNOPENED_NS: u64 = 2_000_000_000;
/// Longest time between two questions.
const ASK_NS_MAX: u64 = 60_000_000_000;

impl Guest {
    pub(super) fn stream_turned(&mut self, port: PortId, to: End, now: Instant) {
        for exec in self.execs.values_mut() {
            let Some(end) = exec.end_mut(port) else { continue };
            // A close that belongs to an earlier user of the set changes nothing.
            if to == End::Closed && *end == End::New {
                continue;
            }
            *end = to;
            if exec.reads_script && exec.error == End::Open {
                exec.reads_script = false;
                exec.input = End::Open;
            }
            if exec.input == End::Closed && !exec.stdin.is_empty() {
                let bytes = std::mem::take(&mut exec.stdin).len();
                self.events.push_back(GuestEvent::Credit { key: exec.key, bytes });
            }
            if exec.has_closed() {
                exec.ask_at = Some(now + Ticks::from_ns(ASK_NS));
                exec.ask_again_ns = 2 * ASK_NS;
            }
        }
    }

    pub(super) fn started(&mut self, key: ExecKey, pid: GuestPid, now: Instant) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        exec.phase = Phase::Running { pid };
        let wait_ns = if exec.has_closed() { ASK_NS } else { ASK_UNOPENED_NS };
        exec.ask_at = Some(now + Ticks::from_ns(wait_ns));
        exec.ask_again_ns = 2 * wait_ns;
        let abandoned = exec.abandoned;
        self.events.push_back(GuestEvent::Started(key));
        if abandoned {
            self.abandon(key, now);
        }
    }

    pub(super) fn status(
        &mut self,
        key: ExecKey,
        status: Result<ExecStatus, AgentError>,
        now: Instant,
    ) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        let Phase::Asking { pid, .. } = exec.phase else { return };
        exec.phase = Phase::Running { pid };
        match status {
            Ok(ExecStatus::Exited(code)) => {
                self.release(key);
                self.events.push_back(GuestEvent::Exited { key, code });
            }
            Ok(ExecStatus::Running) | Err(AgentError::Timeout { .. } | AgentError::Busy) => {
                exec.ask_at = Some(now + Ticks::from_ns(exec.ask_again_ns));
                exec.ask_again_ns = (exec.ask_again_ns * 2).min(ASK_NS_MAX);
            }
            Err(error) => {
                self.release(key);
                self.events.push_back(GuestEvent::Lost { key, error });
            }
        }
    }

    /// Asks for the status of the commands for which it is time.
    pub(super) fn ask(&mut self, now: Instant) {
        if !self.agent.is_up() {
            self.lose_all_when_gone();
            return;
        }
        for exec in self.execs.values_mut() {
            let Phase::Running { pid } = exec.phase else { continue };
            if exec.ask_at.is_none_or(|at| at > now) {
                continue;
            }
            exec.ask_at = None;
            // Streams that were opened tell of the end by closing.
            let opened = exec.output != End::New && exec.error != End::New;
            if opened && !exec.has_closed() {
                continue;
            }
            match self.agent.call(commands::exec_status(pid), now) {
                Ok(call) => {
                    exec.phase = Phase::Asking { pid, call };
                    self.calls.insert(call, Purpose::Status(exec.key));
                }
                Err(_) => exec.ask_at = Some(now + Ticks::from_ns(exec.ask_again_ns)),
            }
        }
    }

    /// When the guest has closed the agent's port, its agent and what it knew are gone.
    fn lose_all_when_gone(&mut self) {
        let open = self.agent_port.is_some_and(|port| self.open.contains(&port));
        if open && !self.agent.is_deaf() {
            return;
        }
        let running = |exec: &&Exec| !matches!(exec.phase, Phase::Starting { .. });
        let keys: Vec<ExecKey> = self.execs.values().filter(running).map(|exec| exec.key).collect();
        for key in keys {
            self.release(key);
            self.events.push_back(GuestEvent::Lost { key, error: AgentError::Gone });
        }
    }

    pub(super) fn push_stdin(&mut self, room_bytes: &dyn Fn(PortId) -> usize) {
        for exec in self.execs.values_mut() {
            // Linux throws away what arrives at a port that no program has open.
            if exec.input != End::Open || exec.eof_sent {
                continue;
            }
            let port = exec.set.input;
            let room = room_bytes(port);
            let count = exec.stdin.len().min(room).min(DATA_BYTES_MAX);
            if count > 0 {
                let bytes = exec.stdin.drain(..count).collect();
                self.inputs.push(Input::Port { port, bytes });
                self.events.push_back(GuestEvent::Credit { key: exec.key, bytes: count });
            } else if exec.stdin_ended && exec.stdin.is_empty() && room == PENDING_INPUT_BYTES_MAX {
                // Only now is all of it with the guest; end of file must not overtake it.
                exec.eof_sent = true;
                self.inputs.push(Input::PortClose { port });
            }
        }
    }

    /// Forgets a command and makes its set ready for the next.
    pub(super) fn release(&mut self, key: ExecKey) {
        let Some(exec) = self.execs.remove(&key) else { return };
        if exec.eof_sent {
            self.inputs.push(Input::PortOpen { port: exec.set.input });
        }
    }
}
