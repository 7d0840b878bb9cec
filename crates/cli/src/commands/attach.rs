//! `stackvm attach` and `stackvm exec`: visiting a machine that runs by itself.

use std::io::{IsTerminal, stdin};

use anyhow::Result;
use stackvm_host::machines::Lifetime;
use stackvm_host::protocol::{ExecSpec, Size, Stdin};
use stackvm_machine::ConsoleId;

use super::{Joined, Owner, machine, machines};
use crate::args::{Attach, Exec};
use crate::session::{self, Link, Menu, Signals, Target, Watch};
use crate::terminal;

/// Where a command's streams lead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Streams {
    /// To a terminal in the guest, shown in this one.
    Terminal,
    /// To this program's standard input, output and error.
    Pipes,
}

/// Joins the terminal of a running machine.
pub(crate) async fn attach(args: Attach) -> Result<u8> {
    visit(&args.name, |link| Target::Console(console(link))).await
}

/// Runs a command in a running machine.
pub(crate) async fn exec(args: Exec) -> Result<u8> {
    let streams = if args.tty { Streams::Terminal } else { Streams::Pipes };
    visit(&args.name, |_| Target::Exec(exec_spec(&args.command, streams))).await
}

async fn visit(name: &str, target: impl FnOnce(&Link) -> Target) -> Result<u8> {
    let mut signals = Signals::new()?;
    let machines = machines()?;
    let name = &machine(&machines, name)?.spec.name;
    // Says whether it is running.
    drop(machines.connect(name)?);
    let link = Link::connect(&machines.socket(name)).await?;
    let target = target(&link);
    let end = session::run(link, target, Watch::Nothing, Menu::Machine, &mut signals).await;
    let (name, lifetime) = (name.to_owned(), Lifetime::Named);
    let joined = Joined { machines, name, lifetime, owner: Owner::Itself };
    joined.conclude(end, &mut signals).await
}

/// The terminal of a machine that people want: the shell of an image, else the serial line.
pub(super) fn console(link: &Link) -> ConsoleId {
    link.hello.consoles.first().copied().unwrap_or(ConsoleId::Serial)
}

/// A command with its streams.
pub(super) fn exec_spec(command: &[String], streams: Streams) -> ExecSpec {
    let terminal = streams == Streams::Terminal;
    let size = terminal::size().unwrap_or(Size { columns: 80, rows: 24 });
    let kind = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".to_owned());
    ExecSpec {
        argv: command.to_vec(),
        env: if terminal { vec![("TERM".to_owned(), kind)] } else { Vec::new() },
        tty: terminal.then_some(size),
        stdin: if has_input() { Stdin::Stream } else { Stdin::Null },
    }
}

/// Whether standard input is anything to read from: a program in the background of a terminal
/// would be stopped for trying.
fn has_input() -> bool {
    let in_foreground = || {
        let group = rustix::termios::tcgetpgrp(stdin()).ok();
        group.is_none() || group == Some(rustix::process::getpgrp())
    };
    !stdin().is_terminal() || in_foreground()
}
