//! From a machine's folder to a running lab.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant as WallInstant;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use stackvm_machine::{Machine, MachineConfig};
use thiserror::Error;

use crate::lab::{Lab, LabError};
use crate::machines::spawn::Readiness;
use crate::machines::{self, LOCK_FILE, MachineSpec, MachinesError, Network, SOCKET_FILE};
use crate::machines::{STATE_FILE, spec};
use crate::net_user::{NetError, NetUser};
use crate::protocol::State;
use crate::saved::{self, PowerState};

use super::{Process, say, unix_ns};

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
    #[error("the saved state {} cannot be used: {problem}", path.display())]
    State { path: PathBuf, problem: String },
    #[error("another lab runs the machine in {}", .0.display())]
    Locked(PathBuf),
    #[error("could not {what}: {error}")]
    Io { what: &'static str, error: io::Error },
}

/// Makes the machine in `folder` ready to run.
pub(super) fn start(folder: &Path) -> Result<Process, StartError> {
    let folder = folder.canonicalize().map_err(|error| io_error("find the machine", error))?;
    let lock = lock(&folder)?;
    let signals = signals().map_err(|error| io_error("handle signals", error))?;
    let spec = spec::read(&folder)?;
    // machines/NAME is below the data directory.
    let data = folder.ancestors().nth(2).unwrap_or(&folder);
    let config = configure(&spec, data)?;
    let (lab, clock_is_late) = make_lab(&folder, &spec, config)?;
    let net = match spec.network {
        Network::None => None,
        Network::User => Some(NetUser::start(&spec.forwards)?),
    };
    let listener = crate::socket::listen(&folder.join(SOCKET_FILE));
    Ok(Process {
        listener: listener.map_err(|error| io_error("make the control socket", error))?,
        folder,
        spec,
        lab,
        net,
        signals,
        clients: Vec::new(),
        client_count: 0,
        execs: Default::default(),
        controls: Default::default(),
        control_count: 0,
        state: State::Starting,
        started: WallInstant::now(),
        held: false,
        attended: false,
        clock_is_late,
        _lock: lock,
    })
}

pub(super) fn ready() -> Readiness {
    Readiness::Ready
}

/// The error with all its causes, in a line.
pub(super) fn failure(error: &StartError) -> Readiness {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    Readiness::Failed(message)
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

fn configure(spec: &MachineSpec, data: &Path) -> Result<MachineConfig, StartError> {
    let mut config = spec.machine_config(data)?;
    if spec.seed.is_none() {
        let random =
            getrandom::u64().map_err(|error| io_error("get a seed", io::Error::other(error)))?;
        config.seed = random;
    }
    if spec.rtc_ns.is_none() {
        config.rtc_ns = unix_ns();
    }
    Ok(config)
}

/// The lab, and whether its guest's clock has stood still.
fn make_lab(
    folder: &Path,
    spec: &MachineSpec,
    mut config: MachineConfig,
) -> Result<(Lab, bool), StartError> {
    let path = folder.join(STATE_FILE);
    let unusable = |problem: String| StartError::State { path: path.clone(), problem };
    let Some((header, mut source)) = saved::open(&path).map_err(|e| unusable(e.to_string()))?
    else {
        return Ok((Lab::new(config)?, false));
    };
    let fresh = (config.seed, config.rtc_ns);
    (config.seed, config.rtc_ns) = (header.seed, header.rtc_ns);
    let machine = Machine::restore(&config, &mut source);
    let machine = machine.map_err(|error| unusable(error.to_string()))?;
    if header.power == PowerState::On {
        let mut lab = Lab::with_machine(machine, config);
        let now = lab.now();
        lab.guest().restore(header.guest, now);
        lab.restore_screens(header.screens);
        let late = spec.rtc_ns.is_none();
        return Ok((lab, late));
    }
    (config.seed, config.rtc_ns) = fresh;
    // Virtual time went on since the machine was first switched on; its clock begins now.
    config.rtc_ns = config.rtc_ns.wrapping_sub(machine.now().ns());
    let mut lab = Lab::with_machine(machine, config);
    lab.reset()?;
    // Nobody has seen it off.
    while lab.next_event().is_some() {}
    Ok((lab, false))
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
    let lock = machines::try_lock(&path).map_err(|error| io_error("lock the machine", error))?;
    lock.ok_or_else(|| StartError::Locked(folder.to_owned())).map(Some)
}

/// A socket that becomes readable when a signal asks the lab to end.
fn signals() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}

fn io_error(what: &'static str, error: io::Error) -> StartError {
    StartError::Io { what, error }
}
