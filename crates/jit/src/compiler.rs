//! The compiler for x86-64: memory, shared code, and the regions in it.
#![expect(unsafe_code, reason = "implements the contract of compiled code")]

use std::io;

use stackvm_riscv::native::{Compiled, Compiler, EntryTable, Full, Source, Start};

use crate::Limits;
use crate::asm::Asm;
use crate::emit;
use crate::memory::CodeMemory;
use crate::region;
use crate::stubs::{self, Stubs};

/// Most bytes of host code for an instruction, with what it needs beside the hot path.
const OP_BYTES_MAX: usize = 480;
/// Regions begin at multiples of this.
const ALIGN: usize = 16;

pub(crate) struct X86 {
    limits: Limits,
    memory: CodeMemory,
    stubs: Stubs,
    /// Bytes of the shared code, which is never forgotten.
    stub_bytes: usize,
    code_used: usize,
    /// Tables in use; the first is the one without entries.
    tables_used: usize,
}

impl X86 {
    pub(crate) fn new(limits: Limits) -> io::Result<X86> {
        let tables = (limits.pages + 1) * size_of::<EntryTable>();
        let mut memory = CodeMemory::new(limits.code_bytes, tables)?;
        let mut asm = Asm::new(memory.code_address(0));
        let stubs = stubs::emit(&mut asm);
        let code = asm.finish();
        memory.write(0, &code);
        let stub_bytes = code.len().next_multiple_of(ALIGN);
        let mut compiler =
            X86 { limits, memory, stubs, stub_bytes, code_used: stub_bytes, tables_used: 0 };
        compiler.add_table();
        Ok(compiler)
    }

    fn add_table(&mut self) -> *mut EntryTable {
        let table = self.memory.table(self.tables_used * size_of::<EntryTable>());
        self.tables_used += 1;
        let table = table.cast::<EntryTable>();
        // SAFETY: the memory has room for all tables, aligned to pages; this one is not in use.
        unsafe { table.write([self.stubs.miss; _]) };
        table
    }
}

// SAFETY: `stubs` and `emit` keep the contract, instruction by instruction.
unsafe impl Compiler for X86 {
    fn start(&self) -> Start {
        // SAFETY: the shared code has a function of this type there.
        unsafe { std::mem::transmute::<usize, Start>(self.stubs.start as usize) }
    }

    fn no_entries(&self) -> *const EntryTable {
        self.memory.table(0).cast()
    }

    fn new_entries(&mut self) -> Result<*mut EntryTable, Full> {
        if self.tables_used > self.limits.pages { Err(Full) } else { Ok(self.add_table()) }
    }

    fn compile(&mut self, source: &Source<'_>) -> Result<Compiled, Full> {
        let segments = region::build(source, self.limits.region_ops);
        let ops: usize = segments.iter().map(|segment| segment.ops.len() + 1).sum();
        if self.code_used + ops * OP_BYTES_MAX > self.limits.code_bytes {
            return Err(Full);
        }
        let address = self.memory.code_address(self.code_used);
        let (code, entries) = emit::emit(&segments, source.entries, self.stubs, address);
        assert!(code.len() <= ops * OP_BYTES_MAX, "{} bytes for {ops} instructions", code.len());
        self.memory.write(self.code_used, &code);
        self.code_used = (self.code_used + code.len()).next_multiple_of(ALIGN);
        let ranges = segments.iter().map(|segment| (segment.offset, segment.end)).collect();
        Ok(Compiled { entries, ranges })
    }

    fn clear(&mut self) {
        self.memory.give_back(self.stub_bytes);
        self.code_used = self.stub_bytes;
        self.tables_used = 0;
        self.add_table();
    }
}
