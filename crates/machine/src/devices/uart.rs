//! The serial port: a 16550A as QEMU's `ns16550a`, `ttyS0` in Linux.
//!
//! Owns the registers and the characters waiting for the guest. Does not model the line: sending
//! takes no time, the divisor is only remembered, and there is no parity or framing error.

mod device;
mod persist;
#[cfg(test)]
mod tests;

pub use device::Uart;
pub use persist::UartState;
