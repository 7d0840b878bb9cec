//! Loops that look at the translations once in many turns.
//!
//! A loop of one segment whose addresses move by constants knows before its first turn which bytes
//! the next so many touch. If those are on pages that the translations know, as many steps are
//! left, and nothing in the loop can do anything but compute, the turns need no further look: an
//! inner loop runs them with the host's addresses at hand. Everything else (a page's end is near, a
//! translation is missing, an event is due) does one turn as any segment, and asks again.
//!
//! While the inner loop runs, `r14` counts the steps left of the window, the others wait below the
//! stack pointer (where nothing is called, and signals leave 128 bytes alone), and `rcx` and `rdx`
//! are what to add to the guest's addresses.

use stackvm_riscv::native::{Code, Op};

use super::access::{Access, Kind, keeps_rcx};
use super::{Cold, Emitter};
use crate::asm::{Alu, Cond, Label, Mem, Reg, Width};
use crate::homes::Homes;
use crate::region::{Segment, Target, is_branch, straddles, target};
use Width::W64;

/// Turns with one look, at most; more would gain nothing.
const TURNS_MAX: i32 = 32;
/// With fewer the look is not worth it.
const TURNS_MIN: i32 = 4;
/// What a window touches through one register. The larger, the oftener a page ends in it.
const SPAN_BYTES_MAX: i32 = 1536;
/// What holds the host's addresses; so many registers of the guest may point.
const ADDENDS: [Reg; 2] = [Reg::Rcx, Reg::Rdx];

/// A loop that may run so.
pub(super) struct Window {
    turns: i32,
    spans: Vec<Span>,
}

/// What is touched through one register.
struct Span {
    base: u8,
    /// To write if any access writes: who may write a page may read it.
    kind: Kind,
    /// From what the register holds at the beginning of a turn to the least byte of that turn.
    first: i32,
    /// To behind the last byte.
    last: i32,
    /// What a turn adds to the register.
    step: i32,
}

impl Span {
    /// The least byte of so many turns, from what the register holds before them, and how many
    /// there are from it.
    fn over(&self, turns: i32) -> (i32, i32) {
        let way = self.step * (turns - 1);
        let first = self.first + way.min(0);
        (first, self.last + way.max(0) - first)
    }

    /// Turns that touch no more than they may.
    fn turns_max(&self) -> i32 {
        let beyond_one_turn = SPAN_BYTES_MAX - (self.last - self.first);
        match self.step.abs() {
            _ if beyond_one_turn < 0 => 0,
            0 => TURNS_MAX,
            step => TURNS_MAX.min(1 + beyond_one_turn / step),
        }
    }
}

impl Window {
    /// None if the segment is no loop, or not such a one.
    pub(super) fn of(segment: &Segment, homes: &Homes) -> Option<Window> {
        let ops = &segment.ops;
        let last = ops.last().expect("segments are not empty");
        if !is_branch(last.code) || target(last) != Target::Inside(segment.offset) {
            return None;
        }
        let mut spans: Vec<Span> = Vec::new();
        for op in ops {
            let homed = |index| homes.of_guest(index).is_some();
            match Access::of(op.code) {
                _ if straddles(op) => return None,
                None if is_branch(op.code) || only_computes(op) => {}
                Some(_) if homed(op.rs1) => {
                    if spans.iter().all(|span| span.base != op.rs1) {
                        spans.push(Span::of(op.rs1, ops)?);
                    }
                }
                _ => return None,
            }
        }
        if spans.is_empty() || spans.len() > ADDENDS.len() {
            return None;
        }
        let turns = spans.iter().map(Span::turns_max).min().expect("there is one");
        (turns >= TURNS_MIN).then_some(Window { turns, spans })
    }
}

impl Span {
    /// What a turn of these ops touches through `base`; none if something but adding constants
    /// happens to it.
    fn of(base: u8, ops: &[Op]) -> Option<Span> {
        let mut span = Span { base, kind: Kind::Read, first: i32::MAX, last: i32::MIN, step: 0 };
        for op in ops {
            if let Some(access) = Access::of(op.code).filter(|_| op.rs1 == base) {
                let first = span.step + op.imm;
                span.first = span.first.min(first);
                span.last = span.last.max(first + i32::from(access.bytes));
                if access.kind == Kind::Write {
                    span.kind = Kind::Write;
                }
            }
            if writes(op, base) {
                let moves = op.code == Code::Addi && op.rs1 == base;
                span.step = moves.then(|| span.step.checked_add(op.imm))??;
            }
        }
        // Far from where any sum of these would overflow.
        (span.step.abs() <= SPAN_BYTES_MAX).then_some(span)
    }
}

/// Whether it may change an integer register.
fn writes(op: &Op, index: u8) -> bool {
    let reads_only =
        is_branch(op.code) || Access::of(op.code).is_some_and(|a| a.kind == Kind::Write);
    !reads_only && op.rd == index
}

/// Whether the emitted code changes but registers of the guest and `rax`, and goes on behind.
fn only_computes(op: &Op) -> bool {
    use Code::*;
    // For `x0` as a source some take `rdx`.
    keeps_rcx(op.code)
        && match op.code {
            Lui | Auipc | Addi => true,
            Add | Sub | Subw | Slt | Sltu => op.rs2 != 0,
            Addw | Xor | Or | And | Mul | Mulw => op.rs1 != 0 && op.rs2 != 0,
            _ => op.rs1 != 0,
        }
}

/// Where the steps behind the window wait.
fn steps_behind() -> Mem {
    Mem::at(Reg::Rsp, -8)
}

impl Emitter {
    /// Emits the loop, whose beginning is placed; a turn by itself becomes something rare. Goes on
    /// behind it.
    pub(super) fn window(&mut self, segment: &Segment, window: &Window) {
        let (singly, turn, done) = (self.asm.label(), self.asm.label(), self.asm.label());
        let steps = segment.ops.len() as i32;
        self.enter_window(window, steps * window.turns, singly);
        self.cold.push(Cold::Turn { at: singly, segment: segment.clone() });

        self.asm.place(turn);
        if let Some(counter) = self.setting.counter {
            self.asm.add_at(counter, steps);
        }
        let (last, ops) = segment.ops.split_last().expect("segments are not empty");
        ops.iter().for_each(|op| self.window_op(op, window, steps));

        let cond = self.compare(last);
        self.asm.jump_if(cond.inverted(), done);
        self.asm.alu_imm(Alu::Sub, W64, Reg::R14, steps);
        self.asm.jump_if(Cond::NotEqual, turn);
        self.asm.mov(W64, Reg::R14, steps_behind());
        self.asm.jump(self.labels[&segment.offset]);

        self.asm.place(done);
        self.leave_window(steps);
    }

    /// Goes to `singly` unless all that the window touches is at hand.
    fn enter_window(&mut self, window: &Window, steps: i32, singly: Label) {
        self.asm.lea(W64, Reg::Rax, Mem::at(Reg::R14, -steps));
        self.asm.test(W64, Reg::Rax);
        self.asm.jump_if(Cond::Sign, singly);
        self.asm.store(8, steps_behind(), Reg::Rax);
        for (span, addend) in window.spans.iter().zip(ADDENDS) {
            let base = self.home(span.base).expect("windows have their bases in registers");
            let (first, bytes) = span.over(window.turns);
            self.asm.lea(W64, Reg::Rax, Mem::at(base, first));
            self.look_up_span(addend, bytes, span.kind, singly);
        }
        self.asm.mov_imm(Reg::R14, steps as u64);
    }

    /// Emits an instruction of a turn that has so many steps.
    fn window_op(&mut self, op: &Op, window: &Window, steps: i32) {
        if let Some(access) = Access::of(op.code) {
            let mut spans = window.spans.iter().zip(ADDENDS);
            let (_, addend) = spans.find(|(span, _)| span.base == op.rs1).expect("it has a span");
            let base = self.home(op.rs1).expect("windows have their bases in registers");
            let at = Mem::indexed(addend, base, 0, op.imm);
            return self.transfer(op, access, at, Reg::Rax);
        }
        if !is_branch(op.code) {
            assert!(self.integer(op), "what only computes is emitted");
            return;
        }
        let cond = self.compare(op);
        let at = self.asm.label();
        self.asm.jump_if(cond, at);
        let rest = op.n - 1;
        let done = steps - i32::from(rest);
        self.cold.push(Cold::LeaveWindow { at, to: target(op), done, rest });
    }

    /// Counts what was done of the last turn, and what is left of the window.
    pub(super) fn leave_window(&mut self, steps: i32) {
        self.asm.alu_imm(Alu::Sub, W64, Reg::R14, steps);
        self.asm.alu(Alu::Add, W64, Reg::R14, steps_behind());
    }
}
