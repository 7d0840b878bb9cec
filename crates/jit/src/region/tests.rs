//! Where regions begin and end.

use super::*;
use stackvm_riscv::RamPage;
use stackvm_riscv::native::SLOTS;

/// The segments of code at 0, each as its offset and number of instructions; `ran` are offsets.
fn check(words: &[u32], ran: &[u16], ops_max: usize, expected: &[(u16, usize)]) {
    check_beside(words, ran, &[], ops_max, expected);
}

/// As [`check`], while what is at the offsets `compiled` is compiled already.
fn check_beside(
    words: &[u32],
    ran: &[u16],
    compiled: &[u16],
    ops_max: usize,
    expected: &[(u16, usize)],
) {
    let (mut page, mut known) = ([0; 4096], [0; SLOTS]);
    for (at, word) in words.iter().enumerate() {
        page[at * 4..][..4].copy_from_slice(&word.to_le_bytes());
    }
    ran.iter().for_each(|offset| known[usize::from(*offset) / 2] = 1);
    let mut entries = [0; SLOTS];
    compiled.iter().for_each(|offset| entries[usize::from(*offset) / 2] = 1);
    let source = Source {
        number: RamPage(0),
        page: &page,
        behind: None,
        offset: 0,
        ran: &known,
        entries: &entries,
    };
    let seen: Vec<_> = build(&source, 0, ops_max).iter().map(|s| (s.offset, s.ops.len())).collect();
    assert_eq!(seen, expected, "{words:08x?} {ran:?}");
}

const NOP: u32 = 0x13;
const ECALL: u32 = 0x73;
/// `beq zero, zero, 12`.
const BRANCH: u32 = 0x0000_0663;
/// `j -8`.
const BACK: u32 = 0xff9f_f06f;

#[test]
fn straight_code_is_one_segment() {
    check(&[NOP, NOP, ECALL], &[0], 9, &[(0, 3)]);
}

#[test]
fn a_branch_to_what_never_ran_leaves() {
    check(&[NOP, BRANCH, NOP, ECALL, NOP, ECALL], &[0], 9, &[(0, 4)]);
}

#[test]
fn a_branch_to_what_ran_cuts() {
    check(&[NOP, BRANCH, NOP, ECALL, NOP, ECALL], &[0, 16], 9, &[(0, 2), (8, 2), (16, 2)]);
}

#[test]
fn what_is_compiled_stays_where_it_is() {
    let code = [NOP, BRANCH, NOP, ECALL, NOP, ECALL];
    check_beside(&code, &[0, 16], &[16], 9, &[(0, 4)]);
}

#[test]
fn a_loop_is_cut_at_its_head() {
    check(&[NOP, NOP, NOP, BACK], &[0, 4], 9, &[(0, 1), (4, 3)]);
}

#[test]
fn a_region_has_an_end() {
    check(&[NOP; 9], &[0], 4, &[(0, 4)]);
}

#[test]
fn more_than_a_byte_counts_is_cut() {
    check(&[NOP; 300], &[0], 300, &[(0, 255)]);
}
