//! Kernel files made by hand.

use std::sync::Arc;

use crate::boot::{BoardDescription, BootError, BootPlan, load};
use crate::config::MachineConfig;
use crate::memory::{RAM_BASE, Ram};

/// An ELF for 64-bit RISC-V with loadable segments and, perhaps, symbols.
pub(super) struct Elf {
    pub(super) entry: u64,
    /// (virtual address, physical address, content, size in memory)
    pub(super) segments: Vec<(u64, u64, Vec<u8>, u64)>,
    pub(super) symbols: Vec<(&'static str, u64)>,
}

impl Elf {
    /// A program of `code`, linked for `addr` and entered at its start.
    pub(super) fn at(addr: u64, code: &[u8]) -> Elf {
        let segments = vec![(addr, addr, code.to_vec(), code.len() as u64)];
        Elf { entry: addr, segments, symbols: Vec::new() }
    }

    pub(super) fn symbol(mut self, name: &'static str, value: u64) -> Elf {
        self.symbols.push((name, value));
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let data_offset = 64 + 56 * self.segments.len() as u64;
        let mut segments = Vec::new();
        for (virt, phys, content, memory_bytes) in &self.segments {
            segments.extend([1_u32, 5].into_iter().flat_map(u32::to_le_bytes));
            let offset = data_offset + data.len() as u64;
            let words = [offset, *virt, *phys, content.len() as u64, *memory_bytes, 1];
            segments.extend(words.into_iter().flat_map(u64::to_le_bytes));
            data.extend(content);
        }
        let (sections, sections_offset, section_count) = if self.symbols.is_empty() {
            (Vec::new(), 0, 0)
        } else {
            let tables_offset = data_offset + data.len() as u64;
            let (sections, tables) = self.symbol_sections(tables_offset);
            data.extend(&tables);
            (sections, tables_offset + tables.len() as u64, 3)
        };
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend([2_u16, 243].into_iter().flat_map(u16::to_le_bytes));
        file.extend(1_u32.to_le_bytes());
        file.extend([self.entry, 64, sections_offset].into_iter().flat_map(u64::to_le_bytes));
        file.extend(5_u32.to_le_bytes());
        let sizes = [64, 56, self.segments.len() as u16, 64, section_count, 0];
        file.extend(sizes.into_iter().flat_map(u16::to_le_bytes));
        assert_eq!(file.len(), 64);
        [file, segments, data, sections].concat()
    }

    /// Section headers (none, .symtab, .strtab) and the content of the latter two.
    fn symbol_sections(&self, offset: u64) -> (Vec<u8>, Vec<u8>) {
        let mut names = vec![0];
        let mut symbols = vec![0; 24];
        for (name, value) in &self.symbols {
            symbols.extend((names.len() as u32).to_le_bytes());
            // Global, of no type, absolute.
            symbols.extend([0x10, 0]);
            symbols.extend(0xfff1_u16.to_le_bytes());
            symbols.extend([*value, 8].into_iter().flat_map(u64::to_le_bytes));
            names.extend(name.as_bytes());
            names.push(0);
        }
        let section = |kind: u32, offset: u64, bytes: u64, link: u32, entry_bytes: u64| {
            let mut header = vec![0; 4];
            header.extend(kind.to_le_bytes());
            header.extend([0, 0, offset, bytes].into_iter().flat_map(u64::to_le_bytes));
            header.extend([link, 0].into_iter().flat_map(u32::to_le_bytes));
            header.extend([8, entry_bytes].into_iter().flat_map(u64::to_le_bytes));
            header
        };
        let (symbols_bytes, names_bytes) = (symbols.len() as u64, names.len() as u64);
        let headers = [
            vec![0; 64],
            section(2, offset, symbols_bytes, 2, 24),
            section(3, offset + symbols_bytes, names_bytes, 0, 0),
        ];
        (headers.concat(), [symbols, names].concat())
    }
}

/// A Linux `Image` of `file_bytes` that asks for `image_bytes` of memory.
pub(super) fn image(text_offset: u64, image_bytes: u64, file_bytes: usize) -> Vec<u8> {
    let mut file = vec![0; file_bytes.max(64)];
    file[8..16].copy_from_slice(&text_offset.to_le_bytes());
    file[16..24].copy_from_slice(&image_bytes.to_le_bytes());
    file[0x20..0x24].copy_from_slice(&2_u32.to_le_bytes());
    file[0x30..0x38].copy_from_slice(b"RISCV\0\0\0");
    file[0x38..0x3c].copy_from_slice(b"RSC\x05");
    file.truncate(file_bytes);
    file
}

/// An `Image` with EFI support: a PE header at 64 and one section that ends the file.
pub(super) fn efi_image(file_bytes: u32) -> Vec<u8> {
    let mut file = image(0x20_0000, 0, file_bytes as usize);
    file[..2].copy_from_slice(b"MZ");
    file[0x3c..0x40].copy_from_slice(&64_u32.to_le_bytes());
    file[64..68].copy_from_slice(b"PE\0\0");
    file[70..72].copy_from_slice(&1_u16.to_le_bytes());
    let section = 64 + 24;
    file[section + 16..section + 20].copy_from_slice(&(file_bytes - 0x100).to_le_bytes());
    file[section + 20..section + 24].copy_from_slice(&0x100_u32.to_le_bytes());
    file
}

pub(super) fn file(bytes: Vec<u8>) -> Option<Arc<Vec<u8>>> {
    Some(Arc::new(bytes))
}

/// Loads `config`, and shows RAM.
pub(super) fn boot(config: &MachineConfig) -> Result<(BootPlan, Ram), BootError> {
    let mut ram = Ram::new(config.memory_bytes).unwrap();
    let board = BoardDescription::new(config, vec![0, 1]);
    let plan = load(&mut ram, config, &board)?;
    assert!(ram.take_written().is_empty(), "nothing to drop yet");
    Ok((plan, ram))
}

/// `len` bytes of RAM.
pub(super) fn peek(ram: &Ram, addr: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ram.read(addr, &mut bytes).unwrap();
    bytes
}

/// A bare-metal program.
pub(super) fn bare() -> Vec<u8> {
    Elf::at(RAM_BASE, b"\x6f\0\0\0 bare").bytes()
}
