//! Every field of every body that the description names, wrong in every way that its type allows.

use serde_json::{Map, Value, json};

use crate::site::Site;

/// More than any field may have, and less than any body.
const HUGE: usize = 100_000;
/// More than any body may have.
const TOO_LARGE: usize = 1 << 20;

/// What the description says of a value: the schemas that it may fit, references followed.
fn choices(document: &Value, schema: &Value) -> Vec<Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return choices(document, document.pointer(pointer).expect("a schema"));
    }
    let some = ["oneOf", "anyOf"].iter().find_map(|name| schema[name].as_array());
    match some {
        Some(all) => all.iter().flat_map(|schema| choices(document, schema)).collect(),
        None => vec![schema.clone()],
    }
}

fn is_type(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::String(only) => only == kind,
        Value::Array(all) => all.iter().any(|it| it == kind),
        _ => false,
    }
}

/// Something that fits.
fn fitting(choices: &[Value]) -> Value {
    let schema = &choices[0];
    let word = schema["enum"].as_array().and_then(|words| words.first().cloned());
    match word.or_else(|| schema.get("const").cloned()) {
        Some(word) => word,
        None if is_type(schema, "string") => json!("tiny"),
        None if is_type(schema, "boolean") => json!(true),
        None if is_type(schema, "array") => json!([]),
        None => json!(64),
    }
}

/// Values that do not fit.
fn wrong(choices: &[Value]) -> Vec<Value> {
    let takes = |kind| choices.iter().any(|schema| is_type(schema, kind));
    let is_word = choices.iter().any(|schema| schema.get("enum").is_some());
    let mut wrong = vec![json!({"a": {"b": []}})];
    if !takes("integer") {
        wrong.extend([json!(7), json!(-1), json!(1e300)]);
    } else {
        wrong.extend([json!(-1), json!(1.5), json!(1e300), json!(i64::MIN), json!("64")]);
    }
    if !takes("boolean") {
        wrong.push(json!(true));
    }
    if takes("array") {
        wrong.extend([json!([7]), json!([[]]), json!(["x".repeat(HUGE)])]);
    } else {
        wrong.push(json!([]));
    }
    if !takes("string") || is_word {
        wrong.push(json!("emperor"));
    }
    wrong.push(json!("x".repeat(HUGE)));
    wrong
}

/// Secrets may be any text: a wrong one is nobody's, and a guesser is told no more.
fn is_secret(field: &str) -> bool {
    ["token", "share", "secret", "password"].contains(&field)
}

/// A request of the description.
struct Operation<'a> {
    site: &'a Site,
    method: String,
    address: String,
}

impl Operation<'_> {
    /// Sends a body that must be refused: the status, the field that is named, and all of it in words.
    fn ask(&self, body: &Value) -> (u16, Value, String) {
        let body = body.to_string();
        let ask = || self.site.owner.ask(&self.method, &self.address, &[], Some(&body));
        let mut answer = ask();
        // So much is asked here that it becomes too much.
        while answer.status == 429 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            answer = ask();
        }
        let (method, address, start) = (&self.method, &self.address, &body[..body.len().min(200)]);
        let said = format!("{method} {address} {start}: {} {}", answer.status, answer.json());
        assert!((400..500).contains(&answer.status), "{said}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{said}");
        (answer.status, answer.json()["field"].clone(), said)
    }

    fn refuses(&self, body: &Value, name: &str) {
        let (status, field, said) = self.ask(body);
        assert!(status == 422 && field == name, "{said}");
    }

    /// Tries all fields of a body; how many there are.
    fn try_fields(&self, document: &Value, schema: &Value) -> usize {
        let required = schema["required"].as_array().into_iter().flatten();
        let properties = schema["properties"].as_object().expect("fields");
        let fit = |name: &str| (name.to_owned(), fitting(&choices(document, &properties[name])));
        let base: Map<String, Value> = required.filter_map(Value::as_str).map(fit).collect();
        let with = |name: &str, value: Value| {
            let mut body = base.clone();
            body.insert(name.to_owned(), value);
            Value::Object(body)
        };
        for (name, property) in properties {
            let choices = choices(document, property);
            let nested = choices.iter().find(|schema| schema["properties"].is_object());
            self.try_nested(document, (name, nested), |value| with(name, value));
            for value in wrong(&choices) {
                let body = with(name, value.clone());
                if nested.is_some() && value.is_object() {
                    continue;
                }
                match is_secret(name) && value.is_string() {
                    true => drop(self.ask(&body)),
                    false => self.refuses(&body, name),
                }
            }
            let (status, _, said) = self.ask(&with(name, json!("x".repeat(TOO_LARGE))));
            assert_eq!(status, 413, "{said}");
            let mut without = base.clone();
            if without.remove(name).is_some() {
                self.refuses(&Value::Object(without), name);
            }
        }
        self.refuses(&with("nobody_knows_this", json!(1)), "nobody_knows_this");
        properties.len()
    }

    /// Tries the fields of an object within a body.
    fn try_nested(
        &self,
        document: &Value,
        (outer, schema): (&str, Option<&Value>),
        body: impl Fn(Value) -> Value,
    ) {
        let Some(properties) = schema.and_then(|schema| schema["properties"].as_object()) else {
            return;
        };
        let fit = |(name, property)| (String::clone(name), fitting(&choices(document, property)));
        let base: Map<String, Value> = properties.iter().map(fit).collect();
        for (name, property) in properties {
            for value in wrong(&choices(document, property)) {
                let mut object = base.clone();
                object.insert(name.clone(), value);
                self.refuses(&body(Value::Object(object)), outer);
            }
        }
        self.refuses(&body(json!({"nobody_knows_this": 1})), "nobody_knows_this");
    }
}

pub(crate) fn no_field_is_taken_on_trust(site: Site) {
    site.machine("web");
    let document = site.nobody().get("/api/openapi.json").json();
    let mut fields = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let address = path.replace("{id}", "web").replace("{index}", "0");
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            if body.is_null() {
                continue;
            }
            let (method, address) = (method.to_uppercase(), address.clone());
            let operation = Operation { site: &site, method, address };
            for whole in [json!(null), json!([]), json!(7), json!("x")] {
                let (status, _, said) = operation.ask(&whole);
                assert_eq!(status, 422, "{said}");
            }
            let schema = choices(&document, body).swap_remove(0);
            fields += operation.try_fields(&document, &schema);
        }
    }
    assert!(fields >= 20, "only {fields} fields are described");
    assert_eq!(site.owner.get("/api/machines/web").json()["version"], 0, "nothing was changed");
}
