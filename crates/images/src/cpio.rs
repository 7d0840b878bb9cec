//! Writes initial RAM disks: cpio archives in the kernel's `newc` format
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
//!
//! The same files make the same bytes: entries are sorted by path, owned by root, dated 1970 and
//! numbered in order. It does not compress; decompressing costs the guest more than the copy.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// A file tree on its way into a cpio archive. Paths are relative, without a leading slash.
#[derive(Default, Debug)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    mode: u32,
    data: Vec<u8>,
}

const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

impl Tree {
    /// An empty tree.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// Adds a directory with mode 755, and those above it.
    pub fn directory(&mut self, path: &str) {
        self.insert(path, TYPE_DIRECTORY | 0o755, Vec::new());
    }

    /// Adds a regular file; `mode` is its permission bits.
    pub fn file(&mut self, path: &str, mode: u32, data: impl Into<Vec<u8>>) {
        assert_eq!(mode & !0o7777, 0, "permission bits only");
        self.insert(path, TYPE_FILE | mode, data.into());
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.insert(path, TYPE_SYMLINK | 0o777, target.as_bytes().to_vec());
    }

    fn insert(&mut self, path: &str, mode: u32, data: Vec<u8>) {
        let clean = !path.is_empty()
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && !path.contains('\0');
        assert!(clean, "{path:?} is not a plain relative path");
        for (at, _) in path.match_indices('/') {
            let parent = self.entries.entry(path[..at].to_owned());
            let parent =
                parent.or_insert_with(|| Entry { mode: TYPE_DIRECTORY | 0o755, data: Vec::new() });
            assert_eq!(parent.mode & TYPE_DIRECTORY, TYPE_DIRECTORY, "{path:?} is below a file");
        }
        self.entries.insert(path.to_owned(), Entry { mode, data });
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, (path, entry)) in self.entries.iter().enumerate() {
            let inode = u32::try_from(index + 1).expect("fewer than 2^32 files");
            write_entry(out, inode, path, entry)?;
        }
        write_entry(out, 0, "TRAILER!!!", &Entry { mode: 0, data: Vec::new() })
    }
}

fn write_entry(out: &mut dyn Write, inode: u32, path: &str, entry: &Entry) -> io::Result<()> {
    let size = u32::try_from(entry.data.len())
        .map_err(|_| io::Error::other(format!("{path} is too large for a cpio archive")))?;
    let links = if entry.mode & TYPE_DIRECTORY == TYPE_DIRECTORY { 2 } else { 1 };
    let name_size = u32::try_from(path.len() + 1).expect("paths are short");
    let fields = [inode, entry.mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0]
        .map(|n| format!("{n:08x}"));
    let header = format!("070701{}{path}\0", fields.concat());
    out.write_all(header.as_bytes())?;
    pad(out, header.len())?;
    out.write_all(&entry.data)?;
    pad(out, entry.data.len())
}

/// Header with name, and data, each end on a multiple of four bytes.
fn pad(out: &mut dyn Write, written: usize) -> io::Result<()> {
    out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(build: impl Fn(&mut Tree)) -> Vec<u8> {
        let mut tree = Tree::new();
        build(&mut tree);
        let mut bytes = Vec::new();
        tree.write_to(&mut bytes).expect("a Vec takes everything");
        bytes
    }

    #[test]
    fn order_of_adding_does_not_show() {
        let one = archive(|tree| {
            tree.file("b/c", 0o644, "text");
            tree.symlink("a", "b/c");
        });
        let other = archive(|tree| {
            tree.symlink("a", "b/c");
            tree.directory("b");
            tree.file("b/c", 0o644, "text");
        });
        assert_eq!(one, other);
    }

    #[test]
    fn entries_are_padded_and_end_with_the_trailer() {
        let bytes = archive(|tree| tree.file("x", 0o755, "12345"));
        // 110 bytes of header and "x\0" end on 112; five bytes of data end on 120.
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"000081ed");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[110..120], b"x\x0012345\0\0\0");
        assert_eq!(&bytes[120 + 110..120 + 121], b"TRAILER!!!\0");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    #[should_panic(expected = "plain relative path")]
    fn paths_that_climb_are_refused() {
        archive(|tree| tree.directory("../etc"));
    }
}
