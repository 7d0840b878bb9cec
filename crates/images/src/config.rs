//! From an image to the machine that boots it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use stackvm_machine::{DiskConfig, MachineConfig};

use crate::source::FileSource;
use crate::store::{Image, StoreError};

/// virtio terminals of a machine that runs an image: the shell, and two for commands.
pub const CONSOLES: u8 = 3;
/// Commands that can run side by side without a terminal.
pub const EXEC_SETS: usize = 8;
/// The port on which the guest agent listens, by the name QEMU gave it.
pub const AGENT_PORT: &str = "org.qemu.guest_agent.0";
/// Serial number of an image's disk.
const DISK_SERIAL: &str = "image";

/// Names of the multiport console's ports: the agent's, then three streams for each command.
pub fn ports() -> Vec<String> {
    let streams = (0..EXEC_SETS).flat_map(|set| {
        ["in", "out", "err"].map(|stream| format!("org.stackvm.exec.{set}.{stream}"))
    });
    std::iter::once(AGENT_PORT.to_owned()).chain(streams).collect()
}

/// The configuration of a machine that boots `image`, with its files read. Everything the image
/// does not decide (harts, network, seed, RTC) is the default.
///
/// # Errors
/// [`StoreError::Io`] for files that cannot be read.
pub fn machine_config(image: &Image) -> Result<MachineConfig, StoreError> {
    let read = |path: &Path| match fs::read(path) {
        Ok(bytes) => Ok(Arc::new(bytes)),
        Err(error) => Err(StoreError::io(path, error)),
    };
    Ok(MachineConfig {
        kernel: Some(read(&image.kernel)?),
        initrd: image.initrd.as_deref().map(read).transpose()?,
        ..machine_shape(image)?
    })
}

/// The same without kernel and initial RAM disk, which are not read: for a machine that is not
/// switched on but goes on from somewhere.
///
/// # Errors
/// [`StoreError::Io`] for a disk that cannot be opened.
pub fn machine_shape(image: &Image) -> Result<MachineConfig, StoreError> {
    let disks = match &image.disk {
        None => Vec::new(),
        Some(path) => {
            let source = FileSource::open(path).map_err(|error| StoreError::io(path, error))?;
            let serial = DISK_SERIAL.to_owned();
            vec![DiskConfig { source: Arc::new(source), read_only: false, serial }]
        }
    };
    Ok(MachineConfig {
        memory_bytes: image.memory_bytes,
        append: image.append.clone(),
        disks,
        consoles: CONSOLES,
        ports: ports(),
        ..MachineConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_agreed_ones() {
        let ports = ports();
        assert_eq!(ports.len(), 25);
        assert_eq!(ports[0], "org.qemu.guest_agent.0");
        assert_eq!(ports[1], "org.stackvm.exec.0.in");
        assert_eq!(ports[24], "org.stackvm.exec.7.err");
        assert!(ports.len() <= stackvm_machine::config::limits::PORTS_MAX);
    }
}
