//! The stackvm binary.

fn main() {}
