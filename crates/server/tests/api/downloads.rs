//! Recordings as files, for those who may have them.

use serde_json::{Value, json};
use stackvm_timeline::replay::Replay;
use stackvm_timeline::{BranchId, Timeline};

use crate::past::{picture_of, timeline, type_as};
use crate::site::{Site, await_true};

/// A machine's `.cast`: its header, and of each event the code and the data.
fn cast(site: &Site, id: &str) -> (Value, Vec<(String, String)>) {
    let file = site.owner.get(&format!("/api/machines/{id}/recording?format=cast"));
    assert_eq!(file.status, 200, "{file:?}");
    assert_eq!(file.header("content-type"), Some("application/x-asciicast"));
    let name = format!("attachment; filename=\"{id}.cast\"");
    assert_eq!(file.header("content-disposition"), Some(name.as_str()));
    let text = String::from_utf8(file.body).unwrap();
    let (header, events) = text.split_once('\n').unwrap();
    let event = |line| {
        let (after_s, code, data): (f64, String, String) = serde_json::from_str(line).unwrap();
        assert!(after_s >= 0.0, "{line}");
        (code, data)
    };
    (serde_json::from_str(header).unwrap(), events.lines().map(event).collect())
}

/// All that a film prints.
fn printed(events: &[(String, String)]) -> String {
    let outputs = events.iter().filter(|(code, _)| code == "o");
    outputs.map(|(_, data)| data.as_str()).collect()
}

/// A machine's `.vmcast`, written beside its data.
fn vmcast(site: &Site, id: &str) -> (Vec<u8>, Timeline) {
    let file = site.owner.get(&format!("/api/machines/{id}/recording?format=vmcast"));
    assert_eq!(file.status, 200, "{file:?}");
    assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    let place = site.data.path().join(format!("{id}.vmcast"));
    std::fs::write(&place, &file.body).unwrap();
    (file.body, Timeline::open(&place).unwrap())
}

fn verify(timeline: Timeline) {
    let mut replay = Replay::new(timeline.into()).unwrap();
    replay.verify(BranchId::TRUNK, &mut |_| true).unwrap();
}

/// Both kinds of file have all that was until they were asked for.
pub(crate) fn a_past_while_it_goes_on(site: Site) {
    site.running_machine("web");
    type_as(&site, "Ada", "then");
    let (header, events) = cast(&site, "web");
    assert_eq!((&header["version"], &header["title"]), (&json!(3), &json!("web")));
    assert!(printed(&events).ends_with("then"), "{events:?}");
    assert!(!events.iter().any(|(code, _)| code == "i"), "what was typed stays here: {events:?}");
    let (_, past) = vmcast(&site, "web");
    assert!(past.branch(BranchId::TRUNK).end > past.begin(BranchId::TRUNK));
    verify(past);

    // A part of it begins with what its first picture shows, and ends where it ends.
    let from_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    type_as(&site, "Ada", "soon");
    let until_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    type_as(&site, "Ada", "late");
    assert!(printed(&cast(&site, "web").1).ends_with("thensoonlate"));
    let cut = json!({"from_ns": from_ns, "until_ns": until_ns, "name": "lesson"});
    assert_eq!(site.owner.post("/api/machines/web/recordings", &cut).status, 201);
    let (header, events) = cast(&site, "lesson");
    assert_eq!(header["title"], "lesson");
    assert!(events[0].1.contains("then") && !events[0].1.contains("soon"), "{events:?}");
    assert_eq!(printed(&events[1..]), "soon");
    let left: Vec<_> = std::fs::read_dir(site.data.path().join("transit")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let audit = site.owner.get("/api/audit?limit=500").json();
    let items = audit["items"].as_array().unwrap();
    let of = |detail: &str| {
        let is_it = |it: &&Value| it["action"] == "recording.download" && it["detail"] == detail;
        items.iter().filter(is_it).count()
    };
    assert_eq!((of("cast"), of("vmcast")), (3, 1), "{audit}");
}

/// A moment is a recording in which no time passes.
pub(crate) fn a_moment_that_comes_back(site: Site) {
    site.running_machine("web");
    type_as(&site, "Ada", "then");
    let kept = site.owner.post("/api/machines/web/moments", &json!({}));
    assert_eq!(kept.status, 201, "{kept:?}");
    let moment = kept.json();
    let id = moment["id"].as_str().unwrap();
    let at_ns = moment["branch_of"]["at_ns"].as_u64().unwrap();
    let outgoing = site.owner.get(&format!("/api/machines/{id}/outgoing?q=then"));
    assert_eq!(outgoing.status, 200, "{outgoing:?}");
    let outgoing = outgoing.json();
    assert_eq!((&outgoing["typed_bytes"], &outgoing["found"]["shown"]), (&json!(0), &json!(1)));
    let (_, events) = cast(&site, id);
    assert!(events.len() == 1 && events[0].1.contains("then"), "{events:?}");
    let (file, past) = vmcast(&site, id);
    assert_eq!(past.begin(BranchId::TRUNK), past.branch(BranchId::TRUNK).end);
    verify(past);

    let came = site.owner.send("POST", "/api/recordings?name=copy", &file);
    assert_eq!(came.status, 201, "{came:?}");
    let copy = picture_of(&site.owner, "copy", at_ns);
    assert_eq!((&copy["at_ns"], &copy["draw"]), (&json!(at_ns), &json!(events[0].1)));
    let on = site.owner.post("/api/machines/copy/branch", &json!({"at_ns": at_ns}));
    assert_eq!(on.status, 202, "{on:?}");
    await_true(|| site.owner.get("/api/tasks").json()["items"][0]["state"] != "running");
}
