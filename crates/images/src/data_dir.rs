//! Where StackVM keeps its things.

use std::env;
use std::path::PathBuf;

use thiserror::Error;

/// Nothing says where the data directory is.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// No `HOME`.
    #[error("there is no HOME to keep images and machines in; set STACKVM_HOME to a folder")]
    NoHome,
    /// The working directory, which the path is relative to, cannot be used.
    #[error("cannot use the working directory")]
    Relative(#[source] std::io::Error),
}

/// The data directory: `$STACKVM_HOME`, else `$XDG_DATA_HOME/stackvm`, else
/// `~/.local/share/stackvm`; absolute. It need not exist.
///
/// # Errors
/// [`DataDirError`].
pub fn data_dir() -> Result<PathBuf, DataDirError> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = given("STACKVM_HOME")
        .or_else(|| Some(given("XDG_DATA_HOME")?.join("stackvm")))
        .or_else(|| Some(given("HOME")?.join(".local/share/stackvm")))
        .ok_or(DataDirError::NoHome)?;
    std::path::absolute(directory).map_err(DataDirError::Relative)
}
