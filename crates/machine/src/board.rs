//! The board: RAM and devices at the addresses of QEMU's `virt`, and their interrupt lines.
//!
//! Owns where a device sits and which line it drives. What a device does is the device's; when
//! harts run is the machine's.

use stackvm_riscv::trap::irq;
use stackvm_riscv::{Bus, BusFault, RamPage};

use crate::config::{ConfigError, MachineConfig, limits};
use crate::devices::clint::Clint;
use crate::devices::finisher::Finisher;
use crate::devices::plic::{Level, Plic};
use crate::devices::rtc::Rtc;
use crate::devices::uart::Uart;
use crate::devices::virtio::blk::Blk;
use crate::devices::virtio::console::Console;
use crate::devices::virtio::multiport::Multiport;
use crate::devices::virtio::net::Net;
use crate::devices::virtio::rng::Rng;
use crate::devices::virtio::transport::read_empty;
use crate::devices::virtio::{HostEvent, VirtioDevice, VirtioSlot};
use crate::devices::vmgenid::Vmgenid;
use crate::devices::{Device, DeviceContext, Stall};
use crate::instant::Instant;
use crate::io::{ConsoleId, DiskId, NicId, Output, PortId};
use crate::memory::Ram;

const FINISHER: Region = Region { base: 0x10_0000, len: 0x1000 };
const RTC: Region = Region { base: 0x10_1000, len: 0x1000 };
const VMGENID: Region = Region { base: 0x10_2000, len: 0x1000 };
const CLINT: Region = Region { base: 0x200_0000, len: 0x1_0000 };
const PLIC: Region = Region { base: 0xc00_0000, len: 0x60_0000 };
const UART: Region = Region { base: 0x1000_0000, len: 0x100 };
/// Slots 0 to 7, then all others.
const VIRTIO_LOW: Region = Region { base: 0x1000_1000, len: 8 * VIRTIO_STRIDE };
const VIRTIO_HIGH: Region =
    Region { base: 0x1000_9000, len: (limits::VIRTIO_SLOTS_MAX as u64 - 8) * VIRTIO_STRIDE };
const VIRTIO_STRIDE: u64 = 0x1000;
const VIRTIO_BYTES: u64 = 0x200;

const UART_IRQ: u32 = 10;
const RTC_IRQ: u32 = 11;
const VMGENID_IRQ: u32 = 12;

/// The interrupt source of a virtio slot.
fn slot_irq(slot: usize) -> u32 {
    let slot = slot as u32;
    if slot < 8 { 1 + slot } else { 64 + (slot - 8) }
}

struct Region {
    base: u64,
    len: u64,
}

impl Region {
    fn offset(&self, addr: u64) -> Option<u64> {
        addr.checked_sub(self.base).filter(|&offset| offset < self.len)
    }
}

/// Everything but the harts.
pub(crate) struct Board {
    pub(crate) ram: Ram,
    pub(crate) outputs: Vec<Output>,
    pub(crate) uart: Uart,
    pub(crate) clint: Clint,
    pub(crate) plic: Plic,
    pub(crate) rtc: Rtc,
    pub(crate) finisher: Finisher,
    pub(crate) vmgenid: Vmgenid,
    /// Occupied slots, from slot 0 on without gaps.
    pub(crate) slots: Vec<VirtioSlot>,
}

/// The device an address belongs to.
enum Place {
    Finisher(u64),
    Rtc(u64),
    Vmgenid(u64),
    Clint(u64),
    Plic(u64),
    Uart(u64),
    Virtio(usize, u64),
}

impl Board {
    /// The board of a machine with `config`, switched on, with empty RAM.
    pub(crate) fn new(config: &MachineConfig) -> Result<Board, ConfigError> {
        let ram = Ram::new(config.memory_bytes).map_err(ConfigError::HostMemory)?;
        Ok(Board {
            ram,
            outputs: Vec::new(),
            uart: Uart::new(),
            clint: Clint::new(config.harts),
            plic: Plic::new(config.harts),
            rtc: Rtc::new(config.rtc_ns),
            finisher: Finisher::new(),
            vmgenid: Vmgenid::new(config.seed),
            slots: plug_in(config)?,
        })
    }

    /// Interrupt lines of a hart at `now`, as bits of `mip`.
    pub(crate) fn lines(&self, hart: usize, now: Instant) -> u64 {
        let mut lines = 0;
        let mut drive = |level, bit| lines |= if level { bit } else { 0 };
        drive(self.plic.pending(2 * hart), irq::MEI);
        drive(self.plic.pending(2 * hart + 1), irq::SEI);
        drive(self.clint.mtip(hart, now), irq::MTI);
        drive(self.clint.msip(hart), irq::MSI);
        lines
    }

    /// When a device next does something by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let slots = self.slots.iter().filter_map(VirtioSlot::next_deadline);
        slots.chain(self.rtc.next_deadline()).min()
    }

    /// Lets devices do what is due at `now`, by slot.
    ///
    /// # Errors
    /// [`Stall`] of the first device that cannot; those before it are done.
    pub(crate) fn fire(&mut self, now: Instant) -> Result<(), Stall> {
        if self.next_deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        let Board { ram, outputs, rtc, slots, .. } = self;
        let mut cx = DeviceContext { ram, now, outputs };
        if rtc.next_deadline().is_some_and(|at| at <= now) {
            rtc.fire(&mut cx)?;
        }
        let mut stalled = Ok(());
        for slot in slots {
            if stalled.is_ok() && slot.next_deadline().is_some_and(|at| at <= now) {
                stalled = slot.fire(&mut cx);
            }
        }
        self.drive_lines();
        stalled
    }

    /// Passes something from outside to the virtio devices that `wanted` picks.
    pub(crate) fn event(
        &mut self,
        now: Instant,
        event: HostEvent<'_>,
        wanted: impl Fn(&VirtioDevice) -> bool,
    ) {
        let Board { ram, outputs, slots, .. } = self;
        let mut cx = DeviceContext { ram, now, outputs };
        for slot in slots.iter_mut().filter(|slot| wanted(slot.device())) {
            slot.event(event, &mut cx);
        }
        self.drive_lines();
    }

    /// Passes something from outside to the `index`-th of the virtio devices that `kind` picks.
    pub(crate) fn nth_event(
        &mut self,
        now: Instant,
        index: usize,
        event: HostEvent<'_>,
        kind: impl Fn(&VirtioDevice) -> bool,
    ) {
        let Board { ram, outputs, slots, .. } = self;
        let mut cx = DeviceContext { ram, now, outputs };
        if let Some(slot) = slots.iter_mut().filter(|slot| kind(slot.device())).nth(index) {
            slot.event(event, &mut cx);
        }
        self.drive_lines();
    }

    /// Brings the PLIC up to date with the devices' lines.
    pub(crate) fn drive_lines(&mut self) {
        let level = |high| if high { Level::High } else { Level::Low };
        self.plic.set_level(UART_IRQ, level(self.uart.irq()));
        if self.uart.take_edge() {
            self.plic.pulse(UART_IRQ);
        }
        self.plic.set_level(RTC_IRQ, level(self.rtc.irq()));
        if self.vmgenid.take_edge() {
            self.plic.pulse(VMGENID_IRQ);
        }
        for (index, slot) in self.slots.iter().enumerate() {
            self.plic.set_level(slot_irq(index), level(slot.irq()));
        }
    }

    /// The disk of that number.
    pub(crate) fn disk(&self, disk: DiskId) -> Option<&Blk> {
        self.slots.iter().filter_map(VirtioSlot::blk).nth(usize::from(disk.0))
    }

    /// Bytes of input a port still takes; 0 for an absent one.
    pub(crate) fn port_room_bytes(&self, port: PortId) -> usize {
        self.slots
            .iter()
            .find_map(|slot| match slot.device() {
                VirtioDevice::Multiport(ports) => Some(ports.room_bytes(port)),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// Bytes of input a terminal still takes; 0 for an absent one.
    pub(crate) fn console_room_bytes(&self, console: ConsoleId) -> usize {
        let ConsoleId::Hvc(index) = console else { return self.uart.room_bytes() };
        let mut consoles = self.slots.iter().filter_map(|slot| match slot.device() {
            VirtioDevice::Console(console) => Some(console.room_bytes()),
            _ => None,
        });
        consoles.nth(usize::from(index)).unwrap_or(0)
    }

    fn place(&self, addr: u64) -> Option<Place> {
        if let Some(offset) = UART.offset(addr) {
            return Some(Place::Uart(offset));
        }
        let slot = VIRTIO_LOW
            .offset(addr)
            .or_else(|| VIRTIO_HIGH.offset(addr).map(|offset| VIRTIO_LOW.len + offset));
        if let Some(offset) = slot {
            let (slot, offset) = (offset / VIRTIO_STRIDE, offset % VIRTIO_STRIDE);
            return (offset < VIRTIO_BYTES).then_some(Place::Virtio(slot as usize, offset));
        }
        PLIC.offset(addr)
            .map(Place::Plic)
            .or_else(|| CLINT.offset(addr).map(Place::Clint))
            .or_else(|| FINISHER.offset(addr).map(Place::Finisher))
            .or_else(|| RTC.offset(addr).map(Place::Rtc))
            .or_else(|| VMGENID.offset(addr).map(Place::Vmgenid))
    }

    /// Finds the device at `addr` and hands it to `access`; `None` stands for an empty slot.
    fn with_device<T>(
        &mut self,
        addr: u64,
        now_ticks: u64,
        access: impl FnOnce(Option<&mut dyn Registers>, u64, &mut DeviceContext<'_>) -> T,
    ) -> Result<T, BusFault> {
        let place = self.place(addr).ok_or(BusFault)?;
        let Board { ram, outputs, uart, clint, plic, rtc, finisher, vmgenid, slots } = self;
        let mut cx = DeviceContext { ram, now: Instant::from_ticks(now_ticks), outputs };
        let (device, offset): (Option<&mut dyn Registers>, u64) = match place {
            Place::Finisher(offset) => (Some(finisher), offset),
            Place::Rtc(offset) => (Some(rtc), offset),
            Place::Vmgenid(offset) => (Some(vmgenid), offset),
            Place::Clint(offset) => (Some(clint), offset),
            Place::Plic(offset) => (Some(plic), offset),
            Place::Uart(offset) => (Some(uart), offset),
            Place::Virtio(slot, offset) => {
                (slots.get_mut(slot).map(|slot| slot as &mut dyn Registers), offset)
            }
        };
        let result = access(device, offset, &mut cx);
        self.drive_lines();
        Ok(result)
    }
}

/// The registers of a [`Device`], whatever its saved state is.
trait Registers {
    fn read(&mut self, offset: u64, size: u8, cx: &mut DeviceContext<'_>) -> u64;
    fn write(&mut self, offset: u64, size: u8, value: u64, cx: &mut DeviceContext<'_>);
}

impl<D: Device> Registers for D {
    fn read(&mut self, offset: u64, size: u8, cx: &mut DeviceContext<'_>) -> u64 {
        Device::read(self, offset, size, cx)
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, cx: &mut DeviceContext<'_>) {
        Device::write(self, offset, size, value, cx);
    }
}

impl Bus for Board {
    fn ram_pages(&self) -> u32 {
        // At most `limits::MEMORY_BYTES_MAX`, so the number of pages fits.
        (self.ram.size_bytes() / crate::memory::PAGE_BYTES as u64) as u32
    }

    fn page(&self, page: RamPage) -> *const u8 {
        self.ram.page(page.0).expect("the engine asks for pages inside RAM")
    }

    fn page_mut(&mut self, page: RamPage) -> *mut u8 {
        self.ram.page_mut(page.0).expect("the engine asks for pages inside RAM")
    }

    fn load(&mut self, addr: u64, size: u8, now_ticks: u64) -> Result<u64, BusFault> {
        self.with_device(addr, now_ticks, |device, offset, cx| match device {
            Some(device) => device.read(offset, size, cx),
            None => read_empty(offset, size),
        })
    }

    fn store(&mut self, addr: u64, size: u8, value: u64, now_ticks: u64) -> Result<(), BusFault> {
        self.with_device(addr, now_ticks, |device, offset, cx| {
            if let Some(device) = device {
                device.write(offset, size, value, cx);
            }
        })
    }

    fn mtime(&self, now_ticks: u64) -> u64 {
        self.clint.mtime(Instant::from_ticks(now_ticks))
    }
}

/// The virtio devices of `config` in the order of their slots: disks come first, because small
/// kernels made for the board look for theirs in slot 0.
fn plug_in(config: &MachineConfig) -> Result<Vec<VirtioSlot>, ConfigError> {
    let id = |index: usize| u8::try_from(index).expect("fewer than the slots");
    let mut slots: Vec<VirtioSlot> = Vec::new();
    slots.extend(config.disks.iter().map(|disk| VirtioSlot::new(Blk::new(disk))));
    slots.extend((0..config.nics).map(|nic| VirtioSlot::new(Net::new(NicId(nic), config.seed))));
    let consoles = 0..usize::from(config.consoles);
    slots.extend(consoles.map(|n| VirtioSlot::new(Console::new(ConsoleId::Hvc(id(n))))));
    if !config.ports.is_empty() {
        let (count, max) = (config.ports.len(), limits::PORTS_MAX);
        if count > max {
            return Err(ConfigError::TooMany { what: "ports", count, max });
        }
        slots.push(VirtioSlot::new(Multiport::new(config.ports.clone())));
    }
    slots.push(VirtioSlot::new(Rng::new(config.seed)));
    let (count, max) = (slots.len(), limits::VIRTIO_SLOTS_MAX);
    if count > max {
        return Err(ConfigError::TooMany { what: "virtio devices", count, max });
    }
    Ok(slots)
}
