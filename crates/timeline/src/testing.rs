//! Made-up recordings for tests of the formats: no machine could have made them.

use std::fs::File;
use std::path::{Path, PathBuf};

use stackvm_machine::io::{ConsoleId, Input, NicId, PortId};
use stackvm_machine::{Instant, MachineConfig};
use stackvm_store::{Digest, NoChunks, PackWriter, tree};

use crate::branch::BranchId;
use crate::event::{ActorId, Entry, Event};
use crate::header::{Content, Header, Sources};
use crate::journal::Journal;
use crate::keyframe::{Keyframe, WrittenBlocks};
use crate::log::UNIT_TICKS;
use crate::screen::Derived;

/// Numbers that are the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }

    fn bytes(&mut self, bound: u64) -> Vec<u8> {
        (0..self.below(bound)).map(|_| self.below(256) as u8).collect()
    }

    /// An entry of any kind after another one.
    pub(crate) fn entry(&mut self, after: Instant) -> Entry {
        let ticks = match self.below(4) {
            0 => 0,
            1 => self.below(100),
            _ => self.below(1 << 20) * UNIT_TICKS,
        };
        let console = match self.below(4) {
            0 => ConsoleId::Serial,
            1 => ConsoleId::Hvc(self.below(256) as u8),
            _ => ConsoleId::Hvc(0),
        };
        let port = PortId(self.below(20) as u8);
        let input = match self.below(10) {
            0 => Input::Resize { console, columns: self.below(1000) as u16, rows: 24 },
            1 => Input::PortOpen { port },
            2 => Input::PortClose { port },
            3 => Input::Port { port, bytes: self.bytes(300) },
            4 => Input::Frame { nic: NicId(0), bytes: self.bytes(1600) },
            5 => Input::Rate { ticks: 1 << self.below(11) },
            6 => Input::Identity { seed: self.below(1 << 40), rtc_ns: self.below(1 << 40) },
            7 => Input::Console { console, bytes: self.bytes(40) },
            _ => Input::Console { console, bytes: self.bytes(2) },
        };
        let event = match self.below(40) {
            0 => Event::Reset { seed: self.below(1 << 40), rtc_ns: 5 },
            _ => Event::Input(input),
        };
        let at = Instant::from_ticks(after.ticks() + ticks);
        Entry { at, actor: ActorId(self.below(3) as u16), event }
    }
}

/// A key that somebody types.
pub(crate) fn key(at_units: u64, byte: u8) -> Entry {
    Entry {
        at: Instant::from_ticks(at_units * UNIT_TICKS),
        actor: ActorId::HOST,
        event: Event::Input(Input::Console { console: ConsoleId::Hvc(0), bytes: vec![byte] }),
    }
}

/// A folder of its own for a test, removed with what is in it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A made-up keyframe and its new chunks, in a pack at `pack`; its terminals show nothing.
pub(crate) fn keyframe(pack: &Path, branch: BranchId, at: Instant, content: u8) -> Keyframe {
    keyframe_showing(pack, branch, at, content, &Derived::default())
}

/// The same with something on its terminals.
pub(crate) fn keyframe_showing(
    pack: &Path,
    branch: BranchId,
    at: Instant,
    content: u8,
    derived: &Derived,
) -> Keyframe {
    let mut writer = PackWriter::new(File::create(pack).expect("create"));
    let mut blob = |bytes: &[u8]| tree::write_blob(bytes, &NoChunks, &mut writer).expect("write");
    let state = blob(&[content; 5000]);
    let derived = blob(&postcard::to_stdvec(derived).expect("plain data"));
    let written = blob(&[1]);
    let mut ram = vec![0; 2 << 20];
    ram[12 << 12..][..4096].fill(content);
    ram[300 << 12..][..4096].fill(7);
    let (ram, blocks) = (blob(&ram).tree, blob(&[content; 8192]).tree);
    writer.finish().expect("write").sync_all().expect("sync");
    Keyframe {
        branch,
        at,
        entries: 0,
        digest: Digest::of(&[content]),
        state,
        ram,
        disks: vec![WrittenBlocks { written, blocks }],
        seed: 1,
        rtc_ns: 2,
        derived,
        retired: 3,
        track_bytes: 0,
    }
}

/// A header for such keyframes; its kernel and disk are files of this computer beside `beside`.
pub(crate) fn header(beside: &Path) -> Header {
    use stackvm_machine::config::DiskConfig;
    use stackvm_machine::devices::disk::ZeroSource;
    use std::sync::Arc;

    let (kernel, disk) = (beside.with_extension("kernel"), beside.with_extension("disk"));
    std::fs::write(&kernel, b"\x13\x00\x00\x00 a kernel").expect("write");
    let mut content = vec![0; 8192];
    content[4096..].fill(0x55);
    std::fs::write(&disk, &content).expect("write");
    let config = MachineConfig {
        memory_bytes: 2 << 20,
        kernel: Some(Arc::new(b"\x13\x00\x00\x00 a kernel".to_vec())),
        disks: vec![DiskConfig {
            source: Arc::new(ZeroSource { size_bytes: 8192 }),
            read_only: false,
            serial: "disk0".to_owned(),
        }],
        consoles: 1,
        ..MachineConfig::default()
    };
    Header::new(
        &config,
        Sources {
            label: "made-up".to_owned(),
            created_unix_ms: 1_767_225_600_000,
            kernel: Some(Content::file(&kernel, None).expect("a kernel")),
            disks: vec![crate::header::DiskBase::File(
                Content::file(&disk, Some(Digest::of(&content))).expect("a disk"),
            )],
            ..Sources::default()
        },
    )
}

/// A journal with a first keyframe at 1 ms.
pub(crate) fn journal(folder: &Path) -> Journal {
    let header = header(folder);
    let pack = folder.with_extension("pack");
    let first = keyframe(&pack, BranchId::TRUNK, Instant::from_ticks(1000 * UNIT_TICKS), 1);
    Journal::create(folder, &header, &[pack], &first, "a test").expect("a journal")
}
