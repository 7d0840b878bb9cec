//! What goes on from a machine: machines of their own, moments and recordings of it.
//!
//! Who came by a link learns only of those that they have a link to as well, and of none that left
//! before their link begins.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use stackvm_catalog::rows::SessionRow;
use stackvm_host::machines::{Lifetime, Listed, MachineSpec};
use stackvm_machine::Instant;

use super::extract::{Params, Place, Visitor};
use super::types::{BranchKind, BranchView};
use crate::app::{App, made_unix_ms};
use crate::problem::Problem;
use crate::rights::Right;

/// Most machines that are told.
const BRANCHES_MAX: usize = 200;
/// Most journals that are read for one answer.
const JOURNALS_MAX: usize = 50;

/// The machines that go on from this one and that whoever asks may see, from the instant on that
/// they may see: the newest first, at most 200.
#[utoipa::path(get, path = "/api/machines/{id}/branches", tag = "past",
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 200, description = "They.", body = Vec<BranchView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<Vec<BranchView>>, Problem> {
    let grant = app.allow(&session, &id, Right::SeePast).await?;
    params.only(&[])?;
    let mut branches = app.fleet.branches(&id).await?;
    branches.retain(|(at, _)| at.ns() >= grant.past_from_ns);
    let (mut views, mut journals) = (Vec::new(), 0);
    for (at, machine) in &branches {
        if views.len() >= BRANCHES_MAX {
            break;
        }
        let Some(from) = app.past_of_branch(&session, machine, *at).await? else { continue };
        let kind = kind(&machine.spec);
        // Nobody enters anything at a moment.
        let last = if kind == BranchKind::Moment || journals >= JOURNALS_MAX {
            None
        } else {
            journals += 1;
            // One that is just being deleted, or is damaged, does not keep the others.
            app.fleet.last_entered(&machine.spec.name, from).await.unwrap_or_default()
        };
        views.push(app.branch_view(machine, (kind, *at), last));
    }
    Ok(Json(views))
}

impl App {
    /// From when on whoever asks may see the past of a machine that left another then; `None` if
    /// they may not see it.
    async fn past_of_branch(
        &self,
        session: &SessionRow,
        machine: &Listed,
        left: Instant,
    ) -> Result<Option<Instant>, Problem> {
        let made = made_unix_ms(machine);
        let grant = self.access.grant(session, &machine.spec.name, made).await?.ok();
        let grant = grant.filter(|grant| grant.may(Right::SeePast));
        Ok(grant.map(|grant| Instant::from_ns(grant.past_from_ns).max(left)))
    }

    fn branch_view(
        &self,
        machine: &Listed,
        (kind, at): (BranchKind, Instant),
        last: Option<String>,
    ) -> BranchView {
        let id = &machine.spec.name;
        BranchView {
            id: id.clone(),
            name: machine.label().to_owned(),
            kind,
            at_ns: at.ns(),
            until_ns: machine.spec.recorded_until().map(|until| until.ns()),
            created_unix_ms: made_unix_ms(machine),
            state: self.rooms.condition(id).state,
            last,
        }
    }
}

fn kind(spec: &MachineSpec) -> BranchKind {
    match spec.lifetime {
        _ if spec.is_recording() => BranchKind::Recording,
        Lifetime::Frozen | Lifetime::Held => BranchKind::Moment,
        Lifetime::Ephemeral | Lifetime::Named => BranchKind::Machine,
    }
}
