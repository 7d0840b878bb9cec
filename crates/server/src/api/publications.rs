//! Published recordings: found without a secret, with a page that says what they show to whoever
//! runs no scripts.
//!
//! A recording gives away the computation, so only recordings are published: they were cut as they
//! are to be seen. What their pages say is their owner's and their guest's, neither of whom gets
//! markup into them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use stackvm_catalog::ids::ShareId;
use stackvm_catalog::rows::{Publication, ShareRow};

use super::extract::{Body, Params, Place, Visitor, check_line, check_text};
use super::machines::check_tags;
use super::past::TEXT_BYTES_MAX;
use super::shares::check_role;
use super::types::{NewPublication, OutgoingView, Page, PublicationView, Published, Visibility};
use crate::access::over;
use crate::app::App;
use crate::clock::unix_ms;
use crate::pages::{self, Shown};
use crate::problem::{Kind, Problem};
use crate::protocol::Gone;
use crate::rights::Right;
use crate::rooms::Cut;

/// Longest title and description, in bytes.
const TITLE_BYTES_MAX: usize = 200;
const DESCRIPTION_BYTES_MAX: usize = 4000;

/// Published recordings that are listed, the newest first. Anybody may ask.
#[utoipa::path(get, path = "/api/publications", tag = "publications", security(()),
    params(
        ("limit" = Option<u32>, Query, description = "At most so many, up to 500.", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the part before."),
    ),
    responses((status = 200, description = "A part of them.", body = Page<PublicationView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    params: Params,
) -> Result<Json<Page<PublicationView>>, Problem> {
    params.only(&["limit", "cursor"])?;
    let base = app.reach.widest();
    let mut views = Vec::new();
    for row in app.catalog.published().await? {
        let is_listed = row.published.as_ref().is_some_and(|how| how.listed);
        if is_listed && app.is_there(&row).await? {
            views.extend(PublicationView::of(&row, &base));
        }
    }
    params.page(views, |view: &PublicationView| view.id.clone()).map(Json)
}

/// A published recording. Anybody may ask.
#[utoipa::path(get, path = "/api/publications/{id}", tag = "publications", security(()),
    params(("id" = String, Path, description = "Its name in addresses.")),
    responses((status = 200, description = "It.", body = PublicationView)))]
pub(crate) async fn about(
    State(app): State<Arc<App>>,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<PublicationView>, Problem> {
    params.only(&[])?;
    let row = app.published(&id).await?;
    let view = row.and_then(|row| PublicationView::of(&row, &app.reach.widest()));
    view.map(Json).ok_or_else(|| Problem::not_found("recording like this"))
}

/// Whether and how a recording is published.
#[utoipa::path(get, path = "/api/machines/{id}/publication", tag = "publications",
    params(("id" = String, Path, description = "The recording.")),
    responses((status = 200, description = "It.", body = Published)))]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<Published>, Problem> {
    app.allow(&session, &id, Right::Share).await?;
    params.only(&[])?;
    let row = app.publication_of(&id).await?;
    let publication = row.and_then(|row| PublicationView::of(&row, &app.reach.widest()));
    Ok(Json(Published { publication }))
}

/// Publishes a recording, or changes how it is: its address stays.
#[utoipa::path(post, path = "/api/machines/{id}/publication", tag = "publications",
    request_body = NewPublication,
    params(("id" = String, Path, description = "The recording.")),
    responses((status = 200, description = "It is published.", body = Published)))]
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(body): Body<NewPublication>,
) -> Result<Json<Published>, Problem> {
    app.allow(&session, &id, Right::Share).await?;
    check(&body)?;
    if !app.fleet.get(&id).await?.spec.is_recording() {
        let detail = "only recordings are published: what they show was cut out for it";
        return Err(Problem::new(Kind::Conflict, detail, "Keep a recording, and publish that."));
    }
    let NewPublication { title, description, tags, visibility, role } = body;
    let listed = visibility == Visibility::Public;
    let how = Publication { title: title.trim().to_owned(), description, tags, listed };
    let row = match app.publication_of(&id).await? {
        Some(row) => {
            app.catalog.publish(row.id, role.name(), &how).await?;
            // What they may do has changed: whoever is here comes in anew.
            if row.role != role.name() {
                app.rooms.cut(&Cut::Share(row.id, Gone::NotAdmitted));
            }
            ShareRow { role: role.name().to_owned(), published: Some(how), ..row }
        }
        None => {
            let row = app.row_without_secret(&id, role)?;
            let row = ShareRow { label: "published".to_owned(), published: Some(how), ..row };
            app.catalog.add_share(&row).await?;
            row
        }
    };
    let word = if listed { "public" } else { "unlisted" };
    app.audit(&session, "recording.publish", &id, format!("{word}, as {}", row.id)).await?;
    Ok(Json(Published { publication: PublicationView::of(&row, &app.reach.widest()) }))
}

/// Takes a recording back: its address leads nowhere from now on.
#[utoipa::path(delete, path = "/api/machines/{id}/publication", tag = "publications",
    params(("id" = String, Path, description = "The recording.")),
    responses((status = 204, description = "It is not published.")))]
pub(crate) async fn withdraw(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    app.allow(&session, &id, Right::Share).await?;
    if let Some(row) = app.publication_of(&id).await? {
        app.take_back(&session, &row).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What goes out with the machine's recording, and where in it a text is: before it is given away.
/// Memory and disks are looked at as its keyframes have them.
#[utoipa::path(get, path = "/api/machines/{id}/outgoing", tag = "publications",
    params(
        ("id" = String, Path, description = "The machine."),
        ("q" = Option<String>, Query, description = "A text, on one line; 1 to 200 bytes."),
    ),
    responses((status = 200, description = "It.", body = OutgoingView)))]
pub(crate) async fn outgoing(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<OutgoingView>, Problem> {
    app.allow(&session, &id, Right::Download).await?;
    params.only(&["q"])?;
    let text = params.text("q").map(str::to_owned);
    if let Some(text) = &text {
        check_line("q", text, TEXT_BYTES_MAX)?;
    }
    app.fleet.outgoing(&id, text).await.map(|outgoing| Json(outgoing.into()))
}

/// The page of a published recording. What it says stands in it for whoever runs no scripts: those
/// who search, and those who read aloud.
pub(crate) async fn page(State(app): State<Arc<App>>, Place(id): Place<String>) -> Response {
    let Ok(Some(row)) = app.published(&id).await else {
        // The page says what that means.
        return (StatusCode::NOT_FOUND, pages::index("'none'", None)).into_response();
    };
    let view = PublicationView::of(&row, &app.reach.widest());
    let Some(view) = view else { return pages::index("'none'", None) };
    // Without a transcript it is still a page.
    let transcript = app.fleet.transcript(&row.machine).await.unwrap_or_default();
    let shown = Shown {
        title: &view.title,
        description: &view.description,
        poster: &format!("/r/{}/poster.svg", view.id),
        poster_url: &view.poster_url,
        transcript: &transcript,
    };
    pages::index("'none'", Some(&shown))
}

/// A picture of a published recording that moves, for other people's pages.
pub(crate) async fn poster(
    State(app): State<Arc<App>>,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    let row = app.published(&id).await?.ok_or_else(|| Problem::not_found("picture like this"))?;
    let title = row.published.as_ref().map(|how| how.title.clone()).unwrap_or_default();
    let svg = app.fleet.poster(&row.machine, title).await?;
    let mut response = svg.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "image/svg+xml"),
        // A README is read more often than its recording changes.
        (header::CACHE_CONTROL, "public, max-age=300"),
        // It is made to be shown elsewhere.
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
        // Opened by itself it is a page that a guest had a part in: it runs and loads nothing.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

impl App {
    /// The link to a recording that needs no secret, if it is published.
    async fn publication_of(&self, machine: &str) -> Result<Option<ShareRow>, Problem> {
        let rows = self.catalog.shares(machine).await?;
        let now = unix_ms();
        Ok(rows.into_iter().find(|row| row.published.is_some() && over(row, now).is_none()))
    }

    /// What is published under a name, if it is still there.
    pub(super) async fn published(&self, id: &str) -> Result<Option<ShareRow>, Problem> {
        let Ok(id) = id.parse::<ShareId>() else { return Ok(None) };
        let row = self.catalog.share(id).await?;
        let row = row.filter(|row| row.published.is_some() && over(row, unix_ms()).is_none());
        Ok(match row {
            Some(row) if self.is_there(&row).await? => Some(row),
            _ => None,
        })
    }

    /// Whether a link's machine is there, and the one that it was made for.
    async fn is_there(&self, row: &ShareRow) -> Result<bool, Problem> {
        match self.fleet.get(&row.machine).await {
            Ok(listed) => Ok(crate::app::made_unix_ms(&listed) <= row.created_unix_ms),
            Err(problem) if problem.is_about_input() => Ok(false),
            Err(problem) => Err(problem),
        }
    }
}

fn check(body: &NewPublication) -> Result<(), Problem> {
    check_role(body.role)?;
    check_line("title", &body.title, TITLE_BYTES_MAX)?;
    check_text("description", &body.description, DESCRIPTION_BYTES_MAX)?;
    check_tags(&body.tags)
}
