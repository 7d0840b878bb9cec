//! Asking the past of a recording of `tiny`: commands in throw-away branches at any instant, also
//! while the recorded session talks with the agent; and when a file changed.

use std::path::Path;
use std::sync::Arc;

use stackvm_host::machines::{MachineSpec, Source};
use stackvm_host::past::changed::{self, FileState};
use stackvm_host::past::{Past, PastError};
use stackvm_host::process::scripted;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{Input, Instant};
use stackvm_tests::image;
use stackvm_timeline::{BranchId, Entry, Event, Position, Timeline};

/// What is recorded: a file that grows, and what is said meanwhile.
const SCRIPT: &str = "sleep 1; echo one > /tmp/file; sleep 1; echo two >> /tmp/file; sleep 1; \
                      rm /tmp/file; sleep 1; echo done";

/// Records the script; the recording and its entries.
fn record(folder: &Path) -> (Arc<Timeline>, Vec<Entry>) {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images-home");
    image::tiny(&home);
    let mut spec = MachineSpec::new("past", Source::Image { name: "tiny".into(), hash: None });
    let journal = folder.join("past.vmcast.journal");
    (spec.seed, spec.rtc_ns) = (Some(7), Some(1_767_225_600_000_000_000));
    spec.record = Some(journal.clone());
    let argv = ["sh", "-c", SCRIPT].map(str::to_owned);
    let mut said = Vec::new();
    let code = scripted::record(&spec, &home, &argv, b"", &mut |_, bytes| {
        said.extend_from_slice(bytes);
        Ok(())
    });
    assert_eq!((code.expect("it is recorded"), said.as_slice()), (0, b"done\n".as_slice()));
    let timeline = Timeline::open(&journal).expect("a recording");
    let entries: Result<Vec<Entry>, _> = timeline.entries(BranchId::TRUNK, 0).collect();
    (Arc::new(timeline), entries.expect("entries"))
}

fn at(instant: Instant, entries: Option<u64>) -> Position {
    Position { branch: BranchId::TRUNK, at: instant, entries }
}

#[test]
fn the_past_answers_at_any_instant() {
    let folder = tempfile::tempdir().expect("a folder");
    let (timeline, entries) = record(folder.path());
    let end = timeline.branch(BranchId::TRUNK).end;
    let mut past = Past::new(Arc::clone(&timeline)).expect("a past");

    // Right after each thing the agent was told, and soon after: it is reading, working or
    // answering then. Between two entries of one instant it has half of what it was told.
    let told = |entry: &Entry| matches!(entry.event, Event::Input(Input::Port { .. }));
    let told = entries.iter().zip(1_u64..).filter(|(entry, _)| told(entry));
    let mut places: Vec<Position> = Vec::new();
    for (entry, count) in told {
        places.push(at(entry.at, Some(count)));
        for soon_us in [20, 300, 1_500] {
            places.push(at((entry.at + Ticks::from_ns(soon_us * 1000)).min(end), None));
        }
    }
    assert!(places.len() >= 8, "the recorded session talked with the agent");
    let span = end.since(timeline.begin(BranchId::TRUNK)).get();
    places.extend((1..8).map(|n| at(end - Ticks::new(span / 8 * n), None)));
    for place in places {
        let digest = |past: &mut Past| {
            past.replay().seek(place).expect("a place");
            past.replay().digest()
        };
        let before = digest(&mut past);
        let output = past.exec(place, &["sh", "-c", "cat; echo $((6 * 7)) >&2; exit 3"], b"in");
        let output = output.unwrap_or_else(|error| panic!("{place:?}: {error}"));
        let seen = (output.code, output.stdout.as_slice(), output.stderr.as_slice());
        assert_eq!(seen, (3, b"in".as_slice(), b"42\n".as_slice()), "{place:?}");
        assert_eq!(digest(&mut past), before, "a branch left its mark");
    }
    // The rest of the recording comes out as it was recorded.
    past.replay().verify(BranchId::TRUNK, &mut |_| true).expect("as it was recorded");
}

#[test]
fn changes_of_a_file_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (timeline, _) = record(folder.path());
    let mut past = Past::new(Arc::clone(&timeline)).expect("a past");
    let mut looks = 0;
    let changes =
        changed::changes(&mut past, BranchId::TRUNK, "/tmp/file", 16, &mut |_| looks += 1);
    let changes = changes.expect("answers");
    let size = |state: &FileState| match state {
        FileState::Missing => None,
        FileState::There { bytes, .. } => Some(*bytes),
    };
    let sizes: Vec<_> =
        changes.iter().map(|change| (size(&change.before), size(&change.after))).collect();
    assert_eq!(sizes, [(None, Some(4)), (Some(4), Some(8)), (Some(8), None)]);
    for pair in changes.windows(2) {
        let apart_ns = pair[1].at.at.since(pair[0].at.at).ns();
        assert!((800_000_000..1_300_000_000).contains(&apart_ns), "{apart_ns} ns apart");
    }
    assert!(looks < 100, "{looks} looks");
    let (begin, end) = (timeline.begin(BranchId::TRUNK), timeline.branch(BranchId::TRUNK).end);
    let gone = past.exec(at(end, None), &["cat", "/tmp/file"], b"").expect("an answer");
    assert_eq!((gone.code, gone.stdout.len()), (1, 0), "it is gone at the very end");
    let hurried = past.with_wait(Ticks::new(0)).exec(at(begin, None), &["true"], b"");
    assert!(matches!(hurried, Err(PastError::NotUp { .. })));
}
