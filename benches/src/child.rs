//! A system as a child process, timed from outside by the lines it prints.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use stackvm_images::Image;
use stackvm_machine::engine::EngineChoice;
use stackvm_machine::{Instant as VirtualInstant, Machine, MachineConfig, Output, Stop};
use stackvm_tests::qemu::Qemu;

use crate::guest::Boot;

const MEMORY_MB: u64 = 256;
const TIMEOUT: Duration = Duration::from_secs(600);

/// One of the two systems.
pub(crate) struct System {
    /// As the tables call it.
    pub(crate) name: String,
    kind: Kind,
}

enum Kind {
    Stackvm,
    Qemu(Qemu),
}

/// CPU and wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Times {
    /// User and system time of all threads, in seconds.
    pub(crate) cpu_s: f64,
    /// In seconds.
    pub(crate) wall_s: f64,
}

/// What one run took.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// From the start of the process to the end mark.
    pub(crate) total: Times,
    /// Most memory the process had, in MiB.
    pub(crate) peak_mib: f64,
    /// From the start of the process to the first prompt, where one was waited for.
    pub(crate) prompt: Times,
    /// From each kernel's begin mark to its end mark.
    pub(crate) kernels: BTreeMap<String, Times>,
    /// Each kernel's checksum as printed, and retired instructions where the system tells.
    pub(crate) checksums: BTreeMap<String, String>,
    /// What compiling cost, in words, where the system tells.
    pub(crate) compiled: Option<String>,
    /// Instructions each kernel retired, where the system tells.
    pub(crate) retired: BTreeMap<String, u64>,
}

impl System {
    /// This project's machine, without anything around it.
    pub(crate) fn stackvm() -> System {
        System { name: "stackvm".into(), kind: Kind::Stackvm }
    }

    /// The newest QEMU there is here.
    pub(crate) fn qemu() -> Result<System> {
        let qemu = Qemu::find().map_err(anyhow::Error::msg)?;
        Ok(System { name: format!("QEMU {}", qemu.version), kind: Kind::Qemu(qemu) })
    }

    /// Boots once and times it until the end mark.
    pub(crate) fn run(&self, boot: &Boot, kernels: usize) -> Result<Run> {
        let started = Instant::now();
        let child = self.command(boot)?.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut watched = Watched { child, typed: None };
        let run = watched.follow(started, boot.end)?;
        ensure!(run.kernels.len() == kernels, "{}: {} kernels ran", self.name, run.kernels.len());
        Ok(run)
    }

    /// Boots the image `debian`, types `script` at its prompt and times it.
    pub(crate) fn run_debian(
        &self,
        image: &Image,
        data_dir: &Path,
        prompt: &'static str,
        script: &str,
    ) -> Result<Run> {
        let started = Instant::now();
        let (mut command, stdin) = match &self.kind {
            Kind::Stackvm => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("debian-guest").arg(data_dir).arg(script);
                (command, Stdio::null())
            }
            Kind::Qemu(qemu) => {
                let mut command = qemu_machine(qemu, "null");
                command.args(crate::debian::qemu_args(image)?);
                (command, Stdio::piped())
            }
        };
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).spawn()?;
        let typed = child.stdin.take().map(|stdin| (stdin, script.to_owned()));
        Watched { child, typed: Some((prompt, typed)) }.follow(started, "@end all")
    }

    fn command(&self, boot: &Boot) -> Result<Command> {
        match &self.kind {
            Kind::Stackvm => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("guest").arg(&boot.kernel).arg(&boot.initrd).arg(&boot.append);
                Ok(command)
            }
            Kind::Qemu(qemu) => {
                let mut command = qemu_machine(qemu, "chardev:out");
                command.args(["-m", &format!("{MEMORY_MB}M")]);
                command.arg("-kernel").arg(&boot.kernel).arg("-initrd").arg(&boot.initrd);
                command.arg("-append").arg(&boot.append);
                Ok(command)
            }
        }
    }
}

/// QEMU's board with one virtio terminal on its standard streams, and the UART at `serial`.
fn qemu_machine(qemu: &Qemu, serial: &str) -> Command {
    let mut command = qemu.command();
    // One that is not installed complains of the installed one's modules.
    command.stderr(Stdio::null());
    command.args(["-M", "virt", "-accel", "tcg", "-display", "none", "-monitor", "none"]);
    command.args(["-global", "virtio-mmio.force-legacy=false"]);
    command.args(["-chardev", "stdio,id=out,mux=on,signal=off", "-serial", serial]);
    command.args(["-device", "virtio-serial-device", "-device", "virtconsole,chardev=out"]);
    command
}

/// Killed when it goes out of scope.
struct Watched {
    child: Child,
    /// What is typed at which prompt, and where, unless the child types it itself.
    typed: Option<(&'static str, Option<(ChildStdin, String)>)>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself; nobody is left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watched {
    fn follow(&mut self, started: Instant, end: &str) -> Result<Run> {
        let mut stdout = self.child.stdout.take().context("stdout is piped")?;
        let mut run = Run::default();
        let (mut text, mut begun) = (String::new(), BTreeMap::new());
        let mut buf = [0; 4096];
        loop {
            let count = stdout.read(&mut buf)?;
            ensure!(count > 0, "it ended before {end:?}; its last words:\n{text}");
            ensure!(started.elapsed() < TIMEOUT, "no {end:?} after {TIMEOUT:?}:\n{text}");
            text.push_str(&String::from_utf8_lossy(&buf[..count]));
            let now =
                Times { cpu_s: cpu_s(self.child.id())?, wall_s: started.elapsed().as_secs_f64() };
            if let Some((prompt, typed)) = &mut self.typed
                && text.contains(*prompt)
            {
                run.prompt = now;
                if let Some((stdin, script)) = typed {
                    stdin.write_all(script.as_bytes())?;
                }
                self.typed = None;
            }
            while let Some(line_end) = text.find('\n') {
                let line = text[..line_end].trim().to_owned();
                text.drain(..=line_end);
                mark(&line, now, &mut begun, &mut run)?;
                if line.contains(end) {
                    (run.total, run.peak_mib) = (now, peak_mib(self.child.id()));
                    return Ok(run);
                }
            }
            if text.contains(end) && !end.starts_with('@') {
                (run.total, run.peak_mib) = (now, peak_mib(self.child.id()));
                return Ok(run);
            }
        }
    }
}

/// Takes note of a marker line: `@begin NAME`, `@end NAME SUM`, `@retired N`.
fn mark(
    line: &str,
    now: Times,
    begun: &mut BTreeMap<String, (Times, u64)>,
    run: &mut Run,
) -> Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["@begin", name] => {
            begun.insert(name.into(), (now, 0));
        }
        ["@end", name, sum] => {
            let Some((from, _)) = begun.get(name) else { bail!("{name} ended before it began") };
            let took = Times { cpu_s: now.cpu_s - from.cpu_s, wall_s: now.wall_s - from.wall_s };
            run.kernels.insert(name.into(), took);
            run.checksums.insert(name.into(), sum.into());
        }
        ["@compiled", ..] => run.compiled = line.strip_prefix("@compiled ").map(str::to_owned),
        ["@retired", name, count] => {
            run.retired.insert(name.into(), count.parse()?);
        }
        _ => {}
    }
    Ok(())
}

/// CPU time of the host's own program of a kernel, in seconds.
pub(crate) fn native_s(program: &Path, kernel: &str) -> Result<f64> {
    let started = Instant::now();
    let child = Command::new(program).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let run = Watched { child, typed: None }.follow(started, &format!("@end {kernel}"))?;
    Ok(run.kernels.get(kernel).context("it did not begin")?.cpu_s)
}

/// Most memory a process had, in MiB; 0 if it is gone.
fn peak_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// CPU time of all threads of a process, in seconds.
pub(crate) fn cpu_s(pid: u32) -> Result<f64> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two reads; its time is then small.
        let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        ns += stat.split_whitespace().next().context("schedstat")?.parse::<u64>()?;
    }
    Ok(ns as f64 / 1e9)
}

fn clock_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}

/// What compiling cost so far, in words.
fn compiled(machine: &Machine) -> String {
    let usage = machine.engine_usage();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let ms = |ns: u64| ns as f64 / 1e6;
    format!(
        "{} instructions in {} regions took {:.0} ms, {:.2} ms at most; code takes {:.1} MiB, \
         tables {:.1} MiB",
        usage.ops,
        usage.regions,
        ms(usage.total_ns),
        ms(usage.longest_ns),
        mib(usage.code_bytes),
        mib(usage.table_bytes),
    )
}

/// The child side of [`System::stackvm`]: runs a machine as fast as it goes, consoles to stdout.
pub(crate) fn run_machine(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut file = || -> Result<Arc<Vec<u8>>> {
        Ok(Arc::new(fs::read(args.next().context("kernel and initrd files")?)?))
    };
    let (kernel, initrd) = (file()?, file()?);
    let append = args.next().context("a command line")?;
    let mut machine = Machine::new(&config(kernel, initrd, append))?;
    machine.set_clock(clock_ns);
    let mut stdout = std::io::stdout().lock();
    let mut started: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let until = machine.now() + stackvm_machine::instant::Ticks::from_ns(1_000_000);
        let stop = machine.run(until);
        for output in machine.take_outputs() {
            let Output::Console { bytes, .. } = output else { continue };
            for line in String::from_utf8_lossy(&bytes).lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                match words[..] {
                    ["@begin", name] => {
                        started.insert(name.into(), machine.retired());
                    }
                    ["@end", name, _] => {
                        let count = machine.retired() - started.get(name).copied().unwrap_or(0);
                        writeln!(stdout, "@retired {name} {count}")?;
                        writeln!(stdout, "@compiled {}", compiled(&machine))?;
                    }
                    _ => {}
                }
            }
            stdout.write_all(&bytes)?;
            stdout.flush()?;
        }
        match stop {
            Stop::Until | Stop::Outputs => {}
            other => bail!("the machine stopped: {other:?}"),
        }
    }
}

fn config(kernel: Arc<Vec<u8>>, initrd: Arc<Vec<u8>>, append: String) -> MachineConfig {
    MachineConfig {
        memory_bytes: MEMORY_MB << 20,
        kernel: Some(kernel),
        initrd: Some(initrd),
        append,
        consoles: 1,
        ..MachineConfig::default()
    }
}

/// Runs everything once more, interpreted and compiled, and compares the digests at `stops`
/// instants and at the end.
pub(crate) fn compare_engines(boot: &Boot, stops: u64) -> Result<()> {
    let file = |path: &Path| fs::read(path).map(Arc::new);
    let config = config(file(&boot.kernel)?, file(&boot.initrd)?, boot.append.clone());
    let machine = |engine: EngineChoice| -> Result<Machine> {
        let mut machine = Machine::new(&config)?;
        machine.set_engine(engine);
        Ok(machine)
    };
    let mut whole = machine(EngineChoice::default())?;
    run_to(&mut whole, VirtualInstant::MAX)?;
    let piece = whole.now().ticks() / stops;
    drop(whole);
    let mut compiled = machine(EngineChoice::default())?;
    let mut interpreted = machine(EngineChoice::Interpreter)?;
    let instants = (1..=stops).map(|nth| VirtualInstant::from_ticks(piece * nth));
    for until in instants.chain([VirtualInstant::MAX]) {
        run_to(&mut compiled, until)?;
        run_to(&mut interpreted, until)?;
        let (a, b) = (compiled.digest(), interpreted.digest());
        ensure!(a == b, "at {} compiled code came to {a}, interpreted to {b}", compiled.now());
    }
    let last = compiled.digest();
    println!("interpreted and compiled: the same digest {stops} times, and at the end {last}\n");
    Ok(())
}

/// Runs to an instant or until the guest switches off.
fn run_to(machine: &mut Machine, until: VirtualInstant) -> Result<()> {
    loop {
        match machine.run(until) {
            Stop::Until | Stop::PowerOff { .. } => return Ok(()),
            Stop::Outputs => drop(machine.take_outputs()),
            other => bail!("the machine stopped: {other:?}"),
        }
    }
}
