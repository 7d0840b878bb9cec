//! Seeks to random instants in an hour at a shell: mostly idle, with bursts of work. Every seek's
//! digest is compared with the one that the recorded machine had.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Input, Instant, MachineConfig, Stop};
use stackvm_tests::Rng;
use stackvm_tests::recording::{Recording, Witness};
use stackvm_timeline::cadence::{Activity, Cadence, Moment};
use stackvm_timeline::replay::Replay;
use stackvm_timeline::vmcast::{self, Keyframes};
use stackvm_timeline::{Event, Timeline};

use crate::guest::{Boot, Guest, PROMPT};

const SEEKS: usize = 200;
/// After the first prompt.
const HOUR: Ticks = Ticks::from_ns(3600 * 1_000_000_000);
/// Virtual time that a busy machine runs at once.
const SLICE: Ticks = Ticks::from_ns(20_000_000);

/// What somebody types now and then.
const COMMANDS: [&str; 5] = [
    "dd if=/dev/zero bs=1M count=8 2>/dev/null | sha256sum\n",
    "dd if=/dev/urandom bs=64k count=16 2>/dev/null | gzip | wc -c\n",
    "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i\n",
    "find / -xdev | sort | md5sum\n",
    "ls -l /\n",
];

/// Records, seeks and prints.
pub(crate) fn print(guest: &Guest) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Boot { kernel, initrd, append, .. } = guest.tiny();
    let config = MachineConfig {
        memory_bytes: 256 << 20,
        kernel: Some(Arc::new(fs::read(kernel).context("kernel")?)),
        initrd: Some(Arc::new(fs::read(initrd).context("initrd")?)),
        append,
        consoles: 1,
        ..MachineConfig::default()
    };
    let mut session = Session::start(Recording::start(folder.path(), "hour", &config));
    session.record()?;
    println!("{}", session.summary());
    let Session { mut recording, begin, .. } = session;
    let file = folder.path().join("hour.vmcast");
    vmcast::write(&recording.timeline(), &file, Keyframes::All, &mut |_, _| true)?;
    println!("the .vmcast has {:.1} MB", fs::metadata(&file)?.len() as f64 / 1e6);
    let mut witnesses = std::mem::take(&mut recording.witnesses);
    witnesses.retain(|witness| witness.position.at >= begin);
    seeks(&Arc::new(Timeline::open(&file)?), &mut witnesses)
}

/// An hour at a shell.
struct Session {
    recording: Recording,
    rng: Rng,
    cadence: Option<Cadence>,
    cpu: Duration,
    keyframes: Vec<(Duration, u64)>,
    /// The first prompt.
    begin: Instant,
}

impl Session {
    fn start(recording: Recording) -> Session {
        let (rng, cpu) = (Rng::new(1), Duration::ZERO);
        let (cadence, keyframes, begin) = (None, Vec::new(), Instant::ZERO);
        Session { recording, rng, cadence, cpu, keyframes, begin }
    }

    fn record(&mut self) -> Result<()> {
        while !self.shows(PROMPT) {
            let until = self.recording.machine().now() + SLICE;
            ensure!(until < Instant::from_ns(120_000_000_000), "no prompt in two minutes");
            self.run(until)?;
        }
        self.begin = self.recording.machine().now();
        // A recording of an image begins at its prompt, whose state is there already: this
        // keyframe costs it nothing.
        self.recording.keyframe();
        self.cadence = Some(Cadence::after(self.moment(), Duration::ZERO));
        let end = self.begin + HOUR;
        let mut looks: Vec<Instant> =
            (0..SEEKS).map(|_| self.begin + Ticks::new(self.rng.below(HOUR.get()))).collect();
        looks.sort_unstable();
        let mut looks = looks.into_iter().peekable();
        let mut typing = self.begin + self.pause();
        while self.recording.machine().now() < end {
            let now = self.recording.machine().now();
            if now >= typing {
                let command = COMMANDS[self.rng.below(COMMANDS.len() as u64) as usize];
                let bytes = command.as_bytes().to_vec();
                let input = Input::Console { console: ConsoleId::Hvc(0), bytes };
                self.recording.put(Event::Input(input));
                typing = now + self.pause();
            }
            if looks.next_if(|&look| look <= now).is_some() {
                self.recording.witness();
                continue;
            }
            let next = looks.peek().copied().unwrap_or(end).min(typing).min(end);
            let idle = self.recording.machine().idle_until().unwrap_or(now).max(now);
            self.run(next.min(idle + SLICE))?;
        }
        Ok(())
    }

    /// From a few seconds to two minutes.
    fn pause(&mut self) -> Ticks {
        Ticks::from_ns(5_000_000_000 + self.rng.below(115_000_000_000))
    }

    fn shows(&self, text: &str) -> bool {
        let screen = self.recording.screens().get(ConsoleId::Hvc(0));
        screen.is_some_and(|screen| screen.text().iter().any(|line| line.contains(text)))
    }

    fn run(&mut self, until: Instant) -> Result<()> {
        let before = cpu();
        let stop = self.recording.run(until);
        self.cpu += cpu().saturating_sub(before);
        ensure!(stop == Stop::Until, "{stop:?}");
        let machine = self.recording.machine();
        let activity = if machine.idle_until().is_some() { Activity::Idle } else { Activity::Busy };
        let moment = self.moment();
        if self.cadence.is_some_and(|cadence| cadence.is_due(moment, activity)) {
            let (cost, bytes) = self.recording.keyframe();
            self.keyframes.push((cost, bytes));
            self.cadence = Some(Cadence::after(moment, cost));
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        Moment { lab_cpu: self.cpu, retired: self.recording.machine().retired() }
    }

    fn summary(&self) -> String {
        let cost: Duration = self.keyframes.iter().map(|(cost, _)| *cost).sum();
        let bytes: u64 = self.keyframes.iter().map(|(_, bytes)| bytes).sum();
        format!(
            "an hour at a shell: {:.0} M instructions in {:.1} s; {} keyframes cost {:.2} s and \
             {:.1} MB",
            self.recording.machine().retired() as f64 / 1e6,
            self.cpu.as_secs_f64(),
            self.keyframes.len(),
            cost.as_secs_f64(),
            bytes as f64 / 1e6
        )
    }
}

/// CPU time of this thread, which runs the machine: the host's other work is no cost of ours.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn seeks(timeline: &Arc<Timeline>, witnesses: &mut [Witness]) -> Result<()> {
    let mut rng = Rng::new(2);
    let before = Clock::now();
    let mut replay = Replay::new(timeline.clone())?;
    println!("opened in {:.3} s", before.elapsed().as_secs_f64());
    for what in ["first seeks", "seeks to the same places again"] {
        for at in (1..witnesses.len()).rev() {
            witnesses.swap(at, rng.below(at as u64 + 1) as usize);
        }
        let mut times = Vec::new();
        for witness in &*witnesses {
            let before = Clock::now();
            replay.seek(witness.position)?;
            times.push(before.elapsed().as_secs_f64());
            ensure!(replay.digest() == witness.digest, "another state at {:?}", witness.position);
        }
        times.sort_by(f64::total_cmp);
        let part = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!(
            "{} {what}: p50 {:.3} s, p90 {:.3} s, p99 {:.3} s, worst {:.3} s; every digest right",
            times.len(),
            part(50),
            part(90),
            part(99),
            part(100)
        );
    }
    Ok(())
}
