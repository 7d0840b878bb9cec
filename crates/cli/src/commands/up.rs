//! `stackvm up`: one machine behind a page, until a signal ends it. The server does the work.

use anyhow::Result;
use stackvm_images::data_dir;
use stackvm_server::lab::LabOptions;
use stackvm_server::{Browser, Port, UpOptions};

use crate::args::Up;
use crate::session::Signals;

/// The machine of `up`, as `ls` shows it.
const MACHINE: &str = "up";
/// What it runs.
const IMAGE: &str = "tiny";

/// Serves until a signal.
pub(crate) async fn run(args: Up) -> Result<u8> {
    let mut signals = Signals::new()?;
    let options = UpOptions {
        lab: LabOptions {
            data_dir: data_dir()?,
            mirror: args.mirror,
            machine: MACHINE.to_owned(),
            image: IMAGE.to_owned(),
            sandbox: args.sandbox.mode(),
        },
        port: args.port.map_or(Port::Preferred, Port::Exactly),
        browser: if args.no_open { Browser::Leave } else { Browser::Open },
    };
    let stop = async {
        signals.next_end().await;
    };
    stackvm_server::up(options, stop).await?;
    // Being asked to end is how this ends well.
    Ok(0)
}
