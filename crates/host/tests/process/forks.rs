//! Forks of running machines into processes of their own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use stackvm_host::client::Connection;
use stackvm_host::machines::{Lifetime, MachineSpec, Network, StopHow};
use stackvm_host::protocol::{Command, ForkKind, Power, Reply, State};

use super::{Labs, attach, kernel, kill, letters, press, read, start};

fn twin(data: &Path, name: &str, lifetime: Lifetime) -> MachineSpec {
    MachineSpec { memory_bytes: Some(4 << 20), lifetime, ..MachineSpec::new(name, kernel(data)) }
}

fn digest(lab: &mut Connection) -> (u64, String) {
    match lab.call(Command::Digest).unwrap() {
        Reply::Digest { instant_ticks, digest } => (instant_ticks, digest),
        other => panic!("{other:?}"),
    }
}

fn begin(data: &Path) -> (Labs, Connection) {
    let machines = start(data, "echo", Lifetime::Ephemeral);
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    press(&mut lab, b"abc");
    read(&mut lab, Vec::new(), "abc");
    (machines, lab)
}

pub(super) fn exact_twins_have_the_same_future(data: &Path) {
    let (machines, mut lab) = begin(data);
    lab.call(Command::Power(Power::Pause)).unwrap();
    let asked = Instant::now();
    let spec = twin(data, "twin", Lifetime::Ephemeral);
    machines.fork("echo", &spec, ForkKind::Exact).unwrap();
    let (mut other, shown) = attach(&machines, "twin");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(other.hello().state, State::Paused);
    assert_eq!(letters(&shown), "okabc");
    assert_eq!(digest(&mut lab), digest(&mut other));
    // The same input at the same instant.
    let before = digest(&mut lab);
    for lab in [&mut lab, &mut other] {
        press(lab, b"d");
    }
    assert_eq!(digest(&mut lab), digest(&mut other));
    assert_ne!(digest(&mut lab).1, before.1);
    for lab in [&mut lab, &mut other] {
        lab.call(Command::Power(Power::Resume)).unwrap();
        read(lab, Vec::new(), "d");
    }
    // They are two machines.
    press(&mut lab, b"e");
    read(&mut lab, Vec::new(), "e");
    press(&mut other, b"g");
    read(&mut other, Vec::new(), "g");
    assert_eq!(letters(&attach(&machines, "echo").1), "okabcde");
    assert_eq!(letters(&attach(&machines, "twin").1), "okabcdg");
}

pub(super) fn a_twin_outlives_its_original(data: &Path) {
    let (machines, mut lab) = begin(data);
    let spec = twin(data, "twin", Lifetime::Named);
    machines.fork("echo", &spec, ForkKind::Exact).unwrap();
    machines.stop("echo", StopHow::Kill).unwrap();
    assert!(lab.call(Command::Info).is_err());
    let (mut other, shown) = attach(&machines, "twin");
    assert_eq!(letters(&shown), "okabc");
    press(&mut other, b"d");
    read(&mut other, Vec::new(), "d");
    let journal = data.join("machines/twin/journal");
    super::wait_until("no journal", || journal.is_dir());
    press(&mut other, b"e");
    read(&mut other, Vec::new(), "e");
    // It is recorded from the moment it was forked.
    kill(&machines, "twin");
    machines.start("twin").unwrap();
    let (_other, shown) = attach(&machines, "twin");
    assert_eq!(letters(&shown), "okabcde");
}

/// For a guest that breaks out of its machine, into the process of its lab.
pub(super) fn a_twin_cannot_write_what_it_shares(data: &Path) {
    let (machines, _lab) = begin(data);
    for name in ["twin", "other"] {
        machines.fork("echo", &twin(data, name, Lifetime::Ephemeral), ForkKind::Exact).unwrap();
        let (mut twin, _) = attach(&machines, name);
        press(&mut twin, b"d");
        read(&mut twin, Vec::new(), "d");
    }
    let mappings = |name: &str| shared_mappings(machines.info(name).unwrap().pid);
    for (name, others) in [("twin", ["echo", "other"]), ("other", ["echo", "twin"])] {
        let own = mappings(name);
        assert!(own.iter().any(|mapping| mapping.is_writable), "{own:?}");
        for other in others {
            let theirs = mappings(other);
            let both = own.iter().filter(|one| theirs.iter().any(|it| it.inode == one.inode));
            let both: Vec<_> = both.collect();
            assert!(!both.is_empty(), "{name} and {other} share nothing");
            assert!(both.iter().all(|one| !one.is_writable), "{name} and {other}: {both:?}");
        }
    }
}

/// A mapping of a file or of memory that others may map, too.
#[derive(Debug)]
struct Shared {
    inode: u64,
    is_writable: bool,
}

fn shared_mappings(pid: u32) -> Vec<Shared> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let lines = maps.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let shared = lines.filter(|fields| fields[1].ends_with('s'));
    let mapping = |fields: Vec<&str>| Shared {
        inode: fields[4].parse().unwrap(),
        is_writable: fields[1].contains('w'),
    };
    shared.map(mapping).collect()
}

pub(super) fn what_cannot_be_forked_says_why(data: &Path) {
    let (machines, _lab) = begin(data);
    let check = |name: &str, spec: MachineSpec, kind, part: &str| {
        let error = machines.fork(name, &spec, kind).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(name == spec.name || !data.join("machines").join(&spec.name).exists());
    };
    let spec = |name: &str| twin(data, name, Lifetime::Ephemeral);
    check("echo", spec("echo"), ForkKind::Exact, "already");
    check("echo", spec("twin"), ForkKind::Fresh, "agent");
    check("nobody", spec("twin"), ForkKind::Exact, "no machine");
    // A twin needs a network of its own, and a lab that is locked in runs no programs.
    let connected = MachineSpec { network: Network::User, ..spec("connected") };
    machines.create(&connected).unwrap();
    let twin = MachineSpec { name: "twin".into(), ..connected };
    check("connected", twin, ForkKind::Exact, "start it with --no-sandbox");
}
