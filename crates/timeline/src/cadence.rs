//! When to take keyframes, and which to keep.
