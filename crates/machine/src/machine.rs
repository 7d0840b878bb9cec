//! The machine: harts and board on one virtual clock.
//!
//! Owns the order of everything: which hart runs, for how long, when devices and timers fire.
//!
//! Harts take turns on the one clock, [`QUANTUM_STEPS`] instructions each; a turn ends early with
//! WFI, PAUSE or an IPI. At one instant timers come first, then devices by slot, then inputs in
//! the order they are put in. What is due takes effect at the first instruction boundary at or
//! after its instant. Nothing else decides, so cutting a run anywhere changes nothing.

use std::ops::Range;

use stackvm_riscv::{Engine, Exit, Firmware as Ecalls, Hart, RamPage, Turn};

use crate::board::Board;
use crate::boot::{self, BoardDescription, BootMode, BootPlan, FirmwareKind, HartStart};
use crate::config::{ConfigError, MachineConfig, limits};
use crate::devices::finisher::FinisherRequest;
use crate::devices::virtio::{HostEvent, VirtioDevice};
use crate::digest::StateTrees;
use crate::engine;
use crate::htif::Htif;
use crate::instant::{Instant, Ticks};
use crate::io::{ConsoleId, Input, Output, PortId};
use crate::sbi;
use crate::watch::WatchedStore;

/// Instructions in a hart's turn.
pub const QUANTUM_STEPS: u64 = 20_000;
/// Highest cost of an instruction: 64 ns.
pub const RATE_TICKS_MAX: u32 = 1024;
/// Output that may wait to be taken before a run is interrupted, in bytes: a guest that only
/// prints must not fill the host's memory.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Pages of guest RAM backed ahead: few for a fork that hardly writes, more once many were written.
const RESERVED_PAGES_MIN: usize = 32;
const RESERVED_PAGES_MAX: usize = 1024;
/// Most instructions between two looks at the host's memory, for each page backed ahead.
const STEPS_PER_RESERVED_PAGE: u64 = 1024;

/// Why [`Machine::run`] came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The instant asked for was reached.
    Until,
    /// The guest switched the machine off; the code is the finisher's or HTIF's (0 is success).
    PowerOff {
        /// Exit code.
        code: u32,
    },
    /// The guest asked for a reset, which is the caller's to do ([`Machine::reset`]).
    Reset,
    /// Something was stored into the range of [`Machine::watch`] right before [`Machine::now`]:
    /// take it ([`Machine::take_watched`]) and run again.
    Watched,
    /// Much output waits: take it ([`Machine::take_outputs`]) and run again.
    Outputs,
    /// A host condition (unreadable disk content, no memory) must be cured first; running again
    /// goes on.
    Stalled {
        /// What happened, to what.
        reason: String,
    },
}

/// What a hart is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum HartRun {
    /// Executing instructions when it is its turn.
    Running,
    /// In WFI.
    Waiting,
    /// Stopped, until SBI HSM starts it.
    Stopped,
}

/// A running computer.
pub struct Machine {
    pub(crate) config: MachineConfig,
    pub(crate) board: Board,
    pub(crate) harts: Vec<Hart>,
    pub(crate) engine: Engine,
    pub(crate) runs: Vec<HartRun>,
    /// Whose turn it is, and how much of it is left.
    pub(crate) current: usize,
    pub(crate) quantum_left: u64,
    pub(crate) now: Instant,
    pub(crate) rate_ticks: u32,
    pub(crate) firmware: FirmwareKind,
    pub(crate) htif: Option<Htif>,
    /// Set once the machine is off.
    pub(crate) off: Option<FinisherRequest>,
    /// Pages of RAM that are backed ahead.
    reserved_pages: usize,
    /// What the last digest hashed.
    pub(crate) trees: StateTrees,
    /// Stores there end a run; empty if nothing is watched.
    pub(crate) watched_range: Range<u64>,
    /// Such stores that nobody took yet.
    pub(crate) watched: Vec<WatchedStore>,
}

impl Machine {
    /// Switches a machine on.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(config: &MachineConfig) -> Result<Machine, ConfigError> {
        let mut machine = Machine::assemble(config)?;
        let slots = (0..machine.board.slots.len()).collect();
        let board = BoardDescription::new(config, slots);
        let plan = boot::load(&mut machine.board.ram, config, &board)?;
        machine.board.ram.take_written();
        machine.start(&plan);
        Ok(machine)
    }

    /// A machine of that shape with empty RAM and no program to run.
    pub(crate) fn assemble(config: &MachineConfig) -> Result<Machine, ConfigError> {
        check(config)?;
        let board = Board::new(config)?;
        let pages = stackvm_riscv::Bus::ram_pages(&board);
        let harts = config.harts as usize;
        let mut machine = Machine {
            config: MachineConfig { kernel: None, initrd: None, ..config.clone() },
            board,
            harts: (0..u64::from(config.harts)).map(Hart::new).collect(),
            engine: Engine::new(harts, pages),
            runs: vec![HartRun::Stopped; harts],
            current: 0,
            quantum_left: QUANTUM_STEPS,
            now: Instant::ZERO,
            rate_ticks: config.rate_ticks,
            firmware: FirmwareKind::None,
            htif: None,
            off: None,
            reserved_pages: RESERVED_PAGES_MIN,
            trees: StateTrees::new(config),
            watched_range: 0..0,
            watched: Vec::new(),
        };
        machine.set_engine(engine::chosen());
        if config.sv48 {
            machine.harts.iter_mut().for_each(Hart::offer_sv48);
        }
        Ok(machine)
    }

    fn start(&mut self, plan: &BootPlan) {
        self.firmware = plan.firmware;
        self.htif = plan.tohost.map(|tohost| Htif { tohost, fromhost: plan.fromhost });
        self.watch_htif();
        for (id, hart) in self.harts.iter_mut().enumerate() {
            let id = id as u64;
            match plan.mode {
                BootMode::Supervisor => hart.enter_supervisor(plan.entry_pc, id, plan.fdt_addr),
                BootMode::Machine => {
                    hart.set_pc(plan.entry_pc);
                    hart.set_reg(10, id);
                    hart.set_reg(11, plan.fdt_addr);
                    hart.set_reg(12, plan.fw_dynamic_info_addr);
                }
            }
        }
        match plan.start {
            HartStart::AllHarts => self.runs.fill(HartRun::Running),
            HartStart::BootHartOnly => self.runs[0] = HartRun::Running,
        }
    }

    /// Has stores to the HTIF mailbox reported.
    pub(crate) fn watch_htif(&mut self) {
        if let Some(htif) = &self.htif {
            self.engine.report_stores(&mut self.board, htif.tohost);
        }
    }

    /// Runs to exactly `until`, or to an earlier stop: to the first instruction boundary at or
    /// after it while a hart is busy. Never fails: a misbehaving guest is a guest trap or a device
    /// error state.
    pub fn run(&mut self, until: Instant) -> Stop {
        loop {
            match self.off {
                Some(FinisherRequest::PowerOff { code }) => return Stop::PowerOff { code },
                Some(FinisherRequest::Reset) => return Stop::Reset,
                None => {}
            }
            if let Err(stall) = self.board.fire(self.now) {
                self.forget_written();
                return Stop::Stalled { reason: stall.reason };
            }
            self.forget_written();
            if self.collect_overwritten() {
                return Stop::Watched;
            }
            self.wake();
            if self.now >= until {
                return Stop::Until;
            }
            if self.board.outputs.iter().map(Output::len_bytes).sum::<usize>() > OUTPUT_BYTES_MAX {
                return Stop::Outputs;
            }
            if let Err(error) = self.reserve() {
                let reason = format!("the host has no memory for guest RAM: {error}");
                return Stop::Stalled { reason };
            }
            if self.pick_hart() {
                self.run_turn(until);
            } else {
                // Every hart waits: time leaps.
                self.now = self.next_deadline().unwrap_or(Instant::MAX).min(until);
            }
        }
    }

    /// The instant reached.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Applies an input at [`Machine::now`]. Inputs that name absent devices are ignored.
    pub fn input(&mut self, input: Input) {
        let now = self.now;
        match input {
            Input::Console { console: ConsoleId::Serial, bytes } => {
                self.board.uart.input(&bytes);
                self.board.drive_lines();
            }
            Input::Console { console, bytes } => {
                self.console_event(console, HostEvent::Input(&bytes));
            }
            Input::Resize { console, columns, rows } => {
                self.console_event(console, HostEvent::Resize { columns, rows });
            }
            Input::PortOpen { port } => self.port_event(HostEvent::PortOpen(port)),
            Input::PortClose { port } => self.port_event(HostEvent::PortClose(port)),
            Input::Port { port, bytes } => self.port_event(HostEvent::PortInput(port, &bytes)),
            Input::Frame { nic, bytes } => {
                let index = usize::from(nic.0);
                let kind = |d: &VirtioDevice| matches!(d, VirtioDevice::Net(_));
                self.board.nth_event(now, index, HostEvent::Frame(&bytes), kind);
            }
            Input::Rate { ticks } => {
                if ticks.is_power_of_two() && ticks <= RATE_TICKS_MAX {
                    self.rate_ticks = ticks;
                }
            }
            Input::Identity { seed, rtc_ns } => {
                self.board.vmgenid.set_identity(seed);
                self.board.rtc.set_time(rtc_ns, now);
                self.board.event(now, HostEvent::Identity { seed }, |_| true);
            }
        }
        self.forget_written();
    }

    /// Takes what left the machine since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.board.outputs)
    }

    /// When every hart waits in WFI: the instant of the next timer or device event
    /// ([`Instant::MAX`] if there is none). `None` while any hart is busy.
    pub fn idle_until(&self) -> Option<Instant> {
        let busy =
            self.runs.iter().zip(&self.harts).enumerate().any(|(index, (run, hart))| match run {
                HartRun::Running => true,
                HartRun::Waiting => {
                    let mut lines = self.board.lines(index, self.now);
                    lines |= self.sstc_line(hart);
                    hart.wakes_with(lines)
                }
                HartRun::Stopped => false,
            });
        if busy { None } else { Some(self.next_deadline().unwrap_or(Instant::MAX)) }
    }

    /// Bytes of input a port still takes before its guest must read.
    pub fn port_room_bytes(&self, port: PortId) -> usize {
        self.board.port_room_bytes(port)
    }

    /// Bytes of input a terminal still takes before its guest must read.
    pub fn console_room_bytes(&self, console: ConsoleId) -> usize {
        self.board.console_room_bytes(console)
    }

    /// Instructions retired by all harts.
    pub fn retired(&self) -> u64 {
        self.harts.iter().map(Hart::retired).sum()
    }

    /// The harts, to look at.
    pub fn harts(&self) -> &[Hart] {
        &self.harts
    }

    /// Guest memory, to look at.
    pub fn ram(&self) -> &crate::memory::Ram {
        &self.board.ram
    }

    /// Ticks an instruction takes now.
    pub fn rate_ticks(&self) -> u32 {
        self.rate_ticks
    }

    /// Bytes of a disk that the guest has written, in whole blocks.
    pub fn disk_written_bytes(&self) -> u64 {
        let blocks: u64 = (0..=u8::MAX)
            .map_while(|n| self.board.disk(crate::io::DiskId(n)))
            .map(|blk| blk.disk().overlay().len())
            .sum();
        blocks * crate::devices::disk::BLOCK_BYTES as u64
    }

    /// Reads a disk as the guest would, past what it has not flushed.
    ///
    /// # Errors
    /// The source's, or `NotFound` for an absent disk.
    pub fn read_disk(
        &self,
        disk: crate::io::DiskId,
        offset: u64,
        buf: &mut [u8],
    ) -> std::io::Result<()> {
        match self.board.disk(disk) {
            Some(blk) => blk.disk().read(offset, buf),
            None => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no such disk")),
        }
    }

    /// Has the host back the pages that are written next.
    fn reserve(&mut self) -> std::io::Result<()> {
        if self.board.ram.reserved_pages() < self.reserved_pages / 2 {
            self.reserved_pages = (self.reserved_pages * 2).min(RESERVED_PAGES_MAX);
        }
        self.board.ram.reserve(self.reserved_pages)
    }

    /// Runs the current hart until its turn, or the time until something is due, is over.
    fn run_turn(&mut self, until: Instant) {
        let index = self.current;
        let due = self.next_deadline().unwrap_or(Instant::MAX).min(until);
        let rate = u64::from(self.rate_ticks);
        // Something due already still lets one instruction pass: it was raised just before.
        let steps = due.since(self.now).get().div_ceil(rate).max(1);
        let alone = self.harts.len() == 1;
        let turn_left = if alone { u64::MAX } else { self.quantum_left };
        let turn = Turn {
            steps: steps.min(turn_left).min(self.reserved_pages as u64 * STEPS_PER_RESERVED_PAGE),
            now_ticks: self.now.ticks(),
            ticks_per_step: rate,
            firmware: match self.firmware {
                FirmwareKind::Builtin => Ecalls::Caller,
                FirmwareKind::None | FirmwareKind::File => Ecalls::Guest,
            },
        };
        let hart = &mut self.harts[index];
        let lines = self.board.lines(index, self.now);
        hart.set_lines(lines, self.board.clint.mtime(self.now));
        let before = hart.steps();
        let exit = self.engine.run(index, hart, &mut self.board, turn);
        let taken = hart.steps() - before;
        self.now += Ticks::new(taken * rate);
        self.quantum_left = self.quantum_left.saturating_sub(if alone { 0 } else { taken });
        self.handle(exit);
    }

    fn handle(&mut self, exit: Exit) {
        let index = self.current;
        match exit {
            Exit::Steps => {}
            Exit::Wfi => {
                self.runs[index] = HartRun::Waiting;
                self.quantum_left = 0;
            }
            Exit::Pause => self.quantum_left = 0,
            Exit::Firmware => sbi::call(self, index),
            Exit::Devices => {
                self.off = self.off.or(self.board.finisher.request());
                self.end_turn_on_ipi();
            }
            Exit::Reported => {
                self.collect_reported();
                self.htif_stored();
            }
        }
        if self.quantum_left == 0 && self.harts.len() > 1 {
            self.engine.end_turn(index, &self.harts[index], &mut self.board);
        }
    }

    /// An IPI through the CLINT ends the sender's turn, so that it arrives soon.
    fn end_turn_on_ipi(&mut self) {
        let sent = (0..self.harts.len()).any(|hart| {
            hart != self.current && self.board.clint.msip(hart) && !self.msip_seen(hart)
        });
        if sent {
            self.quantum_left = 0;
        }
    }

    /// Whether the hart already had its software interrupt line up when it last looked.
    fn msip_seen(&self, hart: usize) -> bool {
        self.harts[hart].lines() & stackvm_riscv::trap::irq::MSI != 0
    }

    /// Ends WFI of the harts whose interrupts are pending.
    fn wake(&mut self) {
        let mtime = self.board.clint.mtime(self.now);
        for index in 0..self.harts.len() {
            if self.runs[index] != HartRun::Stopped {
                let lines = self.board.lines(index, self.now);
                let hart = &mut self.harts[index];
                hart.set_lines(lines, mtime);
                if self.runs[index] == HartRun::Waiting && hart.wakes() {
                    self.runs[index] = HartRun::Running;
                }
            }
        }
    }

    /// Makes the hart current whose turn it is; false if none is running.
    fn pick_hart(&mut self) -> bool {
        let count = self.harts.len();
        if self.quantum_left > 0 && self.runs[self.current] == HartRun::Running {
            return true;
        }
        let next = (1..=count)
            .map(|step| (self.current + step) % count)
            .find(|&hart| self.runs[hart] == HartRun::Running);
        let Some(next) = next else { return false };
        self.current = next;
        self.quantum_left = QUANTUM_STEPS;
        if count > 1 {
            self.engine.begin_turn(next, &mut self.harts[next]);
        }
        true
    }

    /// The next instant after now at which a timer or device does something.
    fn next_deadline(&self) -> Option<Instant> {
        let clint = &self.board.clint;
        let timers = self.harts.iter().enumerate().flat_map(|(index, hart)| {
            let sstc = hart.stimecmp().and_then(|at| clint.deadline_of(at, self.now));
            [clint.next_deadline(index, self.now), sstc]
        });
        timers.flatten().chain(self.board.next_deadline()).min()
    }

    fn sstc_line(&self, hart: &Hart) -> u64 {
        let reached = hart.stimecmp().is_some_and(|at| self.board.clint.mtime(self.now) >= at);
        if reached { stackvm_riscv::trap::irq::STI } else { 0 }
    }

    /// Has the caches forget what devices wrote over.
    pub(crate) fn forget_written(&mut self) {
        for page in self.board.ram.take_written() {
            self.engine.device_wrote(RamPage(page), &mut self.harts);
        }
    }

    fn console_event(&mut self, console: ConsoleId, event: HostEvent<'_>) {
        let ConsoleId::Hvc(index) = console else { return };
        let kind = |d: &VirtioDevice| matches!(d, VirtioDevice::Console(_));
        self.board.nth_event(self.now, usize::from(index), event, kind);
    }

    fn port_event(&mut self, event: HostEvent<'_>) {
        self.board.event(self.now, event, |d| matches!(d, VirtioDevice::Multiport(_)));
    }
}

/// Checks what no device checks.
fn check(config: &MachineConfig) -> Result<(), ConfigError> {
    let bytes = config.memory_bytes;
    let problem = if !bytes.is_multiple_of(crate::memory::PAGE_BYTES as u64) {
        Some("not a multiple of 4 KiB".to_owned())
    } else if bytes < limits::MEMORY_BYTES_MIN {
        Some(format!("at least {} are needed", limits::MEMORY_BYTES_MIN))
    } else if bytes > limits::MEMORY_BYTES_MAX {
        Some(format!("at most {} are possible", limits::MEMORY_BYTES_MAX))
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(ConfigError::Memory { bytes, problem });
    }
    if !(1..=limits::HARTS_MAX).contains(&config.harts) {
        return Err(ConfigError::Harts { harts: config.harts });
    }
    if !config.rate_ticks.is_power_of_two() || config.rate_ticks > RATE_TICKS_MAX {
        let rate = config.rate_ticks;
        let problem = format!("rate of {rate} ticks: a power of two up to {RATE_TICKS_MAX}");
        return Err(ConfigError::Invalid(problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
