//! The register of SiFive's test finisher (`sifive,test1`), at offset 0.

use serde::{Deserialize, Serialize};

use super::persist::FinisherState;
use crate::devices::{Device, DeviceContext};

const PASS: u32 = 0x5555;
const FAIL: u32 = 0x3333;
const RESET: u32 = 0x7777;

/// What the guest asked the finisher for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FinisherRequest {
    /// Switch off.
    PowerOff {
        /// Exit code; 0 is success.
        code: u32,
    },
    /// Start again.
    Reset,
}

/// The finisher.
#[derive(Default)]
pub struct Finisher {
    pub(super) state: FinisherState,
}

impl Finisher {
    /// A finisher nobody has asked anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the guest has asked for. It stays: a machine that is off stays off.
    pub fn request(&self) -> Option<FinisherRequest> {
        self.state.request
    }
}

impl Device for Finisher {
    fn read(&mut self, _offset: u64, _size: u8, _cx: &mut DeviceContext<'_>) -> u64 {
        0
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _cx: &mut DeviceContext<'_>) {
        if offset != 0 || size == 1 || self.state.request.is_some() {
            return;
        }
        let value = if size == 2 { value as u32 & 0xffff } else { value as u32 };
        self.state.request = match value & 0xffff {
            PASS => Some(FinisherRequest::PowerOff { code: 0 }),
            FAIL => Some(FinisherRequest::PowerOff { code: value >> 16 }),
            RESET => Some(FinisherRequest::Reset),
            _ => None,
        };
    }
}
