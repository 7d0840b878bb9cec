//! Twins of machines that run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use stackvm_host::machines::check_name;
use stackvm_host::protocol::ForkKind;

use super::extract::{Body, Place, Visitor};
use super::types::{MachineView, NewFork, TwinKind};
use crate::app::App;
use crate::problem::Problem;
use crate::rights::Right;
use crate::rooms::News;

/// Makes a running machine's twin, which goes on from the present instant; the machine does not
/// notice. To go on from another instant, see `branch`.
#[utoipa::path(post, path = "/api/machines/{id}/forks", tag = "machines", request_body = NewFork,
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 201, description = "Made.", body = MachineView)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(NewFork { kind, name }): Body<NewFork>,
) -> Result<(StatusCode, Json<MachineView>), Problem> {
    app.allow(&session, &id, Right::Fork).await?;
    if let Some(name) = &name {
        check_name(name)?;
    }
    let reserved = app.fleet.reserve_twin(&id, name).await?;
    let new = reserved.spec().name.clone();
    // Links, notes and chat of another one of its name that is gone for good.
    app.catalog.forget_machine(&new).await?;
    let (kind, word) = match kind {
        TwinKind::Fresh => (ForkKind::Fresh, "a fresh twin"),
        TwinKind::Exact => (ForkKind::Exact, "an exact twin"),
    };
    app.fleet.fork(&id, reserved, kind).await?;
    app.rooms.tell(&new, News::Starting);
    app.tell_changed(&new);
    app.audit(&session, "machine.fork", &new, format!("{word} of {id}")).await?;
    app.created(&session, &new).await
}
