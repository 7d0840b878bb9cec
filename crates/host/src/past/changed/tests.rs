use super::search::{Found, changes};
use super::*;

fn schedule(entries: &[u64]) -> Schedule {
    let entries = entries.iter().map(|ms| Instant::from_ns(ms * 1_000_000)).collect();
    let end = Instant::from_ns(60_000_000_000);
    Schedule { begin: Instant::ZERO, end, entries, resolution: RESOLUTION }
}

/// What is found when a file has `states[n]` after `entries[n]` inputs or from an instant on.
fn found(
    inputs: &[u64],
    looks: u32,
    state: &dyn Fn(Point) -> Option<u32>,
) -> (Vec<Found<u32>>, usize) {
    let mut count = 0;
    let found = changes(&schedule(inputs), looks, &mut |point| -> Result<_, ()> {
        count += 1;
        Ok(state(point))
    });
    (found.expect("looks work"), count)
}

#[test]
fn a_change_is_put_down_to_its_input() {
    let inputs: Vec<u64> = (1..500).map(|n| n * 100).collect();
    for cause in [0, 1, 7, 250, 497, 498] {
        let (found, looks) = found(&inputs, 8, &|point| Some(u32::from(point.entries > cause)));
        let at = Point { at: Instant::from_ns(inputs[cause] * 1_000_000), entries: cause + 1 };
        assert_eq!(found, [Found { at, cause: Some(cause), before: 0, after: 1 }]);
        assert!(looks < 40, "{looks} looks");
    }
}

#[test]
fn a_change_without_an_input_is_closed_in_on() {
    for change_ms in [1, 777, 30_000, 59_999] {
        let instant = Instant::from_ns(change_ms * 1_000_000);
        let (found, looks) = found(&[40_000], 4, &|point| Some(u32::from(point.at >= instant)));
        assert_eq!(found.len(), 1);
        assert!(found[0].at.at >= instant && found[0].at.at.since(instant) <= RESOLUTION);
        assert_eq!(found[0].cause, None);
        assert!(looks < 30, "{looks} looks");
    }
}

#[test]
fn every_change_is_found_in_order() {
    // Three inputs at one instant, each of them a change, and one that comes by itself.
    let inputs = [5_000, 5_000, 5_000, 50_000];
    let late = Instant::from_ns(55_000_000_000);
    let (found, _) =
        found(&inputs, 2, &|point| Some(point.entries.min(3) as u32 + u32::from(point.at >= late)));
    let causes: Vec<_> =
        found.iter().map(|found| (found.before, found.after, found.cause)).collect();
    let expected = [(0, 1, Some(0)), (1, 2, Some(1)), (2, 3, Some(2)), (3, 4, None)];
    assert_eq!(causes, expected);
}

#[test]
fn what_cannot_be_seen_is_passed_over() {
    // Booting at first, off for a while, and off at the end.
    let seconds = |point: Point| point.at.ns() / 1_000_000_000;
    let (found, _) = found(&[], 12, &|point| match seconds(point) {
        0..10 | 20..30 | 55.. => None,
        at => Some(u32::from(at >= 25)),
    });
    assert_eq!(found.len(), 1);
    assert_eq!(seconds(found[0].at), 30, "the first instant at which it can be seen");
    assert_eq!(changes(&schedule(&[]), 4, &mut |_| Ok::<_, ()>(None::<u32>)), Ok(Vec::new()));
}

#[test]
fn what_the_guest_says_is_understood() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(parse(text).map(|state| state.to_string()).as_deref(), expected, "{text}");
    };
    check("", Some("missing"));
    check("12 1767225600 regular file\nabc  -\n", Some("12 bytes"));
    check("4096 1767225600 directory\nabc  -\n", Some("directory"));
    check("0 0 dangling link\n", Some("dangling link"));
    check("x 1 regular file\n", None);
    check("12\n", None);
    let hash = |text| match parse(text) {
        Some(FileState::There { hash, .. }) => hash,
        other => panic!("{other:?}"),
    };
    assert_eq!(hash("1 2 regular file\nabc  -\n"), "abc");
    assert_eq!(hash("1 2 fifo\n"), "");
}
