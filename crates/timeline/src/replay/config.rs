//! What a timeline's machine is made of: what only a reset needs is read when one needs it.

use std::sync::Arc;

use stackvm_machine::MachineConfig;
use stackvm_store::Chunks;

use crate::header::{ConfigureError, Header, HeaderFirmware};
use crate::timeline::Timeline;

/// A machine's configuration.
pub(super) struct Configuration {
    header: Header,
    chunks: Arc<dyn Chunks>,
    shape: MachineConfig,
    boot: Option<MachineConfig>,
}

impl Configuration {
    pub(super) fn new(timeline: &Timeline) -> Result<Configuration, ConfigureError> {
        let (header, chunks) = (timeline.header().clone(), timeline.chunks());
        let firmware = HeaderFirmware::Auto;
        let shape = Header { kernel: None, initrd: None, firmware, ..header.clone() };
        let shape = shape.machine_config(&chunks)?;
        Ok(Configuration { header, chunks, shape, boot: None })
    }

    /// Without kernel, initial RAM disk and firmware.
    pub(super) fn shape(&self) -> &MachineConfig {
        &self.shape
    }

    /// With them.
    pub(super) fn boot(&mut self) -> Result<&MachineConfig, ConfigureError> {
        if self.boot.is_none() {
            self.boot = Some(self.header.machine_config(&self.chunks)?);
        }
        Ok(self.boot.as_ref().expect("just read"))
    }
}
