//! Questions about the past, answered by replay.
