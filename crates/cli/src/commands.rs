//! One file per command, and what they share: the data directory's machines, starting one, and
//! what becomes of it after a session.

mod attach;
mod cast;
mod debug;
mod down;
mod events;
mod fork;
mod hold;
mod image;
mod log;
mod ls;
mod moments;
mod open;
mod past;
mod play;
mod prompt;
mod record;
mod rename;
mod report;
mod rm;
mod rows;
mod run;
mod share;
mod start;
mod stop;
mod store;
mod until;
mod up;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use stackvm_host::machines::{
    Lifetime, Listed, MachineSpec, Machines, MachinesError, Started, Status, StopHow,
};
use stackvm_host::protocol::{Power, StopReason};
use stackvm_images::data_dir;

use crate::args::Command;
use crate::failure::failure;
use crate::session::{End, Phase, Signals};

/// How long a lab may take to tidy up after its machine is off.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// Does what the command line asks; returns the exit code.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    // A lab's process has no runtime: it is single-threaded.
    let command = match command {
        Command::Lab(lab) => {
            let main = if lab.replays { stackvm_host::replay_main } else { stackvm_host::lab_main };
            return Ok(main(&lab.dir, lab.sandbox.mode()));
        }
        command => command,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match command {
            Command::Up(args) => up::run(args).await,
            Command::Down => down::run().await,
            Command::Open(args) => open::run(&args),
            Command::Share(args) => share::run(&args),
            Command::Report(args) => report::run(&args),
            Command::Events(args) => events::run(&args),
            Command::Moments(args) => moments::run(args).await,
            Command::Run(args) => run::run(*args).await,
            Command::Start(args) => start::run(args).await,
            Command::Attach(args) => attach::attach(args).await,
            Command::Exec(args) => attach::exec(args).await,
            Command::Record(args) => record::run(*args).await,
            Command::Play(args) => play::run(args).await,
            Command::Log(args) => log::run(args).await,
            Command::Cast(command) => cast::run(command).await,
            Command::Fork(args) => fork::run(args).await,
            Command::Store(command) => store::run(command).await,
            Command::Ls(args) => ls::run(&args),
            Command::Stop(args) => stop::run(args).await,
            Command::Pause(args) => hold::run(&args, Power::Pause).await,
            Command::Resume(args) => hold::run(&args, Power::Resume).await,
            Command::Rename(args) => rename::run(&args),
            Command::Rm(args) => rm::run(&args).await,
            Command::Image(command) => image::run(command).await,
            Command::Debug(command) => debug::run(command).await,
            Command::Lab(_) => unreachable!("done above"),
        }
    });
    // A thread that still reads standard input, or that a signal gave up, is not waited for.
    runtime.shutdown_background();
    result.map(ExitCode::from)
}

/// The machines of the data directory.
fn machines() -> Result<Machines> {
    Ok(Machines::open(&data_dir()?)?)
}

/// One of them, or an error that says how to find the others.
fn machine(machines: &Machines, name: &str) -> Result<Listed> {
    let found = machines.find(name).and_then(|id| machines.get(&id));
    found.map_err(|error| unknown(&error))
}

fn unknown(error: &MachinesError) -> anyhow::Error {
    failure(error.to_string(), "`stackvm ls` lists the machines")
}

/// A name that cannot be given again.
fn taken(name: &str) -> anyhow::Error {
    failure(
        format!("there is a machine {name} already"),
        "choose another name, or leave it to stackvm",
    )
}

/// Calls what blocks without keeping signals waiting.
async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await?
}

/// Makes a machine and starts its lab.
async fn create(machines: &Machines, spec: MachineSpec) -> Result<Started> {
    let machines = machines.clone();
    blocking(move || {
        let label = spec.image_label();
        machines.create(&spec).with_context(|| format!("could not start {label}"))
    })
    .await
}

/// The exit code for the code with which a guest switched itself off.
fn power_off_code(code: u32) -> u8 {
    match u8::try_from(code & 0xff) {
        // Not 0, and must not look like it.
        Ok(0) if code != 0 => 1,
        Ok(code) => code,
        Err(_) => 1,
    }
}

/// Waits until the lab of a machine that has stopped has tidied up.
async fn settle(machines: &Machines, name: &str) {
    let limit = Instant::now() + SETTLE_LIMIT;
    while Instant::now() < limit {
        match machines.get(name) {
            Ok(listed) if listed.status == Status::Running => {}
            _ => return,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A machine that a session was joined to, and who decides about it.
struct Joined {
    machines: Machines,
    name: String,
    lifetime: Lifetime,
    owner: Owner,
}

/// Whether the session's end is the machine's, too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// This program started it.
    Session,
    /// It runs by itself; this program only visits.
    Itself,
}

impl Joined {
    /// What becomes of the machine, and the exit code.
    async fn conclude(&self, end: Result<End>, signals: &mut Signals) -> Result<u8> {
        let end = match end {
            Ok(end) => end,
            Err(error) => {
                // The error at hand matters more than what goes wrong while leaving.
                let _ = self.leave(signals).await;
                return Err(error);
            }
        };
        match end {
            End::Stopped { reason, phase } => {
                self.settle().await;
                self.stopped(reason, phase)
            }
            End::Recorded | End::Returned | End::Quit => self.leave(signals).await.map(|()| 0),
            End::Exited(code) => self.leave(signals).await.map(|()| code),
            End::Signal(signal) => self.leave(signals).await.map(|()| signal.exit_code()),
            End::Killed => self.stop(StopHow::Kill, signals).await.map(|()| 0),
            End::KernelPanic => {
                self.stop(StopHow::Kill, signals).await?;
                Err(anyhow!("the guest's kernel panicked; machine {} is off", self.name))
            }
            End::Detached => {
                let name = &self.name;
                eprintln!(
                    "machine {name} goes on: `stackvm attach {name}` comes back, \
                     `stackvm stop {name}` ends it"
                );
                Ok(0)
            }
        }
    }

    /// Waits until the lab of a machine that is off has tidied up, so that whoever looks or starts
    /// it next finds it off.
    async fn settle(&self) {
        settle(&self.machines, &self.name).await;
    }

    fn stopped(&self, reason: StopReason, phase: Phase) -> Result<u8> {
        let name = &self.name;
        match reason {
            StopReason::PowerOff { .. } if phase == Phase::Booting => Err(failure(
                format!("machine {name} switched itself off before it was up"),
                "the end of its kernel log, above, may say why; more memory (--mem) may help",
            )),
            StopReason::PowerOff { code } => Ok(power_off_code(code)),
            StopReason::Killed => Err(anyhow!("machine {name} was switched off from elsewhere")),
            StopReason::Saved => {
                eprintln!("machine {name} was saved; `stackvm start {name}` goes on with it");
                Ok(0)
            }
            StopReason::Failed { message } => Err(anyhow!("machine {name} stopped: {message}")),
        }
    }

    /// Ends the machine with its session, keeping the state of one with a name; a machine that
    /// was only visited goes on.
    async fn leave(&self, signals: &mut Signals) -> Result<()> {
        match (self.owner, self.lifetime) {
            (Owner::Itself, _) => Ok(()),
            (Owner::Session, Lifetime::Ephemeral | Lifetime::Held) => {
                self.stop(StopHow::Kill, signals).await
            }
            (Owner::Session, Lifetime::Named | Lifetime::Frozen) => {
                self.stop(StopHow::Save, signals).await
            }
        }
    }

    async fn stop(&self, how: StopHow, signals: &mut Signals) -> Result<()> {
        let (machines, name) = (self.machines.clone(), self.name.clone());
        let stop = blocking(move || {
            machines.stop(&name, how)?;
            Ok(())
        });
        tokio::select! {
            result = stop => match result {
                // It has ended by itself meanwhile.
                Err(error) if is_gone(&error) => Ok(()),
                result => result,
            },
            _ = signals.next_end() => {
                Err(anyhow!("interrupted while machine {} was stopping", self.name))
            }
        }
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    use stackvm_host::client::ClientError;
    matches!(
        error.downcast_ref(),
        Some(
            MachinesError::NotRunning(_)
                | MachinesError::Unknown { .. }
                | MachinesError::Client(ClientError::Closed)
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_guest_never_looks_successful() {
        let check = |code, exit| assert_eq!(power_off_code(code), exit, "{code}");
        check(0, 0);
        check(7, 7);
        check(255, 255);
        check(256, 1);
        check(0x1_0003, 3);
    }
}
