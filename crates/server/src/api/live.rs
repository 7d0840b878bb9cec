//! The WebSocket of a machine: who comes is let in or told why not; then it is the room's.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::http::HeaderMap;
use axum::response::Response;
use stackvm_catalog::rows::SessionRow;

use super::extract::{Place, Upgrade};
use crate::app::{App, made_unix_ms};
use crate::grant::Grant;
use crate::problem::Problem;
use crate::protocol::{CLIENT_MESSAGE_BYTES_MAX, ClientMessage, Gone, OUTPUT_BYTES_MAX, VERSION};
use crate::rooms::Joining;
use crate::viewer;

/// How long a page may take for its first word.
const JOIN_TIME: Duration = Duration::from_secs(5);
/// Length of a page's name: 64 to 256 bits in hexadecimal.
const PAGE_NAME_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// A machine's WebSocket: its terminals, and the people at it.
///
/// A GET with `Upgrade: websocket`, without a subprotocol and without a query. Browsers send their
/// `Origin`, and it must be this server's. Who asks is known by the cookie or the bearer of the
/// request, or by `bearer` in the first message.
///
/// Text frames are JSON: `ClientMessage` from the page, whose first is `join`, and `ServerMessage`
/// from the server, whose first is `welcome`, or `gone` with the reason for which nobody is let in.
/// Whoever has no link to the machine is told so there, and is not refused here.
///
/// Binary frames to the page: byte 0 is 0 for output and 1 for a picture, byte 1 the terminal, then
/// the position as 8 bytes, big-endian; in a picture 2 bytes columns and 2 bytes rows follow; then
/// bytes for a terminal. Binary frames from the page: the terminal, 8 bytes the keystroke's number
/// (1, 2, 3 …), big-endian, then what was typed.
#[utoipa::path(get, path = "/api/machines/{id}/live", tag = "sockets",
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 101, description = "It is a WebSocket from here on.")))]
pub(crate) async fn serve(
    State(app): State<Arc<App>>,
    Place(id): Place<String>,
    headers: HeaderMap,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    let session = app.access.visitor(&headers).await?;
    Ok(upgrade
        // A browser sends little; whoever sends more than this at once is not one of our pages.
        .max_message_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_frame_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_write_buffer_size(4 * OUTPUT_BYTES_MAX)
        .on_upgrade(async move |socket| admit(&app, socket, &id, session).await))
}

async fn admit(app: &App, mut socket: WebSocket, id: &str, session: Option<SessionRow>) {
    // A neighbour who opens connections and says nothing.
    let Ok(Some(join)) = tokio::time::timeout(JOIN_TIME, first(&mut socket)).await else { return };
    let ClientMessage::Join { version, page, bearer, run, seen, chat } = join else { return };
    let is_name =
        PAGE_NAME_BYTES.contains(&page.len()) && page.bytes().all(|byte| byte.is_ascii_hexdigit());
    if version != VERSION || !is_name {
        // A page of an earlier server: it comes again with the page that is served now.
        return viewer::refuse(socket, Gone::Closing).await;
    }
    let session = match bearer {
        Some(bearer) => app.access.bearer(&bearer).await,
        None => Ok(session),
    };
    let grant = match session {
        Ok(Some(session)) => grant(app, &session, id).await,
        Ok(None) => Ok(Err(Gone::NotAdmitted)),
        Err(error) => Err(error.into()),
    };
    match grant {
        Ok(Ok(grant)) => app.rooms.serve(socket, Joining { page, run, seen, chat }, grant).await,
        Ok(Err(reason)) => viewer::refuse(socket, reason).await,
        // The catalog or the disk cannot be read now; the page comes again by itself.
        Err(_) => viewer::refuse(socket, Gone::Closing).await,
    }
}

/// What a page may do, or why nothing.
async fn grant(app: &App, session: &SessionRow, id: &str) -> Result<Result<Grant, Gone>, Problem> {
    match app.fleet.get(id).await {
        Ok(machine) => Ok(app.access.grant(session, id, made_unix_ms(&machine)).await?),
        Err(problem) if !problem.is_about_input() => Err(problem),
        // Only who could see it learns that it was there.
        Err(_) => Ok(Err(match app.access.grant(session, id, 0).await? {
            Ok(_) => Gone::Deleted,
            Err(reason) => reason,
        })),
    }
}

/// The first message, if it is one.
async fn first(socket: &mut WebSocket) -> Option<ClientMessage> {
    loop {
        match socket.recv().await?.ok()? {
            Message::Text(text) => return serde_json::from_str(&text).ok(),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) | Message::Close(_) => return None,
        }
    }
}
