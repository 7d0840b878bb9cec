//! Runs a lab in real time in its own process: pacing, host I/O, control socket, guest agent.
//!
//! From the inside out: [`lab`] is a machine with its guest ([`guest`], [`agent`], [`exec`]) and
//! its [`pacing`], without any I/O; [`process`] is the process around it, with [`net_user`], the
//! [`sandbox`] it locks itself into and the socket that speaks [`protocol`]; [`machines`] keeps and starts those processes, and [`client`]
//! talks to them.

pub mod agent;
pub mod break_in;
pub mod client;
pub mod exec;
pub mod guest;
pub mod lab;
pub mod machines;
pub mod net_user;
pub mod pacing;
pub mod past;
pub mod process;
pub mod prompt;
pub mod protocol;
mod recorder;
pub mod sandbox;
mod socket;

pub use lab::Lab;
pub use process::{lab_main, replay_main};
