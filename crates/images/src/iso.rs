//! Writes the file system in which packages are handed to the machine: ISO 9660 (ECMA-119), level
//! 1 names in the root directory and nothing else. Linux shows them in lower case.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

const SECTOR: usize = 2048;
/// The system area before the first volume descriptor, in sectors.
const SYSTEM_AREA: u64 = 16;
/// First sector of content: after two descriptors and two path tables.
const CONTENT: u64 = SYSTEM_AREA + 4;

/// A file system being written.
#[derive(Debug)]
pub(crate) struct IsoWriter {
    out: BufWriter<File>,
    files: Vec<Entry>,
    sector: u64,
}

#[derive(Debug)]
struct Entry {
    name: String,
    sector: u32,
    bytes: u32,
}

impl IsoWriter {
    /// Starts a file system in a new file.
    pub(crate) fn create(path: &Path) -> io::Result<IsoWriter> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        out.write_all(&vec![0; CONTENT as usize * SECTOR])?;
        Ok(IsoWriter { out, files: Vec::new(), sector: CONTENT })
    }

    /// Adds a file whose content `write` makes. Its name is up to eight letters or digits, a dot
    /// and up to three more.
    pub(crate) fn file(
        &mut self,
        name: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let name = name.to_ascii_uppercase();
        let (stem, suffix) = name.split_once('.').expect("a name has a suffix");
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
        assert!(stem.len() <= 8 && suffix.len() <= 3 && plain(stem) && plain(suffix), "{name:?}");
        let mut counted = Counted { out: &mut self.out, bytes: 0 };
        write(&mut counted)?;
        let bytes = counted.bytes;
        let padded = bytes.next_multiple_of(SECTOR as u64);
        self.out.write_all(&[0; SECTOR][..(padded - bytes) as usize])?;
        let too_large = |_| io::Error::other(format!("{name} is too large"));
        self.files.push(Entry {
            sector: u32::try_from(self.sector).map_err(too_large)?,
            bytes: u32::try_from(bytes).map_err(too_large)?,
            name,
        });
        self.sector += padded / SECTOR as u64;
        Ok(())
    }

    /// Writes the directory and descriptors, and syncs nothing: the file is for this process.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        let root_sector = u32::try_from(self.sector).map_err(io::Error::other)?;
        let mut size = 0;
        let records = loop {
            // The directory says its own size, so it is made until the size is right.
            let records = self.directory(root_sector, size);
            if records.len() as u32 == size {
                break records;
            }
            size = records.len() as u32;
        };
        self.out.write_all(&records)?;
        let sectors = root_sector + size / SECTOR as u32;
        self.out.seek(SeekFrom::Start(SYSTEM_AREA * SECTOR as u64))?;
        self.out.write_all(&primary_descriptor(sectors, root_sector, size))?;
        let mut terminator = vec![0; SECTOR];
        terminator[..7].copy_from_slice(b"\xffCD001\x01");
        self.out.write_all(&terminator)?;
        let little = (root_sector.to_le_bytes(), [1, 0]);
        for (sector, parent) in [little, (root_sector.to_be_bytes(), [0, 1])] {
            let mut table = vec![0; SECTOR];
            table[0] = 1;
            table[2..6].copy_from_slice(&sector);
            table[6..8].copy_from_slice(&parent);
            self.out.write_all(&table)?;
        }
        self.out.flush()
    }

    fn directory(&self, sector: u32, size: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let own = [b"\0".as_slice(), b"\x01"].map(|name| record(name, sector, size, 2));
        let files = self
            .files
            .iter()
            .map(|file| record(format!("{};1", file.name).as_bytes(), file.sector, file.bytes, 0));
        for record in own.into_iter().chain(files) {
            // Records do not cross sectors.
            if out.len() % SECTOR + record.len() > SECTOR {
                out.resize(out.len().next_multiple_of(SECTOR), 0);
            }
            out.extend(record);
        }
        out.resize(out.len().next_multiple_of(SECTOR), 0);
        out
    }
}

/// A number in both byte orders, as ECMA-119 §7.3.3 wants it.
fn both(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// A directory record (ECMA-119 §9.1).
fn record(name: &[u8], sector: u32, bytes: u32, flags: u8) -> Vec<u8> {
    let length = (33 + name.len()).next_multiple_of(2);
    let mut out = vec![0; length];
    out[0] = u8::try_from(length).expect("names are short");
    out[2..10].copy_from_slice(&both(sector));
    out[10..18].copy_from_slice(&both(bytes));
    // 1980-01-01, the earliest date every reader takes.
    out[18..21].copy_from_slice(&[80, 1, 1]);
    out[25] = flags;
    out[28..32].copy_from_slice(&[1, 0, 0, 1]);
    out[32] = u8::try_from(name.len()).expect("names are short");
    out[33..33 + name.len()].copy_from_slice(name);
    out
}

/// The primary volume descriptor (ECMA-119 §8.4).
fn primary_descriptor(sectors: u32, root: u32, root_bytes: u32) -> Vec<u8> {
    let mut out = vec![0; SECTOR];
    out[..7].copy_from_slice(b"\x01CD001\x01");
    out[8..72].fill(b' ');
    out[40..48].copy_from_slice(b"PACKAGES");
    out[80..88].copy_from_slice(&both(sectors));
    for at in [120, 124] {
        out[at..at + 4].copy_from_slice(&[1, 0, 0, 1]);
    }
    out[128..132].copy_from_slice(&[0, 8, 8, 0]);
    out[132..140].copy_from_slice(&both(10));
    out[140..144].copy_from_slice(&(SYSTEM_AREA as u32 + 2).to_le_bytes());
    out[148..152].copy_from_slice(&(SYSTEM_AREA as u32 + 3).to_be_bytes());
    out[156..190].copy_from_slice(&record(b"\0", root, root_bytes, 2));
    out[190..813].fill(b' ');
    for at in [813, 830, 847, 864] {
        out[at..at + 16].fill(b'0');
    }
    out[881] = 1;
    out
}

/// Counts what goes through.
struct Counted<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.out.write(data)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_the_directory_says() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("iso");
        let mut iso = IsoWriter::create(&path).expect("writable");
        for index in 0..100 {
            let name = format!("p{index:04}.deb");
            let content = vec![index as u8; 3000];
            iso.file(&name, &mut |out| out.write_all(&content)).expect("writable");
        }
        iso.finish().expect("writable");
        let image = std::fs::read(&path).expect("readable");
        let number = |at: usize| {
            u32::from_le_bytes(image[at..at + 4].try_into().expect("four bytes")) as usize
        };
        let descriptor = 16 * SECTOR;
        assert_eq!(number(descriptor + 80) * SECTOR, image.len());
        let (root, size) = (number(descriptor + 158) * SECTOR, number(descriptor + 166));
        assert_eq!(size, 3 * SECTOR, "100 records of 44 bytes take three sectors");
        let mut found = 0;
        for sector in (root..root + size).step_by(SECTOR) {
            let mut at = sector;
            while at < sector + SECTOR && image[at] != 0 {
                let name = &image[at + 33..at + 33 + image[at + 32] as usize];
                if name.ends_with(b".DEB;1") {
                    let content = number(at + 2) * SECTOR;
                    assert_eq!(number(at + 10), 3000);
                    assert_eq!(image[content], found);
                    found += 1;
                }
                at += image[at] as usize;
            }
        }
        assert_eq!(found, 100);
    }
}
