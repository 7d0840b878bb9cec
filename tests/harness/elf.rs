//! The smallest RISC-V ELF file that a boot loader takes: one loadable segment.

/// Where programs are linked: the start of RAM on the board.
pub const BASE: u64 = 0x8000_0000;

const HEADER_BYTES: u64 = 64 + 56;

/// An ELF64 file that loads `image` at [`BASE`] and starts at its first byte.
pub fn executable(image: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER_BYTES as usize + image.len());
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    half(&mut file, 2); // ET_EXEC
    half(&mut file, 243); // EM_RISCV
    word(&mut file, 1);
    xword(&mut file, BASE);
    xword(&mut file, 64); // program headers follow this header
    xword(&mut file, 0);
    word(&mut file, 5); // EF_RISCV_RVC | EF_RISCV_FLOAT_ABI_DOUBLE
    for field in [64, 56, 1, 64, 0, 0] {
        half(&mut file, field);
    }
    word(&mut file, 1); // PT_LOAD
    word(&mut file, 7); // readable, writable, executable
    for field in [HEADER_BYTES, BASE, BASE, image.len() as u64, image.len() as u64, 1] {
        xword(&mut file, field);
    }
    file.extend(image);
    file
}

fn half(file: &mut Vec<u8>, value: u16) {
    file.extend(value.to_le_bytes());
}

fn word(file: &mut Vec<u8>, value: u32) {
    file.extend(value.to_le_bytes());
}

fn xword(file: &mut Vec<u8>, value: u64) {
    file.extend(value.to_le_bytes());
}
