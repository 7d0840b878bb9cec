//! Recordings: parts of a machine's past that are machines of their own, and never run.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, StreamExt, unfold};
use stackvm_host::machines::check_name;
use tokio::task::spawn_blocking;

use super::extract::{Body, Owner, Params, Place, Visitor};
use super::past::{instant, not_an_instant};
use super::types::{FileFormat, MachineView, NewRecording};
use crate::app::App;
use crate::problem::{Kind, Problem};
use crate::rights::Right;

/// Longest recording that is taken, in bytes.
const UPLOAD_BYTES_MAX: u64 = 16 << 30;
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
        check_name(name)?;
    }
    if until <= from {
        return Err(Problem::field("until_ns", "it is after `from_ns`"));
    }
    let new = app.fleet.record(&id, from, until, body.name).await?;
    app.kept(&session, &new, "recording.keep", format!("of {id}")).await?;
    app.created(&session, &new).await
}

/// Makes a recording of a `.vmcast`, which is the body. It is believed nothing: what it says is
/// checked by a process that reaches nothing else.
#[utoipa::path(post, path = "/api/recordings", tag = "past",
    params(("name" = Option<String>, Query, description = "What to call it; else it gets a name.")),
    request_body(content_type = "application/octet-stream", description = "The file."),
    responses((status = 201, description = "Made.", body = MachineView)))]
pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
    params: Params,
    request: Request,
) -> Result<(StatusCode, Json<MachineView>), Problem> {
    params.only(&["name"])?;
    let name = params.text("name").map(str::to_owned);
    if let Some(name) = &name {
        check_name(name)?;
    }
    let (file, transit) = app.fleet.transit().await?;
    take(request.into_body(), file).await?;
    let new = app.fleet.import(transit, name).await?;
    app.kept(&session, &new, "recording.upload", String::new()).await?;
    app.created(&session, &new).await
}

/// Writes a body to a file. Its owner sends it; a page in another tab cannot.
async fn take(body: HttpBody, mut file: File) -> Result<(), Problem> {
    let mut stream = body.into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| {
            let detail = format!("the file was cut off after {bytes} bytes");
            Problem::new(Kind::BadRequest, detail, "Send it again.")
        })?;
        bytes += piece.len() as u64;
        if bytes > UPLOAD_BYTES_MAX {
            let detail = format!("the file has more than {UPLOAD_BYTES_MAX} bytes");
            return Err(Problem::new(Kind::TooLarge, detail, "Send a shorter recording."));
        }
        let written = spawn_blocking(move || file.write_all(&piece).map(|()| file)).await;
        let written = written.map_err(|panic| Problem::unavailable(&panic))?;
        file = written.map_err(|error| Problem::unavailable(&error))?;
    }
    Ok(())
}

/// The machine's recording as a file. A `.vmcast` is all of it: see `outgoing`. A `.cast` (asciicast
/// v3) is only what its first terminal showed, as far as that is stored: what was typed is not in it
/// (no `i` events), and no machine goes on from it.
#[utoipa::path(get, path = "/api/machines/{id}/recording", tag = "past",
    params(
        ("id" = String, Path, description = "The machine."),
        ("format" = Option<FileFormat>, Query, description = "What kind of file; else `vmcast`."),
    ),
    responses((status = 200, description = "The file.", content(
        (String = "application/octet-stream"),
        (String = "application/x-asciicast"),
    ))))]
pub(crate) async fn download(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Response, Problem> {
    app.allow(&session, &id, Right::Download).await?;
    params.only(&["format"])?;
    let format = match params.text("format") {
        None | Some("vmcast") => FileFormat::Vmcast,
        Some("cast") => FileFormat::Cast,
        Some(_) => return Err(Problem::field("format", "it is vmcast or cast")),
    };
    let (file, kind, end) = match format {
        FileFormat::Vmcast => (app.fleet.export(&id).await?, "application/octet-stream", "vmcast"),
        FileFormat::Cast => (app.fleet.asciicast(&id).await?, "application/x-asciicast", "cast"),
    };
    app.audit(&session, "recording.download", &id, end).await?;
    let bytes = file.metadata().map(|it| it.len()).map_err(|error| Problem::unavailable(&error))?;
    // Names of machines are plain.
    let name = format!("attachment; filename=\"{id}.{end}\"");
    let mut response = HttpBody::from_stream(pieces(file)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
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
