//! What commands about a machine's past share: instants as people write them, what goes on from a
//! machine in a word, and errors with a way out.

use stackvm_host::machines::{Lifetime, MachineSpec, MachinesError};

use crate::failure::failure;

/// Nanoseconds as seconds, exactly: `83.500000001`, as `--at` takes it.
pub(super) fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    short.to_owned()
}

/// What a machine is: one that runs at times, or what is kept of another.
pub(super) fn kind(spec: &MachineSpec) -> &'static str {
    match spec.lifetime {
        _ if spec.is_recording() => "recording",
        Lifetime::Frozen | Lifetime::Held => "moment",
        Lifetime::Ephemeral | Lifetime::Named => "machine",
    }
}

/// Why nothing is made of the past of the machine that people call `name`.
pub(super) fn no_such_past(name: &str, error: MachinesError) -> anyhow::Error {
    match error {
        MachinesError::Never { at, begin, end, .. } => {
            let [at, begin, end] = [at, begin, end].map(|instant| seconds(instant.ns()));
            failure(
                format!(
                    "machine {name} has not been at {at} s: its past is from {begin} s to {end} s"
                ),
                format!("`stackvm events {name}` lists instants at which something was done"),
            )
        }
        MachinesError::NoPast(_) => failure(
            format!("nothing is known of machine {name}'s past"),
            "only a machine with a name, once it was on, has one: `stackvm run --name`",
        ),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_exact_and_short() {
        for (ns, expected) in [
            (0, "0"),
            (10_000_000_000_u64, "10"),
            (83_500_000_000, "83.5"),
            (83_500_000_001, "83.500000001"),
            (1, "0.000000001"),
        ] {
            assert_eq!(seconds(ns), expected);
        }
    }
}
