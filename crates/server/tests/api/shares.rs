//! Links: who comes in by them, as what, and when they end.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::site::{Site, await_true, entry};

pub(crate) fn a_link_lets_somebody_in(site: Site) {
    site.machine("web");
    let created = site.share("web", json!({"role": "commenter", "label": "for Ann"}));
    let (url, path) = (created["url"].as_str().unwrap(), created["path"].as_str().unwrap());
    assert_eq!(url, format!("http://localhost:{}{path}", site.addr.port()));
    assert!(created["embed_url"].as_str().unwrap().contains("/embed/"));
    // Looking at it is no opening: previews do.
    assert_eq!(site.nobody().get(path.split('#').next().unwrap()).status, 200);
    let list = || site.owner.get("/api/machines/web/shares").json()["items"][0].clone();
    assert_eq!((&list()["opened"], &list()["label"]), (&json!(0), &json!("for Ann")));

    let answer = site.nobody().post("/api/session", &entry(&created));
    let view = answer.json();
    assert_eq!(
        (answer.status, &view["owner"], &view["machine"]),
        (200, &json!(false), &json!("web"))
    );
    assert_eq!(view["shared"], json!([{"id": "web", "name": "web", "role": "commenter"}]));
    assert_eq!(list()["opened"], 1);
    assert!(!list().to_string().contains(entry(&created)["secret"].as_str().unwrap()));

    let mut wrong = entry(&created);
    wrong["secret"] = "0".repeat(64).into();
    let unknown = json!({"share": "0123456789abcdef", "secret": "0"});
    let (wrong, unknown) =
        (site.nobody().post("/api/session", &wrong), site.nobody().post("/api/session", &unknown));
    assert_eq!((wrong.status, &wrong.body), (404, &unknown.body), "a guesser learns nothing");

    // Of two links, the higher one counts; one browser stays one person.
    let guest = site.guest("web", "viewer");
    let driver = guest.enter(&entry(&site.share("web", json!({"role": "driver"}))));
    assert_eq!(driver.key, guest.key);
    assert_eq!(guest.get("/api/machines/web").json()["role"], "driver");

    let audit = site.owner.get("/api/audit").json();
    let actions: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    assert!(actions.contains(&"share.create") && actions.contains(&"share.open"), "{actions:?}");
    assert!(!audit.to_string().contains(entry(&created)["secret"].as_str().unwrap()));
}

pub(crate) fn a_link_may_ask_for_a_password(site: Site) {
    site.machine("web");
    let created = site.share("web", json!({"role": "viewer", "password": "horse"}));
    assert_eq!(created["share"]["has_password"], true);
    let check = |password: Option<&str>, status: u16, kind: Option<&str>| {
        let mut body = entry(&created);
        if let Some(password) = password {
            body["password"] = password.into();
        }
        let answer = site.nobody().post("/api/session", &body);
        assert_eq!((answer.status, answer.json()["type"].as_str()), (status, kind), "{password:?}");
    };
    check(None, 401, Some("password_needed"));
    check(Some("Horse"), 403, Some("wrong_password"));
    check(Some(&"x".repeat(1000)), 403, Some("wrong_password"));
    check(Some("horse"), 200, None);
    // A guesser with the link is slow.
    await_true(|| {
        let mut body = entry(&created);
        body["password"] = "guess".into();
        site.nobody().post("/api/session", &body).status == 429
    });
}

pub(crate) fn a_link_ends(site: Site) {
    site.machine("web");
    let created = site.share("web", json!({"role": "viewer", "expires_in_s": 1}));
    let guest = site.nobody().enter(&entry(&created));
    assert_eq!(guest.get("/api/machines/web").status, 200);
    await_true(|| guest.get("/api/machines/web").status == 404);
    let answer = site.nobody().post("/api/session", &entry(&created));
    assert_eq!((answer.status, answer.json()["type"].as_str()), (410, Some("expired")));
    assert_eq!(guest.page("web", None).find_type("gone").unwrap()["reason"], "expired");
}

pub(crate) fn a_revoked_link_cuts_open_sockets(site: Site) {
    site.running_machine("web");
    let created = site.share("web", json!({"role": "viewer"}));
    let guest = site.nobody().enter(&entry(&created));
    let mut page = guest.page("web", None);
    assert_eq!(page.find_type("welcome").unwrap()["rights"], json!(["see", "see_past"]));
    let list = || site.owner.get("/api/machines/web/shares").json()["items"][0].clone();
    assert_eq!(list()["here"], 1);

    let start = Instant::now();
    let path = format!("/api/shares/{}", created["share"]["id"].as_str().unwrap());
    assert_eq!(site.owner.delete(&path).status, 204);
    assert_eq!(page.find_type("gone").unwrap()["reason"], "revoked");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(site.owner.delete(&path).status, 204, "it stays revoked");

    assert_eq!(guest.get("/api/machines/web").status, 404);
    let answer = site.nobody().post("/api/session", &entry(&created));
    assert_eq!((answer.status, answer.json()["type"].as_str()), (410, Some("revoked")));
    assert_eq!(guest.page("web", None).find_type("gone").unwrap()["reason"], "revoked");
    await_true(|| list()["here"] == 0);
}

pub(crate) fn an_older_machines_link_is_void(site: Site) {
    site.machine("web");
    let guest = site.guest("web", "driver");
    assert_eq!(guest.get("/api/machines/web").status, 200);
    // Somebody removes it at the command line and makes another of the name, a while later.
    site.machines().remove("web").unwrap();
    assert_eq!(guest.get("/api/machines/web").status, 404);
    assert_eq!(guest.page("web", None).find_type("gone").unwrap()["reason"], "deleted");
    site.machine("web");
    let path = site.data.path().join("machines/web/machine.json");
    let mut spec: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    spec["created_unix_s"] = json!(spec["created_unix_s"].as_u64().unwrap() + 10);
    std::fs::write(&path, spec.to_string()).unwrap();
    assert_eq!(guest.get("/api/machines/web").status, 404);
}

pub(crate) fn frames_on_other_sites_have_a_bearer(site: Site) {
    site.running_machine("web");
    let created = site.share("web", json!({"role": "driver"}));
    let mut body = entry(&created);
    body["bearer"] = true.into();
    let answer = site.nobody().post("/api/session", &body);
    assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    let bearer = answer.json()["bearer"].as_str().unwrap().to_owned();
    let frame = site.nobody().with_bearer(&bearer);
    assert_eq!(frame.get("/api/machines/web").json()["role"], "driver");
    // Browsers cannot put headers on WebSockets: the bearer is in the first message.
    let mut page = site.nobody().page("web", Some(&bearer));
    assert_eq!(page.find_type("welcome").unwrap()["role"], "driver");
    let gone = site.nobody().page("web", None).find_type("gone").unwrap();
    assert_eq!(gone["reason"], "not_admitted");
    // The owner's browser is no more than the link in there.
    let answer = site.owner.post("/api/session", &body);
    let frame = site.nobody().with_bearer(answer.json()["bearer"].as_str().unwrap());
    assert_eq!(frame.get("/api/session").json()["owner"], false);
}

/// The attacker is somebody with a link, made while the machine was off: what was before is not
/// theirs to see, and what happens after it goes on is.
pub(crate) fn a_link_to_a_machine_that_is_off_begins_where_it_goes_on(site: Site) {
    let links =
        |name: &str| site.nobody().enter(&entry(&site.share(name, json!({"role": "viewer"}))));
    let power = |name: &str, action: &str| {
        let path = format!("/api/machines/{name}/power");
        site.owner.post(&path, &json!({"action": action}))
    };
    let mark = |name: &str, mark: &str| {
        let path = format!("/api/machines/{name}/markers");
        assert_eq!(site.owner.post(&path, &json!({"name": mark})).status, 201);
    };
    let seen = |who: &crate::site::Who, name: &str| -> Vec<String> {
        let marks = who.get(&format!("/api/machines/{name}/markers")).json();
        let name = |mark: &serde_json::Value| mark["name"].as_str().unwrap().to_owned();
        marks["items"].as_array().unwrap().iter().map(name).collect()
    };
    for (name, end, state) in [("saved", "save", "saved"), ("killed", "kill", "stopped")] {
        site.running_machine(name);
        mark(name, "before");
        assert!(power(name, end).status < 300);
        site.await_state(name, state);
        let guest = links(name);
        assert_eq!(site.await_task(&power(name, "start").json())["state"], "done");
        site.await_state(name, "running");
        mark(name, "after");
        assert_eq!(seen(&guest, name), ["after"], "{name}");
        assert_eq!(seen(&site.owner, name), ["before", "after"]);
    }
    // Of one that was never on, all is to come.
    site.machine("new");
    let guest = links("new");
    assert_eq!(site.await_task(&power("new", "start").json())["state"], "done");
    site.await_state("new", "running");
    mark("new", "first");
    assert_eq!(seen(&guest, "new"), ["first"]);
}
