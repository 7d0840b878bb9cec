//! The standby: a shell that waits in a prompt keyframe for the first thing to do.
//!
//! To start a shell through the agent costs a guest millions of instructions: two forks, three
//! programs, two exchanges. A machine that starts from its prompt has one that waits already, on
//! the streams of a set. It is given its work as lines of a script on its standard input: first
//! what makes the guest a machine of its own, then the first command of a user, which takes its
//! place. Without a standby, or when it is used up, everything goes through the agent.

use serde::{Deserialize, Serialize};
use stackvm_machine::{Input, Instant, PortId};

use super::{Guest, Purpose};
use crate::agent::AgentError;
use crate::agent::commands::{self, GuestPid};
use crate::exec::{self, End, Exec, ExecError, ExecKey, Phase, Set};
use crate::guest::GuestSaved;
use crate::protocol::ExecSpec;

/// Longest script that the standby is given: it reads it a buffer at a time.
const SCRIPT_BYTES_MAX: usize = 16 << 10;
/// Longest answer of a script.
const ANSWER_BYTES_MAX: usize = 16;

/// A shell that waits on a set's streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standby {
    set: Set,
    pid: GuestPid,
}

/// What must be kept of a standby with its machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StandbySaved {
    /// The set's number.
    set: u32,
    /// The shell's process id.
    pid: u64,
}

/// What a script has answered so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    ended: bool,
}

impl Guest {
    /// Has the agent start a standby; [`Guest::standby`] has it once it waits.
    ///
    /// # Errors
    /// As [`crate::agent::Agent::call`]; [`ExecError::NoPorts`].
    pub fn start_standby(&mut self, now: Instant) -> Result<(), ExecError> {
        // Commands take the first set that is free.
        let free = self.sets.iter().rev().copied().find(|set| self.is_free(set));
        let set = free.ok_or(ExecError::NoPorts)?;
        let input = exec::port_path(&set, "in");
        let script = format!("exec setsid sh -s <{input} >/dev/null 2>&1");
        let arguments = ["-c".to_owned(), script];
        let call = self.agent.call(commands::exec("/bin/sh", &arguments), now)?;
        self.calls.insert(call, Purpose::Standby(set));
        Ok(())
    }

    /// The standby, once it waits.
    pub fn standby(&self) -> Option<StandbySaved> {
        let standby = self.standby.filter(|standby| self.open.contains(&standby.set.input))?;
        Some(StandbySaved { set: standby.set.number as u32, pid: standby.pid.0 })
    }

    pub(super) fn standby_started(&mut self, set: Set, pid: Result<GuestPid, AgentError>) {
        self.standby = pid.ok().map(|pid| Standby { set, pid });
    }

    /// Goes on with a guest that was frozen at its prompt, with nothing asked of its agent.
    pub(crate) fn at_prompt(&mut self, saved: GuestSaved, standby: Option<StandbySaved>) {
        self.open = saved.open;
        // What the ports are told in the beginning they were told before they were frozen.
        self.inputs.clear();
        if self.agent_port.is_some_and(|port| self.open.contains(&port)) {
            self.agent.go_on();
        }
        self.standby = standby.and_then(|StandbySaved { set, pid }| {
            let set = self.sets.iter().copied().find(|known| known.number == set as usize)?;
            Some(Standby { set, pid: GuestPid(pid) })
        });
    }

    /// Gives the standby lines to execute, which start no program that reads standard input; false
    /// if there is none. [`Guest::take_standby_code`] has the last one's exit code.
    pub(crate) fn standby_run(&mut self, script: &str) -> bool {
        let Some(standby) = self.standby else { return false };
        let out = exec::port_path(&standby.set, "out");
        let bytes = format!("{script}\necho \"$?\" >{out}\n").into_bytes();
        if bytes.len() > SCRIPT_BYTES_MAX {
            return false;
        }
        self.standby_answer = Answer::default();
        self.inputs.push(Input::Port { port: standby.set.input, bytes });
        true
    }

    /// The exit code of the standby's lines, once they have ended.
    pub(crate) fn take_standby_code(&mut self) -> Option<u8> {
        if !std::mem::take(&mut self.standby_answer.ended) {
            return None;
        }
        let text = String::from_utf8_lossy(&self.standby_answer.bytes).into_owned();
        Some(text.trim().parse().unwrap_or(u8::MAX))
    }

    /// Whether an output through `port` is an answer of the standby's.
    pub(super) fn standby_said(&mut self, port: PortId, bytes: &[u8]) -> bool {
        let is_its = self.standby.is_some_and(|standby| standby.set.output == port);
        if is_its && self.standby_answer.bytes.len() < ANSWER_BYTES_MAX {
            self.standby_answer.bytes.extend_from_slice(bytes);
        }
        is_its
    }

    /// A port of the guest was closed.
    pub(super) fn standby_closed(&mut self, port: PortId) {
        let Some(standby) = self.standby else { return };
        if port == standby.set.output {
            self.standby_answer.ended = true;
        }
        if port == standby.set.input {
            self.standby = None;
        }
    }

    /// Runs a command in the standby's place, if there is one and the command is one for it.
    pub(super) fn exec_in_standby(&mut self, spec: &ExecSpec, now: Instant) -> Option<ExecKey> {
        if spec.tty.is_some() || !self.is_up() {
            return None;
        }
        let standby = self.standby?;
        let script = exec::standby_script(spec, &standby.set);
        if script.len() > SCRIPT_BYTES_MAX {
            return None;
        }
        self.standby = None;
        self.keys += 1;
        let key = ExecKey(self.keys);
        let mut exec = Exec::new(key, standby.set, None, spec);
        exec.phase = Phase::Running { pid: standby.pid };
        exec.reads_script = exec.input == End::New;
        self.execs.insert(key, exec);
        let bytes = script.into_bytes();
        self.inputs.push(Input::Port { port: standby.set.input, bytes });
        self.started(key, standby.pid, now);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Stdin;

    #[test]
    fn scripts_quote_everything() {
        let check = |argv: &[&str], env: &[(&str, &str)], stdin, expected: &str| {
            let argv = argv.iter().map(|text| (*text).to_owned()).collect();
            let env = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let spec = ExecSpec { argv, env, tty: None, stdin };
            let port = PortId(0);
            let set = Set { number: 7, input: port, output: port, error: port };
            let script = exec::standby_script(&spec, &set);
            let last = script.lines().last().unwrap_or_default();
            assert_eq!(last, expected);
        };
        let streams = ">/dev/virtio-ports/org.stackvm.exec.7.out \
                       2>/dev/virtio-ports/org.stackvm.exec.7.err";
        check(&["true"], &[], Stdin::Null, &format!("exec 'true' </dev/null {streams}"));
        check(
            &["echo", "a b", "it's", "$x", ""],
            &[],
            Stdin::Stream,
            &format!("exec 'echo' 'a b' 'it'\\''s' '$x' '' {streams}"),
        );
        check(
            &["a=b"],
            &[("N.M", "v w")],
            Stdin::Null,
            &format!("exec env 'N.M=v w' sh -c 'exec \"$@\"' sh 'a=b' </dev/null {streams}"),
        );
    }
}
