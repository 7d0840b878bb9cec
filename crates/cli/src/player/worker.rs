//! The thread that computes: it owns the replay, plays it at its pace and makes pictures, so that
//! the keyboard is never waited for. Orders go to it and replace each other; only its newest view
//! comes back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Wall};

use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Instant};
use stackvm_timeline::replay::{Boot, Departure, Reached, Replay, ReplayError};
use stackvm_timeline::{BranchId, Position, Timeline, When};
use tokio::sync::watch;

use super::course::Course;
use super::pace::Pace;
use super::picture::Picture;
use super::status::{Doing, Unit};

/// Time between pictures.
const FRAME: Duration = Duration::from_millis(33);
/// The machine's time that is computed between two looks at the orders.
const SLICE: Ticks = Ticks::from_ns(20_000_000);
/// How far playing may fall behind before it gives up catching up.
const LAG_MAX: Duration = Duration::from_millis(500);

/// What the worker is told.
pub(crate) enum Order {
    /// Go there; a newer one replaces it.
    Go(Position),
    /// Let time pass from where it is, or hold it.
    Play(Playing),
    /// One step ahead, and hold time.
    Step(Unit),
    /// One step back, and hold time.
    StepBack(Unit),
    /// How fast time passes.
    Pace {
        /// Times as fast.
        speed: f64,
        /// How much of a quiet stretch is played.
        limit: Option<Ticks>,
    },
    /// Show this console; `None` is the one that people want.
    Show(Option<ConsoleId>),
    /// Another timeline, or the same with more in it; and where to go in it.
    Timeline(Arc<Timeline>, Position),
    /// Hold time, and let a machine go its own way from here, on this thread: nothing is computed
    /// meanwhile. What cannot depart drops this.
    Depart(Box<dyn FnOnce(Departure) + Send>),
}

/// Whether time passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Playing {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// What the worker shows.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Where.
    pub(crate) at: Instant,
    /// On which branch's path.
    pub(crate) branch: BranchId,
    /// What happens.
    pub(crate) doing: Doing,
    /// The console shown.
    pub(crate) console: ConsoleId,
    /// All consoles there are.
    pub(crate) consoles: Vec<ConsoleId>,
    /// What it shows.
    pub(crate) picture: Picture,
    /// How many orders were carried out; a view of fewer than were given is an old one.
    pub(crate) orders: u64,
    /// Why it cannot go on.
    pub(crate) problem: Option<String>,
}

/// The way to the worker.
pub(crate) struct Worker {
    orders: Sender<Order>,
    given: u64,
    /// The newest view.
    pub(crate) views: watch::Receiver<View>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker at the beginning of `branch`, paused. What it cannot do is in its views.
    pub(crate) fn start(timeline: Arc<Timeline>, branch: BranchId, pace: Pace) -> Worker {
        let (orders, receiver) = channel();
        let at = timeline.begin(branch);
        let (sender, views) = watch::channel(View {
            at,
            branch,
            doing: Doing::Seeking,
            console: ConsoleId::Serial,
            consoles: Vec::new(),
            picture: Picture::default(),
            orders: 0,
            problem: None,
        });
        let thread = std::thread::spawn(move || {
            Work::new(timeline, receiver, sender, pace).run();
        });
        Worker { orders, given: 0, views, thread }
    }

    /// Gives an order.
    pub(crate) fn order(&mut self, order: Order) {
        self.given += 1;
        // A worker that has ended has said why in its last view, or panicked: see `finish`.
        let _ = self.orders.send(order);
    }

    /// How many orders were given.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// Ends the worker, as soon as it has done what it does now. The end of the program need not
    /// wait for it.
    pub(crate) fn finish(self) {
        drop(self.orders);
        if self.thread.is_finished()
            && let Err(panic) = self.thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

struct Work {
    timeline: Arc<Timeline>,
    replay: Option<Replay>,
    orders: Receiver<Order>,
    views: watch::Sender<View>,
    pace: Pace,
    course: Course,
    /// Where to go next.
    goal: Option<Position>,
    /// Whether time is to pass, as soon as it can.
    wanted: Playing,
    /// Since when time passes, and from where; `None` while it does not.
    playing: Option<(Wall, Instant)>,
    ended: bool,
    chosen: Option<ConsoleId>,
    done: u64,
    problem: Option<String>,
}

impl Work {
    fn new(
        timeline: Arc<Timeline>,
        orders: Receiver<Order>,
        views: watch::Sender<View>,
        pace: Pace,
    ) -> Work {
        Work {
            course: Course::new(&timeline, BranchId::TRUNK),
            timeline,
            replay: None,
            orders,
            views,
            pace,
            goal: None,
            wanted: Playing::No,
            playing: None,
            ended: false,
            chosen: None,
            done: 0,
            problem: None,
        }
    }

    fn run(&mut self) {
        let mut due = Wall::now();
        while self.take_orders(due) {
            if let Some(goal) = self.goal {
                self.seek(goal);
                due = Wall::now() + FRAME;
                continue;
            }
            if Wall::now() >= due {
                self.advance();
                self.show(self.doing());
                due = Wall::now() + FRAME;
            }
        }
    }

    /// Takes all orders there are, waiting for the first one until `due` or, with nothing to do,
    /// for as long as it takes; false at the end of the program.
    fn take_orders(&mut self, due: Wall) -> bool {
        let first = if self.goal.is_some() {
            self.orders.try_recv().map_err(|error| error == TryRecvError::Disconnected)
        } else if self.playing.is_some() {
            let wait = due.saturating_duration_since(Wall::now());
            let gone = |error| error == RecvTimeoutError::Disconnected;
            self.orders.recv_timeout(wait).map_err(gone)
        } else {
            self.orders.recv().map_err(|_| true)
        };
        match first {
            Ok(order) => self.obey(order),
            Err(gone) => return !gone,
        }
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        if self.goal.is_none() {
            self.show(self.doing());
        }
        true
    }

    fn obey(&mut self, order: Order) {
        self.done += 1;
        match order {
            Order::Go(to) => self.goal = Some(to),
            Order::Play(wanted) => {
                self.wanted = wanted;
                self.start_clock();
            }
            Order::Step(unit) => {
                self.arrive();
                self.hold();
                self.step(unit);
            }
            Order::StepBack(unit) => {
                self.arrive();
                self.hold();
                self.step_back(unit);
            }
            Order::Pace { speed, limit } => {
                self.pace.set_speed(speed);
                self.pace.set_limit(limit);
                self.start_clock();
            }
            Order::Show(console) => self.chosen = console,
            Order::Timeline(timeline, to) => {
                (self.timeline, self.replay) = (timeline, None);
                self.course = Course::new(&self.timeline, to.branch);
                self.pace.set_quiet(self.course.quiet(&self.timeline));
                self.goal = Some(to);
            }
            Order::Depart(go) => {
                self.arrive();
                self.hold();
                match self.replay.as_mut().map(|replay| replay.depart(Boot::Read)) {
                    Some(Ok(departure)) => go(departure),
                    Some(Err(error)) => self.stick(&error),
                    None => {}
                }
            }
        }
    }

    /// Goes where it was told to go before the present order.
    fn arrive(&mut self) {
        if let Some(goal) = self.goal {
            self.seek(goal);
        }
    }

    fn seek(&mut self, to: Position) {
        self.goal = None;
        self.show(Doing::Seeking);
        if self.course.branch() != to.branch || self.replay.is_none() {
            self.course = Course::new(&self.timeline, to.branch);
            self.pace.set_quiet(self.course.quiet(&self.timeline));
        }
        self.problem = None;
        self.ended = false;
        if let Err(error) = self.try_seek(to) {
            self.stick(&error);
        }
        self.start_clock();
        self.show(self.doing());
    }

    fn try_seek(&mut self, to: Position) -> Result<(), ReplayError> {
        if self.replay.is_none() {
            self.replay = Some(Replay::new(self.timeline.clone())?);
        }
        match &mut self.replay {
            Some(replay) => replay.seek(to),
            None => Ok(()),
        }
    }

    fn step(&mut self, unit: Unit) {
        let Some(replay) = &mut self.replay else { return };
        let result = match unit {
            Unit::Input => replay.step_entry(&mut |_, _| {}),
            Unit::Instruction => replay.step_instruction(&mut |_, _| {}),
        };
        self.reached(result);
    }

    fn step_back(&mut self, unit: Unit) {
        let Some(replay) = &self.replay else { return };
        let (place, rate) = (replay.position(), replay.machine().rate_ticks());
        let to = match unit {
            Unit::Input => match self.course.entries_before(&place).checked_sub(1) {
                Some(number @ 1..) => {
                    let when = When::Entry(number);
                    self.timeline.find(self.course.branch(), &when).ok()
                }
                _ => None,
            },
            // When every hart waits there is no instruction to take back, but time.
            Unit::Instruction => {
                let at = Instant::from_ticks(place.at.ticks().saturating_sub(u64::from(rate)));
                Some(Position { branch: self.course.branch(), at, entries: None })
            }
        };
        let begin = self.course.place(Ticks::new(0));
        self.seek(to.filter(|to| to.at >= begin.at).unwrap_or(begin));
    }

    fn reached(&mut self, result: Result<Reached, ReplayError>) {
        match result {
            Ok(Reached::Until) => {}
            Ok(Reached::End) => {
                self.ended = true;
                self.playing = None;
            }
            Err(error) => self.stick(&error),
        }
    }

    fn stick(&mut self, error: &ReplayError) {
        let mut words = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        self.problem = Some(words);
        self.playing = None;
    }

    /// Lets time pass from here, if it is to and can.
    fn start_clock(&mut self) {
        let can = self.wanted == Playing::Yes && self.problem.is_none() && !self.ended;
        self.playing = can.then(|| (Wall::now(), self.now()));
    }

    fn hold(&mut self) {
        (self.wanted, self.playing) = (Playing::No, None);
    }

    fn now(&self) -> Instant {
        let begin = || self.timeline.begin(self.course.branch());
        self.replay.as_ref().map_or_else(begin, |replay| replay.position().at)
    }

    /// Lets as much time pass as has passed outside.
    fn advance(&mut self) {
        let Some((since, from)) = self.playing else { return };
        let target = self.pace.ahead(from, since.elapsed());
        let Some(replay) = &mut self.replay else { return };
        let start = Wall::now();
        let mut result = Ok(Reached::Until);
        // Slice by slice, so that a key is not kept waiting by a busy machine at high speed. An
        // idle machine leaps: what is quiet takes no slices.
        while matches!(result, Ok(Reached::Until)) && start.elapsed() < FRAME {
            let now = replay.position().at;
            if now >= target {
                break;
            }
            let idle = replay.machine().idle_until().unwrap_or(now);
            let until = (now + SLICE).max(idle).min(target);
            result = replay.run(until, &mut |_, _| {});
        }
        let reached = replay.position().at;
        self.reached(result);
        // Too much for this computer at this speed: it is played as fast as it goes.
        let behind = self.pace.ahead(reached, LAG_MAX) < target;
        if behind && self.playing.is_some() {
            self.start_clock();
        }
    }

    fn doing(&self) -> Doing {
        match (&self.problem, self.playing) {
            (Some(_), _) => Doing::Stuck,
            (None, Some(_)) => Doing::Playing,
            (None, None) if self.ended => Doing::Ended,
            (None, None) => Doing::Paused,
        }
    }

    fn show(&self, doing: Doing) {
        let mut view = self.views.borrow().clone();
        (view.doing, view.orders) = (doing, self.done);
        view.problem.clone_from(&self.problem);
        if let Some(replay) = &self.replay {
            let screens = replay.screens();
            view.at = replay.position().at;
            view.branch = self.course.branch();
            view.consoles = screens.consoles().map(|(console, _)| console).collect();
            view.console = self.chosen.unwrap_or_else(|| screens.main_console());
            view.picture = screens.get(view.console).map(Picture::of).unwrap_or_default();
        }
        self.views.send_replace(view);
    }
}
