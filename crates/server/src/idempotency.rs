//! Requests that come again with the same `Idempotency-Key`: they get the same answer, and what
//! they ask for is done once. Answers are the session's own, in the catalog; those with a secret in
//! them stay in memory.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use stackvm_catalog::ids::SessionId;
use stackvm_catalog::rows::AnswerRow;

use crate::app::App;
use crate::clock::unix_ms;
use crate::limits::BODY_BYTES_MAX;
use crate::problem::{Kind, Problem};

const HEADER: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 128;
/// Larger answers are given and not kept.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Answers with secrets that are remembered.
const SECRET_ANSWERS_MAX: usize = 64;

type Name = (SessionId, String);

/// What is under way, and what must not be written down.
#[derive(Default)]
pub(crate) struct Answers {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    under_way: HashSet<Name>,
    secret: BTreeMap<u64, (Name, AnswerRow)>,
    count: u64,
}

/// Put into a response by its handler: the body has a secret that is shown once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HasSecret;

/// The middleware.
pub(crate) async fn once(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match answer(&app, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(app: &Arc<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = request.headers().get(HEADER).filter(|_| request.method() == Method::POST)
    else {
        return Ok(next.run(request).await);
    };
    let key = key.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let key = key.map(str::to_owned).ok_or_else(|| {
        Problem::field(HEADER, format!("a key is 1 to {KEY_BYTES_MAX} plain characters"))
    })?;
    // Whoever is not in yet has nothing that could be done twice: a token is good once anyway.
    let Some(session) = app.access.visitor(request.headers()).await? else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("the body is longer than {BODY_BYTES_MAX} bytes, or was cut off");
        Problem::new(Kind::TooLarge, detail, "Send less.")
    })?;
    let mut hash = blake3::Hasher::new();
    hash.update(parts.method.as_str().as_bytes());
    hash.update(parts.uri.to_string().as_bytes()).update(&[0]).update(&body);
    let asked = *hash.finalize().as_bytes();

    let name = (session.id, key);
    let _turn = app.answers.begin(&name)?;
    let known = match app.answers.secret(&name) {
        Some(answer) => Some(answer),
        None => app.catalog.answer(session.id, &name.1).await?,
    };
    if let Some(known) = known {
        return again(known, asked);
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(app, name, asked, response).await
}

/// The same answer, if it is the same request.
fn again(known: AnswerRow, asked: [u8; 32]) -> Result<Response, Problem> {
    if known.request != asked {
        let detail = "this key came with another request before";
        return Err(Problem::new(Kind::KeyReused, detail, "Use a new key for each request."));
    }
    let status = StatusCode::from_u16(known.status).unwrap_or(StatusCode::CONFLICT);
    let json = match status.is_success() {
        true => "application/json",
        false => "application/problem+json",
    };
    let mut response = (status, known.body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(json));
    Ok(response)
}

async fn keep(
    app: &Arc<App>,
    name: Name,
    request: [u8; 32],
    response: Response,
) -> Result<Response, Problem> {
    let status = response.status();
    // What may be different the next time is asked again.
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(response);
    }
    let has_secret = response.extensions().get::<HasSecret>().is_some();
    let (parts, body) = response.into_parts();
    let body: Bytes = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|_| {
        Problem::new(Kind::Unavailable, "the answer is too long to be kept", "Ask without a key.")
    })?;
    let row = AnswerRow { request, status: status.as_u16(), body: body.to_vec() };
    if has_secret {
        app.answers.remember(name, row);
    } else {
        app.catalog.keep_answer(name.0, &name.1, &row, unix_ms()).await?;
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// A request that is under way; dropping it ends that.
struct Turn<'a> {
    answers: &'a Answers,
    name: Name,
}

impl Answers {
    fn begin(&self, name: &Name) -> Result<Turn<'_>, Problem> {
        if !self.lock().under_way.insert(name.clone()) {
            let detail = "a request with this key is under way";
            return Err(Problem::new(Kind::Conflict, detail, "Ask again in a moment."));
        }
        Ok(Turn { answers: self, name: name.clone() })
    }

    fn secret(&self, name: &Name) -> Option<AnswerRow> {
        let inner = self.lock();
        inner.secret.values().find(|(known, _)| known == name).map(|(_, answer)| answer.clone())
    }

    fn remember(&self, name: Name, answer: AnswerRow) {
        let mut inner = self.lock();
        inner.count += 1;
        let count = inner.count;
        inner.secret.insert(count, (name, answer));
        if inner.secret.len() > SECRET_ANSWERS_MAX {
            inner.secret.pop_first();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.answers.lock().under_way.remove(&self.name);
    }
}
