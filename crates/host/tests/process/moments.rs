//! Kept machines: names of instants, other machines that go on from them, and labels.

use std::fs;
use std::path::Path;

use rustix::process::Pid;
use stackvm_host::machines::{
    Lifetime, Machines, MachinesError, Replayer, Started, Status, StopHow,
};
use stackvm_host::protocol::{Command, RecordingAction};
use stackvm_machine::{ConsoleId, Instant};

use super::{Labs, attach, kill, letters, press, read, start, wait_until};

fn mark(machines: &Labs, data: &Path, name: &str) {
    let mut lab = machines.connect("echo").unwrap();
    lab.call(Command::Name { name: "ada".into() }).unwrap();
    let journal = data.canonicalize().unwrap().join("machines/echo/journal");
    let action = RecordingAction::Mark { name: name.into() };
    lab.call(Command::Recording { journal, action }).unwrap();
}

/// What a machine's terminal shows at first.
fn shown(machines: &Machines, name: &str) -> String {
    let labs = Labs(machines.clone());
    let letters = letters(&attach(&labs, name).1);
    // Dropping them would end the machines.
    std::mem::forget(labs);
    letters
}

pub(super) fn a_machine_goes_on_from_a_marker(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let (mut lab, first) = attach(&machines, "echo");
    read(&mut lab, first, "ok\n");
    assert_eq!(machines.markers("echo").unwrap(), []);
    wait_until("no recording", || data.join("machines/echo/journal/manifest.json").exists());
    press(&mut lab, b"ab");
    read(&mut lab, Vec::new(), "ab");
    mark(&machines, data, "here");
    press(&mut lab, b"cd");
    read(&mut lab, Vec::new(), "cd");
    mark(&machines, data, "there");
    let markers = machines.markers("echo").unwrap();
    let names: Vec<_> = markers.iter().map(|m| (m.name.as_str(), m.author.as_str())).collect();
    assert_eq!(names, [("here", "ada"), ("there", "ada")]);

    let branch = |id: &str, at, name: &str| -> Result<Started, MachinesError> {
        machines.create(&machines.branch_spec(id, at, name)?)
    };
    for (marker, twin, expected) in [(0, "twin", "okab"), (1, "late", "okabcd")] {
        let started = branch("echo", markers[marker].at, twin).unwrap();
        assert_eq!(started.name, twin);
        assert_eq!(shown(&machines, twin), expected);
    }
    // Each has its own future, and its own past.
    let (mut twin, _) = attach(&machines, "twin");
    press(&mut twin, b"xy");
    read(&mut twin, Vec::new(), "xy");
    press(&mut lab, b"gh");
    read(&mut lab, Vec::new(), "gh");
    kill(&machines, "twin");
    let trashed = machines.stop("echo", StopHow::Kill);
    trashed.and_then(|_| machines.trash("echo")).unwrap();
    machines.start("twin").unwrap();
    assert_eq!(shown(&machines, "twin"), "okabxy");
    assert_eq!(machines.markers("twin").unwrap(), []);

    let check = |result: Result<Started, MachinesError>, part: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    check(branch("twin", Instant::MAX, "never"), "has not been at");
    check(branch("twin", Instant::ZERO, "never"), "has not been at");
    check(branch("echo", markers[0].at, "never"), "no machine");
    assert_eq!(machines.restore("echo").unwrap(), "echo");
    assert_eq!(machines.markers("echo").unwrap().len(), 2);
    check(branch("echo", markers[0].at, "twin"), "already");
}

pub(super) fn instants_are_computed_exactly(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let (mut lab, first) = attach(&machines, "echo");
    read(&mut lab, first, "ok\n");
    wait_until("no recording", || data.join("machines/echo/journal/manifest.json").exists());
    for (keys, name) in [(b"ab", "here"), (b"cd", "there")] {
        press(&mut lab, keys);
        read(&mut lab, Vec::new(), std::str::from_utf8(keys).unwrap());
        mark(&machines, data, name);
    }
    let markers = machines.markers("echo").unwrap();
    let (here, there) = (markers[0].at, markers[1].at);
    let mut replayer = machines.replayer("echo").unwrap();
    let exact = |replayer: &mut Replayer, at| {
        let exact = replayer.exact(ConsoleId::Serial, at, 1 << 30, &|| true)?;
        assert!(exact.at == at && exact.instructions > 0);
        Ok((letters(&exact.picture.screen), exact.digest))
    };
    let told = |replayer: &mut Replayer, at| -> (String, String) {
        let told: Result<_, MachinesError> = exact(replayer, at);
        told.unwrap()
    };
    let late = told(&mut replayer, there);
    let early = told(&mut replayer, here);
    assert_eq!((early.0.as_str(), late.0.as_str()), ("okab", "okabcd"));
    // In whichever order, by whichever process; what a machine that goes on from there is, too.
    assert_eq!(told(&mut replayer, there), late);
    assert_eq!(told(&mut machines.replayer("echo").unwrap(), here), early);

    // What happens later is found by one that was there before.
    press(&mut lab, b"gh");
    read(&mut lab, Vec::new(), "gh");
    mark(&machines, data, "later");
    let later = machines.markers("echo").unwrap()[2].at;
    assert_eq!(told(&mut replayer, later).0, "okabcdgh");
    let error = replayer.exact(ConsoleId::Serial, Instant::MAX, 0, &|| true).unwrap_err();
    assert!(error.to_string().contains("has not been at") && replayer.is_fit(), "{error}");
    assert_eq!(told(&mut replayer, here), early);

    // One that does not say a word is given up, and is not asked again.
    let held = pid_of_replayer();
    rustix::process::kill_process(held, rustix::process::Signal::STOP).unwrap();
    let error = replayer.exact(ConsoleId::Serial, here, 0, &|| false).unwrap_err();
    assert!(matches!(error, MachinesError::Unwanted(_)) && !replayer.is_fit(), "{error}");
    drop(replayer);
    assert!(rustix::process::test_kill_process(held).is_err(), "it outlives who had it");
    // One that was killed says so.
    let mut killed = machines.replayer("echo").unwrap();
    told(&mut killed, here);
    rustix::process::kill_process(pid_of_replayer(), rustix::process::Signal::KILL).unwrap();
    let error: MachinesError = exact(&mut killed, here).unwrap_err();
    assert!(matches!(error, MachinesError::Died { .. }) && !killed.is_fit(), "{error}");
    let none = machines.replayer("nobody").unwrap_err();
    assert!(matches!(none, MachinesError::Unknown { .. }), "{none}");
}

/// The only replayer that this process has; it is locked in by the time it has answered.
fn pid_of_replayer() -> Pid {
    let is_ours = |pid: &u32| {
        let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}"));
        let Ok(status) = read("status") else { return false };
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.map(str::trim).unwrap_or_default().to_owned()
        };
        let is_child = field("PPid:") == std::process::id().to_string();
        let is_one = is_child && read("cmdline").is_ok_and(|line| line.contains("--replays"));
        assert!(!is_one || (field("Seccomp:"), field("NoNewPrivs:")) == ("2".into(), "1".into()));
        is_one
    };
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let ours: Vec<u32> = pids.filter(is_ours).collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    Pid::from_raw(ours[0] as i32).unwrap()
}

pub(super) fn labels_change_while_it_runs(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let (mut lab, first) = attach(&machines, "echo");
    machines.rename("echo", "parrot").unwrap();
    read(&mut lab, first, "ok\n");
    let id = machines.find("parrot").unwrap();
    assert_eq!(id, "echo");
    let listed = machines.get(&id).unwrap();
    assert_eq!((listed.label(), &listed.status), ("parrot", &Status::Running));
    kill(&machines, "echo");
    machines.start(&id).unwrap();
    assert_eq!(machines.get(&id).unwrap().label(), "parrot");
}
