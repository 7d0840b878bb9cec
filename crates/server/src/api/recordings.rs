//! Recordings: parts of a machine's past that are machines of their own, and never run.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use stackvm_host::machines::check_name;
use tokio::task::spawn_blocking;

use super::extract::{Body, Params, Place, Visitor};
use super::past::{instant, not_an_instant};
use super::types::{MachineView, NewRecording};
use crate::app::App;
use crate::problem::Problem;
use crate::rights::Right;

/// So much of a file is sent at a time, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Keeps a part of the machine's past as a recording: it has nothing of what was before, and stays
/// as it is, whatever becomes of this machine.
#[utoipa::path(post, path = "/api/machines/{id}/recordings", tag = "past",
    request_body = NewRecording,
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 201, description = "Kept.", body = MachineView)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(body): Body<NewRecording>,
) -> Result<(StatusCode, Json<MachineView>), Problem> {
    app.allow(&session, &id, Right::Fork).await?;
    let from = instant(body.from_ns).ok_or_else(|| not_an_instant("from_ns"))?;
    let until = instant(body.until_ns).ok_or_else(|| not_an_instant("until_ns"))?;
    if let Some(name) = &body.name {
        check_name(name).map_err(Problem::from)?;
    }
    if until <= from {
        return Err(Problem::field("until_ns", "it is after `from_ns`"));
    }
    let new = app.fleet.record(&id, from, until, body.name).await?;
    // Links, notes and chat of another one of its name that is gone for good.
    app.catalog.forget_machine(&new).await?;
    app.tell_changed(&new);
    app.audit(&session, "machine.record", &new, format!("of {id}")).await?;
    let grant = app.see(&session, &new).await?;
    Ok((StatusCode::CREATED, Json(app.machine_view(&new, &grant).await?)))
}

/// The machine's recording as a file, a `.vmcast`: whoever has it has all of it. See `outgoing`.
#[utoipa::path(get, path = "/api/machines/{id}/recording", tag = "past",
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 200, description = "The file.", content_type = "application/octet-stream")))]
pub(crate) async fn download(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Response, Problem> {
    app.allow(&session, &id, Right::Download).await?;
    params.only(&[])?;
    let file = app.fleet.export(&id).await?;
    app.audit(&session, "recording.download", &id, "").await?;
    let bytes = file.metadata().map(|it| it.len()).map_err(|error| Problem::unavailable(&error))?;
    // Names of machines are plain.
    let name = format!("attachment; filename=\"{id}.vmcast\"");
    let mut response = HttpBody::from_stream(pieces(file)).into_response();
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    headers.insert(header::CONTENT_LENGTH, bytes.into());
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// A file's bytes, read where blocking is allowed.
fn pieces(file: File) -> impl Stream<Item = io::Result<Bytes>> {
    unfold(Some(file), |file| async move {
        let mut file = file?;
        let read = spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            Ok::<_, io::Error>((file, piece))
        });
        match read.await.map_err(io::Error::other).flatten() {
            Ok((_, piece)) if piece.is_empty() => None,
            Ok((file, piece)) => Some((Ok(piece.into()), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    })
}
