//! A small virtio driver for tests: it sets rings up in RAM and makes real requests.

use super::{HostEvent, VirtioDevice, VirtioSlot};
use crate::devices::{Device, DeviceContext, Persist};
use crate::instant::{Instant, Ticks};
use crate::io::Output;
use crate::memory::{RAM_BASE, Ram};

const RAM_BYTES: u64 = 8 << 20;
const QUEUE_STRIDE: u64 = 0x3000;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const BUFFERS: u64 = RAM_BASE + (1 << 20);

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// `VIRTIO_F_VERSION_1`.
pub(crate) const VERSION_1: u64 = 1 << 32;

/// The driver, with the machine around it.
pub(crate) struct Driver {
    pub(crate) slot: VirtioSlot,
    pub(crate) ram: Ram,
    pub(crate) now: Instant,
    outputs: Vec<Output>,
    queues: Vec<DriverQueue>,
    next_buffer: u64,
}

#[derive(Clone, Default)]
struct DriverQueue {
    size: u16,
    next_descriptor: u16,
    available: u16,
    used_seen: u16,
    /// Writable buffers of each chain under way, by head.
    writable: std::collections::BTreeMap<u16, Vec<(u64, u32)>>,
}

/// A chain the device gave back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Done {
    pub(crate) head: u16,
    pub(crate) written: u32,
    /// Everything in the chain's writable buffers.
    pub(crate) bytes: Vec<u8>,
}

impl Driver {
    /// A machine with the device in it and a driver that has started it.
    pub(crate) fn start(device: impl Into<VirtioDevice>) -> Self {
        let mut driver = Self::power_on(device);
        assert!(driver.negotiate(!0), "the device refused its own features");
        driver.set_up_queues();
        driver.set(0x070, 15);
        driver
    }

    /// A machine with the device in it.
    pub(crate) fn power_on(device: impl Into<VirtioDevice>) -> Self {
        Driver {
            slot: VirtioSlot::new(device),
            ram: Ram::new(RAM_BYTES).unwrap(),
            now: Instant::ZERO,
            outputs: Vec::new(),
            queues: Vec::new(),
            next_buffer: BUFFERS,
        }
    }

    /// Resets the device and accepts those of its features that are in `wanted`. True if it agrees.
    pub(crate) fn negotiate(&mut self, wanted: u64) -> bool {
        for status in [0, 1, 3] {
            self.set(0x070, status);
        }
        for half in 0..2 {
            self.set(0x014, half);
            self.set(0x024, half);
            let offered = self.get(0x010);
            self.set(0x020, offered & (wanted >> (32 * half)));
        }
        self.set(0x070, 11);
        self.get(0x070) & 8 != 0
    }

    pub(crate) fn set_up_queues(&mut self) {
        self.queues.clear();
        for index in 0.. {
            self.set(0x030, index);
            let size = self.get(0x034);
            if size == 0 {
                break;
            }
            let base = RAM_BASE + index * QUEUE_STRIDE;
            self.ram.write(base, &[0; QUEUE_STRIDE as usize]).unwrap();
            self.set(0x038, size);
            for (register, address) in [(0x080, 0), (0x090, AVAILABLE), (0x0a0, USED)] {
                self.set(register, (base + address) & 0xffff_ffff);
                self.set(register + 4, (base + address) >> 32);
            }
            self.set(0x044, 1);
            self.queues.push(DriverQueue { size: size as u16, ..DriverQueue::default() });
        }
    }

    pub(crate) fn get(&mut self, register: u64) -> u64 {
        self.with(|slot, cx| slot.read(register, 4, cx))
    }

    pub(crate) fn set(&mut self, register: u64, value: u64) {
        self.with(|slot, cx| slot.write(register, 4, value, cx));
    }

    pub(crate) fn event(&mut self, event: HostEvent<'_>) {
        self.with(|slot, cx| slot.event(event, cx));
    }

    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Whether the device had an interrupt up, which is acknowledged.
    pub(crate) fn take_interrupt(&mut self) -> u64 {
        let status = self.get(0x060);
        assert_eq!(self.slot.irq(), status != 0);
        self.set(0x064, status);
        assert!(!self.slot.irq());
        status
    }

    /// Makes a chain available, without telling the device. Returns its head.
    pub(crate) fn offer(&mut self, queue: usize, readable: &[&[u8]], writable: &[u32]) -> u16 {
        let mut segments = Vec::new();
        for bytes in readable {
            let addr = self.allocate(bytes.len() as u64);
            self.ram.write(addr, bytes).unwrap();
            segments.push((addr, bytes.len() as u32, 0));
        }
        for &len in writable {
            segments.push((self.allocate(u64::from(len)), len, WRITE));
        }
        let state = &mut self.queues[queue];
        let head = state.next_descriptor;
        let count = segments.len() as u16;
        let index = |n: u16| (head + n) % state.size;
        for (n, &(addr, len, flags)) in (0..).zip(&segments) {
            let next = if n + 1 < count { NEXT } else { 0 };
            let table = RAM_BASE + queue as u64 * QUEUE_STRIDE;
            let at = table + 16 * u64::from(index(n));
            self.ram.write(at, &descriptor(addr, len, flags | next, index(n + 1))).unwrap();
        }
        state.next_descriptor = index(count);
        let writable = segments.into_iter().filter(|s| s.2 == WRITE).map(|s| (s.0, s.1));
        state.writable.insert(head, writable.collect());
        self.publish(queue, head);
        head
    }

    /// Makes one descriptor that is an indirect table of `table` available.
    pub(crate) fn offer_indirect(&mut self, queue: usize, table: &[(u64, u32, u16, u16)]) {
        let at = self.allocate(16 * table.len() as u64);
        for (n, &(addr, len, flags, next)) in (0..).zip(table) {
            self.ram.write(at + 16 * n, &descriptor(addr, len, flags, next)).unwrap();
        }
        self.offer_raw(queue, at, 16 * table.len() as u32, INDIRECT, 0);
    }

    /// Makes a chain available that starts with just this descriptor, at index 0.
    pub(crate) fn offer_raw(&mut self, queue: usize, addr: u64, len: u32, flags: u16, next: u16) {
        let base = RAM_BASE + queue as u64 * QUEUE_STRIDE;
        self.ram.write(base, &descriptor(addr, len, flags, next)).unwrap();
        self.publish(queue, 0);
    }

    /// Puts a head into the available ring.
    pub(crate) fn publish(&mut self, queue: usize, head: u16) {
        let base = RAM_BASE + queue as u64 * QUEUE_STRIDE + AVAILABLE;
        let state = &mut self.queues[queue];
        let slot = u64::from(state.available % state.size);
        self.ram.write(base + 4 + 2 * slot, &head.to_le_bytes()).unwrap();
        state.available = state.available.wrapping_add(1);
        self.ram.write(base + 2, &state.available.to_le_bytes()).unwrap();
    }

    /// Sets the available index, however wrong.
    pub(crate) fn set_available(&mut self, queue: usize, index: u16) {
        let at = RAM_BASE + queue as u64 * QUEUE_STRIDE + AVAILABLE + 2;
        self.ram.write(at, &index.to_le_bytes()).unwrap();
    }

    /// Sets `VIRTQ_AVAIL_F_NO_INTERRUPT`.
    pub(crate) fn suppress_interrupts(&mut self, queue: usize) {
        let at = RAM_BASE + queue as u64 * QUEUE_STRIDE + AVAILABLE;
        self.ram.write(at, &[1, 0]).unwrap();
    }

    pub(crate) fn kick(&mut self, queue: usize) {
        self.set(0x050, queue as u64);
    }

    /// Offers a chain and tells the device.
    pub(crate) fn send(&mut self, queue: usize, readable: &[&[u8]], writable: &[u32]) -> u16 {
        let head = self.offer(queue, readable, writable);
        self.kick(queue);
        head
    }

    /// What the device gave back in a queue since the last call.
    pub(crate) fn collect(&mut self, queue: usize) -> Vec<Done> {
        let base = RAM_BASE + queue as u64 * QUEUE_STRIDE + USED;
        let mut index = [0; 2];
        self.ram.read(base + 2, &mut index).unwrap();
        let mut done = Vec::new();
        let state = &mut self.queues[queue];
        while state.used_seen != u16::from_le_bytes(index) {
            let mut element = [0; 8];
            let at = base + 4 + 8 * u64::from(state.used_seen % state.size);
            self.ram.read(at, &mut element).unwrap();
            let head = u16::from_le_bytes([element[0], element[1]]);
            let written = u32::from_le_bytes(element[4..].try_into().unwrap());
            let mut bytes = Vec::new();
            for (addr, len) in state.writable.remove(&head).unwrap_or_default() {
                let mut part = vec![0; len as usize];
                self.ram.read(addr, &mut part).unwrap();
                bytes.extend(part);
            }
            done.push(Done { head, written, bytes });
            state.used_seen = state.used_seen.wrapping_add(1);
        }
        done
    }

    /// Lets virtual time pass, with everything that is due.
    pub(crate) fn pass(&mut self, span: Ticks) {
        let until = self.now + span;
        while let Some(at) = self.slot.next_deadline().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.fire().unwrap();
        }
        self.now = until;
    }

    pub(crate) fn fire(&mut self) -> Result<(), crate::devices::Stall> {
        self.with(|slot, cx| slot.fire(cx))
    }

    /// Another machine in the same state, by way of its saved bytes, around `device`.
    pub(crate) fn restored(&self, device: impl Into<VirtioDevice>) -> Self {
        let saved = postcard::to_stdvec(&self.slot.save()).unwrap();
        let mut other = Driver {
            slot: VirtioSlot::new(device),
            ram: Ram::new(RAM_BYTES).unwrap(),
            now: self.now,
            outputs: self.outputs.clone(),
            queues: self.queues.clone(),
            next_buffer: self.next_buffer,
        };
        other.ram.write(RAM_BASE, &self.ram_bytes()).unwrap();
        other.slot.restore(postcard::from_bytes(&saved).unwrap()).unwrap();
        assert!(other.slot.save() == self.slot.save());
        other
    }

    pub(crate) fn ram_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; RAM_BYTES as usize];
        self.ram.read(RAM_BASE, &mut bytes).unwrap();
        bytes
    }

    /// Uses the memory of earlier buffers again.
    pub(crate) fn recycle(&mut self) {
        self.next_buffer = BUFFERS;
    }

    pub(crate) fn allocate(&mut self, len: u64) -> u64 {
        let at = self.next_buffer;
        // Odd addresses and page crossings on purpose.
        self.next_buffer += len + 13;
        assert!(self.next_buffer < RAM_BASE + RAM_BYTES, "the test needs more RAM");
        at
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut VirtioSlot, &mut DeviceContext<'_>) -> T) -> T {
        let Driver { slot, ram, now, outputs, .. } = self;
        run(slot, &mut DeviceContext { ram, now: *now, outputs })
    }
}

fn descriptor(addr: u64, len: u32, flags: u16, next: u16) -> Vec<u8> {
    let mut bytes = addr.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(next.to_le_bytes());
    bytes
}
