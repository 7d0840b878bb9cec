//! Locking the lab in before its guest runs: which paths of the host it still needs.
//!
//! The recordings it writes, what it says at its end in its folder, and its *annex*: a folder of its own below `annex` in the
//! data directory, where what begins later has its place: its twins, and recordings that somebody
//! asks for while it runs. Landlock's rules are for folders that are there when a process locks
//! itself in, so such things cannot be anywhere else.
//!
//! What this machine's next lab, or anybody outside, believes of the machine is out of its reach:
//! the spec, which names files to be opened, can be removed but not changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::start::StartError;
use crate::lab::Lab;
use crate::machines::{ANNEX_FOLDER, FirmwareSpec, Left, MACHINES_MAX, MachineSpec};
use crate::machines::{STOPPED_FILE, Source};
use crate::sandbox::{self, Plan};

/// In an annex while the lab runs that made it: the last twin to end leaves it there, for landlock
/// knows the folder and not its name.
const IN_USE_FILE: &str = ".in-use";

/// Locks this process in; returns the annex. `data` is the data directory.
pub(super) fn confine(
    folder: &Path,
    spec: &MachineSpec,
    data: &Path,
    lab: &mut Lab,
) -> Result<PathBuf, StartError> {
    // Journals are made beside where they will be, which is somebody's folder: they must be there.
    lab.settle_recordings().map_err(StartError::CannotRecord)?;
    let made = annex(&data.join(ANNEX_FOLDER), &spec.name).and_then(|annex| {
        fs::write(annex.join(IN_USE_FILE), "")?;
        Ok(annex)
    });
    let annex = made.map_err(|error| StartError::io("make the annex", error))?;
    let mut own = vec![annex.clone()];
    own.extend(lab.recorders().folders());
    // While it runs it says what no file says.
    let stopped = folder.join(STOPPED_FILE);
    fs::write(&stopped, Left::Running.word())
        .map_err(|error| StartError::io("write to the machine's folder", error))?;
    let mut read = vec![data.join("images")];
    read.extend(lab.recorders().bases());
    read.extend(files(spec));
    let tidy = [folder, &annex].into_iter().filter_map(Path::parent).map(Path::to_owned).collect();
    let (emptied, written) = (vec![folder.to_owned()], vec![stopped]);
    sandbox::enter(&Plan { own, emptied, written, read, tidy })?;
    Ok(annex)
}

/// Leaves a twin of somebody else's its own folder only: other twins' are beside it.
pub(super) fn narrow(folder: &Path, spec: &MachineSpec, data: &Path) -> Result<(), StartError> {
    let mut read = vec![data.join("images")];
    read.extend(files(spec));
    // To go away in the end, and with the last one what it is in.
    let tidy = folder.ancestors().skip(1).take(2).map(Path::to_owned).collect();
    Ok(sandbox::narrow(&Plan { own: vec![folder.to_owned()], read, tidy, ..Plan::default() })?)
}

/// At the end of the lab in `folder`: what is left in the annex stays, and with it the annex.
pub(super) fn leave_annex(annex: &Path, folder: &Path) {
    // A twin is in its original's.
    if folder.parent() != Some(annex) {
        let _ = fs::remove_file(annex.join(IN_USE_FILE));
    }
    let _ = fs::remove_dir(annex);
}

/// The spec's own files: they are read again when the guest resets its machine, and looked at when
/// a recording begins.
pub(super) fn files(spec: &MachineSpec) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = spec.disks.iter().map(|disk| disk.path.clone()).collect();
    if let Source::Files { kernel, initrd, firmware, .. } = &spec.source {
        files.extend(kernel.iter().chain(initrd).cloned());
        if let FirmwareSpec::File(path) = firmware {
            files.push(path.clone());
        }
    }
    files
}

/// Makes an empty folder for the machine `name` in `annexes`. One that is not empty has what an
/// earlier lab of this name began, perhaps another machine's; an empty one is nobody's: the lab
/// that made it had this name, and only one at a time has.
fn annex(annexes: &Path, name: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(annexes)?;
    let others = (2..=MACHINES_MAX).map(|number| format!("{name}.{number}"));
    for name in std::iter::once(name.to_owned()).chain(others) {
        let annex = annexes.join(name);
        // It is not there, or not empty; making it says which. A lab that was killed left its sign.
        let _ = fs::remove_file(annex.join(IN_USE_FILE));
        let _ = fs::remove_dir(&annex);
        match fs::create_dir(&annex) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| annex),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annex_is_empty() {
        let root = tempfile::tempdir().unwrap();
        let check = |name: &str| {
            let made = annex(root.path(), "web").unwrap();
            assert_eq!(made, root.path().join(name));
            made
        };
        check("web");
        let first = check("web");
        fs::create_dir(first.join("twin")).unwrap();
        let second = check("web.2");
        fs::write(second.join("file"), "").unwrap();
        check("web.3");
        fs::remove_dir(first.join("twin")).unwrap();
        check("web");
        // A lab that was killed.
        fs::write(first.join(IN_USE_FILE), "").unwrap();
        check("web");
    }

    #[test]
    fn an_annex_ends_with_its_lab_and_the_twins_in_it() {
        let root = tempfile::tempdir().unwrap();
        let annex = root.path().join("web");
        let begin = || {
            fs::create_dir(&annex).unwrap();
            fs::write(annex.join(IN_USE_FILE), "").unwrap();
            fs::create_dir(annex.join("twin")).unwrap();
        };
        let end = |folder: &Path| {
            let _ = fs::remove_dir(folder);
            leave_annex(&annex, folder);
            annex.exists()
        };
        let (lab, twin) = (root.path().join("lab"), annex.join("twin"));
        begin();
        assert!(end(&twin), "its lab makes more");
        assert!(!end(&lab));
        begin();
        assert!(end(&lab), "a twin is in it");
        assert!(!end(&twin));
    }
}
