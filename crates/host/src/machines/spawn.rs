//! Starting a lab process and hearing from it whether the machine started.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stackvm_machine::engine::{self, EngineChoice};

use super::{LOG_FILE, MachinesError, SOCKET_FILE, Started, io_error};
use crate::sandbox::Sandbox;

/// Environment variable that names the program to run labs with, for tests.
pub(crate) const EXE_VARIABLE: &str = "STACKVM_EXE";
/// The program's hidden command for labs.
pub(crate) const LAB_COMMAND: &str = "lab";
/// That command's argument for [`Sandbox::Off`].
pub(crate) const NO_SANDBOX: &str = "--no-sandbox";
/// The program's argument for labs without a compiler.
const INTERPRET: &str = "--engine=interp";
/// Most bytes a lab says while starting.
const WORDS_BYTES_MAX: u64 = 64 << 10;

/// What a lab says on its standard output, once, in a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Readiness {
    /// The socket listens.
    Ready,
    /// It ends because of this.
    Failed(String),
}

/// Starts the lab of the machine in `folder`, whose lock is `lock`, and waits until it listens.
pub(crate) fn start(
    folder: &Path,
    name: &str,
    lock: File,
    sandbox: Sandbox,
) -> Result<Started, MachinesError> {
    let exe = program()?;
    let log_path = folder.join(LOG_FILE);
    let mut child = lab_command(&exe, sandbox, &log_path)?
        .arg(folder)
        // The lock goes along as standard input, so that it is never free in between.
        .stdin(Stdio::from(lock))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(io_error("run", &exe))?;
    match hear(&mut child) {
        Ok(Some(Readiness::Ready)) => {
            let pid = child.id();
            reap_in_background(child);
            Ok(Started { name: name.to_owned(), socket: folder.join(SOCKET_FILE), pid })
        }
        Ok(Some(Readiness::Failed(message))) => {
            // It ends by itself; its lock must be free when this returns.
            let _ = child.wait();
            Err(MachinesError::Start(message))
        }
        Ok(None) => {
            let status = child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
            Err(MachinesError::Died { status, log: last_words(&log_path) })
        }
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(io_error("start", &exe)(error))
        }
    }
}

/// The program whose command is a lab.
pub(super) fn program() -> Result<PathBuf, MachinesError> {
    match env::var_os(EXE_VARIABLE) {
        Some(exe) => Ok(PathBuf::from(exe)),
        None => env::current_exe().map_err(io_error("find", Path::new("this program"))),
    }
}

/// That command, which writes to a log what goes wrong.
pub(super) fn lab_command(
    exe: &Path,
    sandbox: Sandbox,
    log: &Path,
) -> Result<Command, MachinesError> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.map_err(io_error("write", log))?;
    let mut command = Command::new(exe);
    command
        .arg(LAB_COMMAND)
        .args((sandbox == Sandbox::Off).then_some(NO_SANDBOX))
        .args((engine::chosen() == EngineChoice::Interpreter).then_some(INTERPRET))
        .stderr(Stdio::from(file));
    Ok(command)
}

/// The lab's one line, or `None` when it ended without.
fn hear(child: &mut Child) -> io::Result<Option<Readiness>> {
    let Some(stdout) = child.stdout.take() else { return Ok(None) };
    let mut words = String::new();
    // The lab closes its standard output after the line.
    stdout.take(WORDS_BYTES_MAX).read_to_string(&mut words)?;
    Ok(serde_json::from_str(&words).ok())
}

/// Labs outlive whoever starts them; one that ends first must not stay a zombie of a starter that
/// runs for long, as the web server does.
fn reap_in_background(mut child: Child) {
    let reap = move || drop(child.wait());
    // Without a thread there may be a zombie until this process ends: harmless.
    let _ = std::thread::Builder::new().name("reaper".into()).stack_size(64 << 10).spawn(reap);
}

/// The end of the log, for an error message.
pub(super) fn last_words(log: &Path) -> String {
    // What stderr had may still be on its way.
    std::thread::sleep(Duration::from_millis(10));
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
    match text.trim() {
        "" => String::new(),
        words => format!("; it said: {words}"),
    }
}
