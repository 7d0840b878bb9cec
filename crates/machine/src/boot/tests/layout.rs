//! Where things end up in RAM, and how the harts start.

use std::sync::Arc;

use super::device_tree::parse;
use super::fixtures::{Elf, bare, boot, file, image, peek};
use crate::boot::{BootMode, BootPlan, FirmwareKind, HartStart};
use crate::config::{Firmware, MachineConfig, limits};
use crate::memory::RAM_BASE;

const MIB: u64 = 1 << 20;

fn config(memory_bytes: u64, kernel: Vec<u8>) -> MachineConfig {
    MachineConfig { memory_bytes, kernel: file(kernel), ..Default::default() }
}

#[test]
fn firmware_is_chosen_by_the_kernel() {
    let check = |kernel: Vec<u8>, firmware: Option<Firmware>, expected: FirmwareKind| {
        let (plan, _) = boot(&MachineConfig { firmware, ..config(8 * MIB, kernel) }).unwrap();
        assert_eq!(plan.firmware, expected);
        let (mode, start) = match expected {
            FirmwareKind::Builtin => (BootMode::Supervisor, HartStart::BootHartOnly),
            _ => (BootMode::Machine, HartStart::AllHarts),
        };
        assert_eq!((plan.mode, plan.start), (mode, start));
        assert_eq!(plan.fw_dynamic_info_addr != 0, expected == FirmwareKind::File);
    };
    let high = || Elf::at(RAM_BASE + 2 * MIB, &[0x13; 64]);
    check(bare(), None, FirmwareKind::None);
    check(bare(), Some(Firmware::Builtin), FirmwareKind::Builtin);
    check(high().bytes(), None, FirmwareKind::Builtin);
    check(high().bytes(), Some(Firmware::None), FirmwareKind::None);
    check(high().symbol("tohost", RAM_BASE + 0x1000).bytes(), None, FirmwareKind::None);
    check(high().symbol("fromhost", RAM_BASE).bytes(), None, FirmwareKind::Builtin);
    check(image(0x20_0000, 0, 4096), None, FirmwareKind::Builtin);
    // An Image that is entered where RAM begins is no bare-metal ELF.
    check(image(0, 0, 4096), None, FirmwareKind::Builtin);
    check(image(0, 0, 4096), Some(Firmware::None), FirmwareKind::None);
    check(high().bytes(), Some(Firmware::File(Arc::new(vec![1; 64]))), FirmwareKind::File);
}

#[test]
fn bare_metal_programs_get_what_qemu_gives_them() {
    let elf = Elf::at(RAM_BASE, b"code").symbol("tohost", RAM_BASE + 0x1000);
    for memory_bytes in [limits::MEMORY_BYTES_MIN, 16 * MIB, 3 << 30] {
        let (plan, ram) = boot(&config(memory_bytes, elf.bytes())).unwrap();
        let expected = BootPlan {
            entry_pc: RAM_BASE,
            mode: BootMode::Machine,
            start: HartStart::AllHarts,
            fdt_addr: plan.fdt_addr,
            fw_dynamic_info_addr: 0,
            tohost: Some(RAM_BASE + 0x1000),
            fromhost: None,
            firmware: FirmwareKind::None,
        };
        assert_eq!(plan, expected);
        assert_eq!(peek(&ram, RAM_BASE, 6), b"code\0\0");
        // In the last 2 MiB of RAM or of its first GiB.
        let end = RAM_BASE + memory_bytes.min(1 << 30);
        assert!((end - 2 * MIB..end).contains(&plan.fdt_addr), "{:#x}", plan.fdt_addr);
        assert_eq!(peek(&ram, plan.fdt_addr, 4), 0xd00d_feed_u32.to_be_bytes());
    }
}

#[test]
fn linux_gets_its_initrd_below_the_device_tree() {
    let initrd = vec![0x77; 3 * MIB as usize + 5];
    let kernel = config(64 * MIB, image(0x20_0000, 30 * MIB, 4096));
    let config = MachineConfig { initrd: file(initrd.clone()), ..kernel };
    let (plan, ram) = boot(&config).unwrap();
    assert_eq!(plan.entry_pc, RAM_BASE + 2 * MIB);
    assert_eq!(plan.fdt_addr, RAM_BASE + 62 * MIB, "on a 2 MiB boundary");
    let tree = parse(&peek(&ram, plan.fdt_addr, 0x4000));
    let [start, end] = ["linux,initrd-start", "linux,initrd-end"]
        .map(|name| u64::from_be_bytes(tree["/chosen"][name][..].try_into().unwrap()));
    assert_eq!(end - start, initrd.len() as u64);
    assert!(start.is_multiple_of(4096) && end <= plan.fdt_addr && plan.fdt_addr - end < 4096);
    assert!(peek(&ram, start, initrd.len()) == initrd, "the initrd is there");
    assert_eq!(peek(&ram, end, 1), [0]);
    assert_eq!(peek(&ram, RAM_BASE + 2 * MIB, 4096), image(0x20_0000, 30 * MIB, 4096));
}

#[test]
fn elf_headers_before_ram_go_nowhere() {
    let page: Vec<u8> = (0..4096_u32).map(|i| (i >> 4) as u8).collect();
    let content = [page, vec![0x13; 16]].concat();
    let start = RAM_BASE - 4096;
    let segments = vec![(start, start, content, 4096 + 24)];
    let elf = Elf { entry: RAM_BASE, segments, symbols: Vec::new() };
    let (plan, ram) = boot(&config(16 * MIB, elf.bytes())).unwrap();
    assert_eq!(plan.entry_pc, RAM_BASE);
    assert_eq!(peek(&ram, RAM_BASE, 24), [&[0x13; 16][..], &[0; 8]].concat());
}

#[test]
fn a_raw_kernel_needs_a_named_firmware() {
    let raw = vec![0x13; 128];
    let check = |firmware, expected: Option<u64>| {
        let config = MachineConfig { firmware, ..config(8 * MIB, raw.clone()) };
        let entry = boot(&config).ok().map(|(plan, _)| plan.entry_pc);
        assert_eq!(entry, expected);
    };
    check(None, None);
    check(Some(Firmware::None), Some(RAM_BASE));
    check(Some(Firmware::Builtin), Some(RAM_BASE + 2 * MIB));
    check(Some(Firmware::File(Arc::new(vec![0x13; 64]))), Some(RAM_BASE));
}

#[test]
fn firmware_files_learn_where_the_kernel_is() {
    let check = |firmware: Vec<u8>, kernel: Option<Vec<u8>>, next_addr: u64| {
        let config = MachineConfig {
            memory_bytes: 16 * MIB,
            kernel: kernel.map(Arc::new),
            firmware: Some(Firmware::File(Arc::new(firmware))),
            ..Default::default()
        };
        let (plan, ram) = boot(&config).unwrap();
        assert_eq!((plan.entry_pc, plan.mode), (RAM_BASE, BootMode::Machine));
        assert_eq!(plan.start, HartStart::AllHarts);
        assert!(plan.fw_dynamic_info_addr > plan.fdt_addr);
        let info = peek(&ram, plan.fw_dynamic_info_addr, 48);
        let fields = info.chunks(8).map(|field| u64::from_le_bytes(field.try_into().unwrap()));
        let fields: Vec<u64> = fields.collect();
        assert_eq!(fields, [0x4942_534f, 2, next_addr, 1, 0, 0]);
    };
    let raw = vec![0x13; 4096];
    check(raw.clone(), None, 0);
    check(bare(), None, 0);
    check(raw.clone(), Some(image(0x20_0000, 0, 4096)), RAM_BASE + 2 * MIB);
    check(raw, Some(Elf::at(RAM_BASE + MIB, &[0x13; 8]).bytes()), RAM_BASE + MIB);
}

#[test]
fn what_does_not_fit_is_refused_with_sizes() {
    let check = |config: MachineConfig, message: &str| {
        let error = boot(&config).map(|(plan, _)| plan).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
    };
    check(
        config(16 * MIB, image(0x20_0000, 30 * MIB, 4096)),
        "the kernel needs 30 MiB at 0x80200000, RAM ends at 0x81000000: give the machine more \
         memory (at least 32 MiB)",
    );
    check(
        config(16 * MIB, Elf::at(0x1_0000, &[0; 2048]).bytes()),
        "the kernel is linked for address 0x10000 (2 KiB), where there is no RAM",
    );
    check(
        config(16 * MIB, Elf::at(0xffff_ffff_8000_0000, &[0; 4]).bytes()),
        "the kernel is linked for address 0xffffffff80000000 (4 bytes)",
    );
    let initrd = file(vec![1; 15 * MIB as usize]);
    check(
        MachineConfig { initrd, ..config(16 * MIB, bare()) },
        "no room for the initial RAM disk (15 MiB) beside the other files in 16 MiB of memory",
    );
    let full = Elf {
        entry: RAM_BASE,
        segments: vec![(RAM_BASE, RAM_BASE, vec![1; 8], 2 * MIB)],
        symbols: vec![],
    };
    check(config(2 * MIB, full.bytes()), "no room for the device tree");
    let firmware = Some(Firmware::File(Arc::new(vec![0x13; 2 * MIB as usize + 1])));
    check(
        MachineConfig { firmware, ..config(16 * MIB, image(0x20_0000, 0, 4096)) },
        "the kernel (0x80200000 to 0x80201000) overlaps the firmware (0x80000000 to 0x80200001)",
    );
}

#[test]
fn the_device_tree_makes_way_for_the_program() {
    // The program has the 2 MiB boundary, but not the end of RAM.
    let elf = Elf {
        entry: RAM_BASE,
        segments: vec![(RAM_BASE, RAM_BASE, vec![1; 8], 3 * MIB)],
        symbols: vec![],
    };
    let (plan, ram) = boot(&config(4 * MIB, elf.bytes())).unwrap();
    assert!(plan.fdt_addr > RAM_BASE + 3 * MIB && plan.fdt_addr.is_multiple_of(4096));
    assert_eq!(peek(&ram, plan.fdt_addr, 4), 0xd00d_feed_u32.to_be_bytes());
}

#[test]
fn debians_kernel_is_refused_by_name_below_its_minimum() {
    let kernel = |banner: &str| {
        let mut file = image(0x20_0000, 8 * MIB, 8192);
        file[1000..1017].copy_from_slice(b"Linux version %s\n");
        file[4096..4096 + banner.len()].copy_from_slice(banner.as_bytes());
        file
    };
    let debian = "Linux version 6.12.1+deb13-riscv64 (debian-kernel@lists.debian.org) (gcc)\n";
    let least = limits::LINUX_MEMORY_BYTES_MIN;
    boot(&config(least, kernel(debian))).unwrap();
    let error = boot(&config(least - MIB, kernel(debian))).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        error,
        "Linux version 6.12.1+deb13-riscv64 needs at least 96 MiB of memory, this machine has \
         95 MiB: give the machine more memory"
    );
    // Somebody's own kernel may be as small as it likes.
    boot(&config(16 * MIB, kernel("Linux version 6.12.1 (me@here)\n"))).unwrap();
}
