//! Runs a lab in real time in its own process: pacing, host I/O, control socket, guest agent.

pub mod client;
pub mod protocol;
