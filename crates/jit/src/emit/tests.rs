//! What guest code becomes, as listings to read: `listings/NAME.txt` has each. `STACKVM_BLESS=1`
//! writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter};
use stackvm_riscv::RamPage;
use stackvm_riscv::native::{EntryTable, SLOTS, Source};

use super::{Emitted, Features, Setting, emit};
use crate::region;
use crate::stubs::Stubs;

/// Where nothing is compiled.
static NOTHING: EntryTable = [0; SLOTS];

/// A page with these instructions at its beginning, everything in it having run once.
fn source<'a>(page: &'a mut [u8; 4096], words: &[u32], ran: &'a mut [u32; SLOTS]) -> Source<'a> {
    for (at, word) in words.iter().enumerate() {
        page[at * 4..][..4].copy_from_slice(&word.to_le_bytes());
        ran[at * 2] = 1;
    }
    Source { number: RamPage(0), page, behind: None, offset: 0, ran, entries: &NOTHING }
}

fn listing(words: &[u32]) -> String {
    let (mut page, mut ran) = ([0; 4096], [0; SLOTS]);
    let source = source(&mut page, words, &mut ran);
    let segments = region::build(&source, 0, words.len());
    let stubs = Stubs {
        start: 0x6000_0000,
        step: 0x6000_0100,
        elsewhere: 0x6000_0200,
        miss: 0x6000_0300,
        leave: 0x6000_0400,
    };
    let features = Features { bmi2: true, fma: true };
    let (address, entries) = (0x6000_1000, 0x6100_0000);
    let setting = Setting { address, entries, behind: None, stubs, features, counter: None };
    let Emitted { bytes, code_len, entries } = emit(&segments, setting);
    let code = &bytes[..code_len];
    let mut text = String::new();
    for op in segments.iter().flat_map(|segment| &segment.ops) {
        writeln!(text, "{op}").unwrap();
    }
    let mut formatter = GasFormatter::new();
    for instruction in &mut Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        if let Some((offset, _)) = entries.iter().find(|(_, entry)| *entry == instruction.ip()) {
            writeln!(text, "entry {offset:03x}:").unwrap();
        }
        write!(text, "    {:03x} ", instruction.ip() - address).unwrap();
        formatter.format(&instruction, &mut text);
        text.push('\n');
    }
    text
}

fn check(name: &str, words: &[u32]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/emit/tests/listings");
    let path = folder.join(format!("{name}.txt"));
    let seen = listing(words);
    if std::env::var_os("STACKVM_BLESS").is_some() {
        std::fs::write(&path, &seen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(seen == expected, "{name} became\n{seen}\nSTACKVM_BLESS=1 takes it over");
}

#[test]
fn integers() {
    // addi a0, a0, 1; addi t1, a0, -4; sub a1, a2, a1; addw s2, s2, a0; slli a3, a4, 7;
    // sltu a5, a0, t1; mul a0, a0, a1; lui t2, 0x12345; not a0, a0
    check(
        "integers",
        &[
            0x0015_0513,
            0xffc5_0313,
            0x40b6_05b3,
            0x00a9_093b,
            0x0077_1693,
            0x0065_37b3,
            0x02b5_0533,
            0x1234_53b7,
            0xfff5_4513,
        ],
    );
}

#[test]
fn division() {
    // divu a0, a1, a2; remw a3, a4, a5
    check("division", &[0x02c5_d533, 0x02f7_66bb]);
}

#[test]
fn accesses() {
    // lw a0, 8(a1); sb t0, 1(a2)
    check("accesses", &[0x0085_a503, 0x0056_00a3]);
}

#[test]
fn neighbours_share_a_look_at_the_translations() {
    // sd ra, 24(sp); sd s0, 16(sp); addi s0, sp, 32; sd a0, 8(sp)
    check("neighbours", &[0x0011_3c23, 0x0081_3823, 0x0201_0413, 0x00a1_3423]);
}

#[test]
fn a_loop_has_its_own_registers() {
    // 0: lw t0, 0(t3); addw t4, t4, t0; addi t3, t3, 4; bne t3, t5, 0
    check("loop", &[0x000e_2283, 0x005e_8ebb, 0x004e_0e13, 0xffee_1ae3]);
}

#[test]
fn jumps() {
    // 0: beq a0, zero, 12; jal ra, 0x2000; 8: jalr zero, 0(ra); 12: j 8
    check("jumps", &[0x0005_0663, 0x7fd0_10ef, 0x0000_8067, 0xffdf_f06f]);
}

#[test]
fn floating_point() {
    // fld fa0, 0(a0); fadd.d fa0, fa0, fa1; fmadd.d fa2, fa0, fa1, fa2; fcvt.w.d a0, fa0, rtz
    check("floating_point", &[0x0005_3507, 0x02b5_7553, 0x62b5_7643, 0xc205_1553]);
}

#[test]
fn what_is_rare_is_left_to_the_interpreter() {
    // lr.d a0, (a1); csrrs a0, cycle, zero
    check("rare", &[0x1005_b52f, 0xc000_2573]);
}
