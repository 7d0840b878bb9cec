//! What sessions are about and how they end.

use std::path::PathBuf;

use stackvm_host::protocol::{ExecSpec, StopReason};
use stackvm_machine::ConsoleId;

use super::Signal;

/// What this terminal is joined to.
pub(crate) enum Target {
    /// A terminal of the machine.
    Console(ConsoleId),
    /// A command in the guest; with a terminal of its own if the specification has one.
    Exec(ExecSpec),
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The machine is off. `before_up`: before its prompt or the command came.
    Stopped {
        /// Why.
        reason: StopReason,
        /// Whether it had come up before.
        phase: Phase,
    },
    /// The command ended with this code.
    Exited(u8),
    /// Somebody chose to leave, or the terminal went away.
    Detached,
    /// Somebody chose to kill the machine.
    Killed,
    /// This program is asked to end.
    Signal(Signal),
    /// Somebody chose to end the recording, which is complete.
    Recorded,
    /// Somebody chose to go back to the recording that was broken into.
    Returned,
    /// Somebody chose to leave the player.
    Quit,
    /// The guest's kernel died; the end of its log has been shown.
    KernelPanic,
}

/// Whether the guest has shown a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// No prompt yet, no command started.
    Booting,
    /// It has.
    Up,
}

/// Whether to wait for the guest with a line of progress.
pub(crate) enum Watch {
    /// Yes, under this name; the kernel log is followed.
    Boot(String),
    /// No: the target shows everything itself.
    Nothing,
}

/// What the menu can do beside what it can do with every machine.
pub(crate) enum Menu {
    /// Nothing.
    Machine,
    /// The machine is being recorded.
    Recording {
        /// In this journal.
        journal: PathBuf,
        /// What the recording's end is for the session.
        end: RecordingEnd,
    },
    /// The machine has left a recording.
    Branch {
        /// It is recorded in this journal.
        journal: PathBuf,
        /// Gives the branch a name.
        rename: Box<dyn Fn(String)>,
    },
}

/// What the end of a recording is for its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordingEnd {
    /// Its end.
    Leave,
    /// Nothing special: the machine goes on.
    GoOn,
}
