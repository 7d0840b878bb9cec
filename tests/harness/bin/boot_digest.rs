//! Prints the digest of `tiny` after three virtual seconds: the same in every build of this
//! program, and with every engine. Its arguments are the data directory with the image, and
//! optionally how often a block runs before it is compiled (0: never), and nanoseconds of virtual
//! time.

use std::path::Path;
use std::time::Instant as HostInstant;

use stackvm_machine::engine::{EngineChoice, EngineLimits};
use stackvm_machine::{Instant, Machine, Stop};

fn main() {
    let mut args = std::env::args().skip(1);
    let home = args.next().expect("a data directory");
    let heat = args.next().map_or(0, |heat| heat.parse().expect("a number"));
    let until_ns = args.next().map_or(3_000_000_000, |ns| ns.parse().expect("nanoseconds"));
    let config = stackvm_tests::image::tiny(Path::new(&home));
    let mut machine = Machine::new(&config).expect("a machine");
    let engine = match heat {
        0 => EngineChoice::Interpreter,
        heat => EngineChoice::compiler(heat, EngineLimits::DEFAULT),
    };
    machine.set_engine(engine);
    let started = HostInstant::now();
    let until = Instant::from_ns(until_ns);
    loop {
        match machine.run(until) {
            Stop::Until => break,
            Stop::Outputs => drop(machine.take_outputs()),
            stop => panic!("the machine stopped: {stop:?}"),
        }
    }
    eprintln!("{} instructions in {:?}", machine.retired(), started.elapsed());
    println!("{}", machine.digest());
}
