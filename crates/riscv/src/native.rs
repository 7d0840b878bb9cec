//! The seam between the interpreter and a compiler of hot code: what compiled code finds where, how
//! it is entered and left, and the one call it makes.
//!
//! Owns the contract and the interpreter's side of it. Deliberately knows nothing of host
//! instructions: those are made by a [`Compiler`], which only reads what is public here.
//!
//! Compiled code keeps nothing to itself. Registers of the guest that it holds in registers of the
//! host go back to [`Hart`] before every call and on every way out; the steps left are counted by
//! the interpreter's rule (a run of instructions is taken off at once, and whoever leaves early
//! gives the rest back). Whatever it cannot do in a few host instructions it asks [`step`] for,
//! which is the interpreter's own code. So which engine ran an instruction never shows.
#![expect(unsafe_code, reason = "compiled code is called, and calls back with addresses")]

use std::mem::offset_of;

use crate::blocks::{self, CodePage};
use crate::bus::{Bus, PAGE_BYTES, RamPage};
use crate::hart::Hart;
use crate::int;
pub use crate::op::{Code, Op};
use crate::run::Runner;
use crate::tlb::{self, DATA_ENTRIES, DataEntry, FETCH_ENTRIES, FetchEntry, Tables};
use crate::trap::Exception;

/// Instructions can begin at so many offsets of a page.
pub const SLOTS: usize = PAGE_BYTES as usize / 2;

/// For each even offset of a page, the host address where the code compiled from there begins, or
/// the address of the compiler's miss stub.
pub type EntryTable = [u64; SLOTS];

/// Where compiled code finds things, in bytes from the start of [`Hart`] or as named.
pub mod layout {
    use super::*;

    /// Integer register 0; 8 bytes each. Slot 32 takes what is written to `x0`.
    pub const X: usize = offset_of!(Hart, x);
    /// Floating-point register 0; 8 bytes each.
    pub const F: usize = offset_of!(Hart, f);
    /// The program counter.
    pub const PC: usize = offset_of!(Hart, pc);
    /// `mstatus`.
    pub const MSTATUS: usize = offset_of!(Hart, csr) + offset_of!(crate::csr::Csrs, mstatus);
    /// `fcsr`.
    pub const FCSR: usize = offset_of!(Hart, csr) + offset_of!(crate::csr::Csrs, fcsr);
    /// The privilege mode, a byte: 1 is S-mode.
    pub const MODE: usize = offset_of!(Hart, mode);
    /// `menvcfg`.
    pub const MENVCFG: usize = offset_of!(Hart, csr) + offset_of!(crate::csr::Csrs, menvcfg);
    /// In `menvcfg`: CBO.ZERO is enabled below M-mode.
    pub const CBZE: i32 = crate::csr::envcfg::CBZE as i32;
    /// Steps left; in a register while compiled code runs.
    pub const LEFT: usize = offset_of!(Hart, frame) + offset_of!(Frame, left);
    /// Virtual address of the page that code runs on.
    pub const PAGE_VA: usize = offset_of!(Hart, frame) + offset_of!(Frame, page_va);
    /// Address of the fetch entries that apply.
    pub const FETCH: usize = offset_of!(Hart, frame) + offset_of!(Frame, fetch);
    /// Address of the data entries that apply; in a register while compiled code runs.
    pub const DATA: usize = offset_of!(Hart, frame) + offset_of!(Frame, data);
    /// First argument of the call.
    pub const RUNNER: usize = offset_of!(Hart, frame) + offset_of!(Frame, runner);
    /// Address of the function to call.
    pub const STEP: usize = offset_of!(Hart, frame) + offset_of!(Frame, step);

    /// Of an address: where its entry is among the data entries, in bytes, is
    /// `addr >> DATA_SHIFT & DATA_MASK`.
    pub const DATA_SHIFT: u8 = 12 - size_of::<DataEntry>().ilog2() as u8;
    /// See [`DATA_SHIFT`].
    pub const DATA_MASK: u32 = ((DATA_ENTRIES - 1) * size_of::<DataEntry>()) as u32;
    /// From the entries for reading to those for writing.
    pub const WRITE: usize = offset_of!(Tables, write) - offset_of!(Tables, read);
    /// In a data entry: the page's virtual address.
    pub const TAG: usize = offset_of!(DataEntry, tag);
    /// In a data entry: what to add to a virtual address for the host's.
    pub const ADDEND: usize = offset_of!(DataEntry, addend);
    /// As [`DATA_SHIFT`], for fetch entries.
    pub const FETCH_SHIFT: u8 = 12 - size_of::<FetchEntry>().ilog2() as u8;
    /// Of a page's address: the bits above this are folded on it before that.
    pub const FETCH_FOLD: u8 = tlb::FETCH_FOLD;
    /// As [`DATA_MASK`], for fetch entries.
    pub const FETCH_MASK: u32 = ((FETCH_ENTRIES - 1) * size_of::<FetchEntry>()) as u32;
    /// In a fetch entry: the page's virtual address.
    pub const FETCH_TAG: usize = offset_of!(FetchEntry, tag);
    /// In a fetch entry: the address of what is known of the page.
    pub const FETCH_PAGE: usize = offset_of!(FetchEntry, page);
    /// In what is known of a page: its first two bytes, in four; something else if not known.
    pub const HEAD: usize = offset_of!(CodePage, head);
    /// In a fetch entry: the address of the page's [`EntryTable`].
    pub const ENTRIES: usize = offset_of!(FetchEntry, entries);

    const _: () = assert!(offset_of!(Tables, read) == 0);
    const _: () = assert!(size_of::<DataEntry>().is_power_of_two());
    const _: () = assert!(size_of::<FetchEntry>().is_power_of_two());
}

/// What [`step`] answers.
pub mod answer {
    /// The instruction is done: go on behind it.
    pub const NEXT: u32 = 0;
    /// Leave: the hart stands at its program counter.
    pub const LEAVE: u32 = 1;
    /// Go on at the hart's program counter; [`super::layout::DATA`] may have changed.
    pub const GOTO: u32 = 2;
}

/// What compiled code and the interpreter hand each other; nothing in it outlives a run.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Frame {
    left: i64,
    page_va: u64,
    fetch: *const FetchEntry,
    data: *const Tables,
    runner: *mut (),
    step: *const (),
}

impl Frame {
    pub(crate) const EMPTY: Frame = Frame {
        left: 0,
        page_va: 0,
        fetch: std::ptr::null(),
        data: std::ptr::null(),
        runner: std::ptr::null_mut(),
        step: std::ptr::null(),
    };
}

/// Enters compiled code at a host address, for the hart at an address. Comes back with the hart's
/// program counter and [`layout::LEFT`] up to date.
pub type Start = unsafe extern "C" fn(hart: *mut Hart, entry: u64);

/// Compiled code, for people to look at.
#[derive(Clone, Debug)]
pub struct Region {
    /// Where its guest code is.
    pub page: RamPage,
    /// That code, in straight runs; [`Op::n`] counts to the end of each.
    pub ops: Vec<Op>,
    /// Address of the host code.
    pub address: u64,
    /// The host code, with what it needs beside.
    pub code: Vec<u8>,
    /// Instructions of the guest that ran in it.
    pub steps: u64,
}

/// What compiling costs the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Regions that were compiled, those forgotten meanwhile too.
    pub regions: u64,
    /// Guest instructions in them.
    pub ops: u64,
    /// Bytes of host code that are kept.
    pub code_bytes: u64,
    /// Bytes of tables that are kept.
    pub table_bytes: u64,
    /// How long compiling took all together, in nanoseconds of [`crate::Engine::set_clock`]'s.
    pub total_ns: u64,
    /// How long one region took at most; the guest stood still meanwhile.
    pub longest_ns: u64,
}

/// What a compiler is asked to compile.
pub struct Source<'a> {
    /// Which page it is.
    pub number: RamPage,
    /// The guest's page.
    pub page: &'a [u8; PAGE_BYTES as usize],
    /// The first two bytes of the page that is fetched from behind it, if they are known.
    /// Instructions made with them must compare them with [`layout::HEAD`] whenever they run.
    pub behind: Option<u16>,
    /// Where the hot code begins in it.
    pub offset: u16,
    /// For each even offset, whether code there ever ran: not 0 if so.
    pub ran: &'a [u32; SLOTS],
    /// What is compiled of the page, where that stays until [`Compiler::clear`].
    pub entries: &'a EntryTable,
}

/// What was compiled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compiled {
    /// Which offset begins at which host address; [`Source::offset`] is among them.
    pub entries: Vec<(u16, u64)>,
    /// The parts of the page it was made from, as offsets of their first byte and behind their last.
    pub ranges: Vec<(u16, u16)>,
}

/// There is no room for more code: [`Compiler::clear`] makes some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Turns hot guest code into host code.
///
/// # Safety
/// The code behind [`Compiler::start`], the addresses that [`Compiler::compile`] returns and the
/// tables keep the contract of this module.
pub unsafe trait Compiler {
    /// Enters compiled code.
    fn start(&self) -> Start;

    /// A table that has nothing but the miss stub in it.
    fn no_entries(&self) -> *const EntryTable;

    /// Another such table, for a page; it stays until [`Compiler::clear`].
    ///
    /// # Errors
    /// [`Full`].
    fn new_entries(&mut self) -> Result<*mut EntryTable, Full>;

    /// Compiles a region.
    ///
    /// # Errors
    /// [`Full`].
    fn compile(&mut self, source: &Source<'_>) -> Result<Compiled, Full>;

    /// Forgets all code and tables.
    fn clear(&mut self);

    /// What is compiled, if the compiler was made to count.
    fn regions(&self) -> Vec<Region>;

    /// What it cost so far, but for the time.
    fn usage(&self) -> Usage;
}

impl Source<'_> {
    /// The instruction at an offset, and the offset behind it; `None` where its second half is on
    /// the next page and not known.
    pub fn decode(&self, offset: u16) -> Option<(Op, u16)> {
        if blocks::straddles(self.page, offset.into()) {
            let low = u16::from_le_bytes([self.page[SLOTS * 2 - 2], self.page[SLOTS * 2 - 1]]);
            let bits = u32::from(self.behind?) << 16 | u32::from(low);
            return Some((blocks::straddling(bits), offset + 4));
        }
        blocks::decode_one(self.page, offset.into()).map(|(op, end)| (op, end as u16))
    }
}

impl<B: Bus> Runner<'_, B> {
    /// Runs compiled code from the hart's program counter on, which `entry` was compiled from;
    /// returns the steps left.
    pub(crate) fn run_native(&mut self, start: Start, entry: u64, left: i64) -> i64 {
        let hart: *mut Hart = &raw mut *self.hart;
        self.hart.frame = Frame {
            left,
            page_va: self.hart.pc & !(PAGE_BYTES - 1),
            runner: (&raw mut *self).cast(),
            step: step::<B> as *const (),
            ..Frame::EMPTY
        };
        self.point_frame();
        // SAFETY: the compiler's promise; the frame is filled in, and until this returns nobody
        // else uses the runner but `step`, on behalf of the code.
        unsafe { start(hart, entry) };
        self.hart.frame.left
    }

    /// Points the frame at the translations that apply now.
    fn point_frame(&mut self) {
        let (data, fetch) = (self.hart.data_context(), self.hart.fetch_context());
        let tlb = &mut self.engine.tlbs[self.index];
        self.hart.frame.data = tlb.tables(data);
        self.hart.frame.fetch = tlb.tables(fetch).fetch.as_ptr();
    }

    /// Does one instruction for compiled code, of which `left` steps were left.
    fn step(&mut self, op: Op, left: i64) -> u32 {
        let pc = self.hart.frame.page_va.wrapping_add(op.offset());
        if op.code.ends_block() {
            self.hart.pc = pc;
            if let Err(exception) = self.system(op, left) {
                self.hart.take_exception(exception, self.hart.pc);
            }
            return self.go_on(left - 1);
        }
        match self.execute(op, left) {
            Ok(()) if self.engine.leave_block || self.exit.is_some() => {
                self.after_slow_store(pc);
                self.hart.pc = pc.wrapping_add(op.len());
                self.hart.frame.left = left - 1;
                answer::LEAVE
            }
            Ok(()) => answer::NEXT,
            Err(exception) => {
                self.hart.pc = pc;
                let exception = self.with_bits(exception);
                self.hart.take_exception(exception, pc);
                self.go_on(left - 1)
            }
        }
    }

    /// After the program counter, and maybe much else, changed.
    fn go_on(&mut self, left: i64) -> u32 {
        self.hart.frame.left = left;
        if self.exit.is_some() || self.engine.leave_block || self.hart.interrupt().is_some() {
            self.engine.leave_block = false;
            return answer::LEAVE;
        }
        self.point_frame();
        answer::GOTO
    }

    /// An instruction that neither ends blocks nor is a jump.
    fn execute(&mut self, op: Op, left: i64) -> Result<(), Exception> {
        use Code::*;
        let (a, b) = (self.hart.x[usize::from(op.rs1)], self.hart.x[usize::from(op.rs2)]);
        let va = a.wrapping_add(op.imm as u64);
        let value = match op.code {
            Lb => self.load(va, 1, left)? as i8 as u64,
            Lh => self.load(va, 2, left)? as i16 as u64,
            Lw => self.load(va, 4, left)? as i32 as u64,
            Ld => self.load(va, 8, left)?,
            Lbu => self.load(va, 1, left)?,
            Lhu => self.load(va, 2, left)?,
            Lwu => self.load(va, 4, left)?,
            Sb => return self.store(va, 1, b, left),
            Sh => return self.store(va, 2, b, left),
            Sw => return self.store(va, 4, b, left),
            Sd => return self.store(va, 8, b, left),
            code => match int::compute(code, a, b, op.imm) {
                Some(value) => value,
                None => return self.memory_or_float(op, left),
            },
        };
        self.hart.x[usize::from(op.rd)] = value;
        Ok(())
    }
}

/// Does the instruction `op` for compiled code. [`Op::n`] says how many steps were taken off for
/// it and what follows it; registers are in the hart.
///
/// # Safety
/// Compiled code alone calls this, with what [`Runner::run_native`] put into the frame.
unsafe extern "C" fn step<B: Bus>(runner: *mut (), op: *const Op) -> u32 {
    // SAFETY: `run_native` put its runner there and waits for this to return.
    let runner = unsafe { &mut *runner.cast::<Runner<'_, B>>() };
    // SAFETY: the compiler keeps the ops of its code with the code.
    let op = unsafe { *op };
    let left = runner.hart.frame.left + i64::from(op.n);
    runner.step(op, left)
}
