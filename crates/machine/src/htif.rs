//! HTIF, the host-target interface of Berkeley's simulators, as far as bare-metal programs with a
//! `tohost` symbol use it: exit, print a character, and the proxied `write` and `exit` calls.

use serde::{Deserialize, Serialize};

use crate::devices::DeviceContext;
use crate::devices::finisher::FinisherRequest;
use crate::io::ConsoleId;
use crate::machine::Machine;

const SYSCALL_WRITE: u64 = 64;
const SYSCALL_EXIT: u64 = 93;
/// Most bytes one proxied write prints.
const WRITE_BYTES_MAX: u64 = 64 << 10;

/// Where the mailbox is, by physical address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Htif {
    pub(crate) tohost: u64,
    pub(crate) fromhost: Option<u64>,
}

impl Machine {
    /// Looks into the mailbox after a store to its page.
    pub(crate) fn htif_stored(&mut self) {
        let Some(Htif { tohost, fromhost }) = self.htif.clone() else { return };
        let command = self.read_u64(tohost).unwrap_or(0);
        if command == 0 {
            return;
        }
        let (device, function, payload) =
            (command >> 56, command >> 48 & 0xff, command << 16 >> 16);
        match (device, function) {
            (0, 0) if payload & 1 != 0 => return self.htif_exit(payload >> 1),
            (0, 0) => self.htif_syscall(payload),
            (1, 1) => self.htif_print(&[payload as u8]),
            _ => {}
        }
        self.htif_write(tohost, 0);
        if let Some(fromhost) = fromhost {
            let reply = if device == 0 { 1 } else { command & !0xffff_ffff_ffff };
            self.htif_write(fromhost, reply);
        }
    }

    fn htif_exit(&mut self, code: u64) {
        // A code that does not fit is still no success.
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        self.off = Some(FinisherRequest::PowerOff { code });
    }

    /// A proxied system call: number and arguments at `addr`, where the result goes as well.
    fn htif_syscall(&mut self, addr: u64) {
        let word = |machine: &Machine, n: u64| machine.read_u64(addr.wrapping_add(8 * n));
        let (Some(number), Some(first), Some(buffer), Some(len)) =
            (word(self, 0), word(self, 1), word(self, 2), word(self, 3))
        else {
            return;
        };
        let result = match number {
            SYSCALL_EXIT => return self.htif_exit(first),
            SYSCALL_WRITE => {
                let mut bytes = vec![0; len.min(WRITE_BYTES_MAX) as usize];
                match self.board.ram.read(buffer, &mut bytes) {
                    Ok(()) => {
                        self.htif_print(&bytes);
                        bytes.len() as i64
                    }
                    Err(_) => -14, // EFAULT
                }
            }
            _ => -38, // ENOSYS
        };
        self.htif_write(addr, result as u64);
    }

    fn htif_print(&mut self, bytes: &[u8]) {
        let now = self.now;
        let board = &mut self.board;
        let mut cx = DeviceContext { ram: &mut board.ram, now, outputs: &mut board.outputs };
        cx.emit_console(ConsoleId::Serial, bytes);
    }

    fn read_u64(&self, addr: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.board.ram.read(addr, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn htif_write(&mut self, addr: u64, value: u64) {
        // A mailbox outside RAM answers nobody; the guest's own fault.
        let _ = self.board.ram.write(addr, &value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
