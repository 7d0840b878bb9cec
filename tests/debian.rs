//! The image `debian`: it is the real system, and forks of one running machine are different
//! machines.

use std::path::PathBuf;

use stackvm_host::lab::{FreshIdentity, Lab};
use stackvm_machine::{Instant, MachineConfig};
use stackvm_tests::image;

/// Virtual time in which everything here is done; an instruction takes a nanosecond.
const LIMIT: Instant = Instant::from_ns(120_000_000_000);

fn debian() -> MachineConfig {
    image::named("debian", &PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("images-home"))
}

/// What a command prints.
fn output_of(lab: &mut Lab, command: &str) -> String {
    let output = lab.exec(&["sh", "-c", command], b"", LIMIT).expect(command);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.code, 0, "{command}: {words}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[test]
fn debian_is_a_system_and_its_fresh_forks_are_others() {
    let mut lab = Lab::new(MachineConfig { nics: 1, ..debian() }).expect("a machine");
    lab.run_until_agent(LIMIT).expect("an agent");
    let check = |lab: &mut Lab, command, expected| assert_eq!(output_of(lab, command), expected);
    check(&mut lab, "perl -e 'print 6*7'", "42");
    check(&mut lab, "python3 -c 'print(6*7)'", "42");
    check(&mut lab, "cat /proc/1/comm", "systemd");
    check(&mut lab, "echo 'int main(){return 42;}' >a.c && gcc a.c && ./a.out; echo $?", "42");
    check(&mut lab, "dpkg --audit", "");

    let fork = |lab: &mut Lab, seed| {
        let rtc_ns = 1_800_000_000_000_000_000;
        let identity = FreshIdentity { seed, rtc_ns, hostname: format!("twin{seed}") };
        lab.fork_fresh(&identity, LIMIT).expect("a fresh fork")
    };
    let mut twins = [fork(&mut lab, 1), fork(&mut lab, 2)];
    for differs in [
        "head -c 16 /dev/urandom | od -x",
        "cat /etc/ssh/ssh_host_*_key.pub",
        "cat /etc/machine-id",
        "cat /sys/class/net/e*/address",
        "hostname",
    ] {
        let original = output_of(&mut lab, differs);
        let [one, other] = twins.each_mut().map(|twin| output_of(twin, differs));
        assert!(!one.is_empty(), "{differs} prints nothing");
        assert!(one != other && one != original, "{differs}: {original}, {one}, {other}");
    }
}
