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
