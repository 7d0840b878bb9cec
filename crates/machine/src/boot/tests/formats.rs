//! What is accepted, and what is said about what is not.

use super::fixtures::{Elf, bare, boot, efi_image, file, image};
use crate::boot::program::{Format, Program};
use crate::config::{Firmware, MachineConfig};
use crate::memory::RAM_BASE;

/// Starting `kernel` on a machine of 8 MiB fails with `message`.
fn check(kernel: Vec<u8>, message: &str) {
    let config =
        MachineConfig { memory_bytes: 8 << 20, kernel: file(kernel), ..Default::default() };
    let error = boot(&config).map(|(plan, _)| plan).unwrap_err().to_string();
    assert!(error.contains(message), "{error:?} does not say {message:?}");
}

/// `bytes` with `patch` at `offset`.
fn patched(mut bytes: Vec<u8>, offset: usize, patch: &[u8]) -> Vec<u8> {
    bytes.resize(bytes.len().max(offset + patch.len()), 0);
    bytes[offset..offset + patch.len()].copy_from_slice(patch);
    bytes
}

#[test]
fn files_of_other_kinds_are_named() {
    let at = |offset: usize, magic: &[u8]| patched(vec![0; 0x9000], offset, magic);
    check(at(0, b"\x1f\x8b\x08"), "compressed with gzip: unpack it");
    check(at(0, b"\xfd7zXZ\0"), "compressed with xz: unpack it");
    check(at(0, b"\x28\xb5\x2f\xfd"), "compressed with zstd: unpack it");
    check(at(0, b"MZ\0\0zimg"), "a compressed EFI kernel (vmlinuz.efi): unpack it");
    check(at(0x202, b"HdrS"), "an x86 Linux kernel (bzImage): give a kernel for 64-bit RISC-V");
    check(patched(at(0, b"MZ"), 0x202, b"HdrS"), "an x86 Linux kernel (bzImage)");
    check(at(0x38, b"ARM\x64"), "a 64-bit Arm Linux kernel (Image)");
    check(patched(at(0, b"MZ"), 0x38, b"ARM\x64"), "a 64-bit Arm Linux kernel (Image)");
    check(at(0x24, b"\x18\x28\x6f\x01"), "a 32-bit Arm Linux kernel (zImage)");
    check(at(0, b"070701"), "a cpio archive: give it as the initial RAM disk");
    check(at(0x8001, b"CD001"), "a CD image (ISO 9660): give it as a disk");
    check(at(0, b"QFI\xfb"), "a QEMU disk image (qcow2)");
    check(at(0, b"!<arch>\n"), "an archive (.deb or .a)");
    check(at(0, b"<!DOCTYPE html>"), "an HTML or XML page: download the file itself");
    check(at(0, b"\x13\0\0\0"), "neither an ELF nor a RISC-V Linux Image");
    check(b"Dear machine,\nplease boot.\n".to_vec(), "a text file: give an ELF");
    check(b"\x13\0\0\0\n\n".to_vec(), "only 6 bytes long and of no known kind");
    check(Vec::new(), "the kernel file is empty");
}

#[test]
fn elfs_for_other_machines_are_named() {
    check(patched(bare(), 18, &[62, 0]), "an ELF for x86-64: it must be built for 64-bit RISC-V");
    check(patched(bare(), 18, &[183, 0]), "an ELF for 64-bit Arm (AArch64)");
    check(patched(bare(), 18, &[8, 0]), "an ELF for MIPS");
    check(patched(bare(), 18, &[9, 9]), "an ELF for another processor (ELF machine 2313)");
    check(patched(bare(), 4, &[1]), "an ELF for 32-bit RISC-V");
    check(patched(patched(bare(), 5, &[2]), 18, &[0, 243]), "an ELF for big-endian RISC-V");
    check(patched(bare(), 16, &[1, 0]), "an ELF object file that was not linked");
    check(patched(bare(), 16, &[4, 0]), "an ELF core dump");
    check(patched(bare(), 16, &[0, 0]), "an ELF of unknown type 0");
}

#[test]
fn damaged_and_truncated_files_are_refused() {
    let elf = Elf::at(RAM_BASE, &[0x13; 256]).symbol("tohost", RAM_BASE + 64);
    let whole = elf.bytes();
    let all = whole.len();
    for len in 4..all {
        check(whole[..len].to_vec(), &format!("truncated: it has {len} bytes"));
    }
    check(whole[..all - 1].to_vec(), &format!("its header speaks of {all}; copy"));
    check(patched(bare(), 56, &[0, 0]), "it has no loadable segments");
    let segment = 64;
    check(patched(bare(), segment + 8, &[0xff; 8]), "begins at impossible offset");
    check(patched(bare(), segment + 24, &[0xff; 8]), "passes the end of memory");
    check(patched(bare(), segment + 40, &[1, 0, 0, 0, 0, 0, 0, 0]), "9 bytes in the file but 1 in");
    check(patched(bare(), 24, &0x1234_u64.to_le_bytes()), "entry address 0x1234 is not");
    check(patched(bare(), 24, &(RAM_BASE + 1).to_le_bytes()), "entry address 0x80000001 is not");

    let whole = efi_image(0x4000);
    check(whole[..0x3fff].to_vec(), "it has 16383 bytes, its header speaks of 16384");
    check(whole[..70].to_vec(), "it has 70 bytes, its header speaks of 88");
    check(image(0, 0, 60), "truncated: it has 60 bytes, its header speaks of 64");
    check(image(u64::MAX - 8, 0, 4096), "its header asks for 0 bytes at 0xfffffffffffffff7");
    check(image(0, u64::MAX, 4096), "its header asks for 18446744073709551615 bytes at 0x0");
    check(patched(image(0, 0, 4096), 24, &[1]), "a big-endian RISC-V Linux Image");
}

#[test]
fn elfs_are_taken_apart_by_physical_address() {
    // Linked to run at a high virtual address, with zeroed memory behind the data.
    let high = 0xffff_ffff_8000_0000;
    let elf = Elf {
        entry: high + 4,
        segments: vec![
            (high, RAM_BASE + 0x1000, vec![1; 16], 16),
            (high + 0x2000, RAM_BASE + 0x3000, vec![2; 8], 4096),
            (0, 0, Vec::new(), 0),
        ],
        symbols: vec![("start", high), ("tohost", high + 0x2010), ("fromhost", high + 0x2018)],
    };
    let bytes = elf.bytes();
    let program = Program::kernel(&bytes, None).unwrap();
    let pieces: Vec<_> =
        program.pieces.iter().map(|piece| (piece.addr, piece.bytes, piece.memory_bytes)).collect();
    assert_eq!(
        pieces,
        [(RAM_BASE + 0x1000, &[1; 16][..], 16), (RAM_BASE + 0x3000, &[2; 8][..], 4096)]
    );
    assert_eq!(program.entry, RAM_BASE + 0x1004);
    assert_eq!(program.tohost, Some(RAM_BASE + 0x3010));
    assert_eq!(program.fromhost, Some(RAM_BASE + 0x3018));
    assert_eq!(program.format, Format::Elf);
}

#[test]
fn firmware_may_be_raw() {
    let raw = vec![0x13, 0, 0, 0, 0x6f, 0, 0, 0];
    let program = Program::firmware(&raw).unwrap();
    assert_eq!((program.entry, program.format), (RAM_BASE, Format::Raw));
    assert_eq!(program.pieces[0].addr, RAM_BASE);
    let check = |firmware: &[u8], message: &str| {
        let error = Program::firmware(firmware).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
    };
    check(b"", "the firmware file is empty");
    check(b"\x1f\x8b\x08", "the firmware file is compressed with gzip");
    check(&patched(bare(), 18, &[62, 0]), "the firmware file is an ELF for x86-64");
}

#[test]
fn what_cannot_be_started_is_said() {
    let check = |config: MachineConfig, message: &str| {
        let error = boot(&config).map(|(plan, _)| plan).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
    };
    let with = |firmware| MachineConfig { firmware, ..Default::default() };
    check(with(None), "nothing to start: give a kernel file");
    check(with(Some(Firmware::Builtin)), "firmware \"builtin\" starts a kernel");
    check(with(Some(Firmware::None)), "firmware \"none\" starts a kernel");
    let bare = || MachineConfig { kernel: file(bare()), ..Default::default() };
    check(MachineConfig { append: "a\0b".to_owned(), ..bare() }, "has a NUL character at offset 1");
    let append = "x".repeat(20_000);
    check(MachineConfig { append, ..bare() }, "has 20000 bytes, at most 16384 are possible");
    check(MachineConfig { initrd: file(vec![]), ..bare() }, "the initial RAM disk file is empty");
}
