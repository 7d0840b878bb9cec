//! What the fuzz targets in `fuzz/` do with bytes that may be anything. Bounded siblings of them are
//! ordinary tests.

use std::sync::Arc;

use stackvm_machine::Instant;

use crate::branch::BranchId;
use crate::log::{self, BlockHeader, LogWriter};
use crate::timeline::Timeline;

/// A block of a log with these entries, its checksums right: what decodes, encodes to the same
/// bytes. Says whether it decodes.
///
/// # Panics
/// When it does not encode to the same.
pub fn timeline_log(data: &[u8]) -> bool {
    let (entries, payload) = data.split_first().unwrap_or((&0, &[]));
    let header = BlockHeader {
        crc: crc32fast::hash(payload),
        bytes: payload.len() as u32,
        entries: u32::from(*entries),
        first_entry: 0,
        first_at: Instant::from_ticks(77),
    };
    let mut block = header.to_bytes().to_vec();
    block.extend_from_slice(payload);
    let (entries, error) = log::read(&block);
    let (again, _) = log::read(data);
    assert!(again.len() <= data.len(), "entries from nowhere");
    if error.is_some() || payload.len() > crate::limits::LOG_BLOCK_BYTES {
        return false;
    }
    let mut writer = LogWriter::default();
    entries.iter().for_each(|entry| writer.push(entry));
    assert_eq!(writer.finish(), block);
    true
}

/// A whole file. Says whether it can be opened.
pub fn vmcast_open(data: &[u8]) -> bool {
    let Ok(timeline) = Timeline::open_vmcast("fuzz", Arc::new(data.to_vec())) else {
        return false;
    };
    read_all(&timeline);
    true
}

/// A journal of which every file may be anything: `data` is cut into them, each with its length
/// before it (two bytes). `folder` is overwritten. Says whether it can be opened.
#[cfg(unix)]
pub fn journal_open(folder: &std::path::Path, mut data: &[u8]) -> bool {
    const FILES: [&str; 7] = [
        "branch-0.tail",
        "branch-0.log",
        "branch-0.track",
        "keyframes",
        "notes",
        "manifest.json",
        "000000.pack",
    ];
    for name in FILES {
        let Some((length, rest)) = data.split_first_chunk() else { break };
        let (file, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        std::fs::write(folder.join(name), file).expect("write");
        data = rest;
    }
    let read = Timeline::open(folder).map(|timeline| read_all(&timeline)).is_ok();
    let written = crate::journal::Journal::open(folder, "fuzz");
    assert!(!read || written.is_ok(), "what is read can be gone on with: {written:?}");
    written.is_ok()
}

fn read_all(timeline: &Timeline) {
    let _ = timeline.verify_chunks();
    let _ = timeline.header().machine_config(&timeline.chunks());
    for branch in (0..timeline.branches().len() as u32).map(BranchId) {
        let entries = timeline.entries(branch, 0).map_while(Result::ok).count();
        assert_eq!(entries as u64, timeline.branch(branch).entries, "it was checked");
        timeline.track(branch).map_while(Result::ok).for_each(drop);
        assert!(timeline.begin(branch) <= timeline.branch(branch).end);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::{self, Folder, Random, key};

    #[test]
    fn logs_of_anything() {
        let mut random = Random::new(11);
        let mut sound = 0;
        for _ in 0..20_000 {
            let mut data = vec![1 + random.below(3) as u8, random.below(11) as u8, 0];
            data.extend((0..random.below(12)).map(|_| random.below(6) as u8));
            sound += u32::from(timeline_log(&data));
        }
        assert!(sound > 100, "only {sound} were logs");
    }

    #[test]
    fn journals_of_anything() {
        let folder = Folder::new();
        let path = folder.join("a");
        let mut journal = testing::journal(&path);
        for n in 0..5 {
            journal.append(&key(2000 + n, b'k')).unwrap();
        }
        drop(journal);
        let names = ["branch-0.tail", "branch-0.log", "keyframes", "manifest.json"];
        let sound = names.map(|name| fs::read(path.join(name)).unwrap());
        let mut random = Random::new(12);
        let mut opened = 0;
        for _ in 0..150 {
            let which = random.below(4) as usize;
            let mut bytes = sound[which].clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            for (name, bytes) in names.iter().zip(&sound) {
                fs::write(path.join(name), bytes).unwrap();
            }
            fs::write(path.join(names[which]), bytes).unwrap();
            opened += u32::from(journal_open(&path, &[]));
        }
        assert!((1..150).contains(&opened), "{opened} of 150");
    }
}
