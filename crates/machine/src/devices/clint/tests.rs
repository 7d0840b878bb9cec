//! Timers and software interrupts.

use super::Clint;
use crate::devices::{Device, DeviceContext, Persist};
use crate::instant::Instant;
use crate::memory::Ram;

const MTIME: u64 = 0xbff8;

fn at<T>(mtime: u64, run: impl FnOnce(&mut DeviceContext<'_>) -> T) -> T {
    let (mut ram, mut outputs) = (Ram::new(4096).unwrap(), Vec::new());
    let now = Instant::from_mtime(mtime);
    run(&mut DeviceContext { ram: &mut ram, now, outputs: &mut outputs })
}

#[test]
fn software_interrupts_are_per_hart() {
    let mut clint = Clint::new(3);
    at(0, |cx| {
        clint.write(4, 4, 0xffff_ffff, cx);
        assert_eq!([0, 1, 2].map(|hart| clint.msip(hart)), [false, true, false]);
        assert_eq!(clint.read(4, 4, cx), 1);
        clint.write(4, 4, 0, cx);
        clint.raise_msip(2);
        assert_eq!([0, 1, 2].map(|hart| clint.msip(hart)), [false, false, true]);
        clint.write(12, 4, 1, cx);
        assert_eq!(clint.read(12, 4, cx), 0, "there is no hart 3");
    });
}

#[test]
fn registers_take_halves_and_wholes() {
    let mut clint = Clint::new(2);
    at(0x1_2345_6789, |cx| {
        clint.write(0x4008, 4, 0x1111_2222, cx);
        clint.write(0x400c, 4, 0x3333_4444, cx);
        assert_eq!(clint.mtimecmp(1), 0x3333_4444_1111_2222);
        assert_eq!(clint.read(0x4008, 8, cx), 0x3333_4444_1111_2222);
        assert_eq!(clint.read(0x400c, 4, cx), 0x3333_4444);
        assert_eq!(clint.mtimecmp(0), u64::MAX);
        assert_eq!(clint.read(MTIME, 8, cx), 0x1_2345_6789);
        assert_eq!(clint.read(MTIME + 4, 4, cx), 1);
        assert_eq!(clint.read(0x4010, 8, cx), 0);
        assert_eq!(clint.read(0xc000, 8, cx), 0);
    });
}

#[test]
fn deadlines_are_the_first_instant_the_timer_shows_it() {
    let check = |mtime_written: Option<u64>, mtimecmp: u64, expected: Option<u64>| {
        let mut clint = Clint::new(1);
        at(100, |cx| {
            if let Some(mtime) = mtime_written {
                clint.write(MTIME, 8, mtime, cx);
            }
            clint.write(0x4000, 8, mtimecmp, cx);
            let deadline = clint.next_deadline(0, cx.now);
            assert_eq!(deadline, expected.map(Instant::from_mtime));
            let Some(deadline) = deadline else { return };
            assert!(!clint.mtip(0, cx.now));
            assert!(!clint.mtip(0, Instant::from_ticks(deadline.ticks() - 1)));
            assert!(clint.mtip(0, deadline));
        });
    };
    check(None, 101, Some(101));
    check(None, 100, None);
    check(None, 5, None);
    check(None, u64::MAX, None);
    check(Some(5), 10, Some(105));
    check(Some(1000), 1010, Some(110));
    check(Some(u64::MAX - 1), u64::MAX, Some(101));
}

#[test]
fn hostile_state_is_refused() {
    let mut clint = Clint::new(2);
    for harts in [1, 3] {
        assert!(clint.restore(Clint::new(harts).save()).is_err());
    }
    let mut state = clint.save();
    state.msip.clear();
    assert!(clint.restore(state).is_err());
    let state = clint.save();
    assert_eq!(clint.restore(state), Ok(()));
}
