//! RVC: random parcels, reserved encodings among them, that obey the rules for registers.

use super::{Generator, may_write};
use crate::asm::Reg;

impl Generator {
    pub(super) fn compressed(&mut self) {
        loop {
            let parcel = self.rng.next() as u16;
            if is_harmless(parcel) {
                self.sequence.items.push(vec![parcel]);
                return;
            }
        }
    }
}

/// Whether a parcel is a compressed instruction that neither jumps nor writes what it must not nor
/// accesses memory other than through a pointer.
fn is_harmless(parcel: u16) -> bool {
    let field = |at: u32, bits: u32| u32::from(parcel >> at) & ((1 << bits) - 1);
    let (full, low, high) = (field(7, 5), 8 + field(2, 3), 8 + field(7, 3));
    let rs2 = field(2, 5);
    let is_pointer = |reg: Reg| !may_write(reg);
    match (field(0, 2), field(13, 3)) {
        (0, 0) => may_write(low),                         // c.addi4spn
        (0, 1 | 5 | 6 | 7) => is_pointer(high),           // c.fld, c.fsd, c.sw, c.sd
        (0, 2 | 3) => is_pointer(high) && may_write(low), // c.lw, c.ld
        (0, _) => true,                                   // reserved
        (1, 0..=2) => may_write(full),                    // c.addi, c.addiw, c.li
        (1, 3) => full == 2 || may_write(full),           // c.addi16sp, c.lui
        (1, 4) => may_write(high),                        // arithmetic
        (1, _) => false,                                  // c.j, c.beqz, c.bnez
        (2, 0 | 2 | 3) => may_write(full),                // c.slli, c.lwsp, c.ldsp
        (2, 1 | 5 | 6 | 7) => true,                       // c.fldsp and stores
        (2, 4) if rs2 != 0 => may_write(full),            // c.mv, c.add
        (2, 4) => full == 0,                              // c.ebreak and the reserved c.jr x0
        _ => false,
    }
}
