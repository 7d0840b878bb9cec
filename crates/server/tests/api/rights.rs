//! Who may ask for what: every route, every role.

use serde_json::json;

use crate::site::{Site, Who};

/// What nobody, a viewer, a commenter, a driver and the owner get.
type Row = (&'static str, &'static str, Option<&'static str>, [u16; 5]);

/// The machine does not run and there are neither tasks nor markers, so "may" shows as what comes
/// after the question of rights.
const TABLE: [Row; 52] = [
    ("GET", "/healthz", None, [200; 5]),
    ("GET", "/api/openapi.json", None, [200; 5]),
    ("GET", "/api/session", None, [401, 200, 200, 200, 200]),
    ("PATCH", "/api/session", Some(r#"{"name":"Grace"}"#), [401, 200, 200, 200, 200]),
    ("GET", "/api/machines", None, [401, 200, 200, 200, 200]),
    ("POST", "/api/machines", Some(r#"{"image":"none"}"#), [401, 403, 403, 403, 422]),
    ("GET", "/api/machines/web", None, [401, 200, 200, 200, 200]),
    ("PATCH", "/api/machines/web", Some("{}"), [401, 403, 403, 403, 200]),
    ("POST", "/api/machines/web/restore", None, [401, 403, 403, 403, 404]),
    ("POST", "/api/machines/web/power", Some(r#"{"action":"pause"}"#), [401, 403, 403, 403, 409]),
    ("POST", "/api/machines/web/power", Some(r#"{"action":"save"}"#), [401, 403, 403, 403, 409]),
    ("GET", "/api/machines/web/info", None, [401, 409, 409, 409, 409]),
    ("GET", "/api/machines/web/markers", None, [401, 200, 200, 200, 200]),
    ("POST", "/api/machines/web/markers", Some(r#"{"name":"x"}"#), [401, 403, 409, 409, 409]),
    ("POST", "/api/machines/web/markers/0/branch", None, [401, 403, 403, 403, 404]),
    ("GET", "/api/machines/web/timeline", None, [401, 200, 200, 200, 200]),
    ("GET", "/api/machines/web/picture?at_ns=0", None, [401, 409, 409, 409, 409]),
    ("GET", "/api/machines/web/search?q=x", None, [401, 409, 409, 409, 409]),
    ("GET", "/api/machines/web/events", None, [401, 200, 200, 200, 200]),
    ("GET", "/api/machines/web/text?from_ns=0", None, [401, 409, 409, 409, 409]),
    ("GET", "/api/machines/web/line?at_ns=0&row=0", None, [401, 409, 409, 409, 409]),
    ("GET", "/api/machines/web/state?at_ns=0", None, [401, 409, 409, 409, 409]),
    ("POST", "/api/machines/web/branch", Some(r#"{"at_ns":0}"#), [401, 403, 403, 403, 409]),
    ("POST", "/api/machines/web/forks", Some(r#"{"kind":"fresh"}"#), [401, 403, 403, 403, 409]),
    ("GET", "/api/machines/web/branches", None, [401, 200, 200, 200, 200]),
    ("POST", "/api/machines/web/moments", Some("{}"), [401, 403, 403, 403, 409]),
    (
        "POST",
        "/api/machines/web/recordings",
        Some(r#"{"from_ns":0,"until_ns":1}"#),
        [401, 403, 403, 403, 409],
    ),
    ("GET", "/api/machines/web/recording", None, [401, 403, 403, 403, 409]),
    ("GET", "/api/machines/web/recording?format=cast", None, [401, 403, 403, 403, 409]),
    ("GET", "/api/machines/web/outgoing", None, [401, 403, 403, 403, 409]),
    ("GET", "/api/machines/web/publication", None, [401, 403, 403, 403, 200]),
    (
        "POST",
        "/api/machines/web/publication",
        Some(r#"{"title":"x","visibility":"public","role":"viewer"}"#),
        [401, 403, 403, 403, 409],
    ),
    ("DELETE", "/api/machines/web/publication", None, [401, 403, 403, 403, 204]),
    ("POST", "/api/recordings", Some("{}"), [401, 403, 403, 403, 422]),
    ("GET", "/api/publications", None, [200; 5]),
    ("GET", "/api/publications/SHARE", None, [404; 5]),
    ("POST", "/api/machines/web/reports", Some("{}"), [401, 403, 403, 403, 409]),
    ("GET", "/api/machines/web/shares", None, [401, 403, 403, 403, 200]),
    ("POST", "/api/machines/web/shares", Some(r#"{"role":"viewer"}"#), [401, 403, 403, 403, 201]),
    ("POST", "/api/shares/SHARE/visits", Some("{}"), [401, 404, 404, 404, 404]),
    ("DELETE", "/api/shares/SHARE", None, [401, 403, 403, 403, 204]),
    ("GET", "/api/tasks", None, [401, 403, 403, 403, 200]),
    ("GET", "/api/tasks/1", None, [401, 403, 403, 403, 404]),
    ("DELETE", "/api/tasks/1", None, [401, 403, 403, 403, 404]),
    ("GET", "/api/images", None, [401, 403, 403, 403, 200]),
    ("GET", "/api/reach", None, [401, 200, 200, 200, 200]),
    ("POST", "/api/reach/network", Some("{}"), [401, 403, 403, 403, 422]),
    ("DELETE", "/api/reach/network", None, [401, 403, 403, 403, 204]),
    ("POST", "/api/links", None, [401, 403, 403, 403, 201]),
    ("GET", "/api/audit", None, [401, 403, 403, 403, 200]),
    ("POST", "/api/down", None, [401, 403, 403, 403, 202]),
    ("DELETE", "/api/machines/web", None, [401, 403, 403, 403, 204]),
];

pub(crate) fn every_route_knows_every_role(site: Site) {
    site.machine("web");
    let people: Vec<Who> = std::iter::once(site.nobody())
        .chain(["viewer", "commenter", "driver"].map(|role| site.guest("web", role)))
        .chain([site.owner.clone()])
        .collect();
    let spare = site.share("web", json!({"role": "viewer"}));
    let spare = spare["share"]["id"].as_str().unwrap();
    for (method, path, body, expected) in TABLE {
        let path = path.replace("SHARE", spare);
        let statuses: Vec<u16> =
            people.iter().map(|who| who.ask(method, &path, &[], body).status).collect();
        assert_eq!(statuses, expected, "{method} {path}");
    }
    // Of WebSockets, the home page's is the owner's; a machine's says why in its own words.
    site.machine("web");
    let home: Vec<bool> = people.iter().map(|who| who.socket("/api/live").is_ok()).collect();
    assert_eq!(home, [false, false, false, false, true]);
}

pub(crate) fn another_machines_guest_sees_nothing(site: Site) {
    site.machine("web");
    site.machine("secret");
    let share = site.share("secret", json!({"role": "viewer"}));
    let guest = site.guest("web", "driver");
    let check = |method: &str, path: &str, body: Option<&str>| {
        let answer = guest.ask(method, path, &[], body);
        assert_eq!(answer.status, 404, "{method} {path}: {:?}", answer.json());
        // The same as for one that was never there.
        let path = path
            .replace("secret", "nothing")
            .replace(share["share"]["id"].as_str().unwrap(), "0123456789abcdef");
        assert_eq!(guest.ask(method, &path, &[], body).body, answer.body, "{method} {path}");
    };
    let secret = "/api/machines/secret";
    check("GET", secret, None);
    check("PATCH", secret, Some("{}"));
    check("DELETE", secret, None);
    check("POST", &format!("{secret}/power"), Some(r#"{"action":"kill"}"#));
    check("GET", &format!("{secret}/info"), None);
    check("GET", &format!("{secret}/markers"), None);
    check("GET", &format!("{secret}/timeline"), None);
    check("GET", &format!("{secret}/picture?at_ns=0"), None);
    check("GET", &format!("{secret}/search?q=x"), None);
    check("GET", &format!("{secret}/text?from_ns=0"), None);
    check("GET", &format!("{secret}/line?at_ns=0&row=0"), None);
    check("GET", &format!("{secret}/state?at_ns=0"), None);
    check("GET", &format!("{secret}/branches"), None);
    check("POST", &format!("{secret}/forks"), Some(r#"{"kind":"exact"}"#));
    check("POST", &format!("{secret}/branch"), Some(r#"{"at_ns":0}"#));
    check("POST", &format!("{secret}/moments"), Some("{}"));
    check("GET", &format!("{secret}/recording"), None);
    check("GET", &format!("{secret}/outgoing"), None);
    check("GET", &format!("{secret}/publication"), None);
    check("DELETE", &format!("{secret}/publication"), None);
    check("POST", &format!("{secret}/recordings"), Some(r#"{"from_ns":0,"until_ns":1}"#));
    check("POST", &format!("{secret}/markers"), Some(r#"{"name":"x"}"#));
    check("GET", &format!("{secret}/shares"), None);
    check("POST", &format!("{secret}/shares"), Some(r#"{"role":"viewer"}"#));
    check("DELETE", &format!("/api/shares/{}", share["share"]["id"].as_str().unwrap()), None);
    let gone = guest.page("secret", None).find_type("gone").unwrap();
    assert_eq!(gone["reason"], "not_admitted");

    // Its own machine it sees, without what the owner writes about it.
    let body = json!({"notes": "the password is 1234", "tags": ["private"]});
    assert_eq!(site.owner.patch("/api/machines/web", &body).status, 200);
    let list = guest.get("/api/machines").json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let own = &list["items"][0];
    assert_eq!((&own["id"], &own["notes"], &own["tags"]), (&json!("web"), &json!(""), &json!([])));
    assert_eq!(own["rights"], json!(["see", "see_past", "comment", "type", "files"]));
    assert_eq!(guest.get("/api/machines?q=1234").json()["items"], json!([]));
}
