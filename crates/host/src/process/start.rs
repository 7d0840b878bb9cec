//! From a machine's folder to a running lab.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant as WallInstant;

use signal_hook::SigId;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use stackvm_timeline::journal::{CutError, JournalError};
use thiserror::Error;

use super::code_use::CodeUse;
use super::confine::confine;
use super::fork::Fresh;
use super::import;
use super::make::{self, Made};
use super::share::Share;
use super::typing::Typing;
use super::{Process, say};
use crate::lab::{Lab, LabError};
use crate::machines::spawn::Readiness;
use crate::machines::spec;
use crate::machines::{
    self, JOURNAL_FOLDER, LOCK_FILE, Lifetime, MachineSpec, MachinesError, Network, SOCKET_FILE,
};
use crate::net_user::{NetError, NetUser};
use crate::protocol::State;
use crate::recorder::HeaderError;
use crate::sandbox::{Sandbox, SandboxError};

/// Why a lab did not start.
#[derive(Debug, Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Machines(#[from] MachinesError),
    #[error(transparent)]
    Spec(#[from] spec::SpecError),
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the machine's recording cannot be used")]
    Recording(#[from] JournalError),
    #[error("the recording cannot be used: {0}")]
    Foreigner(String),
    #[error("the other machine's past cannot be taken over")]
    Past(#[from] CutError),
    #[error("the recording {} cannot be used: {problem}", path.display())]
    Journal { path: PathBuf, problem: String },
    #[error(
        "the journal {} names {}, which is no file of this machine's; it was changed by somebody \
         who must not: remove the machine, or make another from an earlier recording",
        journal.display(), path.display()
    )]
    Foreign { journal: PathBuf, path: PathBuf },
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("{0}")]
    CannotRecord(String),
    #[error("another lab runs the machine in {}", .0.display())]
    Locked(PathBuf),
    #[error("could not {what}: {error}")]
    Io { what: &'static str, error: io::Error },
}

impl StartError {
    pub(super) fn io(what: &'static str, error: io::Error) -> StartError {
        StartError::Io { what, error }
    }
}

/// What became of a start.
pub(super) enum Begun {
    /// There is a machine.
    Process(Box<Process>),
    /// All there was to do is done.
    Over,
}

/// Makes the machine in `folder` ready to run, locked in if `sandbox` says so.
pub(super) fn start(folder: &Path, sandbox: Sandbox) -> Result<Begun, StartError> {
    let find = |path: &Path| {
        path.canonicalize().map_err(|error| StartError::io("find the machine", error))
    };
    // machines/NAME is below the data directory, and a link if the machine began as a twin.
    let folder =
        std::path::absolute(folder).map_err(|error| StartError::io("find the machine", error))?;
    let data = find(folder.ancestors().nth(2).unwrap_or(&folder))?;
    let spec = spec::read(&folder)?;
    let folder = find(&folder)?;
    let lock = lock(&folder)?;
    if let Some(file) = import::file(&spec) {
        import::import(&folder, &spec, file, sandbox)?;
        return Ok(Begun::Over);
    }
    let (signals, signal_ids) =
        signals().map_err(|error| StartError::io("handle signals", error))?;
    let Made { mut lab, clock_is_late, fresh_rtc_ns, needs_addresses } =
        make::make(&folder, &spec, &data)?;
    let typing = typing(&folder, &spec, &mut lab)?;
    let mut net = match spec.network {
        Network::None => None,
        Network::User => Some(NetUser::start(&spec.forwards)?),
    };
    if let Some(net) = net.as_mut().filter(|_| needs_addresses) {
        lab.become_reachable(net)?;
    }
    keep_history(&folder, &spec, &mut lab);
    let agent = lab.guest().has_agent_port();
    let fresh = fresh_rtc_ns.filter(|_| agent && spec.lifetime.runs());
    let fresh = fresh.map(|rtc_ns| Fresh::Agent { rtc_ns });
    let listener = crate::socket::listen(&folder.join(SOCKET_FILE));
    let listener = listener.map_err(|error| StartError::io("make the control socket", error))?;
    let annex = match sandbox {
        Sandbox::On => Some(confine(&folder, &spec, &data, &mut lab)?),
        Sandbox::Off => None,
    };
    let share = Share::new(spec.cpu_percent);
    Ok(Begun::Process(Box::new(Process {
        listener,
        folder,
        annex,
        data,
        spec,
        lab,
        net,
        signals,
        signal_ids,
        clients: Vec::new(),
        client_count: 0,
        execs: Default::default(),
        controls: Default::default(),
        control_count: 0,
        typing,
        state: State::Starting,
        started: WallInstant::now(),
        held: false,
        attended: false,
        clock_is_late,
        retry_wall_ns: 0,
        code_use: CodeUse::default(),
        share,
        forks: Vec::new(),
        twins: Vec::new(),
        fresh,
        _lock: lock,
    })))
}

/// What was typed at the machine by now, as far as it is kept.
pub(super) fn typing(
    folder: &Path,
    spec: &MachineSpec,
    lab: &mut Lab,
) -> Result<Typing, StartError> {
    match lab.recorders().next_entry().filter(|_| spec.lifetime == Lifetime::Named) {
        Some(next) => {
            Typing::kept(folder, next).map_err(|error| StartError::io("keep what is typed", error))
        }
        None => Ok(Typing::default()),
    }
}

/// Has the machine's own journal keep as much as is to be kept.
pub(super) fn keep_history(folder: &Path, spec: &MachineSpec, lab: &mut Lab) {
    if spec.lifetime == Lifetime::Named {
        lab.recorders().keep(&folder.join(JOURNAL_FOLDER), spec.keep);
    }
}

pub(super) fn ready() -> Readiness {
    Readiness::Ready
}

/// The error with all its causes, in a line.
pub(super) fn failure(error: &StartError) -> Readiness {
    Readiness::Failed(in_a_line(error))
}

/// An error with all its causes.
pub(super) fn in_a_line(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    message
}

/// Says the one line, and lets go of standard output: its end is what the starter waits for.
pub(super) fn tell_starter(readiness: &Readiness) {
    if let Ok(mut line) = serde_json::to_string(readiness) {
        line.push('\n');
        say(&line);
    }
    let null = std::fs::File::options().write(true).open("/dev/null");
    // Without it the starter waits for the process's end, so that must come.
    if null.and_then(|null| Ok(rustix::stdio::dup2_stdout(&null)?)).is_err() {
        std::process::exit(1);
    }
}

/// Takes the folder's lock, unless the starter has passed it on as standard input.
fn lock(folder: &Path) -> Result<Option<std::fs::File>, StartError> {
    let path = folder.join(LOCK_FILE);
    let ours = rustix::fs::fstat(rustix::stdio::stdin());
    let file = rustix::fs::stat(&path);
    if let (Ok(ours), Ok(file)) = (ours, file)
        && (ours.st_dev, ours.st_ino) == (file.st_dev, file.st_ino)
    {
        return Ok(None);
    }
    let lock =
        machines::try_lock(&path).map_err(|error| StartError::io("lock the machine", error))?;
    lock.ok_or_else(|| StartError::Locked(folder.to_owned())).map(Some)
}

/// A socket that becomes readable when a signal asks the lab to end, and how to let go of the
/// signals.
pub(super) fn signals() -> io::Result<(UnixStream, Vec<SigId>)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut ids = Vec::new();
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        ids.push(signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?);
    }
    // A file that may not grow any more is an error of the write, as a full disk is.
    ids.push(signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?);
    Ok((ours, ids))
}
