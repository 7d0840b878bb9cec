//! stackvm-images
