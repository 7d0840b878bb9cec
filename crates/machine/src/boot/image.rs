//! The Linux `Image` format (Documentation/arch/riscv/boot-image-header.rst): a flat kernel behind
//! a 64-byte header, which with EFI support is a PE file at the same time.

use super::program::{Format, Piece, Program};
use super::{BootError, Part};
use crate::memory::RAM_BASE;

/// Length of the header.
const HEADER_BYTES: usize = 64;
/// Offset of the second magic number, which newer boot loaders go by.
const MAGIC2_OFFSET: usize = 0x38;
const MAGIC2: &[u8] = b"RSC\x05";
/// Where a kernel must be aligned to, and RAM is.
const KERNEL_ALIGN: u64 = 2 << 20;
/// Length of a PE signature and the COFF header behind it.
const PE_HEADER_BYTES: usize = 24;

/// Whether the file has the header.
pub(super) fn is_image(file: &[u8]) -> bool {
    file.get(MAGIC2_OFFSET..MAGIC2_OFFSET + 4) == Some(MAGIC2)
}

/// Takes an `Image` apart.
pub(super) fn parse(part: Part, file: &[u8]) -> Result<Program<'_>, BootError> {
    let file_bytes = file.len() as u64;
    let truncated = |expected_bytes| BootError::Truncated { part, file_bytes, expected_bytes };
    let header =
        file.first_chunk::<HEADER_BYTES>().ok_or_else(|| truncated(HEADER_BYTES as u64))?;
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let (text_offset, image_bytes, flags) = (word(8), word(16), word(24));
    if flags & 1 != 0 {
        let found = "a big-endian RISC-V Linux Image".to_owned();
        return Err(BootError::WrongKind { part, found, advice: "build it little-endian" });
    }
    if let Some(expected) = pe_file_bytes(file)
        && expected > file_bytes
    {
        return Err(truncated(expected));
    }
    let addr = RAM_BASE.next_multiple_of(KERNEL_ALIGN).checked_add(text_offset);
    let addr = addr.filter(|addr| addr.checked_add(image_bytes.max(file_bytes)).is_some());
    let Some(addr) = addr else {
        let problem = format!(
            "its header asks for {image_bytes} bytes at {text_offset:#x} from the start of RAM"
        );
        return Err(BootError::Damaged { part, problem });
    };
    Ok(Program {
        // Kernels before 5.0 leave the size at 0.
        pieces: vec![Piece { addr, bytes: file, memory_bytes: image_bytes.max(file_bytes) }],
        entry: addr,
        tohost: None,
        fromhost: None,
        format: Format::Image,
    })
}

/// What the kernel says it is, if it is Debian's: for its version only, memory needs are known.
pub(super) fn debian_version(file: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    const LENGTH_MAX: usize = 256;
    // The format string of the banner comes without a version, so look at every place.
    let banners = file.windows(BANNER.len()).enumerate().filter(|(_, text)| *text == BANNER);
    banners
        .filter_map(|(at, _)| {
            let line = &file[at..file.len().min(at + LENGTH_MAX)];
            let line = line.split(|byte| *byte == b'\n' || *byte == 0).next()?;
            let line = std::str::from_utf8(line).ok()?;
            let debian = line.contains("debian");
            debian.then(|| line.split(' ').take(3).collect::<Vec<_>>().join(" "))
        })
        .next()
}

/// How long the file must be for the sections of its PE header (PE/COFF §3, §4), if it has one.
fn pe_file_bytes(file: &[u8]) -> Option<u64> {
    if !file.starts_with(b"MZ") {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(*file.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?));
    let pe = u32_at(0x3c)?;
    let header_end = u64::from(pe) + PE_HEADER_BYTES as u64;
    if header_end > file.len() as u64 {
        return Some(header_end);
    }
    // From here on offsets are within the file, or little behind it.
    let pe = pe as usize;
    if !file[pe..].starts_with(b"PE\0\0") {
        return None;
    }
    let sections = usize::from(u16_at(pe + 6)?);
    let table = pe + PE_HEADER_BYTES + usize::from(u16_at(pe + 20)?);
    let mut end = (table + sections * 40) as u64;
    for section in 0..sections {
        let header = table + section * 40;
        let (Some(bytes), Some(offset)) = (u32_at(header + 16), u32_at(header + 20)) else {
            break;
        };
        end = end.max(u64::from(offset) + u64::from(bytes));
    }
    Some(end)
}
