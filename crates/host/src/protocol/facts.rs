//! What a lab says of its machine: its state, and facts about it.

use serde::{Deserialize, Serialize};

use crate::sandbox::Sandbox;

/// State of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum State {
    /// The lab is being set up.
    Starting,
    /// Virtual time runs.
    Running,
    /// Virtual time is held.
    Paused,
    /// A condition of the host must be cured first; then [`Power::Resume`](super::Power::Resume).
    Stalled {
        /// What happened, to what.
        reason: String,
    },
    /// The machine is off and the lab ends.
    Stopped(StopReason),
}

/// Why a machine is off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StopReason {
    /// The guest switched it off.
    PowerOff {
        /// The code the guest gave; 0 is success.
        code: u32,
    },
    /// [`Power::Kill`](super::Power::Kill) or a signal to the lab.
    Killed,
    /// [`Command::Save`](super::Command::Save) with [`AfterSave::Stop`](super::AfterSave::Stop).
    Saved,
    /// The lab could not go on.
    Failed {
        /// Why.
        message: String,
    },
}

/// Whether the guest's agent listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Agent {
    /// Not there (yet).
    Absent,
    /// There: `exec`, shutdown and clock setting work.
    Up,
}

/// Facts about a running machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// The image or kernel file it started from.
    pub image: String,
    /// Its state.
    pub state: State,
    /// Whether its agent is there.
    pub agent: Agent,
    /// Ticks (1/16 ns) of virtual time since switch-on.
    pub instant_ticks: u64,
    /// Instructions retired by all harts.
    pub instructions: u64,
    /// RAM in bytes.
    pub memory_bytes: u64,
    /// Number of harts.
    pub harts: u32,
    /// Ticks per instruction now.
    pub rate_ticks: u32,
    /// Milliseconds of wall time since the lab started.
    pub uptime_ms: u64,
    /// Bytes of disk blocks the guest has written since they differ from the image.
    pub disk_bytes_written: u64,
    /// Commands running through the agent.
    pub execs: u32,
    /// Connected clients.
    pub clients: u32,
    /// Process id of the lab.
    pub pid: u32,
    /// Whether the lab's process is locked in.
    pub sandbox: Sandbox,
    /// If it is, the name of the folder below `annex` in the data directory where its twins and
    /// recordings that begin now must be.
    pub annex: Option<String>,
}
