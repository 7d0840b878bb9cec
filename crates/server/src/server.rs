//! Puts the pieces together: routes, sockets, and the life of a running server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::{Access, Refusal, random_name};
use crate::backend::Preparation;
use crate::conductor::conduct;
use crate::guard::{self, Guard};
use crate::listener::Loopback;
use crate::protocol::CLIENT_MESSAGE_BYTES_MAX;
use crate::room::{Names, Room};
use crate::viewer::{self, Resume};
use crate::{pages, protocol};

/// The port where nobody said another.
pub const DEFAULT_PORT: u16 = 7333;
/// Longest body of a request, in bytes: a token and a little air.
const BODY_BYTES_MAX: usize = 1 << 10;
/// How long a closing server waits for its pages to say goodbye.
const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// What pages call the machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine's name.
    pub machine: String,
    /// What it runs, for people: `Debian 13`.
    pub image: String,
}

/// Where to listen. The addresses are always the loopback's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// [`DEFAULT_PORT`], or any free one if that is taken.
    Preferred,
    /// This one or none.
    Exactly(u16),
    /// Any free one.
    Free,
}

/// Why a server could not be started.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error("port {port} is taken by another program; choose another port, or leave it out")]
    Taken {
        /// The one asked for.
        port: u16,
    },
    /// The system did not give the port.
    #[error("could not listen on port {port} of the loopback address")]
    Io {
        /// The one asked for; 0 is any.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The system has no random numbers for the link.
    #[error("no random numbers from the system: {0}")]
    Random(#[from] getrandom::Error),
}

/// A server that does not listen yet.
pub struct Server {
    options: Options,
    preparation: Arc<dyn Preparation>,
}

/// A server that listens, until it is shut down or dropped.
pub struct Running {
    /// Opens the machine in one browser, once: the token is in the fragment, which browsers do not
    /// send, so that it is in no log.
    pub url: String,
    /// The IPv4 address and the port.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    closing: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
    conductor: JoinHandle<()>,
}

struct Shared {
    access: Access,
    room: Arc<Room>,
    /// Changes to put every page out; those that still can come back by themselves.
    parting: watch::Sender<()>,
    addr: SocketAddr,
}

impl Server {
    /// A server for the machine that `preparation` makes.
    pub fn new(options: Options, preparation: impl Preparation) -> Server {
        Server { options, preparation: Arc::new(preparation) }
    }

    /// Listens, and begins with the preparation.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn listen(self, port: Port) -> Result<Running, ListenError> {
        let listener = bind(port).await?;
        let addr = listener.address();
        let names =
            Names { run: random_name()?, machine: self.options.machine, image: self.options.image };
        let shared = Arc::new(Shared {
            access: Access::new(&random_name()?),
            room: Arc::new(Room::new(names)),
            parting: watch::channel(()).0,
            addr,
        });
        let url = shared.link()?;
        let (closing, mut closed) = watch::channel(false);
        let serve = axum::serve(listener, router(shared.clone()));
        let server = tokio::spawn(async move {
            let closed = async move {
                // An error means that the handle is gone, which closes too.
                let _ = closed.wait_for(|closed| *closed).await;
            };
            serve.with_graceful_shutdown(closed).await
        });
        let conductor = tokio::spawn(conduct(shared.room.clone(), self.preparation));
        Ok(Running { url, addr, shared, closing, server, conductor })
    }
}

impl Running {
    /// Another link that opens the machine in one browser, once.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new_link(&self) -> Result<String, ListenError> {
        Ok(self.shared.link()?)
    }

    /// Ends every page's connection; pages connect again by themselves.
    pub fn disconnect_pages(&self) {
        self.shared.parting.send_replace(());
    }

    /// Says goodbye to the pages and stops listening. The machine stays as it is.
    pub async fn shutdown(mut self) {
        self.closing.send_replace(true);
        self.disconnect_pages();
        // Whoever has not gone by then is cut off when this is dropped.
        let _ = tokio::time::timeout(GOODBYE_TIME, &mut self.server).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.disconnect_pages();
        self.server.abort();
        self.conductor.abort();
    }
}

impl Shared {
    fn link(&self) -> Result<String, getrandom::Error> {
        Ok(format!("http://localhost:{}/#{}", self.addr.port(), self.access.mint()?))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter();
        self.access.admits(cookies.filter_map(|value| value.to_str().ok()))
    }
}

async fn bind(port: Port) -> Result<Loopback, ListenError> {
    let wanted = match port {
        Port::Preferred => DEFAULT_PORT,
        Port::Exactly(port) => port,
        Port::Free => 0,
    };
    let failure = match Loopback::bind(wanted).await {
        Ok(listener) => return Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            ListenError::Taken { port: wanted }
        }
        Err(source) => ListenError::Io { port: wanted, source },
    };
    match (port, failure) {
        (Port::Preferred, ListenError::Taken { .. }) => {
            Loopback::bind(0).await.map_err(|source| ListenError::Io { port: 0, source })
        }
        (_, failure) => Err(failure),
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let guard = Guard::new(shared.addr);
    Router::new()
        .route("/api/session", get(session_state).post(open_session))
        .route("/api/link", post(make_link))
        .route("/api/machine", get(machine))
        .fallback(get(pages::serve))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(guard, guard::watch))
        .with_state(shared)
}

/// Whether this browser is in: 204 or 401.
async fn session_state(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> StatusCode {
    if shared.admits(&headers) { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
}

/// Exchanges the token in the body for a session.
async fn open_session(State(shared): State<Arc<Shared>>, token: String) -> Response {
    match shared.access.exchange(&token) {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        Err(Refusal::Unknown) => StatusCode::FORBIDDEN.into_response(),
        Err(Refusal::TooMany) => StatusCode::TOO_MANY_REQUESTS.into_response(),
    }
}

/// A link for another browser, as text.
async fn make_link(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !shared.admits(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match shared.link() {
        Ok(link) => link.into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The machine's WebSocket; see [`protocol`].
async fn machine(
    State(shared): State<Arc<Shared>>,
    Query(resume): Query<Resume>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !shared.admits(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let parting = shared.parting.subscribe();
    upgrade
        // A browser sends little; whoever sends more than this at once is not one of our pages.
        .max_message_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_frame_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_write_buffer_size(4 * protocol::OUTPUT_BYTES_MAX)
        .on_upgrade(async move |socket| {
            viewer::serve(socket, &shared.room, resume, parting).await;
        })
}
