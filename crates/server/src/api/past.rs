//! A machine's past: when it did something, what it showed, and new machines that go on from there.
//!
//! Who came by a link that begins at an instant learns nothing from before it (the viewer who tries
//! is whom each check is for): bins and names from then on, and the screen as it stood then.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use stackvm_catalog::rows::SessionRow;
use stackvm_host::machines::{Bin, Deed, Done, Exact, Happened, Lifetime, Picture, Printed, Text};
use stackvm_machine::{ConsoleId, Instant};

use super::extract::{Body, Params, Place, Visitor, check_line};
use super::types::{Begun, BinView, FoundView, MachineView, NewBranch, NewMoment, PictureView};
use super::types::{EventKind, EventView, ExactView, LineView, TextView, TimelineView};
use crate::app::App;
use crate::problem::{Kind, Problem};
use crate::rights::Right;

/// Longest text that is looked for, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 200;
/// Most lines that are found.
const FOUND_MAX: usize = 100;
/// Most lines of what a terminal printed.
const TEXT_LINES_MAX: usize = 2000;
/// How many events are told where nobody says, and at most.
const EVENTS: usize = 100;
const EVENTS_MAX: usize = 500;
/// Most machines that go on from a moment before its guests make no more.
const GUESTS_BRANCHES_MAX: usize = 16;

/// When the machine did something and somebody typed, from the instant on that whoever asks may
/// see; empty for a machine that was never on.
#[utoipa::path(get, path = "/api/machines/{id}/timeline", tag = "past",
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 200, description = "Its time.", body = TimelineView)))]
pub(crate) async fn timeline(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<TimelineView>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&[])?;
    let from = Instant::from_ns(grant.past_from_ns);
    let happened = app.fleet.happened(&id, from).await?;
    Ok(Json(happened.map_or_else(TimelineView::default, view)))
}

fn view(happened: Happened) -> TimelineView {
    let activity = &happened.activity;
    // Names only of those who typed in what is shown.
    let mut typists: Vec<String> = Vec::new();
    let mut place = |name: &str| {
        typists.iter().position(|known| known == name).unwrap_or_else(|| {
            typists.push(name.to_owned());
            typists.len() - 1
        })
    };
    let bin = |bin: &Bin| BinView {
        // A wide bin may begin before what was asked for.
        at_ns: bin.at.max(activity.begin).ns(),
        output_bytes: bin.output_bytes,
        typed_bytes: bin.typed_bytes,
        typist: happened.typist(bin).map(&mut place),
    };
    let bins = activity.bins.iter().map(bin).collect();
    TimelineView {
        begin_ns: activity.begin.ns(),
        end_ns: activity.end.ns(),
        step_ns: activity.step.ns(),
        bins,
        entered_ns: activity.entered.iter().map(|at| at.ns()).collect(),
        typists,
    }
}

/// What a terminal showed at an instant.
#[utoipa::path(get, path = "/api/machines/{id}/picture", tag = "past",
    params(
        ("id" = String, Path, description = "The machine."),
        ("at_ns" = u64, Query, description = "The instant; the nearest that there is counts.", maximum = 1_152_921_504_606_846_975_u64),
        ("console" = Option<u8>, Query, description = "The terminal's index, as in `Welcome`; else the first."),
    ),
    responses((status = 200, description = "It.", body = PictureView)))]
pub(crate) async fn picture(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<PictureView>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&["at_ns", "console"])?;
    let at = instant_of(&params, "at_ns")?;
    let console = app.console_of(&id, &params)?;
    let at = at.max(Instant::from_ns(grant.past_from_ns));
    let Picture { at, columns, rows, draw, .. } = app.fleet.picture(&id, console, at).await?;
    Ok(Json(PictureView { at_ns: at.ns(), columns, rows, draw }))
}

/// Lines that the machine's terminals showed, from the instant on that whoever asks may see: the
/// last hundred that have a text in them, whatever the case of its letters.
#[utoipa::path(get, path = "/api/machines/{id}/search", tag = "past",
    params(
        ("id" = String, Path, description = "The machine."),
        ("q" = String, Query, description = "The text, on one line; 1 to 200 bytes."),
    ),
    responses((status = 200, description = "The lines, the last one first.", body = Vec<FoundView>)))]
pub(crate) async fn search(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<Vec<FoundView>>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&["q"])?;
    let text = params.text("q").unwrap_or_default();
    check_line("q", text, TEXT_BYTES_MAX)?;
    let from = Instant::from_ns(grant.past_from_ns);
    let question = app.searches.ask(session.id);
    let turn = question.turn().await;
    let found = app.fleet.printed(&id, from, text.to_owned(), FOUND_MAX, turn).await?;
    let consoles = app.rooms.consoles(&id);
    let view = |printed: Printed| FoundView {
        at_ns: printed.at.ns() + 1,
        console: consoles.iter().position(|console| *console == printed.console),
        line: printed.line,
    };
    Ok(Json(found.into_iter().rev().map(view).collect()))
}

/// What people did at the machine, from the instant on that whoever asks may see: lines that were
/// entered, as they were shown, and instants that were named. The last ones, in order.
#[utoipa::path(get, path = "/api/machines/{id}/events", tag = "past",
    params(
        ("id" = String, Path, description = "The machine."),
        ("limit" = Option<usize>, Query, description = "At most so many, 1 to 500; else 100.", minimum = 1, maximum = 500),
    ),
    responses((status = 200, description = "They.", body = Vec<EventView>)))]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<Vec<EventView>>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&["limit"])?;
    let limit = params.text("limit").map_or(Some(EVENTS), |text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=EVENTS_MAX).contains(limit));
    let limit = limit.ok_or_else(|| Problem::field("limit", format!("it is 1 to {EVENTS_MAX}")))?;
    let from = Instant::from_ns(grant.past_from_ns);
    let deeds = app.fleet.deeds(&id, from, limit).await?;
    let consoles = app.rooms.consoles(&id);
    Ok(Json(deeds.into_iter().map(|deed| event(deed, &consoles)).collect()))
}

fn event(deed: Deed, consoles: &[ConsoleId]) -> EventView {
    let (kind, console, text) = match deed.what {
        Done::Entered { console, line } => {
            let console = consoles.iter().position(|known| *known == console);
            (EventKind::Entered, console, line)
        }
        Done::Marked { name } => (EventKind::Marked, None, name),
    };
    EventView { at_ns: deed.at.ns(), kind, who: deed.who, console, text }
}

/// What a terminal showed at an instant and printed from then on, as lines: the last ones.
#[utoipa::path(get, path = "/api/machines/{id}/text", tag = "past",
    params(
        ("id" = String, Path, description = "The machine."),
        ("from_ns" = u64, Query, description = "The instant; no earlier than whoever asks may see.", maximum = 1_152_921_504_606_846_975_u64),
        ("console" = Option<u8>, Query, description = "The terminal's index, as in `Welcome`; else the first."),
    ),
    responses((status = 200, description = "They.", body = TextView)))]
pub(crate) async fn text(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<TextView>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&["from_ns", "console"])?;
    let from = instant_of(&params, "from_ns")?.max(Instant::from_ns(grant.past_from_ns));
    let console = app.console_of(&id, &params)?;
    let question = app.searches.ask(session.id);
    let turn = question.turn().await;
    let text = app.fleet.text(&id, console, from, TEXT_LINES_MAX, turn).await?;
    let Text { lines, lines_before } = text;
    Ok(Json(TextView { lines, lines_before }))
}

/// The machine's exact state at an instant. Few are computed at once, and for each person the one
/// asked for last; who asks for another, or hangs up, gives the one before up.
#[utoipa::path(get, path = "/api/machines/{id}/state", tag = "past",
    params(
        ("id" = String, Path, description = "The machine."),
        ("at_ns" = u64, Query, description = "The instant; no earlier than whoever asks may see.", maximum = 1_152_921_504_606_846_975_u64),
        ("console" = Option<u8>, Query, description = "The terminal's index, as in `Welcome`; else the first."),
    ),
    responses((status = 200, body = Option<ExactView>,
        description = "It; `null` if whoever asked has asked for something else since.")))]
pub(crate) async fn state(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<Option<ExactView>>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&["at_ns", "console"])?;
    let at = instant_of(&params, "at_ns")?.max(Instant::from_ns(grant.past_from_ns));
    let console = app.console_of(&id, &params)?;
    let wish = app.replays.wish(session.id);
    let Some(turn) = wish.turn().await else { return Ok(Json(None)) };
    let Some(exact) = app.fleet.exact(&id, console, at, turn).await? else { return Ok(Json(None)) };
    let Exact { at, instructions, digest, picture } = exact;
    Ok(Json(Some(ExactView {
        at_ns: at.ns(),
        instructions,
        digest,
        columns: picture.size.columns,
        rows: picture.size.rows,
        draw: String::from_utf8_lossy(&picture.screen).into_owned(),
    })))
}

/// A line of what a terminal showed at an instant: when it was printed, and what was entered before.
#[utoipa::path(get, path = "/api/machines/{id}/line", tag = "past",
    params(
        ("id" = String, Path, description = "The machine."),
        ("at_ns" = u64, Query, description = "The instant; the nearest that there is counts.", maximum = 1_152_921_504_606_846_975_u64),
        ("row" = u16, Query, description = "The row, counted from 0."),
        ("console" = Option<u8>, Query, description = "The terminal's index, as in `Welcome`; else the first."),
    ),
    responses((status = 200, description = "It.", body = LineView)))]
pub(crate) async fn line(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<LineView>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&["at_ns", "row", "console"])?;
    let no_row = || Problem::field("row", "the terminal has no such row");
    let row = params.text("row").and_then(|text| text.parse::<u16>().ok()).ok_or_else(no_row)?;
    let from = Instant::from_ns(grant.past_from_ns);
    let at = instant_of(&params, "at_ns")?;
    let console = app.console_of(&id, &params)?;
    let line = app.fleet.line(&id, console, at, row.into(), from).await?.ok_or_else(no_row)?;
    let consoles = app.rooms.consoles(&id);
    Ok(Json(LineView {
        line: line.text,
        at_ns: line.printed.map(|at| at.ns() + 1),
        entered: line.entered.map(|deed| event(deed, &consoles)),
    }))
}

/// Makes a new machine that goes on from an instant of this one, which does not notice. Whoever may
/// type at a moment may have one of their own, at which they type then.
#[utoipa::path(post, path = "/api/machines/{id}/branch", tag = "past", request_body = NewBranch,
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 202, description = "Begun.", body = Begun)))]
pub(crate) async fn branch(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(body): Body<NewBranch>,
) -> Result<(StatusCode, Json<Begun>), Problem> {
    let grant = app.see(&session, &id).await?;
    let is_moment = app.fleet.get(&id).await?.spec.lifetime == Lifetime::Frozen;
    let right = if is_moment { Right::Type } else { Right::Fork };
    if !grant.may(right) {
        return Err(Problem::no_right(right));
    }
    let at = instant(body.at_ns).ok_or_else(|| not_an_instant("at_ns"))?;
    app.go_on_from(&session, &id, at, &at.to_string()).await
}

/// Keeps an instant of the machine, or its present, as a moment: a machine that stays as it was then,
/// whatever becomes of this one, and never runs.
#[utoipa::path(post, path = "/api/machines/{id}/moments", tag = "past", request_body = NewMoment,
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 201, description = "Kept.", body = MachineView)))]
pub(crate) async fn freeze(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(body): Body<NewMoment>,
) -> Result<(StatusCode, Json<MachineView>), Problem> {
    app.allow(&session, &id, Right::Fork).await?;
    let at = body.at_ns.map(|ns| instant(ns).ok_or_else(|| not_an_instant("at_ns"))).transpose()?;
    let new = app.keep_moment(&session, &id, at).await?;
    app.created(&session, &new).await
}

impl App {
    /// The terminal of a machine that a request is about: the first, where it does not say.
    fn console_of(&self, id: &str, params: &Params) -> Result<ConsoleId, Problem> {
        let index = params.text("console").map_or(Some(0), |text| text.parse::<usize>().ok());
        let console = index.and_then(|index| self.rooms.consoles(id).get(index).copied());
        console.ok_or_else(|| Problem::field("console", "the machine has no such terminal"))
    }

    /// Keeps an instant of a machine, or its present, as a moment; returns its name.
    pub(super) async fn keep_moment(
        &self,
        session: &SessionRow,
        id: &str,
        at: Option<Instant>,
    ) -> Result<String, Problem> {
        let new = self.fleet.freeze(id, at).await?;
        self.kept(session, &new, "machine.moment", format!("of {id}")).await?;
        Ok(new)
    }

    /// Says that a machine was made which never runs.
    pub(super) async fn kept(
        &self,
        session: &SessionRow,
        new: &str,
        action: &str,
        detail: String,
    ) -> Result<(), Problem> {
        // Links, notes and chat of another one of its name that is gone for good.
        self.catalog.forget_machine(new).await?;
        self.tell_changed(new);
        self.audit(session, action, new, detail).await
    }

    /// The answer that a machine was made.
    pub(super) async fn created(
        &self,
        session: &SessionRow,
        new: &str,
    ) -> Result<(StatusCode, Json<MachineView>), Problem> {
        let grant = self.see(session, new).await?;
        Ok((StatusCode::CREATED, Json(self.machine_view(new, &grant).await?)))
    }

    /// Makes a new machine that goes on from an instant of another, called `what`.
    pub(super) async fn go_on_from(
        self: &Arc<App>,
        session: &SessionRow,
        id: &str,
        at: Instant,
        what: &str,
    ) -> Result<(StatusCode, Json<Begun>), Problem> {
        if session.owner.is_none() && self.fleet.branches(id).await?.len() >= GUESTS_BRANCHES_MAX {
            let detail = format!("{GUESTS_BRANCHES_MAX} machines go on from it already");
            let action = "Ask its owner to delete some.";
            return Err(Problem::new(Kind::Conflict, detail, action));
        }
        let reserved = self.fleet.reserve_branch(id, at).await?;
        let task = self.begin_making(&reserved, format!("Go on from {what} of {id}")).await?;
        let new = reserved.spec().name.clone();
        if session.owner.is_none() {
            self.let_in(session, &new, format!("went on from {id}")).await?;
        }
        self.audit(session, "machine.branch", &new, format!("from {what} of {id}")).await?;
        let grant = self.see(session, &new).await?;
        let machine = Some(self.machine_view(&new, &grant).await?);
        let begun = Begun { task: task.view(), machine };
        self.make(task, reserved);
        Ok((StatusCode::ACCEPTED, Json(begun)))
    }
}

/// The instant that a request is about.
fn instant_of(params: &Params, field: &str) -> Result<Instant, Problem> {
    let ns = params.text(field).and_then(|text| text.parse().ok());
    ns.and_then(instant).ok_or_else(|| not_an_instant(field))
}

/// None beyond what a machine's clock can count.
pub(super) fn instant(ns: u64) -> Option<Instant> {
    ns.checked_mul(stackvm_machine::instant::TICKS_PER_NS).map(Instant::from_ticks)
}

pub(super) fn not_an_instant(field: &str) -> Problem {
    Problem::field(field, "it is an instant of the machine in nanoseconds")
}
