//! Files that only grow, record by record: keyframes and notes. A record is its length, the CRC-32
//! of its bytes and these, in postcard.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::JournalError;
use super::files::{self, DiskFile};

/// Most bytes of a record: a comment is the longest thing in one.
const RECORD_BYTES_MAX: usize = 256 << 10;
const HEADER_BYTES: usize = 8;

/// A file of records that grows.
#[derive(Debug)]
pub(super) struct Records {
    file: DiskFile,
    end: u64,
}

impl Records {
    /// Opens it behind its last whole record; what a crash left half-written is cut off.
    pub(super) fn open(path: &Path, end: u64) -> Result<Records, JournalError> {
        let file = if path.exists() { DiskFile::open(path)? } else { DiskFile::create(path)? };
        file.set_len(end)?;
        Ok(Records { file, end })
    }

    /// Adds a record that survives a power loss.
    pub(super) fn push<T: Serialize>(&mut self, value: &T) -> Result<(), JournalError> {
        let record = to_bytes(value);
        let written = self.file.write_at(&record, self.end).and_then(|()| self.file.sync());
        if written.is_err() {
            // What is half-written must not stay behind what comes next; if it cannot be cut off,
            // its checksum tells.
            let _ = self.file.set_len(self.end);
            return written;
        }
        self.end += record.len() as u64;
        Ok(())
    }
}

fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = postcard::to_stdvec(value).expect("plain data");
    assert!(bytes.len() <= RECORD_BYTES_MAX, "a record of {} bytes", bytes.len());
    let mut record = (bytes.len() as u32).to_le_bytes().to_vec();
    record.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    record.extend_from_slice(&bytes);
    record
}

/// Replaces a file of records by another one in one step.
pub(super) fn replace<T: Serialize>(path: &Path, values: &[T]) -> Result<Records, JournalError> {
    let bytes: Vec<u8> = values.iter().flat_map(to_bytes).collect();
    files::replace(path, &bytes)?;
    Records::open(path, bytes.len() as u64)
}

/// The records at the beginning of `bytes` that are whole, and where they end.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> (Vec<T>, u64) {
    let mut values = Vec::new();
    let mut offset = 0;
    while let Some((value, length)) = read_one(&bytes[offset..]) {
        values.push(value);
        offset += length;
    }
    (values, offset as u64)
}

fn read_one<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, usize)> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let (length, crc) = header.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("4 bytes")) as usize;
    let crc = u32::from_le_bytes(crc.try_into().expect("4 bytes"));
    let record = rest.get(..length).filter(|_| length <= RECORD_BYTES_MAX)?;
    if crc32fast::hash(record) != crc {
        return None;
    }
    let (value, rest) = postcard::take_from_bytes(record).ok()?;
    rest.is_empty().then_some((value, HEADER_BYTES + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_leaves_whole_records() {
        let values = ["one".to_owned(), "two".to_owned(), "three".to_owned()];
        let bytes: Vec<u8> = values.iter().flat_map(to_bytes).collect();
        let ends: Vec<usize> =
            (0..=3).map(|n| values[..n].iter().map(|v| to_bytes(v).len()).sum()).collect();
        for length in 0..=bytes.len() {
            let (read, end) = read::<String>(&bytes[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            assert_eq!((&read[..], end), (&values[..whole], ends[whole] as u64), "{length} bytes");
        }
    }
}
