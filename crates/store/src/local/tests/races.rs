//! Writers and collectors at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Eight writers check in, clone and remove while `gc` runs without a pause; nothing that has a
/// name is ever lost.
#[test]
fn gc_against_eight_writers() {
    let folder = folder();
    drop(store(&folder));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let store = store(&folder);
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                store.gc(Duration::ZERO).expect("all that has a name is readable");
                rounds += 1;
            }
            rounds
        });
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                scope.spawn({
                    let folder = &folder;
                    move || write(folder, writer)
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no writer fails");
        }
        done.store(true, Ordering::Relaxed);
        let rounds: u32 = collector.join().expect("no collection fails");
        assert!(rounds >= 3, "{rounds} rounds");
    });
    let store = store(&folder);
    for root in store.roots().expect("listed") {
        store.verify(&root.name, &mut quiet).expect("whole");
    }
    assert!(store.scrub(&mut quiet).expect("it is read").damages.is_empty());
    assert!(store.stats().expect("stats").roots >= 8);
}

/// One writer: versions that share pages with those of all others, removed again at once.
fn write(folder: &TempDir, writer: u64) {
    let store = store(folder);
    let path = folder.path().join(format!("w{writer}"));
    let mut parent: Option<String> = None;
    for round in 0..12_u64 {
        // Pages that everybody has, that this round's writers have, and own ones.
        let kinds = (0..300).map(|n| {
            (
                n,
                match n % 3 {
                    0 => n + 1,
                    1 => 10_000 + n + 1000 * (round % 4),
                    _ => 1_000_000 * (writer + 1) + 1000 * round + n,
                },
            )
        });
        let file = disk(&path, 600, kinds);
        let root = format!("w{writer}-{round}");
        check_in(&store, &file, &root, parent.as_deref());
        if round % 3 == 0 {
            let twin = format!("w{writer}-{round}-twin");
            store.clone_root(&name(&root), &name(&twin)).expect("free");
            store.remove(&name(&root)).expect("it is there");
            assert_holds(&store, &twin, &file);
            if let Some(before) = parent.replace(twin) {
                store.remove(&name(&before)).expect("it is there");
            }
        } else {
            assert_holds(&store, &root, &file);
            store.remove(&name(&root)).expect("it is there");
        }
    }
}
