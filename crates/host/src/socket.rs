//! Unix sockets at paths of any length, only for the user they belong to.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

/// What `sockaddr_un` holds, without its final NUL.
const ADDRESS_BYTES_MAX: usize = 107;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens at `path`, which only its owner may use. What is left of an earlier listener goes away:
/// the caller has made sure that there is none.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before it has a name: then nobody has used it, and a sandboxed process may do no more.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    with_short(path, |short| Ok(rustix::net::bind(&socket, &SocketAddrUnix::new(short)?)?))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
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
    use std::os::unix::fs::PermissionsExt;

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
