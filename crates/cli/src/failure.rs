//! How errors reach people: what happened, to what, and what to do about it.

use std::fmt;

use crate::work::Interrupted;

/// An error with a way out. The message says what happened to what; the help is an instruction.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    help: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error with a way out.
pub(crate) fn failure(message: impl Into<String>, help: impl Into<String>) -> anyhow::Error {
    Failure { message: message.into(), help: help.into() }.into()
}

/// The whole error as text: message, causes, help, each on a line of its own.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Libraries that show their source in their own message would say it twice.
        if !last.contains(&cause) {
            text += &format!("  because: {cause}\n");
        }
        last = cause;
    }
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            text += &format!("  help: {}\n", failure.help);
        }
    }
    text
}

/// The exit code that tells scripts about it.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Interrupted>() {
        Some(Interrupted(signal)) => signal.exit_code(),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn all_parts_are_shown_once() {
        let error = Err::<(), _>(failure("port 80 is taken", "use --port 8080"))
            .context("could not serve the pages")
            .unwrap_err();
        assert_eq!(
            describe(&error),
            "error: could not serve the pages\n  because: port 80 is taken\n  \
             help: use --port 8080\n"
        );
        let twice = anyhow::Error::msg("disk is full").context("no image: disk is full");
        assert_eq!(describe(&twice), "error: no image: disk is full\n");
    }
}
