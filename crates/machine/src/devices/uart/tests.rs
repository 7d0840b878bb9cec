//! The serial port as drivers use it.

use super::Uart;
use crate::config::limits::PENDING_INPUT_BYTES_MAX;
use crate::devices::{Device, DeviceContext, Persist};
use crate::instant::Instant;
use crate::io::{ConsoleId, Output};
use crate::memory::Ram;

/// One access: a write of a value, or a read and what it must give.
enum Access {
    Write(u64, u64),
    Read(u64, u64),
    Irq(bool),
    Edge(bool),
    Input(&'static [u8]),
}
use Access::{Edge, Input, Irq, Read, Write};

fn check(accesses: &[Access], written: &[u8]) {
    let mut uart = Uart::new();
    let mut ram = Ram::new(4096).unwrap();
    let mut outputs = Vec::new();
    let mut cx = DeviceContext { ram: &mut ram, now: Instant::ZERO, outputs: &mut outputs };
    for (index, access) in accesses.iter().enumerate() {
        match *access {
            Write(offset, value) => uart.write(offset, 1, value, &mut cx),
            Read(offset, expected) => {
                assert_eq!(uart.read(offset, 1, &mut cx), expected, "access {index}");
            }
            Irq(expected) => assert_eq!(uart.irq(), expected, "access {index}"),
            Edge(expected) => assert_eq!(uart.take_edge(), expected, "access {index}"),
            Input(bytes) => uart.input(bytes),
        }
        // Saving and restoring between any two accesses changes nothing.
        let mut other = Uart::new();
        other.restore(uart.save()).unwrap();
        uart = other;
    }
    let expected = Output::Console { console: ConsoleId::Serial, bytes: written.to_vec() };
    let expected = if written.is_empty() { vec![] } else { vec![expected] };
    assert_eq!(outputs, expected);
}

#[test]
fn characters_go_out() {
    check(&[Read(5, 0x60), Write(0, 72), Write(0, 105), Read(5, 0x60)], b"Hi");
}

#[test]
fn characters_come_in() {
    check(&[Input(b"ab"), Read(5, 0x61), Read(0, 97), Read(0, 98), Read(5, 0x60), Read(0, 0)], b"");
}

#[test]
fn the_divisor_hides_behind_its_latch() {
    let latched = [Write(3, 0x83), Write(0, 0x34), Write(1, 0x12), Read(0, 0x34), Read(1, 0x12)];
    check(&latched, b"");
    check(&[Write(3, 0x83), Write(0, 0x34), Write(3, 3), Read(0, 0), Read(1, 0), Read(3, 3)], b"");
}

#[test]
fn receive_interrupts_follow_the_trigger_level() {
    check(&[Input(b"x"), Irq(false), Write(1, 1), Irq(true), Read(2, 4), Read(0, 120)], b"");
    // With FIFO and a trigger level of 4: timeout below, data available from there on.
    let setup = || [Write(2, 0x41), Write(1, 1), Read(2, 0xc1)];
    let below = [Input(b"abc"), Irq(true), Read(2, 0xcc)];
    let above = [Input(b"d"), Read(2, 0xc4), Read(0, 97), Read(2, 0xcc), Read(0, 98)];
    let rest = [Read(0, 99), Read(0, 100), Irq(false), Read(2, 0xc1)];
    let all: Vec<_> = setup().into_iter().chain(below).chain(above).chain(rest).collect();
    check(&all, b"");
}

#[test]
fn the_transmit_interrupt_is_cleared_by_reading_it() {
    let probe = [Write(1, 2), Edge(true), Edge(false), Irq(false), Read(2, 2), Read(2, 1)];
    check(&probe, b"");
    // Without its interrupt enabled the transmitter asks for nothing.
    check(&[Write(0, 120), Edge(false)], b"x");
    // Linux's test for a missing one: off and on again raises it again.
    check(&[Write(1, 2), Read(2, 2), Write(1, 0), Write(1, 2), Read(2, 2)], b"");
    check(&[Write(1, 2), Read(2, 2), Edge(true), Write(0, 120), Edge(true), Read(2, 2)], b"x");
}

#[test]
fn linux_recognises_a_16550a() {
    let ier = [Write(1, 0), Read(1, 0), Write(1, 0xff), Read(1, 0x0f), Write(1, 0)];
    check(&ier, b"");
    // Loopback: RTS and OUT2 come back as CTS and DCD.
    check(&[Read(6, 0xb0), Write(4, 0x1a), Read(6, 0x90), Write(4, 0), Read(6, 0xb0)], b"");
    check(&[Write(2, 1), Read(2, 0xc1), Write(2, 0), Read(2, 1)], b"");
    check(&[Write(7, 0x5a), Read(7, 0x5a)], b"");
}

#[test]
fn loopback_keeps_the_line_apart() {
    let inside = [Write(4, 0x10), Write(0, 65), Input(b"z"), Read(5, 0x61), Read(0, 65)];
    let outside = [Read(5, 0x60), Write(4, 0), Read(5, 0x61), Read(0, 122)];
    let all: Vec<_> = inside.into_iter().chain(outside).collect();
    check(&all, b"");
}

#[test]
fn a_fifo_reset_does_not_eat_what_was_typed_ahead() {
    check(&[Input(b"ahead"), Write(2, 1), Write(2, 7), Write(2, 0), Read(0, 97)], b"");
    check(&[Write(4, 0x10), Write(0, 65), Write(2, 3), Read(5, 0x60)], b"");
}

#[test]
fn input_is_bounded() {
    let mut uart = Uart::new();
    uart.input(&vec![0; PENDING_INPUT_BYTES_MAX - 1]);
    assert_eq!(uart.room_bytes(), 1);
    uart.input(b"abc");
    assert_eq!(uart.room_bytes(), 0);
    let mut state = uart.save();
    state.pending.push_back(0);
    assert!(uart.restore(state).is_err());
}
