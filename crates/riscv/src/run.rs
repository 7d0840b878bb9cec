//! The interpreter: runs predecoded blocks of one hart for an exact number of instructions.
//!
//! Counting: entering a block takes all its instructions off `left` at once; whoever leaves in the
//! middle gives the rest back. So at any op, `left + op.n` instructions were left before it. A
//! block longer than what is left is decoded again, cut to length, so every run ends exactly.
//!
//! This module owns where blocks come from and why a run ends; the hot loop is in `dispatch`.
#![expect(unsafe_code, reason = "ops and guest code are reached by address")]

mod dispatch;
#[cfg(test)]
mod tests;

use crate::blocks::{self, CodePage, STRADDLING};
use crate::bus::{Bus, PAGE_BYTES};
use crate::engine::Engine;
use crate::hart::Hart;
use crate::mmu::Access;
use crate::native::Start;
use crate::op::{Code, Op};
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
        self.reported.clear();
        self.tlbs[index].switch(hart.csr.satp);
        let left = i64::try_from(turn.steps).expect("a turn is far shorter than 2^63 steps");
        let start_steps = hart.steps;
        let mut runner =
            Runner { engine: self, index, hart, bus, turn, start_steps, exit: None, stuck: false };
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
    /// Compiled code came back at once, because it is longer than what is left: the interpreter
    /// takes the next block.
    stuck: bool,
}

/// What runs next.
enum Entered {
    /// A block, on a page.
    Block { op: *mut Op, page_va: u64 },
    /// Compiled code.
    Native { start: Start, entry: u64 },
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
        if !self.engine.blocks.has_room() {
            self.engine.flush_code();
        }
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
            return self.enter_straddling(code, all_allowed);
        }
        if !all_allowed {
            // Protection differs inside the page, so each instruction is asked for.
            self.fetch_bits(pc)?;
            let op = self.engine.blocks.decode_cut(bytes, offset, 1);
            return Ok(Entered::Block { op, page_va });
        }
        let block = if known != 0 { known } else { self.engine.blocks.decode(page, bytes, offset) };
        // SAFETY: block indexes come from the arena.
        let mut op = unsafe { self.engine.blocks.base().add(block as usize) };
        if self.stuck {
            self.stuck = false;
            op = self.engine.blocks.decode_cut(bytes, offset, left as usize);
        } else if let Some(native) = self.native(op, code, offset) {
            return Ok(native);
        // SAFETY: as above.
        } else if i64::from(unsafe { (*op).n }) > left {
            op = self.engine.blocks.decode_cut(bytes, offset, left as usize);
        }
        Ok(Entered::Block { op, page_va })
    }

    /// Finds what runs the instruction at `pc`, which begins on the page `code` and ends on the
    /// next.
    fn enter_straddling(
        &mut self,
        code: *mut CodePage,
        all_allowed: bool,
    ) -> Result<Entered, Exception> {
        let pc = self.hart.pc;
        let bits = self.fetch_bits(pc)?;
        // It comes back at once where what is compiled ends otherwise.
        let is_refused = std::mem::take(&mut self.stuck);
        if self.engine.blocks.heat > 0 && all_allowed && !is_refused {
            if let Some(next) = self.next_page(pc) {
                // SAFETY: it is live, and nothing else refers to it now.
                unsafe { (*next).set_head((bits >> 16) as u16) };
            }
            // SAFETY: the caller's page is live, and nothing else refers to it now.
            let page = unsafe { &mut *code };
            page.straddled = page.straddled.saturating_add(1);
            if i32::from(page.straddled) == self.engine.blocks.heat {
                self.compile(code, STRADDLING);
            }
            if let Some(native) = self.native_entry(code, STRADDLING) {
                return Ok(native);
            }
        }
        let op = self.engine.blocks.decode_straddling(bits);
        Ok(Entered::Block { op, page_va: pc & !(PAGE_BYTES - 1) })
    }

    /// The code page behind the one that `pc` is on, if all of it may be executed.
    fn next_page(&mut self, pc: u64) -> Option<*mut CodePage> {
        let va = (pc | (PAGE_BYTES - 1)).wrapping_add(1);
        self.code_page(va).ok().and_then(|(code, all_allowed)| all_allowed.then_some(code))
    }

    /// The compiled code of the block at `op`, which is compiled if it is hot enough.
    fn native(&mut self, op: *mut Op, code: *mut CodePage, offset: u64) -> Option<Entered> {
        // SAFETY: the caller found the block in the arena.
        let first = unsafe { &mut *op };
        if first.code == Code::Heat && first.imm <= 0 {
            // It may be refused for good; otherwise it is asked for once.
            first.imm = i32::MAX;
            self.compile(code, offset);
        }
        if first.code == Code::Native { self.native_entry(code, offset) } else { None }
    }

    /// Compiles what begins at `offset` of the page that `pc` is on.
    fn compile(&mut self, code: *mut CodePage, offset: u64) {
        let next = self.hart.pc.wrapping_add(PAGE_BYTES);
        let tables = self.engine.tlbs[self.index].tables(self.hart.fetch_context());
        // SAFETY: pages live until `flush_code`, which empties the TLBs.
        let head = tables.fetched(next).and_then(|page| unsafe { (*page).known_head() });
        self.engine.compile(self.bus, code, offset as u16, head);
    }

    /// What is compiled from `offset` of a page.
    fn native_entry(&self, code: *mut CodePage, offset: u64) -> Option<Entered> {
        // SAFETY: code pages live until `flush_code`, which `enter` begins with.
        let page = unsafe { &*code };
        let entries = page.native.filter(|_| page.is_native(offset))?;
        let start = self.engine.compiler.as_ref()?.start();
        // SAFETY: tables live as long; `offset` is below the page's size.
        let entry = unsafe { (*entries.as_ptr())[offset as usize / 2] };
        Some(Entered::Native { start, entry })
    }

    /// The code page that `pc` is on, through the TLB, and whether all of it may be executed.
    fn code_page(&mut self, pc: u64) -> Result<(*mut CodePage, bool), Exception> {
        let context = self.hart.fetch_context();
        if let Some(page) = self.engine.tlbs[self.index].tables(context).fetched(pc) {
            // The page may have lost its code, and with it the watch on its stores.
            // SAFETY: pages live until `flush_code`, which empties the TLBs.
            let ram_page = unsafe { (*page).page };
            self.engine.watch(ram_page, crate::engine::page_flag::CODE);
            return Ok((page, true));
        }
        let (page, uniform) = self.translate_code(pc)?;
        let code = self.engine.blocks.page(page);
        self.engine.watch(page, crate::engine::page_flag::CODE);
        if uniform {
            let entries = self.engine.entries(code);
            self.engine.tlbs[self.index].tables(context).insert_fetch(pc, code, entries);
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

    /// Turns what a slow store by the instruction at `pc` noticed into an exit of the run.
    #[cold]
    pub(crate) fn after_slow_store(&mut self, pc: u64) {
        self.engine.leave_block = false;
        if self.engine.settle_reported(pc) {
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
        let context = self.hart.fetch_context();
        let page = match self.engine.tlbs[self.index].tables(context).fetched(va) {
            // SAFETY: pages live until `flush_code`, which empties the TLBs.
            Some(code) => unsafe { (*code).page },
            None => self.translate_code(va)?.0,
        };
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
