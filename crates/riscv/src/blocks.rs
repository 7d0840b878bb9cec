//! The store of predecoded blocks: an arena of ops and, for each page of code, where blocks start.
//!
//! A block is a straight run of ops inside one page, left only at its end or by a taken branch.
//! Ops name no virtual address, so a page's blocks serve every mapping of it.

#![expect(unsafe_code, reason = "the compiler's tables are reached by address")]

use std::ptr::NonNull;

use crate::bus::{PAGE_BYTES, RamPage};
use crate::decode;
use crate::native::EntryTable;
use crate::op::{Code, Op};

/// Most instructions in a block; [`Op::n`] must hold it.
pub(crate) const BLOCK_STEPS_MAX: usize = 64;
/// Most ops in the arena (16 bytes each), reached rarely; then everything is forgotten.
const ARENA_OPS_MAX: usize = 1 << 20;
const SLOTS: usize = PAGE_BYTES as usize / 2;
/// Granularity of [`CodePage::covers`].
const GRANULE_BYTES: u64 = 64;

/// Where the blocks of one page begin.
#[repr(C)]
pub(crate) struct CodePage {
    /// Arena index of the block at each even offset; 0 for none.
    pub(crate) entry: [u32; SLOTS],
    /// One bit for each 64 bytes that an op was decoded from.
    covers: u64,
    pub(crate) page: RamPage,
    /// Where its compiled code begins, if any is: a table of the compiler's.
    pub(crate) native: Option<NonNull<EntryTable>>,
    /// What the table holds where nothing is compiled.
    pub(crate) miss: u64,
    /// The first two bytes of the page, with which an instruction ends that began on another; or
    /// [`NO_HEAD`]. Compiled code compares it with what it was made from.
    pub(crate) head: u32,
    /// How often an instruction ran that begins in the last two bytes.
    pub(crate) straddled: u16,
}

/// In [`CodePage::head`]: not known.
const NO_HEAD: u32 = u32::MAX;

impl CodePage {
    /// Notes what the page begins with, until that changes.
    pub(crate) fn set_head(&mut self, parcel: u16) {
        self.head = parcel.into();
        self.cover(0, 2);
    }

    /// What the page begins with, if that is known.
    pub(crate) fn known_head(&self) -> Option<u16> {
        u16::try_from(self.head).ok()
    }

    /// Whether any of `len` bytes at `offset` was decoded into a block.
    pub(crate) fn covers(&self, offset: u64, len: u64) -> bool {
        self.covers & granules(offset, len) != 0
    }

    /// Whether code at `offset` is compiled.
    pub(crate) fn is_native(&self, offset: u64) -> bool {
        // SAFETY: tables live until `Blocks::clear` drops the page.
        self.native.is_some_and(|t| unsafe { (&(*t.as_ptr()))[offset as usize / 2] } != self.miss)
    }

    /// Notes that `len` bytes at `offset` were decoded.
    pub(crate) fn cover(&mut self, offset: u64, len: u64) {
        self.covers |= granules(offset, len.max(2));
    }

    /// Forgets the page's blocks, compiled ones too.
    pub(crate) fn clear(&mut self) {
        self.entry.fill(0);
        self.covers = 0;
        self.head = NO_HEAD;
        if let Some(native) = self.native {
            // SAFETY: tables live until `Blocks::clear` drops the page, and nobody holds a
            // reference to one.
            unsafe { (*native.as_ptr()).fill(self.miss) };
        }
    }
}

/// A bit for each granule that `len >= 1` bytes at `offset` touch.
fn granules(offset: u64, len: u64) -> u64 {
    let (first, last) =
        (offset / GRANULE_BYTES, (offset + len - 1).min(PAGE_BYTES - 1) / GRANULE_BYTES);
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// All predecoded code of a machine.
pub(crate) struct Blocks {
    /// Never grows beyond its first capacity, so that ops keep their address. Index 0 is unused.
    arena: Vec<Op>,
    /// A block cut short to end exactly where a run must stop.
    scratch: Vec<Op>,
    code: Vec<Box<CodePage>>,
    /// For each page of RAM, one more than the place of its code page in `code`; 0 for none. It is
    /// all zeroes at first: the host backs only what is used, and forks of a machine use little.
    places: Vec<u32>,
    /// How often a block runs before it is compiled; 0 if nothing compiles.
    pub(crate) heat: i32,
    /// Something beside the arena is full.
    full: bool,
}

impl Blocks {
    pub(crate) fn new(ram_pages: u32) -> Self {
        let mut blocks = Blocks {
            arena: Vec::with_capacity(ARENA_OPS_MAX),
            scratch: Vec::with_capacity(BLOCK_STEPS_MAX + 1),
            code: Vec::new(),
            places: vec![0; ram_pages as usize],
            heat: 0,
            full: false,
        };
        blocks.arena.push(next(0));
        blocks
    }

    /// First op of the arena.
    pub(crate) fn base(&mut self) -> *mut Op {
        self.arena.as_mut_ptr()
    }

    /// Whether another block fits; if not, [`Blocks::clear`] comes first.
    pub(crate) fn has_room(&self) -> bool {
        !self.full && self.arena.len() + BLOCK_STEPS_MAX + 1 < ARENA_OPS_MAX
    }

    /// Has the interpreter leave the block at an index of the arena to what was compiled of it; 0
    /// is none.
    pub(crate) fn mark_native(&mut self, index: u32) {
        if index != 0 {
            let first = &mut self.arena[index as usize];
            assert!(matches!(first.code, Code::Heat | Code::Native), "{:?}", first.code);
            first.code = Code::Native;
        }
    }

    /// Has no room any more, until [`Blocks::clear`].
    pub(crate) fn fill_up(&mut self) {
        self.full = true;
    }

    /// Forgets everything, entries of pages included. Nobody may hold a [`CodePage`] address.
    pub(crate) fn clear(&mut self) {
        self.full = false;
        self.arena.truncate(1);
        for code in self.code.drain(..) {
            self.places[code.page.0 as usize] = 0;
        }
    }

    /// After [`Blocks::clear`]: gives its memory back to the host.
    pub(crate) fn give_back(&mut self) {
        assert!(self.code.is_empty(), "{} pages have code", self.code.len());
        let new = Blocks::new(self.places.len() as u32);
        *self = Blocks { heat: self.heat, ..new };
    }

    /// The code page of a RAM page, made if need be.
    pub(crate) fn page(&mut self, page: RamPage) -> *mut CodePage {
        let place = &mut self.places[page.0 as usize];
        if *place == 0 {
            self.code.push(Box::new(CodePage {
                entry: [0; SLOTS],
                covers: 0,
                page,
                native: None,
                miss: 0,
                head: NO_HEAD,
                straddled: 0,
            }));
            *place = self.code.len() as u32;
        }
        &raw mut *self.code[*place as usize - 1]
    }

    /// The code page of a RAM page, if there is one.
    pub(crate) fn existing_page(&mut self, page: RamPage) -> Option<&mut CodePage> {
        let place = (self.places[page.0 as usize] as usize).checked_sub(1)?;
        Some(&mut *self.code[place])
    }

    /// Decodes the block at `offset` of a page and remembers it; returns its arena index.
    pub(crate) fn decode(&mut self, page: RamPage, bytes: &[u8], offset: u64) -> u32 {
        assert!(self.has_room());
        let index = self.arena.len();
        if self.heat > 0 {
            self.arena.push(Op { code: Code::Heat, imm: self.heat, ..next(offset) });
        }
        let end = decode_block(&mut self.arena, bytes, offset, BLOCK_STEPS_MAX);
        let n = self.arena[index + usize::from(self.heat > 0)].n;
        let code_page = self.existing_page(page).expect("page() came before");
        code_page.entry[offset as usize / 2] = index as u32;
        code_page.cover(offset, end - offset);
        let native = code_page.is_native(offset);
        self.arena[index].n = n;
        if native {
            self.mark_native(index as u32);
        }
        index as u32
    }

    /// Decodes at most `steps_max` instructions at `offset`, for a run that must stop there.
    pub(crate) fn decode_cut(&mut self, bytes: &[u8], offset: u64, steps_max: usize) -> *mut Op {
        self.scratch.clear();
        decode_block(&mut self.scratch, bytes, offset, steps_max.min(BLOCK_STEPS_MAX));
        self.scratch.as_mut_ptr()
    }

    /// Makes a block of one 4-byte instruction whose second half is on the next page. It is never
    /// remembered, because two pages decide what it is.
    pub(crate) fn decode_straddling(&mut self, bits: u32) -> *mut Op {
        self.scratch.clear();
        self.scratch.push(Op { n: 1, ..straddling(bits) });
        self.scratch.push(next(STRADDLING + 4));
        self.scratch.as_mut_ptr()
    }
}

fn next(offset: u64) -> Op {
    Op { code: Code::Next, place: offset as u16, n: 0, rd: 0, rs1: 0, rs2: 0, imm: 0, link: 0 }
}

/// Where an instruction begins whose second half may be on the next page.
pub(crate) const STRADDLING: u64 = PAGE_BYTES - 2;

/// Whether the instruction at `offset` of a page has its second half on the next.
pub(crate) fn straddles(bytes: &[u8], offset: u64) -> bool {
    offset == STRADDLING && bytes[offset as usize] & 3 == 3
}

/// An instruction whose second half is on the next page.
pub(crate) fn straddling(bits: u32) -> Op {
    Op { place: STRADDLING as u16 | 1, ..decode::decode(bits) }
}

/// The instruction at `offset` of a page and the offset behind it; `None` if it straddles.
pub(crate) fn decode_one(bytes: &[u8], offset: u64) -> Option<(Op, u64)> {
    let at = offset as usize;
    let low = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let (op, len) = if low & 3 != 3 {
        (decode::compressed::decode(low), 2)
    } else if straddles(bytes, offset) {
        return None;
    } else {
        let high = u16::from_le_bytes([bytes[at + 2], bytes[at + 3]]);
        (decode::decode(u32::from(high) << 16 | u32::from(low)), 4)
    };
    Some((Op { place: offset as u16 | u16::from(len == 4), ..op }, offset + len))
}

/// Appends a block to `ops` and returns the offset behind its last instruction.
fn decode_block(ops: &mut Vec<Op>, bytes: &[u8], mut offset: u64, steps_max: usize) -> u64 {
    let first = ops.len();
    let steps_max = steps_max.max(1);
    loop {
        if offset == PAGE_BYTES || ops.len() - first == steps_max {
            ops.push(next(offset));
            break;
        }
        let Some((op, end)) = decode_one(bytes, offset) else {
            assert!(ops.len() > first, "the caller looks for a straddling first instruction");
            ops.push(next(offset));
            break;
        };
        ops.push(op);
        offset = end;
        if op.code.ends_block() {
            break;
        }
    }
    let mut n = 0;
    for op in ops[first..].iter_mut().rev() {
        if op.code != Code::Next {
            n += 1;
        }
        op.n = n;
    }
    offset.min(PAGE_BYTES)
}
