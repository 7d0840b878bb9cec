//! stackvm-host
