//! The player: a recording in this terminal, with keys, and with the machine's keyboard when
//! somebody breaks in.
//!
//! Owns the terminal while it plays. The replay itself runs on a thread of its own ([`worker`]);
//! pictures come through the screen model, so nothing of a recording reaches this terminal as it
//! is. After breaking in, the terminal is the machine's, as with `stackvm run`.

mod canvas;
mod course;
mod keys;
mod live;
mod pace;
mod picture;
pub(crate) mod plain;
mod status;
pub(crate) mod tape;
mod worker;

use std::io::{Write, stdout};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use stackvm_host::break_in::NewBranch;
use stackvm_machine::ConsoleId;
use stackvm_machine::instant::Ticks;
use stackvm_timeline::branch::BranchKind;
use stackvm_timeline::{BranchId, Position};
use tokio::time::{Instant, sleep_until};

use crate::people;
use crate::session::pipes::{self, Input};
use crate::session::{self, End, Menu, Signal, Signals, Target, Watch};
use crate::terminal::{self, RawTerminal};
use canvas::{Canvas, Overlay};
use course::Course;
use keys::{Key, Keys};
use live::{Entrance, Live};
use pace::Pace;
pub(crate) use status::tenths;
use status::{Doing, Status, Unit};
use tape::Tape;
use worker::{Order, Playing, View, Worker};

/// How far the arrow keys go.
const ARROW: Ticks = Ticks::from_ns(5_000_000_000);
/// Marks that were passed so recently do not count as the one before.
const MARK_GRACE: Ticks = Ticks::from_ns(1_000_000_000);
/// What `t` switches on.
const IDLE_LIMIT: Ticks = Ticks::from_ns(2_000_000_000);
/// How long the player's words stay.
const WORDS_TIME: Duration = Duration::from_secs(4);
/// The smallest terminal that anything can be seen in.
const SIZE_MIN: (usize, usize) = (20, 2);

/// How a recording is to be played.
pub(crate) struct Options {
    /// Where to begin.
    pub(crate) start: Position,
    /// Times as fast.
    pub(crate) speed: f64,
    /// How much of a quiet stretch is played.
    pub(crate) limit: Option<Ticks>,
    /// What `b` makes.
    pub(crate) kind: BranchKind,
}

/// Why the player pauses playing.
enum Pause {
    Quit,
    Signal(Signal),
    BreakIn(BranchKind),
}

struct Player {
    tape: Tape,
    worker: Worker,
    course: Course,
    /// Where the newest seek goes, until it is there: the order's number and the place.
    goal: Option<(u64, Ticks)>,
    playing: Playing,
    speed: f64,
    limit: Option<Ticks>,
    unit: Unit,
    kind: BranchKind,
    help: bool,
    words: Option<(String, Instant)>,
    keys: Keys,
    canvas: Canvas,
    screen: RawTerminal,
}

/// Plays in this terminal until somebody leaves; returns the exit code.
pub(crate) async fn play(tape: Tape, options: Options, signals: &mut Signals) -> Result<u8> {
    let mut input = pipes::input();
    let mut player = Player::new(tape, &options)?;
    let result = player.run(&mut input, signals).await;
    let Player { tape, worker, screen, .. } = player;
    drop(screen);
    worker.finish();
    let saved = tape.close(signals).await;
    let code = result?;
    saved.map(|()| code)
}

impl Player {
    fn new(tape: Tape, options: &Options) -> Result<Player> {
        let (start, limit, speed) = (options.start, options.limit, options.speed);
        let timeline = tape.timeline().clone();
        let course = Course::new(&timeline, start.branch);
        let pace = Pace::new(speed, limit);
        let mut worker = Worker::start(timeline, start.branch, pace);
        let screen = RawTerminal::enter().context("the terminal cannot be used")?;
        worker.order(Order::Go(start));
        worker.order(Order::Play(Playing::Yes));
        let mut player = Player {
            tape,
            worker,
            goal: None,
            course,
            playing: Playing::Yes,
            speed,
            limit,
            unit: Unit::Input,
            kind: options.kind,
            help: false,
            words: None,
            keys: Keys::default(),
            canvas: Canvas::default(),
            screen,
        };
        player.goal = Some((player.worker.given(), player.course.elapsed(start.at)));
        player.write(canvas::ENTER)?;
        Ok(player)
    }

    async fn run(&mut self, input: &mut Input, signals: &mut Signals) -> Result<u8> {
        loop {
            match self.watch(input, signals).await? {
                Pause::Quit => return Ok(0),
                Pause::Signal(signal) => return Ok(signal.exit_code()),
                Pause::BreakIn(kind) => {
                    if let Some(code) = self.break_in(kind, input, signals).await? {
                        return Ok(code);
                    }
                }
            }
        }
    }

    /// Plays until there is something else to do.
    async fn watch(&mut self, input: &mut Input, signals: &mut Signals) -> Result<Pause> {
        self.draw()?;
        loop {
            let words_end = self.words.as_ref().map(|(_, end)| *end);
            tokio::select! {
                typed = input.recv() => {
                    let Some(bytes) = typed else { return Ok(Pause::Quit) };
                    for key in self.keys.read(&bytes) {
                        if let Some(pause) = self.key(key)? {
                            return Ok(pause);
                        }
                    }
                }
                changed = self.worker.views.changed() => {
                    changed.map_err(|_| anyhow!("the player's replay has ended unexpectedly"))?;
                }
                signal = signals.next() => match signal {
                    Signal::WindowChange => self.canvas.forget(),
                    Signal::Stop => self.suspend()?,
                    signal => return Ok(Pause::Signal(signal)),
                },
                () = pass(words_end) => self.words = None,
            }
            self.draw()?;
        }
    }

    fn key(&mut self, key: Key) -> Result<Option<Pause>> {
        if self.help && key != Key::Quit {
            self.help = false;
            return Ok(None);
        }
        let (here, total) = (self.here(), self.course.total());
        let tenth = Ticks::new(total.get() / 10);
        match key {
            Key::Quit if self.help => self.help = false,
            Key::Quit => return Ok(Some(Pause::Quit)),
            Key::BreakIn => return Ok(Some(Pause::BreakIn(self.kind))),
            Key::BreakInFresh => return Ok(Some(Pause::BreakIn(BranchKind::Fresh))),
            Key::Pause => self.pause(),
            Key::Back => self.go(less(here, ARROW)),
            Key::Ahead => self.go(more(here, ARROW)),
            Key::FarBack => self.go(less(here, tenth)),
            Key::FarAhead => self.go(more(here, tenth)),
            Key::Tenths(number) => self.go(Ticks::new(tenth.get() * u64::from(number))),
            Key::End => self.go(total),
            Key::PreviousMark => self.previous_mark(here),
            Key::NextMark => self.next_mark(here),
            Key::Step => self.order_step(Order::Step(self.unit)),
            Key::StepBack => self.order_step(Order::StepBack(self.unit)),
            Key::Unit => self.next_unit(),
            Key::Slower => self.set_pace(pace::slower(self.speed), self.limit),
            Key::Faster => self.set_pace(pace::faster(self.speed), self.limit),
            Key::Idle => {
                let limit = if self.limit.is_none() { Some(IDLE_LIMIT) } else { None };
                self.set_pace(self.speed, limit);
            }
            Key::Console => self.next_console(),
            Key::Branch => self.next_branch(),
            Key::Help => self.help = true,
            Key::Suspend => self.suspend()?,
        }
        Ok(None)
    }

    fn view(&self) -> View {
        self.worker.views.borrow().clone()
    }

    /// Where it is, or is going.
    fn here(&self) -> Ticks {
        match self.goal {
            Some((_, elapsed)) if !self.has_arrived() => elapsed,
            _ => self.course.elapsed(self.worker.views.borrow().at),
        }
    }

    fn has_arrived(&self) -> bool {
        let view = self.worker.views.borrow();
        self.goal.is_none_or(|(order, _)| view.orders >= order && view.doing != Doing::Seeking)
    }

    fn go(&mut self, elapsed: Ticks) {
        let place = self.course.place(elapsed);
        self.worker.order(Order::Go(place));
        self.goal = Some((self.worker.given(), self.course.elapsed(place.at)));
    }

    fn pause(&mut self) {
        let doing = self.worker.views.borrow().doing;
        if doing == Doing::Ended && self.has_arrived() {
            self.go(Ticks::new(0));
            self.playing = Playing::No;
        }
        self.playing = match self.playing {
            Playing::Yes if doing != Doing::Stuck => Playing::No,
            _ => Playing::Yes,
        };
        self.worker.order(Order::Play(self.playing));
    }

    fn order_step(&mut self, order: Order) {
        self.playing = Playing::No;
        self.worker.order(order);
    }

    fn previous_mark(&mut self, here: Ticks) {
        let grace = if self.playing == Playing::Yes { MARK_GRACE } else { Ticks::new(1) };
        let before = less(here, grace);
        let marks = self.course.marks().iter().rev();
        match marks.map(|(at, _)| *at).find(|at| *at <= before && *at < here) {
            Some(at) => self.go(at),
            None => self.say("no mark before this"),
        }
    }

    fn next_mark(&mut self, here: Ticks) {
        match self.course.marks().iter().map(|(at, _)| *at).find(|at| *at > here) {
            Some(at) => self.go(at),
            None => self.say("no mark after this"),
        }
    }

    fn next_unit(&mut self) {
        self.unit = match self.unit {
            Unit::Input => Unit::Instruction,
            Unit::Instruction => Unit::Input,
        };
    }

    fn set_pace(&mut self, speed: f64, limit: Option<Ticks>) {
        (self.speed, self.limit) = (speed, limit);
        self.worker.order(Order::Pace { speed, limit });
    }

    fn next_console(&mut self) {
        let view = self.view();
        let at = view.consoles.iter().position(|console| *console == view.console);
        let next = at.map_or(0, |at| at + 1) % view.consoles.len().max(1);
        self.worker.order(Order::Show(view.consoles.get(next).copied()));
    }

    fn next_branch(&mut self) {
        let branches = self.tape.timeline().branches();
        let count = branches.len() as u32;
        let own = self.course.branch().0;
        let next = (1..count).map(|step| (own + step) % count);
        let Some(next) = next.into_iter().find(|number| !branches[*number as usize].deleted) else {
            return self.say("there is only one branch");
        };
        // Where the two are still the same, or where the other one begins to differ.
        let at = self.worker.views.borrow().at;
        self.course = Course::new(self.tape.timeline(), BranchId(next));
        self.go(self.course.elapsed(at).min(self.course.own_begin()));
    }

    fn say(&mut self, words: impl Into<String>) {
        self.words = Some((words.into(), Instant::now() + WORDS_TIME));
    }

    fn draw(&mut self) -> Result<()> {
        let Some(size) = terminal::size() else { return Ok(()) };
        let (columns, rows) = (usize::from(size.columns), usize::from(size.rows));
        if columns < SIZE_MIN.0 || rows < SIZE_MIN.1 {
            return Ok(());
        }
        let view = self.view();
        let arrived = self.has_arrived();
        let names = self.tape.timeline().branches();
        let branch = names.get(self.course.branch().0 as usize);
        let console = console_name(view.console);
        let first = view.consoles.iter().min_by_key(|console| **console == ConsoleId::Serial);
        let words = self.words.as_ref().map(|(words, _)| words.as_str());
        let status = Status {
            doing: if arrived { view.doing } else { Doing::Seeking },
            elapsed: self.here(),
            total: self.course.total(),
            marks: self.course.marks(),
            branch: branch.map_or("", |branch| branch.name.as_str()),
            speed: self.speed,
            limit: self.limit,
            console: (first != Some(&view.console)).then_some(console.as_str()),
            unit: self.unit,
            words: view.problem.as_deref().or(words),
        };
        let line = status::line(&status, columns);
        let overlay = self.help.then_some(Overlay { lines: &keys::HELP });
        let picture = view.picture.draw(columns, rows - 1);
        let text = self.canvas.draw(picture, &line, columns, overlay.as_ref());
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.screen.note(text.as_bytes());
        let mut out = stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("the terminal is gone")
    }

    fn suspend(&mut self) -> Result<()> {
        self.write(canvas::LEAVE)?;
        self.screen.suspend();
        session::stop_here();
        self.screen.resume().context("the terminal did not come back")?;
        self.take_screen()
    }

    fn take_screen(&mut self) -> Result<()> {
        self.canvas.forget();
        self.write(canvas::ENTER)
    }

    /// Gives the keyboard to the machine as it is at this instant; returns the exit code if that
    /// is the end of the player.
    async fn break_in(
        &mut self,
        kind: BranchKind,
        input: &mut Input,
        signals: &mut Signals,
    ) -> Result<Option<u8>> {
        self.playing = Playing::No;
        let console = self.view().console;
        let name = self.tape.free_name();
        let journal = match self.tape.writer() {
            Ok(journal) => journal,
            Err(error) => {
                let words = crate::failure::describe(&error).replace('\n', " ");
                self.say(words.trim_start_matches("error: "));
                return Ok(None);
            }
        };
        let names = self.tape.timeline().branches().iter().map(|branch| branch.name.clone());
        let branch = NewBranch { name: name.clone(), author: people::user(), kind };
        let (size, taken) = (terminal::size(), names.collect());
        let entrance = Entrance { branch, taken, console, size };
        let (link, live, go) = Live::new(journal, entrance);
        let left = self.course.place(self.here());
        self.worker.order(Order::Depart(go));

        self.write(canvas::LEAVE)?;
        self.screen.suspend();
        let rename = live.renaming();
        let menu =
            Menu::Branch { journal: self.tape.journal().to_owned(), rename: Box::new(rename) };
        let target = Target::Console(console);
        let end = session::run_with(link, target, Watch::Nothing, menu, signals, input).await;
        let finished = live.finish().await;
        self.tape.reload()?;
        let end = end?;
        finished?;
        self.screen.resume().context("the terminal did not come back")?;
        self.take_screen()?;
        let words = match end {
            End::Quit | End::Detached => return Ok(Some(0)),
            End::Signal(signal) => return Ok(Some(signal.exit_code())),
            End::Stopped { .. } => "the machine has stopped; back in the recording",
            _ => "back in the recording, where you left it; n plays the new branch",
        };
        self.say(words);
        let place = left;
        self.course = Course::new(self.tape.timeline(), place.branch);
        self.worker.order(Order::Timeline(self.tape.timeline().clone(), place));
        self.goal = Some((self.worker.given(), self.course.elapsed(place.at)));
        Ok(None)
    }
}

/// `hvc0`, `ttyS0`: as the guest calls it.
pub(crate) fn console_name(console: ConsoleId) -> String {
    match console {
        ConsoleId::Serial => "ttyS0".to_owned(),
        ConsoleId::Hvc(number) => format!("hvc{number}"),
    }
}

async fn pass(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn less(here: Ticks, span: Ticks) -> Ticks {
    Ticks::new(here.get().saturating_sub(span.get()))
}

fn more(here: Ticks, span: Ticks) -> Ticks {
    Ticks::new(here.get().saturating_add(span.get()))
}
