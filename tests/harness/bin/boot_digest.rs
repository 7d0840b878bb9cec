//! Prints the digest of `tiny` after three virtual seconds: the same in every build of this
//! program. Its argument is the data directory with the image.

use std::path::Path;

use stackvm_machine::{Instant, Machine, Stop};

fn main() {
    let home = std::env::args().nth(1).expect("a data directory");
    let config = stackvm_tests::image::tiny(Path::new(&home));
    let mut machine = Machine::new(&config).expect("a machine");
    let until = Instant::from_ns(3_000_000_000);
    loop {
        match machine.run(until) {
            Stop::Until => break,
            Stop::Outputs => drop(machine.take_outputs()),
            stop => panic!("the machine stopped: {stop:?}"),
        }
    }
    println!("{}", machine.digest());
}
