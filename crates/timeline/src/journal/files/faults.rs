//! Lets the operations of this thread fail, and power losses happen.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What is to go wrong in this thread.
#[derive(Default)]
struct Plan {
    /// Operations that still succeed; `None`: all.
    left: Option<u64>,
    /// How many fail after that; then all succeed again.
    failures: u64,
    /// Bytes that a failing write writes all the same.
    torn_bytes: usize,
    /// What was written and not synced, and what was there before; with `None` nothing is noted.
    unsynced: Option<Vec<Undo>>,
}

/// A write, and how to take it back.
struct Undo {
    path: PathBuf,
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
    length_before: u64,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// After `operations` more operations, `failures` fail. The first write among them leaves a part
/// of its bytes.
pub(in crate::journal) fn fail_after(operations: u64, failures: u64, torn_bytes: usize) {
    PLAN.with_borrow_mut(|plan| {
        plan.left = Some(operations);
        plan.failures = failures;
        plan.torn_bytes = torn_bytes;
    });
}

/// All operations succeed from now on. Whether any has failed.
pub(in crate::journal) fn heal() -> bool {
    PLAN.with_borrow_mut(|plan| plan.left.take() == Some(0))
}

/// Notes from now on what a power loss would take back.
pub(in crate::journal) fn note_unsynced() {
    PLAN.with_borrow_mut(|plan| plan.unsynced = Some(Vec::new()));
}

/// The power fails: of the writes since the last sync of their file, only those stay for which
/// `stays` says so.
pub(in crate::journal) fn lose_power(mut stays: impl FnMut() -> bool) {
    let unsynced = PLAN.with_borrow_mut(|plan| plan.unsynced.take()).unwrap_or_default();
    for write in unsynced.iter().rev() {
        let file = File::options().write(true).open(&write.path).expect("open");
        file.write_all_at(&write.before, write.offset).expect("write");
        file.set_len(write.length_before).expect("cut");
    }
    for write in unsynced.iter().filter(|_| stays()) {
        let file = File::options().write(true).open(&write.path).expect("open");
        file.write_all_at(&write.after, write.offset).expect("write");
    }
}

fn fails() -> Option<usize> {
    PLAN.with_borrow_mut(|plan| match plan.left.as_mut() {
        Some(0) if plan.failures > 0 => {
            plan.failures -= 1;
            Some(std::mem::take(&mut plan.torn_bytes))
        }
        Some(0) | None => None,
        Some(left) => {
            *left -= 1;
            None
        }
    })
}

pub(super) fn step(_path: &Path) -> io::Result<()> {
    match fails() {
        Some(_) => Err(io::ErrorKind::StorageFull.into()),
        None => Ok(()),
    }
}

pub(super) fn write(path: &Path, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    PLAN.with_borrow_mut(|plan| {
        if let Some(unsynced) = &mut plan.unsynced {
            let mut before = vec![0; bytes.len()];
            let mut read = 0;
            while let Ok(n @ 1..) = file.read_at(&mut before[read..], offset + read as u64) {
                read += n;
            }
            let length_before = file.metadata().expect("metadata").len();
            let (path, after) = (path.to_owned(), bytes.to_vec());
            unsynced.push(Undo { path, offset, before, after, length_before });
        }
    });
    let Some(torn) = fails() else { return Ok(()) };
    file.write_all_at(&bytes[..torn.min(bytes.len())], offset)?;
    Err(io::ErrorKind::StorageFull.into())
}

pub(super) fn synced(path: &Path) {
    PLAN.with_borrow_mut(|plan| {
        if let Some(unsynced) = &mut plan.unsynced {
            unsynced.retain(|undo| undo.path != path);
        }
    });
}
