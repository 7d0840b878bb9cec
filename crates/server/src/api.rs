//! The HTTP interface: its routes, a file for each kind of thing.
//!
//! Handlers check what they are given, ask [`App`] who may do what, and leave the doing to the
//! parts. What goes over the line is in [`types`]; `openapi` describes all of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};

use crate::app::App;
use crate::idempotency;
use crate::limits::BODY_BYTES_MAX;
use crate::pages;
use crate::problem::{Kind, Problem};

pub(crate) mod audit;
pub(crate) mod branches;
pub(crate) mod extract;
pub(crate) mod forks;
pub(crate) mod home;
pub(crate) mod images;
pub(crate) mod live;
pub(crate) mod machines;
pub(crate) mod markers;
pub(crate) mod openapi;
pub(crate) mod past;
pub(crate) mod power;
pub(crate) mod publications;
pub(crate) mod reach;
pub(crate) mod recordings;
pub(crate) mod report;
pub(crate) mod session;
pub(crate) mod shares;
pub(crate) mod tasks;
pub mod types;
pub(crate) mod views;

/// Everything this server answers.
pub(crate) fn router(app: Arc<App>) -> Router {
    let machine = Router::new()
        .route("/", get(machines::show).patch(machines::change).delete(machines::delete))
        .route("/restore", post(machines::restore))
        .route("/power", post(power::act))
        .route("/info", get(power::info))
        .route("/markers", get(markers::list).post(markers::create))
        .route("/markers/{index}/branch", post(markers::branch))
        .route("/timeline", get(past::timeline))
        .route("/picture", get(past::picture))
        .route("/search", get(past::search))
        .route("/events", get(past::events))
        .route("/text", get(past::text))
        .route("/line", get(past::line))
        .route("/state", get(past::state))
        .route("/forks", post(forks::create))
        .route("/branch", post(past::branch))
        .route("/branches", get(branches::list))
        .route("/moments", post(past::freeze))
        .route("/recordings", post(recordings::create))
        .route("/recording", get(recordings::download))
        .route(
            "/publication",
            get(publications::show).post(publications::publish).delete(publications::withdraw),
        )
        .route("/outgoing", get(publications::outgoing))
        .route("/reports", post(report::create))
        .route("/shares", get(shares::list).post(shares::create))
        .route("/live", get(live::serve));
    let api = Router::new()
        .route("/openapi.json", get(openapi::document))
        .route(
            "/session",
            get(session::show).post(session::open).patch(session::change).delete(session::end),
        )
        .route("/machines", get(machines::list).post(machines::create))
        .nest("/machines/{id}", machine)
        .route("/recordings", post(recordings::upload))
        .route("/publications", get(publications::list))
        .route("/publications/{id}", get(publications::about))
        .route("/shares/{id}", delete(shares::revoke))
        .route("/shares/{id}/visits", post(shares::visit))
        .route("/tasks", get(tasks::list))
        .route("/tasks/{id}", get(tasks::show).delete(tasks::cancel))
        .route("/images", get(images::list))
        .route("/reach", get(reach::show))
        .route("/reach/network", post(reach::open).delete(reach::close))
        .route("/links", post(reach::link))
        .route("/audit", get(audit::list))
        .route("/down", post(reach::down))
        .route("/live", get(home::serve))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method);
    Router::new()
        .route("/healthz", get(healthz))
        .nest("/api", api)
        .route("/r/{id}", get(publications::page))
        .route("/r/{id}/poster.svg", get(publications::poster))
        .fallback(get(pages::serve))
        .layer(from_fn_with_state(app.clone(), idempotency::once))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

/// Whether the server answers; for whoever watches over it.
#[utoipa::path(get, path = "/healthz", tag = "server", responses(
    (status = 200, description = "It does.", body = String, content_type = "text/plain")
))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

async fn nothing() -> Problem {
    Problem::not_found("address like this")
}

async fn wrong_method() -> Problem {
    let action = "See /api/openapi.json.";
    Problem::new(Kind::WrongMethod, "this address is not asked that way", action)
}
