//! How commands answer: in words for people, as ids, or as JSON. One definition of the options and
//! of what they print; what the answer is belongs to each command.

use clap::Args;
use serde_json::Value;

/// `--json` and `-q`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct FormatArgs {
    /// As JSON
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Only ids, one in a line
    #[arg(short = 'q', long)]
    quiet: bool,
}

/// `--detach`, and how that answers: who joins a machine has its terminal instead of an answer.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DetachArgs {
    /// Let it run without joining it
    #[arg(long)]
    detach: bool,
    /// With --detach: as JSON
    #[arg(long, requires = "detach", conflicts_with = "quiet")]
    json: bool,
    /// With --detach: only its id
    #[arg(short = 'q', long, requires = "detach")]
    quiet: bool,
}

/// Whom an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// People.
    Words,
    /// Scripts: ids, one in a line.
    Ids,
    /// Programs.
    Json,
}

impl FormatArgs {
    /// What was chosen.
    pub(crate) fn format(self) -> Format {
        Format::chosen(self.json, self.quiet)
    }
}

impl DetachArgs {
    /// What was chosen; `None` joins the machine.
    pub(crate) fn format(self) -> Option<Format> {
        self.detach.then(|| Format::chosen(self.json, self.quiet))
    }
}

impl Format {
    fn chosen(json: bool, quiet: bool) -> Format {
        match (json, quiet) {
            (true, _) => Format::Json,
            (_, true) => Format::Ids,
            _ => Format::Words,
        }
    }

    /// Prints an answer on standard output: `words` does it for people.
    pub(crate) fn print<'a>(
        self,
        ids: impl IntoIterator<Item = &'a str>,
        json: &Value,
        words: impl FnOnce(),
    ) {
        match self {
            Format::Words => words(),
            Format::Ids => ids.into_iter().for_each(|id| println!("{id}")),
            Format::Json => println!("{json:#}"),
        }
    }
}
