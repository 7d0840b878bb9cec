//! Where exports and copies go: standard output, or a file that has its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::values::show_bytes;

/// Files that are being written, for whoever ends this program before they are whole.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes what was begun and is not whole.
pub(super) fn remove_unfinished() {
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    for path in unfinished.drain(..) {
        // It may have got its name just now.
        let _ = fs::remove_file(path);
    }
}

/// Where bytes go.
pub(super) enum Sink {
    /// Standard output.
    Stdout,
    /// A file.
    File {
        /// It, under another name.
        file: File,
        /// That name.
        aside: PathBuf,
        /// Its own name.
        to: PathBuf,
    },
}

impl Sink {
    /// A file; `-` is standard output.
    pub(super) fn open(to: &Path) -> Result<Sink> {
        if to.as_os_str() == "-" {
            return Ok(Sink::Stdout);
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(to.file_name().unwrap_or_default());
        name.push(format!(".{}.part", std::process::id()));
        let aside = to.with_file_name(name);
        let file =
            File::create(&aside).with_context(|| format!("{} cannot be written", to.display()))?;
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(aside.clone());
        Ok(Sink::File { file, aside, to: to.to_owned() })
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Sink::Stdout => Ok(stdout().flush()?),
            Sink::File { file, aside, to } => {
                let bytes = file.metadata()?.len();
                fs::rename(&aside, &to)
                    .with_context(|| format!("{} cannot be written", to.display()))?;
                eprintln!("{}: {}", to.display(), show_bytes(bytes));
                Ok(())
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stdout => stdout().write(buf),
            Sink::File { file, .. } => file.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Stdout => stdout().flush(),
            Sink::File { file, .. } => file.flush(),
        }
    }
}
