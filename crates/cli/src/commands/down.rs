//! `stackvm down`: the server ends, as with Ctrl-C where it was started.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::door::Server;
use crate::failure::failure;

/// How long machines may take to be saved.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks the server to end, and waits until it has.
pub(crate) async fn run() -> Result<u8> {
    let server = Server::running()?;
    server.post("/api/down", &json!({}))?;
    let limit = Instant::now() + PATIENCE;
    while Server::find()?.is_some() {
        if Instant::now() >= limit {
            let message = format!("the server at {} is still saving machines", server.address());
            return Err(failure(message, "`stackvm ls` shows them; wait, or stop them"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(0)
}
