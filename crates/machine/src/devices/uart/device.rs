//! Registers of the 16550A (National Semiconductor PC16550D data sheet, §8).

use super::persist::UartState;
use crate::config::limits::PENDING_INPUT_BYTES_MAX;
use crate::devices::{Device, DeviceContext};
use crate::io::ConsoleId;

/// Depth of the receive FIFO the guest sees.
pub(super) const FIFO_BYTES: usize = 16;

const IER_RECEIVE: u8 = 0x01;
const IER_TRANSMIT: u8 = 0x02;
const IER_MASK: u8 = 0x0f;

const IIR_NONE: u8 = 0x01;
const IIR_TRANSMIT: u8 = 0x02;
const IIR_RECEIVE: u8 = 0x04;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_FIFO: u8 = 0xc0;

const FCR_ENABLE: u8 = 0x01;
const FCR_RESET_RECEIVE: u8 = 0x02;
const FCR_KEPT: u8 = 0xc9;

const LCR_DIVISOR: u8 = 0x80;

const MCR_LOOPBACK: u8 = 0x10;
const MCR_MASK: u8 = 0x1f;

const LSR_DATA_READY: u8 = 0x01;
const LSR_TRANSMITTER_EMPTY: u8 = 0x60;

const MSR_CONNECTED: u8 = 0xb0;

/// The serial port.
#[derive(Default)]
pub struct Uart {
    pub(super) state: UartState,
}

impl Uart {
    /// A port as it is after power-on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Characters arriving on the line. Those beyond [`Uart::room_bytes`] are lost, as on any
    /// serial line whose reader is too slow.
    pub fn input(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(self.room_bytes());
        self.state.pending.extend(&bytes[..taken]);
    }

    /// Takes the next character of the line, for firmware that reads the console itself.
    pub fn take_byte(&mut self) -> Option<u8> {
        self.state.pending.pop_front()
    }

    /// Takes the transmitter's interrupt edge, if there is one: the board passes it to the PLIC.
    ///
    /// As on QEMU, where an interrupt that is completed with its line still up is not made again:
    /// small kernels never read IIR, and would be interrupted forever by an empty transmitter.
    pub fn take_edge(&mut self) -> bool {
        std::mem::take(&mut self.state.transmit_edge)
    }

    /// How many characters [`Uart::input`] still takes.
    pub fn room_bytes(&self) -> usize {
        PENDING_INPUT_BYTES_MAX.saturating_sub(self.state.pending.len())
    }

    /// Characters the guest sees in its FIFO now.
    fn visible(&self) -> usize {
        let waiting = if self.loopback() { &self.state.looped } else { &self.state.pending };
        waiting.len().min(if self.fifo() { FIFO_BYTES } else { 1 })
    }

    fn fifo(&self) -> bool {
        self.state.fcr & FCR_ENABLE != 0
    }

    fn loopback(&self) -> bool {
        self.state.mcr & MCR_LOOPBACK != 0
    }

    fn divisor_latch(&self) -> bool {
        self.state.lcr & LCR_DIVISOR != 0
    }

    /// The interrupt with the highest priority, without the FIFO bits.
    ///
    /// Fewer characters than the trigger level make the character timeout interrupt at once: on a
    /// line without bit times, four character times have always passed.
    fn interrupt_id(&self) -> u8 {
        let visible = self.visible();
        if self.state.ier & IER_RECEIVE != 0 && visible > 0 {
            let trigger = match self.state.fcr >> 6 {
                _ if !self.fifo() => 1,
                0 => 1,
                1 => 4,
                2 => 8,
                _ => 14,
            };
            return if visible >= trigger { IIR_RECEIVE } else { IIR_TIMEOUT };
        }
        if self.state.ier & IER_TRANSMIT != 0 && self.state.transmit_pending {
            return IIR_TRANSMIT;
        }
        IIR_NONE
    }

    fn read_iir(&mut self) -> u8 {
        let id = self.interrupt_id();
        if id == IIR_TRANSMIT {
            self.state.transmit_pending = false;
        }
        if self.fifo() { id | IIR_FIFO } else { id }
    }

    fn receive(&mut self) -> u8 {
        let loopback = self.loopback();
        let waiting = if loopback { &mut self.state.looped } else { &mut self.state.pending };
        waiting.pop_front().unwrap_or(0)
    }

    fn modem_status(&self) -> u8 {
        if !self.loopback() {
            return MSR_CONNECTED;
        }
        // Loopback wires DTR to DSR, RTS to CTS, OUT1 to RI and OUT2 to DCD; Linux probes for it.
        let mcr = self.state.mcr;
        (mcr & 0x0c) << 4 | (mcr & 0x02) << 3 | (mcr & 0x01) << 5
    }

    fn transmit(&mut self, byte: u8, cx: &mut DeviceContext<'_>) {
        if !self.loopback() {
            cx.emit_console(ConsoleId::Serial, &[byte]);
        } else if self.state.looped.len() < FIFO_BYTES {
            self.state.looped.push_back(byte);
        }
        self.transmitter_empty();
    }

    /// The transmitter has become empty, which is an interrupt if that is enabled.
    fn transmitter_empty(&mut self) {
        self.state.transmit_pending = true;
        self.state.transmit_edge |= self.state.ier & IER_TRANSMIT != 0;
    }

    fn write_ier(&mut self, value: u8) {
        let enabled = value & !self.state.ier;
        self.state.ier = value & IER_MASK;
        if enabled & IER_TRANSMIT != 0 {
            // The transmitter is always empty, so enabling its interrupt raises it.
            self.transmitter_empty();
        }
    }

    fn write_fcr(&mut self, value: u8) {
        // What the host typed waits on the line rather than in the FIFO, so only looped characters
        // can be dropped: a driver that starts up does not eat what was typed ahead of it.
        if value & FCR_RESET_RECEIVE != 0 || (value ^ self.state.fcr) & FCR_ENABLE != 0 {
            self.state.looped.clear();
        }
        self.state.fcr = if value & FCR_ENABLE != 0 { value & FCR_KEPT } else { 0 };
    }
}

impl Device for Uart {
    fn read(&mut self, offset: u64, _size: u8, _cx: &mut DeviceContext<'_>) -> u64 {
        let [low, high] = self.state.divisor.to_le_bytes();
        u64::from(match offset {
            0 if self.divisor_latch() => low,
            0 => self.receive(),
            1 if self.divisor_latch() => high,
            1 => self.state.ier,
            2 => self.read_iir(),
            3 => self.state.lcr,
            4 => self.state.mcr,
            5 => LSR_TRANSMITTER_EMPTY | if self.visible() > 0 { LSR_DATA_READY } else { 0 },
            6 => self.modem_status(),
            7 => self.state.scratch,
            _ => 0,
        })
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, cx: &mut DeviceContext<'_>) {
        let value = value as u8;
        let [low, high] = self.state.divisor.to_le_bytes();
        match offset {
            0 if self.divisor_latch() => self.state.divisor = u16::from_le_bytes([value, high]),
            0 => self.transmit(value, cx),
            1 if self.divisor_latch() => self.state.divisor = u16::from_le_bytes([low, value]),
            1 => self.write_ier(value),
            2 => self.write_fcr(value),
            3 => self.state.lcr = value,
            4 => {
                self.state.mcr = value & MCR_MASK;
                if !self.loopback() {
                    self.state.looped.clear();
                }
            }
            7 => self.state.scratch = value,
            _ => {}
        }
    }

    /// The line is up while there is something to receive; see [`Uart::take_edge`] for the rest.
    fn irq(&self) -> bool {
        matches!(self.interrupt_id(), IIR_RECEIVE | IIR_TIMEOUT)
    }
}
