//! Links whose visitors get machines of their own.

use std::time::Duration;

use serde_json::{Value, json};
use stackvm_server::Options;

use super::site::{Answer, Site, Who, await_true, entry, options};

/// A moment of a machine at which something was typed, and a link to it for visitors.
fn link(site: &Site, visitors: u32) -> (String, Value) {
    site.running_machine("web");
    let kept = site.owner.post("/api/machines/web/moments", &json!({}));
    assert_eq!(kept.status, 201, "{kept:?}");
    let moment = kept.json()["id"].as_str().unwrap().to_owned();
    let visits = json!({"visitors": visitors, "minutes": 5, "cpu_percent": 50, "memory_mib": null});
    let made = site.share(&moment, json!({"role": "driver", "visits": visits}));
    assert_eq!(made["share"]["visits"], visits);
    (moment, made)
}

/// Somebody new who opens a link, and what they are told.
fn come(site: &Site, made: &Value) -> (Who, Value) {
    let answer = site.nobody().post("/api/session", &entry(made));
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let who = Who { addr: site.addr, key: Some(("cookie", cookie)) };
    (who, answer.json()["visit"].clone())
}

fn ask(who: &Who, visit: &Value, body: Value) -> Answer {
    who.post(&format!("/api/shares/{}/visits", visit["link"].as_str().unwrap()), &body)
}

fn path(visit: &Value) -> String {
    format!("/api/machines/{}", visit["machine"].as_str().unwrap_or_else(|| panic!("{visit}")))
}

pub(crate) fn each_visitor_has_their_own(site: Site) {
    let (moment, made) = link(&site, 2);
    let (ann, anns) = come(&site, &made);
    let (bob, bobs) = come(&site, &made);
    assert_ne!(anns["machine"], bobs["machine"]);
    for (who, own, others) in [(&ann, &anns, &bobs), (&bob, &bobs, &anns)] {
        let view = who.get(&path(own)).json();
        assert_eq!((&view["role"], &view["visit"]["link"]), (&json!("driver"), &own["link"]));
        assert_eq!(view["visit"]["ends_unix_ms"], own["ends_unix_ms"]);
        await_true(|| who.get(&path(own)).json()["state"] == "running");
        assert_eq!(who.get(&path(others)).status, 404, "it is nobody else's");
        assert_eq!(who.get(&format!("/api/machines/{moment}")).status, 404);
        let power = who.post(&format!("{}/power", path(own)), &json!({"action": "kill"}));
        assert_eq!(power.status, 403);
        // Coming again leads to the same one.
        assert_eq!(ask(who, own, json!({})).json(), *own);
    }
    let shares = site.owner.get(&format!("/api/machines/{moment}/shares")).json();
    assert_eq!(shares["items"][0]["here"], 2);
    // The owner's list is of machines that are the owner's.
    let listed = site.owner.get("/api/machines").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");

    let (eve, waits) = come(&site, &made);
    assert_eq!((&waits["machine"], &waits["ahead"]), (&Value::Null, &json!(0)));
    assert_eq!(come(&site, &made).1["ahead"], 1);
    assert_eq!(ask(&eve, &waits, json!({})).json()["machine"], Value::Null);
    // Whoever wants another gives theirs up, and is not let past those that wait.
    assert_eq!(ask(&ann, &anns, json!({"anew": true})).json()["ahead"], 2);
    assert_eq!(ann.get(&path(&anns)).status, 404);
    let eves = ask(&eve, &waits, json!({})).json();
    await_true(|| eve.get(&path(&eves)).json()["state"] == "running");

    let share = made["share"]["id"].as_str().unwrap();
    let mut page = bob.page(bobs["machine"].as_str().unwrap(), None);
    page.find_type("welcome").unwrap();
    assert_eq!(site.owner.delete(&format!("/api/shares/{share}")).status, 204);
    assert_eq!(page.find_type("gone").unwrap()["reason"], "revoked");
    for (who, visit) in [(&bob, &bobs), (&eve, &eves)] {
        assert_eq!(who.get(&path(visit)).status, 404);
        assert_eq!(ask(who, visit, json!({})).status, 410);
    }
    let names = || site.machines().list().unwrap().into_iter().map(|it| it.spec.name);
    // What held the moment in memory is gone as well.
    await_true(|| names().collect::<Vec<_>>().len() == 2);
}

pub(crate) fn a_visit_ends_when_nobody_is_there(mut site: Site) {
    site.stop();
    let idle = Options { visit_idle: Duration::from_secs(2), ..options(site.data.path()) };
    let port = stackvm_server::Port::Exactly(site.addr.port());
    site.running = Some(site.listen(Options { port, ..idle }).unwrap());
    let (_, made) = link(&site, 1);
    let (ann, anns) = come(&site, &made);
    await_true(|| ann.get(&path(&anns)).json()["state"] == "running");
    let mut page = ann.page(anns["machine"].as_str().unwrap(), None);
    page.find_type("welcome").unwrap();
    let (bob, waits) = come(&site, &made);
    let turn = || {
        let answer = ask(&bob, &waits, json!({}));
        // Who asks too often is told so.
        assert!([200, 429].contains(&answer.status), "{answer:?}");
        answer.json()["machine"].clone()
    };
    // Longer than it takes with nobody there.
    let end = std::time::Instant::now() + Duration::from_secs(4);
    await_true(|| {
        assert_eq!(turn(), Value::Null);
        std::time::Instant::now() > end
    });
    drop(page);
    await_true(|| turn() != Value::Null);
    assert_eq!(ann.get(&path(&anns)).status, 404);
}

pub(crate) fn visits_end_with_their_moment(site: Site) {
    let (moment, made) = link(&site, 2);
    let (ann, anns) = come(&site, &made);
    assert_eq!(site.owner.delete(&format!("/api/machines/{moment}")).status, 204);
    assert_eq!(ask(&ann, &anns, json!({"anew": true})).status, 404);
    await_true(|| ann.get(&path(&anns)).status == 404);
    // Of all that, the machine itself is left.
    await_true(|| site.machines().list().unwrap().len() == 1);
}

pub(crate) fn only_a_moment_has_visitors(site: Site) {
    site.machine("web");
    let visits = json!({"visitors": 2, "minutes": 5, "cpu_percent": 50});
    let share = |body: Value| site.owner.post("/api/machines/web/shares", &body);
    let refused = share(json!({"role": "driver", "visits": visits}));
    assert_eq!((refused.status, &refused.json()["field"]), (422, &json!("visits")), "{refused:?}");
    let made = site.share("web", json!({"role": "driver"}));
    let guest = site.nobody().enter(&entry(&made));
    let link = json!({"link": made["share"]["id"]});
    assert_eq!(ask(&guest, &link, json!({})).status, 404);
    assert_eq!(ask(&site.nobody(), &link, json!({})).status, 401);
}
