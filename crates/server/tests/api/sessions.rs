//! Coming in, staying in, and leaving.

use serde_json::json;
use stackvm_server::{ListenError, door};

use crate::site::{Site, options, token};

pub(crate) fn a_token_makes_one_owner(site: Site) {
    let link = site.running.as_ref().unwrap().new_link().unwrap();
    assert!(link.starts_with(&format!("http://localhost:{}/#", site.addr.port())), "{link}");
    let body = json!({"token": token(&link)});
    // A preview or a prefetch consumes nothing.
    assert_eq!(site.nobody().get(&format!("/?token={}", token(&link))).status, 200);
    assert_eq!(site.nobody().get(&format!("/api/session?token={}", token(&link))).status, 401);
    let answer = site.nobody().post("/api/session", &body);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["owner"], true);
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["stackvm_", "Path=/api", "Max-Age=", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let again = site.nobody().post("/api/session", &body);
    assert_eq!((again.status, again.json()["type"].as_str()), (404, Some("no_such_link")));

    // From page to page: an owner's link for another device, also made of a guest's browser.
    let made = site.owner.post("/api/links", &json!({}));
    assert_eq!(made.status, 201);
    site.machine("web");
    let guest = site.guest("web", "viewer");
    assert_eq!(guest.get("/api/session").json()["owner"], false);
    let promoted = guest.enter(&json!({"token": token(made.json()["url"].as_str().unwrap())}));
    assert_eq!(promoted.key, guest.key, "it is the same browser");
    assert_eq!(guest.get("/api/session").json()["owner"], true);
}

pub(crate) fn a_session_survives_the_server(mut site: Site) {
    let link = site.running.as_ref().unwrap().new_link().unwrap();
    site.machine("web");
    let guest = site.guest("web", "driver");
    site.restart();
    assert_eq!(site.owner.get("/api/session").json()["owner"], true);
    assert_eq!(guest.get("/api/machines/web").json()["role"], "driver");
    // A token does not.
    assert_eq!(site.nobody().post("/api/session", &json!({"token": token(&link)})).status, 404);
}

pub(crate) fn names_can_be_changed(site: Site) {
    let proposed = site.owner.get("/api/session").json();
    assert!(proposed["name"].as_str().unwrap().contains(' '), "{proposed}");
    let changed = site.owner.patch("/api/session", &json!({"name": "  Grace   Hopper "})).json();
    assert_eq!(changed["name"], "Grace Hopper");
    assert_eq!(site.owner.get("/api/session").json()["name"], "Grace Hopper");
    assert_eq!(changed["hue"], proposed["hue"]);
}

pub(crate) fn whoever_leaves_is_out(site: Site) {
    site.running_machine("web");
    let mut page = site.owner.page("web", None);
    assert_eq!(page.find_type("welcome").unwrap()["role"], "owner");
    let answer = site.owner.delete("/api/session");
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(site.owner.get("/api/session").status, 401);
    assert_eq!(page.find_type("gone").unwrap()["reason"], "not_admitted");
}

pub(crate) fn guessing_is_slow(site: Site) {
    let guess = || site.nobody().post("/api/session", &json!({"token": "0".repeat(64)}));
    let answers: Vec<_> = (0..200).map(|_| guess()).collect();
    assert_eq!(answers[0].status, 404);
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(refused.len() > 10, "{} were refused", refused.len());
    assert!(refused[0].header("retry-after").is_some());
    assert_eq!(refused[0].json()["type"], "too_often");
}

pub(crate) fn the_door_is_for_the_owners_programs(mut site: Site) {
    let door = door::find(site.data.path()).unwrap().unwrap();
    assert_eq!((door.port, door.pid), (site.addr.port(), std::process::id()));
    let program = site.nobody().with_bearer(&door.secret);
    assert_eq!(program.get("/api/session").json()["owner"], true);
    // A program has no origin; with a bearer it needs none.
    let answer = program.ask("POST", "/api/links", &[("origin", "")], None);
    assert_eq!(answer.status, 201);
    assert_eq!(site.nobody().with_bearer("x").get("/api/session").status, 401);
    assert_eq!(program.post("/api/down", &json!({})).status, 202);
    let running = site.running.as_ref().unwrap();
    site.runtime.block_on(running.down());
    site.stop();
    assert_eq!(door::find(site.data.path()).unwrap(), None);
}

pub(crate) fn a_data_directory_has_one_server(site: Site) {
    let error = site.listen(options(site.data.path())).err().unwrap();
    assert!(matches!(error, ListenError::Running { .. }), "{error}");
    assert!(door::find(site.data.path()).unwrap().is_some(), "the first one's stays");
}
