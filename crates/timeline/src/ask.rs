//! Questions about the past, answered by replay.
//!
//! Owns how a question is put to a timeline: [`console`] finds text in everything the terminals
//! ever printed ([`shown`] and [`last_shown`] are quicker and know the track alone), [`stores`] who
//! stored to an address and when, [`changes`] when the answer to any other question changed. What
//! those questions are (a file's content, say) and how a guest is made to answer is not known here.

mod change;
mod memory;
mod output;
mod shown;
mod text;

pub use change::{Change, changes};
pub use memory::{Store, stores};
pub use output::{Hit, console, exact_instant};
pub use shown::{last_shown, shown};
pub use text::{Case, Pattern};
