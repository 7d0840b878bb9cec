//! Harness that lets arbitrary bytes drive a device, as a hostile guest, host or saved state would.
//!
//! The fuzz targets in `fuzz/` call it with what a fuzzer finds, the unit tests with bytes from a
//! seeded generator. Either way the property is the same: no panic, and bounded memory.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::clint::Clint;
use super::disk::MemorySource;
use super::finisher::Finisher;
use super::plic::{Level, Plic, SOURCES};
use super::rtc::Rtc;
use super::uart::Uart;
use super::virtio::blk::Blk;
use super::virtio::console::Console;
use super::virtio::multiport::Multiport;
use super::virtio::net::Net;
use super::virtio::rng::Rng;
use super::virtio::{HostEvent, VirtioDevice, VirtioSlot};
use super::vmgenid::Vmgenid;
use super::{Device, DeviceContext};
use crate::config::DiskConfig;
use crate::instant::{Instant, Ticks};
use crate::io::{ConsoleId, NicId, Output, PortId};
use crate::memory::{RAM_BASE, Ram};

const RAM_BYTES: u64 = 64 << 10;
const HARTS: u32 = 2;

/// Most bytes of output kept between two steps; a real host takes them just as regularly.
const OUTPUTS_MAX: usize = 1 << 10;

/// A device to drive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The serial port.
    Uart,
    /// The core-local interruptor.
    Clint,
    /// The interrupt controller.
    Plic,
    /// The real-time clock.
    Rtc,
    /// The test finisher.
    Finisher,
    /// The generation id.
    Vmgenid,
    /// A terminal.
    Console,
    /// Named ports.
    Multiport,
    /// A disk.
    Blk,
    /// A network interface.
    Net,
    /// A source of randomness.
    Rng,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 11] = [
        Kind::Uart,
        Kind::Clint,
        Kind::Plic,
        Kind::Rtc,
        Kind::Finisher,
        Kind::Vmgenid,
        Kind::Console,
        Kind::Multiport,
        Kind::Blk,
        Kind::Net,
        Kind::Rng,
    ];
}

/// Drives a device fresh from power-on with `bytes`.
pub fn drive(kind: Kind, bytes: &[u8]) {
    with_device(kind, &mut Drive { bytes });
}

/// Takes `bytes` as a device's saved state (postcard) and, if the device accepts it, drives the
/// device with what is left of them.
pub fn restore(kind: Kind, bytes: &[u8]) {
    with_device(kind, &mut Restore { bytes });
}

/// Drives a device with half of `bytes`, saves it, restores it, and drives both with the other
/// half: they must stay the same.
pub fn save_and_restore(kind: Kind, bytes: &[u8]) {
    with_device(kind, &mut SaveAndRestore { bytes });
}

/// Something to do with a device of any type; `make` makes another one just like it.
trait Task {
    fn run<D: Fuzzed>(&mut self, make: &dyn Fn() -> D);
}

/// A device with the inputs it takes from outside.
trait Fuzzed: Device {
    /// Does what a driver does before the interesting part begins.
    fn start(&mut self, _cx: &mut DeviceContext<'_>) {}

    fn input(&mut self, selector: u8, bytes: &[u8], cx: &mut DeviceContext<'_>);

    /// Takes over what is saved apart from the state.
    fn take_over(&mut self, _original: &Self) {}
}

struct Drive<'a> {
    bytes: &'a [u8],
}

struct Restore<'a> {
    bytes: &'a [u8],
}

struct SaveAndRestore<'a> {
    bytes: &'a [u8],
}

impl Task for Drive<'_> {
    fn run<D: Fuzzed>(&mut self, make: &dyn Fn() -> D) {
        Bench::new().drive(&mut make(), self.bytes);
    }
}

impl Task for Restore<'_> {
    fn run<D: Fuzzed>(&mut self, make: &dyn Fn() -> D) {
        let Ok((state, rest)) = postcard::take_from_bytes::<D::State>(self.bytes) else { return };
        let mut device = make();
        if device.restore(state).is_ok() {
            Bench::new().drive(&mut device, rest);
        }
    }
}

impl Task for SaveAndRestore<'_> {
    fn run<D: Fuzzed>(&mut self, make: &dyn Fn() -> D) {
        let (before, after) = self.bytes.split_at(self.bytes.len() / 2);
        let (mut one, mut bench) = (make(), Bench::new());
        bench.drive(&mut one, before);
        let saved = postcard::to_stdvec(&one.save()).expect("plain data");
        let mut other = make();
        let state = postcard::from_bytes(&saved).expect("just saved");
        other.restore(state).expect("a device takes its own state back");
        other.take_over(&one);
        let mut twin = bench.copy();
        bench.drive(&mut one, after);
        twin.drive(&mut other, after);
        assert_eq!(bench.digest(), twin.digest(), "outputs and RAM after restore");
        let [one, other] = [one.save(), other.save()].map(|s| postcard::to_stdvec(&s).unwrap());
        assert_eq!(one, other, "state after restore");
    }
}

fn with_device(kind: Kind, task: &mut impl Task) {
    match kind {
        Kind::Uart => task.run(&Uart::new),
        Kind::Clint => task.run(&|| Clint::new(HARTS)),
        Kind::Plic => task.run(&|| Plic::new(HARTS)),
        Kind::Rtc => task.run(&|| Rtc::new(1_767_225_600_000_000_000)),
        Kind::Finisher => task.run(&Finisher::new),
        Kind::Vmgenid => task.run(&|| Vmgenid::new(1)),
        Kind::Console => task.run(&|| VirtioSlot::new(Console::new(ConsoleId::Hvc(0)))),
        Kind::Multiport => {
            let names: Vec<String> = (0..3).map(|n| format!("org.example.{n}")).collect();
            task.run(&|| VirtioSlot::new(Multiport::new(names.clone())));
        }
        Kind::Blk => task.run(&|| {
            let source = Arc::new(MemorySource::new(vec![0xa5; 50 << 10]));
            let config = DiskConfig { source, read_only: false, serial: "fuzz".into() };
            VirtioSlot::new(Blk::new(&config))
        }),
        Kind::Net => task.run(&|| VirtioSlot::new(Net::new(NicId(0), 1))),
        Kind::Rng => task.run(&|| VirtioSlot::new(Rng::new(1))),
    }
}

/// The surroundings of a device.
struct Bench {
    ram: Ram,
    now: Instant,
    outputs: Vec<Output>,
    hasher: blake3::Hasher,
}

impl Bench {
    fn new() -> Self {
        Bench {
            ram: Ram::new(RAM_BYTES).expect("little memory"),
            now: Instant::ZERO,
            outputs: Vec::new(),
            hasher: blake3::Hasher::new(),
        }
    }

    fn copy(&self) -> Self {
        let mut copy = Bench::new();
        copy.ram.write(RAM_BASE, &self.ram_bytes()).expect("the same size");
        copy.now = self.now;
        copy.outputs.clone_from(&self.outputs);
        copy.hasher = self.hasher.clone();
        copy
    }

    fn ram_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; RAM_BYTES as usize];
        self.ram.read(RAM_BASE, &mut bytes).expect("the same size");
        bytes
    }

    fn digest(&mut self) -> blake3::Hash {
        self.take_outputs();
        let bytes = self.ram_bytes();
        self.hasher.update(&bytes);
        self.hasher.finalize()
    }

    fn take_outputs(&mut self) {
        let outputs = std::mem::take(&mut self.outputs);
        self.hasher.update(&postcard::to_stdvec(&outputs).expect("plain data"));
    }

    fn drive<D: Fuzzed>(&mut self, device: &mut D, bytes: &[u8]) {
        let mut bytes = Bytes(bytes);
        if bytes.u8() % 4 != 0 {
            let Bench { ram, now, outputs, .. } = self;
            device.start(&mut DeviceContext { ram, now: *now, outputs });
        }
        while !bytes.0.is_empty() {
            self.step(device, &mut bytes);
            self.ram.take_written();
            let _ = device.irq();
            if self.outputs.len() > OUTPUTS_MAX {
                self.take_outputs();
            }
        }
    }

    fn step<D: Fuzzed>(&mut self, device: &mut D, bytes: &mut Bytes<'_>) {
        let selector = bytes.u8();
        let Bench { ram, now, outputs, .. } = self;
        let cx = &mut DeviceContext { ram, now: *now, outputs };
        let size = 1 << (selector >> 6);
        match selector % 8 {
            0 => {
                let read = device.read(offset(bytes), size, cx);
                self.hasher.update(&read.to_le_bytes());
            }
            1 | 2 => device.write(offset(bytes), size, value(bytes), cx),
            // Registers of virtio devices are 32 bits wide: hit them more often.
            3 => device.write(u64::from(bytes.u8()) & !3, 4, value(bytes) & 0xffff_ffff, cx),
            4 => {
                let at = RAM_BASE + u64::from(bytes.u16());
                let _ = cx.ram.write(at, bytes.take(usize::from(selector >> 3)));
            }
            5 => device.input(bytes.u8(), bytes.take(usize::from(selector)), cx),
            6 => self.now += Ticks::new(u64::from(bytes.u16()) << (selector >> 4)),
            _ => {
                if device.next_deadline().is_some_and(|at| at <= cx.now) {
                    device.fire(cx).expect("a source in memory never stalls");
                }
            }
        }
    }
}

/// Offsets near the registers more often than anywhere.
fn offset(bytes: &mut Bytes<'_>) -> u64 {
    match bytes.u8() {
        0..=127 => u64::from(bytes.u8()),
        128..=191 => u64::from(bytes.u16()),
        192..=254 => 0x20_0000 + u64::from(bytes.u16()),
        255 => bytes.u64(),
    }
}

/// Small numbers and addresses in RAM more often than others.
fn value(bytes: &mut Bytes<'_>) -> u64 {
    match bytes.u8() {
        0..=127 => u64::from(bytes.u8()),
        128..=223 => RAM_BASE + u64::from(bytes.u16()),
        224..=255 => bytes.u64(),
    }
}

/// Bytes taken from the front; zeroes when there are none left.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    fn u64(&mut self) -> u64 {
        let mut value = [0; 8];
        let taken = self.take(8);
        value[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(value)
    }
}

impl Fuzzed for Uart {
    fn input(&mut self, _selector: u8, bytes: &[u8], _cx: &mut DeviceContext<'_>) {
        Uart::input(self, bytes);
    }
}

impl Fuzzed for Clint {
    fn input(&mut self, selector: u8, _bytes: &[u8], cx: &mut DeviceContext<'_>) {
        let hart = usize::from(selector) % HARTS as usize;
        let late = self.next_deadline(hart, cx.now).is_some_and(|at| at <= cx.now);
        assert!(!late, "a deadline in the past");
    }
}

impl Fuzzed for Plic {
    fn input(&mut self, selector: u8, bytes: &[u8], _cx: &mut DeviceContext<'_>) {
        let source = 1 + u32::from(selector) % SOURCES;
        match bytes.len() % 3 {
            0 => self.pulse(source),
            1 => self.set_level(source, Level::High),
            _ => self.set_level(source, Level::Low),
        }
        let _ = self.pending(usize::from(selector) % (2 * HARTS as usize));
    }
}

impl Fuzzed for Rtc {
    fn input(&mut self, selector: u8, _bytes: &[u8], cx: &mut DeviceContext<'_>) {
        self.set_time(u64::from(selector) << 56, cx.now);
    }
}

impl Fuzzed for Finisher {
    fn input(&mut self, _selector: u8, _bytes: &[u8], _cx: &mut DeviceContext<'_>) {}
}

impl Fuzzed for Vmgenid {
    fn input(&mut self, selector: u8, _bytes: &[u8], _cx: &mut DeviceContext<'_>) {
        self.set_identity(u64::from(selector));
        assert!(self.take_edge(), "a new identity interrupts");
    }
}

impl Fuzzed for VirtioSlot {
    fn start(&mut self, cx: &mut DeviceContext<'_>) {
        let mut set = |register, value| self.write(register, 4, value, cx);
        for status in [0, 1, 3] {
            set(0x070, status);
        }
        set(0x024, 1);
        set(0x020, 1);
        set(0x070, 11);
        for queue in 0..QUEUES {
            set(0x030, queue);
            set(0x038, QUEUE_SIZE);
            for (register, address) in [(0x080, 0), (0x090, AVAILABLE), (0x0a0, USED)] {
                set(register, RAM_BASE + queue * QUEUE_STRIDE + address);
            }
            set(0x044, 1);
        }
        set(0x070, 15);
    }

    fn input(&mut self, selector: u8, bytes: &[u8], cx: &mut DeviceContext<'_>) {
        let port = PortId(selector >> 5);
        let event = match selector % 16 {
            0 => HostEvent::Input(bytes),
            1 => HostEvent::Resize { columns: u16::from(selector), rows: 1 },
            2 => HostEvent::PortOpen(port),
            3 => HostEvent::PortClose(port),
            4 => HostEvent::PortInput(port, bytes),
            5 | 6 => HostEvent::Frame(bytes),
            7 => HostEvent::Identity { seed: u64::from(selector) },
            _ => return offer(self, &mut Bytes(bytes), cx),
        };
        self.event(event, cx);
        if let VirtioDevice::Multiport(ports) = self.device() {
            let _ = (ports.room_bytes(port), ports.guest_open(port));
        }
    }

    fn take_over(&mut self, original: &Self) {
        let overlay = original.blk().map(|blk| blk.disk().overlay().clone());
        if let (VirtioDevice::Blk(blk), Some(overlay)) = (self.device_mut(), overlay) {
            blk.disk_mut().set_overlay(overlay).expect("of the same disk");
        }
    }
}

/// The queues [`Fuzzed::start`] sets up at the beginning of RAM.
const QUEUES: u64 = 8;
const QUEUE_SIZE: u64 = 8;
const QUEUE_STRIDE: u64 = 0x200;
const AVAILABLE: u64 = 0x80;
const USED: u64 = 0x100;

/// Makes a chain of nearly plausible descriptors available and notifies.
fn offer(slot: &mut VirtioSlot, bytes: &mut Bytes<'_>, cx: &mut DeviceContext<'_>) {
    let queue = u64::from(bytes.u8()) % QUEUES;
    let base = RAM_BASE + queue * QUEUE_STRIDE;
    for index in 0..u64::from(bytes.u8() % 8) {
        let mut descriptor = (RAM_BASE + u64::from(bytes.u16())).to_le_bytes().to_vec();
        descriptor.extend((u32::from(bytes.u16()) >> 4).to_le_bytes());
        // Mostly a chain: next, sometimes writable, rarely indirect or the end.
        let shape = bytes.u8();
        let flags = u16::from(shape & 2 | u8::from(shape < 224) | u8::from(shape > 250) << 2);
        descriptor.extend(flags.to_le_bytes());
        descriptor.extend((index as u16 + 1).to_le_bytes());
        cx.ram.write(base + 16 * index, &descriptor).expect("queues are in RAM");
    }
    let mut available = [0; 2];
    cx.ram.read(base + AVAILABLE + 2, &mut available).expect("queues are in RAM");
    let available = u16::from_le_bytes(available);
    let entry = base + AVAILABLE + 4 + 2 * (u64::from(available) % QUEUE_SIZE);
    cx.ram.write(entry, &[bytes.u8() % 10, 0]).expect("queues are in RAM");
    let available = available.wrapping_add(1).to_le_bytes();
    cx.ram.write(base + AVAILABLE + 2, &available).expect("queues are in RAM");
    slot.write(0x050, 4, queue, cx);
}
