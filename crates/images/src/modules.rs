//! Finds kernel modules among a package's files, with what they depend on, in loading order.

mod trim;

use std::collections::BTreeMap;
use std::io::{self, Read};

use thiserror::Error;

use crate::elf::{ElfError, module_info};

/// Largest module, decompressed, in bytes.
const MODULE_BYTES_MAX: u64 = 64 << 20;
/// What ends a signed module (include/linux/module_signature.h of Linux).
const SIGNATURE_MARK: &[u8] = b"~Module signature appended~\n";

/// Why modules could not be prepared.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// The kernel package does not have it.
    #[error("the kernel package has no module {name:?}")]
    Missing {
        /// The module.
        name: String,
    },
    /// Its compression is damaged.
    #[error("module {name:?} does not decompress")]
    Damaged {
        /// The module.
        name: String,
        /// What the decompressor says.
        #[source]
        source: io::Error,
    },
    /// It is not a kernel module.
    #[error("module {name:?}")]
    Elf {
        /// The module.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ElfError,
    },
}

/// A kernel module, decompressed, without its signature and unneeded symbols.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// Name as in `modinfo`: no suffix, `_` for `-`.
    pub name: String,
    /// Path below the kernel's directory, such as `fs/ext4/ext4.ko`.
    pub path: String,
    /// The file's content.
    pub data: Vec<u8>,
}

/// The modules of one kernel, as packaged.
#[derive(Default, Debug)]
pub struct ModuleSet {
    files: BTreeMap<String, (String, Vec<u8>)>,
}

impl ModuleSet {
    /// Adds a file of the kernel package if it is a module.
    pub fn add(&mut self, path: &str, data: Vec<u8>) {
        let file = path.rsplit('/').next().expect("a split has at least one part");
        let stem = file.strip_suffix(".xz").unwrap_or(file);
        if let Some(name) = stem.strip_suffix(".ko") {
            let below = path.split_once("/kernel/").map_or(path, |(_, below)| below);
            let below = below.strip_suffix(".xz").unwrap_or(below);
            self.files.insert(name.replace('-', "_"), (below.to_owned(), data));
        }
    }

    /// Names of the modules whose path below the kernel's directory `wanted` chooses, sorted.
    pub fn names_in(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let chosen = self.files.iter().filter(|(_, (path, _))| wanted(path));
        chosen.map(|(name, _)| name.clone()).collect()
    }

    /// `names` and everything they depend on, each once, dependencies first.
    ///
    /// # Errors
    /// [`ModuleError`].
    pub fn closure(&self, names: &[&str]) -> Result<Vec<Module>, ModuleError> {
        let mut done = Vec::new();
        for name in names {
            self.add_with_dependencies(name, &mut done, 0)?;
        }
        Ok(done)
    }

    fn add_with_dependencies(
        &self,
        name: &str,
        done: &mut Vec<Module>,
        depth: usize,
    ) -> Result<(), ModuleError> {
        let name = name.replace('-', "_");
        // A real chain is a handful deep; only a damaged package has a circle.
        if depth > 32 {
            return Err(ModuleError::Missing { name });
        }
        if done.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let packed = self.files.get(&name);
        let (path, packed) = packed.ok_or_else(|| ModuleError::Missing { name: name.clone() })?;
        let mut data =
            unpack(packed).map_err(|source| ModuleError::Damaged { name: name.clone(), source })?;
        let info =
            module_info(&data).map_err(|source| ModuleError::Elf { name: name.clone(), source })?;
        for (_, list) in info.iter().filter(|(key, _)| key == "depends") {
            for needed in list.split(',').filter(|needed| !needed.is_empty()) {
                self.add_with_dependencies(needed, done, depth + 1)?;
            }
        }
        strip_signature(&mut data);
        trim::trim_symbols(&mut data);
        done.push(Module { name, path: path.clone(), data });
        Ok(())
    }
}

fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    if packed.starts_with(b"\x7fELF") {
        return Ok(packed.to_vec());
    }
    let mut data = Vec::new();
    lzma_rust2::XzReader::new(packed, true).take(MODULE_BYTES_MAX).read_to_end(&mut data)?;
    Ok(data)
}

/// Checking the signature costs the guest millions of instructions, and apt has checked the
/// package the module comes from.
fn strip_signature(data: &mut Vec<u8>) {
    // Before the mark: eight bytes of description, then the signature's length, big-endian.
    let Some(rest) = data.strip_suffix(SIGNATURE_MARK) else { return };
    let Some((rest, length)) = rest.split_last_chunk::<4>() else { return };
    let length = u32::from_be_bytes(*length) as usize + 8;
    if let Some(kept) = rest.len().checked_sub(length) {
        data.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_cut_exactly() {
        let check = |data: &[u8], expected: &[u8]| {
            let mut data = data.to_vec();
            strip_signature(&mut data);
            assert_eq!(data, expected);
        };
        let signed =
            [b"module", &[7; 5][..], &[0; 8], &5_u32.to_be_bytes(), SIGNATURE_MARK].concat();
        check(&signed, b"module");
        check(b"module", b"module");
        let lying = [b"m", &[0; 8][..], &500_u32.to_be_bytes(), SIGNATURE_MARK].concat();
        check(&lying, &lying);
    }

    #[test]
    fn names_are_those_of_modinfo() {
        let mut set = ModuleSet::default();
        set.add("usr/lib/modules/6/kernel/drivers/char/hw_random/virtio-rng.ko.xz", vec![1]);
        set.add("usr/lib/modules/6/modules.builtin", vec![2]);
        assert_eq!(set.files.keys().collect::<Vec<_>>(), ["virtio_rng"]);
        let error = set.closure(&["ext4"]).expect_err("not there").to_string();
        assert!(error.contains("ext4"), "{error}");
    }
}
