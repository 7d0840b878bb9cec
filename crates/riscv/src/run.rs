//! The interpreter: runs predecoded blocks of one hart for an exact number of instructions.
//!
//! Counting: entering a block takes all its instructions off `left` at once; whoever leaves in the
//! middle gives the rest back. So at any op, `left + op.n` instructions were left before it. A
//! block longer than what is left is decoded again, cut to length, so every run ends exactly.
//!
//! Hot paths stay in [`Runner::run_blocks`]; whatever is rare is a call away, out of line.
#![expect(
    unsafe_code,
    reason = "registers, ops and guest memory are reached without bounds checks"
)]

use crate::blocks::{self, CodePage};
use crate::bus::{Bus, PAGE_BYTES};
use crate::engine::Engine;
use crate::hart::Hart;
use crate::int;
use crate::mmu::Access;
use crate::op::{Code, Op};
use crate::tlb::{DataEntry, FetchEntry, Tables};
use crate::trap::Exception;

/// How long and from when a hart runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Most instructions to attempt.
    pub steps: u64,
    /// The instant of the first, in ticks.
    pub now_ticks: u64,
    /// Ticks each takes.
    pub ticks_per_step: u64,
    /// Who answers an ECALL from S-mode.
    pub firmware: Firmware,
}

/// Who answers an ECALL from S-mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Firmware {
    /// The caller of [`Engine::run`], on [`Exit::Firmware`].
    Caller,
    /// The guest's own, through the trap.
    Guest,
}

/// Why a run ended. The hart stands at an instruction boundary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// All steps were taken.
    Steps,
    /// WFI, and nothing is pending: the hart stands behind it.
    Wfi,
    /// ECALL from S-mode for [`Firmware::Caller`], which counted as a step; `pc` is the ECALL's.
    Firmware,
    /// A device register was accessed or a timer moved: interrupt lines and deadlines may differ.
    Devices,
    /// PAUSE: the hart gives up the rest of its turn.
    Pause,
    /// A store hit a page of [`Engine::report_stores`].
    Reported,
}

impl Engine {
    /// Runs hart `index` until its turn or something else ends it. Interrupt lines are as
    /// [`Hart::set_lines`] left them.
    pub fn run<B: Bus>(&mut self, index: usize, hart: &mut Hart, bus: &mut B, turn: Turn) -> Exit {
        let left = i64::try_from(turn.steps).expect("a turn is far shorter than 2^63 steps");
        let start_steps = hart.steps;
        let mut runner = Runner { engine: self, index, hart, bus, turn, start_steps, exit: None };
        let (exit, left) = runner.run_blocks(left);
        runner.hart.steps = start_steps + (turn.steps - left as u64);
        exit
    }
}

/// One hart while it runs.
pub(crate) struct Runner<'a, B: Bus> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) index: usize,
    pub(crate) hart: &'a mut Hart,
    pub(crate) bus: &'a mut B,
    pub(crate) turn: Turn,
    start_steps: u64,
    /// Set by an instruction that must be the last of the run.
    pub(crate) exit: Option<Exit>,
}

/// Where a block was found.
struct Entered {
    op: *mut Op,
    page_va: u64,
}

impl<B: Bus> Runner<'_, B> {
    /// Instructions attempted by the hart before the current one, of which `left` follow or are it.
    fn steps_before(&self, left: i64) -> u64 {
        self.start_steps + (self.turn.steps - left as u64)
    }

    /// Instructions retired before the current one.
    pub(crate) fn retired(&self, left: i64) -> u64 {
        self.steps_before(left) - self.hart.trapped
    }

    /// The instant before the current instruction.
    pub(crate) fn now_ticks(&self, left: i64) -> u64 {
        self.turn.now_ticks + (self.turn.steps - left as u64) * self.turn.ticks_per_step
    }

    /// Finds the block at `pc`, decoding it if need be; with `left` steps at most.
    #[inline(never)]
    fn enter(&mut self, left: i64) -> Result<Entered, Exception> {
        let pc = self.hart.pc;
        let page_va = pc & !(PAGE_BYTES - 1);
        let offset = pc & (PAGE_BYTES - 1);
        let (code, all_allowed) = self.code_page(pc)?;
        // SAFETY: `code_page` returns the address of a live page; nothing else refers to it now.
        let (page, known) = unsafe { ((*code).page, (*code).entry[offset as usize / 2]) };
        // SAFETY: the bus gives the address of a readable page; nothing writes to it while this
        // slice is in use.
        let bytes = unsafe { std::slice::from_raw_parts(self.bus.page(page), PAGE_BYTES as usize) };
        if blocks::straddles(bytes, offset) {
            let bits = self.fetch_bits(pc)?;
            return Ok(Entered { op: self.engine.blocks.decode_straddling(bits), page_va });
        }
        if !all_allowed {
            // Protection differs inside the page, so each instruction is asked for.
            self.fetch_bits(pc)?;
            return Ok(Entered { op: self.engine.blocks.decode_cut(bytes, offset, 1), page_va });
        }
        let block = if known != 0 { known } else { self.engine.blocks.decode(page, bytes, offset) };
        // SAFETY: block indexes come from the arena.
        let mut op = unsafe { self.engine.blocks.base().add(block as usize) };
        // SAFETY: as above.
        if i64::from(unsafe { (*op).n }) > left {
            op = self.engine.blocks.decode_cut(bytes, offset, left as usize);
        }
        Ok(Entered { op, page_va })
    }

    /// The code page that `pc` is on, through the TLB, and whether all of it may be executed.
    fn code_page(&mut self, pc: u64) -> Result<(*mut CodePage, bool), Exception> {
        if !self.engine.blocks.has_room() {
            self.engine.flush_code();
        }
        let context = self.hart.fetch_context();
        let cached = self.engine.tlbs[self.index].tables(context).fetch[Tables::fetch_index(pc)];
        if cached.tag == pc & !(PAGE_BYTES - 1) {
            let page = cached.page;
            // The page may have lost its code, and with it the watch on its stores.
            // SAFETY: pages live until `flush_code`, which empties the TLBs.
            let ram_page = unsafe { (*page).page };
            self.engine.watch(self.bus, ram_page, crate::engine::page_flag::CODE);
            return Ok((page, true));
        }
        let (page, uniform) = self.translate_code(pc)?;
        let code = self.engine.blocks.page(page);
        self.engine.watch(self.bus, page, crate::engine::page_flag::CODE);
        if uniform {
            self.engine.tlbs[self.index].tables(context).insert_fetch(pc, code);
        }
        Ok((code, uniform))
    }

    /// Gives the block at `offset` of the page that `op`, its jump source, is on to `op.link`.
    #[inline(never)]
    fn link(&mut self, op: *mut Op, pc: u64) -> Option<*mut Op> {
        let (code, _) = self.code_page(pc).ok().filter(|(_, all_allowed)| *all_allowed)?;
        // SAFETY: `code_page` returns the address of a live page.
        let known = unsafe { (*code).entry[(pc & (PAGE_BYTES - 1)) as usize / 2] };
        if known == 0 {
            return None;
        }
        // SAFETY: `op` is in the arena or the scratch block, both alive; nobody else holds it.
        unsafe { (*op).link = known };
        // SAFETY: block indexes come from the arena.
        Some(unsafe { self.engine.blocks.base().add(known as usize) })
    }

    /// Runs until something ends the run; returns why, and the steps left.
    #[expect(clippy::too_many_lines, reason = "the dispatch of all hot instructions is one match")]
    fn run_blocks(&mut self, mut left: i64) -> (Exit, i64) {
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
                Ok(entered) => (entered.op.cast_const(), entered.page_va),
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
                        self.after_slow_store();
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
                    | Code::Bexti) => set!(int::compute(code, x!(rs1), x!(rs2), op!().imm)),
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

    /// Turns what a slow store noticed into an exit of the run.
    #[cold]
    fn after_slow_store(&mut self) {
        self.engine.leave_block = false;
        if std::mem::take(&mut self.engine.reported_store) {
            self.exit = Some(Exit::Reported);
        }
    }

    /// Fills in the instruction's bits as the `tval` of an illegal instruction.
    #[cold]
    pub(crate) fn with_bits(&mut self, exception: Exception) -> Exception {
        if exception.cause != crate::trap::Cause::IllegalInstruction {
            return exception;
        }
        Exception { tval: self.fetch_bits(self.hart.pc).map_or(0, u64::from), ..exception }
    }

    /// The 2 or 4 bytes at `pc`.
    pub(crate) fn fetch_bits(&mut self, pc: u64) -> Result<u32, Exception> {
        let low = self.fetch_parcel(pc)?;
        if low & 3 != 3 {
            return Ok(u32::from(low));
        }
        let high = self.fetch_parcel(pc.wrapping_add(2))?;
        Ok(u32::from(high) << 16 | u32::from(low))
    }

    fn fetch_parcel(&mut self, va: u64) -> Result<u16, Exception> {
        let (page, _) = self.translate_code(va)?;
        let at = (va & (PAGE_BYTES - 1)) as usize;
        // SAFETY: `at` is even and below 4096; the bus gave the address of a readable page.
        Ok(u16::from_le(unsafe { self.bus.page(page).add(at).cast::<u16>().read_unaligned() }))
    }

    /// The RAM page `va` is fetched from, and whether all of it may be executed.
    fn translate_code(&mut self, va: u64) -> Result<(crate::bus::RamPage, bool), Exception> {
        let pa = self.engine.translate(self.hart, self.bus, va, 2, Access::Fetch)?;
        let page = crate::mmu::ram_page(pa, self.bus.ram_pages())
            .ok_or_else(|| Access::Fetch.access_fault(va))?;
        Ok((page, Engine::page_is_uniform(self.hart, pa, Access::Fetch)))
    }
}

#[cfg(test)]
mod tests;
