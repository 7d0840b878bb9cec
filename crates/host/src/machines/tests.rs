use super::*;

fn machines() -> (tempfile::TempDir, Machines) {
    let folder = tempfile::tempdir().unwrap();
    let machines = Machines::open(folder.path()).unwrap();
    (folder, machines)
}

fn spec(name: &str, lifetime: Lifetime) -> MachineSpec {
    let source = Source::Image { name: "tiny".into(), hash: None };
    MachineSpec { lifetime, ..MachineSpec::new(name, source) }
}

/// A machine that is not running.
fn make(machines: &Machines, name: &str, lifetime: Lifetime) {
    fs::create_dir(machines.machine_folder(name)).unwrap();
    machines.write_spec(&spec(name, lifetime), SPEC_FILE).unwrap();
    drop(machines.lock(name).unwrap());
}

#[test]
fn names_are_checked() {
    let check = |name: &str, good: bool| assert_eq!(check_name(name).is_ok(), good, "{name:?}");
    for good in ["a", "web-1", "7", "a_b", &"x".repeat(NAME_BYTES_MAX)] {
        check(good, true);
    }
    for bad in ["", "-a", "A", "a/b", "..", ".", "a b", "ä", &"x".repeat(NAME_BYTES_MAX + 1)] {
        check(bad, false);
    }
}

#[test]
fn kept_machines_are_listed_and_left_overs_swept() {
    let (_folder, machines) = machines();
    make(&machines, "web", Lifetime::Named);
    make(&machines, "brave-otter", Lifetime::Ephemeral);
    make(&machines, "running", Lifetime::Ephemeral);
    let _lock = machines.lock("running").unwrap();
    fs::create_dir(machines.machine_folder("half-made")).unwrap();
    drop(machines.lock("half-made").unwrap());
    fs::write(machines.folder().join("README"), "").unwrap();

    let listed = machines.list().unwrap();
    let listed: Vec<_> = listed.iter().map(|m| (m.spec.name.as_str(), m.status.clone())).collect();
    assert_eq!(listed, [("running", Status::Running), ("web", Status::Off)]);
    assert!(!machines.machine_folder("brave-otter").exists());
    assert!(!machines.machine_folder("half-made").exists());
}

#[test]
fn mistakes_are_named() {
    let (_folder, machines) = machines();
    make(&machines, "database", Lifetime::Named);
    let check = |result: Result<(), MachinesError>, part: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    check(machines.get("databse").map(drop), "did you mean \"database\"");
    check(machines.get("../etc").map(drop), "cannot be a machine's name");
    check(machines.connect("database").map(drop), "is not running");
    check(machines.create(&spec("database", Lifetime::Named)).map(drop), "already");
    let lock = machines.lock("database").unwrap();
    check(machines.remove("database"), "is running");
    check(machines.start("database").map(drop), "is running");
    drop(lock);
    fs::write(machines.machine_folder("database").join(SPEC_FILE), "{").unwrap();
    check(machines.get("database").map(drop), "damaged");
    machines.remove("database").unwrap();
    assert!(machines.list().unwrap().is_empty());
}

#[test]
fn specs_survive_their_file() {
    let (_folder, machines) = machines();
    let source = Source::Files {
        kernel: Some("/k".into()),
        initrd: None,
        append: "quiet".into(),
        firmware: FirmwareSpec::File("/f".into()),
    };
    let spec = MachineSpec {
        source,
        disks: vec![DiskSpec { path: "/d".into(), access: Access::CopyOnWrite }],
        network: Network::User,
        forwards: vec!["8080:80".parse().unwrap()],
        ..spec("web", Lifetime::Named)
    };
    fs::create_dir(machines.machine_folder("web")).unwrap();
    machines.write_spec(&spec, SPEC_FILE).unwrap();
    assert_eq!(machines.get("web").unwrap(), Listed { spec, status: Status::Off });
}

#[test]
fn impossible_specs_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let files = |kernel: &str| Source::Files {
        kernel: Some(kernel.into()),
        initrd: None,
        append: String::new(),
        firmware: FirmwareSpec::Auto,
    };
    let check = |spec: &MachineSpec, part: &str| {
        let message = spec.machine_config(folder.path()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    check(&MachineSpec::new("x", files("/no/such/kernel")), "kernel /no/such/kernel");
    let forwards = vec!["8080:80".parse().unwrap()];
    check(&MachineSpec { forwards, ..MachineSpec::new("x", files("/k")) }, "--net user");
    let kernel = folder.path().join("kernel");
    fs::write(&kernel, "k").unwrap();
    let disks = vec![DiskSpec { path: "/no/such/disk".into(), access: Access::ReadOnly }];
    let source = files(kernel.to_str().unwrap());
    check(&MachineSpec { disks, ..MachineSpec::new("x", source) }, "/no/such/disk");
    check(&spec("x", Lifetime::Ephemeral), "tiny");
}

#[test]
fn labels_are_found_and_nobody_elses() {
    let (_folder, machines) = machines();
    make(&machines, "web", Lifetime::Named);
    make(&machines, "db", Lifetime::Named);
    machines.rename("web", "shop").unwrap();
    let check = |name: &str, id: Option<&str>| {
        assert_eq!(machines.find(name).ok().as_deref(), id, "{name:?}");
    };
    check("shop", Some("web"));
    check("web", Some("web"));
    check("sho", None);
    check("../db", None);
    assert_eq!(machines.get("web").unwrap().label(), "shop");
    assert_eq!(machines.get("db").unwrap().label(), "db");
    let refused = |result: Result<(), MachinesError>, part: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(machines.find("shp").map(drop), "did you mean \"shop\"");
    refused(machines.rename("db", "shop"), "already");
    refused(machines.rename("db", "web"), "already");
    refused(machines.rename("db", "No Name"), "cannot be");
    refused(machines.rename("nothing", "x"), "no machine");
    refused(machines.create(&spec("shop", Lifetime::Named)).map(drop), "already");
    let labelled = MachineSpec { label: Some("db".into()), ..spec("new", Lifetime::Named) };
    refused(machines.create(&labelled).map(drop), "already");
    assert!(!machines.machine_folder("new").exists());
    machines.rename("web", "web").unwrap();
    check("shop", None);
    assert_eq!(machines.get("web").unwrap().spec.label, None);
}

#[test]
fn the_trash_gives_back() {
    let (_folder, machines) = machines();
    make(&machines, "web", Lifetime::Named);
    machines.rename("web", "shop").unwrap();
    fs::write(machines.machine_folder("web").join("kept"), "first").unwrap();
    let refused = |result: Result<(), MachinesError>, part: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    let lock = machines.lock("web").unwrap();
    refused(machines.trash("web"), "is running");
    drop(lock);
    machines.trash("web").unwrap();
    assert!(machines.list().unwrap().is_empty() && machines.find("shop").is_err());
    make(&machines, "web", Lifetime::Named);
    refused(machines.restore("web").map(drop), "already");
    machines.trash("web").unwrap();
    let mut keys: Vec<String> = machines.trashed().unwrap().into_iter().map(|t| t.key).collect();
    keys.sort();
    assert_eq!(keys, ["web", "web~2"]);
    make(&machines, "shop", Lifetime::Named);
    refused(machines.restore("web~2").map(drop), "already");
    machines.remove("shop").unwrap();
    assert_eq!(machines.restore("web~2").unwrap(), "web");
    assert_eq!(fs::read(machines.machine_folder("web").join("kept")).unwrap(), b"first");
    assert_eq!(machines.find("shop").unwrap(), "web");
    for key in ["../web", "web~x", "web~3", "web~2/..", ""] {
        assert!(machines.restore(key).is_err(), "{key:?}");
    }
    assert_eq!(machines.empty_trash(Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!(machines.empty_trash(Duration::ZERO).unwrap(), 1);
    assert!(machines.trashed().unwrap().is_empty());
    assert!(machines.machine_folder("web").exists());
}

#[test]
fn older_specs_are_read() {
    let (_folder, machines) = machines();
    make(&machines, "web", Lifetime::Named);
    let path = machines.machine_folder("web").join(SPEC_FILE);
    let mut text: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    text.as_object_mut().unwrap().remove("label");
    fs::write(&path, text.to_string()).unwrap();
    assert_eq!(machines.get("web").unwrap().spec, spec("web", Lifetime::Named));
}

#[test]
fn a_twin_is_kept_and_was_made_now() {
    let (_folder, machines) = machines();
    make(&machines, "web", Lifetime::Ephemeral);
    let old = MachineSpec {
        label: Some("site".into()),
        created_unix_s: 7,
        ..machines.spec("web").unwrap()
    };
    machines.write_spec(&old, SPEC_FILE).unwrap();
    let off = machines.twin_spec("web", "twin");
    assert!(matches!(off, Err(MachinesError::NotRunning(_))), "{off:?}");
    let _lock = machines.lock("web").unwrap();
    let twin = machines.twin_spec("web", "twin").unwrap();
    assert_eq!((twin.name.as_str(), twin.label.as_ref()), ("twin", None));
    assert_eq!((twin.lifetime, &twin.source), (Lifetime::Named, &old.source));
    // A link to an older machine called "twin" is not to it.
    assert!(twin.created_unix_s > old.created_unix_s);
    make(&machines, "moment", Lifetime::Frozen);
    let moment = machines.twin_spec("moment", "twin");
    assert!(matches!(moment, Err(MachinesError::Frozen(_))), "{moment:?}");
}
