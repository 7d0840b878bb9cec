//! A kernel or firmware file, taken apart: what goes where, and where it begins.

use super::{BootError, Part, elf, identify, image};
use crate::memory::RAM_BASE;

/// A file that can be put into RAM and entered.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Program<'a> {
    /// What of it goes where.
    pub(super) pieces: Vec<Piece<'a>>,
    /// Physical address of its first instruction.
    pub(super) entry: u64,
    /// Physical address of the symbol `tohost`.
    pub(super) tohost: Option<u64>,
    /// Physical address of the symbol `fromhost`.
    pub(super) fromhost: Option<u64>,
    /// What the file was.
    pub(super) format: Format,
}

/// File formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Elf,
    Image,
    Raw,
}

/// A run of memory, the first part of which comes from the file; the rest is zero.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Piece<'a> {
    /// Physical address.
    pub(super) addr: u64,
    /// Content.
    pub(super) bytes: &'a [u8],
    /// Size in memory, at least that of the content.
    pub(super) memory_bytes: u64,
}

impl<'a> Program<'a> {
    /// Takes a kernel file apart: an ELF, a Linux `Image`, or raw code if there is an address for
    /// it.
    pub(super) fn kernel(file: &'a [u8], raw_addr: Option<u64>) -> Result<Program<'a>, BootError> {
        if let Some(program) = known_format(Part::Kernel, file)? {
            return Ok(program);
        }
        match raw_addr {
            Some(addr) => Program::raw(Part::Kernel, file, addr),
            None => Err(identify::wrong_kernel(file)),
        }
    }

    /// Takes a firmware file apart: an ELF, or raw code for the start of RAM.
    pub(super) fn firmware(file: &'a [u8]) -> Result<Program<'a>, BootError> {
        match known_format(Part::Firmware, file)? {
            Some(program) => Ok(program),
            None => Program::raw(Part::Firmware, file, RAM_BASE),
        }
    }

    /// Code without a header, unless it is recognisably something else.
    fn raw(part: Part, file: &'a [u8], addr: u64) -> Result<Program<'a>, BootError> {
        if let Some(error) = identify::wrong_kind(part, file) {
            return Err(error);
        }
        let memory_bytes = file.len() as u64;
        Ok(Program {
            pieces: vec![Piece { addr, bytes: file, memory_bytes }],
            entry: addr,
            tohost: None,
            fromhost: None,
            format: Format::Raw,
        })
    }
}

fn known_format(part: Part, file: &[u8]) -> Result<Option<Program<'_>>, BootError> {
    if file.is_empty() {
        return Err(BootError::Empty { part });
    }
    if elf::is_elf(file) {
        return elf::parse(part, file).map(Some);
    }
    if image::is_image(file) {
        return image::parse(part, file).map(Some);
    }
    Ok(None)
}
