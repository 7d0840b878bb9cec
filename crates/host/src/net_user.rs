//! `--net user`: the guest's network through `passt`, a program that needs no root.
//!
//! `passt` gets one end of a private socket pair, over which Ethernet frames travel, each after its
//! length in 4 bytes, big-endian; it ends when the other end closes, so it never outlives its lab.
//! This module owns starting it, the framing and the guard that keeps the guest off the host's
//! loopback. Addresses, name resolution and forwarding are passt's.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};
use stackvm_machine::config::limits::FRAME_BYTES_MAX;
use thiserror::Error;

/// Bytes of frames that wait for a passt that does not read; later frames are dropped.
const OUTGOING_BYTES_MAX: usize = 1 << 20;
/// How long passt may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Most forwarded ports.
pub const FORWARDS_MAX: usize = 64;

/// A TCP port of the host that leads to one of the guest's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Forward {
    /// The host's address to listen on.
    pub address: IpAddr,
    /// The host's port.
    pub host: u16,
    /// The guest's port.
    pub guest: u16,
}

impl FromStr for Forward {
    type Err = NetError;

    /// `HOST:GUEST`, listening on 127.0.0.1, or `ADDRESS:HOST:GUEST` (`[ADDRESS]` for IPv6).
    fn from_str(text: &str) -> Result<Forward, NetError> {
        let wrong = || NetError::BadForward(text.to_owned());
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0).ok_or_else(wrong);
        let (rest, guest) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => {
                let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                (bare.unwrap_or(address).parse().map_err(|_| wrong())?, host)
            }
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), rest),
        };
        Ok(Forward { address, host: port(host)?, guest: port(guest)? })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forward { address, host, guest } = self;
        match address {
            IpAddr::V4(address) => write!(f, "{address}:{host}:{guest}"),
            IpAddr::V6(address) => write!(f, "[{address}]:{host}:{guest}"),
        }
    }
}

/// Why there is no network.
#[derive(Debug, Error)]
pub enum NetError {
    /// Not a forward.
    #[error("{0:?} is not a port forward; write HOST:GUEST or ADDRESS:HOST:GUEST, as in 8080:80")]
    BadForward(String),
    /// Too many forwards.
    #[error("{0} port forwards: at most {FORWARDS_MAX} are possible")]
    TooManyForwards(usize),
    /// A host port is not free.
    #[error(
        "cannot listen on port {} of {} for the guest's port {}", .0.host, .0.address, .0.guest
    )]
    Port(Forward, #[source] io::Error),
    /// passt is not installed.
    #[error("`--net user` needs passt; install it (Debian, Ubuntu: apt install passt)")]
    Missing,
    /// passt cannot be started.
    #[error("could not start passt")]
    Start(#[source] io::Error),
    /// passt has ended.
    #[error("passt has ended{0}; the guest has no network any more")]
    Ended(String),
}

/// A running passt.
#[derive(Debug)]
pub struct NetUser {
    /// `None` when it is another process's.
    process: Option<Child>,
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
}

impl NetUser {
    /// Starts passt with these ports forwarded.
    ///
    /// # Errors
    /// See [`NetError`].
    pub fn start(forwards: &[Forward]) -> Result<NetUser, NetError> {
        if forwards.len() > FORWARDS_MAX {
            return Err(NetError::TooManyForwards(forwards.len()));
        }
        for forward in forwards {
            // passt says nothing about a port it cannot have.
            TcpListener::bind((forward.address, forward.host))
                .map_err(|error| NetError::Port(*forward, error))?;
        }
        let (ours, theirs) = UnixStream::pair().map_err(NetError::Start)?;
        ours.set_nonblocking(true).map_err(NetError::Start)?;
        fcntl_setfd(&theirs, FdFlags::empty()).map_err(|error| NetError::Start(error.into()))?;
        let process = Command::new("passt")
            .args(arguments(theirs.as_raw_fd(), forwards))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => NetError::Missing,
                _ => NetError::Start(error),
            })?;
        drop(theirs);
        let process = Some(process);
        Ok(NetUser { process, stream: ours, incoming: Vec::new(), outgoing: VecDeque::new() })
    }

    /// Takes the frames that have arrived, and sends what could not be sent before.
    ///
    /// # Errors
    /// [`NetError::Ended`].
    pub fn transfer(&mut self) -> Result<Vec<Vec<u8>>, NetError> {
        self.flush()?;
        let mut buffer = [0; 64 << 10];
        // Bounded, so that a flood of frames cannot keep the lab from its guest.
        for _ in 0..16 {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(self.ended()),
                Ok(count) => self.incoming.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(self.ended()),
            }
        }
        take_frames(&mut self.incoming).ok_or_else(|| self.ended())
    }

    /// Waits until [`NetUser::transfer`] has something to do, at most for `limit`; whether it has.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let flags = if self.is_waiting() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let timeout = Timespec::try_from(limit).ok();
        // A signal only makes the wait shorter.
        poll(&mut [PollFd::new(self, flags)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Sends a frame from the guest. Frames for the host's loopback are dropped, as are frames for
    /// which there is no room.
    ///
    /// # Errors
    /// [`NetError::Ended`].
    pub fn send(&mut self, frame: &[u8]) -> Result<(), NetError> {
        let room = OUTGOING_BYTES_MAX - self.outgoing.len().min(OUTGOING_BYTES_MAX);
        if frame.len() + 4 > room || frame.len() > FRAME_BYTES_MAX || is_for_loopback(frame) {
            return Ok(());
        }
        self.outgoing.extend((frame.len() as u32).to_be_bytes());
        self.outgoing.extend(frame);
        self.flush()
    }

    /// In a forked process: lets go of what goes on serving the original.
    pub(crate) fn leave(mut self) {
        self.process = None;
    }

    /// Whether frames wait to be sent: poll for writing then.
    pub fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn flush(&mut self) -> Result<(), NetError> {
        while !self.outgoing.is_empty() {
            match self.stream.write(self.outgoing.as_slices().0) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(self.ended()),
            }
        }
        Ok(())
    }

    fn ended(&mut self) -> NetError {
        // Its socket is closed, so it is ending if it has not ended.
        let status = match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => format!(" ({status})"),
            _ => String::new(),
        };
        NetError::Ended(status)
    }
}

impl AsFd for NetUser {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for NetUser {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        // A sandboxed process sends no signals, so passt is not killed: it ends with its socket. If
        // it has already, the socket cannot be shut down and needs not be.
        let _ = self.stream.shutdown(Shutdown::Both);
        let pid = Pid::from_child(process);
        if let Ok(ended) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            let timeout = Timespec::try_from(END_LIMIT).ok();
            let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], timeout.as_ref());
        }
        // One that is not gone now is the init process's soon.
        let _ = process.try_wait();
    }
}

fn arguments(fd: i32, forwards: &[Forward]) -> Vec<String> {
    let mut arguments = ["--foreground", "--quiet", "--no-map-gw"].map(str::to_owned).to_vec();
    // passt's own choice is 65520, which a DHCP client puts on its route: then come segments that
    // are larger than the frames this network's interface takes, again and again.
    arguments.extend(["--mtu", "1500"].map(str::to_owned));
    arguments.extend(["--fd".to_owned(), fd.to_string()]);
    for Forward { address, host, guest } in forwards {
        arguments.extend(["--tcp-ports".to_owned(), format!("{address}/{host}:{guest}")]);
    }
    // A resolver on the host's loopback is out of the guest's reach; behind systemd-resolved, the
    // ones it asks are not.
    let read = |path| nameservers(&fs::read_to_string(path).unwrap_or_default());
    let hosts = read("/etc/resolv.conf");
    if !hosts.is_empty() && hosts.iter().all(IpAddr::is_loopback) {
        for server in read("/run/systemd/resolve/resolv.conf") {
            arguments.extend(["--dns".to_owned(), server.to_string()]);
        }
    }
    arguments
}

/// The servers a `resolv.conf` names.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| rest.trim().parse().ok()).collect()
}

/// Takes the whole frames off the front of `bytes`; `None` when a length is impossible.
fn take_frames(bytes: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let (mut frames, mut taken) = (Vec::new(), 0);
    while let Some((length, rest)) = bytes[taken..].split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return None;
        }
        let Some(frame) = rest.get(..length) else { break };
        frames.push(frame.to_vec());
        taken += 4 + length;
    }
    bytes.drain(..taken);
    Some(frames)
}

/// Whether a frame is addressed to what Linux routes to its own loopback. passt 2023 connects to
/// any address that a guest names, these included.
fn is_for_loopback(frame: &[u8]) -> bool {
    let Some(kind) = frame.get(12..14) else { return true };
    match kind {
        [0x08, 0x00] => match frame.get(30..34) {
            Some(address) => matches!(address[0], 0 | 127),
            None => true,
        },
        [0x86, 0xdd] => {
            match frame.get(38..54).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
                Some(bytes) => {
                    let address = Ipv6Addr::from(bytes);
                    let v4 = address.to_ipv4().is_some_and(|v4| matches!(v4.octets()[0], 0 | 127));
                    address.is_loopback() || address.is_unspecified() || v4
                }
                None => true,
            }
        }
        // ARP, and what passt does not know.
        _ => false,
    }
}

#[cfg(test)]
mod tests;
