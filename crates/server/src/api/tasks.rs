//! What takes a while.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Owner, Params, Place};
use super::types::{Page, TaskView};
use crate::app::App;
use crate::problem::Problem;

/// The latest tasks, the newest first.
#[utoipa::path(get, path = "/api/tasks", tag = "tasks",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many, up to 500.", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the part before."),
    ),
    responses((status = 200, description = "A part of them.", body = Page<TaskView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Owner(_): Owner,
    params: Params,
) -> Result<Json<Page<TaskView>>, Problem> {
    params.only(&["limit", "cursor"])?;
    params.page(app.tasks.list(), |task| task.id.clone()).map(Json)
}

/// A task.
#[utoipa::path(get, path = "/api/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, description = "The task.")),
    responses((status = 200, description = "It.", body = TaskView)))]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Owner(_): Owner,
    Place(id): Place<String>,
) -> Result<Json<TaskView>, Problem> {
    app.tasks.get(&id).map(Json).ok_or_else(|| Problem::not_found("task of this name"))
}

/// Asks a task to stop. It ends when it has tidied up.
#[utoipa::path(delete, path = "/api/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, description = "The task.")),
    responses((status = 202, description = "Asked.", body = TaskView)))]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
    Place(id): Place<String>,
) -> Result<(StatusCode, Json<TaskView>), Problem> {
    let view = app.tasks.cancel(&id)?;
    app.audit(&session, "task.cancel", &id, view.title.as_str()).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}
