use super::*;

#[test]
fn only_bytes_are_shown_as_bytes() {
    let progress = |phase| stackvm_images::Progress {
        phase,
        done_bytes: Some(50),
        total_bytes: Some(100),
        message: String::new(),
    };
    assert_eq!(of_image(progress(Phase::Download)).total_bytes, Some(100));
    assert_eq!(of_image(progress(Phase::Install)).total_bytes, None);
}

#[test]
fn this_host_says_how_much_memory_is_left() {
    assert!((1 << 20..1 << 50).contains(&memory_left()));
}

#[tokio::test]
async fn a_name_is_reserved_once() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::open(folder.path(), None, Sandbox::On).unwrap();
    let wish = |name: Option<&str>| Wish {
        image: "tiny".to_owned(),
        name: name.map(str::to_owned),
        memory_bytes: None,
        keep: Keep::default(),
    };
    let first = fleet.reserve(&wish(Some("web"))).await.unwrap();
    assert_eq!((first.spec().name.as_str(), &first.spec().label), ("web", &None));
    assert!(fleet.reserve(&wish(Some("web"))).await.is_err());
    let (a, b) = (wish(None), wish(None));
    let (a, b) = tokio::join!(fleet.reserve(&a), fleet.reserve(&b));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ne!(a.spec().name, b.spec().name);
    assert_eq!(fleet.list().await.unwrap().len(), 3);
    drop((first, a, b));
    assert_eq!(fleet.list().await.unwrap().len(), 0);
    assert!(fleet.reserve(&wish(Some("web"))).await.is_ok(), "it is free again");
    assert!(fleet.reserve(&Wish { memory_bytes: Some(u64::MAX), ..wish(None) }).await.is_err());
}

/// So many that two would be the same by chance.
#[tokio::test]
async fn no_name_is_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::open(folder.path(), None, Sandbox::On).unwrap();
    let mut given = Vec::new();
    for _ in 0..500 {
        let (one, other) = tokio::join!(fleet.give_name(), fleet.give_name());
        given.extend([one.unwrap(), other.unwrap()]);
    }
    let names: BTreeSet<&str> = given.iter().map(GivenName::name).collect();
    assert_eq!(names.len(), given.len());
    let wish = Wish {
        image: "tiny".to_owned(),
        name: Some(given[0].name().to_owned()),
        memory_bytes: None,
        keep: Keep::default(),
    };
    assert!(fleet.reserve(&wish).await.is_err());
    drop(given);
    assert_eq!(fleet.lock().given.len(), 0);
    assert!(fleet.reserve(&wish).await.is_ok());
}

#[test]
fn a_host_that_is_full_says_what_is_missing() {
    const MIB: u64 = 1 << 20;
    let check = |disk: u64, memory: u64, wanted: u64, missing: Option<&str>| {
        let left = Left { disk_bytes: disk * MIB, memory_bytes: memory * MIB };
        let problem = left.check(wanted * MIB).err().map(|problem| problem.body());
        assert_eq!(problem.is_some(), missing.is_some(), "{disk} {memory} {wanted}");
        if let (Some(problem), Some(missing)) = (problem, missing) {
            assert_eq!(problem.status, 503);
            assert!(problem.detail.contains(missing), "{}", problem.detail);
        }
    };
    check(1024, 1024, 1024, None);
    check(256, 0, 0, None);
    check(255, 1024, 0, Some("255 MiB of disk"));
    check(0, 1024, 0, Some("disk"));
    check(1024, 1023, 1024, Some("1023 MiB of memory"));
    check(0, 0, 1, Some("disk"));
}

#[tokio::test]
async fn the_last_place_is_given_once() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::open(folder.path(), None, Sandbox::On).unwrap();
    let wish =
        Wish { image: "tiny".to_owned(), name: None, memory_bytes: None, keep: Keep::default() };
    let coming = (1..MACHINES_MAX).map(|n| {
        let name = format!("m{n}");
        let source = Source::Image { name: "tiny".to_owned(), hash: None };
        (name.clone(), MachineSpec::new(&name, source))
    });
    fleet.lock().coming.extend(coming);
    let last = fleet.reserve(&wish).await.unwrap();
    let problem = fleet.reserve(&wish).await.err().unwrap().body();
    assert_eq!((problem.status, problem.kind.as_str()), (503, "unavailable"));
    drop(last);
    assert!(fleet.reserve(&wish).await.is_ok());
}
