//! Registers of the SiFive CLINT (FU540-C000 manual, chapter 9).

use super::persist::ClintState;
use crate::config::limits::HARTS_MAX;
use crate::devices::{Device, DeviceContext, merge_into_u64, part_of_u64};
use crate::instant::Instant;

const MTIMECMP_BASE: u64 = 0x4000;
const MTIME: u64 = 0xbff8;

/// The CLINT.
pub struct Clint {
    pub(super) state: ClintState,
}

enum Register {
    Msip(usize),
    Mtimecmp(usize),
    Mtime,
}

impl Clint {
    /// A CLINT as it is after power-on: no timer is set.
    pub fn new(harts: u32) -> Self {
        assert!((1..=HARTS_MAX).contains(&harts), "{harts} harts");
        let harts = harts as usize;
        let state = ClintState {
            msip: vec![false; harts],
            mtimecmp: vec![u64::MAX; harts],
            mtime_offset: 0,
        };
        Clint { state }
    }

    /// Level of the machine software interrupt of a hart.
    pub fn msip(&self, hart: usize) -> bool {
        self.state.msip[hart]
    }

    /// Sets the level of the machine software interrupt of a hart.
    pub fn raise_msip(&mut self, hart: usize) {
        self.state.msip[hart] = true;
    }

    /// The machine timer comparator of a hart, in `mtime` steps.
    pub fn mtimecmp(&self, hart: usize) -> u64 {
        self.state.mtimecmp[hart]
    }

    /// What `mtime` (and the `time` CSR) shows at `now`.
    pub fn mtime(&self, now: Instant) -> u64 {
        now.mtime().wrapping_add(self.state.mtime_offset)
    }

    /// Level of the machine timer interrupt of a hart at `now`.
    pub fn mtip(&self, hart: usize, now: Instant) -> bool {
        self.mtime(now) >= self.mtimecmp(hart)
    }

    /// The instant after `now` at which `mtime` reaches `target` or, when it already has, wraps
    /// around to below it; `None` when that is beyond [`Instant::MAX`]. Good for `stimecmp` as
    /// well.
    pub fn deadline_of(&self, target: u64, now: Instant) -> Option<Instant> {
        let mtime = self.mtime(now);
        // A guest may write `mtime`, so that it wraps around soon.
        let change = if mtime < target { target } else { 0 };
        let ahead = Some(change.wrapping_sub(mtime)).filter(|&steps| target > 0 && steps > 0)?;
        let at = Instant::from_mtime(now.mtime().saturating_add(ahead));
        (at < Instant::MAX).then_some(at)
    }

    /// The instant after `now` at which a hart's machine timer interrupt rises, if ever.
    pub fn next_deadline(&self, hart: usize, now: Instant) -> Option<Instant> {
        self.deadline_of(self.mtimecmp(hart), now)
    }

    fn register(&self, offset: u64) -> Option<Register> {
        let harts = self.state.msip.len() as u64;
        match offset {
            _ if offset < 4 * harts => Some(Register::Msip((offset / 4) as usize)),
            MTIMECMP_BASE.. if offset < MTIMECMP_BASE + 8 * harts => {
                Some(Register::Mtimecmp(((offset - MTIMECMP_BASE) / 8) as usize))
            }
            MTIME.. if offset < MTIME + 8 => Some(Register::Mtime),
            _ => None,
        }
    }
}

impl Device for Clint {
    fn read(&mut self, offset: u64, size: u8, cx: &mut DeviceContext<'_>) -> u64 {
        match self.register(offset) {
            Some(Register::Msip(hart)) => {
                part_of_u64(u64::from(self.state.msip[hart]), offset & 3, size)
            }
            Some(Register::Mtimecmp(hart)) => part_of_u64(self.state.mtimecmp[hart], offset, size),
            Some(Register::Mtime) => part_of_u64(self.mtime(cx.now), offset, size),
            None => 0,
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, cx: &mut DeviceContext<'_>) {
        match self.register(offset) {
            Some(Register::Msip(hart)) if offset & 3 == 0 => self.state.msip[hart] = value & 1 != 0,
            Some(Register::Mtimecmp(hart)) => {
                let mtimecmp = &mut self.state.mtimecmp[hart];
                *mtimecmp = merge_into_u64(*mtimecmp, offset, size, value);
            }
            Some(Register::Mtime) => {
                let mtime = merge_into_u64(self.mtime(cx.now), offset, size, value);
                self.state.mtime_offset = mtime.wrapping_sub(cx.now.mtime());
            }
            Some(Register::Msip(_)) | None => {}
        }
    }
}
