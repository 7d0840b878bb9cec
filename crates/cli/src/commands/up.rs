//! `stackvm up`: this computer's machines behind pages, until a signal ends it. The server does the
//! work.

use anyhow::Result;
use serde_json::json;
use stackvm_images::data_dir;
use stackvm_server::{Browser, OnExit, Options, Port, UpOptions};

use crate::args::{self, Up};
use crate::failure::failure;
use crate::session::Signals;

/// Serves until a signal.
pub(crate) async fn run(args: Up) -> Result<u8> {
    let mut signals = Signals::new()?;
    let listen = args.on_network().map_err(|problem| {
        let ways = "add --tls-self-signed, --tls-cert with --tls-key, --behind-proxy, or \
                    --insecure-http if nobody listens in there";
        failure(problem, ways)
    })?;
    let options = UpOptions {
        server: Options {
            data_dir: data_dir()?,
            port: args.port.map_or(Port::Preferred, Port::Exactly),
            listen,
            proxies: args.proxies(),
            mirror: args.mirror,
            public_url: args.public_url,
            network_address: None,
            sandbox: args.sandbox.mode(),
            visit_idle: stackvm_server::VISIT_IDLE,
        },
        browser: if args.no_open { Browser::Leave } else { Browser::Open },
        on_exit: match args.on_exit {
            args::OnExit::Keep => OnExit::Keep,
            args::OnExit::Save => OnExit::Save,
            args::OnExit::Stop => OnExit::Stop,
        },
    };
    let stop = async {
        signals.next_end().await;
    };
    let format = args.format.format();
    let announce = |url: &str| {
        let json = json!({ "url": url, "pid": std::process::id() });
        format.print([url], &json, || println!("{url}"));
    };
    stackvm_server::up(options, announce, stop).await?;
    // Being asked to end is how this ends well.
    Ok(0)
}
