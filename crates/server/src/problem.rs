//! Answers that say no, as `application/problem+json`: one list of kinds, and how the errors of the
//! crates below become one of them. There is no kind for "something went wrong in here".

use std::error::Error;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use stackvm_catalog::CatalogError;
use stackvm_host::client::ClientError;
use stackvm_host::machines::MachinesError;

use crate::api::types;
use crate::rights::Right;
use crate::rooms::{Fault, RoomError};

/// What kind of no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    BadRequest,
    BadField,
    TooLarge,
    NotJson,
    SignedOut,
    NoRight,
    OtherPage,
    NotFound,
    NoSuchLink,
    WrongMethod,
    Misdirected,
    Conflict,
    Stale,
    PasswordNeeded,
    WrongPassword,
    Revoked,
    Expired,
    KeyReused,
    TooOften,
    Unavailable,
}

impl Kind {
    /// Status, name for programs, title.
    fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Kind::BadRequest => (400, "bad_request", "The request is not one"),
            Kind::BadField => (422, "bad_field", "A field cannot be that"),
            Kind::TooLarge => (413, "too_large", "The request is too large"),
            Kind::NotJson => (415, "not_json", "The body is not JSON"),
            Kind::SignedOut => (401, "signed_out", "This browser is not signed in"),
            Kind::NoRight => (403, "no_right", "That is not yours to do"),
            Kind::OtherPage => (403, "other_page", "This request is another page's"),
            Kind::NotFound => (404, "not_found", "There is no such thing"),
            Kind::NoSuchLink => (404, "no_such_link", "There is no such link"),
            Kind::WrongMethod => (405, "wrong_method", "That cannot be done here"),
            Kind::Misdirected => (421, "misdirected", "This server has other names"),
            Kind::Conflict => (409, "conflict", "That is not possible now"),
            Kind::Stale => (412, "stale", "It has changed meanwhile"),
            Kind::PasswordNeeded => (401, "password_needed", "The link asks for a password"),
            Kind::WrongPassword => (403, "wrong_password", "That is not the password"),
            Kind::Revoked => (410, "revoked", "The link was revoked"),
            Kind::Expired => (410, "expired", "The link has expired"),
            Kind::KeyReused => (422, "key_reused", "The key belongs to another request"),
            Kind::TooOften => (429, "too_often", "Too many requests"),
            Kind::Unavailable => (503, "unavailable", "The server cannot do that now"),
        }
    }
}

/// A no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    action: String,
    field: Option<String>,
    retry_after_s: Option<u64>,
}

impl Problem {
    /// What happened to what, and what to do.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>, action: impl Into<String>) -> Problem {
        let (detail, action) = (detail.into(), action.into());
        let retry_after_s = (kind == Kind::Unavailable).then_some(5);
        Problem { kind, detail, action, field: None, retry_after_s }
    }

    /// A field that is wrong.
    pub(crate) fn field(field: &str, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(Kind::BadField, detail, format!("Change {field:?}."));
        Problem { field: Some(field.to_owned()), ..problem }
    }

    /// About this field.
    pub(crate) fn about(self, field: &str) -> Problem {
        Problem { field: Some(field.to_owned()), ..self }
    }

    pub(crate) fn signed_out() -> Problem {
        let action = "Run `stackvm open`, or open the link that you were given.";
        Problem::new(Kind::SignedOut, "nobody is known by what this request carries", action)
    }

    pub(crate) fn no_right(right: Right) -> Problem {
        let right = serde_json::to_string(&right).unwrap_or_default();
        let detail = format!("this needs the right {right}");
        Problem::new(Kind::NoRight, detail, "Ask the machine's owner for another link.")
    }

    pub(crate) fn owner_only() -> Problem {
        let action = "Run `stackvm open` on the computer that the server runs on.";
        Problem::new(Kind::NoRight, "this is the server's owner's", action)
    }

    /// Also for what is there and not for whoever asks.
    pub(crate) fn not_found(what: &str) -> Problem {
        Problem::new(Kind::NotFound, format!("there is no {what}"), "Load the list again.")
    }

    pub(crate) fn too_often(wait: Duration) -> Problem {
        let seconds = wait.as_secs() + 1;
        let problem =
            Problem::new(Kind::TooOften, "too much was asked from here", "Wait a little.");
        Problem { retry_after_s: Some(seconds), ..problem }
    }

    pub(crate) fn unavailable(error: &dyn Error) -> Problem {
        let Fault { what, action } = fault(error);
        Problem::new(Kind::Unavailable, what, action)
    }

    /// Whether asking for something else would help, and waiting would not.
    pub(crate) fn is_about_input(&self) -> bool {
        !matches!(self.kind, Kind::Unavailable | Kind::TooOften)
    }

    /// As it is sent.
    pub(crate) fn body(&self) -> types::Problem {
        let (status, kind, title) = self.kind.facts();
        types::Problem {
            kind: kind.to_owned(),
            title: title.to_owned(),
            status,
            detail: self.detail.clone(),
            action: self.action.clone(),
            field: self.field.clone(),
        }
    }

    /// As something that went wrong in a task.
    pub(crate) fn into_fault(self) -> Fault {
        Fault { what: self.detail, action: self.action }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.body();
        let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Problem {
        match error {
            CatalogError::Stale { .. } => {
                Problem::new(Kind::Stale, error.to_string(), "Load it again, then change it.")
            }
            CatalogError::TooMany { .. } => {
                let Fault { what, action } = fault(&error);
                Problem::new(Kind::Conflict, what, action)
            }
            CatalogError::TooLong { .. } => {
                Problem::new(Kind::BadField, error.to_string(), "Shorten it.")
            }
            CatalogError::Database { .. }
            | CatalogError::Newer { .. }
            | CatalogError::Random(_) => Problem::unavailable(&error),
        }
    }
}

impl From<MachinesError> for Problem {
    fn from(error: MachinesError) -> Problem {
        let Fault { what, action } = fault(&error);
        match error {
            MachinesError::Unknown { .. } => Problem::new(Kind::NotFound, what, action),
            MachinesError::BadName(_) => Problem::new(Kind::BadField, what, action).about("name"),
            MachinesError::Import(_) => Problem::new(Kind::BadField, what, action),
            MachinesError::Exists(_) => Problem::new(Kind::Conflict, what, action).about("name"),
            MachinesError::Running(_)
            | MachinesError::NotRunning(_)
            | MachinesError::NoPast(_)
            | MachinesError::Unwanted(_)
            | MachinesError::Frozen(_)
            | MachinesError::LongFilm { .. }
            | MachinesError::Never { .. }
            | MachinesError::Damaged { .. }
            | MachinesError::Client(ClientError::Refused(_)) => {
                Problem::new(Kind::Conflict, what, action)
            }
            // Slots, disk, memory, or a lab that does not answer: later may be better.
            _ => Problem::new(Kind::Unavailable, what, action),
        }
    }
}

impl From<RoomError> for Problem {
    fn from(error: RoomError) -> Problem {
        match error {
            RoomError::Off => {
                Problem::new(Kind::Conflict, "the machine is not running", "Start it first.")
            }
            RoomError::Refused(words) => {
                let Fault { what, action } = split(&words);
                Problem::new(Kind::Conflict, what, action)
            }
            RoomError::Lost(words) => {
                let Fault { what, action } = split(&words);
                Problem::new(Kind::Unavailable, what, action)
            }
        }
    }
}

impl From<getrandom::Error> for Problem {
    fn from(error: getrandom::Error) -> Problem {
        Problem::unavailable(&CatalogError::Random(error))
    }
}

/// An error with its causes, as something that happened and something to do.
pub(crate) fn fault(error: &dyn Error) -> Fault {
    split(&chain(error))
}

/// Errors of the libraries below say what happened and then, after a semicolon, what to do.
fn split(text: &str) -> Fault {
    match text.rsplit_once("; ") {
        Some((what, action)) => Fault { what: what.to_owned(), action: sentence(action) },
        None => Fault { what: text.to_owned(), action: "Cure that, then try again.".to_owned() },
    }
}

/// An error with its causes, in a line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn faults_say_what_happened_and_what_to_do() {
        let check = |text: &str, what: &str, action: &str| {
            let fault = fault(&io::Error::other(text));
            assert_eq!((fault.what.as_str(), fault.action.as_str()), (what, action));
        };
        check("no apt here; import an image", "no apt here", "Import an image.");
        check("a; b; do `c`.", "a; b", "Do `c`.");
        check("the disk is full", "the disk is full", "Cure that, then try again.");
    }

    #[test]
    fn causes_are_said_once() {
        let error = MachinesError::Io {
            what: "read",
            path: "/x".into(),
            error: io::Error::other("no such file"),
        };
        assert_eq!(chain(&error), "could not read /x: no such file");
    }

    #[test]
    fn what_may_pass_says_when_to_come_again() {
        let check = |problem: Problem, status: u16, retry: bool| {
            let response = problem.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), retry);
            let kind = response.headers().get(header::CONTENT_TYPE).unwrap();
            assert_eq!(kind, "application/problem+json");
        };
        check(MachinesError::TooMany.into(), 503, true);
        check(MachinesError::Exists("a".into()).into(), 409, false);
        let refused = ClientError::Refused("it waits for space on the disk".into());
        check(MachinesError::Client(refused).into(), 409, false);
        check(RoomError::Lost("no answer".into()).into(), 503, true);
        check(RoomError::Off.into(), 409, false);
        check(Problem::too_often(Duration::from_millis(1)), 429, true);
        check(CatalogError::Stale { expected: 1, found: 2 }.into(), 412, false);
    }
}
