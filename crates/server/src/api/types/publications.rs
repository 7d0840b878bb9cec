//! What goes over the interface about published recordings, and about what goes out with one.

use serde::{Deserialize, Serialize};
use stackvm_catalog::rows::{Publication, ShareRow};
use stackvm_host::machines::{Found, Outgoing};
use utoipa::ToSchema;

use crate::rights::Role;

/// Who finds a published recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Whoever has its address.
    Unlisted,
    /// Everybody: it is in the list.
    Public,
}

/// How a recording is to be published.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPublication {
    /// What it is called, 1 to 200 bytes.
    pub title: String,
    /// What it shows, at most 4000 bytes.
    #[serde(default)]
    pub description: String,
    /// At most 16 words of at most 32 bytes.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Who finds it.
    pub visibility: Visibility,
    /// What whoever opens it may do: look, say something about it, go on from it in a machine of
    /// their own.
    pub role: Role,
}

/// A published recording.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct PublicationView {
    /// Its name in addresses, `/r/ID`.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// What it shows.
    pub description: String,
    /// Words.
    pub tags: Vec<String>,
    /// Who finds it.
    pub visibility: Visibility,
    /// What whoever opens it may do.
    pub role: Role,
    /// When it was published first.
    pub created_unix_ms: u64,
    /// How often it was opened.
    pub opened: u64,
    /// Its address, which reaches furthest.
    pub url: String,
    /// Of a picture of it that moves (SVG).
    pub poster_url: String,
    /// Of it as a frame for other pages.
    pub embed_url: String,
    /// For a README: the picture, with a link to it, in Markdown.
    pub markdown: String,
}

/// Whether and how a recording is published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Published {
    /// How; `null` while it is not.
    pub publication: Option<PublicationView>,
}

/// What goes out with a recording: whoever has it has all of this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct OutgoingView {
    /// Bytes that people typed.
    pub typed_bytes: u64,
    /// Who did.
    pub typists: Vec<String>,
    /// Different bytes of memory in its keyframes.
    pub memory_bytes: u64,
    /// Different bytes in its keyframes that were written to disks.
    pub disk_bytes: u64,
    /// How often the text that was asked for is in what people typed, in lines that were shown, in
    /// memory and in what was written to disks; `null` if none was.
    pub found: Option<FoundIn>,
}

/// How often a text is where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct FoundIn {
    /// In what people typed.
    pub typed: u64,
    /// In lines that were shown.
    pub shown: u64,
    /// In memory.
    pub memory: u64,
    /// In what was written to disks.
    pub disk: u64,
}

impl PublicationView {
    /// A published recording as it is reached at `base`; `None` if the link is not one.
    pub(crate) fn of(row: &ShareRow, base: &str) -> Option<PublicationView> {
        let how = row.published.as_ref()?;
        let Publication { title, description, tags, listed } = how.clone();
        let url = format!("{base}/r/{}", row.id);
        let poster_url = format!("{url}/poster.svg");
        let markdown = format!("[![{}]({poster_url})]({url})", markdown_text(&title));
        Some(PublicationView {
            id: row.id.to_string(),
            title,
            description,
            tags,
            visibility: if listed { Visibility::Public } else { Visibility::Unlisted },
            role: Role::named(&row.role).unwrap_or(Role::Viewer),
            created_unix_ms: row.created_unix_ms,
            opened: row.opened,
            embed_url: format!("{base}/embed/{}", row.id),
            url,
            poster_url,
            markdown,
        })
    }
}

/// A title as text in Markdown: nothing of it is markup.
fn markdown_text(title: &str) -> String {
    let mut text = String::new();
    for c in title.chars() {
        if c.is_ascii_punctuation() {
            text.push('\\');
        }
        text.push(if c == '\n' { ' ' } else { c });
    }
    text
}

impl From<Outgoing> for OutgoingView {
    fn from(outgoing: Outgoing) -> OutgoingView {
        let Outgoing { typed_bytes, typists, memory_bytes, disk_bytes, found } = outgoing;
        let found = found.map(|Found { typed, shown, memory, disk }| FoundIn {
            typed,
            shown,
            memory,
            disk,
        });
        OutgoingView { typed_bytes, typists, memory_bytes, disk_bytes, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_no_markup() {
        for (title, expected) in
            [("A lesson", "A lesson"), ("![x](y)", "\\!\\[x\\]\\(y\\)"), ("a\n# b", "a \\# b")]
        {
            assert_eq!(markdown_text(title), expected);
        }
    }
}
