//! Where StackVM keeps its things.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::failure::failure;

/// The data directory: `$STACKVM_HOME`, else `$XDG_DATA_HOME/stackvm`, else
/// `~/.local/share/stackvm`; absolute. It need not exist.
pub(crate) fn directory() -> Result<PathBuf> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = given("STACKVM_HOME")
        .or_else(|| Some(given("XDG_DATA_HOME")?.join("stackvm")))
        .or_else(|| Some(given("HOME")?.join(".local/share/stackvm")));
    match directory {
        Some(directory) => Ok(std::path::absolute(directory)?),
        None => Err(failure(
            "there is no HOME to keep images and machines in",
            "set STACKVM_HOME to a folder",
        )),
    }
}
