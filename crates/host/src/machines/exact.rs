//! A kept machine's exact state at an instant: what a replay computes, where the output track only
//! tells what terminals had shown by then.
//!
//! The recording may be somebody else's, so it is replayed by a lab, which is locked in and ends when
//! it has told. It stands back behind machines that run.

use stackvm_machine::{ConsoleId, Instant};

use super::spawn::Minder;
use super::{Lifetime, MachineSpec, Machines, MachinesError, Network, StopHow};
use crate::client::ClientError;
use crate::protocol::{Command, Picture, Reply};

/// How far such a lab stands back.
const NICENESS: i32 = 10;

/// A machine at an instant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exact {
    /// The instant: the first instruction boundary from the one on that was asked for.
    pub at: Instant,
    /// Instructions that all harts together had executed.
    pub instructions: u64,
    /// The digest of its whole state, in hexadecimal.
    pub digest: String,
    /// What the terminal showed; its `screen` draws it.
    pub picture: Picture,
}

impl Machines {
    /// Computes a kept machine's state at an instant that there is, in a process called `name` for
    /// that time. It is given up when `is_wanted` says so.
    ///
    /// # Errors
    /// [`MachinesError::Unwanted`]; as [`Machines::branch_spec`] and [`Machines::create`].
    pub fn exact(
        &self,
        id: &str,
        console: ConsoleId,
        at: Instant,
        name: &str,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Exact, MachinesError> {
        let (lifetime, network) = (Lifetime::Held, Network::None);
        let spec = MachineSpec { lifetime, network, ..self.branch_spec(id, at, name)? };
        self.create_for(&spec, &Minder { is_wanted, niceness: NICENESS })?;
        let told = self.told(name, console);
        // It ends by itself when nobody is there; the answer at hand says more than its end would.
        let _ = self.stop(name, StopHow::Kill);
        told
    }

    fn told(&self, name: &str, console: ConsoleId) -> Result<Exact, MachinesError> {
        let odd = || MachinesError::Client(ClientError::Closed);
        let mut lab = self.connect(name)?;
        let look = Command::Look { console, since_ticks: 0, lines_max: 0 };
        let Reply::Picture(picture) = lab.call(look)? else { return Err(odd()) };
        let Reply::Info(info) = lab.call(Command::Info)? else { return Err(odd()) };
        let Reply::Digest { instant_ticks, digest } = lab.call(Command::Digest)? else {
            return Err(odd());
        };
        let at = Instant::from_ticks(instant_ticks);
        Ok(Exact { at, instructions: info.instructions, digest, picture })
    }
}
