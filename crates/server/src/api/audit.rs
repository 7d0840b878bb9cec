//! Who did what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::extract::{Owner, Params};
use super::types::{AuditView, Page};
use crate::app::App;
use crate::problem::Problem;

/// What was done, the newest first.
#[utoipa::path(get, path = "/api/audit", tag = "audit",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many, up to 500.", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the part before."),
    ),
    responses((status = 200, description = "A part of it.", body = Page<AuditView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Owner(_): Owner,
    params: Params,
) -> Result<Json<Page<AuditView>>, Problem> {
    params.only(&["limit", "cursor"])?;
    let limit = params.limit()?;
    let before = params.text("cursor").map(str::parse::<u64>).transpose();
    let before = before.map_err(|_| Problem::field("cursor", "it is `next` of another part"))?;
    let mut rows = app.catalog.audits(before, limit as u32 + 1).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| row.id.to_string());
    let items = rows.into_iter().map(|row| AuditView {
        id: row.id,
        at_unix_ms: row.at_unix_ms,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        detail: row.detail,
    });
    Ok(Json(Page { items: items.collect(), next }))
}
