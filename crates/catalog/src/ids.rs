//! Names of rows, and secrets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something that is not an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an id: 16 hexadecimal digits are expected")]
pub struct NotAnId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
        )]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(u64);

        impl $name {
            /// A new one.
            ///
            /// # Errors
            /// The system has no random numbers.
            pub fn random() -> Result<$name, getrandom::Error> {
                Ok($name(getrandom::u64()?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<$name, NotAnId> {
                let is_id = text.len() == 16
                    && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                let number = is_id.then(|| u64::from_str_radix(text, 16).ok()).flatten();
                number.map($name).ok_or(NotAnId)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<$name, NotAnId> {
                text.parse()
            }
        }
    };
}

id! {
    /// A link.
    ShareId
}
id! {
    /// A browser, or another program, that is in.
    SessionId
}
id! {
    /// Whom a row belongs to.
    OwnerId
}

/// 256 random bits that let somebody in: shown once, kept only as their hash.
pub struct Secret([u8; 32]);

/// The hash that is kept of a [`Secret`]. Plain BLAKE3: what it hides cannot be guessed, so it needs
/// no salt and no slowness.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SecretHash(pub [u8; 32]);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> Result<Secret, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Secret(bytes))
    }

    /// In hexadecimal.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.hex())
    }
}

impl SecretHash {
    /// Of a secret as somebody presents it. Looking a hash up needs no constant time: whoever
    /// measures it learns about a hash, and cannot choose it.
    pub fn of(presented: &str) -> SecretHash {
        SecretHash(*blake3::hash(presented.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
