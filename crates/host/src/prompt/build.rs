//! Booting a machine up to its prompt, the same way every time: unpaced, with the default seed and
//! clock, and nobody at its terminals.

use std::path::Path;

use stackvm_images::Cancel;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Frozen, Instant, Output};
use stackvm_timeline::screen::{Derived, Screens, Written};

use super::{Progress, PromptError};
use crate::guest::StandbySaved;
use crate::lab::{Lab, LabError, LabEvent};
use crate::machines::MachineSpec;

/// Virtual time between two looks at the guest.
const LOOK: Ticks = Ticks::from_ns(100_000_000);
/// Virtual time in which the agent must come up.
const AGENT_LIMIT: Instant = Instant::from_ns(300_000_000_000);
/// Virtual time that the guest has to come to rest after that.
const REST_LIMIT: Ticks = Ticks::from_ns(60_000_000_000);
/// A guest at rest executes no more instructions than this between two looks …
const REST_INSTRUCTIONS: u64 = 1_000_000;
/// … so many times in a row.
const REST_LOOKS: u32 = 10;

/// A machine at its prompt, not written yet.
pub(super) struct Booted {
    pub(super) frozen: Frozen,
    pub(super) derived: Derived,
    pub(super) standby: Option<StandbySaved>,
}

struct Boot<'a> {
    lab: Lab,
    screens: Screens,
    progress: &'a mut dyn FnMut(Progress),
    cancel: &'a Cancel,
}

/// Boots the machine of `spec`.
pub(super) fn boot(
    data: &Path,
    spec: &MachineSpec,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Booted, PromptError> {
    let plain = MachineSpec { seed: None, rtc_ns: None, ..spec.clone() };
    let config = plain.machine_config(data)?;
    let lab = Lab::new(config).map_err(PromptError::Boot)?;
    let mut boot = Boot { lab, screens: Screens::new(), progress, cancel };
    while !boot.has_prompt() {
        if boot.lab.now() >= AGENT_LIMIT {
            let what = "the guest's agent coming up";
            return Err(PromptError::Boot(LabError::TimeLimit { what, limit: AGENT_LIMIT }));
        }
        boot.look()?;
    }
    boot.rest()?;
    let now = boot.lab.now();
    // Without one the first command takes longer, and that is all.
    if boot.lab.guest().start_standby(now).is_ok() {
        boot.look()?;
        boot.rest()?;
    }
    Ok(boot.finish())
}

impl Boot<'_> {
    /// Whether the agent is up and the login shell, if there is one, has said something.
    fn has_prompt(&mut self) -> bool {
        let shell = self.lab.console(ConsoleId::Hvc(0));
        let has_spoken = shell.is_none_or(|shell| shell.screen().written() == Written::Once);
        has_spoken && self.lab.guest().is_up()
    }

    /// Runs until little happens, or it has had its time.
    fn rest(&mut self) -> Result<(), PromptError> {
        let end = self.lab.now() + REST_LIMIT;
        let mut quiet = 0;
        while quiet < REST_LOOKS && self.lab.now() < end {
            let before = self.lab.machine().retired();
            self.look()?;
            let busy = self.lab.machine().retired() - before > REST_INSTRUCTIONS;
            quiet = if busy { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), PromptError> {
        self.cancel.check()?;
        let until = self.lab.now() + LOOK;
        self.lab.run_until(until).map_err(PromptError::Boot)?;
        while let Some(event) = self.lab.next_event() {
            if let LabEvent::Console { console, bytes } = event {
                self.screens.output(&Output::Console { console, bytes });
            }
        }
        (self.progress)(Progress::Boots { virtual_ns: self.lab.now().ns() });
        Ok(())
    }

    fn finish(mut self) -> Booted {
        let standby = self.lab.guest().standby();
        let open_ports = self.lab.guest().save().open;
        let derived = Derived { open_ports, ..self.screens.derived() };
        let frozen = self.lab.machine.freeze();
        Booted { frozen, derived, standby }
    }
}
