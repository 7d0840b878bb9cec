//! The compiler for x86-64: memory, shared code, and the regions in it.
#![expect(unsafe_code, reason = "implements the contract of compiled code")]

use std::io;

use stackvm_riscv::native::{Compiled, Compiler, EntryTable, Full, Region, Source, Start, Usage};

use crate::asm::Asm;
use crate::emit::{self, Emitted, Features, Setting};
use crate::memory::CodeMemory;
use crate::region;
use crate::stubs::{self, Stubs};
use crate::{Limits, Profile};

/// Most bytes of host code for an instruction, with what it needs beside the hot path.
const OP_BYTES_MAX: usize = 480;
/// Most regions that are counted.
const REGIONS_COUNTED_MAX: usize = 1 << 16;
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
    features: Features,
    /// Regions and ops; the rest is filled in when it is asked for.
    usage: Usage,
    /// What is compiled and where its counter is, if that is wanted.
    profile: Vec<(Region, *const u64)>,
}

impl X86 {
    pub(crate) fn new(limits: Limits) -> io::Result<X86> {
        let tables = (limits.pages + 1) * size_of::<EntryTable>();
        let counters = if limits.profile == Profile::On { REGIONS_COUNTED_MAX * 8 } else { 0 };
        let mut memory = CodeMemory::new(limits.code_bytes, tables + counters)?;
        let mut asm = Asm::new(memory.code_address(0));
        let stubs = stubs::emit(&mut asm);
        let code = asm.finish();
        memory.write(0, &code);
        let stub_bytes = code.len().next_multiple_of(ALIGN);
        let mut compiler = X86 {
            limits,
            memory,
            stubs,
            stub_bytes,
            code_used: stub_bytes,
            tables_used: 0,
            features: Features::of_host(),
            usage: Usage::default(),
            profile: Vec::new(),
        };
        compiler.add_table();
        Ok(compiler)
    }

    /// Where the next region counts, if it does.
    fn counter(&mut self) -> Result<Option<*const u64>, Full> {
        match self.limits.profile {
            Profile::Off => Ok(None),
            Profile::On if self.profile.len() == REGIONS_COUNTED_MAX => Err(Full),
            Profile::On => {
                let tables = (self.limits.pages + 1) * size_of::<EntryTable>();
                let counter = self.memory.table(tables + self.profile.len() * 8).cast::<u64>();
                // SAFETY: the memory has room for all counters; this one is not in use.
                unsafe { counter.write(0) };
                Ok(Some(counter.cast_const()))
            }
        }
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
        let segments = region::build(source, self.stubs.miss, self.limits.region_ops);
        let ops: usize = segments.iter().map(|segment| segment.ops.len() + 1).sum();
        if self.code_used + ops * OP_BYTES_MAX > self.limits.code_bytes {
            return Err(Full);
        }
        let address = self.memory.code_address(self.code_used);
        let counter = self.counter()?;
        let setting = Setting {
            address,
            entries: source.entries.as_ptr() as u64,
            behind: source.behind,
            stubs: self.stubs,
            features: self.features,
            counter: counter.map(|counter| counter as u64),
        };
        let Emitted { bytes, code_len, entries } = emit::emit(&segments, setting);
        assert!(bytes.len() <= ops * OP_BYTES_MAX, "{} bytes for {ops} ops", bytes.len());
        self.memory.write(self.code_used, &bytes);
        self.code_used = (self.code_used + bytes.len()).next_multiple_of(ALIGN);
        if let Some(counter) = counter {
            let code = bytes[..code_len].to_vec();
            let ops = segments.iter().flat_map(|segment| &segment.ops).copied().collect();
            self.profile
                .push((Region { page: source.number, ops, address, code, steps: 0 }, counter));
        }
        let ranges = segments.iter().map(|segment| (segment.offset, segment.end)).collect();
        self.usage.regions += 1;
        self.usage.ops += segments.iter().map(|segment| segment.ops.len() as u64).sum::<u64>();
        Ok(Compiled { entries, ranges })
    }

    fn clear(&mut self) {
        self.memory.give_back(self.stub_bytes);
        self.code_used = self.stub_bytes;
        self.tables_used = 0;
        self.profile.clear();
        self.add_table();
    }

    fn regions(&self) -> Vec<Region> {
        let counted = |(region, counter): &(Region, *const u64)| {
            // SAFETY: counters lie in the memory, as long as it lives; compiled code does not run.
            Region { steps: unsafe { **counter }, ..region.clone() }
        };
        self.profile.iter().map(counted).collect()
    }

    fn usage(&self) -> Usage {
        Usage {
            code_bytes: self.code_used as u64,
            table_bytes: (self.tables_used * size_of::<EntryTable>()) as u64,
            ..self.usage
        }
    }
}

#[cfg(test)]
mod tests;
