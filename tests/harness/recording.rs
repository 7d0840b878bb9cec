//! Recording a machine without a host: a test says what happens at which instant.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stackvm_machine::devices::disk::BLOCK_BYTES;
use stackvm_machine::digest::{Digest, HashTree};
use stackvm_machine::{ConsoleId, Firmware, Input, Instant, Machine, MachineConfig, Stop};
use stackvm_store::{Blob, Chunks, PackSet, PackWriter, tree};
use stackvm_timeline::branch::{BranchKind, ForkPoint, Origin};
use stackvm_timeline::header::{Content, DiskBase, Header, Sources};
use stackvm_timeline::journal::Journal;
use stackvm_timeline::keyframe::{Job, Keyframer, Place};
use stackvm_timeline::replay::{Boot, Replay};
use stackvm_timeline::screen::{Derived, Screens};
use stackvm_timeline::{ActorId, BranchId, Entry, Event, Position, Timeline};

/// When recordings are said to begin: fixed, so that they have the same bytes each time.
const CREATED_UNIX_MS: u64 = 1_767_225_600_000;

/// A state that a recorded machine was in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// Where.
    pub position: Position,
    /// The machine's digest there.
    pub digest: Digest,
    /// What its terminals showed.
    pub derived: Derived,
}

/// A machine that is being recorded.
pub struct Recording {
    config: MachineConfig,
    machine: Machine,
    screens: Screens,
    journal: Journal,
    keyframer: Keyframer,
    /// States on the way, in no particular order.
    pub witnesses: Vec<Witness>,
}

impl Recording {
    /// Switches a machine on and records it into the folder `NAME.journal` in `folder`.
    ///
    /// # Panics
    /// When anything goes wrong, as everything here does.
    pub fn start(folder: &Path, name: &str, config: &MachineConfig) -> Recording {
        let mut machine = Machine::new(config).expect("a machine");
        let files = folder.join(format!("{name}.files.pack"));
        let header = write_files(&files, name, config);
        let mut keyframer = Keyframer::new(Arc::new(PackSet::new()), None);
        let first = Job {
            frozen: machine.freeze(),
            derived: Derived::default(),
            place: Place { branch: BranchId::TRUNK, entries: 0, track_bytes: 0 },
            pack: folder.join(format!("{name}.first.pack")),
        };
        keyframer.start(first, || {}).expect("a thread");
        let first = keyframer.wait().expect("was started").expect("a keyframe");
        let packs = [files, first.path.clone()];
        let folder = folder.join(format!("{name}.journal"));
        let journal = Journal::create(&folder, &header, &packs, &first.keyframe, "a test");
        let journal = journal.expect("a journal");
        for pack in packs {
            std::fs::remove_file(pack).expect("the journal has its own");
        }
        let mut recording = Recording {
            config: config.clone(),
            machine,
            screens: Screens::new(),
            keyframer: Keyframer::new(journal.chunks(), None),
            journal,
            witnesses: Vec::new(),
        };
        recording.witness();
        recording
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What its terminals show.
    pub fn screens(&self) -> &Screens {
        &self.screens
    }

    /// The journal.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Runs to `until`, or to the machine's end.
    pub fn run(&mut self, until: Instant) -> Stop {
        loop {
            let stop = self.machine.run(until);
            let now = self.machine.now();
            self.journal.reach(now).expect("a journal that takes it");
            for output in self.machine.take_outputs() {
                self.screens.output(&output);
                self.journal.output(now, &output).expect("a journal that takes it");
            }
            if stop != Stop::Outputs {
                return stop;
            }
        }
    }

    /// Has something happen now.
    pub fn put(&mut self, event: Event) {
        let entry = Entry { at: self.machine.now(), actor: ActorId::HOST, event };
        self.journal.append(&entry).expect("a journal that takes it");
        self.screens.event(&entry.event);
        match entry.event {
            Event::Input(input) => self.machine.input(input),
            Event::Reset { seed, rtc_ns } => {
                self.config = MachineConfig { seed, rtc_ns, ..self.config.clone() };
                self.machine.reset(&self.config).expect("a machine");
            }
        }
    }

    /// Types at the serial line.
    pub fn serial(&mut self, text: &str) {
        let bytes = text.as_bytes().to_vec();
        self.put(Event::Input(Input::Console { console: ConsoleId::Serial, bytes }));
    }

    /// Does something to the machine that is not recorded.
    pub fn tamper(&mut self, change: impl FnOnce(&mut Machine)) {
        change(&mut self.machine);
    }

    /// Where it is.
    pub fn position(&self) -> Position {
        let tip = self.journal.tip();
        Position { branch: tip.branch, at: self.machine.now(), entries: Some(tip.entries) }
    }

    /// Remembers the state here.
    pub fn witness(&mut self) {
        let (position, digest) = (self.position(), self.machine.digest());
        self.witnesses.push(Witness { position, digest, derived: self.screens.derived() });
    }

    /// Takes a keyframe here; the CPU time it cost, and the bytes of its pack.
    pub fn keyframe(&mut self) -> (Duration, u64) {
        let tip = self.journal.tip();
        let track_bytes = self.journal.cut_track().expect("a journal that takes it");
        let place = Place { branch: tip.branch, entries: tip.entries, track_bytes };
        let pack = self.journal.new_pack_path();
        let frozen = self.machine.freeze();
        let job = Job { frozen, derived: self.screens.derived(), place, pack };
        self.keyframer.start(job, || {}).expect("a thread");
        let done = self.keyframer.wait().expect("was started").expect("a keyframe");
        let added = self.journal.add_verified_keyframe(&done.keyframe, done.pack);
        added.expect("a journal that takes it");
        (done.cpu, done.pack_bytes)
    }

    /// Goes on from an earlier place as another branch.
    pub fn branch(&mut self, name: &str, from: Position) {
        let timeline = Arc::new(self.journal.timeline().expect("a timeline"));
        let mut replay = Replay::new(timeline).expect("a replay");
        replay.seek(from).expect("a recorded place");
        let departure = replay.depart(Boot::Read).expect("a machine");
        let Position { branch, at, entries } = departure.from;
        let entries = entries.expect("a replay counts them");
        let origin = Origin::Fork(ForkPoint { branch, at, entries });
        let begun = self.begin(origin, at, name);
        assert!(begun != BranchId::TRUNK, "another branch");
        self.machine = departure.machine;
        self.config = departure.config;
        self.screens = Screens::from_derived(&departure.derived);
    }

    /// Goes on as the same machine later, after something that is not in the recording.
    pub fn gap(&mut self, name: &str, change: impl FnOnce(&mut Machine)) {
        let after = self.journal.tip().branch;
        change(&mut self.machine);
        self.machine.take_outputs();
        self.begin(Origin::Gap { after }, self.machine.now(), name);
        self.keyframe();
    }

    fn begin(&mut self, origin: Origin, at: Instant, name: &str) -> BranchId {
        let kind = BranchKind::Exact;
        let begun = self.journal.begin_branch(origin, at, name, "somebody", kind, CREATED_UNIX_MS);
        begun.expect("a journal that takes it")
    }

    /// The timeline so far.
    pub fn timeline(&mut self) -> Arc<Timeline> {
        Arc::new(self.journal.timeline().expect("a timeline"))
    }

    /// Ends recording.
    pub fn end(mut self) -> (PathBuf, Vec<Witness>) {
        self.journal.sync().expect("a disk that takes it");
        (self.journal.folder().to_owned(), self.witnesses)
    }
}

/// Writes what the machine is made from into a pack.
fn write_files(path: &Path, label: &str, config: &MachineConfig) -> Header {
    let mut pack = PackWriter::new(BufWriter::new(File::create_new(path).expect("a file")));
    let none = PackSet::new();
    let mut store = |bytes: &Arc<Vec<u8>>| Content::Stored(blob(bytes, &none, &mut pack));
    let mut sources = Sources {
        label: label.to_owned(),
        created_unix_ms: CREATED_UNIX_MS,
        kernel: config.kernel.as_ref().map(&mut store),
        initrd: config.initrd.as_ref().map(&mut store),
        ..Sources::default()
    };
    if let Some(Firmware::File(bytes)) = &config.firmware {
        sources.firmware = Some(store(bytes));
    }
    for disk in &config.disks {
        let size = disk.source.size_bytes();
        let mut tree = HashTree::new(size.div_ceil(BLOCK_BYTES as u64));
        let read = |block: u64, to: &mut [u8; BLOCK_BYTES]| {
            let offset = block * BLOCK_BYTES as u64;
            let inside = (size - offset).min(BLOCK_BYTES as u64) as usize;
            to.fill(0);
            disk.source.read_at(offset, &mut to[..inside])
        };
        let mut page = [0; BLOCK_BYTES];
        for block in 0..tree.pages() {
            read(block, &mut page).expect("a readable disk");
            tree.set(block, Digest::of_page(&page));
        }
        let stored = tree::write(&mut tree, None, &mut { read }, &none, &mut pack);
        sources.disks.push(DiskBase::Stored(stored.expect("a disk that takes it")));
    }
    let sink = pack.finish().expect("a disk that takes it");
    sink.into_inner().expect("a disk that takes it").sync_all().expect("a disk that takes it");
    Header::new(config, sources)
}

fn blob(bytes: &[u8], known: &dyn Chunks, pack: &mut PackWriter<BufWriter<File>>) -> Blob {
    tree::write_blob(bytes, known, pack).expect("a disk that takes it")
}
