//! Machines from the owner's side.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::site::{Site, await_true};

pub(crate) fn changed_one_after_the_other(site: Site) {
    site.machine("web");
    let web = "/api/machines/web";
    let first = site.owner.get(web);
    assert_eq!(first.header("etag"), Some("\"0\""));
    let body =
        json!({"name": "notes", "notes": "two\nlines", "tags": ["a", "b"], "clipboard": true});
    let answer = site.owner.ask("PATCH", web, &[("if-match", "\"0\"")], Some(&body.to_string()));
    assert_eq!((answer.status, answer.header("etag")), (200, Some("\"1\"")));
    let view = answer.json();
    for field in ["name", "notes", "tags", "clipboard"] {
        assert_eq!(view[field], body[field]);
    }
    assert_eq!((&view["id"], &view["version"]), (&json!("web"), &json!(1)));
    let stale = site.owner.ask("PATCH", web, &[("if-match", "\"0\"")], Some("{}"));
    assert_eq!((stale.status, stale.json()["type"].as_str()), (412, Some("stale")));
    // What is absent stays.
    let answer = site.owner.patch(web, &json!({"notes": ""}));
    assert_eq!((&answer.json()["tags"], &answer.json()["notes"]), (&json!(["a", "b"]), &json!("")));

    let change = || {
        let body = json!({"notes": "at once"}).to_string();
        site.owner.ask("PATCH", web, &[("if-match", "\"2\"")], Some(&body)).status
    };
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(change)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    // Two machines are never called the same.
    site.machine("other");
    let answer = site.owner.patch("/api/machines/other", &json!({"name": "notes"}));
    assert_eq!((answer.status, answer.json()["field"].as_str()), (409, Some("name")));
}

pub(crate) fn deleted_and_taken_back(site: Site) {
    site.machine("web");
    assert_eq!(site.owner.patch("/api/machines/web", &json!({"notes": "n"})).status, 200);
    let guest = site.guest("web", "viewer");
    assert_eq!(site.owner.delete("/api/machines/web").status, 204);
    assert_eq!(site.owner.get("/api/machines/web").status, 404);
    assert_eq!(site.owner.delete("/api/machines/web").status, 404);
    assert_eq!(guest.get("/api/machines/web").status, 404);
    let back = site.owner.post("/api/machines/web/restore", &json!({}));
    assert_eq!((back.status, &back.json()["notes"]), (200, &json!("n")));
    assert_eq!(guest.get("/api/machines/web").status, 200, "links are back, too");
    assert_eq!(site.owner.post("/api/machines/web/restore", &json!({})).status, 404);
}

pub(crate) fn a_running_one_is_saved_before_it_goes(site: Site) {
    site.running_machine("web");
    let begun = site.owner.delete("/api/machines/web");
    assert_eq!((begun.status, begun.json()["task"]["title"].as_str()), (202, Some("Delete web")));
    assert_eq!(site.await_task(&begun.json())["state"], "done");
    assert_eq!(site.owner.get("/api/machines/web").status, 404);
    let back = site.owner.post("/api/machines/web/restore", &json!({}));
    assert_eq!((back.status, &back.json()["state"]), (200, &json!("saved")));
}

pub(crate) fn many_are_searched_soon(site: Site) {
    const MACHINES: usize = 200;
    (0..MACHINES).for_each(|n| site.machine(&format!("machine-{n}")));
    let tagged = json!({"tags": ["wanted"], "notes": "a needle"});
    assert_eq!(site.owner.patch("/api/machines/machine-77", &tagged).status, 200);
    for (query, count) in [("q=needle", 1), ("tag=wanted", 1), ("q=machine-1", 111), ("q=nil", 0)] {
        let start = Instant::now();
        let found = site.owner.get(&format!("/api/machines?{query}&limit=500")).json();
        let took = start.elapsed();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
        // Three times what people are promised: hosts of tests do much else.
        assert!(took < 3 * Duration::from_millis(300), "{query}: {took:?}");
    }
}

pub(crate) fn switched(site: Site) {
    site.machine("web");
    let power =
        |action: &str| site.owner.post("/api/machines/web/power", &json!({"action": action}));
    assert_eq!(site.owner.get("/api/machines/web").json()["state"], "stopped");
    let begun = power("start");
    assert_eq!(begun.status, 202);
    assert_eq!(begun.json()["task"]["title"], "Start web");
    assert_eq!(site.await_task(&begun.json())["state"], "done");
    site.await_state("web", "running");
    assert_eq!(power("start").status, 409);

    assert_eq!(power("pause").status, 204);
    site.await_state("web", "paused");
    let info = |query: &str| site.owner.get(&format!("/api/machines/web/info{query}"));
    let (first, second) = (info("?digest=true").json(), info("?digest=true").json());
    assert_eq!((&first["memory_bytes"], &first["harts"]), (&json!(4 << 20), &json!(1)));
    assert_eq!(first["digest"], second["digest"], "its time is held");
    assert_eq!(first["digest"].as_str().unwrap().len(), 64);
    assert_eq!(info("").json()["digest"], Value::Null);
    assert_eq!(power("resume").status, 204);
    site.await_state("web", "running");
    assert_eq!(power("reset").status, 204);

    let saved = power("save");
    assert_eq!(site.await_task(&saved.json())["state"], "done");
    site.await_state("web", "saved");
    assert_eq!(info("").status, 409);
    assert_eq!(site.await_task(&power("start").json())["state"], "done");
    site.await_state("web", "running");
    // This guest has no agent that could be asked.
    let refused = site.await_task(&power("shutdown").json());
    assert_eq!(refused["state"], "failed");
    assert!(!refused["what"].as_str().unwrap().is_empty());
    assert_eq!(power("kill").status, 204);
    site.await_state("web", "stopped");
    let audit = site.owner.get("/api/audit?limit=3").json();
    assert_eq!(audit["items"][0]["action"], "machine.kill");
    assert_eq!(audit["items"][0]["actor"], "owner");
}

pub(crate) fn instants_have_names_and_futures(site: Site) {
    site.running_machine("web");
    let markers = "/api/machines/web/markers";
    let driver = site.guest("web", "driver");
    let answer = site.owner.post(markers, &json!({"name": " before the test "}));
    assert_eq!(answer.status, 201, "{:?}", answer.json());
    let first = answer.json();
    assert_eq!((&first["index"], &first["name"]), (&json!(0), &json!("before the test")));
    let now = site.share("web", json!({"role": "viewer"}));
    let all = site.share("web", json!({"role": "viewer", "past": "all"}));
    assert_eq!(driver.post(markers, &json!({"name": "later"})).status, 201);
    let count = |who: &crate::site::Who| who.get(markers).json()["items"].as_array().unwrap().len();
    assert_eq!(count(&site.owner), 2);
    // A link shows the past from the moment of sharing on, unless it says otherwise.
    assert_eq!(count(&site.nobody().enter(&crate::site::entry(&now))), 1);
    assert_eq!(count(&site.nobody().enter(&crate::site::entry(&all))), 2);

    let begun = site.owner.post(&format!("{markers}/0/branch"), &json!({}));
    assert_eq!(begun.status, 202);
    // It has its name at once, so that whoever asked can go there.
    let branch = begun.json()["machine"].clone();
    assert_ne!(branch["id"], "web", "{branch}");
    assert_eq!(branch["image"], site.owner.get("/api/machines/web").json()["image"]);
    let task = site.await_task(&begun.json());
    assert_eq!(task["machine"], branch["id"]);
    // A program without an agent cannot take an identity of its own; the task says so.
    assert!(["done", "failed"].contains(&task["state"].as_str().unwrap()), "{task}");
    assert_eq!(site.owner.post(&format!("{markers}/7/branch"), &json!({})).status, 404);
}

pub(crate) fn what_cannot_be_made_says_why(site: Site) {
    let begun = site.owner.post("/api/machines", &json!({"image": "tiny", "name": "first"}));
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(begun.json()["machine"]["id"], "first");
    // Its name is taken as long as it is being made.
    let task = site.await_task(&begun.json());
    assert_eq!(task["state"], "failed", "there is no mirror: {task}");
    assert!(
        !task["what"].as_str().unwrap().is_empty() && !task["action"].as_str().unwrap().is_empty()
    );
    await_true(|| site.owner.get("/api/machines/first").status == 404);
    assert_eq!(
        site.owner.delete(&format!("/api/tasks/{}", task["id"].as_str().unwrap())).status,
        409
    );
    let huge = json!({"image": "tiny", "memory_mib": 65536});
    let answer = site.owner.post("/api/machines", &huge);
    if answer.status == 503 {
        // On all but the largest hosts.
        assert!(answer.header("retry-after").is_some());
        assert!(answer.json()["detail"].as_str().unwrap().contains("memory"));
    }
}

pub(crate) fn the_home_page_hears_of_changes(site: Site) {
    site.machine("web");
    let mut home = site.owner.socket("/api/live").unwrap();
    let first = home.find_type("machines").unwrap();
    assert_eq!((&first["all"], &first["machines"][0]["id"]), (&json!(true), &json!("web")));
    let begun = site.owner.post("/api/machines/web/power", &json!({"action": "start"})).json();
    let id = begun["task"]["id"].clone();
    home.find(|it| it["type"] == "task" && it["task"]["id"] == id && it["task"]["state"] == "done");
    let is_running =
        |it: &Value| it["machines"].as_array().is_some_and(|all| all[0]["state"] == "running");
    if site.owner.get("/api/machines/web").json()["state"] != "running" {
        home.find(is_running).unwrap();
    }
    // Somebody comes: their name is on the card.
    let mut page = site.owner.page("web", None);
    page.find_type("welcome").unwrap();
    let has_people = |it: &Value| {
        it["machines"].as_array().is_some_and(|all| all[0]["people"].as_array().unwrap().len() == 1)
    };
    home.find(has_people).unwrap();
    // Whoever leaves hears no more.
    assert_eq!(site.owner.post("/api/machines/web/power", &json!({"action": "kill"})).status, 204);
    site.await_state("web", "stopped");
    assert_eq!(site.owner.delete("/api/machines/web").status, 204);
    let gone = home.find_type("machine_gone").unwrap();
    assert_eq!(gone["id"], "web");
    assert_eq!(site.owner.delete("/api/session").status, 204);
}
