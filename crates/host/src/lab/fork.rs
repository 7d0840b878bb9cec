//! Fresh forks: a second machine that goes on from a running one as somebody else.
//!
//! The machine's part is one identity input: VMGenID, entropy, RTC base, MAC addresses. The rest is
//! the guest's and goes through its agent: clock, host name, machine id, ssh host keys, addresses.
//! Only then is the fork handed out.

use stackvm_machine::{Input, Instant, Machine};

use super::{Lab, LabError, LabEvent};
use crate::guest::GuestEvent;

/// What the guest runs to become somebody else.
const SCRIPT: &str = include_str!("fresh.sh");
/// Number of the clock's setting among the agent's answers.
const CLOCK: u64 = u64::MAX;

/// Who a fresh fork is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FreshIdentity {
    /// Everything random is derived from this.
    pub seed: u64,
    /// Nanoseconds since 1970 that its clock shows.
    pub rtc_ns: u64,
    /// Its host name.
    pub hostname: String,
}

impl Lab {
    /// Forks the machine; this lab's goes on as if nothing had happened. Runs the fork unpaced
    /// until its guest has taken the new identity. Commands that run belong to the original; the
    /// fork has them without anybody listening.
    ///
    /// # Errors
    /// [`LabError::Fresh`] when the guest could not take the identity, [`LabError::TimeLimit`] at
    /// `limit`, or as [`Lab::exec`].
    pub fn fork_fresh(
        &mut self,
        identity: &FreshIdentity,
        limit: Instant,
    ) -> Result<Lab, LabError> {
        self.check_running()?;
        let machine = Machine::thaw(&self.machine.freeze());
        let mut fork = Lab::with_machine(machine, self.config.clone());
        fork.consoles = self.consoles.clone();
        fork.guest.restore(self.guest.save(), fork.machine.now());
        let FreshIdentity { seed, rtc_ns, hostname } = identity;
        fork.machine.input(Input::Identity { seed: *seed, rtc_ns: *rtc_ns });
        (fork.config.seed, fork.config.rtc_ns) = (*seed, *rtc_ns);
        fork.run_until_agent(limit)?;
        fork.set_clock(*rtc_ns, limit)?;
        let output = fork.exec(&["sh", "-c", SCRIPT, "sh", hostname], b"", limit)?;
        if output.code != 0 {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LabError::Fresh { code: output.code, words });
        }
        Ok(fork)
    }

    /// Sets the guest's clock and waits until it is set.
    fn set_clock(&mut self, unix_ns: u64, limit: Instant) -> Result<(), LabError> {
        let asked = self.guest.set_time(unix_ns, CLOCK, self.machine.now());
        asked.map_err(LabError::Lost)?;
        loop {
            self.run_one_slice("the clock's setting", limit)?;
            while let Some(event) = self.events.pop_front() {
                if let LabEvent::Guest(GuestEvent::Controlled { token: CLOCK, result }) = event {
                    return result.map_err(LabError::Lost);
                }
            }
        }
    }
}
