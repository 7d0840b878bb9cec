//! The signals that matter to a session, as events.

use anyhow::{Context, Result};
use rustix::process::{Signal as Raw, getpid, kill_process};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// A signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// SIGHUP: the terminal has gone away.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGTERM.
    Terminate,
    /// SIGPIPE's number; it is never delivered, but stands for a closed standard output.
    Pipe,
    /// SIGTSTP: stop, to be continued.
    Stop,
    /// SIGWINCH: the terminal's size changed.
    WindowChange,
}

impl Signal {
    /// Linux's number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Signal::Hangup => 1,
            Signal::Interrupt => 2,
            Signal::Quit => 3,
            Signal::Pipe => 13,
            Signal::Terminate => 15,
            Signal::Stop => 20,
            Signal::WindowChange => 28,
        }
    }

    /// The exit code of a program that this signal ended, as shells have it.
    pub(crate) fn exit_code(self) -> u8 {
        128 + self.number()
    }
}

/// Receives signals; while it exists, and after, none of them ends the program by itself.
pub(crate) struct Signals {
    hangup: Stream,
    interrupt: Stream,
    quit: Stream,
    terminate: Stream,
    stop: Stream,
    window_change: Stream,
}

impl Signals {
    /// Takes the signals over. Needs a runtime.
    pub(crate) fn new() -> Result<Signals> {
        let on = |kind| signal(kind).context("could not listen to signals");
        Ok(Signals {
            hangup: on(SignalKind::hangup())?,
            interrupt: on(SignalKind::interrupt())?,
            quit: on(SignalKind::quit())?,
            terminate: on(SignalKind::terminate())?,
            stop: on(SignalKind::from_raw(Raw::TSTP.as_raw()))?,
            window_change: on(SignalKind::window_change())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.quit.recv() => Signal::Quit,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.stop.recv() => Signal::Stop,
            _ = self.window_change.recv() => Signal::WindowChange,
        }
    }

    /// The next one that asks the program to end; the others have their usual effect.
    pub(crate) async fn next_end(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::Stop => stop_here(),
                Signal::WindowChange => {}
                signal => return signal,
            }
        }
    }
}

/// Stops this program until it is continued.
pub(crate) fn stop_here() {
    let _: Result<(), _> = kill_process(getpid(), Raw::STOP);
}
