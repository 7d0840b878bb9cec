//! Who may do what: the one table of roles and rights.
//!
//! Owns the table and nothing else: who has which role on a machine is `access`'s.

use serde::{Deserialize, Serialize};

/// What somebody is to a machine.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks, and says something about it.
    Commenter,
    /// Types.
    Driver,
    /// Whose machine it is.
    Owner,
}

/// Something that can be done with a machine.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Its terminals, as they are now, and who is there.
    See,
    /// What was on them before (a link shows it from the moment of sharing on, unless it says
    /// otherwise).
    SeePast,
    /// Chat, and remarks about instants.
    Comment,
    /// Keys into its terminals.
    Type,
    /// Start, pause, reset, switch off.
    Power,
    /// Files into it and out of it.
    Files,
    /// A twin of it.
    Fork,
    /// Its recording as a file.
    Download,
    /// Links to it, its name, its end, the keyboard and the door.
    Share,
}

impl Role {
    /// All, the one with the fewest rights first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Commenter, Role::Driver, Role::Owner];

    /// Those a link can give.
    pub const SHARED: [Role; 3] = [Role::Viewer, Role::Commenter, Role::Driver];

    /// As it is written in JSON and in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Commenter => "commenter",
            Role::Driver => "driver",
            Role::Owner => "owner",
        }
    }

    /// The role that is written like this.
    pub fn named(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether this role may do that.
    pub fn may(self, right: Right) -> bool {
        use Right::*;
        match self {
            Role::Viewer => matches!(right, See | SeePast),
            Role::Commenter => matches!(right, See | SeePast | Comment),
            Role::Driver => matches!(right, See | SeePast | Comment | Type | Files),
            Role::Owner => true,
        }
    }

    /// Everything this role may do, in the order of [`Right::ALL`].
    pub fn rights(self) -> Vec<Right> {
        Right::ALL.into_iter().filter(|right| self.may(*right)).collect()
    }
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 9] = [
        Right::See,
        Right::SeePast,
        Right::Comment,
        Right::Type,
        Right::Power,
        Right::Files,
        Right::Fork,
        Right::Download,
        Right::Share,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell, written out: a change of the table is a change here.
    #[test]
    fn the_table() {
        //            see past comm type powr file fork down shar
        let table = [
            (Role::Viewer, [1, 1, 0, 0, 0, 0, 0, 0, 0]),
            (Role::Commenter, [1, 1, 1, 0, 0, 0, 0, 0, 0]),
            (Role::Driver, [1, 1, 1, 1, 0, 1, 0, 0, 0]),
            (Role::Owner, [1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ];
        for (role, row) in table {
            for (right, expected) in Right::ALL.into_iter().zip(row) {
                assert_eq!(role.may(right), expected == 1, "{role:?} {right:?}");
            }
        }
    }

    #[test]
    fn names_are_those_of_the_interface() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
            assert_eq!(Role::named(role.name()), Some(role));
        }
        assert_eq!(Role::named("Viewer"), None);
    }

    #[test]
    fn a_higher_role_may_all_that_a_lower_one_may() {
        for (lower, higher) in Role::ALL.iter().zip(&Role::ALL[1..]) {
            assert!(lower < higher);
            assert!(lower.rights().iter().all(|right| higher.may(*right)));
        }
    }
}
