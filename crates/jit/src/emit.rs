//! What becomes of a region: the frame of it, jumps, and what is done rarely.
//!
//! Owns counting and all ways out. What an instruction computes is in `integer`, `access` and
//! `float`.
//!
//! A segment takes its instructions off the steps left when it is entered, and a branch out of it
//! gives the rest back. Everything rare is behind the region's code, so that what is hot is dense.

mod access;
mod float;
mod integer;
mod window;

use std::collections::BTreeMap;

use stackvm_riscv::native::{Code, Op, layout};

use crate::asm::{Alu, Asm, Cond, Label, Mem, Reg, Rm, Width};
use crate::homes::Homes;
use crate::region::{self, Segment, Target, target};
use crate::stubs::{Stubs, emit_fetch_entry, emit_lookup, emit_step, hart, x};

use window::Window;

/// The slot that writes to `x0` go to.
const DISCARD: u8 = 32;

/// What of the host's processor is used that not every one has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Features {
    /// RORX.
    pub(crate) bmi2: bool,
    /// VFMADD and its like.
    pub(crate) fma: bool,
}

impl Features {
    pub(crate) fn of_host() -> Features {
        Features {
            bmi2: std::is_x86_feature_detected!("bmi2"),
            fma: std::is_x86_feature_detected!("fma"),
        }
    }
}

/// For what host code is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Where it will run.
    pub(crate) address: u64,
    /// Address of the page's table.
    pub(crate) entries: u64,
    /// What the page behind begins with; see [`stackvm_riscv::native::Source::behind`].
    pub(crate) behind: Option<u16>,
    pub(crate) stubs: Stubs,
    pub(crate) features: Features,
    /// Address of what counts instructions, if they are counted.
    pub(crate) counter: Option<u64>,
}

/// A region's host code.
pub(crate) struct Emitted {
    /// Code, and behind it what the interpreter is to read.
    pub(crate) bytes: Vec<u8>,
    /// How much of it is code.
    pub(crate) code_len: usize,
    /// Where code of which offset begins.
    pub(crate) entries: Vec<(u16, u64)>,
}

/// Host code for a region.
pub(crate) fn emit(segments: &[Segment], setting: Setting) -> Emitted {
    let mut asm = Asm::new(setting.address);
    let labels = segments.iter().map(|segment| (segment.offset, asm.label())).collect();
    let (no_entry, step) = (asm.label(), asm.label());
    let homes = Homes::of(segments);
    let mut emitter = Emitter {
        asm,
        homes,
        own_homes: homes != Homes::common(),
        step,
        labels,
        setting,
        cold: Vec::new(),
        literals: Vec::new(),
        no_entry,
        uses_lookup: false,
        float_is_on: false,
    };
    for (index, segment) in segments.iter().enumerate() {
        emitter.segment(segment, segments.get(index + 1).map(|next| next.offset));
    }
    emitter.cold();
    let entries = emitter.ways_in();
    let code_len = (emitter.asm.here() - setting.address) as usize;
    emitter.asm.align(align_of::<Op>());
    for (label, op) in std::mem::take(&mut emitter.literals) {
        emitter.asm.place(label);
        emitter.asm.data(&bytes(&op));
    }
    Emitted { bytes: emitter.asm.finish(), code_len, entries }
}

/// Something rare, to be put behind the region.
enum Cold {
    /// Has the interpreter do an instruction, and goes on.
    Step { at: Label, op: Op, back: Label },
    /// Does instructions that have a common look at the translations each with its own.
    Singly { at: Label, ops: Vec<Op>, back: Label },
    /// Fewer steps are left than the segment at `offset` has.
    Budget { at: Label, offset: u16, steps: u8 },
    /// The next page does not begin as it did when the instruction at `offset` was compiled.
    Behind { at: Label, offset: u16, rest: u8 },
    /// Goes to a target, giving back what the segment has behind the branch.
    Leave { at: Label, to: Target, rest: u8 },
    /// As that, out of a window, with so many steps of the turn done.
    LeaveWindow { at: Label, to: Target, done: i32, rest: u8 },
    /// Does one turn of a loop that cannot be done with a window.
    Turn { at: Label, segment: Segment },
}

struct Emitter {
    asm: Asm,
    homes: Homes,
    /// They are not those that code has wherever it begins.
    own_homes: bool,
    /// The routine of a region with its own homes that has the interpreter do an instruction.
    step: Label,
    /// Where the code of segments begins.
    labels: BTreeMap<u16, Label>,
    setting: Setting,
    cold: Vec<Cold>,
    /// Ops for the interpreter, to be put behind the code.
    literals: Vec<(Label, Op)>,
    /// Leaves to the address `rax`, of which nothing is compiled.
    no_entry: Label,
    uses_lookup: bool,
    /// An instruction of this segment already marked the floating-point state as changed.
    float_is_on: bool,
}

impl Emitter {
    fn segment(&mut self, segment: &Segment, next: Option<u16>) {
        self.asm.place(self.labels[&segment.offset]);
        match Window::of(segment, &self.homes) {
            Some(window) => self.window(segment, &window),
            None => self.straight(segment),
        }
        let last = segment.ops.last().expect("segments are not empty");
        if !last.code.ends_block() && next != Some(segment.end) {
            self.go(fall(segment.end));
        }
    }

    /// A segment's instructions, once.
    fn straight(&mut self, segment: &Segment) {
        let steps = segment.ops.len() as u8;
        let at = self.asm.label();
        self.asm.alu_imm(Alu::Sub, Width::W64, Reg::R14, steps.into());
        self.asm.jump_if(Cond::Sign, at);
        self.cold.push(Cold::Budget { at, offset: segment.offset, steps });
        if let Some(counter) = self.setting.counter {
            self.asm.add_at(counter, steps.into());
        }
        self.float_is_on = false;
        let mut ops = &segment.ops[..];
        while let [op, rest @ ..] = ops {
            match self.group(ops) {
                0 => {
                    self.op(*op);
                    ops = rest;
                }
                len => ops = &ops[len..],
            }
        }
    }

    fn op(&mut self, op: Op) {
        use Code::*;
        if region::straddles(&op) {
            self.check_behind(&op);
        }
        match op.code {
            J => self.go(target(&op)),
            Jal => {
                self.link(&op, Reg::Rax);
                self.go(target(&op));
            }
            Jalr => self.jump_register(&op),
            Beq | Bne | Blt | Bge | Bltu | Bgeu => self.branch(&op),
            // No cache is ever stale and harts take turns: nothing to order.
            Fence => {}
            _ if self.integer(&op) || self.access(&op) || self.float(&op) => {}
            _ => self.call_step(&op),
        }
    }

    /// Leaves before `op`, whose second half is on the next page, unless that page is there and
    /// begins as it did.
    fn check_behind(&mut self, op: &Op) {
        let at = self.asm.label();
        self.cold.push(Cold::Behind { at, offset: op.offset() as u16, rest: op.n });
        let head = self.setting.behind.expect("it was decoded with it");
        self.asm.mov(Width::W64, Reg::Rdx, hart(layout::PAGE_VA));
        self.asm.alu_imm(Alu::Add, Width::W64, Reg::Rdx, 4096);
        emit_fetch_entry(&mut self.asm, at);
        self.asm.mov(Width::W64, Reg::Rcx, Mem::at(Reg::Rcx, layout::FETCH_PAGE as i32));
        let known = Mem::at(Reg::Rcx, layout::HEAD as i32);
        self.asm.alu_imm(Alu::Cmp, Width::W32, known, head.into());
        self.asm.jump_if(Cond::NotEqual, at);
    }

    /// A label behind the region where the interpreter does `op` and goes on at the label `back`.
    fn slow(&mut self, op: &Op) -> (Label, Label) {
        let (at, back) = (self.asm.label(), self.asm.label());
        self.cold.push(Cold::Step { at, op: *op, back });
        (at, back)
    }

    /// `rd` is where execution would go on.
    fn link(&mut self, op: &Op, scratch: Reg) {
        if op.rd == DISCARD {
            return;
        }
        let behind = (op.offset() + op.len()) as i32;
        let to = self.home(op.rd).unwrap_or(scratch);
        self.asm.mov(Width::W64, to, hart(layout::PAGE_VA));
        self.asm.alu_imm(Alu::Add, Width::W64, to, behind);
        self.put(op.rd, to);
    }

    fn jump_register(&mut self, op: &Op) {
        let base = self.get(op.rs1, Reg::Rax);
        self.asm.lea(Width::W64, Reg::Rax, Mem::at(base, op.imm));
        self.link(op, Reg::Rcx);
        self.asm.alu_imm(Alu::And, Width::W64, Reg::Rax, -2);
        self.lookup();
    }

    /// Goes on at the address `rax`.
    fn lookup(&mut self) {
        self.restore_homes();
        self.uses_lookup = true;
        let miss = self.no_entry;
        emit_lookup(&mut self.asm, miss);
    }

    fn branch(&mut self, op: &Op) {
        let cond = self.compare(op);
        let to = target(op);
        match to {
            Target::Inside(offset) if op.n == 1 && self.labels.contains_key(&offset) => {
                let label = self.labels[&offset];
                self.asm.jump_if(cond, label);
            }
            _ => {
                let at = self.asm.label();
                self.asm.jump_if(cond, at);
                self.cold.push(Cold::Leave { at, to, rest: op.n - 1 });
            }
        }
    }

    /// Compares the sources of a branch; returns the condition to ask for.
    fn compare(&mut self, op: &Op) -> Cond {
        let cond = condition(op.code);
        if op.rs2 == 0 {
            match self.home(op.rs1) {
                Some(reg) => self.asm.test(Width::W64, reg),
                None if op.rs1 == 0 => {
                    self.asm.mov_imm(Reg::Rax, 0);
                    self.asm.test(Width::W64, Reg::Rax);
                }
                None => self.asm.alu_imm(Alu::Cmp, Width::W64, x(op.rs1), 0),
            }
            return cond;
        }
        let a = self.get(op.rs1, Reg::Rax);
        let b = self.operand(op.rs2, Reg::Rdx);
        self.asm.alu(Alu::Cmp, Width::W64, a, b);
        cond
    }

    /// Goes to a target, with nothing to give back.
    fn go(&mut self, to: Target) {
        match to {
            Target::Inside(offset) => match self.labels.get(&offset) {
                Some(label) => self.asm.jump(*label),
                None => {
                    self.restore_homes();
                    self.asm.mov_imm(Reg::Rax, offset.into());
                    self.asm.jump_through(self.setting.entries + u64::from(offset) * 4);
                }
            },
            Target::Beyond(bytes) => {
                let bytes = i32::try_from(bytes).expect("jumps reach a megabyte");
                self.asm.mov(Width::W64, Reg::Rax, hart(layout::PAGE_VA));
                self.asm.alu_imm(Alu::Add, Width::W64, Reg::Rax, bytes);
                self.lookup();
            }
        }
    }

    fn cold(&mut self) {
        while let Some(cold) = self.cold.pop() {
            match cold {
                Cold::Step { at, op, back } => {
                    self.asm.place(at);
                    self.call_step(&op);
                    self.asm.jump(back);
                }
                Cold::Singly { at, ops, back } => {
                    self.asm.place(at);
                    ops.into_iter().for_each(|op| self.op(op));
                    self.asm.jump(back);
                }
                Cold::Budget { at, offset, steps } => {
                    self.asm.place(at);
                    self.asm.alu_imm(Alu::Add, Width::W64, Reg::R14, steps.into());
                    self.interpret(offset);
                }
                Cold::Behind { at, offset, rest } => {
                    self.asm.place(at);
                    self.give_back(rest);
                    self.interpret(offset);
                }
                Cold::Leave { at, to, rest } => {
                    self.asm.place(at);
                    self.give_back(rest);
                    self.go(to);
                }
                Cold::LeaveWindow { at, to, done, rest } => {
                    self.asm.place(at);
                    self.leave_window(done);
                    self.uncount(rest);
                    self.go(to);
                }
                Cold::Turn { at, segment } => {
                    self.asm.place(at);
                    self.straight(&segment);
                    self.go(fall(segment.end));
                }
            }
        }
        self.asm.place(self.no_entry);
        if self.uses_lookup {
            self.asm.jump_to(self.setting.stubs.leave);
        }
    }

    /// Leaves, for the interpreter to go on at an offset of the page.
    fn interpret(&mut self, offset: u16) {
        self.restore_homes();
        self.asm.mov_imm(Reg::Rax, offset.into());
        self.asm.jump_to(self.setting.stubs.miss);
    }

    /// Gives back steps that were taken off, and counted.
    fn give_back(&mut self, steps: u8) {
        if steps == 0 {
            return;
        }
        self.asm.alu_imm(Alu::Add, Width::W64, Reg::R14, steps.into());
        self.uncount(steps);
    }

    /// Counts steps not done that were counted, if they are counted.
    fn uncount(&mut self, steps: u8) {
        if let Some(counter) = self.setting.counter {
            self.asm.add_at(counter, -i32::from(steps));
        }
    }

    /// The register of the host that holds integer register `index`, if one does.
    fn home(&self, index: u8) -> Option<Reg> {
        self.homes.of_guest(index)
    }

    /// Has the interpreter do an instruction. If that ends a block, it comes back elsewhere.
    fn call_step(&mut self, op: &Op) {
        let literal = self.asm.label();
        self.literals.push((literal, *op));
        self.asm.lea_label(Reg::Rax, literal);
        if self.own_homes {
            self.asm.call(self.step);
        } else {
            self.asm.call_to(self.setting.stubs.step);
        }
    }

    /// Moves registers of the guest to where code outside wants them.
    fn restore_homes(&mut self) {
        let (own, common) = (self.homes, Homes::common());
        own.unlike(&common).for_each(|(guest, host)| self.asm.store(8, x(guest), host));
        common.unlike(&own).for_each(|(guest, host)| self.asm.mov(Width::W64, host, x(guest)));
    }

    /// Where code outside enters, by offset.
    fn ways_in(&mut self) -> Vec<(u16, u64)> {
        let (own, common) = (self.homes, Homes::common());
        let mut ways = Vec::new();
        for (offset, label) in self.labels.clone() {
            if !self.own_homes {
                ways.push((offset, self.asm.address_of(label)));
                continue;
            }
            ways.push((offset, self.asm.here()));
            common.unlike(&own).for_each(|(guest, host)| self.asm.store(8, x(guest), host));
            own.unlike(&common).for_each(|(guest, host)| self.asm.mov(Width::W64, host, x(guest)));
            self.asm.jump(label);
        }
        if self.own_homes {
            self.asm.place(self.step);
            emit_step(&mut self.asm, own, self.setting.stubs.elsewhere);
        }
        ways
    }

    /// Integer register `index`, in a register: its own or `scratch`.
    fn get(&mut self, index: u8, scratch: Reg) -> Reg {
        match self.home(index) {
            Some(reg) => reg,
            None if index == 0 => {
                self.asm.mov_imm(scratch, 0);
                scratch
            }
            None => {
                self.asm.mov(Width::W64, scratch, x(index));
                scratch
            }
        }
    }

    /// Integer register `index`, as a second operand; `scratch` may be used for it.
    fn operand(&mut self, index: u8, scratch: Reg) -> Rm {
        match self.home(index) {
            Some(reg) => reg.into(),
            None if index == 0 => self.get(0, scratch).into(),
            None => x(index).into(),
        }
    }

    /// Copies integer register `index`.
    fn copy(&mut self, to: Reg, index: u8) {
        match self.home(index) {
            Some(reg) if reg == to => {}
            Some(reg) => self.asm.mov(Width::W64, to, reg),
            None => {
                self.get(index, to);
            }
        }
    }

    /// Where a result for `index` is computed.
    fn result(&self, index: u8) -> Reg {
        self.home(index).unwrap_or(Reg::Rax)
    }

    /// Writes a result that is not in its place yet.
    fn put(&mut self, index: u8, from: Reg) {
        match self.home(index) {
            Some(reg) if reg == from => {}
            Some(reg) => self.asm.mov(Width::W64, reg, from),
            None if index == DISCARD => {}
            None => self.asm.store(8, x(index), from),
        }
    }
}

/// When a branch goes to its target.
fn condition(code: Code) -> Cond {
    match code {
        Code::Beq => Cond::Equal,
        Code::Bne => Cond::NotEqual,
        Code::Blt => Cond::Less,
        Code::Bge => Cond::GreaterEqual,
        Code::Bltu => Cond::Below,
        Code::Bgeu => Cond::AboveEqual,
        other => unreachable!("{other:?} is no branch"),
    }
}

/// Where a segment goes on that ends at `end`.
fn fall(end: u16) -> Target {
    if end < 4096 { Target::Inside(end) } else { Target::Beyond(end.into()) }
}

/// An op as it lies in memory, for the interpreter to read.
fn bytes(op: &Op) -> [u8; size_of::<Op>()] {
    let mut bytes = [0; size_of::<Op>()];
    // `repr(C)`: code, place, n, rd, rs1, rs2, imm, link, without gaps.
    bytes[0..2].copy_from_slice(&(op.code as u16).to_le_bytes());
    bytes[2..4].copy_from_slice(&op.place.to_le_bytes());
    bytes[4..8].copy_from_slice(&[op.n, op.rd, op.rs1, op.rs2]);
    bytes[8..12].copy_from_slice(&op.imm.to_le_bytes());
    bytes[12..16].copy_from_slice(&op.link.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests;
