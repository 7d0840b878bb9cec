//! The sockets: both loopback addresses on one port, and further ones that come and go; TLS where
//! it is wanted, a limit on connections, and an end to those that say nothing.
//!
//! Every socket has a task that accepts; all of them lead to the one [`Entrance`] that HTTP is
//! served from. Knows no HTTP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access::Line;

/// Most connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 512;
/// A connection on which nothing arrives for so long is closed. Pages are pinged more often.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(60);
/// How long a caller may take to agree on a key.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Attempts to find a port that is free on both addresses.
const PORT_ATTEMPTS: u32 = 16;

/// Where all connections come out.
pub(crate) struct Entrance {
    address: SocketAddr,
    connections: mpsc::Receiver<(Connection, SocketAddr)>,
}

/// Opens further sockets that lead to the same entrance.
#[derive(Clone)]
pub(crate) struct Sockets {
    sender: mpsc::Sender<(Connection, SocketAddr)>,
    permits: Arc<Semaphore>,
}

/// A socket that is open; dropping it closes it soon, and ends its connections.
pub(crate) struct Open {
    ends: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

/// The sockets of the loopback.
pub(crate) struct Loopback {
    /// The IPv4 address and the port.
    pub(crate) address: SocketAddr,
    v4: TcpListener,
    /// Missing on hosts without IPv6.
    v6: Option<TcpListener>,
}

/// A connection that counts and that must not be silent.
pub(crate) struct Connection {
    stream: Stream,
    line: Line,
    idle: Pin<Box<Sleep>>,
    closes: Pin<Box<dyn Future<Output = ()> + Send>>,
    _permit: OwnedSemaphorePermit,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) line: Line,
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
                Ok(v6) => return Ok(Loopback { address, v4, v6: Some(v6) }),
                Err(error) if is_without_ipv6(&error) => {
                    return Ok(Loopback { address, v4, v6: None });
                }
                Err(error) if port != 0 || attempt == PORT_ATTEMPTS => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Accepts from now on.
    pub(crate) fn open(self) -> (Entrance, Sockets, Vec<Open>) {
        let (sender, connections) = mpsc::channel(1);
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let sockets = Sockets { sender, permits };
        let listeners = std::iter::once(self.v4).chain(self.v6);
        let open = listeners.map(|listener| sockets.open(listener, None)).collect();
        (Entrance { address: self.address, connections }, sockets, open)
    }
}

impl Open {
    /// Closes it; when this returns, its address is free.
    pub(crate) async fn close(self) {
        drop(self.ends);
        // However it ended, the socket went with it.
        let _ = self.accepting.await;
    }
}

impl Sockets {
    /// Accepts from this socket, too; with TLS or without.
    pub(crate) fn open(&self, listener: TcpListener, tls: Option<TlsAcceptor>) -> Open {
        let (ends, mut closed) = watch::channel(());
        let sockets = self.clone();
        let accepting = tokio::spawn(async move {
            let accepting = sockets.accept(&listener, tls.as_ref(), closed.clone());
            tokio::select! {
                () = accepting => {}
                _ = closed.changed() => {}
            }
        });
        Open { ends, accepting }
    }

    async fn accept(
        &self,
        listener: &TcpListener,
        tls: Option<&TlsAcceptor>,
        closed: watch::Receiver<()>,
    ) {
        while let Ok(permit) = self.permits.clone().acquire_owned().await {
            let (stream, address) = loop {
                match listener.accept().await {
                    Ok(accepted) => break accepted,
                    // Out of descriptors, or the caller hung up: the next may succeed.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            // Keystrokes are small and must not wait for company.
            let _ = stream.set_nodelay(true);
            let (sender, tls, mut closed) = (self.sender.clone(), tls.cloned(), closed.clone());
            // A neighbour who is slow with the handshake keeps nobody else waiting.
            tokio::spawn(async move {
                let Some((stream, line)) = secure(stream, tls).await else { return };
                let idle = Box::pin(tokio::time::sleep(IDLE_TIME));
                let closes = Box::pin(async move {
                    // Its sender is dropped when the socket is closed.
                    let _ = closed.changed().await;
                });
                let connection = Connection { stream, line, idle, closes, _permit: permit };
                // Without a receiver the server has ended.
                let _ = sender.send((connection, address)).await;
            });
        }
    }
}

async fn secure(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<(Stream, Line)> {
    let Some(tls) = tls else { return Some((Stream::Plain(stream), Line::Plain)) };
    let handshake = tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream)).await;
    Some((Stream::Tls(Box::new(handshake.ok()?.ok()?)), Line::Tls))
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Linux's number; the standard library has no kind for it.
const EAFNOSUPPORT: i32 = 97;

impl axum::serve::Listener for Entrance {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.connections.recv().await {
            Some(accepted) => accepted,
            // Every socket is closed.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, Entrance>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Entrance>) -> Peer {
        Peer { address: *stream.remote_addr(), line: stream.io().line }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closes.as_mut().poll(context).is_ready() {
            // It is over at once, and for good: this future must not be asked again.
            self.closes = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Poll::Ready(result) = polled {
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
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
