//! `stackvm up`: this computer's machines behind pages, until a signal ends it. The server does the
//! work.

use anyhow::Result;
use stackvm_images::data_dir;
use stackvm_server::{Browser, OnExit, Options, Port, UpOptions};

use crate::args::Up;
use crate::session::Signals;

/// Serves until a signal.
pub(crate) async fn run(args: Up) -> Result<u8> {
    let mut signals = Signals::new()?;
    let options = UpOptions {
        server: Options {
            data_dir: data_dir()?,
            mirror: args.mirror,
            port: args.port.map_or(Port::Preferred, Port::Exactly),
            listen: None,
            proxies: Vec::new(),
            public_url: None,
            network_address: None,
            unsandboxed: false,
        },
        browser: if args.no_open { Browser::Leave } else { Browser::Open },
        on_exit: OnExit::Save,
    };
    let stop = async {
        signals.next_end().await;
    };
    stackvm_server::up(options, stop).await?;
    // Being asked to end is how this ends well.
    Ok(0)
}
