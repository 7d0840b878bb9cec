//! Runs one apt command: watches it, stops it, and makes an error of what it says.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Apt, AptError};
use crate::progress::{Job, Phase};

/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a command of another build that still holds apt's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// Most of an answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

impl Apt {
    /// Runs a command to its end and returns what it printed. `look` is called a few times a
    /// second.
    pub(super) fn run(
        &self,
        program: &str,
        arguments: &[&str],
        job: &mut Job<'_>,
        look: &mut dyn FnMut(&mut Job<'_>),
    ) -> Result<String, AptError> {
        let started = Instant::now();
        loop {
            let (success, answer, complaint) = self.run_once(program, arguments, job, look)?;
            // apt-get update succeeds with stale lists when the mirror is out of reach.
            let failed = !success || complaint.contains("W: Failed to fetch");
            if !failed {
                return Ok(answer);
            }
            let locked = complaint.contains("Could not get lock");
            if !locked || started.elapsed() > LOCK_WAIT {
                return Err(self.explain(program, arguments, &complaint));
            }
            job.say(Phase::Waiting, "another apt-get uses the cache");
            sleep(Duration::from_secs(1));
        }
    }

    fn run_once(
        &self,
        program: &str,
        arguments: &[&str],
        job: &mut Job<'_>,
        look: &mut dyn FnMut(&mut Job<'_>),
    ) -> Result<(bool, String, String), AptError> {
        let io = |source| AptError::Io { path: self.directory.clone(), source };
        let mut out = tempfile::tempfile_in(&self.directory).map_err(io)?;
        let mut err = tempfile::tempfile_in(&self.directory).map_err(io)?;
        let child = Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", self.directory.join("apt.conf"))
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(io)?)
            .stderr(err.try_clone().map_err(io)?)
            // A group of its own, so that apt's download helpers end with it.
            .process_group(0)
            .spawn()
            .map_err(|_| AptError::NoApt)?;
        let mut child = Group(child);
        let status = loop {
            job.check()?;
            look(job);
            if let Some(status) = child.0.try_wait().map_err(io)? {
                break status;
            }
            sleep(LOOK);
        };
        look(job);
        let answer = read_all(&mut out).map_err(io)?;
        Ok((status.success(), answer, read_all(&mut err).map_err(io)?))
    }

    fn explain(&self, program: &str, arguments: &[&str], complaint: &str) -> AptError {
        let said = |patterns: &[&str]| {
            let mut lines = complaint.lines();
            lines.find(|line| patterns.iter().any(|pattern| line.contains(pattern)))
        };
        let mirror = self.mirror.clone();
        if said(&["No space left", "enough free space"]).is_some() {
            return AptError::DiskFull { path: self.directory.clone() };
        }
        let signature =
            ["NO_PUBKEY", "is not signed", "BADSIG", "EXPKEYSIG", "invalid signature", "NODATA"];
        if let Some(line) = said(&signature) {
            return AptError::Signature { mirror, detail: tidy(line) };
        }
        let network = [
            "Could not resolve",
            "Temporary failure resolving",
            "Could not connect",
            "Cannot initiate the connection",
            "Unable to connect",
            "Connection failed",
            "Connection timed out",
            "connection timed out",
            "Network is unreachable",
            "Connection refused",
            "Proxy",
        ];
        if let Some(line) = said(&network) {
            return AptError::NoNetwork { mirror, detail: tidy(line) };
        }
        let lines: Vec<&str> =
            complaint.lines().filter(|line| !line.trim().is_empty()).map(str::trim).collect();
        let verb = arguments.iter().find(|word| ["update", "install"].contains(word));
        AptError::Failed {
            command: format!("{program} {}", verb.unwrap_or(&"")).trim_end().to_owned(),
            detail: lines[lines.len().saturating_sub(3)..].join("; "),
        }
    }
}

fn tidy(line: &str) -> String {
    line.trim_start_matches(['E', 'W', ':', ' ']).trim().to_owned()
}

fn read_all(file: &mut File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A child and its helpers, ended when dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Failing means that it has just ended; the wait below takes it either way.
            let _ = kill_process_group(pid, Signal::TERM);
            for _ in 0..20 {
                if matches!(self.0.try_wait(), Ok(Some(_))) {
                    return;
                }
                sleep(LOOK);
            }
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}
