//! What goes over the interface about links.

use serde::{Deserialize, Serialize};
use stackvm_catalog::ids::ShareId;
use utoipa::ToSchema;

use crate::rights::Role;

/// A link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ShareView {
    /// Its public half.
    pub id: String,
    /// Which machine it opens.
    pub machine: String,
    /// As what.
    pub role: Role,
    /// What people call it; may be empty.
    pub label: String,
    /// How much of the past it shows.
    pub past: Past,
    /// It asks for a password.
    pub has_password: bool,
    /// When it was made.
    pub created_unix_ms: u64,
    /// When it ends by itself.
    pub expires_unix_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_unix_ms: Option<u64>,
    /// How often it was opened.
    pub opened: u64,
    /// How many are here through it now; of a link whose visitors get machines of their own, how
    /// many there are.
    pub here: u32,
    /// Each visitor gets a machine of their own, within this.
    pub visits: Option<VisitLimitsView>,
}

/// How much of the past a link shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Past {
    /// From the moment of sharing on.
    #[default]
    FromNow,
    /// All of it.
    All,
}

/// A link to make.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewShare {
    /// Viewer, commenter or driver.
    pub role: Role,
    /// What to call it.
    #[serde(default)]
    pub label: String,
    /// Seconds until it ends, at most a year; without, it ends when it is revoked.
    pub expires_in_s: Option<u64>,
    /// 1 to 256 bytes.
    pub password: Option<String>,
    /// How much of the past it shows.
    #[serde(default)]
    pub past: Past,
    /// Each visitor gets a machine of their own, at which they type; only at a moment.
    pub visits: Option<VisitLimitsView>,
}

/// A new link; its secret half is in no later answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedShare {
    /// The link.
    pub share: ShareView,
    /// `…/s/ID#SECRET`, at the address that reaches furthest.
    pub url: String,
    /// `…/embed/ID#SECRET`.
    pub embed_url: String,
    /// What comes after the server's address in `url`, for other addresses of it.
    pub path: String,
}

/// What visitors of a link may take, who get machines of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VisitLimitsView {
    /// Machines at once, 1 to 100; further visitors wait.
    #[schema(minimum = 1, maximum = 100)]
    pub visitors: u32,
    /// How long each has theirs, in minutes, 1 to 1440.
    #[schema(minimum = 1, maximum = 1440)]
    pub minutes: u32,
    /// How much of a core each machine may use, in hundredths, 5 to 100.
    #[schema(minimum = 5, maximum = 100)]
    pub cpu_percent: u8,
    /// How much memory of the host each may have for itself, beside what it shares with the others,
    /// in MiB; one that takes more is ended. Without it, as much as the machine has.
    #[schema(minimum = 16, maximum = 65536)]
    pub memory_mib: Option<u32>,
}

/// A visitor's own machine, or their place among those that wait for one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct VisitView {
    /// The public half of the link that they came by.
    pub link: String,
    /// Their machine; `null` while they wait.
    pub machine: Option<String>,
    /// How many are before them, while they wait.
    pub ahead: u32,
    /// When it goes away.
    pub ends_unix_ms: Option<u64>,
}

impl VisitView {
    /// There is a machine for them, until some time.
    pub(crate) fn begun(link: ShareId, machine: &str, ends_unix_ms: Option<u64>) -> VisitView {
        VisitView {
            link: link.to_string(),
            machine: Some(machine.to_owned()),
            ahead: 0,
            ends_unix_ms,
        }
    }

    /// So many are before them.
    pub(crate) fn waits(link: ShareId, ahead: u32) -> VisitView {
        VisitView { link: link.to_string(), machine: None, ahead, ends_unix_ms: None }
    }
}

/// Wishes for a machine of one's own: the one that one has, or one's turn if one waits.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVisit {
    /// The one that one has goes away, and another begins.
    pub anew: Option<bool>,
}
