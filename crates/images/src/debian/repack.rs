//! Prepares packages on the host so that unpacking them costs the guest little: members are
//! decompressed, and documentation, manuals and translations are left out.

use std::io::{self, Read, Write};

use crate::deb::{Deb, DebError, clean_path};

/// Directories whose content is left out: mostly as in Debian's own small images.
const LEFT_OUT: [&str; 9] = [
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/lintian/",
    "usr/share/linda/",
    "usr/share/groff/",
    "usr/share/bug/",
    // Names of hardware that a virtual machine does not have; compiling them takes the guest long.
    "usr/lib/udev/hwdb.d/",
];

/// Whether a file of a package goes into the image. Licences stay.
fn wanted(path: &str) -> bool {
    let licence = match path.strip_prefix("usr/share/doc/") {
        None => false,
        Some(rest) => rest.strip_suffix("/copyright").unwrap_or(rest).find('/').is_none(),
    };
    licence || !LEFT_OUT.iter().any(|directory| path.starts_with(directory))
}

/// Writes the package `deb` again, uncompressed.
pub(super) fn repack(deb: &Deb, out: &mut dyn Write) -> Result<(), DebError> {
    let fail = |source| DebError::Io { path: deb.path().to_owned(), source };
    let mut control = Vec::new();
    deb.control()?.read_to_end(&mut control).map_err(fail)?;
    let mut data = tar::Builder::new(Vec::new());
    append_files(deb, &mut data)?;
    let data = data.into_inner().map_err(fail)?;
    write_ar(out, &[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)])
        .map_err(fail)
}

/// Appends the wanted files of `deb` to a tar stream.
pub(super) fn append_files<W: Write>(deb: &Deb, out: &mut tar::Builder<W>) -> Result<(), DebError> {
    deb.each_file(&mut |entry| {
        let path = entry.path()?.into_owned();
        let Some(clean) = clean_path(&path) else { return Ok(()) };
        if !wanted(&clean) {
            return Ok(());
        }
        let kind = entry.header().entry_type();
        let mut header = plain_header(entry.header())?;
        // dpkg's file lists come from these names.
        let slash = if kind.is_dir() { "/" } else { "" };
        let name = format!("./{clean}{slash}");
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            header.set_size(0);
            out.append_link(&mut header, name, target)
        } else {
            header.set_size(entry.size());
            out.append_data(&mut header, name, entry)
        }
    })
}

/// A GNU header with the same owner, mode, time and kind.
fn plain_header(from: &tar::Header) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(from.entry_type());
    header.set_mode(from.mode()?);
    header.set_uid(from.uid()?);
    header.set_gid(from.gid()?);
    header.set_mtime(from.mtime()?);
    if let Some(name) = from.username().ok().flatten() {
        header.set_username(name)?;
    }
    if let Some(name) = from.groupname().ok().flatten() {
        header.set_groupname(name)?;
    }
    Ok(header)
}

fn write_ar(out: &mut dyn Write, members: &[(&str, &[u8])]) -> io::Result<()> {
    out.write_all(b"!<arch>\n")?;
    for (name, data) in members {
        let size = data.len();
        writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 100_644)?;
        out.write_all(data)?;
        if !size.is_multiple_of(2) {
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_stay_and_manuals_go() {
        let check = |path: &str, expected: bool| assert_eq!(wanted(path), expected, "{path}");
        check("usr/bin/perl", true);
        check("usr/share/doc/perl", true);
        check("usr/share/doc/perl/copyright", true);
        check("usr/share/doc/perl/examples/debian/copyright", false);
        check("usr/share/doc/perl/changelog.Debian.gz", false);
        check("usr/share/man/man1/perl.1.gz", false);
        check("usr/share/locale/de/LC_MESSAGES/x.mo", false);
        check("usr/share/man", true);
    }
}
