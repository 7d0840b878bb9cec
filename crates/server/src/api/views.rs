//! Rows and machines as they are shown to whoever asks.

use std::collections::BTreeMap;

use stackvm_catalog::rows::{MachineRow, SessionRow, ShareRow};
use stackvm_host::machines::{Lifetime, Listed, Source};

use super::types::{BranchOf, MachineView, Past, ShareView};
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
        let mut views = Vec::new();
        for machine in &listed {
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
            kept: spec.lifetime != Lifetime::Ephemeral,
            frozen: spec.lifetime == Lifetime::Frozen,
            created_unix_ms: made_unix_ms(listed),
            notes: if is_owners { row.notes.clone() } else { String::new() },
            tags: if is_owners { row.tags.clone() } else { Vec::new() },
            clipboard: row.clipboard,
            version: row.version,
            role: grant.role,
            rights: grant.role.rights(),
            people: self.rooms.people(&spec.name),
            branch_of: spec
                .branch_of()
                .filter(|_| is_owners)
                .map(|(id, at)| BranchOf { id, at_ns: at.ns() }),
            screen: self.rooms.screen(&spec.name),
        }
    }

    /// A link, with how many are here through it.
    pub(crate) fn share_view(&self, row: &ShareRow) -> ShareView {
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
            here: self.rooms.here(row.id),
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
