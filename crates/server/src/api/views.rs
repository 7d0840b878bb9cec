//! Rows and machines as they are shown to whoever asks.

use std::collections::{BTreeMap, BTreeSet};

use stackvm_catalog::rows::{MachineRow, SessionRow, ShareRow, VisitLimits};
use stackvm_host::machines::{Lifetime, Listed, Source};

use super::types::{
    BranchOf, HistoryKept, MachineView, Past, ShareView, VisitLimitsView, VisitView,
};
use crate::app::{App, made_unix_ms};
use crate::grant::Grant;
use crate::problem::Problem;
use crate::rights::{Right, Role};
use crate::rooms::Condition;

impl App {
    /// A machine as `grant` lets somebody see it.
    pub(crate) async fn machine_view(
        &self,
        id: &str,
        grant: &Grant,
    ) -> Result<MachineView, Problem> {
        let listed = self.fleet.get(id).await?;
        let row = self.catalog.machine(id).await?;
        Ok(self.view(&listed, &row, grant))
    }

    /// All machines that a session may see, by id.
    pub(crate) async fn machine_views(
        &self,
        session: &SessionRow,
    ) -> Result<Vec<MachineView>, Problem> {
        let listed = self.fleet.list().await?;
        let rows: BTreeMap<_, _> = self.catalog.machines().await?.into_iter().collect();
        let none = MachineRow::default();
        // The owner sees those beside the links that they are of.
        let visits: BTreeSet<String> =
            self.catalog.visits().await?.into_iter().map(|visit| visit.machine).collect();
        let mut views = Vec::new();
        for machine in &listed {
            if session.owner.is_some() && visits.contains(&machine.spec.name) {
                continue;
            }
            if let Ok(grant) =
                self.access.grant(session, &machine.spec.name, made_unix_ms(machine)).await?
            {
                let row = rows.get(&machine.spec.name).unwrap_or(&none);
                views.push(self.view(machine, row, &grant));
            }
        }
        Ok(views)
    }

    fn view(&self, listed: &Listed, row: &MachineRow, grant: &Grant) -> MachineView {
        let spec = &listed.spec;
        let Condition { state, detail, action } = self.rooms.condition(&spec.name);
        // What the owner writes about it is not part of what a link shows.
        let is_owners = grant.may(Right::Share);
        MachineView {
            id: spec.name.clone(),
            name: listed.label().to_owned(),
            image: about(&spec.source, &spec.image_label()),
            memory_bytes: spec.memory_bytes,
            harts: spec.harts,
            state,
            detail,
            action,
            kept: spec.lifetime.is_kept(),
            keep: HistoryKept { seconds: spec.keep.seconds, bytes: spec.keep.bytes },
            frozen: spec.lifetime == Lifetime::Frozen,
            recording: spec.is_recording(),
            created_unix_ms: made_unix_ms(listed),
            notes: if is_owners { row.notes.clone() } else { String::new() },
            tags: if is_owners { row.tags.clone() } else { Vec::new() },
            clipboard: row.clipboard,
            version: row.version,
            role: grant.role,
            rights: grant.role.rights(),
            people: self.rooms.people(&spec.name),
            visit: grant
                .visit_of
                .map(|link| VisitView::begun(link, &spec.name, grant.expires_unix_ms)),
            branch_of: spec
                .branch_of()
                .filter(|_| is_owners)
                .map(|(id, at)| BranchOf { id, at_ns: at.ns() }),
            screen: self.rooms.screen(&spec.name),
        }
    }

    /// A link, with how many are here through it. `visits` are all links of visitors to their own
    /// machines.
    pub(crate) fn share_view(&self, row: &ShareRow, visits: &[ShareRow]) -> ShareView {
        let own = visits.iter().filter(|visit| visit.visit_of == Some(row.id)).count();
        ShareView {
            id: row.id.to_string(),
            machine: row.machine.clone(),
            role: Role::named(&row.role).unwrap_or(Role::Viewer),
            label: row.label.clone(),
            past: if row.past_from_ns.is_some() { Past::FromNow } else { Past::All },
            has_password: row.password.is_some(),
            created_unix_ms: row.created_unix_ms,
            expires_unix_ms: row.expires_unix_ms,
            revoked_unix_ms: row.revoked_unix_ms,
            opened: row.opened,
            here: self.rooms.here(row.id) + u32::try_from(own).unwrap_or(u32::MAX),
            visits: row.visits.map(VisitLimitsView::from),
        }
    }
}

/// What a machine runs, for people.
fn about(source: &Source, label: &str) -> String {
    match source {
        Source::Image { name, .. } if stackvm_images::BUILDABLE.contains(&name.as_str()) => {
            format!("Debian 13 ({name})")
        }
        _ => label.to_owned(),
    }
}

impl From<VisitLimits> for VisitLimitsView {
    fn from(limits: VisitLimits) -> VisitLimitsView {
        let VisitLimits { visitors, minutes, cpu_percent, memory_mib } = limits;
        VisitLimitsView { visitors, minutes, cpu_percent, memory_mib }
    }
}
