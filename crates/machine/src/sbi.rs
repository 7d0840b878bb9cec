//! The built-in firmware: what a supervisor asks for with ECALL (RISC-V SBI specification 2.0).
//!
//! Owns the calls: base, TIME, IPI, RFENCE, HSM, SRST, DBCN and the legacy ones 0 to 8. It has no
//! state of its own and no memory in the guest. Fences of other harts need no work: no cache of
//! this machine is ever stale.

use stackvm_riscv::Hart;
use stackvm_riscv::trap::irq;

use crate::devices::DeviceContext;
use crate::devices::finisher::FinisherRequest;
use crate::io::ConsoleId;
use crate::machine::{HartRun, Machine};

const SPEC_VERSION: u64 = 2 << 24;
/// "SVM": no number is assigned to this implementation; the registered ones are below 16.
const IMPLEMENTATION_ID: u64 = 0x53_564d;
const IMPLEMENTATION_VERSION: u64 = 1;
/// Bytes of an ECALL instruction.
const ECALL_BYTES: u64 = 4;
/// Most bytes one console call moves; the caller asks again for the rest.
const CONSOLE_BYTES_MAX: u64 = 64 << 10;

mod extension {
    pub(super) const BASE: u64 = 0x10;
    pub(super) const TIME: u64 = 0x5449_4d45;
    pub(super) const IPI: u64 = 0x73_5049;
    pub(super) const RFENCE: u64 = 0x5246_4e43;
    pub(super) const HSM: u64 = 0x48_534d;
    pub(super) const SRST: u64 = 0x5352_5354;
    pub(super) const DBCN: u64 = 0x4442_434e;
    pub(super) const LEGACY_LAST: u64 = 8;
    pub(super) const ALL: [u64; 7] = [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN];
}

/// Error codes (§3, table 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Error {
    Failed = -1,
    NotSupported = -2,
    InvalidParam = -3,
    InvalidAddress = -5,
    AlreadyAvailable = -6,
}

type Reply = Result<u64, Error>;

/// Answers the ECALL that hart `index` stands at, and moves it on.
pub(crate) fn call(machine: &mut Machine, index: usize) {
    let hart = &machine.harts[index];
    let (ext, function) = (hart.reg(17), hart.reg(16));
    let next = hart.pc().wrapping_add(ECALL_BYTES);
    machine.harts[index].set_pc(next);
    if ext <= extension::LEGACY_LAST {
        let value = legacy(machine, index, ext);
        machine.harts[index].set_reg(10, value as u64);
        return;
    }
    let args = Args::of(&machine.harts[index]);
    let reply = match ext {
        extension::BASE => base(function, args.0[0]),
        extension::TIME if function == 0 => {
            set_timer(machine, index, args.0[0]);
            Ok(0)
        }
        extension::IPI if function == 0 => send_ipi(machine, index, args.0[0], args.0[1]),
        extension::RFENCE => remote_fence(machine, function, args.0[0], args.0[1]),
        extension::HSM => hart_state(machine, index, function, args),
        extension::SRST if function == 0 => system_reset(machine, args),
        extension::DBCN => console(machine, function, args),
        _ => Err(Error::NotSupported),
    };
    let hart = &mut machine.harts[index];
    let (error, value) = match reply {
        Ok(value) => (0, value),
        Err(error) => (error as i64, 0),
    };
    // A hart that was started anew or resumed elsewhere keeps what it was given.
    if machine.runs[index] != HartRun::Stopped {
        hart.set_reg(10, error as u64);
        hart.set_reg(11, value);
    }
}

/// The arguments `a0` to `a2`.
#[derive(Clone, Copy)]
struct Args([u64; 3]);

impl Args {
    fn of(hart: &Hart) -> Self {
        Args([hart.reg(10), hart.reg(11), hart.reg(12)])
    }
}

fn base(function: u64, argument: u64) -> Reply {
    let known = argument <= extension::LEGACY_LAST || extension::ALL.contains(&argument);
    match function {
        0 => Ok(SPEC_VERSION),
        1 => Ok(IMPLEMENTATION_ID),
        2 => Ok(IMPLEMENTATION_VERSION),
        3 => Ok(known.into()),
        // mvendorid, marchid, mimpid: not registered.
        4..=6 => Ok(0),
        _ => Err(Error::NotSupported),
    }
}

fn set_timer(machine: &mut Machine, index: usize, mtime: u64) {
    machine.harts[index].clear(irq::STI);
    machine.harts[index].set_stimecmp(mtime);
}

/// The harts that a mask and its base name; `None` if one does not exist (§3.1).
fn harts_of(machine: &Machine, mask: u64, base: u64) -> Option<Vec<usize>> {
    let count = machine.harts.len();
    if base == u64::MAX {
        return Some((0..count).collect());
    }
    (0..64)
        .filter(|bit| mask >> bit & 1 != 0)
        .map(|bit| usize::try_from(base.checked_add(bit)?).ok().filter(|&hart| hart < count))
        .collect()
}

fn send_ipi(machine: &mut Machine, sender: usize, mask: u64, base: u64) -> Reply {
    let harts = harts_of(machine, mask, base).ok_or(Error::InvalidParam)?;
    for hart in harts {
        machine.harts[hart].raise(irq::SSI);
        if hart != sender {
            machine.quantum_left = 0;
        }
    }
    Ok(0)
}

fn remote_fence(machine: &Machine, function: u64, mask: u64, base: u64) -> Reply {
    match function {
        // FENCE.I, SFENCE.VMA, SFENCE.VMA with ASID; those for guests of guests do not exist.
        0..=2 => harts_of(machine, mask, base).map(|_| 0).ok_or(Error::InvalidParam),
        _ => Err(Error::NotSupported),
    }
}

/// HSM (§9): start, stop, status, suspend.
fn hart_state(machine: &mut Machine, index: usize, function: u64, args: Args) -> Reply {
    let Args([hart_id, start, opaque]) = args;
    let target = usize::try_from(hart_id).ok().filter(|&hart| hart < machine.harts.len());
    match function {
        0 => {
            let target = target.ok_or(Error::InvalidParam)?;
            if machine.runs[target] != HartRun::Stopped {
                return Err(Error::AlreadyAvailable);
            }
            if start & 1 != 0 || !in_ram(machine, start, 2) {
                return Err(Error::InvalidAddress);
            }
            machine.harts[target].enter_supervisor(start, hart_id, opaque);
            machine.runs[target] = HartRun::Running;
            Ok(0)
        }
        1 => {
            machine.runs[index] = HartRun::Stopped;
            machine.quantum_left = 0;
            Ok(0)
        }
        2 => match machine.runs[target.ok_or(Error::InvalidParam)?] {
            // WFI is not a suspended state.
            HartRun::Running | HartRun::Waiting => Ok(0),
            HartRun::Stopped => Ok(1),
        },
        3 => suspend(machine, index, args),
        _ => Err(Error::NotSupported),
    }
}

/// Default retentive suspend is WFI; the non-retentive kind would only resume elsewhere.
fn suspend(machine: &mut Machine, index: usize, args: Args) -> Reply {
    match args.0[0] {
        0 => {
            machine.runs[index] = HartRun::Waiting;
            machine.quantum_left = 0;
            Ok(0)
        }
        0x8000_0000 => Err(Error::NotSupported),
        _ => Err(Error::InvalidParam),
    }
}

/// SRST (§10): reset type 0 is shutdown; reason 1 is a failure of the system.
fn system_reset(machine: &mut Machine, args: Args) -> Reply {
    let Args([kind, reason, _]) = args;
    if reason > 1 && reason < 0xe000_0000 {
        return Err(Error::InvalidParam);
    }
    machine.off = Some(match kind {
        0 => FinisherRequest::PowerOff { code: u32::from(reason == 1) },
        1 | 2 => FinisherRequest::Reset,
        _ => return Err(Error::InvalidParam),
    });
    Ok(0)
}

/// DBCN (§12): write, read, write one byte.
fn console(machine: &mut Machine, function: u64, args: Args) -> Reply {
    let Args([first, low, high]) = args;
    if function == 2 {
        print(machine, &[first as u8]);
        return Ok(0);
    }
    if function > 2 {
        return Err(Error::NotSupported);
    }
    if high != 0 || !in_ram(machine, low, first) {
        return Err(Error::InvalidParam);
    }
    let count = first.min(CONSOLE_BYTES_MAX);
    let mut bytes = vec![0; count as usize];
    if function == 0 {
        machine.board.ram.read(low, &mut bytes).map_err(|_| Error::Failed)?;
        print(machine, &bytes);
        return Ok(count);
    }
    let uart = &mut machine.board.uart;
    bytes.clear();
    bytes.extend(std::iter::from_fn(|| uart.take_byte()).take(count as usize));
    machine.board.ram.write(low, &bytes).map_err(|_| Error::Failed)?;
    machine.board.drive_lines();
    Ok(bytes.len() as u64)
}

/// The calls of SBI 0.1 (§5); the result goes into `a0` alone.
fn legacy(machine: &mut Machine, index: usize, ext: u64) -> i64 {
    let argument = machine.harts[index].reg(10);
    match ext {
        0 => set_timer(machine, index, argument),
        1 => print(machine, &[argument as u8]),
        2 => {
            let byte = machine.board.uart.take_byte();
            machine.board.drive_lines();
            return byte.map_or(-1, i64::from);
        }
        3 => machine.harts[index].clear(irq::SSI),
        4 => return legacy_ipi(machine, index, argument),
        // Remote fences: done already.
        5..=7 => {}
        _ => machine.off = Some(FinisherRequest::PowerOff { code: 0 }),
    }
    0
}

/// The legacy IPI names its harts by the address of a mask, a virtual one in S-mode.
fn legacy_ipi(machine: &mut Machine, index: usize, mask_addr: u64) -> i64 {
    let mask = if mask_addr == 0 {
        Some(u64::MAX)
    } else {
        let Machine { engine, harts, board, .. } = machine;
        engine.translate_load(&harts[index], board, mask_addr).and_then(|addr| {
            let mut bytes = [0; 8];
            board.ram.read(addr, &mut bytes).ok()?;
            Some(u64::from_le_bytes(bytes))
        })
    };
    let Some(mask) = mask else { return Error::InvalidAddress as i64 };
    let existing = mask & (u64::MAX >> (64 - machine.harts.len() as u32));
    match send_ipi(machine, index, existing, 0) {
        Ok(_) => 0,
        Err(error) => error as i64,
    }
}

fn print(machine: &mut Machine, bytes: &[u8]) {
    let now = machine.now;
    let board = &mut machine.board;
    let mut cx = DeviceContext { ram: &mut board.ram, now, outputs: &mut board.outputs };
    cx.emit_console(ConsoleId::Serial, bytes);
}

fn in_ram(machine: &Machine, addr: u64, len: u64) -> bool {
    let ram = &machine.board.ram;
    addr.checked_sub(crate::memory::RAM_BASE)
        .and_then(|start| start.checked_add(len))
        .is_some_and(|end| end <= ram.size_bytes())
}

#[cfg(test)]
mod tests;
