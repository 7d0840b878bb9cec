//! A server without room: it says so, and goes on when there is room again.
//!
//! The kernel's limit on the size of files stands for a full disk: it works for every user, on every
//! file system, and for this process alone.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::site::{Site, await_true};

/// Linux's number of the signal that says that a file has become too large.
const SIGXFSZ: i32 = 25;

/// While this is there, nothing can be written to any file.
struct Full {
    before: Rlimit,
    /// Caught, the signal does not end the process, and the write fails.
    _signal: Signal,
}

impl Full {
    fn new(site: &Site) -> Full {
        let caught = site.runtime.block_on(async { signal(SignalKind::from_raw(SIGXFSZ)) });
        let before = getrlimit(Resource::Fsize);
        setrlimit(Resource::Fsize, Rlimit { current: Some(0), ..before }).unwrap();
        Full { before, _signal: caught.unwrap() }
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        setrlimit(Resource::Fsize, self.before).unwrap();
    }
}

pub(crate) fn a_full_disk_is_said_and_cured(site: Site) {
    site.machine("web");
    site.running_machine("live");
    let driver = site.guest("live", "driver");
    let mut page = driver.page("live", None);
    page.find_type("welcome").unwrap();
    let token = site.running.as_ref().unwrap().new_link().unwrap();
    let token = json!({"token": crate::site::token(&token)});

    let acts: [(&str, &str, Value, u16); 8] = [
        ("POST", "/api/machines", json!({"image": "tiny", "name": "new"}), 202),
        ("PATCH", "/api/machines/web", json!({"notes": "n"}), 200),
        ("POST", "/api/machines/web/shares", json!({"role": "viewer"}), 201),
        ("POST", "/api/machines/web/power", json!({"action": "start"}), 202),
        ("POST", "/api/machines/live/markers", json!({"name": "here"}), 201),
        ("POST", "/api/links", json!(null), 201),
        ("PATCH", "/api/session", json!({"name": "Ada"}), 200),
        ("POST", "/api/session", token, 200),
    ];
    let act = |(method, path, body, _): &(&str, &str, Value, u16)| {
        site.owner.ask(method, path, &[], Some(&body.to_string()))
    };
    let shares = || site.owner.get("/api/machines/web/shares").json()["items"].clone();
    let full = Full::new(&site);
    for wanted in acts.iter().filter(|(_, path, ..)| !path.ends_with("markers")) {
        let answer = act(wanted);
        let problem = answer.json();
        assert_eq!(answer.status, 503, "{wanted:?}: {problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{wanted:?}");
        assert!(answer.header("retry-after").is_some(), "{wanted:?}");
        assert!(problem["detail"].as_str().unwrap().contains("catalog"), "{problem}");
        assert!(!problem["action"].as_str().unwrap().is_empty(), "{problem}");
    }
    // Whoever only looks notices nothing, and what was refused has not happened.
    assert_eq!(site.owner.get("/api/machines").json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(shares(), json!([]));
    assert_eq!(site.owner.get("/api/machines/web").json()["state"], "stopped");
    // What is said is not lost without a word.
    page.say(&json!({"type": "say", "text": "hello"}));
    let notice = page.find_type("notice").unwrap();
    assert!(notice["text"].as_str().unwrap().contains("could not be kept"), "{notice}");
    drop(full);

    for wanted in &acts {
        let answer = act(wanted);
        assert_eq!(answer.status, wanted.3, "{wanted:?}: {:?}", answer.json());
    }
    assert_eq!(shares().as_array().unwrap().len(), 1);
    page.say(&json!({"type": "say", "text": "again"}));
    let is_said = |it: &Value| it["type"] == "chat" && it.to_string().contains("\"again\"");
    assert!(page.find(is_said).is_some());
    await_true(|| site.owner.get("/api/machines/web").json()["state"] == "running");
}
