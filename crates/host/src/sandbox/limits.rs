//! How much a sandboxed process may have of what the kernel counts by process.
//!
//! Not limited: the address space (guest memory is mapped several times over, and mapping is not
//! using) and processes (the kernel counts those by user, so a limit would hit other programs).

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files: clients, a journal's, packs, terminals, with room.
const FILES: u64 = 4096;
/// Largest file: a keyframe of the largest machine's memory and what was written to its disks.
const FILE_BYTES: u64 = 256 << 30;

/// Each resource, and the most there is of it from now on.
const LIMITS: [(Resource, u64); 5] = [
    // A core dump is the guest's memory, in a place that nobody chose.
    (Resource::Core, 0),
    (Resource::Nofile, FILES),
    (Resource::Fsize, FILE_BYTES),
    // Locked memory and message queues: a lab has none.
    (Resource::Memlock, 0),
    (Resource::Msgqueue, 0),
];

/// Lowers the limits; those that are lower already stay.
pub(super) fn lower() -> io::Result<()> {
    for (resource, most) in LIMITS {
        let now = getrlimit(resource);
        let lower = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
        // Files: what was free to be raised is raised, as labs with many clients need it.
        let current = if resource == Resource::Nofile { now.maximum } else { now.current };
        setrlimit(resource, Rlimit { current: lower(current), maximum: lower(now.maximum) })?;
    }
    Ok(())
}
