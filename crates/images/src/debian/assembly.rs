//! Runs the machine in which the image is put together, and takes its disk out.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use stackvm_machine::{
    ConsoleId, DiskConfig, DiskId, Instant, Machine, MachineConfig, Output, Stop,
};

use crate::build::BuildError;
use crate::progress::{Job, Phase};
use crate::source::{BlankSource, FileSource};
use crate::store::StoreError;

/// Size of the image's disk as the guest sees it; only what it writes takes room.
const DISK_BYTES: u64 = 8 << 30;
/// RAM of the machine: enough to hold what it writes until it is convenient.
const MEMORY_BYTES: u64 = 1 << 30;
/// Virtual time between two looks at the machine.
const LOOK_NS: u64 = 20_000_000;
/// Virtual time after which the guest must have finished.
const LIMIT_NS: u64 = 3_600_000_000_000;
/// Lines of the guest kept for an error message.
const LOG_LINES: usize = 15;
/// Bytes of the disk read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What the machine is made of.
pub(super) struct Parts<'a> {
    pub(super) kernel: Vec<u8>,
    pub(super) initrd: Vec<u8>,
    /// The disk with the packages.
    pub(super) packages: &'a Path,
    /// How many packages it has.
    pub(super) package_count: usize,
}

/// Runs the machine until its guest says that it is done, then writes its first disk to `disk`.
pub(super) fn run(parts: Parts<'_>, disk: &Path, job: &mut Job<'_>) -> Result<(), BuildError> {
    let packages =
        FileSource::open(parts.packages).map_err(|error| StoreError::io(parts.packages, error))?;
    let drive = |source, read_only| DiskConfig { source, read_only, serial: String::new() };
    let config = MachineConfig {
        memory_bytes: MEMORY_BYTES,
        kernel: Some(Arc::new(parts.kernel)),
        initrd: Some(Arc::new(parts.initrd)),
        append: super::APPEND.to_owned(),
        disks: vec![
            drive(Arc::new(BlankSource { size_bytes: DISK_BYTES }), false),
            drive(Arc::new(packages), true),
        ],
        consoles: 1,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config)
        .map_err(|error| BuildError::Assembly { problem: error.to_string(), log: String::new() })?;
    let mut guest = Guest::new(parts.package_count);
    job.say(Phase::Install, "starting the machine that installs them: about five minutes");
    let stop = loop {
        job.check()?;
        let until = Instant::from_ns(machine.now().ns() + LOOK_NS);
        let stop = machine.run(until);
        for output in machine.take_outputs() {
            if let Output::Console { console, bytes } = output {
                guest.hear(console, &bytes, job);
            }
        }
        if stop != Stop::Until || machine.now() > Instant::from_ns(LIMIT_NS) {
            break stop;
        }
    };
    guest.check(&stop)?;
    save(&machine, disk, job)
}

/// Copies the machine's first disk to a sparse file.
fn save(machine: &Machine, path: &Path, job: &mut Job<'_>) -> Result<(), BuildError> {
    let io = |error| StoreError::io(path, error);
    let file = File::create_new(path).map_err(io)?;
    file.set_len(DISK_BYTES).map_err(io)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    for offset in (0..DISK_BYTES).step_by(CHUNK_BYTES) {
        job.check()?;
        job.advance(Phase::Save, offset, DISK_BYTES, "writing the disk");
        machine.read_disk(DiskId(0), offset, &mut chunk).map_err(io)?;
        for (index, block) in chunk.chunks(4096).enumerate() {
            if block.iter().any(|&byte| byte != 0) {
                file.write_all_at(block, offset + (index * 4096) as u64).map_err(io)?;
            }
        }
    }
    Ok(())
}

/// What the guest has said so far.
struct Guest {
    package_count: usize,
    unpacked: usize,
    configured: usize,
    step: String,
    done: bool,
    failed: Option<String>,
    log: VecDeque<String>,
    /// Beginnings of lines, of the kernel's terminal and of the script's.
    partial: [Vec<u8>; 2],
}

impl Guest {
    fn new(package_count: usize) -> Guest {
        Guest {
            package_count,
            unpacked: 0,
            configured: 0,
            step: "starting the machine".to_owned(),
            done: false,
            failed: None,
            log: VecDeque::new(),
            partial: [Vec::new(), Vec::new()],
        }
    }

    fn hear(&mut self, console: ConsoleId, bytes: &[u8], job: &mut Job<'_>) {
        let which = usize::from(console != ConsoleId::Serial);
        for &byte in bytes {
            if byte == b'\n' || self.partial[which].len() >= 4096 {
                let line = String::from_utf8_lossy(&self.partial[which]).trim().to_owned();
                self.partial[which].clear();
                self.line(&line);
                self.report(job);
            } else {
                self.partial[which].push(byte);
            }
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        self.log.push_back(line.to_owned());
        if self.log.len() > LOG_LINES {
            self.log.pop_front();
        }
        if let Some(step) = line.strip_prefix("@step ") {
            step.clone_into(&mut self.step);
        } else if let Some(problem) = line.strip_prefix("@failed ") {
            self.failed.get_or_insert_with(|| problem.to_owned());
        } else if line == "@done" {
            self.done = true;
        } else if let Some(rest) = line.strip_prefix("Unpacking ") {
            self.unpacked += 1;
            self.step = format!("unpacking {}", first_word(rest));
        } else if let Some(rest) = line.strip_prefix("Setting up ") {
            self.configured += 1;
            self.step = format!("configuring {}", first_word(rest));
        }
    }

    /// Unpacking a package takes about a third of the time that configuring it takes.
    fn report(&self, job: &mut Job<'_>) {
        let total = self.package_count * 4;
        let done = (self.unpacked + self.configured * 3).min(total);
        job.advance(Phase::Install, done as u64, total as u64, self.step.clone());
    }

    fn check(&self, stop: &Stop) -> Result<(), BuildError> {
        let problem = match (&self.failed, stop) {
            (Some(command), _) => format!("`{command}` failed"),
            (None, Stop::PowerOff { .. }) if self.done => return Ok(()),
            (None, Stop::Stalled { reason }) => reason.clone(),
            (None, Stop::Until) => "the guest did not finish in time".to_owned(),
            (None, stop) => format!("the guest ended unexpectedly ({stop:?})"),
        };
        let log = self.log.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        Err(BuildError::Assembly { problem, log })
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Cancel, Progress};

    fn heard(text: &str) -> (Guest, Vec<Progress>) {
        let (mut reports, cancel) = (Vec::new(), Cancel::default());
        let mut guest = Guest::new(2);
        let mut sink = |progress| reports.push(progress);
        let mut job = Job::new(&mut sink, &cancel);
        for piece in text.as_bytes().chunks(7) {
            guest.hear(ConsoleId::Hvc(0), piece, &mut job);
        }
        (guest, reports)
    }

    #[test]
    fn lines_become_progress() {
        let (guest, reports) = heard(
            "@step one\r\nUnpacking libc6:riscv64 (2.41) ...\r\nSetting up x (1) ...\r\n@done\r\n",
        );
        let last = reports.last().expect("four lines");
        assert_eq!((last.done_bytes, last.total_bytes), (Some(4), Some(8)));
        assert_eq!(last.message, "configuring x");
        assert!(guest.check(&Stop::PowerOff { code: 0 }).is_ok());
    }

    #[test]
    fn a_failure_carries_the_last_lines() {
        let check = |text: &str, stop: Stop, expected: &str| {
            let error = heard(text).0.check(&stop).expect_err("it failed").to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("dpkg: no\n@failed dpkg -i\n@done\n", Stop::PowerOff { code: 0 }, "`dpkg -i` failed");
        check("dpkg: no\n@failed dpkg -i\n", Stop::PowerOff { code: 0 }, "dpkg: no");
        check("Kernel panic\n", Stop::Reset, "Kernel panic");
        check("", Stop::PowerOff { code: 0 }, "unexpectedly");
        check("", Stop::Until, "in time");
        check("", Stop::Stalled { reason: "no space".to_owned() }, "no space");
    }
}
