//! Names of machines that nobody sees before they are there: visitors', and those that visitors' are
//! forked from.
//!
//! The attacker is a visitor: a name that two of them got at once would be one machine with links for
//! both.

use super::Fleet;
use crate::problem::Problem;

/// A name that nobody else gets until this is dropped; by then there is a machine that has it.
pub(crate) struct GivenName {
    fleet: Fleet,
    name: String,
}

impl GivenName {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for GivenName {
    fn drop(&mut self) {
        self.fleet.lock().given.remove(&self.name);
    }
}

impl Fleet {
    /// A name for such a machine.
    pub(crate) async fn give_name(&self) -> Result<GivenName, Problem> {
        let fleet = self.clone();
        self.blocking(move |machines| {
            let mut inner = fleet.lock();
            // Looked up while nobody else is given one: a name that is not given any more has a
            // folder.
            let is_given =
                |name: &str| inner.given.contains(name) || inner.coming.contains_key(name);
            let name = machines.free_name_beside(&is_given)?;
            inner.given.insert(name.clone());
            drop(inner);
            Ok(GivenName { fleet, name })
        })
        .await
    }
}
