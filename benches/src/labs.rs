//! Labs in processes of their own, as the product runs them, for the measurements.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result, bail, ensure};
use stackvm_host::client::Connection;
use stackvm_host::machines::{MachineSpec, Machines, Source, StopHow};
use stackvm_host::protocol::{Agent, Command, Event, ExecId, ExecSpec, Stdin};

/// How long a guest may take to boot, or to run a command.
const PATIENCE: Duration = Duration::from_secs(300);

/// A data directory of its own, with the images of another.
pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) machines: Machines,
}

impl Home {
    pub(crate) fn new(data: &Path) -> Result<Home> {
        let folder = tempfile::tempdir()?;
        let images = data.join("images").canonicalize().context("the images")?;
        std::os::unix::fs::symlink(images, folder.path().join("images"))?;
        Ok(Home { machines: Machines::open(folder.path())?, folder })
    }

    /// Starts a machine of the image `tiny`.
    pub(crate) fn start(&self, spec: MachineSpec) -> Result<Connection> {
        self.machines.create(&spec)?;
        Ok(self.machines.connect(&spec.name)?)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for machine in self.machines.list().unwrap_or_default() {
            // It may have ended by itself.
            let _ = self.machines.stop(&machine.spec.name, StopHow::Kill);
        }
    }
}

/// A machine of `tiny`, the same every time.
pub(crate) fn tiny(name: &str, memory_bytes: u64) -> MachineSpec {
    MachineSpec {
        memory_bytes: Some(memory_bytes),
        seed: Some(1),
        rtc_ns: Some(1_767_225_600_000_000_000),
        ..MachineSpec::new(name, Source::Image { name: "tiny".into(), hash: None })
    }
}

/// Runs a command in the guest, once it is up.
pub(crate) fn exec(lab: &mut Connection, script: &str) -> Result<()> {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let spec = ExecSpec { argv, env: Vec::new(), tty: None, stdin: Stdin::Null };
    lab.call(Command::Exec { exec: ExecId(1), spec })?;
    let end = Clock::now() + PATIENCE;
    loop {
        match lab.recv_timeout(end.saturating_duration_since(Clock::now()))? {
            Some(Event::ExecExit { code, .. }) => {
                ensure!(code == 0, "{script}: exit code {code}");
                return Ok(());
            }
            Some(Event::ExecLost { message, .. }) => bail!("{script}: {message}"),
            Some(_) => {}
            None => bail!("{script}: not done after {PATIENCE:?}"),
        }
    }
}

/// Waits until the guest's agent is up.
pub(crate) fn wait_up(lab: &mut Connection) -> Result<()> {
    if lab.hello().agent == Agent::Up {
        return Ok(());
    }
    let end = Clock::now() + PATIENCE;
    loop {
        match lab.recv_timeout(end.saturating_duration_since(Clock::now()))? {
            Some(Event::Agent(Agent::Up)) => return Ok(()),
            Some(_) => {}
            None => bail!("no agent after {PATIENCE:?}"),
        }
    }
}

/// CPU time of a lab, to hundredths of a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// Of all its threads, those that have ended included, in seconds.
    pub(crate) all_s: f64,
    /// Of the threads beside the one that runs the machine: they write keyframes and sync.
    pub(crate) beside_s: f64,
}

/// CPU time of a process so far.
pub(crate) fn cpu(pid: u32) -> Result<Cpu> {
    let all_s = stat_s(&format!("/proc/{pid}/stat"))?;
    let machine_s = stat_s(&format!("/proc/{pid}/task/{pid}/stat"))?;
    Ok(Cpu { all_s, beside_s: (all_s - machine_s).max(0.0) })
}

fn stat_s(path: &str) -> Result<f64> {
    let stat = fs::read_to_string(path)?;
    let (_, rest) = stat.rsplit_once(')').context("stat")?;
    let field = |at: usize| -> Result<u64> {
        Ok(rest.split_whitespace().nth(at).context("stat")?.parse()?)
    };
    Ok((field(11)? + field(12)?) as f64 / 100.0)
}

/// Proportional set size of a process, in bytes.
pub(crate) fn pss_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find(|line| line.starts_with("Pss:")).context("Pss")?;
    Ok(line.split_whitespace().nth(1).context("Pss")?.parse::<u64>()? << 10)
}
