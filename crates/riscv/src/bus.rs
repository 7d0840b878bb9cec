//! What a hart sees of the world outside: RAM pages, device registers, the timer.

/// Where RAM begins on the board. Page numbers handed to [`Bus`] count from here.
pub const RAM_BASE: u64 = 0x8000_0000;
/// log2 of the page size.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page.
pub const PAGE_BYTES: u64 = 1 << PAGE_SHIFT;

/// A page of RAM, counted from [`RAM_BASE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RamPage(pub u32);

impl RamPage {
    /// Physical address of its first byte.
    pub fn addr(self) -> u64 {
        RAM_BASE + (u64::from(self.0) << PAGE_SHIFT)
    }
}

/// No device answers at a physical address, or not to an access of that size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusFault;

/// The memory and devices around the harts.
pub trait Bus {
    /// Number of RAM pages from [`RAM_BASE`] on.
    fn ram_pages(&self) -> u32;

    /// Host address of a page for reading.
    ///
    /// The address must stay readable until the next [`Bus::page_mut`] of that page, and until the
    /// engine is told to forget it ([`crate::Engine::forget_pages`]). `page` is inside RAM.
    fn page(&self, page: RamPage) -> *const u8;

    /// Host address of a page for writing, after making it the machine's own. Under the same
    /// terms as [`Bus::page`]; addresses given out for reading this page before are stale.
    fn page_mut(&mut self, page: RamPage) -> *mut u8;

    /// Reads a device register at the instant `now_ticks`; `size` is 1, 2, 4 or 8 and `addr` a
    /// multiple of it.
    ///
    /// # Errors
    /// [`BusFault`] where there is no device.
    fn load(&mut self, addr: u64, size: u8, now_ticks: u64) -> Result<u64, BusFault>;

    /// Writes a device register, as [`Bus::load`].
    ///
    /// # Errors
    /// [`BusFault`] where there is no device.
    fn store(&mut self, addr: u64, size: u8, value: u64, now_ticks: u64) -> Result<(), BusFault>;

    /// What the `time` CSR shows at the instant `now_ticks`.
    fn mtime(&self, now_ticks: u64) -> u64;
}
