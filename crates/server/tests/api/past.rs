//! What was, for those who may see it.

use serde_json::{Value, json};
use stackvm_host::protocol::{Command, Reply};
use stackvm_machine::ConsoleId;

use crate::site::{Site, Who, await_true, entry};

const TIMELINE: &str = "/api/machines/web/timeline";

/// Types at the machine (no q, f or r: those switch it), and waits until its terminal says so.
pub(crate) fn type_as(site: &Site, name: &str, keys: &str) {
    let mut lab = site.machines().connect("web").unwrap();
    lab.call(Command::Name { name: name.to_owned() }).unwrap();
    lab.send(Command::Type { console: ConsoleId::Serial, bytes: keys.into() }).unwrap();
    let text = keys.rsplit('H').next().unwrap();
    await_true(|| shown(&site.owner, u64::from(u32::MAX) << 20).contains(text));
}

/// Of the terminal that the program writes to.
fn picture(who: &Who, at_ns: u64) -> Value {
    picture_of(who, "web", at_ns)
}

fn console_of(who: &Who, machine: &str) -> usize {
    let welcome = who.page(machine, None).find_type("welcome").unwrap();
    let is_log = |console: &Value| console["name"] == "kernel log";
    // Once the server has met its lab, it is the only one.
    welcome["consoles"].as_array().unwrap().iter().position(is_log).unwrap_or(0)
}

pub(crate) fn picture_of(who: &Who, machine: &str, at_ns: u64) -> Value {
    let console = console_of(who, machine);
    let path = format!("/api/machines/{machine}/picture?at_ns={at_ns}&console={console}");
    let answer = who.get(&path);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn shown(who: &Who, at_ns: u64) -> String {
    picture(who, at_ns)["draw"].as_str().unwrap().to_owned()
}

pub(crate) fn timeline(who: &Who) -> Value {
    let answer = who.get(TIMELINE);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Bytes that people typed.
fn typed(timeline: &Value) -> u64 {
    let bins = timeline["bins"].as_array().unwrap();
    bins.iter().map(|bin| bin["typed_bytes"].as_u64().unwrap()).sum()
}

pub(crate) fn it_is_shown_to_those_who_may_see_it(site: Site) {
    site.running_machine("web");
    // Only what was on the screen is there for those who come later.
    type_as(&site, "Ada", "once");
    type_as(&site, "Ada", "\x1b[2J\x1b[Hthen");
    let end_ns = |who: &Who| timeline(who)["end_ns"].as_u64().unwrap();
    let before = end_ns(&site.owner);
    let guest = |wish: Value| site.nobody().enter(&entry(&site.share("web", wish)));
    let (late, all) =
        (guest(json!({"role": "viewer"})), guest(json!({"role": "viewer", "past": "all"})));
    // Not in the same bin.
    let now_ns = || site.owner.get("/api/machines/web/info").json()["instant_ns"].as_u64().unwrap();
    await_true(|| now_ns() > before + 200_000_000);
    type_as(&site, "Bob", "soon");

    let whole = timeline(&site.owner);
    assert_eq!((typed(&whole), &whole["typists"]), (19, &json!(["Ada", "Bob"])));
    assert_eq!(typed(&timeline(&all)), 19);
    // A link that begins at an instant shows nothing of what was before, not even who was there.
    let part = timeline(&late);
    assert_eq!((typed(&part), &part["typists"]), (4, &json!(["Bob"])));
    let begin_ns = part["begin_ns"].as_u64().unwrap();
    assert!(begin_ns >= before && begin_ns <= end_ns(&late), "{part}");
    let bins = part["bins"].as_array().unwrap();
    assert!(bins.iter().all(|bin| bin["at_ns"].as_u64().unwrap() >= begin_ns), "{part}");

    let found = |who: &Who, text: &str| -> Vec<(u64, String)> {
        let answer = who.get(&format!("/api/machines/web/search?q={text}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let hits = answer.json();
        let hit = |hit: &Value| {
            (hit["at_ns"].as_u64().unwrap(), hit["line"].as_str().unwrap().to_owned())
        };
        hits.as_array().unwrap().iter().map(hit).collect()
    };
    let hits = found(&site.owner, "THEN");
    assert_eq!((hits.len(), hits[0].1.as_str()), (1, "thensoon"));
    assert!(shown(&site.owner, hits[0].0).contains("then") && hits[0].0 <= before + 1);
    assert_eq!((found(&all, "once").len(), found(&all, "ok").len()), (1, 1));
    assert_eq!((found(&late, "once"), found(&late, "ok")), (vec![], vec![]));
    assert_eq!(found(&late, "then")[0].1, "thensoon");
    assert_eq!(found(&site.owner, "nothing"), []);

    let first = picture(&site.owner, 0);
    assert_eq!(first["at_ns"], whole["begin_ns"]);
    assert!(!first["draw"].as_str().unwrap().contains("then"), "{first}");
    assert!(shown(&site.owner, before).contains("then"));
    assert!(!shown(&site.owner, before).contains("soon"));
    assert!(shown(&all, end_ns(&all)).contains("thensoon"));
    // But for the screen as it stood then.
    let earliest = picture(&late, 0);
    assert_eq!(earliest["at_ns"], begin_ns);
    assert!(shown(&late, 0).contains("then") && !shown(&late, 0).contains("soon"));
}

pub(crate) fn any_instant_has_futures(site: Site) {
    site.running_machine("web");
    type_as(&site, "Ada", "then");
    let at_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    let branch = |body: Value| site.owner.post("/api/machines/web/branch", &body);
    let begun = branch(json!({"at_ns": at_ns}));
    assert_eq!(begun.status, 202, "{begun:?}");
    let machine = begun.json()["machine"].clone();
    assert_eq!(machine["branch_of"], json!({"id": "web", "at_ns": at_ns}));
    assert_eq!(site.owner.get("/api/machines/web").json()["branch_of"], Value::Null);
    let task = site.await_task(&begun.json());
    // A program without an agent cannot take an identity of its own; the task says so.
    assert!(["done", "failed"].contains(&task["state"].as_str().unwrap()), "{task}");
    assert_eq!(branch(json!({"at_ns": at_ns + 3_600_000_000_000_u64})).status, 409);
    assert_eq!(branch(json!({"at_ns": u64::MAX})).status, 422);
}

/// A moment stays what it was when its machine goes on, and when that is gone.
pub(crate) fn a_moment_is_kept_as_it_is(site: Site) {
    site.running_machine("web");
    type_as(&site, "Ada", "then");
    let at_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    type_as(&site, "Ada", "soon");
    let keep = |body: Value| site.owner.post("/api/machines/web/moments", &body);
    let kept = keep(json!({"at_ns": at_ns}));
    assert_eq!(kept.status, 201, "{kept:?}");
    let moment = kept.json();
    let id = moment["id"].as_str().unwrap().to_owned();
    assert_eq!((&moment["frozen"], &moment["state"]), (&json!(true), &json!("saved")));
    assert_eq!(moment["branch_of"], json!({"id": "web", "at_ns": at_ns}));
    assert_eq!(site.owner.get("/api/machines/web").json()["frozen"], false);
    assert_eq!(keep(json!({"at_ns": at_ns + 3_600_000_000_000_u64})).status, 409);

    site.owner.post("/api/machines/web/power", &json!({"action": "kill"}));
    site.await_state("web", "stopped");
    assert_eq!(site.owner.delete("/api/machines/web").status, 204);
    site.machines().empty_trash(std::time::Duration::ZERO).unwrap();
    // Nothing runs it, and nothing types at it.
    let started =
        site.owner.post(&format!("/api/machines/{id}/power"), &json!({"action": "start"}));
    assert_eq!(started.status, 409, "{started:?}");
    let path = format!("/api/machines/{id}");
    let picture = |who: &Who| picture_of(who, &id, 0);
    assert_eq!(picture(&site.owner)["at_ns"], at_ns);
    assert!(picture(&site.owner)["draw"].as_str().unwrap().contains("then"));
    assert!(!picture(&site.owner)["draw"].as_str().unwrap().contains("soon"));
    let time = site.owner.get(&format!("{path}/timeline")).json();
    assert_eq!((&time["begin_ns"], &time["end_ns"]), (&json!(at_ns), &json!(at_ns)));

    // Who may only look does only that.
    let guest = |role: &str| {
        let made = site.owner.post(&format!("{path}/shares"), &json!({"role": role}));
        assert_eq!(made.status, 201, "{made:?}");
        site.nobody().enter(&entry(&made.json()))
    };
    let (looker, taker) = (guest("viewer"), guest("driver"));
    assert!(picture(&looker)["draw"].as_str().unwrap().contains("then"));
    let go_on = |who: &Who| who.post(&format!("{path}/branch"), &json!({"at_ns": at_ns}));
    assert_eq!(go_on(&looker).status, 403);
    let own = go_on(&taker);
    assert_eq!(own.status, 202, "{own:?}");
    let own = own.json()["machine"].clone();
    assert_eq!((&own["role"], &own["frozen"]), (&json!("driver"), &json!(false)));
    let own = format!("/api/machines/{}", own["id"].as_str().unwrap());
    assert_eq!(taker.get(&own).status, 200);
    assert_eq!(looker.get(&own).status, 404, "it is nobody else's");
    assert_eq!(taker.delete(&own).status, 403);
    await_true(|| site.owner.get("/api/tasks").json()["items"][0]["state"] != "running");
    // Its owner sees whose it is, and can end that.
    let shares = site.owner.get(&format!("{own}/shares")).json();
    assert_eq!(shares["items"][0]["label"], format!("went on from {id}"));
    let share = shares["items"][0]["id"].as_str().unwrap();
    assert_eq!(site.owner.delete(&format!("/api/shares/{share}")).status, 204);
    assert_eq!(taker.get(&own).status, 404);
    assert_eq!(site.owner.delete(&path).status, 204);
}

/// A recording has what happened from one instant until another, and nothing of what was before.
pub(crate) fn a_recording_is_a_part_of_the_past(site: Site) {
    site.running_machine("web");
    type_as(&site, "Ada", "hidden");
    type_as(&site, "Ada", "open");
    let from_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    type_as(&site, "Bob", "then");
    let until_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    type_as(&site, "Ada", "soon");
    let keep = |body: Value| site.owner.post("/api/machines/web/recordings", &body);
    let kept = keep(json!({"from_ns": from_ns, "until_ns": until_ns, "name": "lesson"}));
    assert_eq!(kept.status, 201, "{kept:?}");
    let view = kept.json();
    let said = (&view["name"], &view["recording"], &view["frozen"], &view["state"]);
    assert_eq!(said, (&json!("lesson"), &json!(true), &json!(true), &json!("saved")));
    let far = until_ns + 3_600_000_000_000;
    assert_eq!(keep(json!({"from_ns": from_ns, "until_ns": far})).status, 409);
    assert_eq!(keep(json!({"from_ns": from_ns, "until_ns": until_ns, "name": "web"})).status, 409);

    // It owes nothing to the machine it is of.
    site.owner.post("/api/machines/web/power", &json!({"action": "kill"}));
    site.await_state("web", "stopped");
    assert_eq!(site.owner.delete("/api/machines/web").status, 204);
    site.machines().empty_trash(std::time::Duration::ZERO).unwrap();
    let id = view["id"].as_str().unwrap();
    let path = format!("/api/machines/{id}");
    let time = site.owner.get(&format!("{path}/timeline")).json();
    assert_eq!(time["end_ns"], until_ns);
    assert!(time["begin_ns"].as_u64().unwrap() - from_ns <= 2_000_000, "{time}");
    assert_eq!(time["typists"], json!(["Bob"]));
    let shown =
        |at_ns: u64| picture_of(&site.owner, id, at_ns)["draw"].as_str().unwrap().to_owned();
    assert!(shown(0).contains("hiddenopen") && !shown(0).contains("then"));
    assert!(shown(until_ns).contains("then") && !shown(far).contains("soon"));
    let texts = |q: &str| site.owner.get(&format!("{path}/search?q={q}")).json();
    assert_eq!(texts("soon"), json!([]));
    let who: Vec<String> = site
        .owner
        .get(&format!("{path}/events"))
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["who"].as_str().unwrap().to_owned())
        .collect();
    assert!(who.iter().all(|name| name == "Bob"), "{who:?}");
    // Its files have nothing of it either.
    let manifest = site.data.path().join("machines").join(id).join("journal/manifest.json");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    assert!(manifest.contains("Bob") && !manifest.contains("Ada"), "{manifest}");

    // Whoever may go on from it does, from any of its instants.
    let guest = |role: &str| {
        let made =
            site.owner.post(&format!("{path}/shares"), &json!({"role": role, "past": "all"}));
        assert_eq!(made.status, 201, "{made:?}");
        site.nobody().enter(&entry(&made.json()))
    };
    let (looker, taker) = (guest("viewer"), guest("driver"));
    let go_on = |who: &Who| who.post(&format!("{path}/branch"), &json!({"at_ns": until_ns}));
    assert_eq!((go_on(&looker).status, go_on(&taker).status), (403, 202));
    await_true(|| site.owner.get("/api/tasks").json()["items"][0]["state"] != "running");
}

/// What is published is found without a secret, for as long as it is; of all else nobody learns.
pub(crate) fn a_recording_is_published_and_taken_back(site: Site) {
    site.running_machine("web");
    type_as(&site, "Ada", "hidden");
    let from_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    type_as(&site, "Ada", "<open>");
    let until_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    let cut = json!({"from_ns": from_ns, "until_ns": until_ns, "name": "lesson"});
    assert_eq!(site.owner.post("/api/machines/web/recordings", &cut).status, 201);
    let path = "/api/machines/lesson";
    let outgoing = |q: &str| site.owner.get(&format!("{path}/outgoing?q={q}")).json();
    let there = outgoing("%3Copen%3E");
    assert_eq!((&there["typists"], &there["typed_bytes"]), (&json!(["Ada"]), &json!(6)));
    assert_eq!(there["found"]["typed"], 1);
    // It is on the first picture, and so in the machine; it was not typed in this part.
    assert_eq!(outgoing("hidden")["found"]["typed"], 0);
    assert!(there["memory_bytes"].as_u64().unwrap() > 0);
    assert_eq!(site.owner.get(&format!("{path}/outgoing")).json()["found"], Value::Null);

    let publish = |visibility: &str, role: &str| {
        let body = json!({
            "title": "A <lesson>", "description": "Of \"quotes\".\nMore.", "tags": ["class"],
            "visibility": visibility, "role": role,
        });
        let answer = site.owner.post(&format!("{path}/publication"), &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["publication"].clone()
    };
    let public = site.nobody();
    let listed = || public.get("/api/publications").json()["items"].as_array().unwrap().len();
    let view = publish("unlisted", "viewer");
    let id = view["id"].as_str().unwrap().to_owned();
    assert_eq!(listed(), 0);
    assert_eq!(publish("public", "viewer")["id"], view["id"], "its address stays");
    assert_eq!(listed(), 1);
    assert_eq!(public.get(&format!("/api/publications/{id}")).json()["title"], "A <lesson>");

    // Its page says what it is to those who run no scripts; nothing of it is markup.
    let page = public.get(&format!("/r/{id}"));
    assert_eq!(page.status, 200);
    let page = String::from_utf8(page.body).unwrap();
    for part in
        ["<title>A &lt;lesson&gt; · StackVM</title>", "Of &quot;quotes&quot;.", "&lt;open&gt;"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("<lesson>") && !page.contains("<open>"), "{page}");
    let poster = public.get(&format!("/r/{id}/poster.svg"));
    assert_eq!(poster.header("content-type"), Some("image/svg+xml"));
    assert_eq!(poster.header("cross-origin-resource-policy"), Some("cross-origin"));
    let svg = String::from_utf8(poster.body).unwrap();
    assert!(svg.len() <= 60_000 && svg.contains("&lt;open&gt;"), "{svg}");

    // Whoever comes in needs no secret, and may look at this recording and nothing else.
    let guest = site.nobody().enter(&json!({"share": id}));
    assert_eq!(guest.get(&format!("{path}/timeline")).status, 200);
    assert_eq!(guest.get("/api/machines/web").status, 404);
    assert_eq!(guest.get(&format!("{path}/recording")).status, 403);
    let go_on = |who: &Who| who.post(&format!("{path}/branch"), &json!({"at_ns": until_ns}));
    assert_eq!(go_on(&guest).status, 403);
    publish("unlisted", "driver");
    assert_eq!(go_on(&guest).status, 202);
    await_true(|| site.owner.get("/api/tasks").json()["items"][0]["state"] != "running");
    // A link that has a secret needs it.
    let link = site.share("web", json!({"role": "viewer"}));
    let bare = json!({"share": link["share"]["id"]});
    assert_eq!(site.nobody().post("/api/session", &bare).status, 422);

    // The file is whole: it verifies, on another computer, too.
    let file = site.owner.get(&format!("{path}/recording"));
    assert_eq!(file.status, 200);
    let place = site.data.path().join("lesson.vmcast");
    std::fs::write(&place, &file.body).unwrap();
    let cast = stackvm_timeline::Timeline::open(&place).unwrap();
    let mut replay = stackvm_timeline::replay::Replay::new(cast.into()).unwrap();
    replay.verify(stackvm_timeline::BranchId::TRUNK, &mut |_| true).unwrap();

    // And it comes back as another recording, from whoever has it.
    let send = |name: &str, bytes: &[u8]| {
        site.owner.send("POST", &format!("/api/recordings?name={name}"), bytes)
    };
    let came = send("copy", &file.body);
    assert_eq!(came.status, 201, "{came:?}");
    let copy = came.json();
    assert_eq!((&copy["recording"], &copy["branch_of"]), (&json!(true), &Value::Null));
    let time = |id: &str| site.owner.get(&format!("/api/machines/{id}/timeline")).json();
    assert_eq!(time("copy"), time("lesson"));
    let draw = |id: &str, at_ns: u64| picture_of(&site.owner, id, at_ns)["draw"].clone();
    assert_eq!(draw("copy", until_ns), draw("lesson", until_ns));
    let on = json!({"at_ns": until_ns});
    assert_eq!(site.owner.post("/api/machines/copy/branch", &on).status, 202);
    await_true(|| site.owner.get("/api/tasks").json()["items"][0]["state"] != "running");
    // What is none is refused in words, and leaves nothing behind.
    let mut damaged = file.body.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 200].fill(0x55);
    for bytes in [&b"no recording"[..], &[], &file.body[..middle], &damaged] {
        let answer = send("bad", bytes);
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_eq!(site.owner.get("/api/machines/bad").status, 404);
    }
    let left: Vec<_> = std::fs::read_dir(site.data.path().join("transit")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");

    assert_eq!(site.owner.delete(&format!("{path}/publication")).status, 204);
    assert_eq!(guest.get(&format!("{path}/timeline")).status, 404);
    for path in
        [format!("/r/{id}"), format!("/r/{id}/poster.svg"), format!("/api/publications/{id}")]
    {
        assert_eq!(public.get(&path).status, 404, "{path}");
    }
    assert_eq!(site.nobody().post("/api/session", &json!({"share": id})).status, 422);
    // A deleted one is found no more, whatever has its name later.
    let id = publish("public", "viewer")["id"].as_str().unwrap().to_owned();
    assert_eq!((listed(), site.owner.delete(path).status), (1, 204));
    assert_eq!((listed(), public.get(&format!("/r/{id}")).status), (0, 404));
}

/// Whoever saw a line finds it, however short a time ago somebody else looked.
pub(crate) fn what_was_seen_is_in_the_recording(site: Site) {
    site.running_machine("web");
    let mut lab = site.machines().connect("web").unwrap();
    let console = ConsoleId::Serial;
    let index = console_of(&site.owner, "web");
    for word in ["one", "two", "seven"] {
        assert_eq!(site.owner.get("/api/machines/web/events").status, 200);
        lab.send(Command::Type { console, bytes: word.into() }).unwrap();
        await_true(|| match lab.call(Command::Text { console }).unwrap() {
            Reply::Text { lines, .. } => lines.iter().any(|line| line.contains(word)),
            reply => panic!("{reply:?}"),
        });
        let path = format!("/api/machines/web/text?from_ns=0&console={index}");
        let text = site.owner.get(&path).json()["lines"].to_string();
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

pub(crate) fn what_people_did_is_told(site: Site) {
    site.running_machine("web");
    let events = |who: &Who, query: &str| -> Vec<(String, String, String)> {
        let answer = who.get(&format!("/api/machines/web/events{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let word = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
        let event =
            |it: &Value| (word(it, "kind"), word(it, "who"), word(it, "text").trim().to_owned());
        answer.json().as_array().unwrap().iter().map(event).collect()
    };
    let told = |expected: &[(&str, &str, &str)]| -> Vec<(String, String, String)> {
        let own = |(kind, who, text): &(&str, &str, &str)| {
            (kind.to_string(), who.to_string(), text.to_string())
        };
        expected.iter().map(own).collect()
    };
    let enter = |name: &str, line: &str| {
        type_as(&site, name, line);
        let before = events(&site.owner, "").len();
        let mut lab = site.machines().connect("web").unwrap();
        lab.call(Command::Name { name: name.to_owned() }).unwrap();
        lab.send(Command::Type { console: ConsoleId::Serial, bytes: "\r\n".into() }).unwrap();
        await_true(|| events(&site.owner, "").len() > before);
    };
    assert_eq!(events(&site.owner, ""), []);
    enter("Ada", "then");
    let marked = site.owner.post("/api/machines/web/markers", &json!({"name": "here"}));
    assert_eq!(marked.status, 201, "{marked:?}");
    let late = site.guest("web", "viewer");
    enter("Bob", "soon");
    let all = events(&site.owner, "");
    let owner = all[1].1.clone();
    let expected = [
        ("entered", "Ada", "then"),
        ("marked", owner.as_str(), "here"),
        ("entered", "Bob", "soon"),
    ];
    assert_eq!(all, told(&expected));
    assert_eq!(events(&site.owner, "?limit=2"), told(&expected[1..]));
    // Who came by a link that begins at an instant learns nothing from before it.
    assert_eq!(events(&late, ""), told(&expected[2..]));

    // A line leads to when it was printed, and to what was entered before; so much of it as whoever
    // asks may know.
    let end_ns = timeline(&site.owner)["end_ns"].as_u64().unwrap();
    let console = console_of(&site.owner, "web");
    let line = |who: &Who, text: &str| -> (Value, Value) {
        let row =
            |row| format!("/api/machines/web/line?at_ns={end_ns}&row={row}&console={console}");
        let lines: Vec<Value> = (0..24).map(|number| who.get(&row(number)).json()).collect();
        let line = lines.iter().find(|it| it["line"].as_str().unwrap().trim() == text);
        let line = line.unwrap_or_else(|| panic!("{lines:?}"));
        (line["at_ns"].clone(), line["entered"]["text"].clone())
    };
    let (then_ns, entered) = line(&site.owner, "then");
    assert_eq!(entered, Value::Null);
    assert!(shown(&site.owner, then_ns.as_u64().unwrap()).contains("then"));
    assert!(!shown(&site.owner, then_ns.as_u64().unwrap() - 1_000_000).contains("then"));
    assert_eq!(line(&site.owner, "soon").1, "  then");
    assert_eq!(line(&late, "then"), (Value::Null, Value::Null));
    assert_eq!(line(&late, "soon").1, Value::Null);
    let text = |who: &Who, from_ns: u64| -> Vec<String> {
        let path = format!("/api/machines/web/text?from_ns={from_ns}&console={console}");
        let lines = who.get(&path).json()["lines"].clone();
        serde_json::from_value(lines).unwrap()
    };
    assert!(text(&site.owner, 0).iter().any(|line| line == "ok"), "{:?}", text(&site.owner, 0));
    let since = text(&site.owner, then_ns.as_u64().unwrap());
    let last: Vec<&str> = since.iter().rev().map(|line| line.trim()).take(2).collect();
    assert_eq!(last, ["soon", "then"], "{since:?}");

    // The exact state is a replay's: the same for everybody, and of no instant before whoever asks
    // may look.
    let state = |who: &Who, at_ns: u64| -> Value {
        let answer = who.get(&format!("/api/machines/web/state?at_ns={at_ns}&console={console}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let exact = state(&site.owner, end_ns);
    assert_eq!(exact["digest"], state(&late, end_ns)["digest"]);
    assert_eq!(exact["digest"].as_str().unwrap().len(), 64);
    assert!(exact["draw"].as_str().unwrap().contains("soon") && exact["at_ns"] == end_ns);
    let begins = timeline(&late)["begin_ns"].as_u64().unwrap();
    assert_eq!(state(&late, 0)["at_ns"], begins);
    assert!(state(&site.owner, 0)["instructions"].as_u64() < exact["instructions"].as_u64());
    // One process computed them all, and is there for the next, as long as the machine is.
    assert_eq!(replayers_of("web"), 1);

    let report = |role: &str| site.owner.post("/api/machines/web/reports", &json!({"role": role}));
    let made = report("viewer");
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let (url, text) = (made["url"].as_str().unwrap(), made["markdown"].as_str().unwrap());
    assert!(text.contains(url) && text.contains("echo.elf, 4 MiB, 1 hart"), "{text}");
    let then = text.find("  then\n").unwrap();
    assert!(text[then..].contains("  soon\n"), "{text}");
    let (_, halves) = url.rsplit_once("/s/").unwrap();
    let reader = site.nobody().enter(&entry(&json!({"path": format!("/s/{halves}")})));
    let moment = format!("/api/machines/{}", made["moment"].as_str().unwrap());
    assert_eq!(reader.get(&moment).json()["frozen"], true);
    assert_eq!(report("owner").status, 422);
    assert_eq!(site.owner.delete("/api/machines/web").status, 202);
    await_true(|| replayers_of("web") == 0);
}

/// How many processes there are that replay the past of a machine of this test's.
fn replayers_of(id: &str) -> usize {
    let is_one = |entry: std::io::Result<std::fs::DirEntry>| {
        let folder = entry.unwrap().path();
        let read = |what: &str| std::fs::read_to_string(folder.join(what)).unwrap_or_default();
        let parent = format!("PPid:\t{}\n", std::process::id());
        let line = read("cmdline");
        line.contains("--replays")
            && line.trim_end_matches('\0').ends_with(&format!("/{id}"))
            && read("status").contains(&parent)
    };
    std::fs::read_dir("/proc").unwrap().map(is_one).filter(|&is_one| is_one).count()
}
