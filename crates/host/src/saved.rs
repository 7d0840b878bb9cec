//! The file of a machine that is not running: a header of ours, then the machine's own state.
//!
//! It is written aside, synced and renamed, so that there is always one whole file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use stackvm_machine::ConsoleId;

use crate::guest::GuestSaved;
use crate::lab::Scrollback;
use crate::machines::Status;

/// First bytes of the file; the last one counts versions of the header.
const MAGIC: [u8; 8] = *b"stackvm\x01";
/// Largest header: mostly what terminals showed, each byte of which takes up to four here.
const HEADER_BYTES_MAX: u32 = 8 << 20;

/// Whether the machine in the file is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum PowerState {
    /// It goes on from the state.
    On,
    /// It had been switched off: only its disks count.
    Off,
}

/// What is before the machine's state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) power: PowerState,
    pub(crate) guest: GuestSaved,
    /// What the terminals showed: whoever attaches later sees the prompt that is waiting.
    pub(crate) screens: Vec<(ConsoleId, Scrollback)>,
    /// The seed and RTC base that the machine was switched on with.
    pub(crate) seed: u64,
    pub(crate) rtc_ns: u64,
}

/// Writes `path` anew.
pub(crate) fn write(
    path: &Path,
    header: &Header,
    state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let aside = path.with_extension("new");
    let result = write_aside(&aside, header, state).and_then(|()| fs::rename(&aside, path));
    match (&result, path.parent()) {
        // The name must be as durable as the content.
        (Ok(()), Some(folder)) => File::open(folder)?.sync_all()?,
        (Ok(()), None) => {}
        // The error at hand says more than one of cleaning up would.
        (Err(_), _) => drop(fs::remove_file(&aside)),
    }
    result
}

fn write_aside(
    aside: &Path,
    header: &Header,
    state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut sink = BufWriter::with_capacity(1 << 20, File::create(aside)?);
    let header = serde_json::to_vec(header)?;
    sink.write_all(&MAGIC)?;
    sink.write_all(&(header.len() as u32).to_be_bytes())?;
    sink.write_all(&header)?;
    state(&mut sink)?;
    sink.into_inner().map_err(|error| error.into_error())?.sync_all()
}

/// Opens the file: its header, and a reader that is at the machine's state. `None` if there is
/// none.
pub(crate) fn open(path: &Path) -> io::Result<Option<(Header, BufReader<File>)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let mut source = BufReader::with_capacity(1 << 20, file);
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut magic = [0; 8];
    source.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(damaged("it was not written by this version"));
    }
    let mut length = [0; 4];
    source.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > HEADER_BYTES_MAX {
        return Err(damaged("its header is too long"));
    }
    let mut header = vec![0; length as usize];
    source.read_exact(&mut header)?;
    Ok(Some((serde_json::from_slice(&header)?, source)))
}

/// What the file at `path` says about its machine.
pub(crate) fn status(path: &Path) -> Status {
    match open(path) {
        Ok(Some((Header { power: PowerState::On, .. }, _))) => Status::Saved,
        // Starting it names what is wrong with a damaged file.
        _ => Status::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(power: PowerState) -> Header {
        let mut scrollback = Scrollback::default();
        scrollback.write(b"/ # \xff");
        let screens = vec![(ConsoleId::Hvc(0), scrollback)];
        Header { power, guest: GuestSaved::default(), screens, seed: 7, rtc_ns: 8 }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert!(open(&path).unwrap().is_none());
        let check = |power, status_expected| {
            write(&path, &header(power), |sink| sink.write_all(b"machine")).unwrap();
            let (read, mut source) = open(&path).unwrap().unwrap();
            let mut state = Vec::new();
            source.read_to_end(&mut state).unwrap();
            assert_eq!((read, &state[..]), (header(power), &b"machine"[..]));
            assert_eq!(status(&path), status_expected);
        };
        check(PowerState::On, Status::Saved);
        check(PowerState::Off, Status::Off);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write(&path, &header(PowerState::On), |_| Ok(())).unwrap();
        let full = |_: &mut dyn Write| Err(io::ErrorKind::StorageFull.into());
        assert!(write(&path, &header(PowerState::Off), full).is_err());
        assert_eq!(status(&path), Status::Saved);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let check = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            assert!(open(&path).is_err(), "{bytes:?}");
            assert_eq!(status(&path), Status::Off);
        };
        check(b"");
        check(b"ELF");
        check(b"stackvm\x01");
        check(b"stackvm\x01\xff\xff\xff\xff");
        check(b"stackvm\x01\0\0\0\x02{]");
    }
}
