//! What handlers take out of requests, checked, so that what is wrong is said in one way.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use stackvm_catalog::rows::SessionRow;

use super::types::Page;
use crate::app::App;
use crate::guard::Caller;
use crate::problem::{Kind, Problem};

/// Most items of a list in one answer, and how many where nobody says.
const PAGE_MAX: usize = 500;
const PAGE_ITEMS: usize = 100;
/// Longest value of a parameter in an address, in bytes.
const PARAMETER_BYTES_MAX: usize = 256;

/// Somebody who is in.
pub(crate) struct Visitor(pub(crate) SessionRow);

/// The owner.
pub(crate) struct Owner(pub(crate) SessionRow);

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// What the variable parts of an address say.
pub(crate) struct Place<T>(pub(crate) T);

/// A request to become a WebSocket.
pub(crate) struct Upgrade(pub(crate) WebSocketUpgrade);

/// What comes after the question mark.
pub(crate) struct Params(BTreeMap<String, String>);

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Visitor, Problem> {
        let session = app.access.visitor(&parts.headers).await?.ok_or_else(Problem::signed_out)?;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            app.limits.change(session.id)?;
        }
        Ok(Visitor(session))
    }
}

impl FromRequestParts<Arc<App>> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Owner, Problem> {
        let Visitor(session) = Visitor::from_request_parts(parts, app).await?;
        if session.owner.is_some() { Ok(Owner(session)) } else { Err(Problem::owner_only()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let caller = parts.extensions.get::<Caller>().copied();
        // The guard puts it there.
        caller.ok_or_else(|| Problem::new(Kind::BadRequest, "nobody asks this", "Ask again."))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Upgrade, Problem> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        upgrade.map(Upgrade).map_err(|rejection| {
            let action = "Open this address as a WebSocket.";
            Problem::new(Kind::BadRequest, rejection.body_text(), action)
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Place<T>, Problem> {
        let place = Path::from_request_parts(parts, state).await;
        place.map(|Path(place)| Place(place)).map_err(|_| Problem::not_found("address like this"))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            let detail = format!("the body is said to be {kind:?}");
            return Err(Problem::new(Kind::NotJson, detail, "Send application/json."));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let kind = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
                _ => Kind::BadRequest,
            };
            Problem::new(kind, rejection.body_text(), "Send less, and all of it.")
        })?;
        parse(&bytes).map(Body)
    }
}

/// A body, or which field of it is wrong.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(Kind::BadRequest, format!("the body is no JSON: {error}"), "Send JSON.")
    })?;
    let error = match T::deserialize(&value) {
        Ok(body) => return Ok(body),
        Err(error) => error.to_string(),
    };
    let named = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|start| error.strip_prefix(start)?.split('`').next().map(str::to_owned));
    match named.or_else(|| culprit::<T>(&value)) {
        Some(field) => Err(Problem::field(&field, error)),
        None => Err(Problem::new(Kind::BadField, error, "See /api/openapi.json.")),
    }
}

/// The field without which the error is another one.
fn culprit<T: DeserializeOwned>(value: &Value) -> Option<String> {
    let fields = value.as_object()?;
    let is_it = |field: &&String| {
        let mut rest = fields.clone();
        rest.remove(*field);
        match T::deserialize(&Value::Object(rest)) {
            Ok(_) => true,
            Err(error) => error.to_string().starts_with(&format!("missing field `{field}`")),
        }
    };
    fields.keys().find(is_it).cloned()
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = pairs.map_err(|error| {
            Problem::new(Kind::BadRequest, error.to_string(), "Write name=value&name=value.")
        })?;
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            if value.len() > PARAMETER_BYTES_MAX || value.contains('\0') {
                let detail = format!("it has more than {PARAMETER_BYTES_MAX} bytes, or a zero");
                return Err(Problem::field(&name, detail));
            }
            if params.contains_key(&name) {
                return Err(Problem::field(&name, "it is there twice"));
            }
            params.insert(name, value);
        }
        Ok(Params(params))
    }
}

impl Params {
    /// Refuses all but these: a misspelt one is not ignored.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Problem::field(name, "there is no such parameter here")),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// One of `true` and `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::field(name, "it is true or false")),
        }
    }

    /// How many items are asked for.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.text("limit") else { return Ok(PAGE_ITEMS) };
        let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
        limit.ok_or_else(|| Problem::field("limit", format!("it is a number from 1 to {PAGE_MAX}")))
    }

    /// The part of a list that is asked for: `cursor` is the name of the last item of the part
    /// before. One that is gone meanwhile is an error, not the beginning again.
    pub(crate) fn page<T>(
        &self,
        items: Vec<T>,
        name: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Problem> {
        let limit = self.limit()?;
        let start = match self.text("cursor") {
            None => 0,
            Some(cursor) => {
                let last = items.iter().position(|item| name(item) == cursor);
                last.ok_or_else(|| Problem::field("cursor", "the list has changed"))? + 1
            }
        };
        let has_more = items.len() > start + limit;
        let items: Vec<T> = items.into_iter().skip(start).take(limit).collect();
        let next = items.last().filter(|_| has_more).map(name);
        Ok(Page { items, next })
    }
}

/// Text of people: so many bytes, no control characters (a name ends up on terminals and in logs).
pub(crate) fn check_text(field: &str, text: &str, max: usize) -> Result<(), Problem> {
    let bad = |detail: String| Err(Problem::field(field, detail));
    if text.len() > max {
        return bad(format!("it has {} bytes, {max} are possible", text.len()));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return bad("it has control characters".to_owned());
    }
    Ok(())
}

/// The same on one line, on which there is something.
pub(crate) fn check_line(field: &str, text: &str, max: usize) -> Result<(), Problem> {
    check_text(field, text, max)?;
    match text.trim().is_empty() || text.contains('\n') {
        true => Err(Problem::field(field, "it is a text on one line")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{NewMachine, NewShare, OpenSession, PowerRequest};

    #[test]
    fn a_wrong_body_names_its_field() {
        fn check<T: DeserializeOwned>(body: &str, status: u16, field: Option<&str>) {
            let problem = parse::<T>(body.as_bytes()).err().expect(body).body();
            assert_eq!((problem.status, problem.field.as_deref()), (status, field), "{body}");
        }
        check::<NewMachine>("", 400, None);
        check::<NewMachine>("{", 400, None);
        check::<NewMachine>("[]", 422, None);
        check::<NewMachine>("7", 422, None);
        check::<NewMachine>("{}", 422, Some("image"));
        check::<NewMachine>(r#"{"image":7}"#, 422, Some("image"));
        check::<NewMachine>(r#"{"image":"a","memory_mib":-1}"#, 422, Some("memory_mib"));
        check::<NewMachine>(r#"{"image":"a","memory_mib":1e99}"#, 422, Some("memory_mib"));
        check::<NewMachine>(r#"{"image":"a","nmae":"b"}"#, 422, Some("nmae"));
        check::<NewShare>(r#"{"role":"emperor"}"#, 422, Some("role"));
        check::<NewShare>(r#"{"role":"viewer","past":"some"}"#, 422, Some("past"));
        check::<PowerRequest>(r#"{"action":"explode"}"#, 422, Some("action"));
        check::<OpenSession>(r#"{"token":7}"#, 422, Some("token"));
        check::<OpenSession>(r#"{"share":"a","bearer":"yes"}"#, 422, Some("bearer"));
        let deep = "[".repeat(100_000);
        check::<NewMachine>(&deep, 400, None);
    }

    #[test]
    fn lists_come_in_parts() {
        let params = |pairs: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Params(pairs.iter().map(pair).collect())
        };
        let check = |pairs: &[(&str, &str)], expected: Result<(&[u8], Option<&str>), &str>| {
            let page = params(pairs).page(vec![1u8, 2, 3], u8::to_string);
            match (page, expected) {
                (Ok(page), Ok((items, next))) => {
                    assert_eq!((page.items.as_slice(), page.next.as_deref()), (items, next));
                }
                (Err(problem), Err(field)) => {
                    assert_eq!(problem.body().field.as_deref(), Some(field));
                }
                (page, expected) => panic!("{page:?} {expected:?}"),
            }
        };
        check(&[], Ok((&[1, 2, 3], None)));
        check(&[("limit", "2")], Ok((&[1, 2], Some("2"))));
        check(&[("limit", "2"), ("cursor", "2")], Ok((&[3], None)));
        check(&[("limit", "3")], Ok((&[1, 2, 3], None)));
        check(&[("cursor", "3")], Ok((&[], None)));
        check(&[("cursor", "9")], Err("cursor"));
        for bad in ["0", "501", "-1", "x", ""] {
            check(&[("limit", bad)], Err("limit"));
        }
        assert!(params(&[("a", "true")]).flag("a").unwrap());
        assert!(params(&[("a", "1")]).flag("a").is_err());
        assert!(params(&[("a", "1")]).only(&["b"]).is_err());
    }

    #[test]
    fn texts_are_plain_and_short() {
        let check = |text: &str, good: bool| {
            assert_eq!(check_text("t", text, 5).is_ok(), good, "{text:?}");
        };
        check("", true);
        check("a\nb ü", false);
        check("a\nbü", true);
        check("a\x1b[", false);
        check("123456", false);
    }
}
