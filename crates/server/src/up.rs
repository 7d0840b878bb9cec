//! `stackvm up`: a machine of this host behind a page, from the first line printed to the last.

use std::future::Future;
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::backend::Fault;
use crate::lab::{End, LabMachine, LabOptions};
use crate::server::{DEFAULT_PORT, ListenError, Options, Port, Server};

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The machine.
    pub lab: LabOptions,
    /// The port.
    pub port: Port,
    /// What happens with the link besides being printed.
    pub browser: Browser,
}

/// Whether to open a browser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Browser {
    /// Where there is a desktop.
    Open,
    /// No.
    Leave,
}

/// Why there is no page, or no orderly end.
#[derive(Debug, Error)]
pub enum UpError {
    /// The server cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The machine can neither be saved nor switched off.
    #[error("could not end the machine: {}; {}", .0.what, .0.action)]
    End(Fault),
}

/// Serves the machine until `stop` is ready, then saves it. Prints the link on standard output, and
/// what people should know on standard error.
///
/// # Errors
/// See [`UpError`].
pub async fn up(options: UpOptions, stop: impl Future<Output = ()>) -> Result<(), UpError> {
    let LabOptions { machine: name, image, .. } = options.lab.clone();
    let machine = LabMachine::new(options.lab);
    let names = Options { machine: name.clone(), image: format!("Debian 13 ({image})") };
    let running = Server::new(names, machine.clone()).listen(options.port).await?;
    if options.port == Port::Preferred && running.addr.port() != DEFAULT_PORT {
        eprintln!("Port {DEFAULT_PORT} is taken, so this is another one.");
    }
    println!("{}", running.url);
    eprintln!("The link opens one browser, once. Ctrl-C here saves the machine and ends.");
    if options.browser == Browser::Open {
        open_browser(&running.url);
    }
    stop.await;
    eprintln!("\nSaving what is to be saved …");
    machine.cancel();
    running.shutdown().await;
    let end = machine.end().await.map_err(UpError::End)?;
    eprintln!("{}", farewell(&name, &end));
    Ok(())
}

fn farewell(name: &str, end: &End) -> String {
    match end {
        End::Off => format!("Machine {name} is off."),
        End::Saved => format!("Machine {name} is saved; `stackvm up` goes on where it is."),
        End::Kept => format!(
            "Machine {name} was running before and goes on; `stackvm stop {name}` stops it."
        ),
        End::NotSaved(reason) => {
            format!("Machine {name} could not be saved and was switched off: {reason}")
        }
    }
}

/// Opens the link in the desktop's browser, where there is a desktop.
fn open_browser(url: &str) {
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
