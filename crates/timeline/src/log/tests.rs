//! What is written is read again; what is cut or flipped is noticed.

use super::*;
use crate::event::Event;
use crate::testing::{Random, key};
use stackvm_machine::{ConsoleId, Input, NicId};

fn written(entries: &[Entry]) -> Vec<u8> {
    let mut log = LogWriter::default();
    entries.iter().for_each(|entry| log.push(entry));
    log.finish()
}

fn entries(seed: u64, count: usize) -> Vec<Entry> {
    let mut random = Random::new(seed);
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..count {
        let after = entries.last().map_or(Instant::from_ticks(77), |entry| entry.at);
        entries.push(random.entry(after));
    }
    entries
}

#[test]
fn what_is_written_is_read_again() {
    for seed in 0..200 {
        let entries = entries(seed, seed as usize);
        let bytes = written(&entries);
        assert_eq!(read(&bytes), (entries, None), "seed {seed}");
    }
}

#[test]
fn long_logs_are_cut_into_blocks() {
    let entries = entries(1, 3000);
    let bytes = written(&entries);
    assert!(bytes.len() > 4 * LOG_BLOCK_BYTES, "{} bytes", bytes.len());
    assert_eq!(read(&bytes), (entries, None));
}

#[test]
fn an_entry_longer_than_a_block_is_a_block_alone() {
    let long = Entry {
        at: Instant::ZERO,
        actor: ActorId(9),
        event: Event::Input(Input::Frame { nic: NicId(200), bytes: vec![3; DATA_BYTES_MAX] }),
    };
    let entries = [key(0, 1), long.clone(), long, key(1 << 60 >> 14, 2)];
    assert_eq!(read(&written(&entries)), (entries.to_vec(), None));
}

#[test]
fn a_key_takes_four_bytes_beside_itself() {
    // Ten keys a second, as somebody types them: not quite evenly.
    let keys: Vec<_> = (0..600).map(|n| key(n * 97_656 + n * n % 9000, b'x')).collect();
    let bytes = written(&keys).len() - BLOCK_HEADER_BYTES;
    assert!(bytes <= 600 * 5, "{} bytes a key", bytes as f64 / 600.0);
}

#[test]
fn a_cut_log_is_good_up_to_its_last_whole_block() {
    let entries = entries(2, 1200);
    let bytes = written(&entries);
    let mut random = Random::new(3);
    let mut lengths: Vec<usize> =
        (0..300).map(|_| random.below(bytes.len() as u64) as usize).collect();
    lengths.extend([0, 1, BLOCK_HEADER_BYTES, bytes.len() - 1]);
    for length in lengths {
        let (read, error) = read(&bytes[..length]);
        assert_eq!(read, entries[..read.len()], "{length} bytes");
        assert!(error.is_some() || read.is_empty() || written(&read).len() == length);
        assert!(read.len() < entries.len());
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let entries = entries(4, 12);
    let bytes = written(&entries);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (read, error) = read(&bytes);
        assert!(read.is_empty() && error.is_some(), "bit {bit}");
    }
}

#[test]
fn absurd_entries_are_refused_where_they_are() {
    let check = |payload: &[u8], expected: &str| {
        let header = BlockHeader {
            crc: crc32fast::hash(payload),
            bytes: payload.len() as u32,
            entries: 1,
            first_entry: 0,
            first_at: Instant::from_ticks(u64::MAX - 5),
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(payload);
        let (entries, error) = read(&bytes);
        let error = error.expect(expected).to_string();
        assert!(entries.is_empty() && error.contains(expected), "{error} instead of {expected}");
    };
    check(&[0x02, 0, 0xff, 0xff, 0xff, 0x7f], "bytes of data");
    check(&[0x02, 0, 0x85, 0x00], "shortest form");
    check(&[0x02, 0, 1, b'x'], "shortest form");
    check(&[0x02, 0, 5, b'x'], "cut off");
    check(&[0x81, 0x80, 0x80, 1, b'x'], "shortest form");
    check(&[0x01, 1, b'x'], "too large");
    check(&[0x81, 3, b'x'], "not at the block's instant");
    check(&[0x08, 0, 3], "power of two");
    check(&[0x18, 0, 1], "place");
    check(&[0x0f, 0, 3], "unknown kind");
    check(&[0x00, 0, 1, 0], "changes nothing");
    check(&[0x00, 1, 0x00, 0], "unknown kind");
    check(&[0x01, 0, b'x', 0], "too many");
    check(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "number is too");
    check(&[0x73, 0xff, 0x01, 0, 1, 1], "no such");
}

#[test]
fn a_header_that_promises_too_much_is_refused() {
    let header = |bytes: u32, entries: u32| {
        let header =
            BlockHeader { crc: 0, bytes, entries, first_entry: 0, first_at: Instant::ZERO };
        BlockHeader::from_bytes(&header.to_bytes())
    };
    assert!(header(100, 10).is_ok());
    for (bytes, entries) in [(u32::MAX, 10), (100, 101), (100, 0), (0, 0)] {
        assert!(header(bytes, entries).is_err(), "{bytes} bytes, {entries} entries");
    }
}

#[test]
fn whatever_is_read_is_written_the_same() {
    // Bytes near to a log: its own with some changed, and the checksums made right again.
    let mut random = Random::new(5);
    let mut sound = 0;
    for seed in 0..3000 {
        let bytes = written(&entries(seed, 1 + seed as usize % 6));
        let mut payload = bytes[BLOCK_HEADER_BYTES..].to_vec();
        for _ in 0..1 + random.below(3) {
            let at = random.below(payload.len() as u64) as usize;
            payload[at] = random.below(256) as u8;
        }
        if reads_back_the_same(&bytes, &payload) {
            sound += 1;
        }
    }
    assert!(sound > 100, "only {sound} were logs");
}

/// As the fuzz target: if the payload under the header of `bytes` is a log, writing its entries
/// makes the same bytes.
fn reads_back_the_same(bytes: &[u8], payload: &[u8]) -> bool {
    let header = BlockHeader::from_bytes(bytes.first_chunk().expect("a header")).expect("sound");
    let header =
        BlockHeader { crc: crc32fast::hash(payload), bytes: payload.len() as u32, ..header };
    let mut log = header.to_bytes().to_vec();
    log.extend_from_slice(payload);
    let (entries, error) = read(&log);
    if error.is_none() {
        assert_eq!(written(&entries), log);
    }
    error.is_none()
}

#[test]
fn a_terminal_of_any_number_keeps_it() {
    for n in [0, 5, 6, 7, 254, 255] {
        let entry = Entry {
            event: Event::Input(Input::Console { console: ConsoleId::Hvc(n), bytes: Vec::new() }),
            ..key(1, 0)
        };
        assert_eq!(read(&written(std::slice::from_ref(&entry))), (vec![entry], None));
    }
}

/// The worked example of `docs/vmcast-format.md`.
#[test]
fn the_example_in_the_format_s_description_is_a_log() {
    let page = include_str!("../../../../docs/vmcast-format.md");
    let example = page.split("<!-- example -->").nth(1).expect("the page has an example");
    let mut bytes = Vec::new();
    for line in example.lines().filter(|line| line.starts_with("    ")) {
        let hex = line.trim().split("  ").next().expect("bytes before what they mean");
        let digits = hex.split(' ').filter(|digits| !digits.is_empty());
        bytes.extend(digits.map(|hex| u8::from_str_radix(hex, 16).expect("hexadecimal")));
    }
    let at = |units: u64| Instant::from_ticks(units * UNIT_TICKS);
    let console =
        |console, text: &[u8]| Event::Input(Input::Console { console, bytes: text.to_vec() });
    let anna = ActorId(1);
    let entries = vec![
        Entry { at: at(3), actor: ActorId::HOST, event: Event::Input(Input::Rate { ticks: 16 }) },
        Entry { at: at(200), actor: anna, event: console(ConsoleId::Hvc(0), b"l") },
        Entry { at: at(200), actor: anna, event: console(ConsoleId::Serial, b"ok\r") },
        Entry {
            at: Instant::from_ticks(at(200).ticks() + 5),
            actor: ActorId::HOST,
            event: Event::Input(Input::Frame { nic: NicId(8), bytes: vec![0xff, 0] }),
        },
    ];
    let made = written(&entries);
    assert_eq!(read(&bytes), (entries, None), "it should be {made:02x?}");
}
