//! The machine after a break-in: it has left its recording, runs in this process on a thread of its
//! own, and is recorded as a new branch. It speaks the control protocol as every lab does, so that
//! the session with it is an ordinary one.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use stackvm_host::break_in::{BreakIn, NewBranch, actor};
use stackvm_host::lab::{Actor, LabEvent, Step};
use stackvm_host::protocol::{
    Agent, Command, Event, Hello, Picture, RecordingAction, Reply, Request, Size, State,
    StopReason, Tag, VERSION,
};
use stackvm_machine::{ConsoleId, Input};
use stackvm_timeline::branch::BranchKind;
use stackvm_timeline::journal::Journal;
use stackvm_timeline::note::Words;
use stackvm_timeline::replay::Departure;
use stackvm_timeline::screen::{DEFAULT_SIZE, ScreenKind, Screens};
use tokio::sync::{mpsc, oneshot};

use crate::session::{Link, Peer};

/// The longest the thread sleeps when it waits for the host to be cured.
const CURE: Duration = Duration::from_millis(500);

/// What the thread is told.
enum Order {
    Ask(Request),
    Rename(String),
    Finish,
}

/// A machine that has left its recording.
pub(crate) struct Live {
    orders: Sender<Order>,
    done: oneshot::Receiver<Result<()>>,
}

/// What is done with the machine, on the thread that has it.
pub(crate) type Go = Box<dyn FnOnce(Departure) + Send>;

/// How a machine is to be broken into.
pub(crate) struct Entrance {
    /// The new branch.
    pub(crate) branch: NewBranch,
    /// Names that other branches have.
    pub(crate) taken: Vec<String>,
    /// The terminal to be at.
    pub(crate) console: ConsoleId,
    /// The size of this terminal.
    pub(crate) size: Option<Size>,
}

impl Live {
    /// Prepares to let a machine leave, with everything that happens to it going into `journal`.
    /// Its first input is this terminal's size. The session can begin as soon as [`Go`] is called;
    /// if it never is, [`Live::finish`] says so.
    pub(crate) fn new(journal: Journal, entrance: Entrance) -> (Link, Live, Go) {
        let (link, peer) = Link::inside(Hello {
            version: VERSION,
            name: entrance.branch.name.clone(),
            state: State::Running,
            agent: Agent::Absent,
            consoles: vec![entrance.console],
        });
        let (orders, receiver) = channel();
        let Peer { events, mut requests } = peer;
        let forward = orders.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                if forward.send(Order::Ask(request)).is_err() {
                    return;
                }
            }
        });
        let (result, done) = oneshot::channel();
        let go = Box::new(move |departure| {
            let worked = Work::new(departure, journal, entrance, events, receiver);
            // Whoever broke in may have been ended meanwhile.
            let _ = result.send(worked.and_then(Work::run));
        });
        (link, Live { orders, done }, go)
    }

    /// Gives the branch another name, at the end.
    pub(crate) fn renaming(&self) -> impl Fn(String) + use<> {
        let orders = self.orders.clone();
        move |name| {
            // A machine that is gone has no use for a name.
            let _ = orders.send(Order::Rename(name));
        }
    }

    /// Ends the branch and lets its journal go.
    pub(crate) async fn finish(self) -> Result<()> {
        let _ = self.orders.send(Order::Finish);
        self.done.await.unwrap_or_else(|_| Err(anyhow!("breaking in is not possible here")))
    }
}

/// What draws the terminal as it was left, on this one.
fn picture(departure: &Departure, entrance: &Entrance) -> Picture {
    let mut screens = Screens::from_derived(&departure.derived);
    if let Some(Size { columns, rows }) = entrance.size {
        let console = entrance.console;
        screens.event(&stackvm_timeline::Event::Input(Input::Resize { console, columns, rows }));
    }
    let screen = screens.get(entrance.console);
    let dump = screen.map(|screen| screen.dump()).unwrap_or_default();
    // What was on this terminal before goes up, not away.
    let rows = entrance.size.map_or(0, |size| usize::from(size.rows));
    let full_screen = screen.is_some_and(|screen| screen.kind() == ScreenKind::Alternate);
    // Over the first line until something is drawn there; a full-screen program needs all of it.
    let banner = if full_screen { String::new() } else { banner(&entrance.branch.name) };
    let drawn = format!("{}\x1b[H\x1b[2J{dump}{banner}", "\n".repeat(rows)).into_bytes();
    let (columns, rows) = screen.map_or(DEFAULT_SIZE, |screen| screen.size());
    Picture {
        size: Size { columns, rows },
        history: Vec::new(),
        screen: drawn,
        instant_ticks: departure.machine.now().ticks(),
    }
}

fn banner(branch: &str) -> String {
    let words = format!("the keyboard is the machine's, on {branch}; Ctrl-] opens a menu");
    format!("\x1b7\x1b[1;1H\x1b[0;7m[stackvm] {words}\x1b[0m\x1b[K\x1b8")
}

struct Work {
    break_in: BreakIn,
    events: mpsc::Sender<Event>,
    orders: Receiver<Order>,
    me: Actor,
    picture: Picture,
    rename: Rename,
    size: Option<Size>,
    start: Instant,
    stopped: bool,
}

/// The branch's name, as somebody wants it.
struct Rename {
    folder: std::path::PathBuf,
    taken: Vec<String>,
    name: Option<String>,
}

impl Work {
    fn new(
        departure: Departure,
        journal: Journal,
        entrance: Entrance,
        events: mpsc::Sender<Event>,
        orders: Receiver<Order>,
    ) -> Result<Work> {
        let folder = journal.folder().to_owned();
        let picture = picture(&departure, &entrance);
        let (console, size, kind) = (entrance.console, entrance.size, entrance.branch.kind);
        let me = actor(&entrance.branch.author);
        let rename = Rename { folder, taken: entrance.taken, name: None };
        let break_in = BreakIn::new(departure, journal, &entrance.branch)?;
        let (start, stopped) = (Instant::now(), false);
        let mut work =
            Work { break_in, events, orders, me, picture, rename, size: None, start, stopped };
        if let Some(size) = size {
            work.resize(console, size);
        }
        if kind == BranchKind::Fresh {
            work.become_fresh();
        }
        Ok(work)
    }

    /// Makes it a machine of its own; one that cannot be is said to be the same.
    fn become_fresh(&mut self) {
        if let Err(problem) = self.break_in.become_fresh() {
            let message = format!("it keeps its old identity: {problem}");
            self.tell(Event::Notice { message });
        }
    }

    fn run(mut self) -> Result<()> {
        loop {
            let wait = self.step();
            let order = match wait {
                Some(wait) => self.orders.recv_timeout(wait),
                None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
            }
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Finish) | Err(TryRecvError::Disconnected) => return self.finish(),
                    Ok(order) => self.obey(order),
                    Err(TryRecvError::Empty) => break,
                }
            }
        }
        self.finish()
    }

    /// Does what is due; how long there is nothing to do then.
    fn step(&mut self) -> Option<Duration> {
        let start = self.start;
        let clock = move || start.elapsed().as_nanos() as u64;
        let step = if self.stopped { Step::Stopped } else { self.break_in.lab().step(&clock) };
        let due = self.break_in.tend(clock());
        self.pass_on();
        let until = match step {
            Step::Ran => return Some(Duration::ZERO),
            Step::Sleep { until_wall_ns } => until_wall_ns,
            Step::Stopped => {
                if !self.stopped && self.break_in.lab().waits_for_recording() {
                    self.break_in.lab().retry(clock());
                    Some(clock() + CURE.as_nanos() as u64)
                } else {
                    None
                }
            }
        };
        let next = [until, due].into_iter().flatten().min()?;
        Some(Duration::from_nanos(next.saturating_sub(clock())))
    }

    fn wall_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Passes on what has happened in the machine.
    fn pass_on(&mut self) {
        while let Some(event) = self.break_in.lab().next_event() {
            let event = match event {
                LabEvent::Console { console, bytes } => Event::Console { console, bytes },
                LabEvent::PoweredOff { code } => {
                    self.stopped = true;
                    Event::State(State::Stopped(StopReason::PowerOff { code }))
                }
                LabEvent::Stalled { reason } => Event::State(State::Stalled { reason }),
                // Nobody asks the guest anything here, and no frame goes anywhere.
                LabEvent::Reset
                | LabEvent::Resized { .. }
                | LabEvent::Guest(_)
                | LabEvent::Frame { .. } => continue,
            };
            self.tell(event);
        }
    }

    fn tell(&self, event: Event) {
        // The session may have just ended.
        let _ = self.events.blocking_send(event);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Ask(Request { tag, command }) => self.answer(tag, command),
            Order::Rename(name) => {
                let message = match self.rename.set(name) {
                    Ok(name) => format!("this branch will be {name}"),
                    Err(problem) => problem,
                };
                self.tell(Event::Notice { message });
            }
            Order::Finish => {}
        }
    }

    fn answer(&mut self, tag: Tag, command: Command) {
        let reply = match command {
            Command::Attach { .. } => {
                Reply::Attached { picture: self.picture.clone(), size: self.size }
            }
            Command::Type { console, bytes } => {
                let wall = self.wall_ns();
                self.break_in.lab().arrive(wall);
                self.break_in.lab().put(&self.me, Input::Console { console, bytes });
                return;
            }
            Command::Resize { console, size } => return self.resize(console, size),
            Command::Recording { action, .. } => match self.recording(action) {
                Ok(()) => Reply::Done,
                Err(message) => Reply::Failed { message },
            },
            Command::Name { .. } => Reply::Done,
            _ => Reply::Failed { message: "not possible in a recording's branch".to_owned() },
        };
        self.tell(Event::Reply { tag, reply });
    }

    fn resize(&mut self, console: ConsoleId, size: Size) {
        if self.size == Some(size) {
            return;
        }
        self.size = Some(size);
        let wall = self.wall_ns();
        let Size { columns, rows } = size;
        self.break_in.lab().arrive(wall);
        self.break_in.lab().put(&self.me, Input::Resize { console, columns, rows });
    }

    fn recording(&mut self, action: RecordingAction) -> Result<(), String> {
        let author = self.me.name().to_owned();
        match action {
            RecordingAction::Mark { name } => self.break_in.note(&author, Words::Mark(name)),
            RecordingAction::Comment { text } => self.break_in.note(&author, Words::Comment(text)),
            RecordingAction::Keyframe => self.break_in.keyframe(),
            _ => Err("a branch is recorded as long as it lives".to_owned()),
        }
    }

    fn finish(self) -> Result<()> {
        let branch = self.break_in.branch();
        let ended = self.break_in.finish().map_err(|problem| anyhow!(problem));
        if let Some(name) = self.rename.name {
            let owner = crate::casts::owner("play");
            Journal::open(&self.rename.folder, &owner)?.rename_branch(branch, &name)?;
        }
        ended
    }
}

impl Rename {
    fn set(&mut self, name: String) -> Result<&str, String> {
        if self.taken.contains(&name) {
            return Err(format!("there is a branch {name} already"));
        }
        Ok(self.name.insert(name))
    }
}
