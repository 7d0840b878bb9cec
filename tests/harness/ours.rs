//! Bare-metal programs on our own machine.

use std::sync::Arc;

use stackvm_machine::digest::Digest;
use stackvm_machine::engine::{EngineChoice, EngineLimits};
use stackvm_machine::{ConsoleId, Firmware, Instant, Machine, MachineConfig, Output, Stop};

/// How a program ended and what it wrote to the UART.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The exit code.
    pub code: u32,
    /// UART output.
    pub serial: Vec<u8>,
    /// When it ended.
    pub end: Instant,
    /// Of the machine at its end.
    pub digest: Digest,
}

/// What is done to a machine in the middle of a run; nothing of it may show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// It only stops.
    None,
    /// It is saved, and goes on as what was restored.
    Restore,
    /// It is frozen, and goes on as the fork.
    Thaw,
    /// It goes on with another engine.
    Engine(EngineChoice),
}

/// Every block compiled before it runs, region by region of ordinary size.
pub const COMPILED: EngineChoice = EngineChoice::compiler(1, EngineLimits::DEFAULT);
/// Regions of a few instructions, in so little memory that all is forgotten again and again, and a
/// handful of translations.
pub const CRAMPED: EngineChoice = EngineChoice::Compiler {
    heat: 2,
    translations_max: 24,
    limits: EngineLimits {
        code_bytes: 256 << 10,
        pages: 12,
        region_ops: 7,
        ..EngineLimits::DEFAULT
    },
};
/// Engines that must agree in everything.
pub const ENGINES: [EngineChoice; 3] = [EngineChoice::Interpreter, COMPILED, CRAMPED];

impl Cut {
    /// The machine that goes on.
    ///
    /// # Panics
    /// When what was saved cannot be restored.
    pub fn apply(self, mut machine: Machine, config: &MachineConfig) -> Machine {
        match self {
            Cut::None => machine,
            Cut::Engine(choice) => {
                machine.set_engine(choice);
                machine
            }
            Cut::Thaw => Machine::thaw(&machine.freeze()),
            Cut::Restore => {
                let mut saved = Vec::new();
                machine.save(&mut saved).expect("memory takes everything");
                Machine::restore(config, &mut saved.as_slice()).expect("what was just saved")
            }
        }
    }
}

/// Runs a bare-metal ELF in M-mode, for at most `limit` of virtual time, on each engine.
///
/// # Errors
/// That it did not end, with what it wrote so far.
///
/// # Panics
/// When the engines differ.
pub fn run_bare(elf: &[u8], limit: Instant) -> Result<Run, String> {
    let runs = ENGINES.map(|engine| run_bare_cut(elf, limit, &[(0, Cut::Engine(engine))]));
    for (run, engine) in runs.iter().zip(ENGINES) {
        assert!(*run == runs[0], "{engine:?} ends with\n{run:?}, not\n{:?}", runs[0]);
    }
    let [run, ..] = runs;
    run
}

/// [`run_bare`], once, cut at these instants (in ticks, in any order).
///
/// # Errors
/// As [`run_bare`].
pub fn run_bare_cut(elf: &[u8], limit: Instant, cuts: &[(u64, Cut)]) -> Result<Run, String> {
    let config = MachineConfig {
        memory_bytes: 64 << 20,
        kernel: Some(Arc::new(elf.to_vec())),
        firmware: Some(Firmware::None),
        // The quickest rate: programs that wait for nothing must not see a timer.
        rate_ticks: 1,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut cuts = cuts.to_vec();
    cuts.sort_by_key(|(at, _)| *at);
    for (at, cut) in cuts {
        let (_, outputs) = run_until(&mut machine, Instant::from_ticks(at));
        bytes.extend(serial(&outputs));
        machine = cut.apply(machine, &config);
    }
    let (stop, outputs) = run_until(&mut machine, limit);
    bytes.extend(serial(&outputs));
    match stop {
        Stop::PowerOff { code } => {
            Ok(Run { code, serial: bytes, end: machine.now(), digest: machine.digest() })
        }
        other => Err(format!("{other:?} at {} after {} bytes", machine.now(), bytes.len())),
    }
}

/// Runs a machine to `until` or to its end, however much it prints.
pub fn run_until(machine: &mut Machine, until: Instant) -> (Stop, Vec<Output>) {
    let mut outputs = Vec::new();
    loop {
        let stop = machine.run(until);
        outputs.extend(machine.take_outputs());
        if stop != Stop::Outputs {
            return (stop, outputs);
        }
    }
}

/// The UART's bytes among `outputs`.
pub fn serial(outputs: &[Output]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for output in outputs {
        if let Output::Console { console: ConsoleId::Serial, bytes: more } = output {
            bytes.extend(more);
        }
    }
    bytes
}
