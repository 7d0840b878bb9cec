//! How a machine that does not run was left: what decides where it starts.

use std::fs;
use std::path::Path;

use super::STOPPED_FILE;

/// How a machine that does not run was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Its lab has not ended as it should.
    Running,
    /// Switched off: only its disks count.
    Off,
    /// It goes on from where it was.
    Saved,
}

impl Left {
    /// What [`STOPPED_FILE`] says.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Left::Running => "running",
            Left::Off => "off",
            Left::Saved => "saved",
        }
    }
}

/// How the machine in `folder` was left.
pub(crate) fn left(folder: &Path) -> Left {
    match fs::read_to_string(folder.join(STOPPED_FILE)) {
        Ok(word) if word == Left::Off.word() => Left::Off,
        Ok(word) if word == Left::Saved.word() => Left::Saved,
        // Nothing is lost by taking it for one whose lab was killed.
        _ => Left::Running,
    }
}
