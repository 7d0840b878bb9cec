//! Naming what a file is when it is not what was asked for.

use super::{BootError, Part};

const ADVICE_UNPACK: &str = "unpack it and give the plain RISC-V Image or ELF";
const ADVICE_RISCV: &str = "give a kernel for 64-bit RISC-V (riscv64)";
const ADVICE_KERNEL: &str = "give an ELF or a RISC-V Linux Image";
const ADVICE_RAW: &str =
    "give an ELF or a RISC-V Linux Image; raw code is taken if the firmware is named as well";

/// A format told by bytes at a fixed place.
struct Format {
    offset: usize,
    magic: &'static [u8],
    name: &'static str,
    advice: &'static str,
}

const fn format(
    offset: usize,
    magic: &'static [u8],
    name: &'static str,
    advice: &'static str,
) -> Format {
    Format { offset, magic, name, advice }
}

/// The most telling first: a compressed EFI kernel begins like any EFI program.
const FORMATS: &[Format] = &[
    format(0, b"\x1f\x8b", "compressed with gzip", ADVICE_UNPACK),
    format(0, b"\xfd7zXZ\0", "compressed with xz", ADVICE_UNPACK),
    format(0, b"\x28\xb5\x2f\xfd", "compressed with zstd", ADVICE_UNPACK),
    format(0, b"BZh", "compressed with bzip2", ADVICE_UNPACK),
    format(0, b"\x02\x21\x4c\x18", "compressed with lz4", ADVICE_UNPACK),
    format(0, b"\x04\x22\x4d\x18", "compressed with lz4", ADVICE_UNPACK),
    format(4, b"zimg", "a compressed EFI kernel (vmlinuz.efi)", ADVICE_UNPACK),
    format(0x202, b"HdrS", "an x86 Linux kernel (bzImage)", ADVICE_RISCV),
    format(0x38, b"ARM\x64", "a 64-bit Arm Linux kernel (Image)", ADVICE_RISCV),
    format(0x24, b"\x18\x28\x6f\x01", "a 32-bit Arm Linux kernel (zImage)", ADVICE_RISCV),
    format(0x38, b"MZ\0\0", "a LoongArch Linux kernel (Image)", ADVICE_RISCV),
    format(0, b"\x27\x05\x19\x56", "a U-Boot image (uImage)", ADVICE_KERNEL),
    format(0, b"\xd0\x0d\xfe\xed", "a device tree or FIT image", ADVICE_KERNEL),
    format(0, b"070701", "a cpio archive", "give it as the initial RAM disk"),
    format(0, b"070702", "a cpio archive", "give it as the initial RAM disk"),
    format(0, b"!<arch>\n", "an archive (.deb or .a)", ADVICE_KERNEL),
    format(0, b"PK\x03\x04", "a ZIP archive", ADVICE_KERNEL),
    format(0x101, b"ustar", "a tar archive", ADVICE_KERNEL),
    format(0x8001, b"CD001", "a CD image (ISO 9660)", "give it as a disk"),
    format(0, b"QFI\xfb", "a QEMU disk image (qcow2)", "give a kernel, and the disk as a disk"),
    format(0x1fe, b"\x55\xaa", "a disk image", "give a kernel, and the disk as a disk"),
    format(0, b"MZ", "an EFI program", ADVICE_KERNEL),
    format(0, b"#!", "a script", ADVICE_KERNEL),
    format(0, b"<", "an HTML or XML page", "download the file itself"),
];

/// The error for a file that is recognisably something else; `None` if it may be raw code.
pub(super) fn wrong_kind(part: Part, file: &[u8]) -> Option<BootError> {
    let is = |format: &&Format| {
        file.get(format.offset..).is_some_and(|rest| rest.starts_with(format.magic))
    };
    let (name, advice) = match FORMATS.iter().find(is) {
        Some(format) => (format.name, format.advice),
        None if is_text(file) => ("a text file", ADVICE_KERNEL),
        None => return None,
    };
    Some(BootError::WrongKind { part, found: name.to_owned(), advice })
}

/// The error for a file that is neither an ELF nor an `Image`, as a kernel must be.
pub(super) fn wrong_kernel(file: &[u8]) -> BootError {
    let part = Part::Kernel;
    wrong_kind(part, file).unwrap_or_else(|| {
        let (found, advice) = if file.len() < 64 {
            (format!("only {} bytes long and of no known kind", file.len()), ADVICE_KERNEL)
        } else {
            ("neither an ELF nor a RISC-V Linux Image".to_owned(), ADVICE_RAW)
        };
        BootError::WrongKind { part, found, advice }
    })
}

/// Whether the beginning of the file is readable. Code is not: it soon has a zero or a byte with
/// the highest bit set.
fn is_text(file: &[u8]) -> bool {
    const LOOKED_AT_BYTES: usize = 512;
    let start = &file[..file.len().min(LOOKED_AT_BYTES)];
    start.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r'))
}
