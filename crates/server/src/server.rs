//! Puts the pieces together: the life of a running server, from its sockets to their end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use stackvm_catalog::ids::Secret;
use stackvm_catalog::{Catalog, CatalogError, SqliteCatalog};
use stackvm_host::machines::MachinesError;
use stackvm_host::sandbox::Sandbox;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinHandle;

use crate::access::{Access, random_name};
use crate::api;
use crate::api::types::NetworkSecurity;
use crate::app::App;
use crate::door::{Door, Keeper};
use crate::guard::{self, Guard, Network};
use crate::idempotency::Answers;
use crate::limits::Limits;
use crate::listener::{Loopback, Open, Peer, Sockets};
use crate::machines::Fleet;
use crate::problem::{Kind, Problem};
use crate::protocol::Gone;
use crate::reach::{Address, Reach};
use crate::replays::Replays;
use crate::rooms::{Cut, Rooms};
use crate::searches::Searches;
use crate::tasks::Tasks;
use crate::tls::{self, TlsError};
use crate::visits::{self, Visits};

/// The port where nobody said another.
pub const DEFAULT_PORT: u16 = 7333;
/// How long the link that is printed first is good.
const FIRST_LINK_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a closing server waits for its pages to say goodbye.
const GOODBYE_TIME: Duration = Duration::from_secs(2);
/// Changes that a slow listener may be behind before it has to look at everything.
const CHANGES_MAX: usize = 256;
/// The catalog's file in the data directory.
const CATALOG_FILE: &str = "catalog.db";

/// What to serve, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; absolute.
    pub data_dir: PathBuf,
    /// Debian mirror for building images; without one, the host's own.
    pub mirror: Option<String>,
    /// Port of the loopback addresses.
    pub port: Port,
    /// Listen on this address, too.
    pub listen: Option<OnNetwork>,
    /// Proxies whose word about callers is believed.
    pub proxies: Vec<Network>,
    /// Under which address others reach this server: `https://vm.example`.
    pub public_url: Option<String>,
    /// This computer's address on its network, to which the owner may open the server; without
    /// one it is looked up when it is needed.
    pub network_address: Option<IpAddr>,
    /// Whether labs that this server starts lock themselves in; pages say so when they do not.
    pub sandbox: Sandbox,
    /// How long nobody is at a visitor's own machine before it goes away.
    pub visit_idle: Duration,
}

/// An address that is not the loopback's.
#[derive(Clone, Debug)]
pub struct OnNetwork {
    /// Where.
    pub address: SocketAddr,
    /// What protects it.
    pub encryption: Encryption,
}

/// What protects a line that leaves this computer.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// A certificate and its key, PEM files.
    Files {
        /// The certificate, and those between it and its authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// A certificate that nobody vouches for.
    SelfSigned,
    /// A proxy before this server.
    Proxy,
    /// Nothing; every page says so.
    None,
}

/// Which port of the loopback addresses.
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
        #[source]
        source: io::Error,
    },
    /// The system did not give another address.
    #[error("could not listen on {address}; give an address of this computer and a free port")]
    Address {
        /// The one asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This data directory has a server.
    #[error(
        "a server runs on {} already; `stackvm open` leads to it, `stackvm down` ends it",
        data_dir.display()
    )]
    Running {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// Its files cannot be written.
    #[error("could not write to {}; check its rights and free space", data_dir.display())]
    Door {
        /// The data directory.
        data_dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `--public-url` is none.
    #[error("{0}")]
    PublicUrl(String),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The catalog cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The machines cannot be used.
    #[error(transparent)]
    Machines(#[from] MachinesError),
    /// The system has no random numbers.
    #[error("no random numbers from the system: {0}")]
    Random(#[from] getrandom::Error),
}

/// Starts servers.
pub struct Server;

/// A server that listens, until it is shut down or dropped.
pub struct Running {
    /// Makes one browser the owner's, once: the token is in the fragment, which browsers do not
    /// send, so that it is in no log.
    pub url: String,
    /// The IPv4 address and the port.
    pub addr: SocketAddr,
    pub(crate) app: Arc<App>,
    catalog: Arc<SqliteCatalog>,
    closing: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
    visits: JoinHandle<()>,
    open: Vec<Open>,
    _door: Keeper,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn listen(options: Options) -> Result<Running, ListenError> {
        let data_dir = options.data_dir.clone();
        let no_door = |source| ListenError::Door { data_dir: data_dir.clone(), source };
        std::fs::create_dir_all(&data_dir).map_err(no_door)?;
        let keeper = Keeper::take(&data_dir).map_err(no_door)?;
        let keeper = keeper.ok_or_else(|| ListenError::Running { data_dir: data_dir.clone() })?;
        let public = options.public_url.as_deref().map(Address::public);
        let public = public.transpose().map_err(ListenError::PublicUrl)?;

        let loopback = bind(options.port).await?;
        let addr = loopback.address;
        let (entrance, sockets, mut open) = loopback.open();
        let reach = Arc::new(Reach::new(addr.port()));
        if let Some(listen) = &options.listen {
            open.push(listen_on(listen, &sockets, &reach).await?);
        }
        if let Some(public) = public {
            reach.add(public);
        }
        let catalog = Arc::new(SqliteCatalog::open(&data_dir.join(CATALOG_FILE)).await?);
        let secret = Secret::random()?;
        let network = LocalNetwork::new(sockets, addr.port(), options.network_address);
        let limits = Arc::new(Limits::new());
        let guard = Guard {
            reach: reach.clone(),
            limits: limits.clone(),
            proxies: options.proxies.clone(),
        };
        let app = assemble(&options, catalog.clone(), &secret, (limits, reach, network))?;

        let url = app.owner_link(&app.reach.local(), FIRST_LINK_LIFE)?;
        let watched = from_fn_with_state(Arc::new(guard), guard::watch);
        let router = api::router(app.clone()).layer(watched);
        let (closing, mut closed) = watch::channel(false);
        let serve = axum::serve(entrance, router.into_make_service_with_connect_info::<Peer>());
        let server = tokio::spawn(async move {
            let closed = async move {
                // An error means that the handle is gone, which closes too.
                let _ = closed.wait_for(|closed| *closed).await;
            };
            serve.with_graceful_shutdown(closed).await
        });
        let door = Door { port: addr.port(), pid: std::process::id(), secret: secret.hex() };
        keeper.open(&door).map_err(no_door)?;
        let visits = tokio::spawn(visits::tend(Arc::downgrade(&app)));
        Ok(Running { url, addr, app, catalog, closing, server, visits, open, _door: keeper })
    }
}

fn assemble(
    options: &Options,
    catalog: Arc<dyn Catalog>,
    secret: &Secret,
    (limits, reach, network): (Arc<Limits>, Arc<Reach>, LocalNetwork),
) -> Result<Arc<App>, ListenError> {
    let run = random_name()?;
    let data_dir = options.data_dir.clone();
    Ok(Arc::new(App {
        access: Access::new(catalog.clone(), secret)?,
        answers: Answers::default(),
        rooms: Rooms::new(data_dir.clone(), catalog.clone(), run.clone())?,
        fleet: Fleet::open(&data_dir, options.mirror.clone(), options.sandbox)?,
        tasks: Tasks::new(&run),
        visits: Visits::new(options.visit_idle),
        replays: Replays::new(),
        searches: Searches::new(),
        limits,
        reach,
        network,
        changed: broadcast::channel(CHANGES_MAX).0,
        down: Notify::new(),
        unsandboxed: options.sandbox == Sandbox::Off,
        catalog,
    }))
}

impl Running {
    /// Another link that makes one browser the owner's, once.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new_link(&self) -> Result<String, ListenError> {
        Ok(self.app.owner_link(&self.app.reach.local(), FIRST_LINK_LIFE)?)
    }

    /// Ends when the owner asks for the server's end from a page or a program.
    pub async fn down(&self) {
        self.app.down.notified().await;
    }

    /// Says goodbye to the pages and stops listening. Machines stay as they are.
    pub async fn shutdown(mut self) {
        self.app.tasks.cancel_all();
        self.visits.abort();
        self.app.rooms.cut(&Cut::All(Gone::Closing));
        self.closing.send_replace(true);
        // Whoever has not gone by then is cut off.
        let _ = tokio::time::timeout(GOODBYE_TIME, &mut self.server).await;
        for open in std::mem::take(&mut self.open) {
            open.close().await;
        }
        self.catalog.close().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.app.rooms.cut(&Cut::All(Gone::Closing));
        self.server.abort();
        self.visits.abort();
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

/// Listens on an address that the owner named.
async fn listen_on(
    listen: &OnNetwork,
    sockets: &Sockets,
    reach: &Reach,
) -> Result<Open, ListenError> {
    let at = listen.address;
    let failed = |source| ListenError::Address { address: at, source };
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let tls = match &listen.encryption {
        Encryption::Files { certificate, key } => Some(tls::from_files(certificate, key)?),
        Encryption::SelfSigned => {
            let known = crate::reach::addresses_of(address).into_iter();
            Some(tls::self_signed(&known.map(|at| at.ip()).collect::<Vec<_>>())?)
        }
        Encryption::Proxy | Encryption::None => None,
    };
    // What is behind a proxy is reached under the proxy's name.
    if !matches!(listen.encryption, Encryption::Proxy) {
        let scheme = if tls.is_some() { "https" } else { "http" };
        Address::all_of(address, scheme).into_iter().for_each(|name| reach.add(name));
    }
    Ok(sockets.open(listener, tls))
}

/// The door to the local network, which the owner opens and closes while the server runs.
pub(crate) struct LocalNetwork {
    sockets: Sockets,
    port: u16,
    known: Option<IpAddr>,
    open: Mutex<Option<(Address, Open)>>,
}

impl LocalNetwork {
    fn new(sockets: Sockets, port: u16, known: Option<IpAddr>) -> LocalNetwork {
        LocalNetwork { sockets, port, known, open: Mutex::new(None) }
    }

    fn address(&self) -> Option<IpAddr> {
        self.known.or_else(crate::reach::network_address)
    }

    /// Whether there is a network, and the door is closed.
    pub(crate) fn can_open(&self) -> bool {
        self.address().is_some() && self.lock().is_none()
    }

    pub(crate) async fn open(&self, reach: &Reach, with: NetworkSecurity) -> Result<(), Problem> {
        let none = || {
            let detail = "this computer is on no network";
            Problem::new(Kind::Conflict, detail, "Connect it to one, or use the SSH line.")
        };
        let ip = self.address().ok_or_else(none)?;
        // The port that people know, or another if somebody has it.
        let listener = match TcpListener::bind((ip, self.port)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((ip, 0)).await.map_err(|e| Problem::unavailable(&e))?,
        };
        let at = listener.local_addr().map_err(|error| Problem::unavailable(&error))?;
        let (scheme, tls) = match with {
            NetworkSecurity::SelfSigned => {
                let tls = tls::self_signed(&[ip]).map_err(|error| Problem::unavailable(&error))?;
                ("https", Some(tls))
            }
            NetworkSecurity::InsecureHttp => ("http", None),
        };
        let mut open = self.lock();
        if open.is_some() {
            let detail = "the server is open to the network already";
            return Err(Problem::new(Kind::Conflict, detail, "Close it first."));
        }
        let address = Address::listened(at, scheme);
        reach.add(address.clone());
        *open = Some((address, self.sockets.open(listener, tls)));
        Ok(())
    }

    /// Closes the door; false if it was closed.
    pub(crate) async fn close(&self, reach: &Reach) -> bool {
        let Some((address, open)) = self.lock().take() else { return false };
        reach.remove(&address);
        open.close().await;
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Address, Open)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
