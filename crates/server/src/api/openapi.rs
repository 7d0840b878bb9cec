//! The description of the interface, for programs that want to use it.

use axum::Json;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::types::{FileFormat, HomeMessage, Problem};
use super::{
    audit, branches, forks, home, images, live, machines, markers, past, power, publications,
    reach, recordings, report, session, shares, tasks,
};
use crate::protocol::{ClientMessage, ServerMessage};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "StackVM",
        description = "Machines, the links to them, and what happens to both. A browser is known by \
            its cookie, a program by a bearer. Lists come in parts; `POST` takes an \
            `Idempotency-Key`; what goes wrong is `application/problem+json`.",
    ),
    paths(
        super::healthz, session::show, session::open, session::change, session::end,
        machines::list, machines::create, machines::show, machines::change, machines::delete,
        machines::restore, power::act, power::info, markers::list, markers::create,
        markers::branch, past::timeline, past::picture, past::search, past::events, past::text,
        past::line, past::state, past::branch, past::freeze, branches::list, forks::create,
        recordings::create, recordings::download, recordings::upload, publications::list,
        publications::about, publications::show, publications::publish, publications::withdraw,
        publications::outgoing, report::create, shares::list, shares::create, shares::revoke,
        shares::visit, tasks::list, tasks::show, tasks::cancel, images::list, reach::show,
        reach::open, reach::close, reach::link, reach::down, audit::list, document, live::serve,
        home::serve,
    ),
    // What is only a parameter or only on a socket is not found by itself.
    components(schemas(Problem, FileFormat, HomeMessage, ClientMessage, ServerMessage)),
    modifiers(&Common),
    security(("cookie" = []), ("bearer" = [])),
)]
struct Document;

/// What all operations have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let problem = ContentBuilder::new()
            .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
            .build();
        let response = |text: &str| {
            let response = ResponseBuilder::new().description(text);
            RefOr::T(response.content("application/problem+json", problem.clone()).build())
        };
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                responses.insert("4XX".to_owned(), response("The request is wrong, or not yours."));
                responses.insert("503".to_owned(), response("Not now; see `Retry-After`."));
            }
        }
        let components = document.components.get_or_insert_default();
        let cookie = ApiKey::Cookie(ApiKeyValue::new("stackvm_INSTANCE"));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Every string that stands alone in an `enum` or `const`, and every reference, in a schema.
    fn walk(value: &Value, words: &mut BTreeSet<String>, references: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("enum", Value::Array(all)) if all.len() == 1 => {
                            words.extend(all[0].as_str().map(str::to_owned));
                        }
                        ("const", Value::String(word)) => drop(words.insert(word.clone())),
                        ("$ref", Value::String(to)) => drop(references.insert(to.clone())),
                        _ => walk(value, words, references),
                    }
                }
            }
            Value::Array(all) => all.iter().for_each(|value| walk(value, words, references)),
            _ => {}
        }
    }

    #[test]
    fn every_message_of_the_sockets_is_described() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let fixture: Value =
            serde_json::from_str(include_str!("../../../../web/tests/protocol.json")).unwrap();
        let check = |schema: &str, side: &str| {
            let (mut words, mut references) = (BTreeSet::new(), BTreeSet::new());
            walk(&document["components"]["schemas"][schema], &mut words, &mut references);
            for message in fixture[side].as_array().unwrap() {
                let kind = message["type"].as_str().unwrap();
                assert!(words.contains(kind), "{schema} does not describe {kind:?}: {words:?}");
            }
        };
        check("ServerMessage", "server");
        check("ClientMessage", "client");
        for path in ["/api/live", "/api/machines/{id}/live"] {
            let socket = &document["paths"][path]["get"];
            assert!(socket["responses"]["101"].is_object(), "{path}");
            assert!(socket["description"].as_str().unwrap().contains("Upgrade"), "{path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let (mut words, mut references) = (BTreeSet::new(), BTreeSet::new());
        walk(&document, &mut words, &mut references);
        assert!(references.len() > 20);
        for reference in references {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
