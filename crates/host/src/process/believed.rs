//! What a lab believes of a journal in its machine's reach: the files that it names.
//!
//! The attacker is a guest that had broken out of the machine: the lab that it took over could write
//! its own journal, and the next lab, which is not locked in yet, opens what is named there and
//! shows it to the guest. So a journal may name only what that lab could read already: files of the
//! machine's spec, which was out of its reach, and files of images.

use std::path::{Component, Path, PathBuf};

use stackvm_timeline::Header;
use stackvm_timeline::header::{Content, DiskBase, HeaderFirmware};

use super::confine;
use super::start::StartError;
use crate::machines::{MachineSpec, Source};

/// Checks the files that the journal at `journal` names. `base` is the finished recording that it
/// goes on from; `data` is the data directory.
pub(super) fn check(
    journal: &Path,
    header: &Header,
    base: Option<&Path>,
    spec: &MachineSpec,
    data: &Path,
) -> Result<(), StartError> {
    // Who starts from a recording has named the recording, not what that was made from.
    if matches!(spec.source, Source::Recording { .. }) {
        return Ok(());
    }
    let own = confine::files(spec);
    let mut allowed: Vec<PathBuf> =
        own.iter().filter_map(|path| path.canonicalize().ok()).collect();
    // They may be gone; then opening them says so.
    allowed.extend(own);
    let images = data.join("images");
    let images = images.canonicalize().unwrap_or(images);
    let is_plain = |path: &Path| !path.components().any(|part| part == Component::ParentDir);
    let is_known = |path: &Path| {
        allowed.iter().any(|own| own == path) || path.starts_with(&images) && is_plain(path)
    };
    match base.into_iter().chain(named(header)).find(|path| !is_known(path)) {
        None => Ok(()),
        Some(path) => {
            Err(StartError::Foreign { journal: journal.to_owned(), path: path.to_owned() })
        }
    }
}

/// The files of this computer that a header names.
fn named(header: &Header) -> impl Iterator<Item = &Path> {
    let firmware = match &header.firmware {
        HeaderFirmware::File(content) => Some(content),
        _ => None,
    };
    let disks = header.disks.iter().filter_map(|disk| match &disk.base {
        DiskBase::File(content) => Some(content),
        DiskBase::Stored(_) => None,
    });
    let boot = header.kernel.iter().chain(&header.initrd).chain(firmware);
    boot.chain(disks).filter_map(|content| match content {
        Content::File { path, .. } => Some(path.as_path()),
        Content::Stored(_) => None,
    })
}
