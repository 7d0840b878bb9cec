//! Requests from source to context and back.

use super::{Level, Plic};
use crate::devices::{Device, DeviceContext, Persist};
use crate::instant::Instant;
use crate::memory::Ram;

fn get(plic: &mut Plic, offset: u64) -> u64 {
    with(|cx| plic.read(offset, 4, cx))
}

fn set(plic: &mut Plic, offset: u64, value: u64) {
    with(|cx| plic.write(offset, 4, value, cx));
}

fn with<T>(run: impl FnOnce(&mut DeviceContext<'_>) -> T) -> T {
    let (mut ram, mut outputs) = (Ram::new(4096).unwrap(), Vec::new());
    run(&mut DeviceContext { ram: &mut ram, now: Instant::ZERO, outputs: &mut outputs })
}

fn claim_register(context: u64) -> u64 {
    0x20_0004 + 0x1000 * context
}

/// A PLIC with sources 1, 33 and 95 at priority 1, enabled in context 1.
fn plic() -> Plic {
    let mut plic = Plic::new(2);
    for source in [1, 33, 95] {
        set(&mut plic, 4 * source, 1);
    }
    for word in 0..3 {
        set(&mut plic, 0x2080 + 4 * word, 0xffff_ffff);
    }
    plic
}

#[test]
fn the_highest_priority_wins_then_the_lowest_id() {
    let check = |priorities: &[(u32, u64)], threshold: u64, pending: bool, claims: &[u64]| {
        let mut plic = plic();
        set(&mut plic, 0x20_1000, threshold);
        for &(source, priority) in priorities {
            set(&mut plic, 4 * u64::from(source), priority);
            plic.set_level(source, Level::High);
        }
        assert_eq!(plic.pending(1), pending);
        assert!(!plic.pending(0), "not enabled there");
        for &claim in claims {
            assert_eq!(get(&mut plic, claim_register(1)), claim);
        }
    };
    check(&[(33, 1), (1, 1)], 0, true, &[1, 33, 0]);
    check(&[(33, 2), (1, 1), (95, 7)], 0, true, &[95, 33, 1, 0]);
    check(&[(1, 0)], 0, false, &[0]);
    check(&[(1, 2)], 2, false, &[1, 0]);
    check(&[(1, 3)], 2, true, &[1]);
    // Priorities and thresholds have three bits.
    check(&[(1, 9)], 8, true, &[1]);
}

#[test]
fn a_level_asks_again_after_completion() {
    let mut plic = plic();
    plic.set_level(1, Level::High);
    assert_eq!(get(&mut plic, 0x1000), 2);
    assert_eq!(get(&mut plic, claim_register(1)), 1);
    assert_eq!(get(&mut plic, 0x1000), 0);
    plic.set_level(1, Level::High);
    assert!(!plic.pending(1), "it is being served");
    set(&mut plic, claim_register(1), 1);
    assert!(plic.pending(1), "the level is still high");
    assert_eq!(get(&mut plic, claim_register(1)), 1);
    plic.set_level(1, Level::Low);
    set(&mut plic, claim_register(1), 1);
    assert!(!plic.pending(1));
}

#[test]
fn a_request_outlives_its_level() {
    let mut plic = plic();
    plic.set_level(1, Level::High);
    plic.set_level(1, Level::Low);
    assert!(plic.pending(1));
}

#[test]
fn an_edge_asks_once() {
    let mut plic = plic();
    plic.pulse(33);
    assert_eq!(get(&mut plic, claim_register(1)), 33);
    plic.pulse(33);
    assert!(!plic.pending(1), "it is being served");
    set(&mut plic, claim_register(1), 33);
    assert_eq!(get(&mut plic, claim_register(1)), 33, "the second edge was kept");
    set(&mut plic, claim_register(1), 33);
    assert!(!plic.pending(1));
}

#[test]
fn what_does_not_exist_reads_zero() {
    let mut plic = plic();
    set(&mut plic, 0, 7);
    set(&mut plic, 4 * 96, 7);
    set(&mut plic, 0x2200, 0xffff_ffff);
    set(&mut plic, claim_register(1), 96);
    set(&mut plic, claim_register(1), 0);
    for offset in [0, 4 * 96, 0x100c, 0x2200, 0x208c, 0x20_1008, 0x20_4000, 0x3f_fffc, u64::MAX - 3]
    {
        assert_eq!(get(&mut plic, offset), 0, "offset {offset:#x}");
    }
    assert_eq!(get(&mut plic, 0x2080), 0xffff_fffe, "source 0 cannot be enabled");
    assert_eq!(with(|cx| plic.read(0x2080, 8, cx)), 0, "registers are 32 bits wide");
}

#[test]
fn state_is_restored_or_refused() {
    let mut plic = plic();
    plic.pulse(33);
    let state = plic.save();
    let mut other = Plic::new(2);
    other.restore(state.clone()).unwrap();
    assert_eq!(get(&mut other, claim_register(1)), 33);
    assert!(Plic::new(1).restore(state.clone()).is_err());
    let mut refused = |spoil: &dyn Fn(&mut super::PlicState)| {
        let mut state = state.clone();
        spoil(&mut state);
        assert!(other.restore(state).is_err());
    };
    refused(&|state| state.priorities[3] = 8);
    refused(&|state| state.contexts[0].threshold = 8);
    refused(&|state| state.pending[0] |= 1);
    refused(&|state| state.priorities.truncate(95));
    refused(&|state| state.contexts.clear());
}
