//! Guest images: built from Debian's packages by the host's own apt, kept in the data directory,
//! carried between hosts as bundles.
//!
//! It owns what a machine starts from and nothing about running machines: terminals, pacing and
//! the network are the host's.

pub mod apt;
pub mod build;
pub mod config;
pub mod cpio;
mod data_dir;
pub mod deb;
mod debian;
pub mod elf;
mod iso;
pub mod modules;
mod packages;
pub mod progress;
pub mod source;
pub mod store;
mod tiny;

pub use build::{BuildError, BuildOptions, build, ensure};
pub use config::{machine_config, machine_shape, ports};
pub use data_dir::{DataDirError, data_dir};
pub use progress::{Cancel, Cancelled, Job, Phase, Progress};
pub use source::FileSource;
pub use store::{BUILDABLE, Image, ImageHash, ImageStore, StoreError};
