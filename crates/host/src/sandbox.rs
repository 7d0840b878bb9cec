//! What is left of the host for a lab once its guest runs: its own files, and the system calls that
//! its work takes.
//!
//! The attacker is a guest that has broken out of the machine and executes what it likes in the
//! lab's process. [`enter`] is the last thing before the guest's first instruction, when sockets
//! are bound, passt runs and images are open; it cannot be undone, and forks of the process inherit
//! it. `paths` says which files (landlock), `syscalls` which system calls (seccomp), `limits` how
//! much. What is deliberately not here: which paths a lab needs, which is the process's to know.
//!
//! What stays possible: names, sizes and dates of any file of the user can be looked at (landlock
//! does not hide them), CPU time and memory can be used up, and what the machine itself may do can
//! be done, network included. Twins of the same machine share its annex, and so reach each other,
//! unless each is somebody else's ([`narrow`]).

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod caught;
mod limits;
mod paths;
mod syscalls;

/// How long threads that are about to end may take: what they still do is sync a file.
const THREADS_END_LIMIT: Duration = Duration::from_secs(30);

/// Whether labs lock themselves in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Sandbox {
    /// They do, or do not start.
    #[default]
    On,
    /// They do not: somebody has said so.
    Off,
}

/// Which paths a sandboxed process may still open.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Folders in which everything may be done, but for running programs and making devices.
    pub own: Vec<PathBuf>,
    /// Folders to read and to remove files and folders from.
    pub emptied: Vec<PathBuf>,
    /// Files to write.
    pub written: Vec<PathBuf>,
    /// Files and folders to read. What is not there is left out.
    pub read: Vec<PathBuf>,
    /// Folders below which empty folders may be removed, and nothing else.
    pub tidy: Vec<PathBuf>,
}

/// Why a process cannot be locked in.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The kernel has no landlock, an old one, or does not let it be used.
    #[error(
        "this kernel cannot keep a machine's process from the files of this computer ({0}); use \
         Linux 6.2 or newer with landlock, or --no-sandbox where every guest is trusted"
    )]
    Landlock(String),
    /// The kernel does not filter system calls.
    #[error(
        "this kernel cannot restrict the system calls of a machine's process ({0}); use one with \
         seccomp filters, or --no-sandbox where every guest is trusted"
    )]
    Seccomp(String),
    /// A path of the plan cannot be used.
    #[error("cannot open {} to leave it to the sandbox", path.display())]
    Path {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Only a process of one thread can be locked in: others would go on as they are.
    #[error("{0} threads run that the sandbox would not hold")]
    Threads(usize),
    /// The host's.
    #[error("could not {what} for the sandbox")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },
}

/// Locks this process in for good. Threads of it that are just ending are waited for.
///
/// # Errors
/// See [`SandboxError`]. The process must end then: it may be locked in by half.
pub fn enter(plan: &Plan) -> Result<(), SandboxError> {
    alone()?;
    limits::lower().map_err(|error| SandboxError::Io { what: "lower limits", error })?;
    caught::install().map_err(|error| SandboxError::Io { what: "handle SIGSYS", error })?;
    paths::restrict(plan)?;
    syscalls::restrict()
}

/// Leaves a process that is locked in only these of its paths: a twin that is somebody else's than
/// its original's other twins. It has one thread, as any process just after fork(2).
///
/// # Errors
/// [`SandboxError::Landlock`], [`SandboxError::Path`]. The process must end then.
pub fn narrow(plan: &Plan) -> Result<(), SandboxError> {
    paths::restrict(plan)
}

/// Waits until there is no other thread.
fn alone() -> Result<(), SandboxError> {
    let failed = |error| SandboxError::Io { what: "count threads", error };
    let end = Instant::now() + THREADS_END_LIMIT;
    loop {
        match std::fs::read_dir("/proc/self/task").map_err(failed)?.count() {
            1 => return Ok(()),
            count if Instant::now() >= end => return Err(SandboxError::Threads(count - 1)),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
