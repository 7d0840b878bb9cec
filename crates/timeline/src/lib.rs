//! Everything that happened to a machine, kept so that it can be had again.
//!
//! A recording is the inputs, not the picture: the state at an instant is a keyframe before it and
//! the inputs since, replayed. From the inside out: [`event`], [`keyframe`], [`branch`], [`note`]
//! and [`header`] are what a timeline consists of; [`log`] and [`track`] are how inputs and outputs
//! are written; [`journal`] is a timeline that grows, in a folder; [`vmcast`] is a finished one in a
//! single file; [`Timeline`] reads both; [`replay`] computes states from it; [`ask`] answers
//! questions about the past; [`screen`] is what a terminal showed, [`film`] and [`poster`] are that
//! for programs that know no machine.
//!
//! Running a machine in real time, and whose inputs they are, is the host's business.

pub mod ask;
pub mod branch;
pub mod cadence;
pub mod event;
pub mod film;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod header;
#[cfg(unix)]
pub mod journal;
pub mod keyframe;
pub mod limits;
pub mod log;
pub mod note;
pub mod position;
pub mod poster;
pub mod replay;
pub mod screen;
#[cfg(all(test, unix))]
mod testing;
pub mod timeline;
pub mod track;
pub mod vmcast;

pub use branch::{Branch, BranchId};
pub use event::{ActorId, Entry, Event};
pub use header::Header;
pub use keyframe::Keyframe;
pub use position::{Position, When};
pub use timeline::Timeline;
