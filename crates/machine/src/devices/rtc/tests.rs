//! Time and its alarm.

use super::Rtc;
use crate::devices::{Device, DeviceContext, Persist};
use crate::instant::Instant;
use crate::memory::Ram;

const BASE_NS: u64 = 0x1234_ffff_ffff_fff0;

fn at<T>(ns: u64, run: impl FnOnce(&mut DeviceContext<'_>) -> T) -> T {
    let (mut ram, mut outputs) = (Ram::new(4096).unwrap(), Vec::new());
    run(&mut DeviceContext { ram: &mut ram, now: Instant::from_ns(ns), outputs: &mut outputs })
}

#[test]
fn low_latches_high() {
    let mut rtc = Rtc::new(BASE_NS);
    assert_eq!(at(15, |cx| rtc.read(0, 4, cx)), 0xffff_ffff);
    assert_eq!(at(16, |cx| rtc.read(4, 4, cx)), 0x1234_ffff, "from the moment of the low half");
    assert_eq!(at(16, |cx| rtc.read(0, 4, cx)), 0);
    assert_eq!(at(16, |cx| rtc.read(4, 4, cx)), 0x1235_0000);
}

#[test]
fn the_guest_sets_the_time() {
    let mut rtc = Rtc::new(BASE_NS);
    at(1000, |cx| {
        rtc.write(4, 4, 7, cx);
        rtc.write(0, 4, 500, cx);
        assert_eq!(rtc.time_ns(cx.now), 7 << 32 | 500);
    });
    assert_eq!(rtc.time_ns(Instant::from_ns(1001)), 7 << 32 | 501);
    rtc.set_time(42, Instant::from_ns(5000));
    assert_eq!(rtc.time_ns(Instant::from_ns(5001)), 43);
}

fn set_alarm(rtc: &mut Rtc, now_ns: u64, alarm_ns: u64) {
    at(now_ns, |cx| {
        rtc.write(0x0c, 4, alarm_ns >> 32, cx);
        rtc.write(0x08, 4, alarm_ns, cx);
        rtc.write(0x10, 4, 1, cx);
    });
}

#[test]
fn alarms_ring_at_their_time() {
    let mut rtc = Rtc::new(BASE_NS);
    set_alarm(&mut rtc, 10, BASE_NS + 100);
    assert_eq!(rtc.next_deadline(), Some(Instant::from_ns(100)));
    assert_eq!(at(10, |cx| rtc.read(0x18, 4, cx)), 1);
    at(99, |cx| rtc.fire(cx)).unwrap();
    assert!(!rtc.irq());
    let mut other = Rtc::new(0);
    other.restore(rtc.save()).unwrap();
    for rtc in [&mut rtc, &mut other] {
        at(100, |cx| rtc.fire(cx)).unwrap();
        assert!(rtc.irq());
        assert_eq!(rtc.next_deadline(), None);
        at(101, |cx| rtc.write(0x1c, 4, 1, cx));
        assert!(!rtc.irq());
    }
}

#[test]
fn alarms_in_the_past_ring_at_once_and_cleared_ones_never() {
    let mut rtc = Rtc::new(BASE_NS);
    set_alarm(&mut rtc, 10, BASE_NS);
    assert!(rtc.irq());
    at(11, |cx| rtc.write(0x10, 4, 0, cx));
    assert!(!rtc.irq(), "masked");
    let mut rtc = Rtc::new(BASE_NS);
    set_alarm(&mut rtc, 10, BASE_NS + 100);
    at(20, |cx| rtc.write(0x14, 4, 1, cx));
    assert_eq!(rtc.next_deadline(), None);
    assert!(!rtc.irq());
}

#[test]
fn a_new_time_moves_the_alarm() {
    let mut rtc = Rtc::new(BASE_NS);
    set_alarm(&mut rtc, 10, BASE_NS + 100);
    rtc.set_time(BASE_NS + 90, Instant::from_ns(50));
    assert_eq!(rtc.next_deadline(), Some(Instant::from_ns(60)));
    rtc.set_time(BASE_NS + 200, Instant::from_ns(55));
    assert!(rtc.irq());
}
