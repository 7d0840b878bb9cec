//! A value that remembers how often it changed, so that a page only needs a number to know whether
//! it has been told.

/// A value and the number of its changes.
#[derive(Debug)]
pub(super) struct Versioned<T> {
    value: T,
    version: u64,
}

impl<T: PartialEq> Versioned<T> {
    pub(super) fn new(value: T) -> Versioned<T> {
        Versioned { value, version: 1 }
    }

    /// Whether it is another one now.
    pub(super) fn set(&mut self, value: T) -> bool {
        let changed = self.value != value;
        if changed {
            self.value = value;
            self.version += 1;
        }
        changed
    }

    /// Says it again: that is news although it may be the same.
    pub(super) fn renew(&mut self, value: T) {
        self.value = value;
        self.version += 1;
    }

    pub(super) fn get(&self) -> &T {
        &self.value
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The value, for somebody who was told the version `told`, unless that is this one.
    pub(super) fn news(&self, told: &mut u64) -> Option<&T> {
        (std::mem::replace(told, self.version) != self.version).then_some(&self.value)
    }
}
