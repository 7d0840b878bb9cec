//! What happens to a machine from outside, and who did it.

use serde::{Deserialize, Serialize};
use stackvm_machine::{Input, Instant};

/// Who or what an input is from, by its place in the timeline's list of actors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ActorId(pub u16);

impl ActorId {
    /// The host itself: pacing, agent sessions, network frames. Its name is `host`.
    pub const HOST: ActorId = ActorId(0);
}

/// What happens to a machine from outside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// Something is put in ([`stackvm_machine::Machine::input`]).
    Input(Input),
    /// The machine is switched on anew with its disks as they are
    /// ([`stackvm_machine::Machine::reset`]): the guest asked for it, somebody pressed the button,
    /// or it was off. Virtual time goes on.
    Reset {
        /// The configuration's seed from now on.
        seed: u64,
        /// The configuration's RTC base from now on: what the RTC showed at the timeline's instant
        /// 0, in nanoseconds since 1970.
        rtc_ns: u64,
    },
}

/// An event and when it happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The machine's instant when it was put in; never earlier than that of the entry before.
    pub at: Instant,
    /// From whom.
    pub actor: ActorId,
    /// What.
    pub event: Event,
}
