//! `stackvm up`: this computer's machines behind pages, from the first line printed to the last.

use std::future::Future;
use std::process::{Command, Stdio};

use stackvm_host::machines::{Keep, StopHow};
use thiserror::Error;

use crate::machines::{Ended, PATIENCE, Wish};
use crate::problem::Problem;
use crate::server::{DEFAULT_PORT, ListenError, Options, Port, Running, Server};
use crate::tasks::Cancellable;

/// What the first machine runs, and what it is called.
const FIRST: &str = "tiny";

/// What to serve, and what happens around it.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The server.
    pub server: Options,
    /// What happens with the link besides being printed.
    pub browser: Browser,
    /// What happens to the machines in the end.
    pub on_exit: OnExit,
}

/// Whether to open a browser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Browser {
    /// Where there is a desktop.
    Open,
    /// No.
    Leave,
}

/// What happens to the machines that the server has started when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnExit {
    /// They go on.
    Keep,
    /// They are saved, and go on with the next start where they were.
    #[default]
    Save,
    /// They are switched off.
    Stop,
}

/// Why there is no page, or no orderly end.
#[derive(Debug, Error)]
pub enum UpError {
    /// The server cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Some machines can neither be saved nor switched off.
    #[error("could not end {machines}; `stackvm ls` shows them, `stackvm stop` stops them")]
    End {
        /// Which, with the reasons.
        machines: String,
    },
}

/// Serves until `stop` is ready or the owner says so from elsewhere. `announce` gets the link once
/// the server listens; what people should know goes to standard error.
///
/// # Errors
/// See [`UpError`].
pub async fn up(
    options: UpOptions,
    announce: impl FnOnce(&str),
    stop: impl Future<Output = ()>,
) -> Result<(), UpError> {
    let port = options.server.port;
    let running = Server::listen(options.server).await?;
    if port == Port::Preferred && running.addr.port() != DEFAULT_PORT {
        eprintln!("Port {DEFAULT_PORT} is taken, so this is another one.");
    }
    announce(&running.url);
    eprintln!("The link opens one browser, once; `stackvm open` makes another.");
    let warning = running.app.reach.warning();
    if !warning.is_empty() {
        eprintln!("{warning}");
    }
    if options.browser == Browser::Open {
        open_browser(&running.url);
    }
    if let Err(problem) = running.begin().await {
        let fault = problem.into_fault();
        eprintln!("{}: {}", fault.what, fault.action);
    }
    tokio::select! {
        () = stop => {}
        () = running.down() => {}
    }
    let farewell = running.end_machines(options.on_exit).await;
    running.shutdown().await;
    for line in &farewell.said {
        eprintln!("{line}");
    }
    if farewell.failed.is_empty() {
        return Ok(());
    }
    Err(UpError::End { machines: farewell.failed.join(", ") })
}

/// What became of the machines.
#[derive(Default)]
struct Farewell {
    said: Vec<String>,
    failed: Vec<String>,
}

impl Running {
    /// Machines that the last server saved go on; where there is none at all, the first is made.
    pub(crate) async fn begin(&self) -> Result<(), Problem> {
        let app = &self.app;
        for id in app.fleet.empty_trash().await? {
            app.catalog.forget_machine(&id).await?;
        }
        for held in app.fleet.held().await? {
            app.fleet.let_go(&held).await?;
        }
        for id in app.fleet.interrupted().await? {
            let task =
                app.tasks.begin(format!("Resume {id}"), Some(id.clone()), Cancellable::No)?;
            app.start(task, id);
        }
        if app.fleet.list().await?.is_empty() && app.fleet.trashed().await?.is_empty() {
            let (image, name) = (FIRST.to_owned(), Some(FIRST.to_owned()));
            let wish = Wish { image, name, memory_bytes: None, keep: Keep::default() };
            let reserved = app.fleet.reserve(&wish).await?;
            let task = app.begin_making(&reserved, reserved.title()).await?;
            app.make(task, reserved);
        }
        Ok(())
    }

    /// Ends the machines that this server has started.
    async fn end_machines(&self, how: OnExit) -> Farewell {
        let mut farewell = Farewell::default();
        if let Err(problem) = self.app.end_visits().await {
            farewell.failed.push(format!("visitors' machines ({})", problem.into_fault().what));
        }
        let running = match self.app.fleet.running().await {
            Ok(running) => running,
            Err(problem) => {
                farewell.failed.push(format!("the machines ({})", problem.into_fault().what));
                return farewell;
            }
        };
        let names = || running.iter().map(|machine| machine.label()).collect::<Vec<_>>().join(", ");
        let stop_how = match how {
            _ if running.is_empty() => return farewell,
            OnExit::Keep => {
                farewell.said.push(format!("Still running: {}.", names()));
                return farewell;
            }
            OnExit::Save => StopHow::Save,
            OnExit::Stop => StopHow::Shutdown { patience: PATIENCE },
        };
        eprintln!("\nEnding {} …", names());
        for machine in &running {
            let name = machine.label();
            match self.app.fleet.end(&machine.spec.name, stop_how).await {
                Ok(Ended::Off) => farewell.said.push(format!("Machine {name} is off.")),
                Ok(Ended::Saved) => {
                    let line =
                        format!("Machine {name} is saved; `stackvm up` goes on where it is.");
                    farewell.said.push(line);
                }
                Ok(Ended::NotSaved(reason)) => {
                    let line = format!("Machine {name} could not be saved and is off: {reason}");
                    farewell.said.push(line);
                }
                Err(problem) => {
                    farewell.failed.push(format!("{name} ({})", problem.into_fault().what));
                }
            }
        }
        farewell
    }
}

/// Opens the link in the desktop's browser, where there is a desktop.
pub fn open_browser(url: &str) {
    let has_desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !has_desktop {
        return;
    }
    let opener = Command::new("xdg-open")
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match opener {
        // Some openers stay as long as their browser; nobody waits for them but this thread.
        Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
        Err(_) => eprintln!("No browser could be opened: open the link yourself."),
    }
}
