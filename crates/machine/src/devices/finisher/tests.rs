//! Requests to switch off or reset.

use super::{Finisher, FinisherRequest};
use crate::devices::{Device, DeviceContext, Persist};
use crate::instant::Instant;
use crate::memory::Ram;

#[test]
fn requests_are_what_the_magic_numbers_say() {
    let check = |offset, size, value, expected| {
        let (mut ram, mut outputs) = (Ram::new(4096).unwrap(), Vec::new());
        let now = Instant::ZERO;
        let mut cx = DeviceContext { ram: &mut ram, now, outputs: &mut outputs };
        let mut finisher = Finisher::new();
        finisher.write(offset, size, value, &mut cx);
        assert_eq!(finisher.request(), expected, "{value:#x}");
        let mut other = Finisher::new();
        other.restore(finisher.save()).unwrap();
        assert_eq!(other.request(), expected);
        // Off stays off.
        other.write(0, 4, 0x7777, &mut cx);
        assert_eq!(other.request(), expected.or(Some(FinisherRequest::Reset)));
    };
    let off = |code| Some(FinisherRequest::PowerOff { code });
    check(0, 4, 0x5555, off(0));
    check(0, 2, 0x5555, off(0));
    check(0, 8, 0x5555, off(0));
    check(0, 4, 0x2a_3333, off(42));
    check(0, 4, 0xffff_3333, off(0xffff));
    check(0, 2, 0x2a_3333, off(0));
    check(0, 4, 0x7777, Some(FinisherRequest::Reset));
    check(0, 4, 0, None);
    check(0, 1, 0x5555, None);
    check(4, 4, 0x5555, None);
}
