//! Many machines and many people behind pages, an HTTP interface and WebSockets.
//!
//! A library: [`Server::listen`] gives a [`Running`] server, in a test as in the binary; [`up`] is
//! the whole of `stackvm up`. From the outside in: `listener` has the sockets and `tls` their
//! certificates, `guard` and `limits` turn away who has no business here, `access` says who somebody
//! is and `rights` what they may do, `api` is the HTTP interface, `rooms` the machines with the
//! people at them. Machines live in processes of their own (`stackvm-host`): nothing here can take
//! one along when it fails. What must survive the server is in the catalog.

mod access;
pub mod api;
mod app;
mod clock;
pub mod door;
mod grant;
mod guard;
mod idempotency;
mod limits;
mod listener;
mod machines;
mod pages;
mod problem;
pub mod protocol;
mod reach;
mod replays;
pub mod rights;
mod rooms;
mod searches;
mod server;
mod tasks;
mod tls;
mod up;
mod viewer;
mod visits;

pub use guard::Network;
pub use server::{
    DEFAULT_PORT, Encryption, ListenError, OnNetwork, Options, Port, Running, Server,
};
pub use tls::TlsError;
pub use up::{Browser, OnExit, UpError, UpOptions, open_browser, up};
pub use visits::VISIT_IDLE;
