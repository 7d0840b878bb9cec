//! The two things images need to know of ELF files: which libraries a program needs, and what a
//! kernel module says about itself.

use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, FileHeader};
use object::{Endianness, Object, ObjectSection};
use thiserror::Error;

/// An ELF file that cannot be understood.
#[derive(Debug, Error)]
#[error("not a usable ELF file: {0}")]
pub struct ElfError(#[from] object::read::Error);

/// Names of the shared libraries a program or library names as `DT_NEEDED`, in its order.
///
/// # Errors
/// [`ElfError`].
pub fn needed_libraries(file: &[u8]) -> Result<Vec<String>, ElfError> {
    let header = FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, file)?;
    let Some((dynamic, strings)) = sections.dynamic(endian, file)? else {
        return Ok(Vec::new());
    };
    let strings = sections.strings(endian, file, strings)?;
    let mut names = Vec::new();
    for entry in dynamic {
        if entry.tag(endian) == DT_NEEDED {
            let name = entry.string(endian, strings)?;
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

/// The `key=value` lines of a kernel module's `.modinfo` section.
///
/// # Errors
/// [`ElfError`].
pub fn module_info(file: &[u8]) -> Result<Vec<(String, String)>, ElfError> {
    let parsed = object::File::parse(file)?;
    let Some(section) = parsed.section_by_name(".modinfo") else {
        return Ok(Vec::new());
    };
    let lines = section.data()?.split(|&byte| byte == 0);
    let pairs = lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once('='));
    Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_program_names_its_c_library() {
        let own = std::fs::read("/proc/self/exe").expect("Linux shows it");
        let needed = needed_libraries(&own).expect("an ELF file");
        assert!(needed.iter().any(|name| name.starts_with("libc.")), "{needed:?}");
        assert_eq!(module_info(&own).expect("an ELF file"), []);
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(needed_libraries(b"#!/bin/sh").is_err());
        assert!(module_info(b"\x7fELF\x02\x01\x01").is_err());
    }
}
