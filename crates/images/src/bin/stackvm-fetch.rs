//! Builds the image `tiny` while the rest of StackVM compiles: `stackvm-fetch [MIRROR]`, from
//! `scripts/run.sh`. It needs little of the workspace, so it is compiled first.
//!
//! When its standard input ends it stops and leaves nothing half-done, so that it never outlives
//! the script. Downloads are kept, and `stackvm up` goes on where it stopped.

use std::io::Read;
use std::process::ExitCode;

use stackvm_images::{BuildOptions, Cancel, data_dir, ensure};

fn main() -> ExitCode {
    let cancel = Cancel::default();
    std::thread::spawn({
        let cancel = cancel.clone();
        move || {
            let mut byte = [0];
            while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
            cancel.cancel();
        }
    });
    let built = data_dir().map_err(|error| error.to_string()).and_then(|data_dir| {
        let options = BuildOptions { data_dir, mirror: std::env::args().nth(1) };
        let mut silent = |_| {};
        ensure("tiny", &options, &mut silent, &cancel).map_err(|error| error.to_string())
    });
    match built {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stackvm-fetch: {error}");
            ExitCode::FAILURE
        }
    }
}
