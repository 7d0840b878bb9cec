//! What must hold in a header that comes from outside.

use stackvm_machine::boot::COMMAND_LINE_BYTES_MAX;
use stackvm_machine::config::limits::{
    HARTS_MAX, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, PORTS_MAX, VIRTIO_SLOTS_MAX,
};
use stackvm_machine::persist::{DETERMINISM_VERSION, PROFILE};
use stackvm_store::PAGE_BYTES;

use super::{Content, DiskBase, Header};
use crate::limits::{BOOT_FILE_BYTES_MAX, DISK_BYTES_MAX, NAME_BYTES_MAX};
use crate::timeline::{OpenError, is_blob};

/// Bytes of a disk's serial number.
const SERIAL_BYTES_MAX: usize = 20;
const SECTOR_BYTES: u64 = stackvm_machine::devices::disk::SECTOR_BYTES;

/// What a header is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A journal, which may refer to files of this computer.
    #[cfg(unix)]
    Journal,
    /// A `.vmcast`, which has everything in it.
    Vmcast,
}

impl Header {
    /// Checks that a machine of this program can be made from it, as far as that can be seen
    /// without its chunks.
    pub(crate) fn check(&self, place: &str, kind: Place) -> Result<(), OpenError> {
        if self.profile != PROFILE || self.determinism_version != DETERMINISM_VERSION {
            let name =
                |profile: &str, version: u32| format!("profile {profile}, determinism {version}");
            return Err(OpenError::Version {
                place: place.to_owned(),
                found: name(&self.profile, self.determinism_version),
                expected: name(PROFILE, DETERMINISM_VERSION),
            });
        }
        let problem = self.problem().or_else(|| self.content_problem(kind));
        problem.map_or(Ok(()), |problem| {
            let problem = format!("its header: {problem}");
            Err(OpenError::Damaged { place: place.to_owned(), problem })
        })
    }

    fn problem(&self) -> Option<String> {
        let memory = self.memory_bytes;
        let devices = usize::from(self.nics) + usize::from(self.consoles) + self.disks.len();
        let checks = [
            (
                (MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(&memory)
                    && memory.is_multiple_of(PAGE_BYTES as u64),
                "memory",
            ),
            ((1..=HARTS_MAX).contains(&self.harts), "number of harts"),
            (devices <= VIRTIO_SLOTS_MAX, "number of devices"),
            (self.ports.len() <= PORTS_MAX, "number of ports"),
            (self.ports.iter().all(|port| port.len() <= NAME_BYTES_MAX), "name of a port"),
            (self.label.len() <= NAME_BYTES_MAX, "label"),
            (!self.label.chars().any(char::is_control), "label"),
            (self.image.as_ref().is_none_or(|image| image.len() <= NAME_BYTES_MAX), "image"),
            (self.rate_ticks.is_power_of_two() && self.rate_ticks <= 1024, "rate"),
            (self.append.len() <= COMMAND_LINE_BYTES_MAX, "command line"),
        ];
        let wrong = checks.iter().find(|(sound, _)| !sound);
        wrong.map(|(_, what)| format!("the machine's {what} is not possible"))
    }

    fn content_problem(&self, kind: Place) -> Option<String> {
        for (what, content) in self.contents() {
            let bytes = match content {
                Content::Stored(blob) if !is_blob(blob, u64::MAX) => {
                    return Some(format!("the {what}'s tree has another size"));
                }
                Content::Stored(blob) => blob.bytes,
                Content::File { bytes, .. } => *bytes,
            };
            if bytes > BOOT_FILE_BYTES_MAX {
                let max = BOOT_FILE_BYTES_MAX;
                return Some(format!("the {what} has {bytes} bytes: at most {max} are possible"));
            }
            if matches!(content, Content::File { .. }) && kind == Place::Vmcast {
                return Some(format!("the {what} is not in the file"));
            }
        }
        for (n, disk) in self.disks.iter().enumerate() {
            let size = disk.size_bytes;
            if size > DISK_BYTES_MAX || !size.is_multiple_of(SECTOR_BYTES) {
                return Some(format!("disk {n} has {size} bytes"));
            }
            if disk.serial.len() > SERIAL_BYTES_MAX {
                return Some(format!("the serial number of disk {n} is too long"));
            }
            let sound = match &disk.base {
                DiskBase::Stored(tree) => tree.pages == size.div_ceil(PAGE_BYTES as u64),
                DiskBase::File(Content::File { bytes, .. }) => {
                    kind != Place::Vmcast && bytes.next_multiple_of(SECTOR_BYTES) == size
                }
                DiskBase::File(Content::Stored(_)) => false,
            };
            if !sound {
                return Some(format!(
                    "the content of disk {n} is not in the file, or of another size"
                ));
            }
        }
        None
    }
}
