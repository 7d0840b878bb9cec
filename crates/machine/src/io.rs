//! What crosses the machine's edge: inputs, outputs, and the ids they name.

use serde::{Deserialize, Serialize};

/// A terminal of the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ConsoleId {
    /// The 16550 UART, `ttyS0` in Linux: firmware and kernel log.
    Serial,
    /// The n-th single-port virtio console, `hvcN` in Linux: shells.
    Hvc(u8),
}

/// A named port of the multiport virtio console (agent, exec streams), by its index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PortId(pub u8);

/// A disk, by its position on the command line (0 is `vda`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct DiskId(pub u8);

/// A network interface, by its position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NicId(pub u8);

/// Something put into the machine from outside. The complete list of these, each with its instant,
/// decides the machine's whole future.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// Bytes typed at a terminal.
    Console {
        /// Which terminal.
        console: ConsoleId,
        /// What was typed.
        bytes: Vec<u8>,
    },
    /// A terminal's new size in characters.
    Resize {
        /// Which terminal; the serial line has no size and ignores it.
        console: ConsoleId,
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The host opened its end of a port.
    PortOpen {
        /// Which port.
        port: PortId,
    },
    /// The host closed its end of a port: end of file for the guest's reader.
    PortClose {
        /// Which port.
        port: PortId,
    },
    /// Bytes for a port.
    Port {
        /// Which port.
        port: PortId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// An Ethernet frame from outside, without FCS or virtio header.
    Frame {
        /// The interface that receives it.
        nic: NicId,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// The cost of an instruction from now on, in ticks; a power of two from 1 to 1024.
    Rate {
        /// Ticks per instruction.
        ticks: u32,
    },
    /// The machine learns that it is a fresh fork: new VMGenID (with its interrupt), entropy seed,
    /// RTC base and MAC addresses.
    Identity {
        /// Everything new is derived from this.
        seed: u64,
        /// Nanoseconds since 1970 that the RTC shows at this instant.
        rtc_ns: u64,
    },
}

/// Something that left the machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Output {
    /// Bytes a guest wrote to a terminal.
    Console {
        /// Which terminal.
        console: ConsoleId,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// Bytes a guest wrote to a port.
    Port {
        /// Which port.
        port: PortId,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// A guest program opened its end of a port.
    PortOpened {
        /// Which port.
        port: PortId,
    },
    /// A guest program closed its end of a port.
    PortClosed {
        /// Which port.
        port: PortId,
    },
    /// An Ethernet frame a guest sent, without FCS or virtio header.
    Frame {
        /// The interface that sent it.
        nic: NicId,
        /// The frame.
        bytes: Vec<u8>,
    },
}

impl Output {
    /// Bytes of host memory it holds, roughly.
    pub fn len_bytes(&self) -> usize {
        let content = match self {
            Output::Console { bytes, .. }
            | Output::Port { bytes, .. }
            | Output::Frame { bytes, .. } => bytes.len(),
            Output::PortOpened { .. } | Output::PortClosed { .. } => 0,
        };
        size_of::<Output>() + content
    }
}
