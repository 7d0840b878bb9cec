//! All limits of timelines, in one place: what is beyond them is refused.

/// Most branches of a timeline.
pub const BRANCHES_MAX: usize = 10_000;
/// Most people and programs that inputs can be from.
pub const ACTORS_MAX: usize = 1000;
/// Most marks and comments.
pub const NOTES_MAX: usize = 10_000;
/// Most bytes of a name, of a branch, mark or actor.
pub const NAME_BYTES_MAX: usize = 200;
/// Most bytes of a comment's text.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Most bytes of one input's or output's data; longer ones are cut into several.
pub const DATA_BYTES_MAX: usize = 128 << 10;
/// Most keyframes of a timeline.
pub const KEYFRAMES_MAX: usize = 10_000;
/// Most bytes of the manifest of a `.vmcast`.
pub const MANIFEST_BYTES_MAX: u64 = 32 << 20;
/// Most entries of a `.vmcast`'s ZIP directory.
pub const ZIP_ENTRIES_MAX: usize = 64;
/// Most bytes of a machine's state beside RAM and disks.
pub const STATE_BYTES_MAX: u64 = 128 << 20;
/// Most bytes of kernel, initial RAM disk or firmware, each.
pub const BOOT_FILE_BYTES_MAX: u64 = 1 << 30;
/// Most terminals whose screens are kept.
pub const SCREENS_MAX: usize = 33;
/// Most characters of a terminal's screen: a larger one is drawn cut off.
pub const SCREEN_CELLS_MAX: usize = 100_000;
/// Most bytes of what draws a saved screen.
pub const SCREEN_DUMP_BYTES_MAX: usize = 8 << 20;
/// Most lines that are kept above a terminal's screen.
pub const HISTORY_LINES_MAX: usize = 1000;
/// Most bytes of what draws those lines; older ones give way.
pub const HISTORY_BYTES_MAX: usize = 512 << 10;
/// Most bytes of what is saved with a keyframe about terminals and ports.
pub const DERIVED_BYTES_MAX: u64 = 32 << 20;
/// Most blocks that a guest has written to a disk: 128 GiB.
pub const WRITTEN_BLOCKS_MAX: u64 = 1 << 25;
/// Bytes of entries after which a block of the input log ends; one longer entry is a block alone.
pub const LOG_BLOCK_BYTES: usize = 64 << 10;
/// Bytes of items after which a block of an output track ends.
pub const TRACK_BLOCK_BYTES: usize = 32 << 10;
/// Most bytes of a disk.
pub const DISK_BYTES_MAX: u64 = 64 << 40;
