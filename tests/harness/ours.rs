//! Bare-metal programs on our own machine.

use std::sync::Arc;

use stackvm_machine::{ConsoleId, Firmware, Instant, Machine, MachineConfig, Output, Stop};

/// How a program ended and what it wrote to the UART.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The exit code.
    pub code: u32,
    /// UART output.
    pub serial: Vec<u8>,
}

/// Runs a bare-metal ELF in M-mode, for at most `limit` of virtual time.
///
/// # Errors
/// That it did not end, with what it wrote so far.
pub fn run_bare(elf: &[u8], limit: Instant) -> Result<Run, String> {
    let config = MachineConfig {
        memory_bytes: 64 << 20,
        kernel: Some(Arc::new(elf.to_vec())),
        firmware: Some(Firmware::None),
        // The quickest rate: programs that wait for nothing must not see a timer.
        rate_ticks: 1,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config).map_err(|error| error.to_string())?;
    let (stop, outputs) = run_until(&mut machine, limit);
    let serial = serial(&outputs);
    match stop {
        Stop::PowerOff { code } => Ok(Run { code, serial }),
        other => Err(format!("{other:?} at {} after {} bytes", machine.now(), serial.len())),
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
