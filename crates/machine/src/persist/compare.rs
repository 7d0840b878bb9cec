//! Naming the first component in which two states differ: for telling where a replay went wrong.

use serde::Serialize;

use super::{Frozen, MachineState};
use crate::memory::{PAGE_BYTES, RAM_BASE};

impl Frozen {
    /// The first component in which another machine's state differs from this one's, for people:
    /// the clock, a hart, a device, a page of RAM, a block of a disk; `None` if nothing does.
    /// Harts come before devices, and these before memory: of several differences the first is
    /// most likely the cause.
    pub fn first_difference(&self, other: &Frozen) -> Option<String> {
        let parts = parts(self.state()).into_iter().zip(parts(other.state()));
        let state = parts.filter(|(mine, theirs)| mine.1 != theirs.1).map(|(mine, _)| mine.0);
        state.into_iter().next().or_else(|| self.page(other)).or_else(|| self.block(other))
    }

    fn page(&self, other: &Frozen) -> Option<String> {
        let pages = self.ram().pages().max(other.ram().pages());
        let page = (0..pages).find(|&page| self.ram().page(page) != other.ram().page(page))?;
        let addr = RAM_BASE + u64::from(page) * PAGE_BYTES as u64;
        Some(format!("RAM page {page} (at {addr:#x})"))
    }

    fn block(&self, other: &Frozen) -> Option<String> {
        let disks = self.overlays().iter().zip(other.overlays()).enumerate();
        disks.into_iter().find_map(|(disk, (mine, theirs))| {
            let mut differing = None;
            mine.differences(theirs, |block, old, new| {
                if differing.is_none() && old != new {
                    differing = Some(block);
                }
            });
            differing.map(|block| format!("disk {disk}, block {block}"))
        })
    }
}

/// The parts of a state with their names. Two machines of the same shape have the same names.
fn parts(state: &MachineState) -> Vec<(String, Vec<u8>)> {
    fn bytes(part: &impl Serialize) -> Vec<u8> {
        postcard::to_stdvec(part).expect("plain data")
    }
    let MachineState {
        profile,
        determinism_version,
        memory_bytes,
        now,
        rate_ticks,
        current,
        quantum_left,
        firmware,
        htif,
        off,
        runs,
        harts,
        uart,
        clint,
        plic,
        rtc,
        finisher,
        vmgenid,
        slots,
    } = state;
    let shape = (profile, determinism_version, memory_bytes, firmware);
    let mut parts = vec![("shape".to_owned(), bytes(&shape)), ("clock".into(), bytes(now))];
    for (number, hart) in harts.iter().enumerate() {
        parts.push((format!("registers of hart {number}"), bytes(hart)));
    }
    let turn = (rate_ticks, current, quantum_left, runs, off);
    parts.extend([
        ("turns of the harts".to_owned(), bytes(&turn)),
        ("HTIF mailbox".to_owned(), bytes(htif)),
        ("UART".to_owned(), bytes(uart)),
        ("CLINT".to_owned(), bytes(clint)),
        ("PLIC".to_owned(), bytes(plic)),
        ("RTC".to_owned(), bytes(rtc)),
        ("test finisher".to_owned(), bytes(finisher)),
        ("VMGenID".to_owned(), bytes(vmgenid)),
    ]);
    for (number, slot) in slots.iter().enumerate() {
        parts.push((format!("virtio device in slot {number}"), bytes(slot)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{ConsoleId, Firmware, Input, Instant, Machine, MachineConfig};

    /// RV64: `1: addi t0, t0, 1; auipc t1, 1; sd t0, 0(t1); j 1b`.
    const COUNT: [u32; 4] = [0x0012_8293, 0x0000_1317, 0x0053_3023, 0xff5f_f06f];

    fn machine() -> Machine {
        let program: Vec<u8> = COUNT.iter().flat_map(|word| word.to_le_bytes()).collect();
        let config = MachineConfig {
            memory_bytes: 4 << 20,
            firmware: Some(Firmware::File(Arc::new(program))),
            consoles: 1,
            ..MachineConfig::default()
        };
        Machine::new(&config).expect("a machine")
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Machine), expected: Option<&str>) {
        let (mut one, mut other) = (machine(), machine());
        one.run(Instant::from_ns(100));
        other.run(Instant::from_ns(100));
        change(&mut other);
        let found = one.freeze().first_difference(&other.freeze());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn the_first_difference_is_named() {
        check(|_| {}, None);
        check(|other| _ = other.run(Instant::from_ns(101)), Some("clock"));
        let typed = |console| Input::Console { console, bytes: b"x".to_vec() };
        check(|other| other.input(typed(ConsoleId::Serial)), Some("UART"));
        check(|other| other.input(typed(ConsoleId::Hvc(0))), Some("virtio device in slot 0"));
        check(
            |other| other.board.ram.write(0x8010_0004, &[1]).expect("RAM"),
            Some("RAM page 256 (at 0x80100000)"),
        );
        check(|other| other.input(Input::Rate { ticks: 32 }), Some("turns of the harts"));
    }
}
