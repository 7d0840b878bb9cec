//! Every operation fails once, and the power at any time.

use std::cell::RefCell;
use std::path::PathBuf;

use super::super::files::faults;
use super::*;
use crate::testing::Random;

/// What a session has done, by branch.
#[derive(Clone, Default)]
struct Done {
    entries: Vec<Vec<Entry>>,
    /// The entry that was being written.
    attempted: Option<Entry>,
    reached: Instant,
    synced: usize,
    keyframes: usize,
    notes: usize,
}

/// A session that ends with the first error, unless `try_again` is told to go on.
struct Session {
    journal: Journal,
    done: Done,
    retries: u32,
}

impl Session {
    fn new(journal: Journal) -> Session {
        let done = Done { entries: vec![Vec::new()], keyframes: 1, ..Done::default() };
        Session { journal, done, retries: 0 }
    }

    /// Does something until it succeeds or may not be tried again.
    fn attempt<T>(
        &mut self,
        mut act: impl FnMut(&mut Journal) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        loop {
            match act(&mut self.journal) {
                Ok(value) => return Ok(value),
                Err(error) if self.retries == 0 => return Err(error),
                Err(_) => self.retries -= 1,
            }
        }
    }

    fn append(&mut self, entry: Entry) -> Result<(), JournalError> {
        self.done.attempted = Some(entry.clone());
        self.attempt(|journal| journal.append(&entry))?;
        self.done.attempted = None;
        self.done.reached = entry.at;
        self.done.entries.last_mut().expect("a branch").push(entry);
        Ok(())
    }

    fn run(&mut self) -> Result<(), JournalError> {
        let mut random = Random::new(8);
        self.attempt(|journal| journal.actor("a"))?;
        self.attempt(|journal| journal.actor("b"))?;
        for round in 0..2 {
            for n in 0..70 {
                let mut entry = random.entry(self.journal.tip().reached);
                if n == 40 {
                    // So that a block ends.
                    let frame =
                        Input::Frame { nic: stackvm_machine::NicId(0), bytes: vec![n; 65_000] };
                    entry.event = Event::Input(frame);
                }
                self.append(entry)?;
                if n % 10 == 0 {
                    let at = Instant::from_ticks(self.journal.tip().reached.ticks() + 5);
                    self.attempt(|journal| journal.reach(at))?;
                    self.done.reached = at;
                }
                if n % 23 == 0 {
                    self.attempt(Journal::sync)?;
                    self.done.synced = self.done.entries.last().expect("a branch").len();
                }
            }
            self.keyframe_and_note()?;
            if round == 0 {
                let tip = self.journal.tip();
                self.attempt(|journal| {
                    let kind = BranchKind::Exact;
                    journal.begin_branch(fork_at(tip), tip.reached, "b", "", kind, 0)
                })?;
                self.done.entries.push(Vec::new());
                self.done.synced = 0;
            }
        }
        Ok(())
    }

    fn keyframe_and_note(&mut self) -> Result<(), JournalError> {
        let tip = self.journal.tip();
        let pack = self.journal.new_pack_path();
        let mut keyframe = testing::keyframe(&pack, tip.branch, tip.reached, 50);
        keyframe.track_bytes = self.attempt(Journal::cut_track)?;
        keyframe.entries = tip.entries;
        self.attempt(|journal| journal.add_keyframe(&keyframe, &pack))?;
        self.done.keyframes += 1;
        let words = Words::Comment("so it goes".to_owned());
        let (branch, at) = (tip.branch, tip.reached);
        let note = Note { branch, at, author: String::new(), unix_ms: 0, words };
        self.attempt(|journal| journal.note(&note))?;
        self.done.notes += 1;
        Ok(())
    }
}

/// The journal that each session begins with, copied: making one takes many syncs.
pub(super) fn copy_of(template: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(template).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Compares what is found with what was acknowledged; one entry more may be there.
fn check(found: &Timeline, done: &Done, case: &str) {
    for (n, acknowledged) in done.entries.iter().enumerate() {
        let mut found = entries(found, BranchId(n as u32));
        if n + 1 == done.entries.len() && found.len() == acknowledged.len() + 1 {
            assert_eq!(found.pop(), done.attempted, "{case}");
        }
        assert!(found == *acknowledged, "{case}: {} of {}", found.len(), acknowledged.len());
    }
    let last = BranchId(done.entries.len() as u32 - 1);
    assert!(found.branch(last).end >= done.reached, "{case}");
    assert!(found.keyframes().len() >= done.keyframes, "{case}");
    assert!(found.notes().len() >= done.notes, "{case}");
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    let folder = Folder::new();
    let template = folder.join("template");
    drop(testing::journal(&template));
    let mut crashes = 0;
    for operation in 0.. {
        let path = folder.join(&format!("crash-{operation}"));
        copy_of(&template, &path);
        let mut session = Session::new(Journal::open(&path, "a test").unwrap());
        faults::fail_after(operation, u64::MAX, operation as usize % 7);
        let result = session.run();
        faults::heal();
        let Session { journal, done, .. } = session;
        drop(journal);
        check(&Timeline::open(&path).unwrap(), &done, &format!("read, operation {operation}"));
        let journal = Journal::open(&path, "after the crash").unwrap();
        let case = format!("opened, operation {operation}");
        check(&journal.timeline().unwrap(), &done, &case);
        drop(journal);
        fs::remove_dir_all(&path).unwrap();
        if result.is_ok() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 300, "only {crashes} operations");
}

#[test]
fn what_fails_is_done_again_and_nothing_is_there_twice() {
    let folder = Folder::new();
    let template = folder.join("template");
    drop(testing::journal(&template));
    for operation in (0..).step_by(3) {
        let path = folder.join(&format!("full-{operation}"));
        copy_of(&template, &path);
        let mut session = Session::new(Journal::open(&path, "a test").unwrap());
        session.retries = 2;
        faults::fail_after(operation, 2, operation as usize % 5);
        session.run().expect("all of it");
        let failed = faults::heal();
        let Session { journal, done, .. } = session;
        check(&journal.timeline().unwrap(), &done, &format!("operation {operation}"));
        drop(journal);
        check(&Timeline::open(&path).unwrap(), &done, &format!("operation {operation}"));
        fs::remove_dir_all(&path).unwrap();
        if !failed {
            return;
        }
    }
}

#[test]
fn a_power_loss_loses_no_more_than_what_came_after_the_last_sync() {
    let folder = Folder::new();
    let template = folder.join("template");
    drop(testing::journal(&template));
    for case in 0..150u64 {
        let random = RefCell::new(Random::new(case + 1));
        let path: PathBuf = folder.join(&format!("power-{case}"));
        copy_of(&template, &path);
        let mut session = Session::new(Journal::open(&path, "a test").unwrap());
        faults::note_unsynced();
        faults::fail_after(random.borrow_mut().below(400), u64::MAX, 0);
        let _ = session.run();
        faults::heal();
        let Session { journal, done, .. } = session;
        drop(journal);
        let part = random.borrow_mut().below(5);
        faults::lose_power(|| random.borrow_mut().below(4) < part);
        let journal = Journal::open(&path, "after the power loss").unwrap();
        let found = journal.timeline().unwrap();
        for (n, acknowledged) in done.entries.iter().enumerate() {
            let mut all = acknowledged.clone();
            let is_last = n + 1 == done.entries.len();
            all.extend(done.attempted.clone().filter(|_| is_last));
            let found = entries(&found, BranchId(n as u32));
            let least = if is_last { done.synced } else { acknowledged.len() };
            assert!(found.len() >= least, "case {case}: {} of {least}", found.len());
            assert!(found == all[..found.len()], "case {case}");
        }
    }
}

/// Names the folder to a process that may not write long files.
const LIMITED: &str = "STACKVM_TEST_LIMITED";

/// The host's own errors: a process that may not write long files appends until it cannot, and that
/// goes on when it can.
#[test]
fn a_file_that_may_not_grow_keeps_what_was_acknowledged() {
    if let Some(path) = std::env::var_os(LIMITED) {
        let mut journal = Journal::open(Path::new(&path), "a limited process").unwrap();
        let mut count = 0;
        let error = loop {
            match journal.append(&frame(count)) {
                Ok(()) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, JournalError::Write { .. }), "{error}");
        journal.reach(units(1 << 30)).expect("overwriting needs no space");
        // Without anything that runs at the end of a process.
        fs::write(Path::new(&path).with_extension("count"), count.to_string()).unwrap();
        std::process::abort();
    }
    let folder = Folder::new();
    let path = folder.join("a");
    drop(testing::journal(&path));
    let limited = "trap '' XFSZ; ulimit -f 256; exec \"$0\" --exact \"$1\"";
    let name = concat!(module_path!(), "::a_file_that_may_not_grow_keeps_what_was_acknowledged");
    let name = name.split_once("::").expect("a crate's name").1;
    let status = std::process::Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(LIMITED, &path)
        .output()
        .unwrap();
    let count = fs::read_to_string(path.with_extension("count"));
    let count: u64 = count.unwrap_or_else(|_| panic!("{status:?}")).parse().unwrap();
    assert!(count > 10, "{count} frames");
    let mut journal = Journal::open(&path, "again").unwrap();
    assert_eq!(journal.tip().reached, units(1 << 30));
    let expected: Vec<Entry> = (0..count).map(frame).collect();
    assert!(entries(&journal.timeline().unwrap(), BranchId::TRUNK) == expected);
    journal.append(&key(1 << 31, b'x')).unwrap();
    assert_eq!(entries(&journal.timeline().unwrap(), BranchId::TRUNK).len() as u64, count + 1);
}

fn frame(n: u64) -> Entry {
    let bytes = vec![n as u8; 1400];
    Entry {
        event: Event::Input(Input::Frame { nic: stackvm_machine::NicId(0), bytes }),
        ..key(1000 + n, 0)
    }
}
