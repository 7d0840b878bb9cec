//! The whole program, from outside: what it writes, what it exits with, what it leaves behind.

mod answers;
mod bad_input;
mod cast;
mod common;
mod named;
mod past;
mod prompt;
mod recording;
mod run;
mod server;
mod store;
mod terminal;
