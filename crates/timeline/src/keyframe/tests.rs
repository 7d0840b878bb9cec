//! Keyframes as chunks and back.
