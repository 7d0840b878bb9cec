//! stackvm-server
