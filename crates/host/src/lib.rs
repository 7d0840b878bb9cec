//! Runs a lab in real time in its own process: pacing, host I/O, control socket, guest agent.

pub mod agent;
pub mod client;
pub mod exec;
pub mod guest;
pub mod net_user;
pub mod pacing;
pub mod protocol;
