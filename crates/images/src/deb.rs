//! Reads Debian packages: an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`
//! (deb(5)). It unpacks nothing to disk itself; callers walk the tar streams.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Largest member of a package that is read, in bytes.
const MEMBER_BYTES_MAX: u64 = 4 << 30;
/// Most members of a package.
const MEMBERS_MAX: usize = 16;

/// Why a package could not be read.
#[derive(Debug, Error)]
pub enum DebError {
    /// Not a package, or a kind this does not know.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The package.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file could not be read or does not decompress.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// The package.
        path: PathBuf,
        /// What the system or the decompressor says.
        #[source]
        source: io::Error,
    },
}

/// An installed file of a package, as its tar stream has it.
pub type FileEntry<'a> = tar::Entry<'a, Box<dyn Read>>;

/// A package file whose members were found.
#[derive(Debug)]
pub struct Deb {
    path: PathBuf,
    control: Member,
    data: Member,
}

#[derive(Clone, Debug)]
struct Member {
    compression: Compression,
    offset: u64,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Deb {
    /// Opens a package and finds its members.
    ///
    /// # Errors
    /// [`DebError`].
    pub fn open(path: &Path) -> Result<Deb, DebError> {
        let io = |source| DebError::Io { path: path.to_owned(), source };
        let format = |problem: String| DebError::Format { path: path.to_owned(), problem };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let mut magic = [0; 8];
        file.read_exact(&mut magic).map_err(io)?;
        if &magic != b"!<arch>\n" {
            return Err(format("not a Debian package".to_owned()));
        }
        let (mut control, mut data) = (None, None);
        let mut offset = 8;
        for _ in 0..MEMBERS_MAX {
            let mut header = [0; 60];
            match file.read_exact(&mut header) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                other => other.map_err(io)?,
            }
            let (name, bytes) = parse_header(&header).map_err(format)?;
            offset += 60;
            for (stem, slot) in [("control.tar", &mut control), ("data.tar", &mut data)] {
                if let Some(suffix) = name.strip_prefix(stem) {
                    let compression = parse_compression(suffix).map_err(format)?;
                    *slot = Some(Member { compression, offset, bytes });
                }
            }
            offset += bytes.next_multiple_of(2);
            file.seek(SeekFrom::Start(offset)).map_err(io)?;
        }
        match (control, data) {
            (Some(control), Some(data)) => Ok(Deb { path: path.to_owned(), control, data }),
            _ => Err(format("control.tar or data.tar is missing".to_owned())),
        }
    }

    /// The package's tar stream of maintainer scripts and metadata.
    ///
    /// # Errors
    /// [`DebError`].
    pub fn control(&self) -> Result<Box<dyn Read>, DebError> {
        self.member(&self.control)
    }

    /// The package's tar stream of installed files.
    ///
    /// # Errors
    /// [`DebError`].
    pub fn data(&self) -> Result<Box<dyn Read>, DebError> {
        self.member(&self.data)
    }

    /// Calls `visit` with every entry of the installed files.
    ///
    /// # Errors
    /// [`DebError`], also for errors of `visit` itself.
    pub fn each_file(
        &self,
        visit: &mut dyn FnMut(&mut FileEntry<'_>) -> io::Result<()>,
    ) -> Result<(), DebError> {
        let io = |source| DebError::Io { path: self.path.clone(), source };
        let mut archive = tar::Archive::new(self.data()?);
        for entry in archive.entries().map_err(io)? {
            visit(&mut entry.map_err(io)?).map_err(io)?;
        }
        Ok(())
    }

    /// Where the package is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn member(&self, member: &Member) -> Result<Box<dyn Read>, DebError> {
        let io = |source| DebError::Io { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(member.offset)).map_err(io)?;
        let packed = BufReader::with_capacity(1 << 18, file.take(member.bytes));
        Ok(match member.compression {
            Compression::None => Box::new(packed),
            Compression::Gzip => Box::new(flate2::bufread::GzDecoder::new(packed)),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new(packed, true)),
            Compression::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(packed)
                    .map_err(|error| io(io::Error::other(error.to_string())))?;
                Box::new(decoder)
            }
        })
    }
}

/// An entry's path without `./` in front and `/` behind; `None` for the root and for paths that
/// would leave it.
pub fn clean_path(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let text = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
    let plain = !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    plain.then(|| text.to_owned())
}

fn parse_header(header: &[u8; 60]) -> Result<(String, u64), String> {
    if &header[58..] != b"`\n" {
        return Err("a member's header is damaged".to_owned());
    }
    let text = |range: std::ops::Range<usize>| {
        std::str::from_utf8(&header[range]).map(str::trim).unwrap_or_default().to_owned()
    };
    let name = text(0..16).trim_end_matches('/').to_owned();
    let size = text(48..58);
    match size.parse::<u64>() {
        Ok(bytes) if bytes <= MEMBER_BYTES_MAX => Ok((name, bytes)),
        _ => Err(format!("member {name:?} has the impossible size {size:?}")),
    }
}

fn parse_compression(suffix: &str) -> Result<Compression, String> {
    match suffix {
        "" => Ok(Compression::None),
        ".gz" => Ok(Compression::Gzip),
        ".xz" => Ok(Compression::Xz),
        ".zst" => Ok(Compression::Zstd),
        other => Err(format!("compression {other:?} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let size = data.len();
        let mut bytes = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644);
        bytes.truncate(60);
        let mut bytes = [bytes.into_bytes(), data.to_vec()].concat();
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        bytes
    }

    fn tarball(name: &str, data: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, data).expect("a Vec takes everything");
        builder.into_inner().expect("a Vec takes everything")
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).expect("a Vec takes everything");
        encoder.finish().expect("a Vec takes everything")
    }

    fn open(bytes: &[u8]) -> (tempfile::TempDir, Result<Deb, DebError>) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("p.deb");
        std::fs::write(&path, bytes).expect("writable");
        let deb = Deb::open(&path);
        (directory, deb)
    }

    #[test]
    fn files_come_out_of_both_members() {
        let bytes = [
            b"!<arch>\n".to_vec(),
            member("debian-binary", b"2.0\n"),
            member("control.tar.gz", &gzip(&tarball("control", b"Package: p\n"))),
            member("data.tar", &tarball("usr/bin/p", b"odd")),
        ]
        .concat();
        let (_directory, deb) = open(&bytes);
        let deb = deb.expect("a package");
        let mut seen = Vec::new();
        deb.each_file(&mut |entry| {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            seen.push((clean_path(&entry.path()?), text));
            Ok(())
        })
        .expect("readable");
        assert_eq!(seen, [(Some("usr/bin/p".to_owned()), "odd".to_owned())]);
        let mut control = Vec::new();
        deb.control().expect("there").read_to_end(&mut control).expect("readable");
        assert!(control.windows(10).any(|window| window == b"Package: p"));
    }

    #[test]
    fn damage_is_named() {
        let check = |bytes: &[u8], expected: &str| {
            let (_directory, deb) = open(bytes);
            let error = deb.expect_err("damaged").to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"!<arch>?", "not a Debian package");
        check(b"!<arch>\n", "is missing");
        check(&[b"!<arch>\n".to_vec(), member("data.tar.lz9", b"")].concat(), "compression");
        let mut huge = [b"!<arch>\n".to_vec(), member("data.tar", b"")].concat();
        huge[56..66].copy_from_slice(b"9999999999");
        check(&huge, "impossible size");
    }

    #[test]
    fn paths_are_cleaned_or_refused() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(clean_path(Path::new(path)).as_deref(), expected, "{path}");
        };
        check("./usr/bin/", Some("usr/bin"));
        check("./", None);
        check("a/../../b", None);
        check("/etc/passwd", None);
    }
}
