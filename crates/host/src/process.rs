//! A lab's process: one machine in real time, its control socket, its network, its folder.
//!
//! One thread in one loop around poll(2): run a slice, hand out what came of it, take what has
//! arrived. The machine's folder decides everything ([`machines`](crate::machines) describes it);
//! the starter holds the folder's lock and passes it on as standard input, and hears on standard
//! output whether the machine has started.
//!
//! A named machine is recorded in its folder all the time, so that the end of this process at any
//! moment loses nothing; when it stops as it should, a last keyframe makes the next start quick. An
//! ephemeral machine's folder goes away.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant as WallInstant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::SigId;
use stackvm_machine::{ConsoleId, Input};

use crate::exec::ExecKey;
use crate::lab::{Actor, Lab, LabEvent, Step};
use crate::machines::{Lifetime, MachineSpec};
use crate::net_user::{NetError, NetUser};
use crate::protocol::{Agent, Event, ExecId, Hello, Power, State, StopReason, Tag, VERSION};
use crate::sandbox::Sandbox;

mod believed;
mod clients;
mod code_use;
mod confine;
mod drawn;
mod ending;
mod fork;
mod import;
mod ledger;
mod make;
mod recording;
mod replayer;
mod requests;
pub mod scripted;
mod share;
mod start;
mod typing;

pub use replayer::replay_main;

use clients::{CLIENTS_MAX, Client, ClientId};
use code_use::CodeUse;
use fork::{Fork, Fresh};
use share::Share;
use start::Begun;
use typing::Typing;

/// How long a new lab waits for somebody to look before it runs: a short program must not be over,
/// and the lab gone, before its starter has connected.
const AUDIENCE: Duration = Duration::from_secs(3);
/// How long clients have to read the last events of a machine that has stopped.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs the lab of the machine in `folder` (`machines/NAME` in the data directory) until it stops;
/// the program's `lab` command. Its guest runs only when the process is locked in as `sandbox` says.
pub fn lab_main(folder: &Path, sandbox: Sandbox) -> ExitCode {
    // A session of its own: the starter's terminal and its signals are not the machine's. It fails
    // only when this is one already.
    let _ = rustix::process::setsid();
    match start::start(folder, sandbox) {
        Ok(Begun::Process(process)) => process.run(),
        Ok(Begun::Over) => {
            start::tell_starter(&start::ready());
            ExitCode::SUCCESS
        }
        Err(error) => {
            start::tell_starter(&start::failure(&error));
            ExitCode::FAILURE
        }
    }
}

/// Wall time after which a recording that could not be written is tried again.
const RETRY_NS: u64 = 1_000_000_000;

/// Who runs a command.
#[derive(Clone, Copy, Debug)]
struct ExecOwner {
    client: ClientId,
    exec: ExecId,
    tag: Tag,
}

struct Process {
    folder: PathBuf,
    /// Where twins and recordings that begin now have their place; `None` without a sandbox.
    annex: Option<PathBuf>,
    /// The data directory, with the images.
    data: PathBuf,
    spec: MachineSpec,
    lab: Lab,
    net: Option<NetUser>,
    listener: UnixListener,
    /// Readable when a signal asks the lab to end.
    signals: UnixStream,
    signal_ids: Vec<SigId>,
    clients: Vec<Client>,
    client_count: u64,
    execs: BTreeMap<ExecKey, ExecOwner>,
    /// Who waits for the agent to have done something.
    controls: BTreeMap<u64, (ClientId, Tag)>,
    control_count: u64,
    code_use: CodeUse,
    share: Share,
    /// Who typed what, so that nothing is typed twice.
    typing: Typing,
    state: State,
    started: WallInstant,
    /// Virtual time stands still for a client that does not read.
    held: bool,
    /// Somebody has attached to a terminal or run a command, or was waited for long enough.
    attended: bool,
    /// The guest's clock stood still while the machine was saved.
    clock_is_late: bool,
    /// When to write again what a recording could not take.
    retry_wall_ns: u64,
    /// Forks that wait for a moment in which no thread works.
    forks: Vec<Fork>,
    /// The processes of forks, to be waited for.
    twins: Vec<OwnedFd>,
    /// What a fresh fork still has to do before it is up.
    fresh: Option<Fresh>,
    /// Holds the lock of the folder while it lives, unless standard input does.
    _lock: Option<std::fs::File>,
}

impl Process {
    fn run(mut self) -> ExitCode {
        if self.fresh.is_none() {
            self.state = State::Running;
        }
        start::tell_starter(&start::ready());
        match self.spec.lifetime {
            Lifetime::Frozen => return self.finish(StopReason::Saved),
            Lifetime::Held => (self.state, self.attended) = (State::Paused, true),
            Lifetime::Ephemeral | Lifetime::Named => {}
        }
        let reason = loop {
            self.fork_when_quiet();
            let step = self.step();
            self.tend_engine();
            let due = self.lab.tend(self.wall_ns()).into_iter().chain(self.code_use.due()).min();
            if let Some(reason) = self.hand_out() {
                break reason;
            }
            if let Some(reason) = self.take_held_requests() {
                break reason;
            }
            self.answer_recordings();
            self.answer_typed();
            self.clients.iter_mut().for_each(Client::flush);
            self.forget_gone();
            if let Some(reason) = self.wait_and_take(step, due) {
                break reason;
            }
        };
        self.finish(reason)
    }

    fn wall_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn step(&mut self) -> Step {
        if !self.attended {
            let until = u64::try_from(AUDIENCE.as_nanos()).unwrap_or(u64::MAX);
            let wall = self.wall_ns();
            let looked_at = |client: &Client| !client.attached.is_empty();
            self.attended =
                wall >= until || !self.execs.is_empty() || self.clients.iter().any(looked_at);
            if !self.attended {
                return Step::Sleep { until_wall_ns: Some(until) };
            }
            self.lab.resume(wall);
        }
        let held = self.clients.iter().any(Client::is_full);
        if self.held && !held && self.state == State::Running {
            let wall = self.wall_ns();
            self.lab.resume(wall);
        }
        self.held = held;
        if matches!(self.state, State::Stalled { .. }) && self.lab.waits_for_recording() {
            return self.retry();
        }
        let runs = matches!(self.state, State::Running | State::Starting);
        if held || !runs {
            self.lab.hold();
            return Step::Sleep { until_wall_ns: None };
        }
        let (started, begun) = (self.started, self.wall_ns());
        if let Some(until) = self.share.rest(begun) {
            return Step::Sleep { until_wall_ns: Some(until) };
        }
        let clock = move || u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let step = self.lab.step(&clock);
        // Becoming a machine of its own is not the guest's idea.
        if step == Step::Ran {
            self.share.ran(begun, self.wall_ns());
        }
        step
    }

    /// Says it if nothing is compiled, and gives compiled code back that hardly anybody uses.
    fn tend_engine(&mut self) {
        if let Some(reason) = self.lab.machine.take_no_compiler() {
            log(&format!("nothing is compiled, so the guest is slower: {reason}"));
        }
        if self.code_use.is_idle(self.wall_ns(), self.lab.machine.retired()) {
            self.lab.machine.forget_code();
            fork::give_memory_back();
        }
    }

    /// Writes again what a recording could not take, once a second.
    fn retry(&mut self) -> Step {
        let wall = self.wall_ns();
        if wall >= self.retry_wall_ns {
            self.retry_wall_ns = wall + RETRY_NS;
            if self.lab.retry(wall) {
                self.set_state(State::Running);
                return Step::Ran;
            }
        }
        Step::Sleep { until_wall_ns: Some(self.retry_wall_ns) }
    }

    /// Gives events to those they concern; the reason if the machine has stopped.
    fn hand_out(&mut self) -> Option<StopReason> {
        while let Some(event) = self.lab.next_event() {
            match event {
                LabEvent::Console { console, bytes } => {
                    let count = bytes.len();
                    let event = Event::Console { console, bytes };
                    for client in &mut self.clients {
                        client.send_console(console, &event, count);
                    }
                }
                LabEvent::Resized { console, size } => {
                    self.tell_attached(console, &Event::Resized { console, size });
                }
                LabEvent::Frame { bytes, .. } => self.send_frame(&bytes),
                LabEvent::Guest(event) => {
                    if let Some(event) = self.fresh_event(event) {
                        self.guest_event(event);
                    }
                }
                LabEvent::PoweredOff { code } => return Some(StopReason::PowerOff { code }),
                LabEvent::Reset => {
                    self.set_state(State::Starting);
                    self.set_state(State::Running);
                }
                LabEvent::Stalled { reason } => {
                    self.retry_wall_ns = self.wall_ns() + RETRY_NS;
                    log(&format!("stalled: {reason}"));
                    self.set_state(State::Stalled { reason });
                }
            }
        }
        None
    }

    /// Sleeps as long as `step` says or until something arrives, and takes it; the reason if the
    /// machine is to stop.
    fn wait_and_take(&mut self, step: Step, due_wall_ns: Option<u64>) -> Option<StopReason> {
        let until = match step {
            Step::Ran => Some(0),
            Step::Sleep { until_wall_ns } => until_wall_ns,
            // Events say why, and have been handed out.
            Step::Stopped => Some(self.retry_wall_ns).filter(|_| self.lab.waits_for_recording()),
        };
        let until = [until, due_wall_ns].into_iter().flatten().min();
        let timeout_ns = until.map(|until| until.saturating_sub(self.wall_ns()));
        let ready = self.poll(timeout_ns);
        let readable = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
        if readable(1) {
            return Some(self.ended_by_signal());
        }
        if ready.iter().any(|flags| !flags.is_empty()) {
            let wall = self.wall_ns();
            if self.state == State::Running && !self.held {
                self.lab.arrive(wall);
            }
        }
        let first_client = 2 + usize::from(self.net.is_some());
        if self.net.is_some() && readable(2) {
            self.take_frames();
        }
        let arrived_clients = self.clients.len();
        let arrived: Vec<ClientId> = (self.clients.iter().enumerate())
            .filter(|(at, _)| readable(first_client + at))
            .map(|(_, client)| client.id)
            .collect();
        for client in arrived {
            if let Some(reason) = self.take_requests(client) {
                return Some(reason);
            }
        }
        if readable(0) {
            self.accept();
        }
        self.reap_twins(ready.get(first_client + arrived_clients..).unwrap_or_default());
        None
    }

    /// Flags of the listener, the signals, the network if there is one, each client and each twin.
    fn poll(&self, timeout_ns: Option<u64>) -> Vec<PollFlags> {
        let flags = |waiting: bool| match waiting {
            true => PollFlags::IN | PollFlags::OUT,
            false => PollFlags::IN,
        };
        let mut fds = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        if let Some(net) = &self.net {
            fds.push(PollFd::from_borrowed_fd(net.as_fd(), flags(net.is_waiting())));
        }
        for client in &self.clients {
            fds.push(PollFd::new(&client.stream, flags(client.is_waiting())));
        }
        fds.extend(self.twins.iter().map(|twin| PollFd::new(twin, PollFlags::IN)));
        let timeout = timeout_ns.map(|ns| Timespec {
            tv_sec: (ns / 1_000_000_000) as i64,
            tv_nsec: (ns % 1_000_000_000) as i64,
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => fds.iter().map(PollFd::revents).collect(),
            // A signal: its pipe is readable next time. Nothing else is possible here that would
            // not pass.
            Err(_) => Vec::new(),
        }
    }

    fn accept(&mut self) {
        // One at a time; poll says when there are more.
        let Ok((stream, _)) = self.listener.accept() else { return };
        if self.clients.len() >= CLIENTS_MAX || !crate::socket::is_ours(&stream) {
            return;
        }
        self.client_count += 1;
        let Ok(mut client) = Client::new(ClientId(self.client_count), stream) else { return };
        client.send(&Event::Hello(Hello {
            version: VERSION,
            name: self.spec.name.clone(),
            state: self.state.clone(),
            agent: self.agent(),
            consoles: self.lab.consoles(),
        }));
        self.clients.push(client);
    }

    fn agent(&mut self) -> Agent {
        if self.lab.guest().is_up() { Agent::Up } else { Agent::Absent }
    }

    fn take_frames(&mut self) {
        let Some(net) = &mut self.net else { return };
        match net.transfer() {
            Ok(frames) => {
                for bytes in frames {
                    let nic = stackvm_machine::NicId(0);
                    self.lab.put(&Actor::Host, Input::Frame { nic, bytes });
                }
            }
            Err(error) => self.net_ended(&error),
        }
    }

    fn send_frame(&mut self, frame: &[u8]) {
        if let Some(Err(error)) = self.net.as_mut().map(|net| net.send(frame)) {
            self.net_ended(&error);
        }
    }

    fn net_ended(&mut self, error: &NetError) {
        log(&format!("{error}"));
        self.net = None;
        self.tell_all(&Event::Notice { message: error.to_string() });
    }

    fn tell_all(&mut self, event: &Event) {
        self.clients.iter_mut().for_each(|client| client.send(event));
    }

    fn tell_attached(&mut self, console: ConsoleId, event: &Event) {
        let attached = self.clients.iter_mut().filter(|client| client.attached.contains(&console));
        attached.for_each(|client| client.send(event));
    }

    fn set_state(&mut self, state: State) {
        self.state = state.clone();
        self.tell_all(&Event::State(state));
    }

    fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.id == id)
    }

    /// Hangs up the commands of clients that are gone.
    fn forget_gone(&mut self) {
        let (gone, here) = std::mem::take(&mut self.clients).into_iter().partition(Client::is_gone);
        self.clients = here;
        let gone: Vec<Client> = gone;
        let now = self.lab.now();
        for exec in gone.iter().flat_map(|client| client.execs.values()) {
            self.execs.remove(&exec.key);
            self.lab.guest().abandon(exec.key, now);
        }
    }

    fn power(&mut self, id: ClientId, power: Power) -> Result<Option<StopReason>, String> {
        match power {
            Power::Kill => return Ok(Some(StopReason::Killed)),
            Power::Reset => {
                let actor = self.actor(id);
                self.lab.reset(&actor);
            }
            Power::Pause if self.state == State::Running => {
                self.lab.hold();
                self.set_state(State::Paused);
            }
            Power::Resume if self.state != State::Running => {
                let wall = self.wall_ns();
                self.lab.resume(wall);
                self.set_state(State::Running);
            }
            // It is as asked already. Shutdown is the agent's.
            Power::Pause | Power::Resume | Power::Shutdown => {}
        }
        Ok(None)
    }
}

/// The host's time, in nanoseconds since 1970.
pub(crate) fn unix_ns() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
}

/// Writes a line to the machine's log, for which the disk may have no room.
fn log(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Writes to a standard stream, of which the reader may be gone.
fn say(words: &str) {
    let mut stdout = std::io::stdout().lock();
    // A starter that does not listen any more needs no answer.
    let _ = stdout.write_all(words.as_bytes());
    let _ = stdout.flush();
}
