//! Links to a machine: made, listed, taken back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use stackvm_catalog::ids::{Secret, ShareId};
use stackvm_catalog::rows::{SessionRow, ShareRow, VisitLimits};
use stackvm_host::machines::{Lifetime, Listed, Status};
use stackvm_host::protocol::{Command, Reply};
use stackvm_machine::Instant;

use super::extract::{Body, Params, Place, Visitor, check_text};
use super::types::{CreatedShare, NewShare, NewVisit, Page, Past, ShareView};
use super::types::{VisitLimitsView, VisitView};
use crate::access::over;
use crate::app::App;
use crate::clock::unix_ms;
use crate::idempotency::HasSecret;
use crate::problem::{Kind, Problem};
use crate::protocol::Gone;
use crate::rights::{Right, Role};
use crate::rooms::Cut;
use crate::visits::{VISITOR, Wish};

/// Longest label, in bytes.
const LABEL_BYTES_MAX: usize = 200;
/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 256;
/// Most machines of visitors of one link at once.
const VISITORS_MAX: u32 = 100;
/// Longest life of a visitor's machine, in minutes.
const VISIT_MINUTES_MAX: u32 = 24 * 60;
/// What a visitor's machine may use of a core, in hundredths.
const CPU_PERCENT: std::ops::RangeInclusive<u8> = 5..=100;
/// Memory of the host that a visitor's machine may have for itself, in MiB.
const VISIT_MEMORY_MIB: std::ops::RangeInclusive<u32> = 16..=65536;
/// Longest life of a link, in seconds.
const LIFE_S_MAX: u64 = 366 * 24 * 3600;

/// A machine's links, the newest first, with those that are over.
#[utoipa::path(get, path = "/api/machines/{id}/shares", tag = "shares",
    params(
        ("id" = String, Path, description = "The machine."),
        ("limit" = Option<u32>, Query, description = "At most so many, up to 500.", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the part before."),
    ),
    responses((status = 200, description = "A part of them.", body = Page<ShareView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<Page<ShareView>>, Problem> {
    app.allow(&session, &id, Right::Share).await?;
    params.only(&["limit", "cursor"])?;
    app.fleet.get(&id).await?;
    let shares = app.catalog.shares(&id).await?;
    let visits = app.catalog.visits().await?;
    let shares = shares.iter().map(|share| app.share_view(share, &visits)).collect();
    params.page(shares, |share: &ShareView| share.id.clone()).map(Json)
}

/// Makes a link. Its secret is in this answer and in no other.
#[utoipa::path(post, path = "/api/machines/{id}/shares", tag = "shares", request_body = NewShare,
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 201, description = "Made.", body = CreatedShare)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(body): Body<NewShare>,
) -> Result<Response, Problem> {
    app.allow(&session, &id, Right::Share).await?;
    let created = app.make_link(&session, &id, body).await?;
    let mut response = (StatusCode::CREATED, Json(created)).into_response();
    response.extensions_mut().insert(HasSecret);
    Ok(response)
}

impl App {
    /// Makes a link to a machine, for whoever may.
    pub(super) async fn make_link(
        &self,
        session: &SessionRow,
        id: &str,
        wish: NewShare,
    ) -> Result<CreatedShare, Problem> {
        let listed = self.fleet.get(id).await?;
        check(&wish)?;
        let NewShare { role, label, expires_in_s, password, past, visits } = wish;
        if visits.is_some() && listed.spec.lifetime != Lifetime::Frozen {
            let detail = "visitors go on from a moment: make one, and share that";
            return Err(Problem::field("visits", detail));
        }
        let past_from_ns = match past {
            // A recording is all past, and was cut as it is to be seen.
            _ if listed.spec.is_recording() => None,
            Past::All => None,
            Past::FromNow => Some(now(self, &listed).await?),
        };
        let password = match password {
            Some(password) => Some(self.access.hash_password(password).await?),
            None => None,
        };
        let (secret, created_unix_ms) = (Secret::random()?, unix_ms());
        let share = ShareRow {
            id: ShareId::random()?,
            owner: self.catalog.owner(),
            machine: id.to_owned(),
            role: if visits.is_some() { VISITOR } else { role.name() }.to_owned(),
            label,
            secret: secret.hash(),
            password,
            past_from_ns,
            created_unix_ms,
            expires_unix_ms: expires_in_s.map(|seconds| created_unix_ms + 1000 * seconds),
            revoked_unix_ms: None,
            opened: 0,
            visits: visits.map(VisitLimits::from),
            visit_of: None,
            published: None,
        };
        self.catalog.add_share(&share).await?;
        let detail = format!("{} of {id}", role.name());
        self.audit(session, "share.create", &share.id.to_string(), detail).await?;
        let (base, halves) = (self.reach.widest(), format!("{}#{}", share.id, secret.hex()));
        Ok(CreatedShare {
            share: self.share_view(&share, &[]),
            url: format!("{base}/s/{halves}"),
            embed_url: format!("{base}/embed/{halves}"),
            path: format!("/s/{halves}"),
        })
    }

    /// Takes a link back, if it is good: whoever is here through it is out.
    pub(super) async fn take_back(
        &self,
        session: &SessionRow,
        share: &ShareRow,
    ) -> Result<(), Problem> {
        if self.catalog.revoke_share(share.id, unix_ms()).await? {
            self.rooms.cut(&Cut::Share(share.id, Gone::Revoked));
            self.sweep_visits().await?;
            let (id, machine) = (share.id.to_string(), share.machine.as_str());
            self.audit(session, "share.revoke", &id, machine).await?;
        }
        Ok(())
    }

    /// A link whose secret nobody has: whoever comes by it comes another way.
    pub(crate) fn row_without_secret(
        &self,
        machine: &str,
        role: Role,
    ) -> Result<ShareRow, Problem> {
        Ok(ShareRow {
            id: ShareId::random()?,
            owner: self.catalog.owner(),
            machine: machine.to_owned(),
            role: role.name().to_owned(),
            label: String::new(),
            secret: Secret::random()?.hash(),
            password: None,
            past_from_ns: None,
            created_unix_ms: unix_ms(),
            expires_unix_ms: None,
            revoked_unix_ms: None,
            opened: 0,
            visits: None,
            visit_of: None,
            published: None,
        })
    }

    /// Lets a guest type at a machine that was made for them: through a link whose secret nobody
    /// has, so that it is listed and can be taken back like any other.
    pub(super) async fn let_in(
        &self,
        session: &SessionRow,
        machine: &str,
        label: String,
    ) -> Result<(), Problem> {
        let row = self.row_without_secret(machine, Role::Driver)?;
        let share = ShareRow { label, opened: 1, ..row };
        self.catalog.add_share(&share).await?;
        self.catalog.grant(session.id, share.id).await?;
        Ok(())
    }
}

/// Whether a link can give a role.
pub(super) fn check_role(role: Role) -> Result<(), Problem> {
    match Role::SHARED.contains(&role) {
        true => Ok(()),
        false => Err(Problem::field("role", "it is viewer, commenter or driver")),
    }
}

fn check(body: &NewShare) -> Result<(), Problem> {
    check_role(body.role)?;
    if let Some(VisitLimitsView { visitors, minutes, cpu_percent, memory_mib }) = body.visits {
        let refuse = |field, what| Err(Problem::field(field, what));
        if body.role != Role::Driver {
            return refuse("role", "whoever gets a machine of their own is its driver");
        }
        if !(1..=VISITORS_MAX).contains(&visitors) {
            return refuse("visits", "visitors are 1 to 100");
        }
        if !(1..=VISIT_MINUTES_MAX).contains(&minutes) {
            return refuse("visits", "minutes are 1 to 1440");
        }
        if !CPU_PERCENT.contains(&cpu_percent) {
            return refuse("visits", "cpu_percent is 5 to 100");
        }
        if memory_mib.is_some_and(|mib| !VISIT_MEMORY_MIB.contains(&mib)) {
            return refuse("visits", "memory_mib is 16 to 65536");
        }
    }
    check_text("label", &body.label, LABEL_BYTES_MAX)?;
    if body.expires_in_s.is_some_and(|seconds| !(1..=LIFE_S_MAX).contains(&seconds)) {
        return Err(Problem::field("expires_in_s", format!("it is 1 to {LIFE_S_MAX} seconds")));
    }
    let password_bytes = body.password.as_ref().map(String::len);
    if password_bytes.is_some_and(|bytes| !(1..=PASSWORD_BYTES_MAX).contains(&bytes)) {
        return Err(Problem::field("password", format!("it is 1 to {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// The machine's instant, in nanoseconds: of one that is off the last one, from which it goes on
/// when it is started. Where nobody knows there is no link, rather than one that shows too much.
async fn now(app: &App, machine: &Listed) -> Result<u64, Problem> {
    let id = &machine.spec.name;
    let lab = app.rooms.command(id, Command::Info).await;
    if let Ok(Reply::Info(info)) = &lab {
        return Ok(Instant::from_ticks(info.instant_ticks).ns());
    }
    match (app.fleet.reached_ns(id).await?, lab, &machine.status) {
        (Some(reached), ..) => Ok(reached),
        (None, Err(error), Status::Running) => Err(error.into()),
        // It has never been on.
        (None, ..) => Ok(0),
    }
}

/// Takes a link back: whoever is here through it is out within a second.
#[utoipa::path(delete, path = "/api/shares/{id}", tag = "shares",
    params(("id" = String, Path, description = "The link's public half.")),
    responses((status = 204, description = "Taken back.")))]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    let unknown = || Problem::not_found("link of this name");
    let id: ShareId = id.parse().map_err(|_| unknown())?;
    let share = app.catalog.share(id).await?.ok_or_else(unknown)?;
    // Whoever may not see the machine does not learn that there is such a link.
    app.see(&session, &share.machine).await.map_err(|_| unknown())?;
    app.allow(&session, &share.machine, Right::Share).await?;
    app.take_back(&session, &share).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A machine of one's own, for whoever has opened a link that gives visitors such; or their place
/// among those that wait. Who waits asks every few seconds, and is forgotten after 15.
#[utoipa::path(post, path = "/api/shares/{id}/visits", tag = "shares", request_body = NewVisit,
    params(("id" = String, Path, description = "The link's public half.")),
    responses((status = 200, description = "It, or their place.", body = VisitView)))]
pub(crate) async fn visit(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(body): Body<NewVisit>,
) -> Result<Json<VisitView>, Problem> {
    let unknown = || Problem::not_found("link of this name");
    let id: ShareId = id.parse().map_err(|_| unknown())?;
    let link = app.catalog.share(id).await?.ok_or_else(unknown)?;
    // Whoever has not opened it does not learn that there is such a link.
    let has_opened = session.owner.is_some()
        || app.catalog.grants(session.id).await?.iter().any(|share| share.id == id);
    let limits = link.visits.filter(|_| has_opened).ok_or_else(unknown)?;
    if over(&link, unix_ms()).is_some() {
        let action = "Ask whoever sent it for a new one.";
        return Err(Problem::new(Kind::Revoked, "the link has ended", action));
    }
    let wish = if body.anew == Some(true) { Wish::Anew } else { Wish::Any };
    app.visit(&session, &link, limits, wish).await.map(Json)
}

impl From<VisitLimitsView> for VisitLimits {
    fn from(limits: VisitLimitsView) -> VisitLimits {
        let VisitLimitsView { visitors, minutes, cpu_percent, memory_mib } = limits;
        VisitLimits { visitors, minutes, cpu_percent, memory_mib }
    }
}
