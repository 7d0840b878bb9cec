//! What the server needs of a machine: somebody who prepares it, and a link to it when it runs.
//!
//! Owns the traits and the messages on the link; does not know labs, images or sockets. `up` has the
//! real ones, `examples/scripted.rs` has one that plays a part for the tests of the pages.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::protocol::{Screen, Size};

/// Messages that wait on a link in one direction; beyond that the sender waits.
pub const LINK_QUEUE_LENGTH: usize = 64;

/// A future that a trait object can return.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Makes a machine's image and starts the machine. Both are asked for again when somebody presses
/// start after a failure or a stop, so both must be content with work already done.
pub trait Preparation: Send + Sync + 'static {
    /// Makes what the machine starts from, if it is missing.
    fn prepare(&self, report: Report) -> Pending<Result<(), Fault>>;

    /// Starts the machine, or finds it running, and connects to it.
    fn connect(&self) -> Pending<Result<MachineLink, Fault>>;
}

/// How far a preparation is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// What is being done, in a word or two.
    pub phase: String,
    /// With what, in a line.
    pub message: String,
    /// Bytes of this phase that are done.
    pub done_bytes: u64,
    /// Bytes of this phase, where that is known.
    pub total_bytes: Option<u64>,
}

/// Takes reports of progress; cheap to call often, and from any thread.
#[derive(Clone)]
pub struct Report(Arc<dyn Fn(Progress) + Send + Sync>);

impl Report {
    /// Reports to `sink`.
    pub fn new(sink: impl Fn(Progress) + Send + Sync + 'static) -> Report {
        Report(Arc::new(sink))
    }

    /// Says how far it is.
    pub fn progress(&self, progress: Progress) {
        (self.0)(progress);
    }
}

/// Something that went wrong, as a person should read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What happened, to what.
    pub what: String,
    /// What to do about it.
    pub action: String,
}

/// A connection to a running machine. Dropping it leaves the machine as it is.
#[derive(Debug)]
pub struct MachineLink {
    /// What comes from the machine. Its end without [`MachineEvent::Stopped`] means that the
    /// machine's process is gone.
    pub events: mpsc::Receiver<MachineEvent>,
    /// What goes to the machine.
    pub commands: mpsc::Sender<MachineCommand>,
}

impl MachineLink {
    /// A link and its far end, of [`LINK_QUEUE_LENGTH`].
    pub fn pair() -> (MachineLink, mpsc::Sender<MachineEvent>, mpsc::Receiver<MachineCommand>) {
        let (event_sender, events) = mpsc::channel(LINK_QUEUE_LENGTH);
        let (commands, command_receiver) = mpsc::channel(LINK_QUEUE_LENGTH);
        (MachineLink { events, commands }, event_sender, command_receiver)
    }
}

/// What a machine says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MachineEvent {
    /// A screen wrote something.
    Output {
        /// Which one.
        screen: Screen,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// Some of a screen's output was lost on the way here.
    OutputLost {
        /// Which one.
        screen: Screen,
    },
    /// Its terminal is in use, even if it has said nothing.
    Up,
    /// Its time is held, with the reason, or goes on.
    Paused(Option<String>),
    /// Something a person at it should read.
    Notice(String),
    /// It is off; nothing follows.
    Stopped {
        /// Why, in a line.
        reason: String,
    },
    /// It could not go on; nothing follows.
    Failed(Fault),
}

/// What is wanted of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MachineCommand {
    /// Somebody typed.
    Input {
        /// At which screen.
        screen: Screen,
        /// What.
        bytes: Vec<u8>,
    },
    /// The terminal has a new size.
    Resize(Size),
    /// Its system should switch it off.
    Shutdown,
    /// It should be off now.
    Kill,
}
