//! Instants with names, and machines that go on from one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use stackvm_host::machines::Marker;

use super::extract::{Body, Owner, Params, Place, Visitor, check_text};
use super::types::{Begun, MarkerView, NewMarker, Page};
use crate::app::App;
use crate::problem::Problem;
use crate::rights::Right;

/// Longest name of a marker, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// The named instants of a machine that whoever asks may know of: none from before their right to
/// its past.
#[utoipa::path(get, path = "/api/machines/{id}/markers", tag = "markers",
    params(
        ("id" = String, Path, description = "The machine."),
        ("limit" = Option<u32>, Query, description = "At most so many, up to 500.", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the part before."),
    ),
    responses((status = 200, description = "A part of them.", body = Page<MarkerView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<Page<MarkerView>>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&["limit", "cursor"])?;
    let mut markers = views(app.fleet.markers(&id).await?);
    markers.retain(|marker| marker.at_ns >= grant.past_from_ns);
    params.page(markers, |marker| marker.index.to_string()).map(Json)
}

/// Names the present instant of a running machine.
#[utoipa::path(post, path = "/api/machines/{id}/markers", tag = "markers", request_body = NewMarker,
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 201, description = "Named.", body = MarkerView)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(body): Body<NewMarker>,
) -> Result<(StatusCode, Json<MarkerView>), Problem> {
    let grant = app.allow(&session, &id, Right::Comment).await?;
    let name = body.name.trim().to_owned();
    check_text("name", &name, NAME_BYTES_MAX)?;
    if name.is_empty() || name.contains('\n') {
        return Err(Problem::field("name", "it is a line of text"));
    }
    app.fleet.mark(&id, grant.name.clone(), name.clone()).await?;
    app.audit(&session, "marker.create", &id, name.as_str()).await?;
    let markers = views(app.fleet.markers(&id).await?);
    let marker = markers.into_iter().rev().find(|marker| marker.name == name);
    let marker = marker.ok_or_else(|| Problem::not_found("marker of this name any more"))?;
    Ok((StatusCode::CREATED, Json(marker)))
}

/// Makes a new machine that goes on from a named instant.
#[utoipa::path(post, path = "/api/machines/{id}/markers/{index}/branch", tag = "markers",
    params(
        ("id" = String, Path, description = "The machine."),
        ("index" = u32, Path, description = "The marker."),
    ),
    responses((status = 202, description = "Begun.", body = Begun)))]
pub(crate) async fn branch(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
    Place((id, index)): Place<(String, u32)>,
) -> Result<(StatusCode, Json<Begun>), Problem> {
    let markers = app.fleet.markers(&id).await?;
    let marker = markers.into_iter().nth(index as usize);
    let marker = marker.ok_or_else(|| Problem::not_found("marker of this number"))?;
    app.go_on_from(&session, &id, marker.at, &format!("{:?}", marker.name)).await
}

fn views(markers: Vec<Marker>) -> Vec<MarkerView> {
    let view = |(index, marker): (u32, Marker)| MarkerView {
        index,
        name: marker.name,
        author: marker.author,
        at_ns: marker.at.ns(),
    };
    (0..).zip(markers).map(view).collect()
}
