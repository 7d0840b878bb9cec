//! Talking to the server of this data directory, as its owner.
//!
//! Owns the way in (`server.json`, which only this user can read) and how the server's problems
//! become errors; what is asked for is the commands'.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use stackvm_images::data_dir;
use stackvm_server::door::{self, Door};

use crate::failure::failure;

/// How long the server may take to answer: what takes longer is a task there.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A way to the server.
pub(crate) struct Server {
    door: Door,
    agent: ureq::Agent,
}

impl Server {
    /// The one that runs.
    ///
    /// # Errors
    /// None runs.
    pub(crate) fn running() -> Result<Server> {
        match Server::find()? {
            Some(server) => Ok(server),
            None => Err(failure("no server is running", "`stackvm up` starts one")),
        }
    }

    /// The one that runs, if one does.
    pub(crate) fn find() -> Result<Option<Server>> {
        let data_dir = data_dir()?;
        let door = door::find(&data_dir)
            .with_context(|| format!("could not look for a server in {}", data_dir.display()))?;
        Ok(door.map(|door| {
            let config = ureq::Agent::config_builder()
                .timeout_global(Some(PATIENCE))
                .http_status_as_error(false)
                // A proxy of this user's is for other computers.
                .proxy(None)
                .max_redirects(0)
                .build();
            Server { door, agent: config.into() }
        }))
    }

    /// Its address on this computer.
    pub(crate) fn address(&self) -> String {
        format!("http://localhost:{}", self.door.port)
    }

    /// Reads something.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(self.url(path)).header("authorization", self.bearer());
        self.answer(request.call())
    }

    /// Has something done.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(self.url(path)).header("authorization", self.bearer());
        self.answer(request.header("content-type", "application/json").send(body.to_string()))
    }

    /// Has something removed.
    pub(crate) fn delete(&self, path: &str) -> Result<Value> {
        let request = self.agent.delete(self.url(path)).header("authorization", self.bearer());
        self.answer(request.call())
    }

    fn url(&self, path: &str) -> String {
        // By number: nobody else's name for this computer is asked for.
        format!("http://127.0.0.1:{}{path}", self.door.port)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.door.secret)
    }

    fn answer(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value> {
        let no_answer = || {
            let (port, pid) = (self.door.port, self.door.pid);
            format!("the server on port {port} (process {pid}) does not answer")
        };
        let mut answer = answer.with_context(no_answer)?;
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.with_context(no_answer)?;
        let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
        if answer.status().is_success() {
            return Ok(value);
        }
        let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        match part("detail") {
            detail if detail.is_empty() => {
                let status = answer.status();
                Err(failure(format!("the server refused: {status}"), "see what `stackvm up` says"))
            }
            detail => Err(failure(detail, part("action"))),
        }
    }
}
