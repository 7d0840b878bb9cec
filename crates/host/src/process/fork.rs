//! Forking the machine into a process of its own, with fork(2).
//!
//! The child shares every page of guest memory that was frozen, and this process's own memory until
//! either side writes; it lets go of all that is the original's (clients, sockets, recordings,
//! network), takes its own folder and goes on in the same loop. The original stands still only for
//! the freeze and the system call.
//!
//! fork(2) copies one thread. It is called only while no other thread of a recording's works: what
//! such a thread holds would be held for ever in the child.

#![expect(unsafe_code, reason = "fork(2), and closing what it copied")]

use std::fs::{self, File};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as WallInstant};

use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Resource, WaitId, WaitIdOptions};
use stackvm_machine::{Frozen, Input};

use super::clients::ClientId;
use super::requests::Refusal;
use super::share::Share;
use super::start::{self, StartError};
use super::typing::Typing;
use super::{Process, confine, log, make, unix_ns};
use crate::exec::ExecKey;
use crate::guest::GuestEvent;
use crate::lab::{Actor, FRESH_SCRIPT};
use crate::machines::{self, JOURNAL_FOLDER, LOCK_FILE, LOG_FILE, Lifetime, MachineSpec, Network};
use crate::machines::{SOCKET_FILE, SPEC_FILE, STAGED_SPEC_FILE, spec};
use crate::net_user::NetUser;
use crate::protocol::{ExecSpec, ForkKind, Reply, State, Stdin, Stream, Tag};

/// The number of the clock's setting among the agent's answers.
const CLOCK: u64 = u64::MAX;
/// Most open files that are looked at; a sandboxed process has fewer.
const FILES_MAX: u64 = 1 << 16;

/// A fork that was asked for.
pub(super) struct Fork {
    client: ClientId,
    tag: Tag,
    folder: PathBuf,
    kind: ForkKind,
}

/// What a fresh fork does before it is up.
pub(super) enum Fresh {
    /// Waits for the agent.
    Agent { rtc_ns: u64 },
    /// Sets the clock.
    Clock,
    /// Runs the script.
    Script { key: ExecKey, words: Vec<u8> },
}

/// The twin's own, made before the original stands still.
struct Twin {
    folder: PathBuf,
    spec: MachineSpec,
    lock: File,
    kind: ForkKind,
}

impl Process {
    pub(super) fn ask_fork(
        &mut self,
        client: ClientId,
        tag: Tag,
        folder: PathBuf,
        kind: ForkKind,
    ) -> Result<(), Refusal> {
        self.check_place(&folder)?;
        if self.lab.waits_for_recording() {
            return Err("the machine waits for space on the disk".into());
        }
        // One that is held is branched off as a moment is: its guest becomes what it can.
        let needs_agent = kind == ForkKind::Fresh && self.spec.lifetime != Lifetime::Held;
        if needs_agent && !self.lab.guest().has_agent_port() {
            return Err("a fresh fork needs the guest's agent; fork it exactly instead".into());
        }
        self.forks.push(Fork { client, tag, folder, kind });
        Ok(())
    }

    /// Does the forks that were asked for, unless a thread works just now.
    pub(super) fn fork_when_quiet(&mut self) {
        if self.forks.is_empty() || !self.lab.recorders().is_quiet() {
            return;
        }
        for Fork { client, tag, folder, kind } in std::mem::take(&mut self.forks) {
            let begun = WallInstant::now();
            let twin = match Twin::prepare(&folder, kind).and_then(|twin| self.check_net(twin)) {
                Ok(twin) => twin,
                Err(message) => {
                    self.reply(client, tag, Reply::Failed { message });
                    continue;
                }
            };
            let prepared = WallInstant::now();
            match self.split(twin) {
                Ok(Side::Original { freeze }) => {
                    let (prepare, all) = (prepared - begun, begun.elapsed());
                    self.reply(client, tag, Reply::Done);
                    let us = |time: Duration| time.as_micros();
                    log(&format!(
                        "forked; stood still for {} us: folder {}, freeze {}, fork(2) {}",
                        us(all),
                        us(prepare),
                        us(freeze),
                        us(all.saturating_sub(prepare + freeze))
                    ));
                    // After the pause that was asked for: the freezes of many forks add up.
                    self.lab.machine.give_back_when_due();
                }
                // The rest is the original's to do.
                Ok(Side::Twin) => return,
                Err(error) => {
                    let message = format!("could not fork the machine's process: {error}");
                    self.reply(client, tag, Reply::Failed { message });
                }
            }
        }
    }

    /// No program is run from the sandbox, passt neither.
    fn check_net(&self, twin: Twin) -> Result<Twin, Refusal> {
        if twin.spec.network == Network::User && self.annex.is_some() {
            return Err("a machine with a network cannot be forked in its sandbox; start it with \
                        --no-sandbox if its guest is trusted"
                .into());
        }
        Ok(twin)
    }

    /// Reaps the twins that have ended; `ready` are poll's flags of each.
    pub(super) fn reap_twins(&mut self, ready: &[rustix::event::PollFlags]) {
        let mut ready = ready.iter();
        self.twins.retain(|twin| {
            if ready.next().is_none_or(|flags| flags.is_empty()) {
                return true;
            }
            let id = WaitId::PidFd(std::os::fd::AsFd::as_fd(twin));
            // It has ended, so there is nothing to wait for.
            let _ = rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            false
        });
    }

    fn split(&mut self, twin: Twin) -> io::Result<Side> {
        let begun = WallInstant::now();
        let frozen = self.lab.machine.freeze();
        let freeze = begun.elapsed();
        // SAFETY: no thread works for a recording now (`is_quiet`), and a thread that syncs holds
        // nothing but locks of the allocator, which fork(2) takes and gives back in both. The
        // child uses no lock of the original's recordings: it forgets them.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                if let Err(error) = self.become_twin(twin, &frozen) {
                    log(&format!("the fork could not go on: {error}"));
                    std::process::exit(1);
                }
                Ok(Side::Twin)
            }
            child => {
                // Without a descriptor it stays a zombie until this process ends: harmless.
                let pid = Pid::from_raw(child);
                let child = pid.map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
                self.twins.extend(child.and_then(Result::ok));
                Ok(Side::Original { freeze })
            }
        }
    }

    /// In the child: lets go of everything of the original's, and takes what is its own.
    fn become_twin(&mut self, twin: Twin, frozen: &Frozen) -> Result<(), StartError> {
        let _ = rustix::process::setsid();
        self.let_go(&twin)?;
        let is_somebody_elses = self.spec.lifetime == Lifetime::Held;
        let Twin { folder, spec, lock, kind } = twin;
        self.lab.become_twin(frozen);
        // A guest that breaks out of its machine is in this process, and no further.
        let left = frozen.ram().leave_to_original();
        left.map_err(|error| StartError::io("leave the original its memory", error))?;
        (self.folder, self.spec, self._lock) = (folder, spec, Some(lock));
        (self.signals, self.signal_ids) =
            start::signals().map_err(|error| StartError::io("handle signals", error))?;
        self.started = WallInstant::now();
        (self.held, self.attended, self.clock_is_late) = (false, true, false);
        self.share = Share::new(self.spec.cpu_percent);
        self.listener = crate::socket::listen(&self.folder.join(SOCKET_FILE))
            .map_err(|error| StartError::io("make the control socket", error))?;
        if self.spec.network == Network::User {
            self.net = Some(NetUser::start(&self.spec.forwards)?);
        }
        if self.state != State::Paused || kind == ForkKind::Fresh {
            self.state = State::Running;
        }
        let journal = self.folder.join(JOURNAL_FOLDER);
        let own = (self.spec.lifetime == Lifetime::Named).then_some(journal);
        let begun = own.into_iter().chain(self.spec.record.clone());
        make::record(&mut self.lab, &self.spec, &self.data, begun)?;
        self.typing = start::typing(&self.folder, &self.spec, &mut self.lab)?;
        start::keep_history(&self.folder, &self.spec, &mut self.lab);
        if kind == ForkKind::Fresh {
            let (seed, rtc_ns) = (make::random()?, unix_ns());
            self.lab.put(&Actor::Host, Input::Identity { seed, rtc_ns });
            if self.lab.guest().has_agent_port() {
                self.state = State::Starting;
                self.fresh = Some(Fresh::Agent { rtc_ns });
            }
        }
        give_memory_back();
        if is_somebody_elses && self.annex.is_some() {
            confine::narrow(&self.folder, &self.spec, &self.data)?;
        }
        Ok(())
    }

    /// Closes the child's copies of the original's descriptors.
    fn let_go(&mut self, twin: &Twin) -> Result<(), StartError> {
        self.signal_ids.drain(..).for_each(|id| {
            signal_hook::low_level::unregister(id);
        });
        self.clients.clear();
        self.execs.clear();
        self.controls.clear();
        self.forks.clear();
        self.twins.clear();
        self.fresh = None;
        self.typing = Typing::default();
        if let Some(net) = self.net.take() {
            net.leave();
        }
        // Dropping them would write to the original's files, or wait for its threads.
        std::mem::forget(std::mem::take(self.lab.recorders()));
        let standard = || -> io::Result<()> {
            let null = File::options().read(true).write(true).open("/dev/null")?;
            rustix::stdio::dup2_stdin(&null)?;
            let log = twin.folder.join(LOG_FILE);
            rustix::stdio::dup2_stderr(File::options().create(true).append(true).open(log)?)?;
            Ok(())
        };
        standard().map_err(|error| StartError::io("open the log", error))?;
        let files = written_files().map_err(|error| StartError::io("look at files", error))?;
        for fd in files {
            if fd != std::os::fd::AsRawFd::as_raw_fd(&twin.lock) {
                // SAFETY: these are files opened for writing that are no memory of the machine's:
                // the recordings', whose owners were forgotten above and will not close them.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        Ok(())
    }

    /// Gets a fresh fork on; gives back events that are not about that.
    pub(super) fn fresh_event(&mut self, event: GuestEvent) -> Option<GuestEvent> {
        let Some(fresh) = &mut self.fresh else { return Some(event) };
        let now = self.lab.machine.now();
        let failed = match (fresh, &event) {
            (Fresh::Agent { rtc_ns }, GuestEvent::Up) => {
                let asked = self.lab.guest.set_time(*rtc_ns, CLOCK, now);
                self.fresh = Some(Fresh::Clock);
                asked.err().map(|error| error.to_string())
            }
            (Fresh::Clock, GuestEvent::Controlled { token: CLOCK, result }) => {
                let argv = ["sh", "-c", FRESH_SCRIPT, "sh", &self.spec.name].map(str::to_owned);
                let argv = argv.to_vec();
                let spec = ExecSpec { argv, env: Vec::new(), tty: None, stdin: Stdin::Null };
                match (result, self.lab.guest.exec(&spec, now)) {
                    (Ok(()), Ok(key)) => {
                        self.fresh = Some(Fresh::Script { key, words: Vec::new() });
                        return None;
                    }
                    (Err(error), _) => Some(error.to_string()),
                    (_, Err(error)) => Some(error.to_string()),
                }
            }
            (Fresh::Script { key, words }, GuestEvent::Output { key: of, stream, bytes })
                if key == of =>
            {
                if *stream == Stream::Stderr && words.len() < 1000 {
                    words.extend(bytes);
                }
                return None;
            }
            (Fresh::Script { key, words }, GuestEvent::Exited { key: of, code }) if key == of => {
                let words = String::from_utf8_lossy(words).trim().to_owned();
                if *code == 0 {
                    self.fresh = None;
                    self.set_state(State::Running);
                    self.code_use.look_soon(self.wall_ns(), self.lab.machine.retired());
                    return None;
                }
                Some(format!("code {code}: {words}"))
            }
            (Fresh::Script { key, .. }, GuestEvent::Started(of)) if key == of => return None,
            (Fresh::Script { key, .. }, GuestEvent::Failed { key: of, error }) if key == of => {
                Some(error.to_string())
            }
            (Fresh::Script { key, .. }, GuestEvent::Lost { key: of, error }) if key == of => {
                Some(error.to_string())
            }
            _ => return Some(event),
        };
        if let Some(problem) = failed {
            self.fresh = None;
            let message =
                format!("the fork's guest could not become a machine of its own: {problem}");
            log(&message);
            self.tell_all(&crate::protocol::Event::Notice { message });
            self.set_state(State::Running);
        }
        // Others want to know of the agent, too.
        matches!(event, GuestEvent::Up).then_some(event)
    }
}

/// On which side of fork(2) one is.
enum Side {
    Original {
        /// How long the freeze took.
        freeze: Duration,
    },
    Twin,
}

impl Twin {
    /// Takes the folder that whoever asks for the fork has made: its spec is there under another
    /// name until the lock is held, so that nobody takes it for one left behind.
    fn prepare(folder: &Path, kind: ForkKind) -> Result<Twin, Refusal> {
        let problem = |what: &str, error: io::Error| {
            format!("could not {what} {}: {error}", folder.display())
        };
        let lock = machines::try_lock(&folder.join(LOCK_FILE));
        let lock = lock.map_err(|error| problem("lock", error))?;
        let Some(lock) = lock else {
            return Err(format!("{} is another machine's", folder.display()));
        };
        fs::rename(folder.join(STAGED_SPEC_FILE), folder.join(SPEC_FILE))
            .map_err(|error| problem("begin a machine in", error))?;
        let spec = spec::read(folder).map_err(|error| error.to_string())?;
        spec.check_forwards().map_err(|error| error.to_string())?;
        Ok(Twin { folder: folder.to_owned(), spec, lock, kind })
    }
}

/// Gives the host what was allocated and is free: every fork(2) looks after it.
pub(super) fn give_memory_back() {
    // SAFETY: takes no pointers; it only gives free memory back.
    unsafe { libc::malloc_trim(0) };
}

/// This process's open files that may be written, but for the standard ones and memory.
fn written_files() -> io::Result<Vec<RawFd>> {
    let mut files = Vec::new();
    // Each number is tried: the sandbox lets nobody list a folder of /proc. The kernel gives out the
    // lowest free number, so there are few beyond those in use.
    let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(FILES_MAX);
    for fd in 3..RawFd::try_from(most.min(FILES_MAX)).unwrap_or(RawFd::MAX) {
        let Ok(to) = fs::read_link(format!("/proc/self/fd/{fd}")) else { continue };
        let is_memory = to.as_os_str().as_encoded_bytes().starts_with(b"/memfd:");
        if is_memory || !to.is_absolute() {
            continue;
        }
        // SAFETY: it is open: it was looked at just now, and this process has one thread.
        let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
        let flags = rustix::fs::fcntl_getfl(borrowed)?;
        if flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
            files.push(fd);
        }
    }
    Ok(files)
}
