//! The `stackvm` binary: parses the command line, calls the crates below, tells people what
//! happened. Owns no machine: machines live in labs, images in the images' folder.

mod args;
mod casts;
mod commands;
mod days;
mod door;
mod failure;
mod format;
mod people;
mod player;
mod progress;
mod session;
mod terminal;
mod values;
mod work;

use std::process::ExitCode;

use clap::Parser;
use stackvm_machine::engine::{self, EngineChoice};

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    if cli.engine == args::Engine::Interp {
        engine::choose(EngineChoice::Interpreter);
    }
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", failure::describe(&error));
            ExitCode::from(failure::exit_code(&error))
        }
    }
}
