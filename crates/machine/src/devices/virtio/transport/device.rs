//! Registers of the transport (virtio 1.2 §4.2.2).

use super::persist::TransportState;
use crate::devices::read_bytes;
use crate::devices::virtio::queue::{Chain, Queue, QueueError};
use crate::memory::Ram;

/// `VIRTIO_F_VERSION_1`.
pub(crate) const FEATURE_VERSION_1: u64 = 1 << 32;
/// `VIRTIO_F_INDIRECT_DESC`.
const FEATURE_INDIRECT: u64 = 1 << 28;

const MAGIC: u64 = 0x7472_6976;
const VERSION: u64 = 2;
/// "QEMU": teaching kernels for the `virt` board compare it.
const VENDOR: u64 = 0x554d_4551;

const STATUS_DRIVER_OK: u8 = 4;
const STATUS_FEATURES_OK: u8 = 8;
const STATUS_NEEDS_RESET: u8 = 64;
const STATUS_FAILED: u8 = 128;
/// What a driver may set.
const STATUS_DRIVER: u8 = 1 | 2 | STATUS_DRIVER_OK | STATUS_FEATURES_OK | STATUS_FAILED;

const INTERRUPT_USED: u8 = 1;
const INTERRUPT_CONFIG: u8 = 2;

const CONFIG_BASE: u64 = 0x100;

/// One transport.
pub struct Transport {
    device_id: u32,
    offered: u64,
    queue_sizes: Vec<u16>,
    pub(super) state: TransportState,
}

/// What a register write asks of the device behind the transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Nothing.
    None,
    /// Look at a queue.
    Notify(usize),
    /// Look at every queue: the driver is ready.
    Start,
    /// Forget the driver.
    Reset,
}

/// What a driver reads from a slot without a device (virtio 1.2 §4.2.2.2: device id 0).
pub fn read_empty(offset: u64, size: u8) -> u64 {
    match (offset, size) {
        (0x000, 4) => MAGIC,
        (0x004, 4) => VERSION,
        (0x00c, 4) => VENDOR,
        _ => 0,
    }
}

impl Transport {
    /// A transport for a device with these features (without the transport's own) and queues.
    pub fn new(device_id: u32, features: u64, queue_sizes: Vec<u16>) -> Self {
        let state = TransportState::new(queue_sizes.len());
        let offered = features | FEATURE_VERSION_1 | FEATURE_INDIRECT;
        Transport { device_id, offered, queue_sizes, state }
    }

    /// Whether the device may touch its queues.
    pub fn live(&self) -> bool {
        self.state.status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET | STATUS_FAILED)
            == STATUS_DRIVER_OK
    }

    /// Whether the device has stopped until the driver resets it.
    pub fn needs_reset(&self) -> bool {
        self.state.status & STATUS_NEEDS_RESET != 0
    }

    /// Whether the driver has accepted a feature.
    pub fn negotiated(&self, feature: u64) -> bool {
        self.state.driver_features & feature != 0
    }

    /// Level of the interrupt line.
    pub fn irq(&self) -> bool {
        self.state.interrupt != 0
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queue_sizes.len()
    }

    /// The configuration space has changed: the driver is told.
    pub fn config_changed(&mut self) {
        self.state.config_generation = self.state.config_generation.wrapping_add(1);
        if self.live() {
            self.state.interrupt |= INTERRUPT_CONFIG;
        }
    }

    /// Stops the device until the driver resets it (virtio 1.2 §2.1.2).
    pub fn fail(&mut self) {
        if self.state.status & STATUS_DRIVER_OK != 0 {
            self.state.interrupt |= INTERRUPT_CONFIG;
        }
        self.state.status |= STATUS_NEEDS_RESET;
    }

    /// Takes the next chain from a queue, if the device is live and there is one.
    ///
    /// # Errors
    /// [`QueueError`] for a malformed queue.
    pub fn pop(&mut self, queue: usize, ram: &Ram) -> Result<Option<Chain>, QueueError> {
        if !self.live() {
            return Ok(None);
        }
        self.state.queues[queue].pop(ram)
    }

    /// Puts the chain popped last from a queue back, to be popped again.
    pub fn undo_pop(&mut self, queue: usize) {
        self.state.queues[queue].undo_pop();
    }

    /// Gives a chain back to the driver, and interrupts it if it wants that.
    ///
    /// # Errors
    /// [`QueueError`] when the used ring is not in RAM.
    pub fn complete(
        &mut self,
        queue: usize,
        head: u16,
        written: u32,
        ram: &mut Ram,
    ) -> Result<(), QueueError> {
        if self.state.queues[queue].push_used(head, written, ram)? {
            self.state.interrupt |= INTERRUPT_USED;
        }
        Ok(())
    }

    /// Reads a register; `config` is the device's configuration space. Registers below it are 32
    /// bits wide, and other accesses to them read 0.
    pub fn read(&self, offset: u64, size: u8, config: &[u8]) -> u64 {
        if offset >= CONFIG_BASE {
            return read_bytes(config, offset - CONFIG_BASE, size);
        }
        if size != 4 {
            return 0;
        }
        let selected = usize::from(self.state.queue_select);
        let queue = self.state.queues.get(selected);
        match offset {
            0x000 => MAGIC,
            0x004 => VERSION,
            0x008 => u64::from(self.device_id),
            0x00c => VENDOR,
            0x010 => half(self.offered, self.state.device_features_select),
            0x034 => self.queue_sizes.get(selected).map_or(0, |&size| u64::from(size)),
            0x044 => queue.map_or(0, |queue| u64::from(queue.ready)),
            0x060 => u64::from(self.state.interrupt),
            0x070 => u64::from(self.state.status),
            // No shared memory region exists: length and base read as all ones (§4.2.2.1).
            0x0b0 | 0x0b4 | 0x0b8 | 0x0bc => 0xffff_ffff,
            0x0fc => u64::from(self.state.config_generation),
            _ => 0,
        }
    }

    /// Writes a register. No device here has a writable configuration field.
    pub(crate) fn write(&mut self, offset: u64, size: u8, value: u64) -> Action {
        if size != 4 || offset >= CONFIG_BASE {
            return Action::None;
        }
        let value = value as u32;
        match offset {
            0x014 => self.state.device_features_select = value,
            0x020 => self.write_features(value),
            0x024 => self.state.driver_features_select = value,
            0x030 => self.state.queue_select = u16::try_from(value).unwrap_or(u16::MAX),
            0x050 => return self.notify(value),
            0x064 => self.state.interrupt &= !(value as u8),
            0x070 => return self.write_status(value),
            _ => self.write_queue(offset, value),
        }
        Action::None
    }

    fn write_features(&mut self, value: u32) {
        if self.state.status & STATUS_FEATURES_OK != 0 {
            return;
        }
        let features = &mut self.state.driver_features;
        match self.state.driver_features_select {
            0 => *features = (*features & !0xffff_ffff) | u64::from(value),
            1 => *features = (*features & 0xffff_ffff) | u64::from(value) << 32,
            _ => {}
        }
    }

    fn notify(&self, value: u32) -> Action {
        let queue = value as usize;
        if self.live() && queue < self.queue_count() { Action::Notify(queue) } else { Action::None }
    }

    /// `VIRTIO_F_VERSION_1` is offered but not insisted on (§6.1 lets the device choose): xv6 and
    /// other teaching kernels speak the modern layout without accepting any high feature bit.
    fn write_status(&mut self, value: u32) -> Action {
        if value == 0 {
            let generation = self.state.config_generation;
            self.state = TransportState::new(self.queue_count());
            self.state.config_generation = generation;
            return Action::Reset;
        }
        let before = self.state.status;
        // A driver only adds bits; it cannot clear NEEDS_RESET but by a reset.
        let mut after = before | (value as u8 & STATUS_DRIVER);
        let added = after & !before;
        if added & STATUS_FEATURES_OK != 0 && self.state.driver_features & !self.offered != 0 {
            after &= !STATUS_FEATURES_OK;
        }
        if added & STATUS_DRIVER_OK != 0 && after & STATUS_FEATURES_OK == 0 {
            // The legacy way of starting up: it would go on to use the legacy layout.
            after |= STATUS_NEEDS_RESET;
        }
        self.state.status = after;
        if added & STATUS_DRIVER_OK != 0 && self.live() { Action::Start } else { Action::None }
    }

    fn write_queue(&mut self, offset: u64, value: u32) {
        let selected = usize::from(self.state.queue_select);
        let Some(&size_max) = self.queue_sizes.get(selected) else { return };
        let queue = &mut self.state.queues[selected];
        if offset == 0x044 {
            if value & 1 == 0 {
                queue.ready = false;
            } else if !queue.ready {
                (queue.next_available, queue.next_used) = (0, 0);
                if queue.size.is_power_of_two() && queue.size <= size_max {
                    queue.ready = true;
                } else {
                    self.fail();
                }
            }
            return;
        }
        if queue.ready {
            // Changing a queue in use is forbidden to drivers (§4.2.2.2).
            return;
        }
        let Queue { size, descriptors, available, used, .. } = queue;
        match offset {
            0x038 => *size = u16::try_from(value).unwrap_or(0),
            0x080 => set_low(descriptors, value),
            0x084 => set_high(descriptors, value),
            0x090 => set_low(available, value),
            0x094 => set_high(available, value),
            0x0a0 => set_low(used, value),
            0x0a4 => set_high(used, value),
            _ => {}
        }
    }
}

fn half(value: u64, select: u32) -> u64 {
    match select {
        0 => value & 0xffff_ffff,
        1 => value >> 32,
        _ => 0,
    }
}

fn set_low(register: &mut u64, value: u32) {
    *register = (*register & !0xffff_ffff) | u64::from(value);
}

fn set_high(register: &mut u64, value: u32) {
    *register = (*register & 0xffff_ffff) | u64::from(value) << 32;
}
