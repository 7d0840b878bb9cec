//! The interface to a catalog.

use async_trait::async_trait;
use thiserror::Error;

use crate::ids::{OwnerId, SecretHash, SessionId, ShareId};
use crate::rows::{
    AnswerRow, AuditRow, MachineRow, Publication, RoomRow, SaidRow, SessionRow, ShareRow,
};

/// Why the catalog cannot do something.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The database.
    #[error("the catalog at {place} cannot be used; check the disk and its free space")]
    Database {
        /// Which.
        place: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A newer program wrote it.
    #[error(
        "the catalog at {place} is of version {found}, this program knows {known}; use a newer one"
    )]
    Newer {
        /// Which.
        place: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A row changed meanwhile.
    #[error(
        "it was changed by somebody else meanwhile (version {found} instead of {expected}); load it again"
    )]
    Stale {
        /// The one that was changed.
        expected: u64,
        /// The one that is there.
        found: u64,
    },
    /// Too many.
    #[error("there are {max} {what} already; remove some")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are possible.
        max: u64,
    },
    /// Too long.
    #[error("{what} can have {max} bytes at most; shorten it")]
    TooLong {
        /// What.
        what: &'static str,
        /// How many bytes are possible.
        max: usize,
    },
    /// No random numbers.
    #[error("no random numbers from the system: {0}")]
    Random(#[from] getrandom::Error),
}

/// A server's memory. Every method is one transaction.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// A name of this catalog that no other has: it tells the cookies of several servers apart.
    fn instance(&self) -> &str;
    /// The only owner there is so far.
    fn owner(&self) -> OwnerId;

    /// What people say of a machine.
    async fn machine(&self, machine: &str) -> Result<MachineRow, CatalogError>;
    /// Of all machines that have a row.
    async fn machines(&self) -> Result<Vec<(String, MachineRow)>, CatalogError>;
    /// Changes that; `row.version` is the one that was read. Returns the new version.
    async fn set_machine(&self, machine: &str, row: &MachineRow) -> Result<u64, CatalogError>;
    /// Forgets a machine: its row, links, chat, and what was settled about people.
    async fn forget_machine(&self, machine: &str) -> Result<(), CatalogError>;
    /// What was settled about the people at a machine.
    async fn room(&self, machine: &str) -> Result<RoomRow, CatalogError>;
    /// Settles that; sessions that have ended are left out.
    async fn set_room(&self, machine: &str, room: &RoomRow) -> Result<(), CatalogError>;

    /// Keeps a new link.
    async fn add_share(&self, share: &ShareRow) -> Result<(), CatalogError>;
    /// A link.
    async fn share(&self, id: ShareId) -> Result<Option<ShareRow>, CatalogError>;
    /// A machine's links, the newest first, revoked ones included.
    async fn shares(&self, machine: &str) -> Result<Vec<ShareRow>, CatalogError>;
    /// The links of visitors to their own machines, the oldest first. Revoked ones, too: their
    /// machines are there until the links are forgotten.
    async fn visits(&self) -> Result<Vec<ShareRow>, CatalogError>;
    /// The links to published recordings that were not revoked, the newest first.
    async fn published(&self) -> Result<Vec<ShareRow>, CatalogError>;
    /// Changes how a link's recording is shown, and which role the link gives.
    async fn publish(&self, id: ShareId, role: &str, how: &Publication)
    -> Result<(), CatalogError>;
    /// Revokes a link; false if there is none, or it was.
    async fn revoke_share(&self, id: ShareId, at_unix_ms: u64) -> Result<bool, CatalogError>;
    /// Somebody opened a link.
    async fn count_opening(&self, id: ShareId) -> Result<(), CatalogError>;

    /// Keeps a new session.
    async fn add_session(&self, session: &SessionRow) -> Result<(), CatalogError>;
    /// The session with a secret.
    async fn session(&self, secret: SecretHash) -> Result<Option<SessionRow>, CatalogError>;
    /// Ends a session.
    async fn end_session(&self, id: SessionId) -> Result<(), CatalogError>;
    /// It came; kept to the hour.
    async fn see_session(&self, id: SessionId, at_unix_ms: u64) -> Result<(), CatalogError>;
    /// Makes it the owner's.
    async fn promote_session(&self, id: SessionId, owner: OwnerId) -> Result<(), CatalogError>;
    /// What its person is called from now on.
    async fn name_session(&self, id: SessionId, name: &str, hue: u8) -> Result<(), CatalogError>;
    /// It has opened a link.
    async fn grant(&self, session: SessionId, share: ShareId) -> Result<(), CatalogError>;
    /// It is put out of a link.
    async fn ungrant(&self, session: SessionId, share: ShareId) -> Result<(), CatalogError>;
    /// The links it has opened, revoked and expired ones included.
    async fn grants(&self, session: SessionId) -> Result<Vec<ShareRow>, CatalogError>;

    /// Notes that something was done.
    async fn audit(&self, row: &AuditRow) -> Result<(), CatalogError>;
    /// What was done, the newest first: at most `limit` before `before`.
    async fn audits(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, CatalogError>;

    /// Keeps something said; returns its id.
    async fn say(&self, machine: &str, said: &SaidRow) -> Result<u64, CatalogError>;
    /// What was said lately, in order: at most `limit`, after `after`, at or after `since_unix_ms`.
    async fn said(
        &self,
        machine: &str,
        after: u64,
        since_unix_ms: u64,
        limit: u32,
    ) -> Result<Vec<SaidRow>, CatalogError>;

    /// The answer to a request that came before with this key from this session.
    async fn answer(
        &self,
        session: SessionId,
        key: &str,
    ) -> Result<Option<AnswerRow>, CatalogError>;
    /// Keeps an answer.
    async fn keep_answer(
        &self,
        session: SessionId,
        key: &str,
        answer: &AnswerRow,
        at_unix_ms: u64,
    ) -> Result<(), CatalogError>;
}
