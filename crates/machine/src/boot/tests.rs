//! From files to a machine ready to run. The files are made here, byte by byte.

mod device_tree;
mod fixtures;
mod formats;
mod hostile;
mod layout;
