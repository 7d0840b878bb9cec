//! Replays of short recordings.
