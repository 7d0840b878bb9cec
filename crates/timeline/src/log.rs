//! The input log: entries as compact, checksummed bytes. No I/O.
