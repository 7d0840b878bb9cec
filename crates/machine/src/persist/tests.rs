//! The same future from any cut, through a file or a fork; and what is refused.

mod hostile;

use std::sync::Arc;

use super::file::{FORMAT_VERSION, MAGIC};
use super::{Frozen, RestoreError};
use crate::MachineConfig;
use crate::devices::disk::Overlay;
use crate::digest::StateTrees;
use crate::instant::{Instant, Ticks};
use crate::io::{ConsoleId, Input};
use crate::machine::{Machine, Stop};
use crate::memory::{FrozenRam, PAGE_BYTES, RAM_BASE, Ram};
use crate::testing::{DATA, Start, busy_program, config, config_with_devices, machine_of};

/// Virtual time of the comparisons.
const END: Instant = Instant::from_ns(400_000);

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

fn busy(harts: u32) -> (MachineConfig, Machine) {
    let config = config_with_devices(harts);
    let machine = machine_of(&config, Start::Supervisor, &busy_program());
    (config, machine)
}

fn saved(machine: &mut Machine) -> Vec<u8> {
    let mut file = Vec::new();
    machine.save(&mut file).unwrap();
    file
}

/// Runs to `until`, with an input on the way.
fn run(machine: &mut Machine, until: Instant) {
    let typed = Instant::from_ns(150_000);
    if machine.now() < typed && until >= typed {
        assert_eq!(machine.run(typed), Stop::Until);
        machine.input(Input::Console { console: ConsoleId::Serial, bytes: b"typed".to_vec() });
        machine.input(Input::Rate { ticks: 8 });
    }
    assert_eq!(machine.run(until), Stop::Until);
    machine.take_outputs();
}

#[test]
fn the_busy_program_is_busy() {
    for harts in [1, 4] {
        let (_, mut machine) = busy(harts);
        run(&mut machine, END);
        for (id, hart) in machine.harts().iter().enumerate() {
            assert!(hart.retired() > 20_000, "hart {id} of {harts}: {}", hart.retired());
        }
        let written = (0..512).filter(|&page| machine.ram().is_own(page)).count();
        assert!(written > 100, "{written} pages written");
    }
}

#[test]
fn any_cut_leads_to_the_same_state() {
    for harts in [1, 4] {
        let (config, mut whole) = busy(harts);
        run(&mut whole, END);
        let expected = whole.digest();
        let mut random = Random(harts.into());
        // They fit any state, in whatever order they see them.
        let mut trees = StateTrees::new(&config);
        for round in 0..6 {
            let (_, mut machine) = busy(harts);
            while machine.now() < END {
                let span = random.next() % (if round < 3 { 1_000_000 } else { 3_000_000 });
                let until = (machine.now() + Ticks::new(span + 1)).min(END);
                run(&mut machine, until);
                machine = match random.next() % 5 {
                    0 => {
                        let file = saved(&mut machine);
                        Machine::restore(&config, &mut &*file).unwrap()
                    }
                    1 => {
                        let frozen = machine.freeze();
                        assert_eq!(frozen.instant(), machine.now());
                        drop(machine);
                        Machine::thaw(&frozen)
                    }
                    2 => {
                        machine.digest();
                        machine
                    }
                    3 => {
                        let frozen = machine.freeze();
                        let digest = machine.digest();
                        drop(machine);
                        let frozen = taken_apart(&config, &frozen);
                        assert_eq!(frozen.digest(&mut trees), digest);
                        assert_eq!(frozen.retired(), Machine::thaw(&frozen).retired());
                        Machine::thaw(&frozen)
                    }
                    _ => machine,
                };
            }
            assert_eq!(machine.digest(), expected, "{harts} harts, round {round}");
            assert_eq!(saved(&mut machine), saved(&mut whole));
        }
    }
}

/// A frozen machine through its parts, as a store keeps them.
fn taken_apart(config: &MachineConfig, frozen: &Frozen) -> Frozen {
    let mut ram = Ram::new(frozen.ram().size_bytes()).unwrap();
    frozen.ram().for_each_nonzero_page(|page, bytes| {
        ram.write(RAM_BASE + u64::from(page) * PAGE_BYTES as u64, bytes).unwrap();
    });
    let written = |overlay: &Overlay| {
        overlay.iter().map(|(block, bytes)| (block, Arc::new(**bytes))).collect()
    };
    let overlays = frozen.overlays().iter().map(written).collect();
    Frozen::from_parts(config, &frozen.state_bytes(), ram.freeze(), overlays).unwrap()
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let (config, mut machine) = busy(2);
    machine.run(Instant::from_ns(100_000));
    let frozen = machine.freeze();
    let state = frozen.state_bytes();
    let check = |what: &str,
                 config: &MachineConfig,
                 state: &[u8],
                 ram: &FrozenRam,
                 overlays: &[Overlay],
                 wanted: fn(&RestoreError) -> bool| {
        match Frozen::from_parts(config, state, ram.clone(), overlays.to_vec()) {
            Ok(_) => panic!("{what}: taken"),
            Err(error) => assert!(wanted(&error), "{what}: {error:?}"),
        }
    };
    let shape = |error: &RestoreError| matches!(error, RestoreError::Shape { .. });
    let format = |error: &RestoreError| matches!(error, RestoreError::Format(_));
    let (ram, overlays) = (frozen.ram(), frozen.overlays());
    let larger = Ram::new(4 << 20).unwrap().freeze();
    check("another RAM", &config, &state, &larger, overlays, shape);
    check("no disks", &config, &state, ram, &[], shape);
    let three = MachineConfig { harts: 3, ..config.clone() };
    check("another hart", &three, &state, ram, overlays, shape);
    check("nothing", &config, &[], ram, overlays, format);
    check("cut short", &config, &state[..state.len() - 1], ram, overlays, format);
    check("more behind it", &config, &[&state[..], &[0]].concat(), ram, overlays, format);
    let beyond = [[(1 << 40, Arc::new([0; 4096]))].into_iter().collect::<Overlay>()];
    let device = |error: &RestoreError| matches!(error, RestoreError::Device(_));
    check("a block beyond the end", &config, &state, ram, &beyond, device);
}

#[test]
fn forks_are_independent() {
    let (_, mut origin) = busy(4);
    run(&mut origin, Instant::from_ns(100_000));
    let frozen = origin.freeze();
    let before = origin.digest();
    let mut one = Machine::thaw(&frozen);
    assert_eq!(one.digest(), before);
    run(&mut one, END);
    let after = one.digest();
    assert_ne!(after, before);
    // Neither the origin nor another fork noticed, and both go the same way.
    assert_eq!(origin.digest(), before);
    let mut two = Machine::thaw(&frozen);
    assert_eq!(two.digest(), before);
    two.board.ram.write(DATA, b"other").unwrap();
    assert_ne!(two.digest(), before);
    run(&mut origin, END);
    assert_eq!(origin.digest(), after);
    assert_eq!(Machine::thaw(&frozen).digest(), before);
}

#[test]
fn a_machine_that_is_frozen_again_and_again_does_not_grow() {
    let (_, mut machine) = busy(1);
    let pages = |frozen: &Frozen| -> usize {
        frozen.ram().segments().iter().map(|segment| segment.pages()).sum()
    };
    let all = machine.ram().size_bytes() as usize / PAGE_BYTES;
    let mut random = Random(1);
    let mut most = 0;
    for _ in 0..200 {
        for _ in 0..50 {
            let page = random.next() % 256;
            machine.board.ram.write(DATA + page * PAGE_BYTES as u64, &[1]).unwrap();
        }
        machine.give_back_when_due();
        most = most.max(pages(&machine.freeze()));
    }
    // 10,000 pages were copied. Each segment is a quarter full at least, and one is being filled.
    assert!(most <= 5 * all, "{most} pages are held for {all}");
}

#[test]
fn the_digest_changes_with_the_state_alone() {
    let check = |what: &str, change: fn(&mut Machine), differs: bool| {
        let (_, mut machine) = busy(2);
        machine.run(Instant::from_ns(10_000));
        let before = machine.digest();
        change(&mut machine);
        assert_eq!(machine.digest() != before, differs, "{what}");
    };
    check("nothing", |_| {}, false);
    check("outputs taken", |m| drop(m.take_outputs()), false);
    check("a run of no time", |m| drop(m.run(m.now())), false);
    check("a freeze", |m| drop(m.freeze()), false);
    check("compaction", |m| m.board.ram.compact().unwrap(), false);
    check("a byte of RAM", |m| m.board.ram.write(DATA + 0x8_0000, &[1]).unwrap(), true);
    check("zeroes over zeroes", |m| m.board.ram.write(DATA + 0x8_0000, &[0]).unwrap(), false);
    check("a register", |m| m.harts[1].set_reg(31, 1), true);
    check("a pc", |m| m.harts[0].set_pc(0x8000_0100), true);
    check("an instruction", |m| drop(m.run(m.now() + Ticks::new(1))), true);
    check("the rate", |m| m.input(Input::Rate { ticks: 1 }), true);
    check("the same rate", |m| m.input(Input::Rate { ticks: 16 }), false);
    check(
        "serial input",
        |m| {
            m.input(Input::Console { console: ConsoleId::Serial, bytes: b"x".to_vec() });
        },
        true,
    );
    check(
        "terminal input",
        |m| {
            m.input(Input::Console { console: ConsoleId::Hvc(1), bytes: b"x".to_vec() });
        },
        true,
    );
    check("an identity", |m| m.input(Input::Identity { seed: 1, rtc_ns: 2 }), true);
    check("a started hart", |m| m.runs[1] = crate::machine::HartRun::Waiting, true);
    check(
        "a disk block",
        |m| {
            for slot in &mut m.board.slots {
                if let crate::devices::virtio::VirtioDevice::Blk(blk) = slot.device_mut() {
                    // The very bytes that are there: written counts.
                    let mut bytes = [0; 512];
                    blk.disk().read(0, &mut bytes).unwrap();
                    blk.disk_mut().write(0, &bytes).unwrap();
                }
            }
        },
        true,
    );
}

#[test]
fn reservations_survive_a_cut() {
    use crate::testing::asm::*;
    // LR, a cut, SC: by whoever runs, in the middle of its turn.
    let mut code = li(A1, DATA);
    code.extend([lr(3, T0, A1), NOP, sc(3, T1, A1, A0), addi(T2, T2, 1), SPIN]);
    for harts in [1, 2] {
        let config = config(harts);
        let mut machine = machine_of(&config, Start::Machine, &code);
        machine.run(Instant::from_ns(code.len() as u64 - 3));
        let file = saved(&mut machine);
        let mut machine = Machine::restore(&config, &mut &*file).unwrap();
        machine.run(Instant::from_ns(code.len() as u64));
        assert_eq!((machine.harts()[0].reg(6), machine.harts()[0].reg(7)), (0, 1));
    }
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let (config, mut machine) = busy(2);
    machine.run(Instant::from_ns(100_000));
    let file = saved(&mut machine);
    let check =
        |what: &str, config: &MachineConfig, file: &[u8], wanted: fn(&RestoreError) -> bool| {
            match Machine::restore(config, &mut &*file) {
                Ok(_) => panic!("{what}: restored"),
                Err(error) => assert!(wanted(&error), "{what}: {error:?}"),
            }
        };
    let edited = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let state_end = 16 + u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    assert_eq!(file[..8], MAGIC);

    check("nothing", &config, &[], |e| matches!(e, RestoreError::Read(_)));
    for length in [7, 15, 100, state_end, state_end + 7, state_end + 100, file.len() - 1] {
        let cut = &file[..length];
        check("cut short", &config, cut, |e| matches!(e, RestoreError::Read(_)));
    }
    check("another file", &config, &edited(0, b"X"), |e| matches!(e, RestoreError::Format(_)));
    let version = (FORMAT_VERSION + 1).to_le_bytes();
    check("format", &config, &edited(8, &version), |e| matches!(e, RestoreError::Version { .. }));
    check("profile", &config, &edited(17, b"w"), |e| matches!(e, RestoreError::Version { .. }));
    // The profile's six letters, then the version of determinism.
    check("determinism", &config, &edited(23, &[99]), |e| {
        matches!(e, RestoreError::Version { .. })
    });
    let huge = u32::MAX.to_le_bytes();
    check("state length", &config, &edited(12, &huge), |e| matches!(e, RestoreError::Format(_)));
    check("state", &config, &edited(12, &9_u32.to_le_bytes()), |e| {
        matches!(e, RestoreError::Format(_))
    });
    let page = 5_000_u64.to_le_bytes();
    check("page", &config, &edited(state_end, &page), |e| matches!(e, RestoreError::Format(_)));
    check("content", &config, &edited(state_end + 3000, &[0x55; 9]), |e| {
        matches!(e, RestoreError::Digest { .. })
    });
    check("digest", &config, &edited(file.len() - 1, &[0]), |e| {
        matches!(e, RestoreError::Digest { .. })
    });

    let shape = |e: &RestoreError| matches!(e, RestoreError::Shape { .. });
    let with = |change: fn(&mut MachineConfig)| {
        let mut config = config.clone();
        change(&mut config);
        config
    };
    check("more RAM", &with(|c| c.memory_bytes *= 2), &file, shape);
    check("more harts", &with(|c| c.harts = 3), &file, shape);
    check("more devices", &with(|c| c.nics = 2), &file, shape);
    check("other devices", &with(|c| (c.nics, c.consoles) = (2, 1)), &file, |e| {
        matches!(e, RestoreError::Device(_))
    });
    check("Sv48", &with(|c| c.sv48 = true), &file, |e| matches!(e, RestoreError::Invalid(_)));
    check("impossible", &with(|c| c.harts = 0), &file, |e| matches!(e, RestoreError::Config(_)));
}

#[test]
fn impossible_states_are_refused() {
    let check = |what: &str, spoil: fn(&mut super::MachineState)| {
        let (_, mut machine) = busy(2);
        machine.run(Instant::from_ns(10_000));
        let mut state = machine.state();
        spoil(&mut state);
        let refused = machine.set_state(state);
        assert!(matches!(refused, Err(RestoreError::Invalid(_))), "{what}: {refused:?}");
    };
    check("current", |s| s.current = 2);
    check("quantum", |s| s.quantum_left = 20_001);
    check("rate 0", |s| s.rate_ticks = 0);
    check("rate 3", |s| s.rate_ticks = 3);
    check("rate 2048", |s| s.rate_ticks = 2048);
    check("more steps than time", |s| s.now = Instant::from_ticks(9999));
    check("harts swapped", |s| s.harts.swap(0, 1));
}

/// A host that gives no memory for compiled code: it is said, once, and nothing else differs.
#[test]
fn a_machine_without_a_compiler_computes_the_same() {
    use crate::engine::{EngineChoice, EngineLimits};
    let until = Instant::from_ticks(400_000);
    let (_, mut usual) = busy(2);
    usual.set_engine(EngineChoice::Interpreter);
    usual.run(until);
    let (_, mut machine) = busy(2);
    let limits = EngineLimits { code_bytes: 0, ..EngineLimits::DEFAULT };
    machine.set_engine(EngineChoice::compiler(1, limits));
    machine.run(until);
    let reason = machine.take_no_compiler().expect("it was asked for");
    assert!(!reason.is_empty() && machine.take_no_compiler().is_none());
    assert_eq!(machine.digest(), usual.digest());
}

/// Code that is given back in the middle is made again, and nothing shows.
#[test]
fn compiled_code_may_be_forgotten_at_any_time() {
    use crate::engine::{EngineChoice, EngineLimits, Profile};
    let limits = EngineLimits { profile: Profile::On, ..EngineLimits::DEFAULT };
    let (_, mut whole) = busy(2);
    let (_, mut machine) = busy(2);
    machine.set_engine(EngineChoice::compiler(1, limits));
    let mut compiled = 0;
    for n in 1..=20 {
        machine.run(Instant::from_ticks(n * 20_000));
        compiled += machine.compiled().len();
        machine.forget_code();
        assert!(machine.compiled().is_empty());
    }
    whole.run(Instant::from_ticks(400_000));
    assert_eq!(machine.digest(), whole.digest());
    assert!(compiled > 0 || !cfg!(target_arch = "x86_64"), "nothing was ever compiled");
}
