//! Fresh forks: a second machine that goes on from a running one as somebody else.
//!
//! The machine's part is one identity input: VMGenID, entropy, RTC base, MAC addresses. The rest is
//! the guest's and goes through its agent: clock, host name, machine id, ssh host keys, addresses.
//! Only then is the fork handed out.

use std::time::{Duration, Instant as WallInstant};

use stackvm_machine::{Frozen, Input, Instant, Machine, NicId};

use super::{Actor, Lab, LabError, LabEvent, Step};
use crate::guest::{GuestEvent, GuestSaved};
use crate::net_user::{NetError, NetUser};
use crate::prompt::{BootFiles, Prompt};

/// What the guest runs to become somebody else, but for its network.
const IDENTITY_SCRIPT: &str = include_str!("fresh.sh");
/// What it runs to get addresses, in real time.
const ADDRESSES_SCRIPT: &str = include_str!("addresses.sh");
/// Both.
pub(crate) const FRESH_SCRIPT: &str =
    concat!(include_str!("fresh.sh"), include_str!("addresses.sh"));
/// Wall time in which a fork's guest must have its addresses, or goes on without.
const ADDRESSES_LIMIT: Duration = Duration::from_secs(10);
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
        let consoles = self.consoles.iter().map(|(console, shown)| (*console, shown.twin()));
        fork.consoles = consoles.collect();
        fork.boot_files = self.boot_files.clone();
        fork.guest.restore(self.guest.save(), fork.machine.now());
        let FreshIdentity { seed, rtc_ns, hostname } = identity;
        fork.machine.input(Input::Identity { seed: *seed, rtc_ns: *rtc_ns });
        (fork.config.seed, fork.config.rtc_ns) = (*seed, *rtc_ns);
        fork.run_until_agent(limit)?;
        fork.set_clock(*rtc_ns, limit)?;
        fork.run_script(&["sh", "-c", FRESH_SCRIPT, "sh", hostname], limit)?;
        Ok(fork)
    }

    /// A lab that goes on from a prompt, which is not a machine of its own yet:
    /// [`Lab::become_fresh`] makes it one. `boot` is asked for the configuration to switch it on
    /// with, should it be reset.
    pub(crate) fn at_prompt(prompt: &Prompt, boot: BootFiles) -> Lab {
        let frozen = prompt.frozen();
        let mut lab = Lab::with_machine(Machine::thaw(frozen), frozen.config().clone());
        lab.restore_screens(prompt.derived());
        let open = prompt.derived().open_ports.clone();
        lab.guest.at_prompt(GuestSaved { open }, prompt.standby());
        lab.boot_files = Some(boot);
        lab
    }

    /// Gives the machine an identity and runs it unpaced until its guest has taken it.
    ///
    /// # Errors
    /// As [`Lab::fork_fresh`].
    pub fn become_fresh(
        &mut self,
        identity: &FreshIdentity,
        limit: Instant,
    ) -> Result<(), LabError> {
        let FreshIdentity { seed, rtc_ns, hostname } = identity;
        self.put(&Actor::Host, Input::Identity { seed: *seed, rtc_ns: *rtc_ns });
        let seconds = (rtc_ns + 500_000_000) / 1_000_000_000;
        // Through the shell that waits, there is one program to start: the one that sets the clock.
        let script = format!("set -- {hostname} {seconds}\n{{\n{IDENTITY_SCRIPT}\n}} </dev/null");
        if self.guest.standby_run(&script) {
            return self.wait_for_standby(limit);
        }
        self.run_until_agent(limit)?;
        self.set_clock(*rtc_ns, limit)?;
        self.run_script(&["sh", "-c", FRESH_SCRIPT, "sh", hostname], limit)
    }

    /// Lets a guest that has become a machine of its own get its addresses: in real time, since
    /// whoever gives them out has no other. One that gets none goes on without; one that has no
    /// standby has asked already, and gets them when it asks again.
    ///
    /// # Errors
    /// The network's, which has ended then.
    pub(crate) fn become_reachable(&mut self, net: &mut NetUser) -> Result<(), NetError> {
        let started = WallInstant::now();
        let clock = || u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut kept = Vec::new();
        let asked = self.guest.standby_run(&format!("{{\n{ADDRESSES_SCRIPT}\n}} </dev/null"));
        while asked && started.elapsed() < ADDRESSES_LIMIT {
            let timeout_ns = match self.step(&clock) {
                Step::Ran => 0,
                Step::Sleep { until_wall_ns } => {
                    until_wall_ns.map_or(u64::MAX, |at| at.saturating_sub(clock()))
                }
                Step::Stopped => break,
            };
            while let Some(event) = self.next_event() {
                match event {
                    LabEvent::Frame { bytes, .. } => net.send(&bytes)?,
                    event => kept.push(event),
                }
            }
            if self.guest.take_standby_code().is_some() {
                break;
            }
            if net.wait(Duration::from_nanos(timeout_ns).min(ADDRESSES_LIMIT)) {
                self.arrive(clock());
            }
            for bytes in net.transfer()? {
                self.put(&Actor::Host, Input::Frame { nic: NicId(0), bytes });
            }
        }
        self.events.extend(kept);
        // Whoever runs it next has another clock.
        self.pacer = None;
        Ok(())
    }

    fn wait_for_standby(&mut self, limit: Instant) -> Result<(), LabError> {
        loop {
            self.run_one_slice("the guest's new identity", limit)?;
            match self.guest.take_standby_code() {
                None => {}
                Some(0) => return Ok(()),
                Some(code) => return Err(LabError::Fresh { code, words: String::new() }),
            }
        }
    }

    fn run_script(&mut self, argv: &[&str], limit: Instant) -> Result<(), LabError> {
        let output = self.exec(argv, b"", limit)?;
        if output.code != 0 {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LabError::Fresh { code: output.code, words });
        }
        Ok(())
    }

    /// In a forked process: the machine as it was frozen, and nothing of what others do with the
    /// original. Its recordings must have been taken away.
    pub(crate) fn become_twin(&mut self, frozen: &Frozen) {
        assert!(self.recorders.is_empty(), "recordings are the original's");
        let mut twin = Lab::with_machine(Machine::thaw(frozen), self.config.clone());
        twin.consoles = std::mem::take(&mut self.consoles);
        twin.boot_files = self.boot_files.take();
        let now = twin.machine.now();
        twin.guest.restore(self.guest.save(), now);
        *self = twin;
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
