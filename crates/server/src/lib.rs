//! The pages of a machine and the WebSocket behind them, for this host's own user.
//!
//! A library: [`Server::listen`] gives a [`Running`] server, in a test as in the binary. It owns who
//! may come in (`access`, `guard`), what pages are told ([`protocol`], `room`), and the order of a
//! machine's life (`conductor`). It does not own machines: those come through [`backend`], from
//! [`lab`] where they are real. [`up`] is the whole of `stackvm up`.

mod access;
pub mod backend;
mod conductor;
mod guard;
pub mod lab;
mod listener;
mod pages;
pub mod protocol;
mod room;
mod server;
mod up;
mod viewer;

pub use server::{DEFAULT_PORT, ListenError, Options, Port, Running, Server};
pub use up::{Browser, UpError, UpOptions, up};
