use super::*;
use crate::reach::Address;
use axum::body::Body;

fn guard() -> Guard {
    let reach = Reach::new(7333);
    reach.add(Address::listened("192.168.1.7:7333".parse().unwrap(), "https"));
    let proxies = vec!["10.0.0.0/8".parse().unwrap()];
    Guard { reach: Arc::new(reach), limits: Arc::new(Limits::new()), proxies }
}

fn request(method: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().method(method).uri("/api/x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn check(method: &str, headers: &[(&str, &str)], expected: Option<u16>) {
    let caller = Caller { address: "127.0.0.1".parse().unwrap(), line: Line::Plain };
    let refusal = guard().refusal(&request(method, headers), caller);
    assert_eq!(refusal.map(|problem| problem.body().status), expected, "{method} {headers:?}");
}

#[test]
fn only_own_names_are_answered() {
    for host in ["localhost:7333", "127.0.0.1:7333", "[::1]:7333", "192.168.1.7:7333"] {
        check("GET", &[("host", host)], None);
    }
    for host in ["localhost", "localhost:7334", "evil.example:7333", "127.0.0.1:7333.x", ""] {
        check("GET", &[("host", host)], Some(421));
    }
    check("GET", &[], Some(421));
    check("GET", &[("host", "localhost:7333"), ("host", "evil.example")], Some(421));
}

#[test]
fn only_own_pages_and_programs_may_act() {
    let upgrade = ("upgrade", "websocket");
    for (host, origin) in [
        ("localhost:7333", "http://localhost:7333"),
        ("127.0.0.1:7333", "http://127.0.0.1:7333"),
        ("192.168.1.7:7333", "https://192.168.1.7:7333"),
    ] {
        check("POST", &[("host", host), ("origin", origin)], None);
        check("GET", &[("host", host), upgrade, ("origin", origin)], None);
    }
    let host = ("host", "localhost:7333");
    for origin in [
        "null",
        "http://localhost:8080",
        "https://localhost:7333",
        "http://127.0.0.1:7333",
        "https://192.168.1.7:7333",
        "http://evil.example",
        "",
    ] {
        check("POST", &[host, ("origin", origin)], Some(403));
        check("DELETE", &[host, ("origin", origin)], Some(403));
        check("GET", &[host, upgrade, ("origin", origin)], Some(403));
    }
    check("POST", &[host], Some(403));
    check("GET", &[host, upgrade], Some(403));
    check("POST", &[host, ("authorization", "Bearer x")], None);
}

#[test]
fn only_a_proxys_word_about_callers_is_believed() {
    let check = |peer: &str, forwarded: &[(&str, &str)], expected: (&str, Line)| {
        let peer = Peer { address: peer.parse().unwrap(), line: Line::Plain };
        let caller = guard().caller(peer, request("GET", forwarded).headers());
        let expected = Caller { address: expected.0.parse().unwrap(), line: expected.1 };
        assert_eq!(caller, expected, "{peer:?} {forwarded:?}");
    };
    let to = |value| ("x-forwarded-for", value);
    let tls = ("x-forwarded-proto", "https");
    check("192.0.2.1:5", &[to("203.0.113.1"), tls], ("192.0.2.1", Line::Plain));
    check("10.1.1.1:5", &[to("203.0.113.1"), tls], ("203.0.113.1", Line::Tls));
    check("10.1.1.1:5", &[to("6.6.6.6, 203.0.113.1, 10.2.2.2")], ("203.0.113.1", Line::Plain));
    check("10.1.1.1:5", &[to("6.6.6.6"), to("203.0.113.1")], ("203.0.113.1", Line::Plain));
    check("10.1.1.1:5", &[to("rubbish")], ("10.1.1.1", Line::Plain));
    check("10.1.1.1:5", &[], ("10.1.1.1", Line::Plain));
}

#[test]
fn ranges_of_addresses() {
    let check = |range: &str, address: &str, expected: Option<bool>| {
        let range: Option<Network> = range.parse().ok();
        let contains = range.map(|range| range.contains(address.parse().unwrap()));
        assert_eq!(contains, expected, "{range:?} {address}");
    };
    check("10.0.0.0/8", "10.255.0.1", Some(true));
    check("10.0.0.0/8", "11.0.0.1", Some(false));
    check("10.0.0.0/8", "::ffff:10.0.0.1", Some(true));
    check("0.0.0.0/0", "203.0.113.1", Some(true));
    check("0.0.0.0/0", "::1", Some(false));
    check("192.0.2.1", "192.0.2.1", Some(true));
    check("192.0.2.1", "192.0.2.2", Some(false));
    check("fd00::/8", "fdff::1", Some(true));
    check("::/0", "fdff::1", Some(true));
    for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "x/8", "10.0.0.0/-1"] {
        check(bad, "::1", None);
    }
}
