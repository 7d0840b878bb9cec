//! Queues of the ports (virtio 1.2 §5.3.2 and §5.3.6.2): data, and control messages about it.

use super::device::Multiport;
use super::persist::{Item, Message};
use crate::devices::virtio::Io;
use crate::devices::virtio::console::{fill, gather};
use crate::devices::virtio::queue::QueueError;
use crate::io::{Output, PortId};

const CONTROL_TO_GUEST: usize = 2;
const CONTROL_FROM_GUEST: usize = 3;

/// Linux fills a receive queue with whole pages, so long queues cost guest memory: with 25 ports
/// of 256 it would be 25 MiB.
const DATA_TO_GUEST_SIZE: u16 = 16;
const DATA_FROM_GUEST_SIZE: u16 = 32;
const CONTROL_SIZE: u16 = 32;

const DEVICE_READY: u16 = 0;
const DEVICE_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// `struct virtio_console_control`.
const MESSAGE_BYTES: usize = 8;

/// Most messages that wait for the guest. A driver causes about four per port.
pub(super) const CONTROL_MESSAGES_MAX: usize = 1024;

enum Role {
    Deliver(usize),
    Transmit(usize),
    SendControl,
    ReceiveControl,
}

/// Largest sizes of the queues of that many ports. One more pair than ports: the control queues.
pub(super) fn sizes(ports: usize) -> Vec<u16> {
    let data = [DATA_TO_GUEST_SIZE, DATA_FROM_GUEST_SIZE];
    let mut sizes = data.repeat(ports + 1);
    sizes[CONTROL_TO_GUEST] = CONTROL_SIZE;
    sizes[CONTROL_FROM_GUEST] = CONTROL_SIZE;
    sizes
}

/// Port 0 has queues 0 and 1; control has 2 and 3; port n has 2n + 2 and 2n + 3.
fn role(queue: usize) -> Role {
    let pair = queue / 2;
    match (pair, queue % 2) {
        (1, 0) => Role::SendControl,
        (1, _) => Role::ReceiveControl,
        (_, 0) => Role::Deliver(pair.saturating_sub(1)),
        (_, _) => Role::Transmit(pair.saturating_sub(1)),
    }
}

fn queue_to_guest(port: usize) -> usize {
    if port == 0 { 0 } else { 2 * port + 2 }
}

impl Multiport {
    pub(super) fn serve(&mut self, queue: usize, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        match role(queue) {
            Role::Deliver(port) => self.advance(port, io),
            Role::Transmit(port) => transmit(queue, port, io),
            Role::SendControl => self.send_control(io),
            Role::ReceiveControl => self.receive_control(io),
        }
    }

    /// Carries out what the host did to a port, in order, as far as the guest lets it.
    ///
    /// Data waits until a program in the guest has the port open (Linux drops it otherwise), and a
    /// close waits for the data before it, so that end of file follows the last byte.
    pub(super) fn advance(&mut self, index: usize, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        let queue = queue_to_guest(index);
        loop {
            let port = &mut self.state.ports[index];
            let told = match port.items.front_mut() {
                None => break,
                Some(Item::Open) => true,
                Some(Item::Close) => false,
                Some(Item::Data(data)) => {
                    if data.is_empty() {
                        port.items.pop_front();
                        continue;
                    }
                    if !port.guest_open {
                        break;
                    }
                    let Some(chain) = io.pop(queue)? else { break };
                    let written = fill(&chain, data, io.cx.ram)?;
                    io.complete(queue, &chain, written)?;
                    continue;
                }
            };
            port.items.pop_front();
            port.connected = told;
            if port.ready {
                self.tell(index, PORT_OPEN, u16::from(told))?;
            }
        }
        self.send_control(io)
    }

    fn tell(&mut self, port: usize, event: u16, value: u16) -> Result<(), QueueError> {
        if self.state.control.len() >= CONTROL_MESSAGES_MAX {
            return Err(QueueError::Request("the driver asks and does not listen"));
        }
        self.state.control.push_back(Message { port: port as u32, event, value });
        Ok(())
    }

    fn send_control(&mut self, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        while let Some(message) = self.state.control.front() {
            let Some(chain) = io.pop(CONTROL_TO_GUEST)? else { break };
            let mut bytes = message.port.to_le_bytes().to_vec();
            bytes.extend(message.event.to_le_bytes());
            bytes.extend(message.value.to_le_bytes());
            if message.event == PORT_NAME {
                // The name has no terminator (§5.3.6.2); its length is the buffer's.
                bytes.extend(self.names[message.port as usize].as_bytes());
            }
            if chain.writable_bytes() < bytes.len() as u64 {
                return Err(QueueError::Request("a control buffer too small for its message"));
            }
            chain.write(0, &bytes, io.cx.ram)?;
            self.state.control.pop_front();
            io.complete(CONTROL_TO_GUEST, &chain, bytes.len() as u32)?;
        }
        Ok(())
    }

    fn receive_control(&mut self, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        while let Some(chain) = io.pop(CONTROL_FROM_GUEST)? {
            if chain.readable_bytes() < MESSAGE_BYTES as u64 {
                return Err(QueueError::Request("a control message shorter than its header"));
            }
            let mut bytes = [0; MESSAGE_BYTES];
            chain.read(0, &mut bytes, io.cx.ram)?;
            let [p0, p1, p2, p3, e0, e1, v0, v1] = bytes;
            let port = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
            let (event, value) = (u16::from_le_bytes([e0, e1]), u16::from_le_bytes([v0, v1]));
            io.complete(CONTROL_FROM_GUEST, &chain, 0)?;
            self.handle(port, event, value, io)?;
        }
        self.send_control(io)
    }

    fn handle(
        &mut self,
        port: usize,
        event: u16,
        value: u16,
        io: &mut Io<'_, '_>,
    ) -> Result<(), QueueError> {
        if event == DEVICE_READY {
            if value == 1 {
                for port in 0..self.names.len() {
                    self.tell(port, DEVICE_ADD, 1)?;
                }
            }
            return Ok(());
        }
        let Some(state) = self.state.ports.get_mut(port) else { return Ok(()) };
        match event {
            PORT_READY if value == 1 => {
                state.ready = true;
                let connected = state.connected;
                self.tell(port, PORT_NAME, 1)?;
                if connected {
                    self.tell(port, PORT_OPEN, 1)?;
                }
                self.advance(port, io)
            }
            PORT_OPEN => self.guest_opened(port, value == 1, io),
            _ => Ok(()),
        }
    }

    fn guest_opened(
        &mut self,
        port: usize,
        open: bool,
        io: &mut Io<'_, '_>,
    ) -> Result<(), QueueError> {
        let state = &mut self.state.ports[port];
        if state.guest_open == open {
            return Ok(());
        }
        state.guest_open = open;
        let id = PortId(port as u8);
        if open {
            io.cx.outputs.push(Output::PortOpened { port: id });
        } else {
            // What its reader left is not for the next one.
            state.items.retain(|item| !matches!(item, Item::Data(_)));
            io.cx.outputs.push(Output::PortClosed { port: id });
        }
        self.advance(port, io)
    }
}

fn transmit(queue: usize, port: usize, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
    while let Some(chain) = io.pop(queue)? {
        let bytes = gather(&chain, io.cx.ram)?;
        io.cx.emit_port(PortId(port as u8), &bytes);
        io.complete(queue, &chain, 0)?;
    }
    Ok(())
}
