//! The file of a saved machine. Owns its format; nothing is believed about lengths.
//!
//! # Format
//!
//! All integers are little-endian. `STACKVM\0`, format version (`u32`), length of the state
//! (`u32`) and the state (postcard); then RAM and each disk as records of a page number (`u64`)
//! and 4096 bytes, ended by the page number `u64::MAX`; at last the machine's digest (32 bytes).
//! Pages of zeroes in RAM and blocks that the guest has not written are left out.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::{MachineState, RestoreError, check_version, decode_state, encode_state};
use crate::config::{ConfigError, MachineConfig};
use crate::devices::disk::Overlay;
use crate::digest::Digest;
use crate::machine::Machine;
use crate::memory::PAGE_BYTES;

pub(super) const MAGIC: [u8; 8] = *b"STACKVM\0";
/// Raised when a saved machine of before can no longer be read.
pub(super) const FORMAT_VERSION: u32 = 2;
/// Most bytes the state beside RAM and disks takes: devices hold at most a few MiB of input each.
const STATE_BYTES_MAX: u32 = 128 << 20;
/// Ends the records of RAM or a disk.
const NO_PAGE: u64 = u64::MAX;

impl Machine {
    /// Writes the whole machine to `sink`.
    ///
    /// # Errors
    /// The sink's.
    pub fn save(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        let ram = self.freeze_ram();
        let state = encode_state(&self.state());
        let length = u32::try_from(state.len()).map_err(io::Error::other)?;
        sink.write_all(&MAGIC)?;
        sink.write_all(&FORMAT_VERSION.to_le_bytes())?;
        sink.write_all(&length.to_le_bytes())?;
        sink.write_all(&state)?;
        let mut result = Ok(());
        ram.for_each_nonzero_page(|page, bytes| {
            if result.is_ok() {
                result = write_page(sink, page.into(), bytes);
            }
        });
        result?;
        sink.write_all(&NO_PAGE.to_le_bytes())?;
        for overlay in self.overlays() {
            for (block, bytes) in overlay.iter() {
                write_page(sink, block, bytes)?;
            }
            sink.write_all(&NO_PAGE.to_le_bytes())?;
        }
        sink.write_all(self.digest().as_bytes())
    }

    /// The machine that [`Machine::save`] wrote, from the same configuration (whose kernel, initrd
    /// and firmware files are not looked at).
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn restore(config: &MachineConfig, source: &mut dyn Read) -> Result<Machine, RestoreError> {
        let mut machine = Machine::read(config, source)?;
        let mut expected = [0; 32];
        source.read_exact(&mut expected)?;
        let found = machine.digest();
        if *found.as_bytes() != expected {
            return Err(RestoreError::Digest { found, expected: Digest::from_bytes(expected) });
        }
        Ok(machine)
    }

    /// Reads all but the digest.
    pub(super) fn read(
        config: &MachineConfig,
        source: &mut dyn Read,
    ) -> Result<Machine, RestoreError> {
        let mut head = [0; 16];
        source.read_exact(&mut head)?;
        if head[..8] != MAGIC {
            return Err(RestoreError::Format("it does not begin with STACKVM".into()));
        }
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        check_version("format", word(8), FORMAT_VERSION)?;
        let state = read_state(source, word(12))?;
        let mut machine = Machine::assemble(config)?;
        let pages = machine.board.ram.size_bytes() / PAGE_BYTES as u64;
        while let Some((page, bytes)) = read_page(source, pages, "RAM")? {
            machine.board.ram.reserve(1).map_err(ConfigError::HostMemory)?;
            let addr = crate::memory::RAM_BASE + page * PAGE_BYTES as u64;
            machine.board.ram.write(addr, &*bytes).expect("the page is inside RAM");
        }
        machine.board.ram.take_written();
        let mut overlays = Vec::new();
        for disk in machine.disks() {
            let blocks = machine.board.disk(disk).expect("a disk").disk().blocks();
            let mut overlay = Overlay::default();
            while let Some((block, bytes)) = read_page(source, blocks, "disk")? {
                overlay.insert(block, Arc::from(bytes));
            }
            overlays.push(overlay);
        }
        machine.set_overlays(overlays)?;
        machine.set_state(state)?;
        Ok(machine)
    }
}

fn read_state(source: &mut dyn Read, length: u32) -> Result<MachineState, RestoreError> {
    if length > STATE_BYTES_MAX {
        return Err(RestoreError::Format(format!("a state of {length} bytes")));
    }
    // Grows with what is really there: the length alone allocates nothing.
    let mut bytes = Vec::new();
    source.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    decode_state(&bytes)
}

fn write_page(sink: &mut dyn Write, number: u64, bytes: &[u8; PAGE_BYTES]) -> io::Result<()> {
    sink.write_all(&number.to_le_bytes())?;
    sink.write_all(bytes)
}

type Page = Box<[u8; PAGE_BYTES]>;

/// The next record, whose number is below `count`; `None` at the end of the records.
fn read_page(
    source: &mut dyn Read,
    count: u64,
    what: &str,
) -> Result<Option<(u64, Page)>, RestoreError> {
    let mut number = [0; 8];
    source.read_exact(&mut number)?;
    let number = u64::from_le_bytes(number);
    if number == NO_PAGE {
        return Ok(None);
    }
    if number >= count {
        return Err(RestoreError::Format(format!("page {number} of a {what} of {count}")));
    }
    let mut bytes = Box::new([0; PAGE_BYTES]);
    source.read_exact(&mut bytes[..])?;
    Ok(Some((number, bytes)))
}
