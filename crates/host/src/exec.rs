//! Commands in the guest: the streams, phases and wrappers of each one.
//!
//! `guest-exec` alone cannot stream. So a command runs as `guest-exec` of a shell whose standard
//! input, output and error are three virtio-serial ports (a *set*, of which there are [`SETS`]).
//! Our end of `in` closing is its end of file. When the guest has closed `out` and `err`, the
//! command has ended, and one `guest-exec-status` asks for its exit code; nothing polls a running
//! command. A child left in the background keeps the ports open, and the command "runs" until it
//! ends, as over ssh. A program that closes its output early is asked about again and again, each
//! time after twice as long, up to once a minute.
//!
//! With a terminal, the command runs on one of [`TERMINALS`], and the shell around it holds `out`
//! open instead, so that its closing tells of the end.
//!
//! This module owns one command; who asks the agent, and when, is in `guest`.

use std::collections::VecDeque;

pub use stackvm_images::config::{AGENT_PORT, EXEC_SETS as SETS};
use stackvm_machine::{Instant, PortId};
use thiserror::Error;

use crate::agent::CallId;
use crate::agent::commands::GuestPid;
use crate::protocol::{EXEC_ARGUMENTS_BYTES_MAX, EXEC_ARGUMENTS_MAX, ExecSpec, Stdin};

/// The `hvcN` terminals that are kept for commands.
pub const TERMINALS: [u8; 2] = [1, 2];

/// A command of a [`Guest`](crate::guest::Guest), unique in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExecKey(pub u64);

/// Why a command cannot run.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ExecError {
    /// Nothing to run.
    #[error("no command given")]
    Empty,
    /// Too many or too long arguments.
    #[error("{what}: {count} given, at most {max} are possible")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A NUL byte, or an impossible name in the environment.
    #[error("{0:?} cannot be an argument or environment entry")]
    Impossible(String),
    /// The machine has no ports for commands.
    #[error("this machine was started without an agent; commands run only in machines of an image")]
    NoPorts,
    /// All sets are taken.
    #[error("{SETS} commands already run in this machine; wait for one to end")]
    AllSets,
    /// All terminals are taken.
    #[error(
        "{} commands already run on terminals in this machine; wait for one to end, or run \
         this one without a terminal", TERMINALS.len()
    )]
    AllTerminals,
    /// The agent does not take it.
    #[error(transparent)]
    Agent(#[from] crate::agent::AgentError),
}

/// The ports of one set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set {
    /// Number in the ports' names.
    pub number: usize,
    /// `in`.
    pub input: PortId,
    /// `out`.
    pub output: PortId,
    /// `err`.
    pub error: PortId,
}

/// The guest's end of a port that a command uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Not opened yet.
    New,
    /// Open.
    Open,
    /// Opened and closed again.
    Closed,
}

/// What is known about a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// `guest-exec` is asked.
    Starting { call: CallId },
    /// It runs.
    Running { pid: GuestPid },
    /// `guest-exec-status` is asked.
    Asking { pid: GuestPid, call: CallId },
}

/// One command.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) key: ExecKey,
    pub(crate) set: Set,
    pub(crate) terminal: Option<u8>,
    pub(crate) phase: Phase,
    pub(crate) input: End,
    pub(crate) output: End,
    pub(crate) error: End,
    /// Standard input that the machine has no room for yet.
    pub(crate) stdin: VecDeque<u8>,
    pub(crate) stdin_ended: bool,
    /// Our end of `in` has been closed.
    pub(crate) eof_sent: bool,
    /// When to ask for its status, and how long to wait after that.
    pub(crate) ask_at: Option<Instant>,
    pub(crate) ask_again_ns: u64,
    /// Nobody wants its output any more.
    pub(crate) abandoned: bool,
    /// Its `in` is still read by the shell that it takes the place of, until it opens `err`.
    pub(crate) reads_script: bool,
}

impl Exec {
    pub(crate) fn new(key: ExecKey, set: Set, terminal: Option<u8>, spec: &ExecSpec) -> Exec {
        let (call, no_input) = (CallId::default(), spec.stdin == Stdin::Null);
        Exec {
            key,
            set,
            terminal,
            phase: Phase::Starting { call },
            input: if no_input || terminal.is_some() { End::Closed } else { End::New },
            output: End::New,
            error: if terminal.is_some() { End::Closed } else { End::New },
            stdin: VecDeque::new(),
            stdin_ended: false,
            eof_sent: false,
            ask_at: None,
            ask_again_ns: 0,
            abandoned: false,
            reads_script: false,
        }
    }

    /// Whether it has opened its output and closed all of it.
    pub(crate) fn has_closed(&self) -> bool {
        self.output == End::Closed && self.error == End::Closed
    }

    pub(crate) fn end_mut(&mut self, port: PortId) -> Option<&mut End> {
        match port {
            _ if port == self.set.input => Some(&mut self.input),
            _ if port == self.set.output => Some(&mut self.output),
            _ if port == self.set.error => Some(&mut self.error),
            _ => None,
        }
    }
}

/// Checks a command against the limits.
pub(crate) fn check(spec: &ExecSpec) -> Result<(), ExecError> {
    if spec.argv.is_empty() {
        return Err(ExecError::Empty);
    }
    let limit = |what, count, max| {
        if count > max { Err(ExecError::TooMuch { what, count, max }) } else { Ok(()) }
    };
    limit("arguments", spec.argv.len(), EXEC_ARGUMENTS_MAX)?;
    limit("environment entries", spec.env.len(), EXEC_ARGUMENTS_MAX)?;
    let env_bytes = spec.env.iter().map(|(name, value)| name.len() + value.len() + 2);
    let bytes = spec.argv.iter().map(|text| text.len() + 1).chain(env_bytes).sum();
    limit("bytes of arguments and environment", bytes, EXEC_ARGUMENTS_BYTES_MAX)?;
    let bad_text = |text: &&String| text.contains('\0');
    let bad_name = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
    let names = spec.env.iter().map(|(name, _)| name);
    let texts = spec.argv.iter().chain(spec.env.iter().map(|(_, value)| value));
    match texts.clone().find(bad_text).or_else(|| names.clone().find(bad_name)) {
        Some(text) => Err(ExecError::Impossible(text.clone())),
        None => Ok(()),
    }
}

/// Where a stream of a set is in the guest.
pub(crate) fn port_path(set: &Set, stream: &str) -> String {
    format!("/dev/virtio-ports/org.stackvm.exec.{}.{stream}", set.number)
}

/// As after a login; the agent's own surroundings say nothing about the user's.
const SURROUNDINGS: &str = "export HOME=\"${HOME:-/root}\" \
     PATH=\"${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}\"; \
     cd \"$HOME\" 2>/dev/null || cd /; ";

/// The lines with which a shell that reads them from a set's `in` becomes a command without a
/// terminal. `err` is opened last, when all of them are read.
pub(crate) fn standby_script(spec: &ExecSpec, set: &Set) -> String {
    let mut words = Vec::new();
    if !spec.env.is_empty() {
        words.push("env".to_owned());
        words.extend(spec.env.iter().map(|(name, value)| quoted(&format!("{name}={value}"))));
        words.extend(["sh", "-c", "'exec \"$@\"'", "sh"].map(str::to_owned));
    }
    words.extend(spec.argv.iter().map(|text| quoted(text)));
    let input = if spec.stdin == Stdin::Null { "</dev/null " } else { "" };
    let (out, err) = (port_path(set, "out"), port_path(set, "err"));
    format!("{SURROUNDINGS}\nexec {} {input}>{out} 2>{err}\n", words.join(" "))
}

/// A word for a shell that is taken as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What `/bin/sh` is given to run a command on a set or terminal.
pub(crate) fn shell_arguments(spec: &ExecSpec, set: &Set, terminal: Option<u8>) -> Vec<String> {
    let port = |stream| port_path(set, stream);
    let begin = SURROUNDINGS;
    let run = match terminal {
        // The shell waits for the command and alone has `out` open, so that neither the command
        // nor its children can close or keep it.
        Some(terminal) => format!(
            "exec 3>{out}; setsid -c \"$@\" <>/dev/hvc{terminal} >&0 2>&1 3>&-; exit $?",
            out = port("out"),
        ),
        // A session of its own, so that a signal reaches all of the command.
        None => {
            let input = if spec.stdin == Stdin::Null { "/dev/null".into() } else { port("in") };
            let (out, err) = (port("out"), port("err"));
            format!("exec setsid \"$@\" <{input} >{out} 2>{err}")
        }
    };
    let mut arguments = vec!["-c".to_owned(), format!("{begin}{run}"), "sh".to_owned()];
    let has_term = spec.env.iter().any(|(name, _)| name == "TERM");
    let term = (terminal.is_some() && !has_term).then(|| "TERM=xterm-256color".to_owned());
    let env = spec.env.iter().map(|(name, value)| format!("{name}={value}")).chain(term);
    let env: Vec<String> = env.collect();
    if !env.is_empty() {
        arguments.push("env".to_owned());
        arguments.extend(env);
    }
    // A shell says what is wrong with a program in the usual words and code, and env(1) would take
    // one with `=` in its name for an entry.
    arguments.extend(["sh", "-c", "exec \"$@\"", "sh"].map(str::to_owned));
    arguments.extend(spec.argv.iter().cloned());
    arguments
}

/// What `/bin/sh` is given to send `signal` to a command and its children.
pub(crate) fn signal_arguments(pid: GuestPid, terminal: Option<u8>, signal: u8) -> Vec<String> {
    let script = match terminal {
        // The command leads its session below the shell that waits for it.
        Some(_) => "for child in $(cat /proc/$2/task/$2/children); do kill -$1 -- -$child; done",
        None => "kill -$1 -- -$2",
    };
    ["-c", script, "sh", &signal.to_string(), &pid.0.to_string()].map(str::to_owned).to_vec()
}
