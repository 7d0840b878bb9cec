//! The ZIP file around a recording: few entries of known names, stored as they are. Strict: what an
//! ordinary tool may leave open (compression, comments, overlaps) is refused, so that there is one
//! way to read a file.

use std::sync::Arc;

use stackvm_store::{ReadAt, Slice};

use crate::limits::ZIP_ENTRIES_MAX;
use crate::timeline::OpenError;

const END_BYTES: u64 = 22;
const LOCATOR_BYTES: u64 = 20;
const END64_BYTES: u64 = 56;
const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
/// Most bytes of the directory: with what is behind it, it is in the file's last 64 KiB.
const DIRECTORY_BYTES_MAX: u64 = 32 << 10;
const SIGNATURE_LOCAL: u32 = 0x0403_4b50;
const SIGNATURE_CENTRAL: u32 = 0x0201_4b50;
const SIGNATURE_END: u32 = 0x0605_4b50;
const SIGNATURE_END64: u32 = 0x0606_4b50;
const SIGNATURE_LOCATOR: u32 = 0x0706_4b50;
const ZIP64_EXTRA: u16 = 1;
const FLAG_ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
/// ZIP 4.5: with 64-bit sizes.
const VERSION: u16 = 45;
/// 1980-01-01: the same recording makes the same bytes.
const DATE: u16 = 1 << 5 | 1;
/// A plain file that its owner may write, made on Unix.
const ATTRIBUTES: u32 = 0o100_644 << 16;
const MADE_BY: u16 = 3 << 8 | VERSION;

/// An entry, as it was found.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) crc: u32,
    pub(super) bytes: u64,
    /// Where its bytes begin.
    pub(super) data: u64,
}

/// The entries of a file.
#[derive(Debug)]
pub(super) struct Directory {
    place: String,
    source: Arc<dyn ReadAt>,
    entries: Vec<Entry>,
    /// The directory and everything behind it.
    pub(super) raw: Vec<u8>,
}

impl Directory {
    /// Reads the directory; only entries of these `names` may be there.
    pub(super) fn read(
        place: &str,
        source: Arc<dyn ReadAt>,
        names: &[&str],
    ) -> Result<Directory, OpenError> {
        let not_one = |problem: String| OpenError::NotOne { place: place.to_owned(), problem };
        let (start, count, bytes) = find(place, &*source)?;
        if count > ZIP_ENTRIES_MAX as u64 || bytes > DIRECTORY_BYTES_MAX {
            return Err(OpenError::TooMuch {
                place: place.to_owned(),
                what: "entries in its ZIP directory",
                count,
                max: ZIP_ENTRIES_MAX as u64,
            });
        }
        let raw = read_at(place, &*source, start, (source.size_bytes() - start) as usize)?;
        let mut rest = &raw[..bytes as usize];
        let mut found = Vec::new();
        for _ in 0..count {
            found.push(central(&mut rest).map_err(&not_one)?);
        }
        if !rest.is_empty() {
            return Err(not_one("its ZIP directory is longer than its entries".to_owned()));
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut ends = Vec::new();
        for header in found {
            header.check(names).map_err(&not_one)?;
            if entries.iter().any(|entry| entry.name == header.name) {
                return Err(not_one(format!("{:?} is in it twice", header.name)));
            }
            let data = header.locate(place, &*source, start)?;
            ends.push((header.local, data + header.bytes));
            entries.push(Entry { name: header.name, crc: header.crc, bytes: header.bytes, data });
        }
        ends.sort_unstable();
        if ends.windows(2).any(|two| two[0].1 > two[1].0) {
            return Err(not_one("its parts overlap".to_owned()));
        }
        Ok(Directory { place: place.to_owned(), source, entries, raw })
    }

    /// All entries, in their order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of this name.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// An entry's bytes, to read.
    pub(super) fn open(&self, entry: &Entry) -> Slice {
        Slice::new(self.source.clone(), entry.data, entry.bytes).expect("it is inside the file")
    }

    /// All bytes of an entry that has at most `bytes_max`, with the checksum compared.
    pub(super) fn read_entry(&self, entry: &Entry, bytes_max: u64) -> Result<Vec<u8>, OpenError> {
        let place = format!("{} in {}", entry.name, self.place);
        if entry.bytes > bytes_max {
            let (what, count, max) = ("bytes", entry.bytes, bytes_max);
            return Err(OpenError::TooMuch { place, what, count, max });
        }
        let bytes = read_at(&place, &*self.source, entry.data, entry.bytes as usize)?;
        if crc32fast::hash(&bytes) != entry.crc {
            return Err(OpenError::Damaged { place, problem: "its checksum is wrong".to_owned() });
        }
        Ok(bytes)
    }
}

/// Where the directory begins, how many entries it has, and its bytes.
fn find(place: &str, source: &dyn ReadAt) -> Result<(u64, u64, u64), OpenError> {
    let size = source.size_bytes();
    let not_one =
        |problem: &str| OpenError::NotOne { place: place.to_owned(), problem: problem.to_owned() };
    if size < END_BYTES {
        return Err(not_one("it is too short for a ZIP file"));
    }
    let mut first = [0; 4];
    source.read_at(0, &mut first).map_err(|error| io(place, error))?;
    let tail = read_at(place, source, size - END_BYTES, END_BYTES as usize)?;
    if word(&tail, 0) != SIGNATURE_END {
        let begins = u32::from_le_bytes(first) == SIGNATURE_LOCAL;
        return Err(not_one(if begins {
            "it has no ZIP directory at its end: it is cut off, or has something behind it"
        } else {
            "it is no ZIP file"
        }));
    }
    let mut behind = size - END_BYTES;
    let (mut count, mut bytes, mut start) =
        (u64::from(short(&tail, 10)), u64::from(word(&tail, 12)), u64::from(word(&tail, 16)));
    if short(&tail, 20) != 0 || short(&tail, 4) != 0 || short(&tail, 6) != 0 {
        return Err(not_one("its ZIP directory has a comment or is in several files"));
    }
    if start == u64::from(u32::MAX) || count == u64::from(u16::MAX) {
        let both = LOCATOR_BYTES + END64_BYTES;
        let at = behind.checked_sub(both).ok_or_else(|| not_one("its ZIP directory is cut off"))?;
        let tail = read_at(place, source, at, both as usize)?;
        let (end, locator) = tail.split_at(END64_BYTES as usize);
        let sound = word(end, 0) == SIGNATURE_END64
            && long(end, 4) == END64_BYTES - 12
            && word(locator, 0) == SIGNATURE_LOCATOR
            && long(locator, 8) == at
            && long(end, 24) == long(end, 32);
        if !sound {
            return Err(not_one("its ZIP directory makes no sense"));
        }
        (count, bytes, start) = (long(end, 32), long(end, 40), long(end, 48));
        behind = at;
    }
    if start.checked_add(bytes) != Some(behind) {
        return Err(not_one("its ZIP directory is not where it should be"));
    }
    Ok((start, count, bytes))
}

/// What the directory says about an entry.
struct Central {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    stored_bytes: u64,
    bytes: u64,
    local: u64,
}

fn central(rest: &mut &[u8]) -> Result<Central, String> {
    let cut = || "its ZIP directory is cut off".to_owned();
    let header = rest.split_off(..CENTRAL_BYTES).ok_or_else(cut)?;
    if word(header, 0) != SIGNATURE_CENTRAL {
        return Err("its ZIP directory makes no sense".to_owned());
    }
    let mut part = |at: usize| rest.split_off(..usize::from(short(header, at))).ok_or_else(cut);
    let (name, extra, comment) = (part(28)?, part(30)?, part(32)?);
    let name = str::from_utf8(name).map_err(|_| "a name in it is no text".to_owned())?;
    if !comment.is_empty() {
        return Err(format!("{name:?} in it has a comment"));
    }
    let mut large = zip64(extra);
    let mut wide = |value: u32| {
        if value != u32::MAX {
            return Ok(u64::from(value));
        }
        let bytes =
            large.split_off(..8).ok_or_else(|| format!("the size of {name:?} is missing"))?;
        Ok::<_, String>(long(bytes, 0))
    };
    let bytes = wide(word(header, 24))?;
    let stored_bytes = wide(word(header, 20))?;
    let local = wide(word(header, 42))?;
    Ok(Central {
        name: name.to_owned(),
        flags: short(header, 8),
        method: short(header, 10),
        crc: word(header, 16),
        stored_bytes,
        bytes,
        local,
    })
}

/// The 64-bit sizes among extra fields.
fn zip64(mut extra: &[u8]) -> &[u8] {
    while let Some(header) = extra.split_off(..4) {
        let Some(field) = extra.split_off(..usize::from(short(header, 2))) else { break };
        if short(header, 0) == ZIP64_EXTRA {
            return field;
        }
    }
    &[]
}

impl Central {
    fn check(&self, names: &[&str]) -> Result<(), String> {
        let name = &self.name;
        if !names.contains(&&**name) {
            return Err(format!("{name:?} in it does not belong into a recording"));
        }
        if self.flags & FLAG_ENCRYPTED != 0 {
            return Err(format!("{name:?} in it is encrypted"));
        }
        if self.method != STORED || self.stored_bytes != self.bytes {
            return Err(format!(
                "{name:?} in it is compressed: it was packed again by another program, which must \
                 store the parts as they are (zip -0)"
            ));
        }
        Ok(())
    }

    /// Where its bytes begin.
    fn locate(&self, place: &str, source: &dyn ReadAt, end: u64) -> Result<u64, OpenError> {
        let not_one = |problem: &str| OpenError::NotOne {
            place: place.to_owned(),
            problem: format!("{:?} in it {problem}", self.name),
        };
        let behind = self.local.checked_add((LOCAL_BYTES + self.name.len()) as u64);
        let behind = behind.filter(|behind| *behind <= end);
        let behind = behind.ok_or_else(|| not_one("lies outside of it"))?;
        let header = read_at(place, source, self.local, (behind - self.local) as usize)?;
        let same = word(&header, 0) == SIGNATURE_LOCAL
            && short(&header, 8) == self.method
            && usize::from(short(&header, 26)) == self.name.len()
            && header[LOCAL_BYTES..] == *self.name.as_bytes();
        if !same {
            return Err(not_one("is not what the ZIP directory says"));
        }
        let data = behind + u64::from(short(&header, 28));
        match data.checked_add(self.bytes) {
            Some(last) if last <= end => Ok(data),
            _ => Err(not_one("lies outside of it")),
        }
    }
}

fn read_at(
    place: &str,
    source: &dyn ReadAt,
    offset: u64,
    bytes: usize,
) -> Result<Vec<u8>, OpenError> {
    let mut buf = vec![0; bytes];
    source.read_at(offset, &mut buf).map_err(|error| io(place, error))?;
    Ok(buf)
}

fn io(place: &str, error: std::io::Error) -> OpenError {
    OpenError::Io { place: place.to_owned(), error }
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// An entry to write: its name, where its local header is, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) name: &'static str,
    pub(super) local: u64,
    pub(super) crc: u32,
    pub(super) bytes: u64,
}

/// Bytes of an entry's local header.
pub(super) fn local_bytes(name: &str) -> u64 {
    (LOCAL_BYTES + name.len() + 20) as u64
}

/// An entry's local header.
pub(super) fn local_header(entry: &Written) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, &[SIGNATURE_LOCAL.into()], 4);
    put(&mut out, &[VERSION.into(), 0, STORED.into(), 0, DATE.into()], 2);
    put(&mut out, &[entry.crc.into(), u32::MAX.into(), u32::MAX.into()], 4);
    put(&mut out, &[entry.name.len() as u64, 20], 2);
    out.extend_from_slice(entry.name.as_bytes());
    put(&mut out, &[ZIP64_EXTRA.into(), 16], 2);
    put(&mut out, &[entry.bytes, entry.bytes], 8);
    out
}

/// The directory of a file whose entries end at `start`, and everything behind it.
pub(super) fn directory(entries: &[Written], start: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        put(&mut out, &[SIGNATURE_CENTRAL.into()], 4);
        put(&mut out, &[MADE_BY.into(), VERSION.into(), 0, STORED.into(), 0, DATE.into()], 2);
        put(&mut out, &[entry.crc.into(), u32::MAX.into(), u32::MAX.into()], 4);
        put(&mut out, &[entry.name.len() as u64, 28, 0, 0, 0], 2);
        put(&mut out, &[ATTRIBUTES.into(), u32::MAX.into()], 4);
        out.extend_from_slice(entry.name.as_bytes());
        put(&mut out, &[ZIP64_EXTRA.into(), 24], 2);
        put(&mut out, &[entry.bytes, entry.bytes, entry.local], 8);
    }
    let (count, bytes) = (entries.len() as u64, out.len() as u64);
    put(&mut out, &[SIGNATURE_END64.into()], 4);
    put(&mut out, &[END64_BYTES - 12], 8);
    put(&mut out, &[MADE_BY.into(), VERSION.into()], 2);
    put(&mut out, &[0, 0], 4);
    put(&mut out, &[count, count, bytes, start], 8);
    put(&mut out, &[SIGNATURE_LOCATOR.into(), 0], 4);
    put(&mut out, &[start + bytes], 8);
    put(&mut out, &[1], 4);
    put(&mut out, &[SIGNATURE_END.into()], 4);
    put(&mut out, &[0, 0, u16::MAX.into(), u16::MAX.into()], 2);
    put(&mut out, &[u32::MAX.into(), u32::MAX.into()], 4);
    put(&mut out, &[0], 2);
    out
}

/// Adds numbers of so many bytes each.
fn put(out: &mut Vec<u8>, values: &[u64], bytes: usize) {
    for value in values {
        out.extend_from_slice(&value.to_le_bytes()[..bytes]);
    }
}
