//! Kept machines: names of instants, other machines that go on from them, and labels.

use std::path::Path;

use stackvm_host::machines::{Lifetime, Machines, MachinesError, Started, Status, StopHow};
use stackvm_host::protocol::{Command, RecordingAction};
use stackvm_machine::Instant;

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
