//! The interpreter's hot loop: one match over every [`Code`].
//!
//! Hot paths stay in [`Runner::run_blocks`]; whatever is rare is a call away, out of line. Counting
//! is explained in [`super`].
#![expect(
    unsafe_code,
    reason = "registers, ops and guest memory are reached without bounds checks"
)]

use super::{Entered, Exit, Runner};
use crate::bus::{Bus, PAGE_BYTES};
use crate::int;
use crate::op::Code;
use crate::tlb::{DataEntry, FetchEntry, Tables};

impl<B: Bus> Runner<'_, B> {
    /// Runs until something ends the run; returns why, and the steps left.
    #[expect(clippy::too_many_lines, reason = "the dispatch of all hot instructions is one match")]
    pub(super) fn run_blocks(&mut self, mut left: i64) -> (Exit, i64) {
        let x: *mut u64 = self.hart.x.as_mut_ptr();
        'enter: loop {
            if let Some(exit) = self.exit.take() {
                return (exit, left);
            }
            if let Some(bit) = self.hart.interrupt() {
                self.hart.take_interrupt(bit);
            }
            if left == 0 {
                return (Exit::Steps, 0);
            }
            let (mut op, mut page_va) = match self.enter(left) {
                Ok(Entered::Block { op, page_va }) => (op.cast_const(), page_va),
                Ok(Entered::Native { start, entry }) => {
                    let before = left;
                    left = self.run_native(start, entry, left);
                    self.stuck = left == before;
                    continue 'enter;
                }
                Err(exception) => {
                    left -= 1;
                    self.hart.take_exception(exception, self.hart.pc);
                    continue 'enter;
                }
            };
            let arena = self.engine.blocks.base();
            let context = self.hart.data_context();
            let data = self.engine.tlbs[self.index].tables(context);
            let read: *const DataEntry = data.read.as_ptr();
            let write: *const DataEntry = data.write.as_ptr();
            let context = self.hart.fetch_context();
            let fetch: *const FetchEntry =
                self.engine.tlbs[self.index].tables(context).fetch.as_ptr();
            // SAFETY: `enter` returned a block.
            left -= i64::from(unsafe { (*op).n });

            // `op` points into a block, which ends with an op that leaves it, so `op.add(1)` of any
            // other op is in the block as well.
            macro_rules! op {
                () => {{
                    // SAFETY: see above.
                    unsafe { &*op }
                }};
            }
            macro_rules! x {
                ($index:ident) => {{
                    let index = usize::from(op!().$index);
                    // SAFETY: register numbers are `u8` and the file has 256 slots.
                    unsafe { *x.add(index) }
                }};
            }
            macro_rules! put {
                ($value:expr) => {{
                    let value: u64 = $value;
                    let index = usize::from(op!().rd);
                    // SAFETY: as for reading; decoding never names slot 0.
                    unsafe { *x.add(index) = value };
                }};
            }
            macro_rules! next {
                () => {
                    // SAFETY: not the last op of its block.
                    op = unsafe { op.add(1) }
                };
            }
            macro_rules! set {
                ($value:expr) => {{
                    put!($value);
                    next!();
                }};
            }
            macro_rules! imm {
                () => {
                    op!().imm as i64 as u64
                };
            }
            macro_rules! pc {
                () => {
                    page_va.wrapping_add(op!().offset())
                };
            }
            // Goes to the block at `$target`, on whatever page.
            macro_rules! goto {
                ($target:expr) => {{
                    let target: u64 = $target;
                    // SAFETY: the index is reduced to the table's size.
                    let cached = unsafe { *fetch.add(Tables::fetch_index(target)) };
                    if cached.tag == target & !(PAGE_BYTES - 1) {
                        let slot = (target & (PAGE_BYTES - 1)) as usize / 2;
                        // SAFETY: code pages live until the TLB is flushed; `slot < 2048`.
                        let block = unsafe { (&(*cached.page).entry)[slot] };
                        if block != 0 {
                            // SAFETY: block indexes come from the arena.
                            let first = unsafe { arena.add(block as usize) };
                            // SAFETY: as above.
                            let after = left - i64::from(unsafe { (*first).n });
                            if after >= 0 {
                                left = after;
                                op = first;
                                page_va = target & !(PAGE_BYTES - 1);
                                continue;
                            }
                        }
                    }
                    self.hart.pc = target;
                    continue 'enter;
                }};
            }
            // Goes to the target of a direct jump.
            macro_rules! jump {
                () => {{
                    left += i64::from(op!().n) - 1;
                    if op!().link != 0 {
                        let block = op!().link as usize;
                        // SAFETY: links are indexes into the arena.
                        let first = unsafe { arena.add(block) };
                        // SAFETY: as above.
                        let after = left - i64::from(unsafe { (*first).n });
                        if after >= 0 {
                            left = after;
                            op = first;
                            continue;
                        }
                    }
                    let target = pc!().wrapping_add(imm!());
                    if target & !(PAGE_BYTES - 1) == page_va && op!().link == 0 {
                        // The block may be new: it is linked when it is reached again.
                        self.link(op.cast_mut(), target);
                    }
                    goto!(target)
                }};
            }
            macro_rules! branch {
                ($taken:expr) => {
                    if $taken {
                        jump!();
                    } else {
                        // Conditional branches do not end blocks.
                        next!();
                    }
                };
            }
            macro_rules! trap {
                ($exception:expr) => {{
                    left += i64::from(op!().n) - 1;
                    let pc = pc!();
                    self.hart.take_exception($exception, pc);
                    continue 'enter;
                }};
            }
            // Leaves behind the current instruction.
            macro_rules! leave {
                () => {{
                    left += i64::from(op!().n) - 1;
                    self.hart.pc = pc!().wrapping_add(op!().len());
                    continue 'enter;
                }};
            }
            // After a slow access that may have changed what is cached.
            macro_rules! next_or_leave {
                () => {
                    if self.engine.leave_block || self.exit.is_some() {
                        self.after_slow_store(pc!());
                        leave!()
                    }
                    next!();
                };
            }
            macro_rules! load {
                ($ty:ty, $as:ty) => {{
                    let va = x!(rs1).wrapping_add(imm!());
                    // SAFETY: the index is reduced to the table's size.
                    let e = unsafe { &*read.add(Tables::data_index(va)) };
                    if va & (!(PAGE_BYTES - 1) | (size_of::<$ty>() as u64 - 1)) == e.tag {
                        // SAFETY: a matching entry leads to a live page, and the access is aligned.
                        let value = unsafe { *(e.addend.wrapping_add(va) as *const $ty) };
                        set!(<$ty>::from_le(value) as $as as u64);
                    } else {
                        match self.load(va, size_of::<$ty>() as u8, left + i64::from(op!().n)) {
                            Ok(value) => {
                                let value = value as $ty as $as as u64;
                                put!(value);
                                next_or_leave!();
                            }
                            Err(exception) => trap!(exception),
                        }
                    }
                }};
            }
            macro_rules! store {
                ($ty:ty) => {{
                    let va = x!(rs1).wrapping_add(imm!());
                    // SAFETY: the index is reduced to the table's size.
                    let e = unsafe { &*write.add(Tables::data_index(va)) };
                    let value = x!(rs2);
                    if va & (!(PAGE_BYTES - 1) | (size_of::<$ty>() as u64 - 1)) == e.tag {
                        // SAFETY: a matching entry leads to an unshared live page, and the access
                        // is aligned.
                        unsafe {
                            *(e.addend.wrapping_add(va) as *mut $ty) = (value as $ty).to_le();
                        }
                        next!();
                    } else {
                        let size = size_of::<$ty>() as u8;
                        match self.store(va, size, value, left + i64::from(op!().n)) {
                            Ok(()) => {
                                next_or_leave!();
                            }
                            Err(exception) => trap!(exception),
                        }
                    }
                }};
            }

            loop {
                match op!().code {
                    Code::Lui => set!(imm!()),
                    Code::Auipc => set!(pc!().wrapping_add(imm!())),
                    Code::J => jump!(),
                    Code::Jal => {
                        put!(pc!().wrapping_add(op!().len()));
                        jump!();
                    }
                    Code::Jalr => {
                        let target = x!(rs1).wrapping_add(imm!()) & !1;
                        put!(pc!().wrapping_add(op!().len()));
                        goto!(target)
                    }
                    Code::Beq => branch!(x!(rs1) == x!(rs2)),
                    Code::Bne => branch!(x!(rs1) != x!(rs2)),
                    Code::Blt => branch!((x!(rs1) as i64) < x!(rs2) as i64),
                    Code::Bge => branch!(x!(rs1) as i64 >= x!(rs2) as i64),
                    Code::Bltu => branch!(x!(rs1) < x!(rs2)),
                    Code::Bgeu => branch!(x!(rs1) >= x!(rs2)),
                    Code::Lb => load!(i8, i64),
                    Code::Lh => load!(i16, i64),
                    Code::Lw => load!(i32, i64),
                    Code::Ld => load!(u64, u64),
                    Code::Lbu => load!(u8, u64),
                    Code::Lhu => load!(u16, u64),
                    Code::Lwu => load!(u32, u64),
                    Code::Sb => store!(u8),
                    Code::Sh => store!(u16),
                    Code::Sw => store!(u32),
                    Code::Sd => store!(u64),
                    Code::Addi => set!(x!(rs1).wrapping_add(imm!())),
                    Code::Slti => set!(u64::from((x!(rs1) as i64) < imm!() as i64)),
                    Code::Sltiu => set!(u64::from(x!(rs1) < imm!())),
                    Code::Xori => set!(x!(rs1) ^ imm!()),
                    Code::Ori => set!(x!(rs1) | imm!()),
                    Code::Andi => set!(x!(rs1) & imm!()),
                    Code::Slli => set!(x!(rs1) << (op!().imm & 63)),
                    Code::Srli => set!(x!(rs1) >> (op!().imm & 63)),
                    Code::Srai => set!((x!(rs1) as i64 >> (op!().imm & 63)) as u64),
                    Code::Add => set!(x!(rs1).wrapping_add(x!(rs2))),
                    Code::Sub => set!(x!(rs1).wrapping_sub(x!(rs2))),
                    Code::Sll => set!(x!(rs1) << (x!(rs2) & 63)),
                    Code::Slt => set!(u64::from((x!(rs1) as i64) < x!(rs2) as i64)),
                    Code::Sltu => set!(u64::from(x!(rs1) < x!(rs2))),
                    Code::Xor => set!(x!(rs1) ^ x!(rs2)),
                    Code::Srl => set!(x!(rs1) >> (x!(rs2) & 63)),
                    Code::Sra => set!((x!(rs1) as i64 >> (x!(rs2) & 63)) as u64),
                    Code::Or => set!(x!(rs1) | x!(rs2)),
                    Code::And => set!(x!(rs1) & x!(rs2)),
                    Code::Addiw => set!(int::sext(x!(rs1).wrapping_add(imm!()))),
                    Code::Slliw => set!(int::sext(x!(rs1) << (op!().imm & 31))),
                    Code::Srliw => set!(int::sext(u64::from(x!(rs1) as u32 >> (op!().imm & 31)))),
                    Code::Sraiw => set!((x!(rs1) as i32 >> (op!().imm & 31)) as i64 as u64),
                    Code::Addw => set!(int::sext(x!(rs1).wrapping_add(x!(rs2)))),
                    Code::Subw => set!(int::sext(x!(rs1).wrapping_sub(x!(rs2)))),
                    Code::Sllw => set!(int::sext(x!(rs1) << (x!(rs2) & 31))),
                    Code::Srlw => set!(int::sext(u64::from(x!(rs1) as u32 >> (x!(rs2) & 31)))),
                    Code::Sraw => set!((x!(rs1) as i32 >> (x!(rs2) & 31)) as i64 as u64),
                    Code::Mul => set!(x!(rs1).wrapping_mul(x!(rs2))),
                    Code::Mulw => set!(int::sext(x!(rs1).wrapping_mul(x!(rs2)))),
                    Code::Mulhu => set!(int::mulhu(x!(rs1), x!(rs2))),
                    Code::Sh1add => set!((x!(rs1) << 1).wrapping_add(x!(rs2))),
                    Code::Sh2add => set!((x!(rs1) << 2).wrapping_add(x!(rs2))),
                    Code::Sh3add => set!((x!(rs1) << 3).wrapping_add(x!(rs2))),
                    Code::AddUw => set!(u64::from(x!(rs1) as u32).wrapping_add(x!(rs2))),
                    Code::Andn => set!(x!(rs1) & !x!(rs2)),
                    Code::Rori => set!(x!(rs1).rotate_right(op!().imm as u32 & 63)),
                    Code::Roriw => {
                        set!((x!(rs1) as u32).rotate_right(op!().imm as u32 & 31) as i32 as i64
                            as u64);
                    }
                    // No cache here is ever stale and harts take turns: nothing to order.
                    Code::Fence => next!(),
                    Code::Next => goto!(page_va.wrapping_add(u64::from(op!().place))),
                    Code::Heat if op!().imm > 1 => {
                        // SAFETY: ops of the arena may be written, and nobody else holds this one.
                        unsafe { (*op.cast_mut()).imm -= 1 };
                        next!();
                    }
                    Code::Heat | Code::Native => {
                        // SAFETY: as above. It is compiled, or about to be.
                        unsafe { (*op.cast_mut()).imm = 0 };
                        left += i64::from(op!().n);
                        self.hart.pc = pc!();
                        continue 'enter;
                    }
                    // Every code is named, so that the dispatch needs no check for others.
                    code @ (Code::Mulh
                    | Code::Mulhsu
                    | Code::Div
                    | Code::Divu
                    | Code::Rem
                    | Code::Remu
                    | Code::Divw
                    | Code::Divuw
                    | Code::Remw
                    | Code::Remuw
                    | Code::Sh1addUw
                    | Code::Sh2addUw
                    | Code::Sh3addUw
                    | Code::SlliUw
                    | Code::Orn
                    | Code::Xnor
                    | Code::Clz
                    | Code::Ctz
                    | Code::Cpop
                    | Code::Clzw
                    | Code::Ctzw
                    | Code::Cpopw
                    | Code::Max
                    | Code::Maxu
                    | Code::Min
                    | Code::Minu
                    | Code::SextB
                    | Code::SextH
                    | Code::ZextH
                    | Code::Rol
                    | Code::Ror
                    | Code::Rolw
                    | Code::Rorw
                    | Code::OrcB
                    | Code::Rev8
                    | Code::Bset
                    | Code::Bclr
                    | Code::Binv
                    | Code::Bext
                    | Code::Bseti
                    | Code::Bclri
                    | Code::Binvi
                    | Code::Bexti) => {
                        let value = int::compute(code, x!(rs1), x!(rs2), op!().imm);
                        set!(value.expect("it computes what is listed here"));
                    }
                    Code::Pause
                    | Code::FenceI
                    | Code::Ecall
                    | Code::Ebreak
                    | Code::Csrrw
                    | Code::Csrrs
                    | Code::Csrrc
                    | Code::Csrrwi
                    | Code::Csrrsi
                    | Code::Csrrci
                    | Code::Sret
                    | Code::Mret
                    | Code::Wfi
                    | Code::SfenceVma
                    | Code::Illegal => {
                        self.hart.pc = pc!();
                        if let Err(exception) = self.system(*op!(), left + 1) {
                            self.hart.take_exception(exception, self.hart.pc);
                        }
                        continue 'enter;
                    }
                    Code::LrW
                    | Code::LrD
                    | Code::ScW
                    | Code::ScD
                    | Code::AmoW
                    | Code::AmoD
                    | Code::Flw
                    | Code::Fld
                    | Code::Fsw
                    | Code::Fsd
                    | Code::FaddS
                    | Code::FsubS
                    | Code::FmulS
                    | Code::FdivS
                    | Code::FaddD
                    | Code::FsubD
                    | Code::FmulD
                    | Code::FdivD
                    | Code::FmaddS
                    | Code::FmsubS
                    | Code::FnmsubS
                    | Code::FnmaddS
                    | Code::FmaddD
                    | Code::FmsubD
                    | Code::FnmsubD
                    | Code::FnmaddD
                    | Code::FpToFp
                    | Code::FpToInt
                    | Code::CboInval
                    | Code::CboClean
                    | Code::CboFlush
                    | Code::CboZero => {
                        match self.memory_or_float(*op!(), left + i64::from(op!().n)) {
                            Ok(()) => {
                                next_or_leave!();
                            }
                            Err(exception) => {
                                self.hart.pc = pc!();
                                let exception = self.with_bits(exception);
                                trap!(exception)
                            }
                        }
                    }
                }
            }
        }
    }
}
