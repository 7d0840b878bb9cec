//! One machine and everybody who looks at it. The room keeps what a page must be told (state,
//! progress, size, recent output) and each viewer keeps only numbers saying what it has been told,
//! so a slow or absent page costs no memory: it finds the latest state, and a gap in the output.
//!
//! Knows neither HTTP nor WebSockets (`viewer`), nor how machines start (`conductor`).

mod scrollback;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, watch};

use crate::backend::{Fault, MachineCommand, Progress};
use crate::protocol::{
    MachineState, OUTPUT_BYTES_MAX, PowerAction, SIZE_RANGE, Screen, ServerMessage, Size, VERSION,
    output_frame,
};
use scrollback::Scrollback;

/// Most pages on one machine.
pub(crate) const VIEWERS_MAX: usize = 64;
/// Bytes sent to a page and not yet acknowledged as drawn, per screen, before it gets no more.
pub(crate) const WINDOW_BYTES: u64 = 512 << 10;

/// What the machine is doing, with everything a page shows about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Preparing(Progress),
    Starting,
    Booting,
    Running,
    Paused(String),
    Stopped(String),
    Failed(Fault),
}

/// The number of a viewer; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ViewerId(u64);

/// A machine and its viewers.
pub(crate) struct Room {
    names: Names,
    inner: Mutex<Inner>,
    /// Wakes viewers; the value says nothing.
    changed: watch::Sender<()>,
    /// Somebody asked for a start.
    pub(crate) start: Notify,
}

/// What a page is told first.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Names the positions of this room.
    pub(crate) run: String,
    pub(crate) machine: String,
    pub(crate) image: String,
}

struct Inner {
    status: Status,
    status_version: u64,
    size: Option<Size>,
    size_version: u64,
    notice: Option<String>,
    notice_version: u64,
    /// Whose size the machine has: the one who typed last.
    driver: Option<ViewerId>,
    wishes: BTreeMap<ViewerId, Option<Size>>,
    next_viewer: u64,
    screens: [Scrollback; 2],
    commands: Option<mpsc::Sender<MachineCommand>>,
}

/// What one page has been told. Dropping it leaves the room.
pub(crate) struct Viewer<'room> {
    room: &'room Room,
    id: ViewerId,
    changed: watch::Receiver<()>,
    greeted: bool,
    seen_status: u64,
    seen_state: Option<MachineState>,
    seen_size: u64,
    seen_notice: u64,
    positions: [u64; 2],
    acknowledged: [u64; 2],
    live: [u64; 2],
}

/// What a page may be sent.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    Message(ServerMessage),
    Output(Vec<u8>),
}

impl Room {
    pub(crate) fn new(names: Names) -> Room {
        let inner = Inner {
            status: Status::Preparing(Progress::default()),
            status_version: 1,
            size: None,
            size_version: 0,
            notice: None,
            notice_version: 0,
            driver: None,
            wishes: BTreeMap::new(),
            next_viewer: 0,
            screens: Default::default(),
            commands: None,
        };
        Room {
            names,
            inner: Mutex::new(inner),
            changed: watch::channel(()).0,
            start: Notify::new(),
        }
    }

    /// Lets a page in that has seen each screen up to `positions` of run `run`; `None` if full.
    pub(crate) fn join(&self, run: Option<&str>, positions: [u64; 2]) -> Option<Viewer<'_>> {
        let positions = if run == Some(&self.names.run) { positions } else { [0, 0] };
        let mut inner = self.lock();
        if inner.wishes.len() >= VIEWERS_MAX {
            return None;
        }
        let id = ViewerId(inner.next_viewer);
        inner.next_viewer += 1;
        inner.wishes.insert(id, None);
        Some(Viewer {
            room: self,
            id,
            changed: self.changed.subscribe(),
            greeted: false,
            seen_status: 0,
            seen_state: None,
            seen_size: 0,
            // A notice is news for who is here.
            seen_notice: inner.notice_version,
            positions,
            acknowledged: positions,
            live: [inner.screens[0].end(), inner.screens[1].end()],
        })
    }

    pub(crate) fn set_status(&self, status: Status) {
        let mut inner = self.lock();
        if inner.status != status {
            inner.status = status;
            inner.status_version += 1;
            self.changed.send_replace(());
        }
    }

    /// The machine's terminal is in use, if that was not known yet.
    pub(crate) fn set_up(&self) {
        let is_booting = self.lock().status == Status::Booting;
        if is_booting {
            self.set_status(Status::Running);
        }
    }

    /// The machine's time goes on, if it was held.
    pub(crate) fn resume(&self) {
        let is_paused = matches!(self.lock().status, Status::Paused(_));
        if is_paused {
            self.set_status(Status::Running);
        }
    }

    /// Something everybody here should read.
    pub(crate) fn notify(&self, text: String) {
        let mut inner = self.lock();
        inner.notice = Some(text);
        inner.notice_version += 1;
        self.changed.send_replace(());
    }

    /// A machine is there: its screens begin anew, and it learns the size its driver wants.
    pub(crate) fn attach(&self, commands: mpsc::Sender<MachineCommand>) {
        let mut inner = self.lock();
        for screen in &mut inner.screens {
            screen.clear();
        }
        if let Some(size) = inner.size {
            // The link is new, so its queue has room; if its far end is gone already, the end of
            // its events says so.
            let _ = commands.try_send(MachineCommand::Resize(size));
        }
        inner.commands = Some(commands);
        self.changed.send_replace(());
    }

    /// No machine is there.
    pub(crate) fn detach(&self) {
        self.lock().commands = None;
    }

    pub(crate) fn push_output(&self, screen: Screen, bytes: &[u8]) {
        self.lock().screens[screen.index()].push(bytes);
        self.changed.send_replace(());
    }

    /// Some output was lost: what is kept no longer joins what comes.
    pub(crate) fn lose_output(&self, screen: Screen) {
        self.lock().screens[screen.index()].clear();
        self.changed.send_replace(());
    }

    async fn send(&self, command: MachineCommand) {
        let commands = self.lock().commands.clone();
        if let Some(commands) = commands {
            // An error means that the machine has just ended; the conductor says so to everybody.
            let _ = commands.send(command).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every critical section leaves the room whole at each step that can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Gives the machine the size its driver wishes; says what it must be sent.
    fn follow_driver(&mut self) -> Option<Size> {
        let wish = self.driver.and_then(|id| self.wishes.get(&id).copied().flatten())?;
        if self.size == Some(wish) {
            return None;
        }
        self.size = Some(wish);
        Some(wish)
    }

    fn drive(&mut self, id: ViewerId) -> Option<Size> {
        if self.driver != Some(id) {
            self.driver = Some(id);
            self.size_version += 1;
        }
        let size = self.follow_driver();
        self.size_version += u64::from(size.is_some());
        size
    }
}

impl Viewer<'_> {
    /// Returns when there may be something to send.
    pub(crate) async fn changed(&mut self) {
        // The room holds the sender and outlives the viewer.
        let _ = self.changed.changed().await;
    }

    /// The next frames for this page, none when it is up to date. At most a few, so that the page's
    /// own messages get their turn.
    pub(crate) fn next_frames(&mut self) -> Vec<Frame> {
        self.changed.borrow_and_update();
        let mut frames = Vec::new();
        let inner = self.room.lock();
        if !self.greeted {
            self.greeted = true;
            let Names { run, machine, image } = self.room.names.clone();
            let live = self.live;
            frames.push(ServerMessage::Hello { version: VERSION, run, machine, image, live });
        }
        if self.seen_status != inner.status_version {
            self.seen_status = inner.status_version;
            let (state, detail) = inner.status.state();
            if self.seen_state != Some(state) {
                self.seen_state = Some(state);
                frames.push(ServerMessage::State { state, detail });
            }
            frames.extend(inner.status.more());
        }
        if let Some(size) = inner.size.filter(|_| self.seen_size != inner.size_version) {
            self.seen_size = inner.size_version;
            let yours = inner.driver == Some(self.id);
            frames.push(ServerMessage::Size { columns: size.columns, rows: size.rows, yours });
        }
        if self.seen_notice != inner.notice_version {
            self.seen_notice = inner.notice_version;
            frames.extend(inner.notice.clone().map(|text| ServerMessage::Notice { text }));
        }
        let mut frames: Vec<Frame> = frames.into_iter().map(Frame::Message).collect();
        for screen in Screen::ALL {
            let at = screen.index();
            let unacknowledged = self.positions[at].saturating_sub(self.acknowledged[at]);
            if unacknowledged >= WINDOW_BYTES {
                continue;
            }
            let piece = inner.screens[at].since(self.positions[at], OUTPUT_BYTES_MAX);
            let Some(piece) = piece else { continue };
            if piece.gap {
                frames.push(Frame::Message(ServerMessage::Gap { screen }));
            }
            if piece.position != self.positions[at] {
                // What was skipped is never drawn, so it must not be waited for.
                self.acknowledged[at] = piece.position;
            }
            self.positions[at] = piece.position + piece.bytes.len() as u64;
            if !piece.bytes.is_empty() {
                frames.push(Frame::Output(output_frame(screen, piece.position, &piece.bytes)));
            }
        }
        frames
    }

    /// The page has drawn a screen up to a position.
    pub(crate) fn acknowledge(&mut self, screen: Screen, position: u64) {
        let at = screen.index();
        // A page may claim anything; it can only ever make the server send what it keeps anyway.
        self.acknowledged[at] = position.clamp(self.acknowledged[at], self.positions[at]);
    }

    /// Somebody typed at this page. Waits while the machine is behind.
    pub(crate) async fn type_bytes(&self, screen: Screen, bytes: &[u8]) {
        let resize = self.room.lock().drive(self.id);
        self.room.changed.send_replace(());
        if let Some(size) = resize {
            self.room.send(MachineCommand::Resize(size)).await;
        }
        self.room.send(MachineCommand::Input { screen, bytes: bytes.to_vec() }).await;
    }

    /// This page's window changed. The machine follows if this page typed last, or if nobody did.
    pub(crate) async fn wish(&self, size: Size) {
        let clamp = |n: u16| n.clamp(*SIZE_RANGE.start(), *SIZE_RANGE.end());
        let size = Size { columns: clamp(size.columns), rows: clamp(size.rows) };
        let resize = {
            let mut inner = self.room.lock();
            inner.wishes.insert(self.id, Some(size));
            match inner.driver {
                Some(driver) if driver != self.id => None,
                _ => inner.drive(self.id),
            }
        };
        if let Some(size) = resize {
            self.room.changed.send_replace(());
            self.room.send(MachineCommand::Resize(size)).await;
        }
    }

    /// This page wants the machine on or off.
    pub(crate) async fn power(&self, action: PowerAction) {
        match action {
            PowerAction::Start => {
                let status = self.room.lock().status.clone();
                if matches!(status, Status::Stopped(_) | Status::Failed(_)) {
                    self.room.start.notify_one();
                }
            }
            PowerAction::Shutdown => self.room.send(MachineCommand::Shutdown).await,
            PowerAction::Kill => self.room.send(MachineCommand::Kill).await,
        }
    }
}

impl Drop for Viewer<'_> {
    fn drop(&mut self) {
        let mut inner = self.room.lock();
        inner.wishes.remove(&self.id);
        if inner.driver == Some(self.id) {
            inner.driver = None;
        }
    }
}

impl Status {
    fn state(&self) -> (MachineState, String) {
        match self {
            Status::Preparing(_) => (MachineState::Preparing, String::new()),
            Status::Starting => (MachineState::Starting, String::new()),
            Status::Booting => (MachineState::Booting, String::new()),
            Status::Running => (MachineState::Running, String::new()),
            Status::Paused(reason) => (MachineState::Paused, reason.clone()),
            Status::Stopped(reason) => (MachineState::Stopped, reason.clone()),
            Status::Failed(fault) => (MachineState::Failed, fault.what.clone()),
        }
    }

    /// What a page is told besides the state.
    fn more(&self) -> Option<ServerMessage> {
        match self {
            Status::Preparing(progress) if !progress.phase.is_empty() => {
                let Progress { phase, message, done_bytes, total_bytes } = progress.clone();
                Some(ServerMessage::Progress { phase, message, done_bytes, total_bytes })
            }
            Status::Failed(Fault { what, action }) => {
                Some(ServerMessage::Error { what: what.clone(), action: action.clone() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
