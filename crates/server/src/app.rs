//! What every handler reaches: the parts of a running server, and the questions that need several
//! of them.

use std::sync::Arc;
use std::time::Duration;

use stackvm_catalog::Catalog;
use stackvm_catalog::rows::{AuditRow, SessionRow};
use stackvm_host::machines::Listed;
use tokio::sync::{Notify, broadcast};

use crate::access::Access;
use crate::clock::unix_ms;
use crate::grant::Grant;
use crate::idempotency::Answers;
use crate::limits::Limits;
use crate::machines::Fleet;
use crate::problem::Problem;
use crate::reach::Reach;
use crate::replays::Replays;
use crate::rights::Right;
use crate::rooms::Rooms;
use crate::searches::Searches;
use crate::server::LocalNetwork;
use crate::tasks::Tasks;
use crate::visits::Visits;

/// The parts of a running server.
pub(crate) struct App {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) access: Access,
    pub(crate) answers: Answers,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) fleet: Fleet,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) visits: Visits,
    pub(crate) replays: Replays,
    pub(crate) searches: Searches,
    pub(crate) limits: Arc<Limits>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) network: LocalNetwork,
    /// Machines of which something changed that rooms know nothing of: notes, tags, their end.
    pub(crate) changed: broadcast::Sender<String>,
    /// The owner wants the server to end.
    pub(crate) down: Notify,
    /// Labs of this server run without a sandbox.
    pub(crate) unsandboxed: bool,
}

impl App {
    /// What a session is to a machine. To whoever is nothing to it, it is not there.
    pub(crate) async fn see(&self, session: &SessionRow, machine: &str) -> Result<Grant, Problem> {
        let none = || Problem::not_found("machine of this name");
        let made = match self.fleet.get(machine).await {
            Ok(listed) => made_unix_ms(&listed),
            Err(problem) if problem.is_about_input() => return Err(none()),
            Err(problem) => return Err(problem),
        };
        self.access.grant(session, machine, made).await?.map_err(|_| none())
    }

    /// The same, if it gives a right.
    pub(crate) async fn allow(
        &self,
        session: &SessionRow,
        machine: &str,
        right: Right,
    ) -> Result<Grant, Problem> {
        let grant = self.see(session, machine).await?;
        if grant.may(right) { Ok(grant) } else { Err(Problem::no_right(right)) }
    }

    /// Notes that somebody did something.
    pub(crate) async fn audit(
        &self,
        session: &SessionRow,
        action: &str,
        subject: &str,
        detail: impl Into<String>,
    ) -> Result<(), Problem> {
        let actor = match session.owner {
            Some(_) => "owner".to_owned(),
            None => format!("guest {} ({})", session.id, session.name),
        };
        let row = AuditRow {
            id: 0,
            at_unix_ms: unix_ms(),
            actor,
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: detail.into(),
        };
        Ok(self.catalog.audit(&row).await?)
    }

    /// Tells those who look at all machines that one has changed, has come or is gone.
    pub(crate) fn tell_changed(&self, machine: &str) {
        self.rooms.look();
        // Nobody may be listening.
        let _ = self.changed.send(machine.to_owned());
    }

    /// A link that makes one browser the owner's, once.
    pub(crate) fn owner_link(
        &self,
        base: &str,
        life: Duration,
    ) -> Result<String, getrandom::Error> {
        Ok(format!("{base}/#{}", self.access.mint(life)?))
    }
}

/// When a machine was made.
pub(crate) fn made_unix_ms(machine: &Listed) -> u64 {
    machine.spec.created_unix_s.saturating_mul(1000)
}
