//! Registers of the PLIC (RISC-V PLIC specification 1.0.0, with SiFive's memory map).

use super::persist::{ContextState, PlicState};
use crate::config::limits::HARTS_MAX;
use crate::devices::{Device, DeviceContext};

/// Interrupt sources; source 0 does not exist, so ids run from 1 to this.
pub const SOURCES: u32 = 95;

/// 32-bit words with one bit per source.
pub(super) const WORDS: usize = (SOURCES as usize + 1) / 32;
/// Highest priority and threshold.
pub(super) const PRIORITY_MAX: u8 = 7;

const PENDING_BASE: u64 = 0x1000;
const ENABLE_BASE: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const CONTEXT_BASE: u64 = 0x20_0000;
const CONTEXT_STRIDE: u64 = 0x1000;

/// The PLIC.
pub struct Plic {
    pub(super) state: PlicState,
}

enum Register {
    Priority(usize),
    Pending(usize),
    Enable(usize, usize),
    Threshold(usize),
    Claim(usize),
}

impl Plic {
    /// A PLIC as it is after power-on: everything is off.
    pub fn new(harts: u32) -> Self {
        assert!((1..=HARTS_MAX).contains(&harts), "{harts} harts");
        Plic { state: PlicState::new(2 * harts as usize) }
    }

    /// Sets the level of a source's line. A rising level is a request; it stays one until claimed,
    /// even if the level falls, and is made again after completion while the level is high.
    pub fn set_level(&mut self, source: u32, level: Level) {
        let (word, bit) = place(source);
        match level {
            Level::Low => self.state.levels[word] &= !bit,
            Level::High => {
                self.state.levels[word] |= bit;
                if self.state.claimed[word] & bit == 0 {
                    self.state.pending[word] |= bit;
                }
            }
        }
    }

    /// One edge on a source's line.
    pub fn pulse(&mut self, source: u32) {
        let (word, bit) = place(source);
        self.state.pending[word] |= bit;
    }

    /// Level of the external interrupt of a context.
    pub fn pending(&self, context: usize) -> bool {
        let threshold = self.state.contexts[context].threshold;
        self.best(context).is_some_and(|source| self.state.priorities[source] > threshold)
    }

    /// The pending and enabled source with the highest priority, lowest id first.
    fn best(&self, context: usize) -> Option<usize> {
        let enables = &self.state.contexts[context].enables;
        let mut best: Option<usize> = None;
        for (word, enabled) in enables.iter().enumerate() {
            let mut bits = self.state.pending[word] & enabled & !self.state.claimed[word];
            while bits != 0 {
                let source = 32 * word + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let priority = self.state.priorities[source];
                let beaten = best.map_or(0, |other| self.state.priorities[other]);
                if priority > beaten {
                    best = Some(source);
                }
            }
        }
        best
    }

    fn claim(&mut self, context: usize) -> u32 {
        let Some(source) = self.best(context) else { return 0 };
        let (word, bit) = place(source as u32);
        self.state.pending[word] &= !bit;
        self.state.claimed[word] |= bit;
        source as u32
    }

    /// The specification ignores a completion for a source that is disabled in the context. Like
    /// QEMU we accept it: a guest that masks a source in its handler would lose it otherwise.
    fn complete(&mut self, source: u32) {
        if !(1..=SOURCES).contains(&source) {
            return;
        }
        let (word, bit) = place(source);
        self.state.claimed[word] &= !bit;
        self.state.pending[word] |= self.state.levels[word] & bit;
    }

    fn register(&self, offset: u64) -> Option<Register> {
        let contexts = self.state.contexts.len();
        match offset {
            0..PENDING_BASE => {
                let source = (offset / 4) as usize;
                (source <= SOURCES as usize).then_some(Register::Priority(source))
            }
            PENDING_BASE..ENABLE_BASE => {
                let word = ((offset - PENDING_BASE) / 4) as usize;
                (word < WORDS).then_some(Register::Pending(word))
            }
            ENABLE_BASE..CONTEXT_BASE => {
                let context = ((offset - ENABLE_BASE) / ENABLE_STRIDE) as usize;
                let word = ((offset - ENABLE_BASE) % ENABLE_STRIDE / 4) as usize;
                (context < contexts && word < WORDS).then_some(Register::Enable(context, word))
            }
            CONTEXT_BASE.. => {
                let context = ((offset - CONTEXT_BASE) / CONTEXT_STRIDE) as usize;
                match (offset - CONTEXT_BASE) % CONTEXT_STRIDE {
                    _ if context >= contexts => None,
                    0 => Some(Register::Threshold(context)),
                    4 => Some(Register::Claim(context)),
                    _ => None,
                }
            }
        }
    }
}

/// Level of an interrupt line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Not asserted.
    Low,
    /// Asserted.
    High,
}

impl From<bool> for Level {
    fn from(high: bool) -> Level {
        if high { Level::High } else { Level::Low }
    }
}

impl Device for Plic {
    fn read(&mut self, offset: u64, size: u8, _cx: &mut DeviceContext<'_>) -> u64 {
        // Registers are 32 bits wide; other accesses read nothing, so that half a claim is none.
        if size != 4 || !offset.is_multiple_of(4) {
            return 0;
        }
        match self.register(offset) {
            Some(Register::Priority(source)) => u64::from(self.state.priorities[source]),
            Some(Register::Pending(word)) => u64::from(self.state.pending[word]),
            Some(Register::Enable(context, word)) => {
                u64::from(self.state.contexts[context].enables[word])
            }
            Some(Register::Threshold(context)) => u64::from(self.state.contexts[context].threshold),
            Some(Register::Claim(context)) => u64::from(self.claim(context)),
            None => 0,
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _cx: &mut DeviceContext<'_>) {
        if size != 4 || !offset.is_multiple_of(4) {
            return;
        }
        let value = value as u32;
        match self.register(offset) {
            Some(Register::Priority(source)) if source > 0 => {
                self.state.priorities[source] = value as u8 & PRIORITY_MAX;
            }
            Some(Register::Enable(context, word)) => {
                // Source 0 does not exist.
                let mask = if word == 0 { !1 } else { !0 };
                self.state.contexts[context].enables[word] = value & mask;
            }
            Some(Register::Threshold(context)) => {
                self.state.contexts[context].threshold = value as u8 & PRIORITY_MAX;
            }
            Some(Register::Claim(_)) => self.complete(value),
            Some(Register::Priority(_) | Register::Pending(_)) | None => {}
        }
    }
}

impl PlicState {
    fn new(contexts: usize) -> Self {
        PlicState {
            priorities: vec![0; SOURCES as usize + 1],
            pending: [0; WORDS],
            claimed: [0; WORDS],
            levels: [0; WORDS],
            contexts: vec![ContextState { enables: [0; WORDS], threshold: 0 }; contexts],
        }
    }
}

/// Word and bit of a source.
fn place(source: u32) -> (usize, u32) {
    assert!((1..=SOURCES).contains(&source), "interrupt source {source}");
    (source as usize / 32, 1 << (source % 32))
}
