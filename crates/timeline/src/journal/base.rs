//! The `.vmcast` that a journal goes on from. It is read in place, so it must stay as it is.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::manifest::Base;
use super::read::io_error;
use crate::timeline::{OpenError, Timeline};

/// Opens it, and notices when it is not what it was.
pub(super) fn open(folder: &Path, base: &Base) -> Result<Timeline, OpenError> {
    let path = folder.join(&base.path);
    if describe(folder, &path)?.1 != (base.bytes, base.directory) {
        return Err(OpenError::Damaged {
            place: folder.display().to_string(),
            problem: format!(
                "it goes on from {}, which has changed since; put back the file that it was",
                path.display()
            ),
        });
    }
    Timeline::open(&path)
}

/// How a journal in `folder` remembers the file at `path`.
pub(super) fn remember(folder: &Path, path: &Path) -> Result<Base, OpenError> {
    let (path, (bytes, directory)) = describe(folder, path)?;
    Ok(Base { path, bytes, directory })
}

type Identity = (u64, stackvm_store::Digest);

fn describe(folder: &Path, path: &Path) -> Result<(PathBuf, Identity), OpenError> {
    let file =
        stackvm_store::chunks::file::FileAt::open(path).map_err(|error| io_error(path, error))?;
    let identity = crate::vmcast::identity(&path.display().to_string(), Arc::new(file))?;
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| io_error(path, error));
    Ok((relative(&absolute(folder)?, &absolute(path)?), identity))
}

/// How to get from a folder to a file.
fn relative(folder: &Path, file: &Path) -> PathBuf {
    let mut from = folder.components().peekable();
    let mut to = file.components().peekable();
    let plain = |path: &Path| !path.components().any(|part| part == Component::ParentDir);
    if !plain(folder) || !plain(file) {
        return file.to_owned();
    }
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
    }
    from.map(|_| Component::ParentDir).chain(to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_the_folder_is_named_so() {
        let check = |folder: &str, file: &str, expected: &str| {
            assert_eq!(relative(Path::new(folder), Path::new(file)), Path::new(expected));
        };
        check("/a/demo.vmcast.journal", "/a/demo.vmcast", "../demo.vmcast");
        check("/a/b/c", "/a/x/y", "../../x/y");
        check("/a/../b", "/a/x", "/a/x");
    }
}
