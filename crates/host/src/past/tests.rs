use std::sync::Arc;

use stackvm_images::ports;
use stackvm_machine::MachineConfig;
use stackvm_machine::config::Firmware;
use stackvm_timeline::BranchId;
use stackvm_timeline::screen::Derived;

use super::*;

/// A machine that has left a recording: its program is these instructions.
fn left(program: &[u32], ports: Vec<String>) -> ThrowAway {
    let bytes = program.iter().flat_map(|word| word.to_le_bytes()).collect();
    let firmware = Some(Firmware::File(Arc::new(bytes)));
    let config = MachineConfig { firmware, ports, ..MachineConfig::default() };
    let machine = Machine::new(&config).expect("a machine");
    let from = Position { branch: BranchId::TRUNK, at: machine.now(), entries: None };
    ThrowAway::new(Departure { machine, config, derived: Derived::default(), from })
}

/// `wfi` and back, for ever.
const WAITS: [u32; 2] = [0x1050_0073, 0xffdf_f06f];
/// Stores 0x5555 to the test finisher: off.
const GOES_OFF: [u32; 5] = [0x0010_02b7, 0x0000_5337, 0x5553_0313, 0x0062_a023, 0x0000_006f];

#[test]
fn who_cannot_be_asked_is_said() {
    let check = |mut branch: ThrowAway, wait_ms: u64, words: &str| {
        let wait = Ticks::from_ns(wait_ms * 1_000_000);
        let error = branch.exec(&["true"], b"", wait).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    };
    check(left(&WAITS, Vec::new()), 1, "no guest agent");
    check(
        left(&WAITS, ports()),
        1500,
        "within 1.5 s of the machine's time after 0ns: it is not run",
    );
    check(left(&GOES_OFF, ports()), 30_000, "the machine is off at ");
}

#[test]
fn seconds_are_short() {
    let check =
        |ms: u64, text: &str| assert_eq!(show_seconds(Ticks::from_ns(ms * 1_000_000)), text);
    check(30_000, "30");
    check(1_500, "1.5");
    check(7, "0.007");
}
