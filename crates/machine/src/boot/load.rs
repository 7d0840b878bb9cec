//! The layout of RAM at the moment of switching on, and filling it.

use std::ops::Range;

use super::program::{Format, Program};
use super::{
    BoardDescription, BootError, BootMode, BootPlan, COMMAND_LINE_BYTES_MAX, FirmwareKind,
    HartStart, Part, fdt, image, sbi_info,
};
use crate::config::{Firmware, MachineConfig, limits};
use crate::memory::{PAGE_BYTES, RAM_BASE, Ram};

/// The device tree is below this address: kernels read it before they can reach all of RAM.
const DEVICE_TREE_END_MAX: u64 = 0xc000_0000;
/// Where the device tree would like to begin, and where it may if that is taken.
const DEVICE_TREE_ALIGNS: [u64; 3] = [2 << 20, 4096, 8];
const INITRD_ALIGN: u64 = 4096;
/// Where firmware expects the kernel, from the start of RAM.
const RAW_KERNEL_OFFSET: u64 = 2 << 20;

/// Puts the files of `config` and the device tree of `board` into fresh `ram`.
///
/// # Errors
/// [`BootError`] says what cannot be started and why. RAM is of no use then.
pub fn load(
    ram: &mut Ram,
    config: &MachineConfig,
    board: &BoardDescription,
) -> Result<BootPlan, BootError> {
    assert_eq!(ram.size_bytes(), board.ram_bytes, "the board has this RAM");
    check_command_line(&config.append)?;
    let initrd_file = config.initrd.as_ref().map(|file| file.as_slice());
    if initrd_file.is_some_and(<[u8]>::is_empty) {
        return Err(BootError::Empty { part: Part::Initrd });
    }
    let raw_addr = raw_kernel_addr(config);
    let kernel = config.kernel.as_ref().map(|file| Program::kernel(file, raw_addr)).transpose()?;
    check_linux_memory(kernel.as_ref(), ram.size_bytes())?;
    let (firmware_kind, firmware) = choose_firmware(config, kernel.as_ref())?;

    let mut layout = Layout::new(ram.size_bytes());
    let programs = [(Part::Firmware, &firmware), (Part::Kernel, &kernel)];
    let programs = programs.map(|(part, program)| program.as_ref().map(|program| (part, program)));
    for (part, program) in programs.iter().flatten() {
        layout.add_program(*part, program)?;
    }
    // Addresses have a fixed width, so the length is known before they are.
    let device_tree = |initrd| {
        fdt::build(board, &fdt::Chosen { bootargs: &config.append, initrd, seed: config.seed })
    };
    let fdt_bytes = device_tree(initrd_file.map(|_| 0..0)).len();
    let info_offset = fdt_bytes.next_multiple_of(8);
    let fdt_addr = layout.place_device_tree((info_offset + sbi_info::BYTES) as u64)?;
    let initrd = match initrd_file {
        Some(file) => Some(layout.place_initrd(file.len() as u64, fdt_addr)?),
        None => None,
    };

    let fdt = device_tree(initrd.clone());
    assert_eq!(fdt.len(), fdt_bytes, "addresses do not change the length");
    let info_addr = fdt_addr + info_offset as u64;
    let mut contents: Vec<(u64, &[u8])> = vec![(fdt_addr, &fdt)];
    for (_, program) in programs.iter().flatten() {
        contents.extend(program.pieces.iter().map(|piece| (piece.addr, piece.bytes)));
    }
    contents.extend(initrd.map(|range| range.start).zip(initrd_file));
    let info = sbi_info::encode(kernel.as_ref().map_or(0, |kernel| kernel.entry));
    if firmware.is_some() {
        contents.push((info_addr, &info));
    }
    fill(ram, &contents)?;

    let info_addr = if firmware.is_some() { info_addr } else { 0 };
    let (part, first) = programs.iter().flatten().next().expect("there is something to start");
    check_entry(*part, first)?;
    let htif = kernel.as_ref().filter(|program| program.tohost.is_some()).unwrap_or(first);
    let in_ram = |addr: &u64| ram.read(*addr, &mut [0; 8]).is_ok();
    let (mode, start) = match firmware_kind {
        FirmwareKind::Builtin => (BootMode::Supervisor, HartStart::BootHartOnly),
        FirmwareKind::None | FirmwareKind::File => (BootMode::Machine, HartStart::AllHarts),
    };
    Ok(BootPlan {
        entry_pc: first.entry,
        mode,
        start,
        fdt_addr,
        fw_dynamic_info_addr: info_addr,
        tohost: htif.tohost.filter(in_ram),
        fromhost: htif.fromhost.filter(in_ram),
        firmware: firmware_kind,
    })
}

/// Where a kernel without a header goes, as on QEMU's `virt`: where RAM begins if nothing is below
/// it, else 2 MiB behind. Only for those who say what is below: otherwise a file that is no kernel
/// at all would be run.
fn raw_kernel_addr(config: &MachineConfig) -> Option<u64> {
    match config.firmware {
        Some(Firmware::None) => Some(RAM_BASE),
        Some(Firmware::Builtin | Firmware::File(_)) => Some(RAM_BASE + RAW_KERNEL_OFFSET),
        None => None,
    }
}

/// The firmware asked for, or else the one that fits the kernel.
fn choose_firmware<'a>(
    config: &'a MachineConfig,
    kernel: Option<&Program<'_>>,
) -> Result<(FirmwareKind, Option<Program<'a>>), BootError> {
    let kind = match (&config.firmware, kernel) {
        (Some(Firmware::File(file)), _) => {
            return Ok((FirmwareKind::File, Some(Program::firmware(file)?)));
        }
        (Some(Firmware::Builtin), None) => {
            return Err(BootError::KernelMissing { firmware: "builtin" });
        }
        (Some(Firmware::None), None) => return Err(BootError::KernelMissing { firmware: "none" }),
        (None, None) => return Err(BootError::NothingToStart),
        (Some(Firmware::Builtin), Some(_)) => FirmwareKind::Builtin,
        (Some(Firmware::None), Some(_)) => FirmwareKind::None,
        (None, Some(kernel)) => {
            let bare = kernel.tohost.is_some() || kernel.entry == RAM_BASE;
            if kernel.format == Format::Elf && bare {
                FirmwareKind::None
            } else {
                FirmwareKind::Builtin
            }
        }
    };
    Ok((kind, None))
}

fn check_command_line(append: &str) -> Result<(), BootError> {
    let problem = if append.len() > COMMAND_LINE_BYTES_MAX {
        format!("has {} bytes, at most {COMMAND_LINE_BYTES_MAX} are possible", append.len())
    } else if let Some(at) = append.find('\0') {
        format!("has a NUL character at offset {at}")
    } else {
        return Ok(());
    };
    Err(BootError::CommandLine { problem })
}

fn check_linux_memory(kernel: Option<&Program<'_>>, ram_bytes: u64) -> Result<(), BootError> {
    let Some(kernel) = kernel else { return Ok(()) };
    if kernel.format != Format::Image || ram_bytes >= limits::LINUX_MEMORY_BYTES_MIN {
        return Ok(());
    }
    match image::debian_version(kernel.pieces[0].bytes) {
        Some(kernel) => Err(BootError::LinuxMemory { kernel, ram_bytes }),
        None => Ok(()),
    }
}

/// Refuses an entry that is not an instruction of the program.
fn check_entry(part: Part, program: &Program<'_>) -> Result<(), BootError> {
    let entry = program.entry;
    let inside = program
        .pieces
        .iter()
        .any(|piece| entry >= piece.addr && entry - piece.addr < piece.memory_bytes);
    if inside && entry.is_multiple_of(2) {
        return Ok(());
    }
    let problem = format!("its entry address {entry:#x} is not an instruction of its own");
    Err(BootError::Damaged { part, problem })
}

fn fill(ram: &mut Ram, contents: &[(u64, &[u8])]) -> Result<(), BootError> {
    // An unaligned piece touches up to two pages more than it fills.
    let pages = contents.iter().map(|(_, bytes)| bytes.len() / PAGE_BYTES + 2).sum();
    ram.reserve(pages).map_err(BootError::HostMemory)?;
    for (addr, bytes) in contents {
        ram.write(*addr, bytes).expect("the layout is inside RAM");
    }
    // Nothing is cached from RAM yet.
    ram.take_written();
    Ok(())
}

/// Who has which part of RAM.
struct Layout {
    ram_end: u64,
    taken: Vec<(Part, Range<u64>)>,
}

impl Layout {
    fn new(ram_bytes: u64) -> Layout {
        Layout { ram_end: RAM_BASE + ram_bytes, taken: Vec::new() }
    }

    /// Takes the memory of a program, which knows where it wants to be.
    fn add_program(&mut self, part: Part, program: &Program<'_>) -> Result<(), BootError> {
        for piece in &program.pieces {
            let (addr, bytes) = (piece.addr, piece.memory_bytes);
            let end = addr + bytes;
            if addr < RAM_BASE || end - RAM_BASE > limits::MEMORY_BYTES_MAX {
                return Err(BootError::OutsideRam { part, addr, bytes });
            }
            if end > self.ram_end {
                return Err(BootError::TooLarge { part, addr, bytes, ram_end: self.ram_end });
            }
            let taken = addr..end;
            // Segments of one file may share memory: the later one wins, as it is in the file.
            let other = self.overlapping(&taken).find(|(other, _)| *other != part);
            if let Some((first, range)) = other {
                return Err(BootError::Overlap {
                    first: *first,
                    first_start: range.start,
                    first_end: range.end,
                    second: part,
                    second_start: addr,
                    second_end: end,
                });
            }
            self.taken.push((part, taken));
        }
        Ok(())
    }

    fn place_device_tree(&mut self, bytes: u64) -> Result<u64, BootError> {
        let end = self.ram_end.min(DEVICE_TREE_END_MAX);
        let place = DEVICE_TREE_ALIGNS.into_iter().find_map(|align| self.below(end, bytes, align));
        self.take(Part::DeviceTree, bytes, place).map(|range| range.start)
    }

    fn place_initrd(&mut self, bytes: u64, end: u64) -> Result<Range<u64>, BootError> {
        let place = self.below(end, bytes, INITRD_ALIGN);
        self.take(Part::Initrd, bytes, place)
    }

    /// The highest place below `end`, if nothing is there yet.
    fn below(&self, end: u64, bytes: u64, align: u64) -> Option<Range<u64>> {
        let start = end.checked_sub(bytes)? / align * align;
        let range = start..start + bytes;
        (start >= RAM_BASE && self.overlapping(&range).next().is_none()).then_some(range)
    }

    fn take(
        &mut self,
        part: Part,
        bytes: u64,
        place: Option<Range<u64>>,
    ) -> Result<Range<u64>, BootError> {
        let ram_bytes = self.ram_end - RAM_BASE;
        let range = place.ok_or(BootError::NoRoom { part, bytes, ram_bytes })?;
        self.taken.push((part, range.clone()));
        Ok(range)
    }

    fn overlapping(&self, range: &Range<u64>) -> impl Iterator<Item = &(Part, Range<u64>)> {
        self.taken.iter().filter(|(_, taken)| taken.start < range.end && range.start < taken.end)
    }
}
