//! Files taken out of Debian packages: single programs with the libraries they need, and the
//! kernel with its modules.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;

use crate::apt::Package;
use crate::build::BuildError;
use crate::cpio::Tree;
use crate::deb::{Deb, clean_path};
use crate::elf::needed_libraries;
use crate::modules::ModuleSet;
use crate::progress::{Job, Phase};

/// Directories of shared libraries, in the order they are searched.
const LIBRARY_DIRECTORIES: [&str; 2] = ["usr/lib/riscv64-linux-gnu", "usr/lib"];
/// The dynamic loader, by the path that programs name.
const LOADER: &str = "ld-linux-riscv64-lp64d.so.1";
/// Largest file taken out of a package, in bytes.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// Longest chain of symbolic links.
const LINKS_MAX: usize = 8;

/// Files of several packages, in memory.
#[derive(Default, Debug)]
pub(crate) struct PackageFiles {
    files: BTreeMap<String, PackageFile>,
}

#[derive(Debug)]
enum PackageFile {
    Data(Vec<u8>),
    Link(String),
}

impl PackageFiles {
    /// Reads the files that `wanted` chooses by path (as if `/lib` and `/bin` were merged into
    /// `/usr`, whatever the package says).
    pub(crate) fn read(
        debs: &[(Package, PathBuf)],
        wanted: impl Fn(&str) -> bool,
        job: &mut Job<'_>,
    ) -> Result<PackageFiles, BuildError> {
        let mut all = PackageFiles::default();
        // Kernels are large, and [`Kernel::read`] is for them.
        for (package, path) in debs.iter().filter(|(package, _)| !is_kernel(package)) {
            job.check()?;
            job.say(Phase::Unpack, package.name.clone());
            Deb::open(path)?.each_file(&mut |entry| {
                let Some(path) = clean_path(&entry.path()?) else { return Ok(()) };
                let path = merge_usr(path);
                if !wanted(&path) {
                    return Ok(());
                }
                let kind = entry.header().entry_type();
                if kind.is_file() {
                    let mut data = Vec::new();
                    entry.take(FILE_BYTES_MAX).read_to_end(&mut data)?;
                    all.files.insert(path, PackageFile::Data(data));
                } else if kind.is_symlink() {
                    let target = entry.link_name()?.unwrap_or_default();
                    let target = target.to_string_lossy().into_owned();
                    all.files.insert(path, PackageFile::Link(target));
                }
                Ok(())
            })?;
        }
        Ok(all)
    }

    /// The content of a file, symbolic links followed.
    pub(crate) fn get(&self, path: &str) -> Result<&[u8], BuildError> {
        let mut at = path.to_owned();
        for _ in 0..LINKS_MAX {
            match self.files.get(&at) {
                Some(PackageFile::Data(data)) => return Ok(data),
                Some(PackageFile::Link(target)) => at = resolve(&at, target),
                None => break,
            }
        }
        Err(BuildError::MissingFile(path.to_owned()))
    }

    /// Puts the program `path` into `tree` as `place`, and every library it needs.
    pub(crate) fn add_program(
        &self,
        tree: &mut Tree,
        path: &str,
        place: &str,
    ) -> Result<(), BuildError> {
        let program = self.get(path)?;
        tree.file(place, 0o755, program);
        let mut waiting = needed(path, program)?;
        let mut done = BTreeSet::from([LOADER.to_owned()]);
        let loader = self.library(LOADER)?;
        tree.file(&format!("lib/{LOADER}"), 0o755, loader);
        while let Some(name) = waiting.pop() {
            if done.insert(name.clone()) {
                let library = self.library(&name)?;
                waiting.extend(needed(&name, library)?);
                tree.file(&format!("lib/riscv64-linux-gnu/{name}"), 0o755, library);
            }
        }
        Ok(())
    }

    fn library(&self, name: &str) -> Result<&[u8], BuildError> {
        let found = LIBRARY_DIRECTORIES
            .iter()
            .find_map(|directory| self.get(&format!("{directory}/{name}")).ok());
        found.ok_or_else(|| BuildError::MissingFile(name.to_owned()))
    }
}

/// Whether a path is a shared library's.
pub(crate) fn is_library(path: &str) -> bool {
    LIBRARY_DIRECTORIES.iter().any(|directory| {
        let name = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| name.contains(".so") && !name.contains('/'))
    })
}

fn needed(path: &str, file: &[u8]) -> Result<Vec<String>, BuildError> {
    needed_libraries(file).map_err(|source| BuildError::Elf { path: path.to_owned(), source })
}

fn merge_usr(path: String) -> String {
    let merged = ["bin/", "sbin/", "lib/"].iter().any(|top| path.starts_with(top));
    if merged { format!("usr/{path}") } else { path }
}

/// Where the link `path` leads.
fn resolve(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => path.split('/').collect(),
    };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    merge_usr(parts.join("/"))
}

/// The names busybox answers to, read from the table inside the program: it cannot be asked on a
/// host of another architecture.
pub(crate) fn busybox_applets(busybox: &[u8]) -> Result<Vec<String>, BuildError> {
    // The table is sorted, each name ended by a zero byte, the whole by another.
    let start = busybox.windows(11).position(|window| window == b"[\0[[\0acpid\0");
    let missing = || BuildError::MissingFile("the table of applets in busybox".to_owned());
    let start = start.ok_or_else(missing)?;
    let mut names = Vec::new();
    for name in busybox[start..].split(|&byte| byte == 0) {
        let name = std::str::from_utf8(name).map_err(|_| missing())?;
        if name.is_empty() {
            break;
        }
        names.push(name.to_owned());
    }
    let whole = ["insmod", "modprobe", "mount", "setsid", "sh", "udhcpc"];
    if whole.iter().all(|name| names.iter().any(|have| have == name)) {
        Ok(names)
    } else {
        Err(missing())
    }
}

/// Whether this is a kernel itself, not the package that depends on the newest one.
fn is_kernel(package: &Package) -> bool {
    let release = package.name.strip_prefix("linux-image-");
    release.is_some_and(|release| release.starts_with(|c: char| c.is_ascii_digit()))
}

/// A kernel package's content.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What `uname -r` prints.
    pub(crate) release: String,
    /// The `Image`.
    pub(crate) image: Vec<u8>,
    /// Its modules.
    pub(crate) modules: ModuleSet,
    /// Lists of built-in modules, which depmod reads, by path.
    pub(crate) lists: Vec<(String, Vec<u8>)>,
}

impl Kernel {
    /// Takes the kernel out of the `linux-image-*` package among `debs`.
    pub(crate) fn read(
        debs: &[(Package, PathBuf)],
        job: &mut Job<'_>,
    ) -> Result<Kernel, BuildError> {
        let missing = || BuildError::MissingFile("the kernel's package".to_owned());
        let (package, path) =
            debs.iter().find(|(package, _)| is_kernel(package)).ok_or_else(missing)?;
        job.say(Phase::Unpack, package.name.clone());
        let release = package.name.trim_start_matches("linux-image-").to_owned();
        let (image_name, mut image) = (format!("boot/vmlinux-{release}"), None);
        let (mut modules, mut lists) = (ModuleSet::default(), Vec::new());
        Deb::open(path)?
            .each_file(&mut |entry| {
                if job.check().is_err() {
                    return Err(std::io::Error::other("cancelled"));
                }
                let Some(path) = clean_path(&entry.path()?) else { return Ok(()) };
                let mut data = Vec::new();
                if path == image_name {
                    entry.take(FILE_BYTES_MAX).read_to_end(&mut data)?;
                    image = Some(data);
                } else if path.ends_with(".ko") || path.ends_with(".ko.xz") {
                    entry.take(FILE_BYTES_MAX).read_to_end(&mut data)?;
                    modules.add(&path, data);
                } else if path.contains("/modules.") {
                    entry.take(FILE_BYTES_MAX).read_to_end(&mut data)?;
                    lists.push((merge_usr(path), data));
                }
                Ok(())
            })
            .or_else(|error| job.check().map_err(BuildError::from).and(Err(error.into())))?;
        let image = image.ok_or(BuildError::MissingFile(image_name))?;
        Ok(Kernel { release, image, modules, lists })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_inside_the_merged_usr() {
        let check = |path: &str, target: &str, expected: &str| {
            assert_eq!(resolve(path, target), expected);
        };
        check(
            "usr/lib/riscv64-linux-gnu/libz.so.1",
            "libz.so.1.3",
            "usr/lib/riscv64-linux-gnu/libz.so.1.3",
        );
        check("usr/lib/ld.so", "riscv64-linux-gnu/ld.so.1", "usr/lib/riscv64-linux-gnu/ld.so.1");
        check("usr/bin/x", "/lib/x", "usr/lib/x");
        check("usr/bin/x", "../../../../etc/./y", "etc/y");
    }

    #[test]
    fn applets_are_read_from_the_table() {
        let table = b"..[\0[[\0acpid\0insmod\0modprobe\0mount\0setsid\0sh\0udhcpc\0\0next\0";
        let names = busybox_applets(table).expect("a table");
        assert_eq!(names.first().map(String::as_str), Some("["));
        assert_eq!(names.last().map(String::as_str), Some("udhcpc"));
        assert!(busybox_applets(b"[\0[[\0acpid\0\0").is_err());
        assert!(busybox_applets(b"").is_err());
    }
}
