//! Stopping a running machine, and waiting for its lab to end.

use std::time::{Duration, Instant};

use super::{Machines, MachinesError};
use crate::client::{ClientError, Connection};
use crate::protocol::{AfterSave, Command, Event, Power, State, StopReason};

/// How to stop a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopHow {
    /// Ask the guest to switch off; pull the plug when it has not within this time, or cannot be
    /// asked.
    Shutdown {
        /// Wall time.
        patience: Duration,
    },
    /// Save it; only for named machines.
    Save,
    /// Pull the plug.
    Kill,
}

/// How a machine stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// As asked.
    Clean,
    /// The plug was pulled instead.
    Forced {
        /// Why.
        reason: String,
    },
}

impl Machines {
    /// Stops a running machine and waits for its lab to end.
    ///
    /// # Errors
    /// As [`Machines::connect`]; [`ClientError::Refused`] when it cannot be saved.
    pub fn stop(&self, name: &str, how: StopHow) -> Result<Stopped, MachinesError> {
        let mut lab = self.connect(name)?;
        let mut stopped = Stopped::Clean;
        match how {
            StopHow::Save => drop(lab.call(Command::Save { after: AfterSave::Stop })?),
            StopHow::Kill => drop(lab.call(Command::Power(Power::Kill))?),
            StopHow::Shutdown { patience } => {
                let end = Instant::now() + patience;
                if let Err(reason) = ask_to_switch_off(&mut lab, end)? {
                    stopped = Stopped::Forced { reason };
                    // It may switch off by itself this very moment: then it is gone, too.
                    let _ = lab.send(Command::Power(Power::Kill));
                }
            }
        }
        loop {
            match lab.recv() {
                Ok(Event::State(State::Stopped(StopReason::Failed { message }))) => {
                    stopped = Stopped::Forced { reason: message };
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.wait_for_end(name)?;
        Ok(stopped)
    }

    /// The socket closes a moment before the lab has tidied up.
    fn wait_for_end(&self, name: &str) -> Result<(), MachinesError> {
        let end = Instant::now() + Duration::from_secs(60);
        let folder = self.machine_folder(name);
        while folder.is_dir() {
            match self.lock(name) {
                Ok(_) => return Ok(()),
                Err(MachinesError::Running(_)) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                // Its folder went away just now.
                Err(MachinesError::Io { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Asks the guest to switch off and waits until `end` for its lab to say that it has; the inner
/// error says why it has not.
fn ask_to_switch_off(
    lab: &mut Connection,
    end: Instant,
) -> Result<Result<(), String>, ClientError> {
    match lab.call(Command::Power(Power::Shutdown)) {
        Err(ClientError::Refused(message)) => return Ok(Err(message)),
        Err(ClientError::Closed) => return Ok(Ok(())),
        result => drop(result?),
    }
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err("the guest did not switch off in time".to_owned()));
        }
        match lab.recv_timeout(left) {
            Ok(Some(Event::State(State::Stopped(_)))) | Err(ClientError::Closed) => {
                return Ok(Ok(()));
            }
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
}
