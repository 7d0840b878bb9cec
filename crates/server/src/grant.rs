//! What somebody who has come in may do with one machine: made by `access` for each request, and
//! for each WebSocket when it opens.

use stackvm_catalog::ids::{SessionId, ShareId};

use crate::rights::{Right, Role};

/// What one browser may do with one machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// The browser.
    pub(crate) session: SessionId,
    /// The machine, by the name of its folder.
    pub(crate) machine: String,
    /// What its person is called.
    pub(crate) name: String,
    /// Their colour.
    pub(crate) hue: u8,
    /// What they are to the machine.
    pub(crate) role: Role,
    /// The link that gives the role; `None` for the owner.
    pub(crate) share: Option<ShareId>,
    /// The machine's instant (ns) from which on they may see its past.
    pub(crate) past_from_ns: u64,
    /// The wall time of that, in milliseconds since 1970: for what was said.
    pub(crate) past_from_unix_ms: u64,
    /// It is a visitor's own machine, who came by this link.
    pub(crate) visit_of: Option<ShareId>,
    /// When the link ends.
    pub(crate) expires_unix_ms: Option<u64>,
}

impl Grant {
    pub(crate) fn may(&self, right: Right) -> bool {
        self.role.may(right)
    }
}
