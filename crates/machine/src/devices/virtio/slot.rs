//! One virtio-mmio slot: a transport and the device behind it.

use serde::{Deserialize, Serialize};

use super::blk::Blk;
use super::console::Console;
use super::multiport::Multiport;
use super::net::Net;
use super::queue::QueueError;
use super::rng::Rng;
use super::transport::{Action, Transport, TransportState};
use super::{FireError, Function, HostEvent, Io};
use crate::devices::{Device, DeviceContext, InvalidState, Persist, Stall, Validate};
use crate::instant::Instant;

/// Declares the device types once: the devices, their saved states and how to reach them.
macro_rules! devices {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A device of any type.
        pub enum VirtioDevice {
            $($(#[$doc])* $name($name),)*
        }

        /// The saved state of a device of any type.
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        pub enum VirtioDeviceState {
            $($(#[$doc])* $name(<$name as Persist>::State),)*
        }

        impl VirtioDevice {
            fn function(&self) -> &dyn Function {
                match self { $(VirtioDevice::$name(device) => device,)* }
            }

            fn function_mut(&mut self) -> &mut dyn Function {
                match self { $(VirtioDevice::$name(device) => device,)* }
            }
        }

        $(impl From<$name> for VirtioDevice {
            fn from(device: $name) -> Self {
                VirtioDevice::$name(device)
            }
        })*

        impl Validate for VirtioDeviceState {
            fn validate(&self) -> Result<(), InvalidState> {
                match self { $(VirtioDeviceState::$name(state) => state.validate(),)* }
            }
        }

        impl Persist for VirtioDevice {
            const NAME: &'static str = "virtio device";
            type State = VirtioDeviceState;

            fn save(&self) -> VirtioDeviceState {
                match self {
                    $(VirtioDevice::$name(device) => VirtioDeviceState::$name(device.save()),)*
                }
            }

            fn restore(&mut self, state: VirtioDeviceState) -> Result<(), InvalidState> {
                match (self, state) {
                    $((VirtioDevice::$name(device), VirtioDeviceState::$name(state)) => {
                        device.restore(state)
                    })*
                    _ => Err(InvalidState {
                        device: Self::NAME,
                        problem: "is of another type than the slot's".into(),
                    }),
                }
            }
        }
    };
}

devices! {
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

/// A device in its slot.
pub struct VirtioSlot {
    transport: Transport,
    device: VirtioDevice,
}

/// The saved state of a slot. A disk's written blocks are not in it: see [`Blk::disk`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VirtioSlotState {
    transport: TransportState,
    device: VirtioDeviceState,
}

impl VirtioSlot {
    /// Plugs a device in.
    pub fn new(device: impl Into<VirtioDevice>) -> Self {
        let device = device.into();
        let function = device.function();
        let transport =
            Transport::new(function.device_id(), function.features(), function.queue_sizes());
        VirtioSlot { transport, device }
    }

    /// The device.
    pub fn device(&self) -> &VirtioDevice {
        &self.device
    }

    /// The device, to change what no driver can see while it is changed (a disk's overlay).
    pub fn device_mut(&mut self) -> &mut VirtioDevice {
        &mut self.device
    }

    /// The disk in this slot, if it is one.
    pub fn blk(&self) -> Option<&Blk> {
        match &self.device {
            VirtioDevice::Blk(blk) => Some(blk),
            _ => None,
        }
    }

    /// Passes something from outside to the device.
    pub fn event(&mut self, event: HostEvent<'_>, cx: &mut DeviceContext<'_>) {
        let mut io = Io { transport: &mut self.transport, cx };
        let done = self.device.function_mut().event(event, &mut io);
        self.settle(done);
    }

    /// Whether the driver broke the protocol and must reset the device.
    pub fn needs_reset(&self) -> bool {
        self.transport.needs_reset()
    }

    fn notify(&mut self, queue: usize, cx: &mut DeviceContext<'_>) {
        let mut io = Io { transport: &mut self.transport, cx };
        let done = self.device.function_mut().notify(queue, &mut io);
        self.settle(done);
    }

    fn settle(&mut self, done: Result<(), QueueError>) {
        if done.is_err() {
            self.transport.fail();
        }
    }
}

impl Device for VirtioSlot {
    fn read(&mut self, offset: u64, size: u8, _cx: &mut DeviceContext<'_>) -> u64 {
        if offset < 0x100 {
            return self.transport.read(offset, size, &[]);
        }
        self.transport.read(offset, size, &self.device.function().config())
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, cx: &mut DeviceContext<'_>) {
        match self.transport.write(offset, size, value) {
            Action::None => {}
            Action::Notify(queue) => self.notify(queue, cx),
            Action::Start => {
                for queue in 0..self.transport.queue_count() {
                    self.notify(queue, cx);
                }
            }
            Action::Reset => self.device.function_mut().reset(cx),
        }
    }

    fn irq(&self) -> bool {
        self.transport.irq()
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.transport.live() { self.device.function().next_deadline() } else { None }
    }

    fn fire(&mut self, cx: &mut DeviceContext<'_>) -> Result<(), Stall> {
        if !self.transport.live() {
            return Ok(());
        }
        let mut io = Io { transport: &mut self.transport, cx };
        match self.device.function_mut().fire(&mut io) {
            Ok(()) => Ok(()),
            Err(FireError::Stall(stall)) => Err(stall),
            Err(FireError::Queue(error)) => {
                self.settle(Err(error));
                Ok(())
            }
        }
    }
}

impl Validate for VirtioSlotState {
    fn validate(&self) -> Result<(), InvalidState> {
        self.transport.validate()?;
        self.device.validate()
    }
}

impl Persist for VirtioSlot {
    const NAME: &'static str = "virtio slot";
    type State = VirtioSlotState;

    fn save(&self) -> VirtioSlotState {
        VirtioSlotState { transport: self.transport.save(), device: self.device.save() }
    }

    fn restore(&mut self, state: VirtioSlotState) -> Result<(), InvalidState> {
        let before = self.transport.save();
        self.transport.restore(state.transport)?;
        self.device.restore(state.device).inspect_err(|_| {
            self.transport.restore(before).expect("a transport takes its own state back");
        })
    }
}
