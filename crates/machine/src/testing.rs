//! A bench for tests: small machines that run a few instructions given as words.
//!
//! The encodings are those of the tests of `stackvm-riscv`.

#[path = "../../riscv/src/testing/asm.rs"]
pub(crate) mod asm;

use std::sync::Arc;

use crate::boot::FirmwareKind;
use crate::config::{DiskConfig, MachineConfig};
use crate::devices::disk::MemorySource;
#[cfg(test)]
use crate::io::Output;
use crate::machine::{HartRun, Machine};
use crate::memory::RAM_BASE;

/// Where programs begin.
pub(crate) const CODE: u64 = RAM_BASE;
/// Where programs keep data.
#[cfg(test)]
pub(crate) const DATA: u64 = RAM_BASE + 0x10_0000;

/// What the harts of a bare machine are in when they begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// M-mode, all of them, with no firmware.
    #[cfg(test)]
    Machine,
    /// S-mode, hart 0 alone, on the built-in firmware.
    Supervisor,
}

/// The smallest machine with that many harts.
pub(crate) fn config(harts: u32) -> MachineConfig {
    MachineConfig { memory_bytes: 2 << 20, harts, ..MachineConfig::default() }
}

/// [`config`] with a device of each kind.
pub(crate) fn config_with_devices(harts: u32) -> MachineConfig {
    let source = Arc::new(MemorySource::new((0..32 << 10).map(|n| (n % 251) as u8).collect()));
    MachineConfig {
        disks: vec![DiskConfig { source, read_only: false, serial: "disk".into() }],
        nics: 1,
        consoles: 2,
        ports: vec!["one".into(), "two".into()],
        ..config(harts)
    }
}

/// A machine with `program` at [`CODE`]; `a0` is the hart's number.
pub(crate) fn machine_of(config: &MachineConfig, start: Start, program: &[u32]) -> Machine {
    let mut machine = Machine::assemble(config).expect("a small machine");
    machine.board.ram.write(CODE, &asm::bytes(program)).expect("programs fit");
    machine.board.ram.take_written();
    for (id, hart) in machine.harts.iter_mut().enumerate() {
        let id = id as u64;
        match start {
            #[cfg(test)]
            Start::Machine => {
                machine.runs[id as usize] = HartRun::Running;
                hart.set_pc(CODE);
                hart.set_reg(10, id);
            }
            Start::Supervisor => hart.enter_supervisor(CODE, id, 0),
        }
    }
    if start == Start::Supervisor {
        machine.runs[0] = HartRun::Running;
        machine.firmware = FirmwareKind::Builtin;
    }
    machine
}

/// [`machine_of`] the smallest machine.
#[cfg(test)]
pub(crate) fn machine(harts: u32, start: Start, program: &[u32]) -> Machine {
    machine_of(&config(harts), start, program)
}

/// Instructions that end with the value of each pair in the register beside it.
pub(crate) fn li_all(pairs: &[(u32, u64)]) -> Vec<u32> {
    pairs.iter().flat_map(|(register, value)| asm::li(*register, *value)).collect()
}

/// What was printed on the serial line.
#[cfg(test)]
pub(crate) fn printed(outputs: &[Output]) -> Vec<u8> {
    let bytes = outputs.iter().filter_map(|output| match output {
        Output::Console { console: crate::ConsoleId::Serial, bytes } => Some(bytes.as_slice()),
        _ => None,
    });
    bytes.flatten().copied().collect()
}

/// A program that keeps every part of a machine busy for ever: RAM, AMOs, traps into the firmware,
/// device registers, the timer, IPIs to the other harts, which it starts first. S-mode.
pub(crate) fn busy_program() -> Vec<u32> {
    use asm::*;
    const SBI_HSM: u64 = 0x48_534d;
    const SBI_IPI: u64 = 0x73_5049;
    const SBI_TIME: u64 = 0x5449_4d45;
    let at = |code: &Vec<u32>| 4 * code.len() as i32;
    let mut code = Vec::new();
    // Hart 0 starts the others here as well: s2 is 0 for them, 1 in hart 0.
    code.extend([add(S3, A0, ZERO), addi(S2, A1, 0), bne(S2, ZERO, 4 * 13)]);
    // Start harts 1 to 3, with opaque 1; those that do not exist are refused.
    for hart in 1..4u64 {
        let call = [(A7, SBI_HSM), (A6, 0), (A0, hart), (A2, 1)];
        let words: Vec<u32> = li_all(&call);
        code.extend(words);
        code.extend([auipc(A1, 0), addi(A1, A1, -at(&code)), ECALL]);
    }
    let skip = at(&code) - 8;
    code[2] = bne(S2, ZERO, skip);
    // stvec: a handler that forgets the software interrupt, sets the timer anew and returns.
    let handler_at = code.len();
    code.extend([NOP, NOP, NOP, NOP, NOP]);
    let handler = code.len();
    code.extend([csrrw(ZERO, 0x140, T0), csrrw(ZERO, 0x144, ZERO)]);
    code.extend([csrrs(T0, 0xc01, ZERO), addi(T0, T0, 77), csrrw(ZERO, 0x14d, T0)]);
    code.extend([csrrs(T0, 0x140, ZERO), SRET]);
    let body = code.len();
    let offset = 4 * (handler as i32 - handler_at as i32);
    code[handler_at] = auipc(T0, 0);
    code[handler_at + 1] = addi(T0, T0, offset);
    code[handler_at + 2] = csrrw(ZERO, 0x105, T0);
    code[handler_at + 3] = addi(T1, ZERO, 0x22);
    code[handler_at + 4] = jal(ZERO, 4 * (body as i32 - handler_at as i32 - 4));
    code.extend([csrrs(ZERO, 0x104, T1), addi(T0, ZERO, 2), csrrs(ZERO, 0x100, T0)]);
    // The loop: a store further and further through RAM, by hart.
    code.extend(li_all(&[(T2, RAM_BASE + (1 << 20))]));
    let top = code.len();
    code.extend([addi(T1, T1, 0x248), slli(T0, T1, 44), 0x02c2_d293, add(T0, T0, T2)]);
    code.extend([sd(T1, T0, 0), amoadd(3, ZERO, T2, T1), lr(3, A1, T2), sc(3, A1, T2, T1)]);
    // The serial line's scratch register, then an IPI to all every now and then, then WFI.
    code.extend(li_all(&[(A1, 0x1000_0007)]));
    code.extend([store(0, T1, A1, 0), load(0, A2, A1, 0)]);
    code.extend([slli(A2, T1, 55)]);
    let branch = code.len();
    code.push(NOP);
    code.extend(li_all(&[(A7, SBI_IPI), (A6, 0), (A0, 3), (A1, 0)]));
    code.push(ECALL);
    code.extend(li_all(&[(A7, SBI_TIME), (A6, 0)]));
    code.extend([csrrs(A0, 0xc01, ZERO), addi(A0, A0, 55), ECALL, WFI]);
    let end = code.len();
    code.push(jal(ZERO, -4 * (end as i32 - top as i32)));
    code[branch] = bne(A2, ZERO, -4 * (branch as i32 - top as i32));
    code
}
