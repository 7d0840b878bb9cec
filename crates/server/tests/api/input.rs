//! Requests that are wrong in some way, and requests that come again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::site::Site;

/// Every field of every request: missing, huge, wrong, unknown. `None`: the field is not said.
pub(crate) fn wrong_input_is_named(site: Site) {
    site.machine("web");
    let check = |method: &str, path: &str, body: Value, status: u16, field: Option<&str>| {
        let answer = site.owner.ask(method, path, &[], Some(&body.to_string()));
        let problem = answer.json();
        assert_eq!(answer.status, status, "{method} {path} {body}: {problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["field"].as_str(), field, "{method} {path} {body}: {problem}");
        assert_eq!(problem["status"], status);
        for text in ["type", "title", "detail", "action"] {
            assert!(!problem[text].as_str().unwrap().is_empty(), "{text} of {problem}");
        }
    };
    let long = "x".repeat(20_000);
    let machines = "/api/machines";
    check("POST", machines, json!({}), 422, Some("image"));
    check("POST", machines, json!({"image": 7}), 422, Some("image"));
    check("POST", machines, json!({"image": "../etc"}), 422, Some("image"));
    check("POST", machines, json!({"image": long}), 422, Some("image"));
    check("POST", machines, json!({"image": "tiny", "x": 1}), 422, Some("x"));
    for name in ["", "A", "a b", "-a", "../x", "ä", &"x".repeat(64), &long] {
        check("POST", machines, json!({"image": "tiny", "name": name}), 422, Some("name"));
    }
    check("POST", machines, json!({"image": "tiny", "name": "web"}), 409, Some("name"));
    check("POST", machines, json!({"image": "tiny", "name": ["a"]}), 422, Some("name"));
    for mib in [json!(0), json!(31), json!(65537), json!(-1), json!(1e99), json!("64"), json!(1.5)]
    {
        check(
            "POST",
            machines,
            json!({"image": "tiny", "memory_mib": mib}),
            422,
            Some("memory_mib"),
        );
    }

    let web = "/api/machines/web";
    check("PATCH", web, json!({"name": "A B"}), 422, Some("name"));
    check("PATCH", web, json!({"notes": long}), 422, Some("notes"));
    check("PATCH", web, json!({"notes": "\u{1b}[31m"}), 422, Some("notes"));
    check("PATCH", web, json!({"notes": "\u{0}"}), 422, Some("notes"));
    check("PATCH", web, json!({"tags": "a"}), 422, Some("tags"));
    check("PATCH", web, json!({"tags": [""]}), 422, Some("tags"));
    check("PATCH", web, json!({"tags": ["a b"]}), 422, Some("tags"));
    check("PATCH", web, json!({"tags": ["x".repeat(33)]}), 422, Some("tags"));
    check("PATCH", web, json!({"tags": vec!["x"; 17]}), 422, Some("tags"));
    check("PATCH", web, json!({"clipboard": "yes"}), 422, Some("clipboard"));
    check("PATCH", web, json!({"owner": "me"}), 422, Some("owner"));
    check("PATCH", "/api/machines/nobody", json!({}), 404, None);
    check("PATCH", "/api/machines/%2e%2e", json!({}), 404, None);
    check("PATCH", "/api/machines/%ff", json!({}), 404, None);

    let power = "/api/machines/web/power";
    check("POST", power, json!({}), 422, Some("action"));
    check("POST", power, json!({"action": "explode"}), 422, Some("action"));
    for action in ["pause", "resume", "reset", "shutdown", "kill", "save"] {
        check("POST", power, json!({"action": action}), 409, None);
    }
    check("POST", "/api/machines/nobody/power", json!({"action": "start"}), 404, None);

    let shares = "/api/machines/web/shares";
    check("POST", shares, json!({}), 422, Some("role"));
    check("POST", shares, json!({"role": "owner"}), 422, Some("role"));
    check("POST", shares, json!({"role": "emperor"}), 422, Some("role"));
    check("POST", shares, json!({"role": "viewer", "label": "x".repeat(201)}), 422, Some("label"));
    for seconds in [json!(0), json!(u64::MAX), json!(-1), json!("1")] {
        let body = json!({"role": "viewer", "expires_in_s": seconds});
        check("POST", shares, body, 422, Some("expires_in_s"));
    }
    for password in ["", &"x".repeat(257)] {
        let body = json!({"role": "viewer", "password": password});
        check("POST", shares, body, 422, Some("password"));
    }
    check("POST", shares, json!({"role": "viewer", "past": "some"}), 422, Some("past"));
    let visits = json!({"visitors": 1, "minutes": 1, "cpu_percent": 50});
    check("POST", shares, json!({"role": "viewer", "visits": visits}), 422, Some("role"));
    check("POST", shares, json!({"role": "driver", "visits": visits}), 422, Some("visits"));
    for (field, value) in [
        ("visitors", 0),
        ("visitors", 101),
        ("minutes", 1441),
        ("cpu_percent", 4),
        ("memory_mib", 15),
    ] {
        let mut visits = visits.clone();
        visits[field] = value.into();
        check("POST", shares, json!({"role": "driver", "visits": visits}), 422, Some("visits"));
    }
    check("POST", "/api/shares/nothing/visits", json!({}), 404, None);
    check("POST", "/api/shares/0123456789abcdef/visits", json!({}), 404, None);
    check("POST", "/api/shares/0123456789abcdef/visits", json!({"anew": 1}), 422, Some("anew"));
    check("DELETE", "/api/shares/nothing", json!({}), 404, None);
    check("DELETE", "/api/shares/0123456789abcdef", json!({}), 404, None);

    check("POST", "/api/machines/web/markers", json!({}), 422, Some("name"));
    for name in ["", " ", "a\nb", &"x".repeat(201)] {
        check("POST", "/api/machines/web/markers", json!({"name": name}), 422, Some("name"));
    }
    check("POST", "/api/machines/web/markers", json!({"name": "here"}), 409, None);
    check("POST", "/api/machines/web/markers/x/branch", json!({}), 404, None);
    check("POST", "/api/machines/web/markers/99999999999/branch", json!({}), 404, None);
    check("POST", "/api/machines/web/branch", json!({}), 422, Some("at_ns"));
    check("POST", "/api/machines/web/branch", json!({"at_ns": u64::MAX}), 422, Some("at_ns"));
    check("POST", "/api/machines/web/branch", json!({"at_ns": 7}), 409, None);
    let forks = "/api/machines/web/forks";
    check("POST", forks, json!({}), 422, Some("kind"));
    check("POST", forks, json!({"kind": "evil"}), 422, Some("kind"));
    check("POST", forks, json!({"kind": "exact", "name": "a b"}), 422, Some("name"));
    check("POST", forks, json!({"kind": "exact", "name": "web"}), 409, Some("name"));
    check("POST", forks, json!({"kind": "exact"}), 409, None);
    check("POST", "/api/machines/web/moments", json!({"at_ns": u64::MAX}), 422, Some("at_ns"));
    check("POST", "/api/machines/web/moments", json!({"at": 7}), 422, Some("at"));
    check("POST", "/api/machines/web/moments", json!({}), 409, None);
    let recordings = "/api/machines/web/recordings";
    check("POST", recordings, json!({"from_ns": 0}), 422, Some("until_ns"));
    let until = |until_ns: u64| json!({"from_ns": 7, "until_ns": until_ns});
    check("POST", recordings, until(u64::MAX), 422, Some("until_ns"));
    check("POST", recordings, until(7), 422, Some("until_ns"));
    check("POST", recordings, until(8), 409, None);
    let publication = "/api/machines/web/publication";
    let publish = |title: &str, tags: &[&str]| json!({"title": title, "tags": tags, "visibility": "public", "role": "viewer"});
    check("POST", publication, json!({"title": "x"}), 422, Some("visibility"));
    check("POST", publication, publish("", &[]), 422, Some("title"));
    check("POST", publication, publish("a\nb", &[]), 422, Some("title"));
    check("POST", publication, publish("a", &["a b"]), 422, Some("tags"));
    // Only what was cut out for it.
    check("POST", publication, publish("a", &[]), 409, None);
    check("GET", "/api/machines/web/outgoing?q=", json!({}), 422, Some("q"));
    check("GET", "/api/machines/web/outgoing?p=", json!({}), 422, Some("p"));
    let download = |query: &str| format!("/api/machines/web/recording{query}");
    for query in ["", "?format=vmcast", "?format=cast"] {
        check("GET", &download(query), json!({}), 409, None);
    }
    for format in ["", "CAST", "gif"] {
        check("GET", &download(&format!("?format={format}")), json!({}), 422, Some("format"));
    }
    check("GET", &download("?typed=true"), json!({}), 422, Some("typed"));
    check("GET", "/api/publications/nothing", json!({}), 404, None);
    check("GET", "/api/publications/0123456789abcdef", json!({}), 404, None);
    check("POST", "/api/machines/web/reports", json!({"role": "king"}), 422, Some("role"));
    check("POST", "/api/machines/nobody/restore", json!({}), 404, None);
    check("POST", "/api/machines/web/restore", json!({}), 404, None);

    check("POST", "/api/session", json!({}), 422, Some("share"));
    check("POST", "/api/session", json!({"token": 1}), 422, Some("token"));
    check("POST", "/api/session", json!({"token": "a", "share": "b"}), 422, Some("token"));
    check("POST", "/api/session", json!({"share": "b"}), 422, Some("secret"));
    check("POST", "/api/session", json!({"share": "b", "secret": "c"}), 404, None);
    check("POST", "/api/session", json!({"token": long}), 404, None);
    for name in ["", " ", "\u{202e}", &"x".repeat(65)] {
        check("PATCH", "/api/session", json!({"name": name}), 422, Some("name"));
    }
    check("POST", "/api/reach/network", json!({"security": "none"}), 422, Some("security"));
    check("DELETE", "/api/tasks/none", json!({}), 404, None);
    check("POST", "/api/nothing", json!({}), 404, None);
    check("PUT", "/api/machines", json!({}), 405, None);

    for (path, field) in [
        ("/api/machines?limit=0", "limit"),
        ("/api/machines?limit=501", "limit"),
        ("/api/machines?limit=x", "limit"),
        ("/api/machines?cursor=gone", "cursor"),
        ("/api/machines?quux=1", "quux"),
        ("/api/machines?limit=1&limit=2", "limit"),
        ("/api/machines/web/info?digest=1", "digest"),
        ("/api/machines/web/shares?cursor=x", "cursor"),
        ("/api/machines/web/markers?x=1", "x"),
        ("/api/machines/web/timeline?x=1", "x"),
        ("/api/machines/web/branches?limit=1", "limit"),
        ("/api/machines/web/search", "q"),
        ("/api/machines/web/events?limit=0", "limit"),
        ("/api/machines/web/events?limit=501", "limit"),
        ("/api/machines/web/search?q=", "q"),
        ("/api/machines/web/search?q=a%0ab", "q"),
        ("/api/machines/web/search?q=a&x=1", "x"),
        ("/api/machines/web/picture", "at_ns"),
        ("/api/machines/web/picture?at_ns=-1", "at_ns"),
        ("/api/machines/web/picture?at_ns=18446744073709551615", "at_ns"),
        ("/api/machines/web/text", "from_ns"),
        ("/api/machines/web/state", "at_ns"),
        ("/api/machines/web/text?from_ns=0&console=99", "console"),
        ("/api/machines/web/line?at_ns=0", "row"),
        ("/api/machines/web/line?at_ns=0&row=65536", "row"),
        ("/api/machines/web/picture?at_ns=0&console=77", "console"),
        ("/api/tasks?limit=-1", "limit"),
        ("/api/images?cursor=x", "cursor"),
        ("/api/audit?cursor=x", "cursor"),
        ("/api/audit?limit=99999999999999999999", "limit"),
    ] {
        check("GET", path, json!(null), 422, Some(field));
    }
}

pub(crate) fn what_is_not_json_is_refused(site: Site) {
    let check = |headers: &[(&str, &str)], body: &str, status: u16| {
        let answer = site.owner.ask("POST", "/api/machines", headers, Some(body));
        assert_eq!(answer.status, status, "{headers:?}: {:?}", answer.json());
    };
    check(&[], "", 400);
    check(&[], "{", 400);
    check(&[], "\u{0}", 400);
    check(&[], &"[".repeat(100_000), 400);
    check(&[], "[]", 422);
    check(&[("content-type", "text/plain")], "{}", 415);
    check(&[("content-type", "")], "{}", 415);
    check(&[("content-type", "application/json; charset=utf-8")], "{}", 422);
    check(&[], &format!("{{\"image\": \"{}\"}}", "x".repeat(200_000)), 413);
}

pub(crate) fn lists_come_in_parts(site: Site) {
    for name in ["a", "b", "c"] {
        site.machine(name);
    }
    let mut cursor = String::new();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let page = site.owner.get(&format!("/api/machines?limit=2{cursor}")).json();
        for item in page["items"].as_array().unwrap() {
            seen.push(item["id"].as_str().unwrap().to_owned());
        }
        cursor = format!("&cursor={}", page["next"].as_str().unwrap_or_default());
    }
    assert_eq!((seen.join(" ").as_str(), cursor.as_str()), ("a b c", "&cursor="));

    let body = json!({"notes": "For the Course", "tags": ["demo"]});
    assert_eq!(site.owner.patch("/api/machines/b", &body).status, 200);
    for (query, expected) in [
        ("q=course", 1),
        ("q=ECHO", 3),
        ("q=for%20demo", 1),
        ("q=course%20nothing", 0),
        ("q=", 3),
        ("tag=demo", 1),
        ("tag=dem", 0),
        ("q=b&tag=demo", 1),
    ] {
        let page = site.owner.get(&format!("/api/machines?{query}")).json();
        assert_eq!(page["items"].as_array().unwrap().len(), expected, "{query}");
    }

    let mut ids = BTreeSet::new();
    let mut path = "/api/audit?limit=1".to_owned();
    loop {
        let page = site.owner.get(&path).json();
        ids.extend(page["items"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/audit?limit=1&cursor={next}");
    }
    // The owner came, and changed a machine.
    assert_eq!(ids, BTreeSet::from([1, 2]));
}

fn links(site: &Site) -> usize {
    site.owner.get("/api/machines/web/shares").json()["items"].as_array().unwrap().len()
}

pub(crate) fn a_key_makes_it_once(site: Site) {
    site.machine("web");
    let path = "/api/machines/web/shares";
    let post = |key: &str, body: &Value| {
        site.owner.ask("POST", path, &[("idempotency-key", key)], Some(&body.to_string()))
    };
    let (viewer, driver) = (json!({"role": "viewer"}), json!({"role": "driver"}));
    let first = post("k", &viewer);
    let again = post("k", &viewer);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body, "with the same secret");
    assert_eq!(links(&site), 1);
    let other = post("k", &driver);
    assert_eq!((other.status, other.json()["type"].as_str()), (422, Some("key_reused")));
    assert_eq!(post("l", &viewer).status, 201);
    assert_eq!(links(&site), 2);
    // Noes are answers, too.
    let no = json!({"role": "x"});
    assert_eq!((post("m", &no).status, post("m", &no).status), (422, 422));
    assert_eq!(post("x".repeat(129).as_str(), &viewer).status, 422);
    // Another session's keys are others.
    let guest = site.guest("web", "viewer");
    let body = viewer.to_string();
    assert_eq!(guest.ask("POST", path, &[("idempotency-key", "k")], Some(&body)).status, 403);
    // What was asked before the server's restart is known after it.
    let mut site = site;
    let body = json!({"action": "pause"}).to_string();
    let pause = |site: &Site| {
        let power = "/api/machines/web/power";
        site.owner.ask("POST", power, &[("idempotency-key", "p")], Some(&body))
    };
    let before = pause(&site);
    site.restart();
    assert_eq!((before.status, before.body), (409, pause(&site).body));
}

pub(crate) fn a_key_at_once_makes_it_once(site: Site) {
    site.machine("web");
    let ask = || {
        let headers = [("idempotency-key", "k")];
        let body = json!({"role": "viewer"}).to_string();
        site.owner.ask("POST", "/api/machines/web/shares", &headers, Some(&body)).status
    };
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.contains(&201), "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert_eq!(links(&site), 1);
}

/// Every operation of the description is there, and every answer is of a kind that it names.
pub(crate) fn the_description_is_true(site: Site) {
    let document = site.nobody().get("/api/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            count += 1;
            let path = path.replace("{id}", "nothing").replace("{index}", "0");
            let body = operation.get("requestBody").map(|_| "{}");
            let answer = site.owner.ask(&method.to_uppercase(), &path, &[], body);
            assert_ne!(answer.status, 405, "{method} {path}");
            let is_absent = answer.json()["detail"] == "there is no address like this";
            assert!(!is_absent, "{method} {path}");
            let named = operation["responses"].as_object().unwrap();
            let kind = format!("{}XX", answer.status / 100);
            let is_named =
                named.contains_key(&answer.status.to_string()) || named.contains_key(&kind);
            assert!(is_named, "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!(count, 54, "a new route is described and counted here");
}
