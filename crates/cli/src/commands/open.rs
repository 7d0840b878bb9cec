//! `stackvm open`: a browser that is in, at the running server.

use anyhow::{Context, Result};
use serde_json::json;
use stackvm_server::open_browser;

use super::{machine, machines};
use crate::args::Open;
use crate::door::Server;

/// Prints a link that opens one browser, once, and opens it where there is a desktop.
pub(crate) fn run(args: &Open) -> Result<u8> {
    let id = match &args.name {
        Some(name) => Some(machine(&machines()?, name)?.spec.name),
        None => None,
    };
    let link = Server::running()?.post("/api/links", &json!({}))?;
    let url = link["url"].as_str().context("the server's answer has no link")?;
    let url = match id {
        None => url.to_owned(),
        Some(id) => url.replacen("/#", &format!("/m/{id}#"), 1),
    };
    let json = json!({ "url": url, "expires_unix_ms": link["expires_unix_ms"] });
    // The link is what is made, and nothing else names it.
    args.format.format().print([url.as_str()], &json, || println!("{url}"));
    if !args.no_open {
        open_browser(&url);
    }
    Ok(0)
}
