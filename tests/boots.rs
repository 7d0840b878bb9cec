//! Boots: Debian's kernel in the image `tiny`, under our firmware and under OpenSBI; U-Boot. And
//! that a boot is the same computation every time, however it is cut.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use stackvm_machine::digest::Digest;
use stackvm_machine::engine::EngineChoice;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Firmware, Instant, Machine, MachineConfig, Output, Stop};
use stackvm_tests::ours::Cut;
use stackvm_tests::{Rng, image, ours};

const OPENSBI: &str = "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin";
const U_BOOT: &str = "/usr/lib/u-boot/qemu-riscv64/u-boot.bin";
const U_BOOT_SUPERVISOR: &str = "/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf";
const PROMPT: &str = "root@tiny";
/// Instructions to the prompt of `tiny`, on one hart.
const BOOT_INSTRUCTIONS_MAX: u64 = 500_000_000;
/// Virtual time in which everything here has booted.
const LIMIT: Instant = Instant::from_ns(4_000_000_000);
/// How far boots are compared.
const COMPARED: Instant = Instant::from_ns(3_000_000_000);

/// The image, built once for all tests of this build.
fn tiny() -> MachineConfig {
    static CONFIG: OnceLock<MachineConfig> = OnceLock::new();
    let home = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("images-home");
    CONFIG.get_or_init(|| image::tiny(&home())).clone()
}

fn file(path: &str, package: &str) -> Arc<Vec<u8>> {
    let read = fs::read(path);
    Arc::new(read.unwrap_or_else(|error| panic!("{path} (Debian: {package}): {error}")))
}

/// Runs until a console has printed `text`; returns the machine and all that was printed before.
fn boot(config: &MachineConfig, text: &str) -> (Machine, String) {
    const STEP: Ticks = Ticks::from_ns(1_000_000);
    let mut machine = Machine::new(config).expect("a machine");
    let mut printed = String::new();
    while !printed.contains(text) {
        let (stop, outputs) = {
            let until = machine.now() + STEP;
            ours::run_until(&mut machine, until)
        };
        for output in outputs {
            if let Output::Console { bytes, .. } = output {
                printed.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        assert_eq!(stop, Stop::Until, "{printed}");
        assert!(machine.now() < LIMIT, "no {text:?} in:\n{printed}");
    }
    (machine, printed)
}

fn type_line(machine: &mut Machine, line: &str) -> String {
    let bytes = format!("{line}\r").into_bytes();
    machine.input(stackvm_machine::Input::Console { console: ConsoleId::Hvc(0), bytes });
    let until = machine.now() + Ticks::from_ns(1_000_000_000);
    let mut text = String::new();
    for output in ours::run_until(machine, until).1 {
        if let Output::Console { bytes, .. } = output {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    text
}

#[test]
fn tiny_is_at_its_prompt_soon() {
    let (machine, _) = boot(&tiny(), PROMPT);
    let retired = machine.retired();
    assert!(retired <= BOOT_INSTRUCTIONS_MAX, "{retired} instructions to the prompt");
}

#[test]
fn tiny_boots_on_four_harts() {
    let config = MachineConfig { harts: 4, ..tiny() };
    let (mut machine, _) = boot(&config, PROMPT);
    let answer = type_line(&mut machine, "echo $(grep -c ^processor /proc/cpuinfo) harts");
    assert!(answer.contains("4 harts"), "{answer}");
}

#[test]
fn opensbi_starts_the_kernel() {
    for harts in [1, 4] {
        let firmware = Some(Firmware::File(file(OPENSBI, "opensbi")));
        let config = MachineConfig { harts, firmware, ..tiny() };
        let (mut machine, printed) = boot(&config, PROMPT);
        assert!(printed.contains("OpenSBI v"), "{printed}");
        let answer = type_line(&mut machine, "echo $(grep -c ^processor /proc/cpuinfo) harts");
        assert!(answer.contains(&format!("{harts} harts")), "{answer}");
    }
}

#[test]
fn u_boot_comes_up() {
    let in_machine_mode = MachineConfig {
        firmware: Some(Firmware::File(file(U_BOOT, "u-boot-qemu"))),
        ..MachineConfig::default()
    };
    boot(&in_machine_mode, "Hit any key to stop autoboot");
    let in_supervisor_mode = MachineConfig {
        firmware: Some(Firmware::File(file(OPENSBI, "opensbi"))),
        kernel: Some(file(U_BOOT_SUPERVISOR, "u-boot-qemu")),
        ..MachineConfig::default()
    };
    boot(&in_supervisor_mode, "Hit any key to stop autoboot");
}

/// Boots for three virtual seconds, cut at these instants.
fn digest(config: &MachineConfig, cuts: &[(Instant, Cut)]) -> Digest {
    let mut machine = Machine::new(config).expect("a machine");
    for (at, cut) in cuts {
        ours::run_until(&mut machine, *at);
        machine = cut.apply(machine, config);
    }
    ours::run_until(&mut machine, COMPARED);
    machine.digest()
}

#[test]
fn a_boot_is_the_same_every_time() {
    for harts in [1, 4] {
        let config = MachineConfig { harts, ..tiny() };
        let start = |engine| (Instant::ZERO, Cut::Engine(engine));
        let whole = digest(&config, &[start(EngineChoice::Interpreter)]);
        assert_eq!(digest(&config, &[]), whole, "{harts} harts, again");
        assert_eq!(digest(&config, &[start(ours::COMPILED)]), whole, "{harts} harts, compiled");
        let mut rng = Rng::new(u64::from(harts));
        let mut cuts: Vec<_> = (0..25)
            .map(|n| {
                // Most of the work is done in the first half second.
                let at = Instant::from_ticks(rng.below(Instant::from_ns(600_000_000).ticks()));
                let cut = match n % 5 {
                    0 => Cut::Restore,
                    1 => Cut::Thaw,
                    2 => Cut::Engine(EngineChoice::Interpreter),
                    3 => Cut::Engine(ours::COMPILED),
                    _ => Cut::Engine(ours::CRAMPED),
                };
                (at, cut)
            })
            .collect();
        cuts.sort_by_key(|cut| cut.0);
        assert_eq!(digest(&config, &cuts), whole, "{harts} harts, {cuts:?}");
    }
}
