//! The flattened device tree: the board as kernels see it, in the shape of QEMU's `virt`.
//!
//! Property and node names are those of the Linux kernel's device tree bindings. Only what exists
//! is listed; the built-in SBI is outside RAM, so no memory is reserved.

use std::ops::Range;

use vm_fdt::{FdtWriter, FdtWriterResult};

use super::BoardDescription;
use crate::config::limits;
use crate::memory::RAM_BASE;

/// Steps of `mtime` in a second.
const TIMEBASE_HZ: u32 = 10_000_000;
/// Bytes that a `cbo.*` instruction works on.
const CBO_BLOCK_BYTES: u32 = 64;
/// Highest interrupt source of the PLIC.
const PLIC_SOURCES: u32 = 95;
/// Input clock of the UART.
const UART_CLOCK_HZ: u32 = 3_686_400;

/// What the harts implement, in the order of the ISA string.
const EXTENSIONS: [&str; 16] = [
    "i", "m", "a", "f", "d", "c", "zicbom", "zicboz", "zicntr", "zicsr", "zifencei", "zba", "zbb",
    "zbs", "sstc", "svadu",
];

/// Interrupt causes, as `riscv,cpu-intc` numbers them (Priv. spec, `mcause`).
mod cause {
    pub(super) const MACHINE_SOFTWARE: u32 = 3;
    pub(super) const MACHINE_TIMER: u32 = 7;
    pub(super) const SUPERVISOR_EXTERNAL: u32 = 9;
    pub(super) const MACHINE_EXTERNAL: u32 = 11;
}

const PLIC_PHANDLE: u32 = 1;
const TEST_PHANDLE: u32 = 2;
const HART_PHANDLE: u32 = 3;

fn cpu_phandle(hart: u32) -> u32 {
    HART_PHANDLE + 2 * hart
}

fn intc_phandle(hart: u32) -> u32 {
    cpu_phandle(hart) + 1
}

/// What `/chosen` tells the kernel beside the board.
pub(super) struct Chosen<'a> {
    /// Command line.
    pub(super) bootargs: &'a str,
    /// Where the initial RAM disk is.
    pub(super) initrd: Option<Range<u64>>,
    /// `rng-seed` is derived from this.
    pub(super) seed: u64,
}

/// The device tree of `board`. Its length depends on nothing but the board, the length of the
/// command line and whether there is an initrd.
///
/// # Panics
/// When the board is beyond [`limits`] or the command line has a NUL character.
pub(super) fn build(board: &BoardDescription, chosen: &Chosen<'_>) -> Vec<u8> {
    assert!((1..=limits::HARTS_MAX).contains(&board.harts), "{} harts", board.harts);
    assert!(board.virtio_slots.is_sorted_by(|a, b| a < b), "slots are ascending");
    write(board, chosen).expect("names and values are valid, and the tree is small")
}

fn write(board: &BoardDescription, chosen: &Chosen<'_>) -> FdtWriterResult<Vec<u8>> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "riscv-virtio")?;
    fdt.property_string("model", "riscv-virtio,stackvm")?;
    write_chosen(&mut fdt, chosen)?;
    node(&mut fdt, "aliases", |fdt| fdt.property_string("serial0", "/soc/serial@10000000"))?;
    write_power(&mut fdt, "poweroff", "syscon-poweroff", 0x5555)?;
    write_power(&mut fdt, "reboot", "syscon-reboot", 0x7777)?;
    node(&mut fdt, &format!("memory@{RAM_BASE:x}"), |fdt| {
        fdt.property_string("device_type", "memory")?;
        fdt.property_array_u64("reg", &[RAM_BASE, board.ram_bytes])
    })?;
    write_cpus(&mut fdt, board)?;
    write_soc(&mut fdt, board)?;
    fdt.end_node(root)?;
    fdt.finish()
}

/// Writes a node with what `content` puts into it.
fn node(
    fdt: &mut FdtWriter,
    name: &str,
    content: impl FnOnce(&mut FdtWriter) -> FdtWriterResult<()>,
) -> FdtWriterResult<()> {
    let node = fdt.begin_node(name)?;
    content(fdt)?;
    fdt.end_node(node)
}

fn strings(fdt: &mut FdtWriter, name: &str, values: &[&str]) -> FdtWriterResult<()> {
    fdt.property_string_list(name, values.iter().map(|value| (*value).to_owned()).collect())
}

fn write_chosen(fdt: &mut FdtWriter, chosen: &Chosen<'_>) -> FdtWriterResult<()> {
    node(fdt, "chosen", |fdt| {
        if !chosen.bootargs.is_empty() {
            fdt.property_string("bootargs", chosen.bootargs)?;
        }
        fdt.property_string("stdout-path", "/soc/serial@10000000")?;
        if let Some(initrd) = &chosen.initrd {
            fdt.property_u64("linux,initrd-start", initrd.start)?;
            fdt.property_u64("linux,initrd-end", initrd.end)?;
        }
        // A context of its own, so that no other random bits are made from the seed like this.
        let context = "stackvm 2026-01 device tree rng-seed";
        fdt.property("rng-seed", &blake3::derive_key(context, &chosen.seed.to_le_bytes()))
    })
}

/// Switching off or resetting by writing `value` to the test finisher.
fn write_power(
    fdt: &mut FdtWriter,
    name: &str,
    compatible: &str,
    value: u32,
) -> FdtWriterResult<()> {
    node(fdt, name, |fdt| {
        fdt.property_string("compatible", compatible)?;
        fdt.property_u32("regmap", TEST_PHANDLE)?;
        fdt.property_u32("offset", 0)?;
        fdt.property_u32("value", value)
    })
}

fn write_cpus(fdt: &mut FdtWriter, board: &BoardDescription) -> FdtWriterResult<()> {
    node(fdt, "cpus", |fdt| {
        fdt.property_u32("#address-cells", 1)?;
        fdt.property_u32("#size-cells", 0)?;
        fdt.property_u32("timebase-frequency", TIMEBASE_HZ)?;
        for hart in 0..board.harts {
            write_cpu(fdt, board, hart)?;
        }
        node(fdt, "cpu-map", |fdt| {
            node(fdt, "cluster0", |fdt| {
                for hart in 0..board.harts {
                    node(fdt, &format!("core{hart}"), |fdt| {
                        fdt.property_u32("cpu", cpu_phandle(hart))
                    })?;
                }
                Ok(())
            })
        })
    })
}

fn write_cpu(fdt: &mut FdtWriter, board: &BoardDescription, hart: u32) -> FdtWriterResult<()> {
    node(fdt, &format!("cpu@{hart:x}"), |fdt| {
        fdt.property_phandle(cpu_phandle(hart))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_u32("reg", hart)?;
        fdt.property_string("status", "okay")?;
        fdt.property_string("compatible", "riscv")?;
        fdt.property_string("riscv,isa", &isa_string())?;
        fdt.property_string("riscv,isa-base", "rv64i")?;
        strings(fdt, "riscv,isa-extensions", &EXTENSIONS)?;
        fdt.property_u32("riscv,cbom-block-size", CBO_BLOCK_BYTES)?;
        fdt.property_u32("riscv,cboz-block-size", CBO_BLOCK_BYTES)?;
        fdt.property_string("mmu-type", if board.sv48 { "riscv,sv48" } else { "riscv,sv39" })?;
        node(fdt, "interrupt-controller", |fdt| {
            fdt.property_phandle(intc_phandle(hart))?;
            fdt.property_u32("#interrupt-cells", 1)?;
            fdt.property_null("interrupt-controller")?;
            fdt.property_string("compatible", "riscv,cpu-intc")
        })
    })
}

/// The older way to list extensions: single letters joined, others behind underscores.
fn isa_string() -> String {
    let mut isa = "rv64".to_owned();
    for extension in EXTENSIONS {
        if extension.len() > 1 {
            isa.push('_');
        }
        isa.push_str(extension);
    }
    isa
}

fn write_soc(fdt: &mut FdtWriter, board: &BoardDescription) -> FdtWriterResult<()> {
    node(fdt, "soc", |fdt| {
        fdt.property_u32("#address-cells", 2)?;
        fdt.property_u32("#size-cells", 2)?;
        fdt.property_string("compatible", "simple-bus")?;
        fdt.property_null("ranges")?;
        write_interrupt_controllers(fdt, board)?;
        device(fdt, "test", 0x10_0000, 0x1000, None, |fdt| {
            fdt.property_phandle(TEST_PHANDLE)?;
            strings(fdt, "compatible", &["sifive,test1", "sifive,test0", "syscon"])
        })?;
        device(fdt, "rtc", 0x10_1000, 0x1000, Some(11), |fdt| {
            fdt.property_string("compatible", "google,goldfish-rtc")
        })?;
        device(fdt, "vmgenid", 0x10_2000, 0x1000, Some(12), |fdt| {
            fdt.property_string("compatible", "microsoft,vmgenid")
        })?;
        device(fdt, "serial", 0x1000_0000, 0x100, Some(10), |fdt| {
            fdt.property_string("compatible", "ns16550a")?;
            fdt.property_u32("clock-frequency", UART_CLOCK_HZ)
        })?;
        // Linux numbers devices in the order of this list: the first disk is `vda`.
        for &slot in &board.virtio_slots {
            let (addr, irq) = virtio_slot(slot);
            device(fdt, "virtio_mmio", addr, 0x1000, Some(irq), |fdt| {
                fdt.property_string("compatible", "virtio,mmio")
            })?;
        }
        Ok(())
    })
}

/// Address and PLIC source of a virtio-mmio slot: QEMU's eight, and further ones behind them.
fn virtio_slot(slot: usize) -> (u64, u32) {
    assert!(slot < limits::VIRTIO_SLOTS_MAX, "slot {slot} of {}", limits::VIRTIO_SLOTS_MAX);
    let addr = 0x1000_1000 + 0x1000 * slot as u64;
    let irq = if slot < 8 { 1 + slot as u32 } else { 64 + (slot as u32 - 8) };
    (addr, irq)
}

fn device(
    fdt: &mut FdtWriter,
    name: &str,
    addr: u64,
    bytes: u64,
    irq: Option<u32>,
    content: impl FnOnce(&mut FdtWriter) -> FdtWriterResult<()>,
) -> FdtWriterResult<()> {
    node(fdt, &format!("{name}@{addr:x}"), |fdt| {
        fdt.property_array_u64("reg", &[addr, bytes])?;
        if let Some(irq) = irq {
            fdt.property_u32("interrupt-parent", PLIC_PHANDLE)?;
            fdt.property_u32("interrupts", irq)?;
        }
        content(fdt)
    })
}

fn write_interrupt_controllers(
    fdt: &mut FdtWriter,
    board: &BoardDescription,
) -> FdtWriterResult<()> {
    // Pairs of (hart's controller, cause), hart by hart.
    let wires = |causes: [u32; 2]| -> Vec<u32> {
        let harts = 0..board.harts;
        harts.flat_map(|hart| causes.map(|cause| [intc_phandle(hart), cause])).flatten().collect()
    };
    device(fdt, "clint", 0x200_0000, 0x1_0000, None, |fdt| {
        strings(fdt, "compatible", &["sifive,clint0", "riscv,clint0"])?;
        let causes = [cause::MACHINE_SOFTWARE, cause::MACHINE_TIMER];
        fdt.property_array_u32("interrupts-extended", &wires(causes))
    })?;
    device(fdt, "plic", 0xc00_0000, 0x60_0000, None, |fdt| {
        fdt.property_phandle(PLIC_PHANDLE)?;
        strings(fdt, "compatible", &["sifive,plic-1.0.0", "riscv,plic0"])?;
        fdt.property_u32("#address-cells", 0)?;
        fdt.property_u32("#interrupt-cells", 1)?;
        fdt.property_null("interrupt-controller")?;
        fdt.property_u32("riscv,ndev", PLIC_SOURCES)?;
        let causes = [cause::MACHINE_EXTERNAL, cause::SUPERVISOR_EXTERNAL];
        fdt.property_array_u32("interrupts-extended", &wires(causes))
    })
}
