//! The last number of each source of typing, kept beside the machine's journal, so that an input
//! that is sent again after the lab was killed is not typed twice.
//!
//! A number is written before its input, with the place that the input is about to have in the
//! journal. So a later lab knows whether it was typed: it was if the journal has come that far.
//! Each source has a row of two records that take turns, so that the one before is there if not.
//! Writes are in place and small: the end of the process cannot cut one. After a power loss the
//! ledger may be older than the journal: it is not worth a sync for each key.
//!
//! A ledger is read as from an attacker (the lab before may have been hijacked): it has a fixed
//! size, and whatever is in it is about this machine's typing only.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use stackvm_timeline::BranchId;

use super::typing::Key;
use crate::protocol::{SOURCES_MAX, SourceId};
use crate::recorder::EntryPlace;

/// Its name in the machine's folder.
pub(super) const LEDGER_FILE: &str = "typed";

const SOURCE_BYTES: usize = 16;
const RECORD_BYTES: usize = 24;
const ROW_BYTES: usize = SOURCE_BYTES + 2 * RECORD_BYTES;

/// A ledger, open for writing.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    rows: HashMap<SourceId, Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    number: usize,
    /// Where the next record goes: 0 or 1.
    turn: usize,
}

/// What one record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    number: u64,
    place: EntryPlace,
}

impl Ledger {
    /// The ledger of the machine in `folder`, whose journal's next entry comes at `next`, and what
    /// was typed by then. What was not is forgotten.
    pub(super) fn open(folder: &Path, next: EntryPlace) -> io::Result<(Ledger, Vec<Key>)> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(folder.join(LEDGER_FILE))?;
        let mut bytes = vec![0; SOURCES_MAX * ROW_BYTES];
        let there = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        bytes.truncate(there);
        file.read_exact_at(&mut bytes, 0)?;
        let mut ledger = Ledger { file, rows: HashMap::new() };
        let mut typed = Vec::new();
        for (number, row) in bytes.chunks_exact(ROW_BYTES).enumerate() {
            let source = SourceId(*row.first_chunk().expect("a row begins with its source"));
            let mut records = [0, 1].map(|turn| Record::read(source, record_of(row, turn)));
            for turn in [0, 1] {
                if records[turn].is_some_and(|record| !record.place.is_before(next)) {
                    // What comes there now is something else.
                    records[turn] = None;
                    ledger.file.write_all_at(&[0; RECORD_BYTES], record_offset(number, turn))?;
                }
            }
            let [first, second] = records;
            let Some(last) = first.into_iter().chain(second).max_by_key(|r| r.number) else {
                continue;
            };
            // The next one goes where this is not.
            let turn = usize::from(first == Some(last));
            if ledger.rows.insert(source, Row { number, turn }).is_none() {
                typed.push(Key { source, number: last.number });
            }
        }
        Ok((ledger, typed))
    }

    /// Writes that a numbered input is about to be at `place`. `forgotten` is a source whose row is
    /// free now.
    pub(super) fn note(
        &mut self,
        key: Key,
        place: EntryPlace,
        forgotten: Option<SourceId>,
    ) -> io::Result<()> {
        let record = Record { number: key.number, place }.bytes(key.source);
        if let Some(row) = self.rows.get_mut(&key.source) {
            self.file.write_all_at(&record, record_offset(row.number, row.turn))?;
            row.turn = 1 - row.turn;
            return Ok(());
        }
        let freed = forgotten.and_then(|source| self.rows.get(&source)).map(|row| row.number);
        let Some(number) = freed.or_else(|| self.unused()) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        let mut bytes = [0; ROW_BYTES];
        bytes[..SOURCE_BYTES].copy_from_slice(&key.source.0);
        bytes[SOURCE_BYTES..SOURCE_BYTES + RECORD_BYTES].copy_from_slice(&record);
        self.file.write_all_at(&bytes, (number * ROW_BYTES) as u64)?;
        if let Some(source) = forgotten {
            self.rows.remove(&source);
        }
        self.rows.insert(key.source, Row { number, turn: 1 });
        Ok(())
    }

    /// The first row that no source has.
    fn unused(&self) -> Option<usize> {
        let mut taken = [false; SOURCES_MAX];
        self.rows.values().for_each(|row| taken[row.number] = true);
        taken.iter().position(|taken| !taken)
    }
}

fn record_offset(row: usize, turn: usize) -> u64 {
    (row * ROW_BYTES + SOURCE_BYTES + turn * RECORD_BYTES) as u64
}

fn record_of(row: &[u8], turn: usize) -> &[u8; RECORD_BYTES] {
    let start = SOURCE_BYTES + turn * RECORD_BYTES;
    row[start..].first_chunk().expect("a row has two records")
}

impl Record {
    fn bytes(self, source: SourceId) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.place.entries.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.place.branch.0.to_le_bytes());
        let crc = checksum(source, &bytes);
        bytes[20..].copy_from_slice(&crc);
        bytes
    }

    /// What the bytes say, if anything was written there for this source.
    fn read(source: SourceId, bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("8 bytes"));
        let branch = u32::from_le_bytes(*bytes[16..].first_chunk().expect("4 bytes"));
        let place = EntryPlace { branch: BranchId(branch), entries: word(8) };
        (bytes[20..] == checksum(source, bytes)).then(|| Record { number: word(0), place })
    }
}

/// Over the source and what is before the checksum.
fn checksum(source: SourceId, record: &[u8; RECORD_BYTES]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    // A row of zeroes is not one.
    crc.update(b"typed");
    crc.update(&source.0);
    crc.update(&record[..20]);
    crc.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: u8, number: u64) -> Key {
        Key { source: SourceId([source; 16]), number }
    }

    fn place(branch: u32, entries: u64) -> EntryPlace {
        EntryPlace { branch: BranchId(branch), entries }
    }

    #[test]
    fn what_the_journal_has_was_typed() {
        let check = |notes: &[(Key, EntryPlace)], next: EntryPlace, typed: &[(u8, u64)]| {
            let folder = tempfile::tempdir().unwrap();
            let (mut ledger, none) = Ledger::open(folder.path(), place(0, 1)).unwrap();
            assert!(none.is_empty());
            for (key, at) in notes {
                ledger.note(*key, *at, None).unwrap();
            }
            let (_, mut seen) = Ledger::open(folder.path(), next).unwrap();
            seen.sort_by_key(|key| key.source.0);
            let seen: Vec<_> = seen.iter().map(|key| (key.source.0[0], key.number)).collect();
            assert_eq!(seen, typed, "{notes:?} before {next:?}");
        };
        let notes = [
            (key(1, 1), place(0, 1)),
            (key(2, 9), place(0, 2)),
            (key(1, 2), place(0, 3)),
            (key(1, 3), place(0, 5)),
        ];
        check(&notes, place(0, 6), &[(1, 3), (2, 9)]);
        check(&notes, place(0, 5), &[(1, 2), (2, 9)]);
        check(&notes[..3], place(0, 3), &[(1, 1), (2, 9)]);
        check(&notes[..2], place(0, 2), &[(1, 1)]);
        check(&notes, place(1, 1), &[(1, 3), (2, 9)]);
        check(&[], place(0, 7), &[]);
    }

    #[test]
    fn a_record_that_was_not_reached_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let open = |next| Ledger::open(folder.path(), place(0, next)).unwrap();
        let mut ledger = open(1).0;
        for number in 1..=3 {
            ledger.note(key(1, number), place(0, number), None).unwrap();
        }
        // The third never came to be, and is sent again with what is at another place now.
        assert_eq!(open(3).1[0].number, 2);
        let (mut ledger, typed) = open(99);
        assert_eq!(typed[0].number, 2, "another input is in its place");
        ledger.note(key(1, 3), place(0, 4), None).unwrap();
        assert_eq!(open(5).1[0].number, 3);
    }

    #[test]
    fn a_forgotten_source_gives_its_row_and_damage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Ledger::open(folder.path(), place(0, 99)).unwrap();
        let mut ledger = open().0;
        ledger.note(key(1, 5), place(0, 1), None).unwrap();
        ledger.note(key(2, 6), place(0, 2), Some(key(1, 0).source)).unwrap();
        assert_eq!(std::fs::metadata(folder.path().join(LEDGER_FILE)).unwrap().len(), 64);
        let typed = open().1;
        assert_eq!((typed.len(), typed[0].number), (1, 6));
        for byte in 0..ROW_BYTES as u64 {
            let mut old = [0];
            ledger.file.read_exact_at(&mut old, byte).unwrap();
            ledger.file.write_all_at(&[old[0] ^ 1], byte).unwrap();
            let in_second = byte >= (SOURCE_BYTES + RECORD_BYTES) as u64;
            assert_eq!(open().1.len(), usize::from(in_second), "byte {byte}");
            ledger.file.write_all_at(&old, byte).unwrap();
        }
    }
}
