//! Places in a timeline, as people name them.

use crate::branch::{BranchId, BranchKind, ForkPoint, Origin};
use crate::journal::Journal;
use crate::log::UNIT_TICKS;
use crate::note::{Note, Words};
use crate::position::{Position, When};
use crate::testing::{self, Folder, key};
use crate::timeline::Timeline;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Instant, Output};

fn units(n: u64) -> Instant {
    Instant::from_ticks(n * UNIT_TICKS)
}

/// A trunk from 1000 to 9000 with keys at 2000, 3000 and 3000; a branch that leaves it between
/// these two, with a key of its own at 5000, to 6000; and a branch of that, without keys, to 7000.
fn timeline(folder: &Folder) -> (Timeline, BranchId) {
    let mut journal = testing::journal(&folder.join("a"));
    for at in [2000, 3000, 3000] {
        journal.append(&key(at, b'k')).unwrap();
    }
    journal.reach(units(9000)).unwrap();
    let mut note = |at, branch, name: &str| {
        let words = Words::Mark(name.to_owned());
        let author = "somebody".to_owned();
        journal.note(&Note { branch, at: units(at), author, unix_ms: 0, words }).unwrap();
    };
    note(2500, BranchId::TRUNK, "early");
    note(8000, BranchId::TRUNK, "late");
    let fork = |branch, at, entries| Origin::Fork(ForkPoint { branch, at: units(at), entries });
    let mut begin = |origin, at, name| {
        journal.begin_branch(origin, units(at), name, "", BranchKind::Exact, 0).unwrap()
    };
    let one = begin(fork(BranchId::TRUNK, 3000, 2), 3000, "one");
    journal.append(&key(5000, b'x')).unwrap();
    journal.reach(units(6000)).unwrap();
    let origin = fork(one, 5500, 1);
    let two = journal.begin_branch(origin, units(5500), "two", "", BranchKind::Exact, 0).unwrap();
    journal.reach(units(7000)).unwrap();
    (journal.timeline().unwrap(), two)
}

#[test]
fn a_path_goes_from_the_root_to_the_branch() {
    let folder = Folder::new();
    let (timeline, two) = timeline(&folder);
    let place = |branch, at, entries| Position {
        branch: BranchId(branch),
        at: units(at),
        entries: Some(entries),
    };
    let path = [place(0, 3000, 2), place(1, 5500, 1), place(2, 7000, 0)];
    assert_eq!(timeline.path(two), path);
    assert_eq!(timeline.begin(two), units(1000));
    assert_eq!(timeline.inherited_entries(two), 3);
}

#[test]
fn instants_are_found_where_they_are() {
    let folder = Folder::new();
    let (timeline, two) = timeline(&folder);
    let check = |when: When, branch, at, entries| {
        let expected = Position { branch: BranchId(branch), at: units(at), entries };
        assert_eq!(timeline.find(two, &when), Ok(expected), "{when:?}");
    };
    let elapsed = |n: u64| When::Elapsed(Ticks::new(n * UNIT_TICKS));
    check(When::Exact(units(1000)), 0, 1000, None);
    check(When::Exact(units(2999)), 0, 2999, None);
    check(When::Exact(units(3000)), 1, 3000, None);
    check(elapsed(4499), 1, 5499, None);
    check(elapsed(4500), 2, 5500, None);
    check(elapsed(6000), 2, 7000, None);
    check(When::Part(0), 0, 1000, None);
    check(When::Part(500_000), 1, 4000, None);
    check(When::Part(1_000_000), 2, 7000, None);
    check(When::Mark("early".to_owned()), 0, 2500, None);
    check(When::Entry(1), 0, 2000, Some(1));
    check(When::Entry(2), 0, 3000, Some(2));
    check(When::Entry(3), 1, 5000, Some(1));
}

#[test]
fn what_is_nowhere_is_answered_with_what_there_is() {
    let folder = Folder::new();
    let (timeline, two) = timeline(&folder);
    let check = |when: When, expected: &str| {
        let error = timeline.find(two, &when).expect_err(expected).0;
        assert!(error.contains(expected), "{error}");
    };
    check(When::Exact(units(999)), "branch two goes from 1024000ns to 7168000ns");
    check(When::Elapsed(Ticks::new(u64::MAX)), "is not in the recording");
    check(When::Mark("late".to_owned()), "the mark #late is on branch main");
    check(When::Mark("nowhere".to_owned()), "no mark #nowhere; marks here: #early");
    check(When::Entry(4), "branch two has 3");
}

/// Where a recording can begin: not within what one slice printed.
#[test]
fn a_slice_ends_where_it_printed_or_something_came_in() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let print = |journal: &mut Journal, at| {
        let bytes = b"text".to_vec();
        journal.output(units(at), &Output::Console { console: ConsoleId::Hvc(0), bytes }).unwrap();
    };
    print(&mut journal, 2000);
    journal.append(&key(5000, b'\r')).unwrap();
    print(&mut journal, 5900);
    print(&mut journal, 9000);
    journal.append(&key(9000, b'\r')).unwrap();
    journal.cut_track().unwrap();
    let timeline = journal.timeline().unwrap();
    let check = |at, expected| {
        assert_eq!(timeline.slice_end(units(at)).unwrap(), units(expected), "{at}");
    };
    check(1500, 2000);
    check(2000, 2000);
    // Nothing was printed for longer than any slice.
    check(3000, 3000);
    // What was printed at 5900 was printed after the key.
    check(4999, 4999);
    check(5000, 5900);
    check(8999, 9000);
    check(9000, 9000);
}
