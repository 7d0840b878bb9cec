//! The sockets: both loopback addresses on one port, a limit on connections, and an end to those
//! that say nothing.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Most connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// A connection on which nothing arrives for so long is closed. Pages are pinged more often.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(60);
/// Attempts to find a port that is free on both addresses.
const PORT_ATTEMPTS: u32 = 16;

/// Listens on the loopback addresses of one port.
pub(crate) struct Loopback {
    address: SocketAddr,
    v4: TcpListener,
    /// Missing on hosts without IPv6.
    v6: Option<TcpListener>,
    permits: Arc<Semaphore>,
}

/// A connection that counts and that must not be silent.
pub(crate) struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Loopback {
    /// Listens on `port`; 0 is any free one.
    ///
    /// Both addresses are needed: `localhost` means either, and a neighbour (another user of this
    /// host) who listened on the one left free would be sent the token that was meant for us.
    pub(crate) async fn bind(port: u16) -> io::Result<Loopback> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            let address = v4.local_addr()?;
            match TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
                Ok(v6) => return Ok(Loopback::new(address, v4, Some(v6))),
                Err(error) if is_without_ipv6(&error) => {
                    return Ok(Loopback::new(address, v4, None));
                }
                Err(error) if port != 0 || attempt == PORT_ATTEMPTS => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn new(address: SocketAddr, v4: TcpListener, v6: Option<TcpListener>) -> Loopback {
        Loopback { address, v4, v6, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// The IPv4 address and the port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn accept_any(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.v6 {
            None => self.v4.accept().await,
            Some(v6) => tokio::select! {
                accepted = self.v4.accept() => accepted,
                accepted = v6.accept() => accepted,
            },
        }
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Linux's number; the standard library has no kind for it.
const EAFNOSUPPORT: i32 = 97;

impl axum::serve::Listener for Loopback {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.expect("this semaphore is never closed");
        loop {
            match self.accept_any().await {
                Ok((stream, address)) => {
                    // Keystrokes are small and must not wait for company.
                    let _ = stream.set_nodelay(true);
                    let idle = Box::pin(tokio::time::sleep(IDLE_TIME));
                    return (Connection { stream, idle, _permit: permit }, address);
                }
                // Out of descriptors, or the caller hung up: the next may succeed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.idle.as_mut().reset(Instant::now() + IDLE_TIME);
            return Poll::Ready(result);
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
