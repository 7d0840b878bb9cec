//! How much memory of this computer a lab has for itself.

/// Bytes of memory that a process shares with no other one: what it has written since it was forked,
/// and what it made itself. `None` if there is no such process.
pub fn own_memory_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(private_bytes(&text))
}

fn private_bytes(rollup: &str) -> u64 {
    let own = rollup.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let is_own = matches!(name, "Private_Clean" | "Private_Dirty" | "SwapPss");
        rest.split_whitespace().next()?.parse::<u64>().ok().filter(|_| is_own)
    });
    own.sum::<u64>() << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_its_own_counts() {
        let rollup = "7f00-7fff ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nShared_Dirty: 500 kB\n\
                      Private_Clean:  100 kB\nPrivate_Dirty:  24 kB\nSwapPss: 4 kB\n";
        assert_eq!(private_bytes(rollup), 128 << 10);
        assert_eq!(private_bytes(""), 0);
    }

    #[test]
    fn this_process_has_some() {
        let before = own_memory_bytes(std::process::id()).unwrap();
        // A compiler that sees nobody read it writes nothing.
        let written = std::hint::black_box(vec![1_u8; 16 << 20]);
        let after = own_memory_bytes(std::process::id()).unwrap();
        assert!(after >= before + (8 << 20), "{before} {after} {}", written.len());
        assert_eq!(own_memory_bytes(u32::MAX), None);
    }
}
