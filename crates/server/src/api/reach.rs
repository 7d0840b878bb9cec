//! Who can reach this server, links for the owner's other devices, and the server's end.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::extract::{Body, Owner, Visitor};
use super::types::{OpenNetwork, OwnerLink, ReachView};
use crate::app::App;
use crate::clock::unix_ms;
use crate::idempotency::HasSecret;
use crate::problem::Problem;

/// How long a link for another device is good.
const LINK_LIFE: Duration = Duration::from_secs(120);

/// Where this server listens.
#[utoipa::path(get, path = "/api/reach", tag = "server",
    responses((status = 200, description = "Addresses.", body = ReachView)))]
pub(crate) async fn show(State(app): State<Arc<App>>, Visitor(_): Visitor) -> Json<ReachView> {
    Json(app.reach.view(app.network.can_open()))
}

/// Listens on the local network, too; machines and pages go on.
#[utoipa::path(post, path = "/api/reach/network", tag = "server", request_body = OpenNetwork,
    responses((status = 200, description = "It listens.", body = ReachView)))]
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
    Body(body): Body<OpenNetwork>,
) -> Result<Json<ReachView>, Problem> {
    app.network.open(&app.reach, body.security).await?;
    app.audit(&session, "network.open", &app.reach.widest(), "").await?;
    Ok(Json(app.reach.view(app.network.can_open())))
}

/// Listens on the local network no more; whoever is here over it is cut off.
#[utoipa::path(delete, path = "/api/reach/network", tag = "server",
    responses((status = 204, description = "It does not listen there.")))]
pub(crate) async fn close(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
) -> Result<StatusCode, Problem> {
    if app.network.close(&app.reach).await {
        app.audit(&session, "network.close", "", "").await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A link that makes another browser the owner's: once, within two minutes.
#[utoipa::path(post, path = "/api/links", tag = "server",
    responses((status = 201, description = "Made.", body = OwnerLink)))]
pub(crate) async fn link(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
) -> Result<Response, Problem> {
    let expires_unix_ms = unix_ms() + LINK_LIFE.as_millis() as u64;
    let url = app.owner_link(&app.reach.widest(), LINK_LIFE)?;
    app.audit(&session, "link.create", "", "for another device of the owner").await?;
    let mut response =
        (StatusCode::CREATED, Json(OwnerLink { url, expires_unix_ms })).into_response();
    response.extensions_mut().insert(HasSecret);
    Ok(response)
}

/// Ends the server as Ctrl-C does.
#[utoipa::path(post, path = "/api/down", tag = "server",
    responses((status = 202, description = "It will end.")))]
pub(crate) async fn down(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
) -> Result<StatusCode, Problem> {
    app.audit(&session, "server.down", "", "").await?;
    app.down.notify_one();
    Ok(StatusCode::ACCEPTED)
}
