//! A bare-metal guest that needs no image. The tests of `stackvm-server` use it as well.

use std::path::Path;

use stackvm_host::machines::{FirmwareSpec, Source};

/// Writes `ok` to the UART, then echoes; `q` and `f` switch off with code 0 and 3, `r` resets.
const ECHO: [u32; 29] = [
    0x1000_02b7, //    lui  t0, 0x10000
    0x0010_0337, //    lui  t1, 0x100
    0x06f0_0393, //    li   t2, 'o'
    0x0072_8023, //    sb   t2, 0(t0)
    0x06b0_0393, //    li   t2, 'k'
    0x0072_8023, //    sb   t2, 0(t0)
    0x00a0_0393, //    li   t2, '\n'
    0x0072_8023, //    sb   t2, 0(t0)
    0x0052_ce03, // 1: lbu  t3, 5(t0)
    0x001e_7e13, //    andi t3, t3, 1
    0xfe0e_0ce3, //    beqz t3, 1b
    0x0002_ce03, //    lbu  t3, 0(t0)
    0x0710_0e93, //    li   t4, 'q'
    0x01de_0e63, //    beq  t3, t4, 2f
    0x0660_0e93, //    li   t4, 'f'
    0x03de_0063, //    beq  t3, t4, 3f
    0x0720_0e93, //    li   t4, 'r'
    0x03de_0263, //    beq  t3, t4, 4f
    0x01c2_8023, //    sb   t3, 0(t0)
    0xfd5f_f06f, //    j    1b
    0x0000_53b7, // 2: li   t2, 0x5555
    0x5553_839b, //
    0x0180_006f, //    j    5f
    0x0003_33b7, // 3: li   t2, 0x33333
    0x3333_839b, //
    0x00c0_006f, //    j    5f
    0x0000_73b7, // 4: li   t2, 0x7777
    0x7773_839b, //
    0x0073_2023, // 5: sw   t2, 0(t1)
];

/// An ELF with [`ECHO`] at the beginning of RAM, in `data`.
pub(crate) fn kernel(data: &Path) -> Source {
    let bytes = 4 * ECHO.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // Executable for RISC-V, entered at RAM's beginning, program headers at 64.
    elf.extend([2_u16, 243, 1, 0].map(u16::to_le_bytes).concat());
    elf.extend([0x8000_0000_u64, 64, 0].map(u64::to_le_bytes).concat());
    elf.extend([0_u16, 0, 64, 56, 1, 64, 0, 0].map(u16::to_le_bytes).concat());
    // One segment: loaded from 120, readable and executable.
    elf.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    let segment = [120_u64, 0x8000_0000, 0x8000_0000, bytes, bytes, 4];
    elf.extend(segment.map(u64::to_le_bytes).concat());
    elf.extend(ECHO.map(u32::to_le_bytes).concat());
    let path = data.join("echo.elf");
    std::fs::write(&path, elf).unwrap();
    Source::Files {
        kernel: Some(path),
        initrd: None,
        append: String::new(),
        firmware: FirmwareSpec::Auto,
    }
}
