//! Unix sockets at paths of any length, only for the user they belong to.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// What `sockaddr_un` holds, without its final NUL.
const ADDRESS_BYTES_MAX: usize = 107;

/// Listens at `path`, which only its owner may use. What is left of an earlier listener goes away:
/// the caller has made sure that there is none.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short(path, |short| UnixListener::bind(short))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects to `path`.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    with_short(path, |short| UnixStream::connect(short))
}

/// Whether the other end belongs to our user, or to root.
pub(crate) fn is_ours(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// Calls `use_path` with a path to the same place that fits a socket address.
fn with_short<T>(path: &Path, use_path: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return use_path(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let folder = File::from(folder);
    use_path(&PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_of_path_works() {
        let check = |folder_bytes: usize| {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join("x".repeat(folder_bytes));
            fs::create_dir(&folder).unwrap();
            let path = folder.join("socket");
            for _ in 0..2 {
                let listener = listen(&path).unwrap();
                let client = connect(&path).unwrap();
                let (server, _) = listener.accept().unwrap();
                assert!(is_ours(&server) && is_ours(&client));
            }
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        };
        check(3);
        check(200);
    }
}
