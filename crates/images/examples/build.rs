//! Builds an image: `build NAME DATA_DIR [MIRROR]`.
use stackvm_images::{BuildOptions, Cancel, build};

fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().expect("NAME");
    let data_dir = args.next().expect("DATA_DIR").into();
    let options = BuildOptions { data_dir, mirror: args.next() };
    let started = std::time::Instant::now();
    let mut last = String::new();
    let mut report = |progress: stackvm_images::Progress| {
        let line = format!("{}: {}", progress.phase.label(), progress.message);
        if line != last {
            println!("{:6.1}s {line} {:?}", started.elapsed().as_secs_f32(), progress.percent());
            last = line;
        }
    };
    match build(&name, &options, &mut report, &Cancel::default()) {
        Ok(image) => println!("{image:#?}"),
        Err(error) => {
            println!("error: {error}");
            std::process::exit(1);
        }
    }
}
