//! ELF files (System V gABI; RISC-V psABI): loadable segments by physical address, the entry, and
//! the HTIF symbols. Relocation and dynamic linking are the program's own business.

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::StringTable;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};

use super::program::{Format, Piece, Program};
use super::{BootError, Part};
use crate::memory::RAM_BASE;

type Header = FileHeader64<LittleEndian>;

const ADVICE_RV64: &str = "it must be built for 64-bit RISC-V (riscv64)";

/// Whether the file claims to be an ELF.
pub(super) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

/// Takes an ELF apart.
pub(super) fn parse(part: Part, file: &[u8]) -> Result<Program<'_>, BootError> {
    check_kind(part, file)?;
    check_complete(part, file)?;
    let damaged = |error: object::read::Error| BootError::Damaged {
        part,
        problem: format!("not a valid ELF ({error})"),
    };
    let header = Header::parse(file).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let segments: Vec<Segment<'_>> = header
        .program_headers(endian, file)
        .map_err(damaged)?
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD && segment.p_memsz(endian) > 0)
        .map(|segment| Segment::new(part, file, segment, endian))
        .collect::<Result<_, _>>()?;
    if segments.is_empty() {
        let problem = "it has no loadable segments".to_owned();
        return Err(BootError::Damaged { part, problem });
    }
    let entry = header.e_entry(endian);
    // Without an entry segment the address is physical already, as linkers without memory
    // regions have it.
    let physical = |addr| segments.iter().find_map(|segment| segment.physical(addr));
    let symbol = |name| symbol_value(header, endian, file, name).map_err(damaged);
    let (tohost, fromhost) = (symbol(b"tohost")?, symbol(b"fromhost")?);
    Ok(Program {
        entry: physical(entry).unwrap_or(entry),
        tohost: tohost.map(|addr| physical(addr).unwrap_or(addr)),
        fromhost: fromhost.map(|addr| physical(addr).unwrap_or(addr)),
        pieces: segments.into_iter().map(|segment| from_ram_base(segment.piece)).collect(),
        format: Format::Elf,
    })
}

/// A piece without what lies before RAM. Linkers that are only told where the code goes put the
/// ELF's own headers into the page before it, and on QEMU's board those bytes go nowhere.
fn from_ram_base(piece: Piece<'_>) -> Piece<'_> {
    match RAM_BASE.checked_sub(piece.addr) {
        Some(before) if before < piece.memory_bytes => {
            let bytes = piece.bytes.get(before as usize..).unwrap_or_default();
            Piece { addr: RAM_BASE, bytes, memory_bytes: piece.memory_bytes - before }
        }
        _ => piece,
    }
}

struct Segment<'a> {
    virtual_addr: u64,
    piece: Piece<'a>,
}

impl<'a> Segment<'a> {
    fn new(
        part: Part,
        file: &'a [u8],
        segment: &elf::ProgramHeader64<LittleEndian>,
        endian: LittleEndian,
    ) -> Result<Segment<'a>, BootError> {
        let (offset, file_bytes) = segment.file_range(endian);
        let (addr, memory_bytes) = (segment.p_paddr(endian), segment.p_memsz(endian));
        let problem = |problem: String| BootError::Damaged { part, problem };
        if file_bytes > memory_bytes {
            return Err(problem(format!(
                "its segment for {addr:#x} has {file_bytes} bytes in the file but {memory_bytes} \
                 in memory"
            )));
        }
        let end = offset.checked_add(file_bytes).ok_or_else(|| {
            problem(format!("its segment for {addr:#x} begins at impossible offset {offset:#x}"))
        })?;
        if addr.checked_add(memory_bytes).is_none() {
            return Err(problem(format!(
                "its segment for {addr:#x} with {memory_bytes} bytes passes the end of memory"
            )));
        }
        if end > file.len() as u64 {
            return Err(truncated(part, file, end));
        }
        let bytes = &file[offset as usize..end as usize];
        let piece = Piece { addr, bytes, memory_bytes };
        Ok(Segment { virtual_addr: segment.p_vaddr(endian), piece })
    }

    /// The physical address of what the program calls `addr`, if it is in this segment.
    fn physical(&self, addr: u64) -> Option<u64> {
        let offset = addr.checked_sub(self.virtual_addr)?;
        (offset < self.piece.memory_bytes).then(|| self.piece.addr + offset)
    }
}

/// Refuses ELFs for other machines, by name.
fn check_kind(part: Part, file: &[u8]) -> Result<(), BootError> {
    let wrong = |found: String, advice| Err(BootError::WrongKind { part, found, advice });
    let (Some(class), Some(data)) = (file.get(4), file.get(5)) else {
        return Err(truncated(part, file, size_of::<Header>() as u64));
    };
    let big_endian = *data == elf::ELFDATA2MSB.0;
    let field = |at: usize| {
        let bytes = file.get(at..at + 2).map(|bytes| [bytes[0], bytes[1]]);
        bytes.map(
            |bytes| if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) },
        )
    };
    let (Some(kind), Some(machine)) = (field(16), field(18)) else {
        return Err(truncated(part, file, size_of::<Header>() as u64));
    };
    if machine != elf::EM_RISCV.0 {
        return wrong(format!("an ELF for {}", machine_name(machine)), ADVICE_RV64);
    }
    if *class == elf::ELFCLASS32.0 {
        return wrong("an ELF for 32-bit RISC-V".to_owned(), ADVICE_RV64);
    }
    if big_endian {
        return wrong("an ELF for big-endian RISC-V".to_owned(), ADVICE_RV64);
    }
    if ![elf::ET_EXEC.0, elf::ET_DYN.0].contains(&kind) {
        let found = match kind {
            1 => "an ELF object file that was not linked".to_owned(),
            4 => "an ELF core dump".to_owned(),
            _ => format!("an ELF of unknown type {kind}"),
        };
        return wrong(found, "give the linked program");
    }
    Ok(())
}

/// Refuses files that end before their tables do.
fn check_complete(part: Part, file: &[u8]) -> Result<(), BootError> {
    let header_bytes = size_of::<Header>();
    if file.len() < header_bytes {
        return Err(truncated(part, file, header_bytes as u64));
    }
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes"));
    let half = |at: usize| u64::from(u16::from_le_bytes([file[at], file[at + 1]]));
    let table_end = |offset: u64, entry_bytes: u64, entries: u64| {
        if entries == 0 { 0 } else { offset.saturating_add(entry_bytes * entries) }
    };
    let segments_end = table_end(word(32), half(54), half(56));
    let sections_end = table_end(word(40), half(58), half(60));
    let expected = segments_end.max(sections_end);
    if expected > file.len() as u64 { Err(truncated(part, file, expected)) } else { Ok(()) }
}

fn truncated(part: Part, file: &[u8], expected_bytes: u64) -> BootError {
    BootError::Truncated { part, file_bytes: file.len() as u64, expected_bytes }
}

fn symbol_value(
    header: &Header,
    endian: LittleEndian,
    file: &[u8],
    name: &[u8],
) -> object::read::Result<Option<u64>> {
    // Without the sections' names, which are not needed and need not be there.
    let sections = header.section_headers(endian, file)?;
    let sections: SectionTable<'_, Header> = SectionTable::new(sections, StringTable::default());
    let has_table = sections.iter().any(|section| section.sh_type(endian) == elf::SHT_SYMTAB);
    if !has_table {
        return Ok(None);
    }
    let symbols = sections.symbols(endian, file, elf::SHT_SYMTAB)?;
    for symbol in symbols.iter() {
        if !symbol.is_undefined(endian) && symbols.symbol_name(endian, symbol)? == name {
            return Ok(Some(symbol.st_value(endian)));
        }
    }
    Ok(None)
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        3 => "32-bit x86",
        8 => "MIPS",
        20 => "32-bit PowerPC",
        21 => "64-bit PowerPC",
        22 => "IBM Z",
        40 => "32-bit Arm",
        62 => "x86-64",
        183 => "64-bit Arm (AArch64)",
        258 => "LoongArch",
        _ => return format!("another processor (ELF machine {machine})"),
    };
    name.to_owned()
}
