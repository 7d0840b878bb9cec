//! Which registers of the guest live in registers of the host.
//!
//! Everywhere the same ones ([`Homes::common`]), so that going from region to region moves nothing;
//! a region that is a loop over others may have its own, and moves them on its way in and out.

use stackvm_riscv::native::{Code, Op};

use crate::asm::Reg;
use crate::region::{Segment, Target, target};

/// Registers of the host that hold registers of the guest.
const HOSTS: [Reg; 9] =
    [Reg::Rbx, Reg::Rsi, Reg::Rdi, Reg::R8, Reg::R9, Reg::R10, Reg::R11, Reg::R12, Reg::R13];
/// Those of the guest in them: the stack pointer, and the eight that compressed instructions name.
const COMMON: [u8; HOSTS.len()] = [2, 8, 9, 10, 11, 12, 13, 14, 15];
/// How much oftener an instruction in a loop runs, and at most in loops within loops.
const LOOP_WEIGHT: u64 = 8;
const WEIGHT_MAX: u64 = 512;
/// What is saved must be so many times what ways in and out cost.
const GAIN_MIN: u64 = 3;

/// Registers of the guest, each in a register of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Homes([u8; HOSTS.len()]);

impl Homes {
    /// Those that code has wherever it begins.
    pub(crate) fn common() -> Homes {
        Homes(COMMON)
    }

    /// Those that serve a region best.
    pub(crate) fn of(segments: &[Segment]) -> Homes {
        let uses = weigh(segments);
        let mut order: Vec<u8> = (1..32).filter(|guest| uses[usize::from(*guest)] > 0).collect();
        // Stable, so that equal ones are in the order of their numbers.
        order.sort_by_key(|guest| std::cmp::Reverse(uses[usize::from(*guest)]));
        let best = &order[..HOSTS.len().min(order.len())];
        let newcomers: Vec<u8> =
            best.iter().copied().filter(|guest| !COMMON.contains(guest)).collect();
        let gain = |set: &[u8]| -> u64 { set.iter().map(|guest| uses[usize::from(*guest)]).sum() };
        if gain(best) - gain(&COMMON) < GAIN_MIN * newcomers.len() as u64 * 4 {
            return Homes::common();
        }
        let mut newcomers = newcomers.into_iter();
        Homes(COMMON.map(|guest| {
            if best.contains(&guest) { guest } else { newcomers.next().unwrap_or(guest) }
        }))
    }

    /// The register of the host that holds integer register `index`.
    pub(crate) fn of_guest(&self, index: u8) -> Option<Reg> {
        self.0.iter().position(|guest| *guest == index).map(|at| HOSTS[at])
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, Reg)> + use<> {
        self.0.into_iter().zip(HOSTS)
    }

    /// Those in another register, or none, of `other`.
    pub(crate) fn unlike(&self, other: &Homes) -> impl Iterator<Item = (u8, Reg)> + use<> {
        let other = *other;
        self.iter().filter(move |(guest, reg)| other.of_guest(*guest) != Some(*reg))
    }
}

/// How often each integer register is used, weighed by loops.
fn weigh(segments: &[Segment]) -> [u64; 33] {
    let mut weights = vec![1; segments.len()];
    for segment in segments {
        let last = segment.ops.last().expect("segments are not empty");
        let Target::Inside(back) = target(last) else { continue };
        if !is_jump(last.code) || back > segment.offset {
            continue;
        }
        let inside = back..=segment.offset;
        for (other, weight) in segments.iter().zip(&mut weights) {
            if inside.contains(&other.offset) {
                *weight = (*weight * LOOP_WEIGHT).min(WEIGHT_MAX);
            }
        }
    }
    let mut uses = [0; 33];
    for (segment, weight) in segments.iter().zip(&weights) {
        for index in segment.ops.iter().flat_map(integers).flatten() {
            uses[usize::from(index)] += weight;
        }
    }
    uses
}

fn is_jump(code: Code) -> bool {
    crate::region::is_branch(code) || code == Code::J
}

/// The integer registers that an op names, where the emitter uses them from a register.
fn integers(op: &Op) -> [Option<u8>; 3] {
    use Code::*;
    match op.code {
        Lui | Auipc | Jal => [Some(op.rd), None, None],
        Beq | Bne | Blt | Bge | Bltu | Bgeu | Sb | Sh | Sw | Sd => {
            [Some(op.rs1), Some(op.rs2), None]
        }
        Lb | Lh | Lw | Ld | Lbu | Lhu | Lwu | Addi | Slti | Sltiu | Xori | Ori | Andi | Slli
        | Srli | Srai | Addiw | Slliw | Srliw | Sraiw | Rori | Roriw | Jalr | SextB | SextH
        | ZextH => [Some(op.rd), Some(op.rs1), None],
        Add | Sub | Sll | Slt | Sltu | Xor | Srl | Sra | Or | And | Addw | Subw | Sllw | Srlw
        | Sraw | Mul | Mulw | Mulh | Mulhu | Div | Divu | Rem | Remu | Divw | Divuw | Remw
        | Remuw | Sh1add | Sh2add | Sh3add | AddUw | Andn | Ror | Rorw | AmoW | AmoD => {
            [Some(op.rd), Some(op.rs1), Some(op.rs2)]
        }
        Flw | Fld | Fsw | Fsd => [Some(op.rs1), None, None],
        FpToInt => [Some(op.rd), None, None],
        _ => [None, None, None],
    }
}
