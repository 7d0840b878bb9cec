//! Machines: which there are, new ones, what they are called, and their end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use stackvm_catalog::rows::limits::{NOTES_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX};
use stackvm_host::machines::Keep;
use stackvm_images::BUILDABLE;

use super::extract::{Body, Owner, Params, Place, Visitor, check_text};
use super::types::{Begun, ChangeMachine, HistoryKept, MachineView, NewMachine, Page};
use crate::app::App;
use crate::machines::{Reserved, Wish};
use crate::problem::{Kind, Problem};
use crate::protocol::Gone;
use crate::rights::Right;
use crate::rooms::{Cut, News};
use crate::tasks::{Cancellable, Task};

/// RAM of a machine, in MiB.
const MEMORY_MIB: std::ops::RangeInclusive<u32> = 32..=65536;

/// The machines that whoever asks may see; `q` looks in name, image, notes and tags.
#[utoipa::path(get, path = "/api/machines", tag = "machines",
    params(
        ("q" = Option<String>, Query, description = "Words; all of them must occur."),
        ("tag" = Option<String>, Query, description = "A tag that they have."),
        ("limit" = Option<u32>, Query, description = "At most so many, up to 500.", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the part before."),
    ),
    responses((status = 200, description = "A part of them.", body = Page<MachineView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    params: Params,
) -> Result<Json<Page<MachineView>>, Problem> {
    params.only(&["q", "tag", "limit", "cursor"])?;
    let mut views = app.machine_views(&session).await?;
    if let Some(words) = params.text("q") {
        views.retain(|view| matches(view, words));
    }
    if let Some(tag) = params.text("tag") {
        views.retain(|view| view.tags.iter().any(|own| own == tag));
    }
    params.page(views, |view| view.id.clone()).map(Json)
}

/// Whether all words occur somewhere, in any case.
fn matches(view: &MachineView, words: &str) -> bool {
    let text = format!("{}\n{}\n{}\n{}", view.name, view.image, view.notes, view.tags.join("\n"));
    let text = text.to_lowercase();
    words.split_whitespace().all(|word| text.contains(&word.to_lowercase()))
}

/// Makes a machine and starts it; what it needs is made first.
#[utoipa::path(post, path = "/api/machines", tag = "machines", request_body = NewMachine,
    responses((status = 202, description = "Begun.", body = Begun)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
    Body(body): Body<NewMachine>,
) -> Result<(StatusCode, Json<Begun>), Problem> {
    let NewMachine { image, name, memory_mib, keep } = body;
    let is_known = BUILDABLE.contains(&image.as_str())
        || app.fleet.images().await?.iter().any(|known| known.name == image);
    if !is_known {
        return Err(Problem::field("image", "there is no such image; see /api/images"));
    }
    if memory_mib.is_some_and(|mib| !MEMORY_MIB.contains(&mib)) {
        let detail = format!("it is {} to {} MiB", MEMORY_MIB.start(), MEMORY_MIB.end());
        return Err(Problem::field("memory_mib", detail));
    }
    let keep = keep.map(|HistoryKept { seconds, bytes }| Keep { seconds, bytes });
    let keep = keep.unwrap_or_default();
    let memory_bytes = memory_mib.map(|mib| u64::from(mib) << 20);
    let reserved = app.fleet.reserve(&Wish { image, name, memory_bytes, keep }).await?;
    let task = app.begin_making(&reserved, reserved.title()).await?;
    let spec = reserved.spec();
    app.audit(&session, "machine.create", &spec.name, spec.image_label()).await?;
    let grant = app.see(&session, &spec.name).await?;
    let machine = Some(app.machine_view(&spec.name, &grant).await?);
    let begun = Begun { task: task.view(), machine };
    app.make(task, reserved);
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

impl App {
    /// Begins the task that will make a new machine.
    pub(crate) async fn begin_making(
        &self,
        reserved: &Reserved,
        title: String,
    ) -> Result<Task, Problem> {
        let id = &reserved.spec().name;
        // Links, notes and chat of another one of its name that is gone for good.
        self.catalog.forget_machine(id).await?;
        let task = self.tasks.begin(title, Some(id.clone()), Cancellable::Yes)?;
        self.rooms.tell(id, News::Starting);
        Ok(task)
    }

    /// Makes it, on its own time.
    pub(crate) fn make(self: &Arc<App>, task: Task, reserved: Reserved) {
        let app = self.clone();
        tokio::spawn(async move {
            let id = reserved.spec().name.clone();
            let task = Arc::new(task);
            let report = {
                let (app, task, id) = (app.clone(), task.clone(), id.clone());
                move |progress| {
                    task.progress(&progress);
                    app.rooms.tell(&id, News::Progress(progress));
                }
            };
            let made = app.fleet.make(reserved, report, task.cancel().clone()).await;
            match &made {
                Ok(()) => app.rooms.tell(&id, News::Starting),
                // There is no machine after all.
                Err(fault) => {
                    let is_cancelled = task.cancel().is_cancelled();
                    let news = if is_cancelled { News::Off } else { News::Failed(fault.clone()) };
                    app.rooms.tell(&id, news);
                    app.rooms.cut(&Cut::Machine(id.clone(), Gone::Deleted));
                }
            }
            app.tell_changed(&id);
            if let Some(task) = Arc::into_inner(task) {
                task.end(made);
            }
        });
    }
}

/// A machine. The `ETag` is its version.
#[utoipa::path(get, path = "/api/machines/{id}", tag = "machines",
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 200, description = "It.", body = MachineView)))]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    let grant = app.see(&session, &id).await?;
    let view = app.machine_view(&id, &grant).await?;
    // It guards changes; it says nothing of state, people and screen, so reads do not ask for it.
    Ok(([(header::ETAG, etag(view.version))], Json(view)).into_response())
}

/// Changes what people say of a machine. With `If-Match`, only if nobody else did meanwhile.
#[utoipa::path(patch, path = "/api/machines/{id}", tag = "machines", request_body = ChangeMachine,
    params(
        ("id" = String, Path, description = "The machine."),
        ("If-Match" = Option<String>, Header, description = "The version that was read."),
    ),
    responses((status = 200, description = "Changed.", body = MachineView)))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    headers: HeaderMap,
    Body(body): Body<ChangeMachine>,
) -> Result<Response, Problem> {
    let grant = app.allow(&session, &id, Right::Share).await?;
    let listed = app.fleet.get(&id).await?;
    check(&body)?;
    let mut row = app.catalog.machine(&id).await?;
    let found = etag(row.version);
    if headers.get(header::IF_MATCH).is_some_and(|wanted| wanted != found && wanted != "*") {
        let detail = format!("the machine is at version {found:?} by now");
        return Err(Problem::new(Kind::Stale, detail, "Load it again, then change it."));
    }
    let ChangeMachine { name, notes, tags, clipboard } = body;
    let name = name.filter(|name| name != listed.label());
    row.notes = notes.unwrap_or(row.notes);
    row.tags = tags.unwrap_or(row.tags);
    row.clipboard = clipboard.unwrap_or(row.clipboard);
    if let Some(name) = &name {
        app.fleet.rename(&id, name.clone()).await?;
        app.rooms.renamed(&id, name);
    }
    app.catalog.set_machine(&id, &row).await?;
    let detail = name.map_or_else(String::new, |name| format!("called {name}"));
    app.audit(&session, "machine.change", &id, detail).await?;
    app.tell_changed(&id);
    let view = app.machine_view(&id, &grant).await?;
    let tag = etag(view.version);
    Ok(([(header::ETAG, tag)], Json(view)).into_response())
}

fn check(body: &ChangeMachine) -> Result<(), Problem> {
    if let Some(notes) = &body.notes {
        check_text("notes", notes, NOTES_BYTES_MAX)?;
    }
    body.tags.as_deref().map_or(Ok(()), check_tags)
}

/// Words, and not too many.
pub(super) fn check_tags(tags: &[String]) -> Result<(), Problem> {
    if tags.len() > TAGS_MAX {
        return Err(Problem::field("tags", format!("there are at most {TAGS_MAX}")));
    }
    tags.iter().try_for_each(|tag| {
        check_text("tags", tag, TAG_BYTES_MAX)?;
        let is_word = !tag.is_empty() && !tag.contains(char::is_whitespace);
        if is_word { Ok(()) } else { Err(Problem::field("tags", "a tag is a word")) }
    })
}

fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Deletes a machine; for a week it can be restored. One that runs is saved first, so that it goes
/// on where it was when it is taken back.
#[utoipa::path(delete, path = "/api/machines/{id}", tag = "machines",
    params(("id" = String, Path, description = "The machine.")),
    responses(
        (status = 202, description = "It runs, and will be gone when it is saved.", body = Begun),
        (status = 204, description = "Gone."),
    ))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    let grant = app.allow(&session, &id, Right::Share).await?;
    let machine = app.machine_view(&id, &grant).await?;
    if machine.state.is_off() {
        app.trash(&id).await?;
        app.audit(&session, "machine.delete", &id, machine.name).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let title = format!("Delete {}", machine.name);
    let task = app.tasks.begin(title, Some(id.clone()), Cancellable::No)?;
    app.audit(&session, "machine.delete", &id, machine.name.clone()).await?;
    let begun = Begun { task: task.view(), machine: Some(machine) };
    tokio::spawn(async move {
        let deleted = match app.fleet.save(&id).await {
            Ok(()) => app.trash(&id).await,
            Err(problem) => Err(problem),
        };
        task.end(deleted.map_err(Problem::into_fault));
    });
    Ok((StatusCode::ACCEPTED, Json(begun)).into_response())
}

impl App {
    /// Moves a machine that does not run to the trash, and cuts off whoever is at it.
    async fn trash(&self, id: &str) -> Result<(), Problem> {
        self.fleet.trash(id).await?;
        self.rooms.cut(&Cut::Machine(id.to_owned(), Gone::Deleted));
        self.tell_changed(id);
        Ok(())
    }
}

/// Takes back a machine that was deleted, with its links and its chat.
#[utoipa::path(post, path = "/api/machines/{id}/restore", tag = "machines",
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 200, description = "It is back.", body = MachineView)))]
pub(crate) async fn restore(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
    Place(id): Place<String>,
) -> Result<Json<MachineView>, Problem> {
    if !app.fleet.trashed().await?.iter().any(|machine| machine.spec.name == id) {
        return Err(Problem::not_found("deleted machine of this name"));
    }
    app.fleet.restore(&id).await?;
    app.tell_changed(&id);
    app.audit(&session, "machine.restore", &id, "").await?;
    let grant = app.see(&session, &id).await?;
    app.machine_view(&id, &grant).await.map(Json)
}
