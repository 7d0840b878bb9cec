//! What goes on from a machine, for those who may see it.

use serde_json::{Value, json};
use stackvm_host::machines::Status;
use stackvm_host::protocol::Command;
use stackvm_machine::ConsoleId;

use crate::past::{timeline, type_as};
use crate::site::{Site, Who, await_true, entry};

const BRANCHES: &str = "/api/machines/web/branches";

fn branches(who: &Who) -> Vec<Value> {
    let answer = who.get(BRANCHES);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().as_array().unwrap().clone()
}

/// Their names, in order.
fn names(who: &Who) -> Vec<String> {
    let name = |branch: &Value| branch["id"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = branches(who).iter().map(name).collect();
    names.sort();
    names
}

/// How far the machine has come.
fn end_ns(site: &Site) -> u64 {
    timeline(&site.owner)["end_ns"].as_u64().unwrap()
}

fn enter(site: &Site, line: &str) {
    type_as(site, "Ada", line);
    // A line is one when its terminal has begun the next.
    let events = "/api/machines/web/events";
    let entered = || site.owner.get(events).json().as_array().unwrap().len();
    let before = entered();
    let bytes = "\r\n".into();
    let mut lab = site.machines().connect("web").unwrap();
    lab.call(Command::Name { name: "Ada".to_owned() }).unwrap();
    lab.send(Command::Type { console: ConsoleId::Serial, bytes }).unwrap();
    await_true(|| entered() > before);
}

pub(crate) fn what_goes_on_from_a_machine_is_told(site: Site) {
    site.running_machine("web");
    enter(&site, "then");
    let keep = |what: &str, body: Value| -> Value {
        let kept = site.owner.post(&format!("/api/machines/web/{what}"), &body);
        assert_eq!(kept.status, 201, "{kept:?}");
        kept.json()
    };
    let from_ns = end_ns(&site);
    let early = keep("moments", json!({"at_ns": from_ns}))["id"].as_str().unwrap().to_owned();
    let guest = |wish: Value| site.nobody().enter(&entry(&site.share("web", wish)));
    // A recording begins where what was printed then has ended.
    let now_ns = || site.owner.get("/api/machines/web/info").json()["instant_ns"].as_u64().unwrap();
    await_true(|| now_ns() > from_ns + 200_000_000);
    let (late, all) =
        (guest(json!({"role": "driver"})), guest(json!({"role": "viewer", "past": "all"})));
    enter(&site, "soon");
    let until_ns = end_ns(&site);
    let cut = json!({"from_ns": from_ns, "until_ns": until_ns, "name": "early-lesson"});
    keep("recordings", cut);
    let on = site.owner.post("/api/machines/web/branch", &json!({"at_ns": until_ns}));
    assert_eq!(on.status, 202, "{on:?}");
    site.await_task(&on.json());
    let moment = keep("moments", json!({"at_ns": until_ns}))["id"].as_str().unwrap().to_owned();

    let told = branches(&site.owner);
    let find = |id: &str| told.iter().find(|branch| branch["id"] == id).unwrap();
    let lesson = find("early-lesson");
    assert_eq!((&lesson["kind"], &lesson["until_ns"]), (&json!("recording"), &json!(until_ns)));
    assert!(lesson["at_ns"].as_u64().unwrap() - from_ns <= 2_000_000, "{lesson}");
    assert_eq!(lesson["last"].as_str().map(str::trim), Some("soon"));
    assert_eq!(
        (&find(&early)["kind"], &find(&early)["at_ns"]),
        (&json!("moment"), &json!(from_ns))
    );
    let kept = find(&moment);
    let said = (&kept["at_ns"], &kept["until_ns"], &kept["last"], &kept["state"]);
    assert_eq!(said, (&json!(until_ns), &Value::Null, &Value::Null, &json!("saved")));
    let made: Vec<u64> = told.iter().map(|it| it["created_unix_ms"].as_u64().unwrap()).collect();
    assert!(made.is_sorted_by(|a, b| a >= b), "{made:?}");
    // What goes on from the moment goes on from no other.
    assert_eq!(site.owner.get(&format!("/api/machines/{moment}/branches")).json(), json!([]));

    // Guests learn of those that they have links to.
    assert_eq!((names(&late), names(&all)), (vec![], vec![]));
    for id in [&early, "early-lesson", &moment] {
        let link = entry(&site.share(id, json!({"role": "viewer", "past": "all"})));
        all.enter(&link);
        late.enter(&link);
    }
    assert_eq!(names(&all).len(), 3);
    // And of none that left before their link begins.
    assert_eq!(names(&late), [moment]);
}

/// A machine that has the name of one that is gone has nothing to do with that one's.
pub(crate) fn a_name_that_is_given_again_has_no_branches(site: Site) {
    site.running_machine("web");
    let at_ns = end_ns(&site);
    let kept = site.owner.post("/api/machines/web/moments", &json!({"at_ns": at_ns}));
    assert_eq!(kept.status, 201, "{kept:?}");
    assert_eq!(names(&site.owner).len(), 1);
    site.owner.post("/api/machines/web/power", &json!({"action": "kill"}));
    site.await_state("web", "stopped");
    site.machines().remove("web").unwrap();
    // Times of making are in seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    site.machine("web");
    assert_eq!(names(&site.owner), [""; 0]);
}

pub(crate) fn a_running_machine_has_twins(site: Site) {
    site.running_machine("web");
    type_as(&site, "Ada", "then");
    let fork = |body: Value| site.owner.post("/api/machines/web/forks", &body);
    let made = fork(json!({"kind": "exact", "name": "twin"}));
    assert_eq!(made.status, 201, "{made:?}");
    let twin = made.json();
    assert_eq!((&twin["id"], &twin["kept"]), (&json!("twin"), &json!(true)));
    site.await_state("twin", "running");
    let screen = |id: &str| site.owner.get(&format!("/api/machines/{id}")).json()["screen"].clone();
    await_true(|| screen("twin").to_string().contains("then"));
    let audit = site.owner.get("/api/audit?limit=1").json()["items"][0].clone();
    assert_eq!((&audit["action"], &audit["subject"]), (&json!("machine.fork"), &json!("twin")));
    assert_eq!(audit["detail"], "an exact twin of web");

    // Each goes its own way; one without a name gets one.
    type_as(&site, "Ada", "soon");
    assert!(!screen("twin").to_string().contains("soon"));
    let other = fork(json!({"kind": "exact"}));
    assert_eq!(other.status, 201, "{other:?}");
    assert_ne!(other.json()["id"], "twin");
    let taken = fork(json!({"kind": "exact", "name": "twin"}));
    assert_eq!((taken.status, &taken.json()["field"]), (409, &json!("name")));
    // This guest has no agent that could give it an identity of its own.
    let fresh = fork(json!({"kind": "fresh", "name": "fresh"})).json();
    assert_eq!(
        (&fresh["status"], &fresh["action"]),
        (&json!(409), &json!("Fork it exactly instead."))
    );
    assert_eq!(site.owner.get("/api/machines/fresh").status, 404);

    // What never runs, or does not now, has none.
    let moment = site.owner.post("/api/machines/web/moments", &json!({})).json();
    let path = format!("/api/machines/{}/forks", moment["id"].as_str().unwrap());
    let none = site.owner.post(&path, &json!({"kind": "exact"})).json();
    assert!(
        none["status"] == 409 && none["action"].as_str().unwrap().contains("machine"),
        "{none}"
    );
    site.owner.post("/api/machines/web/power", &json!({"action": "kill"}));
    site.await_state("web", "stopped");
    // Its process takes a moment to be gone.
    await_true(|| site.machines().get("web").unwrap().status != Status::Running);
    let none = fork(json!({"kind": "exact"})).json();
    assert_eq!((&none["status"], &none["action"]), (&json!(409), &json!("Start it first.")));
}
