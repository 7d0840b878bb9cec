//! Guests of our own: each checks itself, prints, and powers the machine off. Here the output and
//! the exit code are compared, on one hart and on four, and the digest must not depend on how the
//! run was cut, nor on save → restore or freeze → thaw between the pieces.

use std::sync::Arc;

use stackvm_machine::devices::disk::MemorySource;
use stackvm_machine::engine::EngineChoice;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{
    ConsoleId, DiskConfig, Firmware, Input, Instant, Machine, MachineConfig, Stop,
};
use stackvm_tests::guest::{self, Level};
use stackvm_tests::ours::Cut;
use stackvm_tests::qemu::Qemu;
use stackvm_tests::{Rng, ours};

/// Longer than any guest takes.
const LIMIT: Instant = Instant::from_ns(2_000_000_000);
/// When input is typed.
const INPUT_AT: Instant = Instant::from_ns(1_000_000);
/// Instants at which a run is cut.
const CUTS: u64 = 12;

struct Guest {
    name: &'static str,
    level: Level,
    harts: &'static [u32],
    typed: &'static str,
    serial: &'static str,
    code: u32,
}

/// A guest in M-mode on one hart that prints `ok`.
const PLAIN: Guest =
    Guest { name: "", level: Level::Machine, harts: &[1], typed: "", serial: "ok\n", code: 0 };

/// 64 sectors, each filled with its number.
fn numbered_disk() -> DiskConfig {
    let bytes = (0..64).flat_map(|sector| [sector; 512]).collect();
    let source = Arc::new(MemorySource::new(bytes));
    DiskConfig { source, read_only: false, serial: "numbered".into() }
}

fn config(guest: &Guest, harts: u32, definitions: &[String]) -> MachineConfig {
    let elf = guest::compile(guest.name, guest.level, definitions);
    let firmware = match guest.level {
        Level::Machine => Firmware::None,
        Level::Supervisor => Firmware::Builtin,
    };
    MachineConfig {
        memory_bytes: 32 << 20,
        harts,
        kernel: Some(Arc::new(elf)),
        firmware: Some(firmware),
        disks: vec![numbered_disk()],
        ..MachineConfig::default()
    }
}

/// Runs to the end, stopping at `cuts` (in order) on the way.
fn run(config: &MachineConfig, typed: &str, cuts: &[(Instant, Cut)]) -> (Machine, Vec<u8>, Stop) {
    let mut machine = Machine::new(config).expect("a machine");
    let mut serial = Vec::new();
    let mut typed = Some(typed).filter(|typed| !typed.is_empty());
    let input = (INPUT_AT, Cut::None);
    let end = (LIMIT, Cut::None);
    let mut stops: Vec<_> = cuts.iter().chain([&input, &end]).collect();
    stops.sort_by_key(|stop| stop.0);
    for (at, cut) in stops {
        let (stop, outputs) = ours::run_until(&mut machine, *at);
        serial.extend(ours::serial(&outputs));
        if stop != Stop::Until || *at == LIMIT {
            return (machine, serial, stop);
        }
        // At the first instruction boundary that is not before.
        assert!(machine.now() >= *at && machine.now().since(*at) < Ticks::from_ns(1));
        if *at == INPUT_AT
            && let Some(text) = typed.take()
        {
            machine.input(Input::Console { console: ConsoleId::Serial, bytes: text.into() });
        }
        machine = cut.apply(machine, config);
    }
    unreachable!("the last stop is the end");
}

fn check(guest: &Guest) {
    for harts in guest.harts {
        let config = config(guest, *harts, &[format!("HARTS={harts}")]);
        let (mut machine, serial, stop) = run(&config, guest.typed, &[]);
        let text = String::from_utf8_lossy(&serial);
        let what = format!("{} on {harts} harts: {stop:?} at {}", guest.name, machine.now());
        assert_eq!(text, guest.serial, "{what}");
        assert_eq!(stop, Stop::PowerOff { code: guest.code }, "{what}");
        check_cuts(&config, guest, &mut machine);
    }
}

/// The same end after cuts at random instants.
fn check_cuts(config: &MachineConfig, guest: &Guest, whole: &mut Machine) {
    let digest = whole.digest();
    let mut rng = Rng::new(u64::from(config.harts));
    let engines = ours::ENGINES.map(Cut::Engine);
    for cut in [Cut::None, Cut::Restore, Cut::Thaw].into_iter().chain(engines) {
        let at = |rng: &mut Rng| Instant::from_ticks(rng.below(whole.now().ticks()));
        let cuts: Vec<_> = (0..CUTS).map(|_| (at(&mut rng), cut)).collect();
        let (mut machine, serial, stop) = run(config, guest.typed, &cuts);
        let what = format!("{} on {} harts, {cuts:?}", guest.name, config.harts);
        assert_eq!(stop, Stop::PowerOff { code: guest.code }, "{what}");
        assert_eq!(String::from_utf8_lossy(&serial), guest.serial, "{what}");
        assert_eq!(machine.now(), whole.now(), "{what}");
        assert_eq!(machine.digest(), digest, "{what}");
    }
}

/// From one instant of a guest whose code is compiled before it runs, the hart must stand where an
/// interpreted one does after any number of steps: in the middle of regions, and at their ends.
fn check_each_step(name: &'static str, config: &MachineConfig, from: Instant) {
    const STEPS: u64 = 300;
    let mut machine = Machine::new(config).expect("a machine");
    ours::run_until(&mut machine, from);
    let frozen = machine.freeze();
    let twin = |engine| Cut::Engine(engine).apply(Machine::thaw(&frozen), config);
    let step = Ticks::new(machine.rate_ticks().into());
    let mut interpreted = twin(EngineChoice::Interpreter);
    let mut until = machine.now();
    for steps in 1..=STEPS {
        until += step;
        ours::run_until(&mut interpreted, until);
        let expected = (interpreted.now(), interpreted.harts()[0].save());
        for engine in [ours::COMPILED, ours::CRAMPED] {
            let mut compiled = twin(engine);
            ours::run_until(&mut compiled, until);
            let seen = (compiled.now(), compiled.harts()[0].save());
            assert_eq!(seen, expected, "{name}, {steps} steps after {from}, {engine:?}");
        }
    }
}

#[test]
fn every_instruction_is_a_place_to_stop() {
    for (name, level) in [
        ("straddle", Level::Supervisor),
        ("loops", Level::Supervisor),
        ("asid", Level::Supervisor),
        ("smc", Level::Machine),
        ("sv39", Level::Supervisor),
    ] {
        let config = config(&Guest { name, level, ..PLAIN }, 1, &["HARTS=1".to_owned()]);
        let (whole, ..) = run(&config, "", &[]);
        for quarter in 1..4 {
            let from = Instant::from_ticks(whole.now().ticks() / 4 * quarter);
            check_each_step(name, &config, from);
        }
    }
}

#[test]
fn hello() {
    check(&Guest { name: "hello", harts: &[1, 4], serial: "hello\n", ..PLAIN });
}

#[test]
fn htif_gives_the_exit_code() {
    check(&Guest { name: "htif", harts: &[1, 4], serial: "htif\n", code: 7, ..PLAIN });
}

#[test]
fn the_clint_interrupts() {
    check(&Guest { name: "timer", harts: &[1, 4], serial: "tick\ntick\ntick\n", ..PLAIN });
}

#[test]
fn the_uart_interrupts_through_the_plic() {
    check(&Guest { name: "echo", typed: "hello q", serial: "ready\nHELLO Q", ..PLAIN });
}

#[test]
fn a_guest_changes_its_own_code() {
    check(&Guest { name: "smc", ..PLAIN });
}

#[test]
fn instructions_are_on_two_pages() {
    check(&Guest { name: "straddle", level: Level::Supervisor, ..PLAIN });
}

#[test]
fn loops_over_pages_that_lie_anywhere() {
    check(&Guest { name: "loops", level: Level::Supervisor, ..PLAIN });
}

#[test]
fn reservations_and_atomics_across_harts() {
    check(&Guest { name: "lrsc", harts: &[1, 2, 4], ..PLAIN });
}

#[test]
fn harts_wake_each_other() {
    check(&Guest { name: "ipi", harts: &[1, 2, 4], ..PLAIN });
}

#[test]
fn pmp_protects() {
    check(&Guest { name: "pmp", ..PLAIN });
}

#[test]
fn paging_needs_no_fence() {
    check(&Guest { name: "sv39", level: Level::Supervisor, ..PLAIN });
}

#[test]
fn address_spaces_lie_side_by_side() {
    check(&Guest { name: "asid", level: Level::Supervisor, ..PLAIN });
}

#[test]
fn the_firmware_answers() {
    let level = Level::Supervisor;
    check(&Guest { name: "sbi", level, harts: &[1, 2, 4], serial: "!\nok\n", ..PLAIN });
}

#[test]
fn a_disk_driver_from_nothing() {
    check(&Guest { name: "blk", ..PLAIN });
}

/// Whatever a guest writes to the devices, the machine neither panics nor loses its determinism.
#[test]
fn garbage_in_every_register() {
    let guest = Guest { name: "monkey", serial: "", ..PLAIN };
    for (seed, harts) in [(1, 1), (2, 1), (3, 1), (4, 4)] {
        let definitions = [format!("SEED={seed}"), "ROUNDS=200000".into()];
        let config = MachineConfig {
            nics: 1,
            consoles: 2,
            ports: vec!["one".into(), "two".into()],
            ..config(&guest, harts, &definitions)
        };
        let (mut first, _, stop) = run(&config, "some input", &[]);
        // The devices may have been told to write into the guest's code; then it does not end.
        assert!(matches!(stop, Stop::PowerOff { .. } | Stop::Until), "seed {seed}: {stop:?}");
        let middle = Instant::from_ticks(first.now().ticks() / 2);
        let engines = ours::ENGINES.map(Cut::Engine);
        for cut in [Cut::Restore, Cut::Thaw].into_iter().chain(engines) {
            let (mut second, _, _) = run(&config, "some input", &[(middle, cut)]);
            assert_eq!(second.now(), first.now(), "seed {seed}, {cut:?}");
            assert_eq!(second.digest(), first.digest(), "seed {seed}, {cut:?}");
        }
    }
}

/// Devices look to a driver as they do on the board they are named after.
#[test]
fn registers_hold_what_they_hold_on_the_oracle() {
    let qemu = Qemu::find().unwrap_or_else(|problem| panic!("{problem}"));
    let elf = guest::compile("registers", Level::Machine, &[]);
    let run = ours::run_bare(&elf, LIMIT).expect("an end");
    let oracle = qemu.run_bare(&elf).expect("an end");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (ours, oracle) = (text(&run.serial), text(&oracle));
    for (mine, theirs) in ours.lines().zip(oracle.lines()) {
        assert_eq!(mine, theirs, "ours, then the oracle's");
    }
    assert_eq!(ours.lines().count(), oracle.lines().count());
}
