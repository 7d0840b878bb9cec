//! Other people's pages, the network, and the sockets themselves.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};

use serde_json::json;
use stackvm_server::{ListenError, Options, Port};

use crate::site::{PATIENCE, Site, await_true, options, request, token};

pub(crate) fn pages_of_others_are_refused(site: Site) {
    let link = site.running.as_ref().unwrap().new_link().unwrap();
    let body = json!({"token": token(&link)}).to_string();
    let post = |headers: &[(&str, &str)]| {
        site.owner.ask("POST", "/api/session", headers, Some(&body)).status
    };
    for origin in ["", "null", "http://evil.example", "http://localhost:1", "https://localhost"] {
        assert_eq!(post(&[("origin", origin)]), 403, "{origin}");
        assert_eq!(
            site.owner.ask("DELETE", "/api/session", &[("origin", origin)], None).status,
            403
        );
    }
    let port = site.addr.port();
    for host in ["evil.example", &format!("evil.example:{port}"), "localhost"] {
        assert_eq!(site.owner.ask("GET", "/", &[("host", host)], None).status, 421, "{host}");
        let headers = vec![("host", host.to_owned()), ("origin", format!("http://{host}"))];
        let Err(answer) = crate::site::Socket::open(site.addr, "/api/live", &headers) else {
            panic!("{host} was let in");
        };
        assert_eq!(answer.status, 421);
    }
    // A page of another origin cannot use the owner's cookie for a WebSocket.
    let mut headers = vec![("host", format!("localhost:{port}"))];
    headers.extend(site.owner.key.clone());
    for origin in [None, Some("http://evil.example")] {
        let mut headers = headers.clone();
        headers.extend(origin.map(|origin| ("origin", origin.to_owned())));
        let answer = crate::site::Socket::open(site.addr, "/api/live", &headers).err().unwrap();
        assert_eq!(answer.status, 403, "{origin:?}");
    }
    // None of this used the token up.
    assert_eq!(post(&[]), 200);
}

pub(crate) fn every_answer_has_its_armour(site: Site) {
    let check = |method: &str, path: &str, headers: &[(&str, &str)], status: u16, frames: &str| {
        let answer = site.nobody().ask(method, path, headers, None);
        assert_eq!(answer.status, status, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.ends_with(frames) || policy.contains(&format!("{frames};")), "{policy}");
        assert!(!policy.contains("script-src") || policy.contains("script-src 'self';"));
        let is_framed = answer.header("x-frame-options").is_none();
        assert_eq!(is_framed, frames.ends_with('*'), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    };
    let never = "frame-ancestors 'none'";
    check("GET", "/", &[], 200, never);
    check("GET", "/m/web", &[], 200, never);
    check("GET", "/s/0123456789abcdef", &[], 200, never);
    check("GET", "/embed/0123456789abcdef", &[], 200, "frame-ancestors *");
    check("GET", "/nothing/here", &[], 404, never);
    check("GET", "/../Cargo.toml", &[], 404, never);
    check("GET", "/healthz", &[], 200, never);
    check("GET", "/api/session", &[], 401, never);
    check("POST", "/api/session", &[], 415, never);
    check("GET", "/", &[("host", "x")], 421, never);
}

pub(crate) fn opened_and_closed(site: Site) {
    let reach = site.owner.get("/api/reach").json();
    assert_eq!((&reach["who"], &reach["can_open"]), (&json!("this_computer"), &json!(true)));
    assert!(reach["ssh"].as_str().unwrap().contains("ssh -N -R"));
    let open =
        |security: &str| site.owner.post("/api/reach/network", &json!({"security": security}));
    let opened = open("insecure_http");
    assert_eq!(opened.status, 200, "{opened:?}");
    assert_eq!(open("self_signed").status, 409, "it is open");
    let there = format!("127.0.0.2:{}", site.addr.port()).parse().unwrap();
    let ask = |host: &str| {
        let headers = [("host", host), ("connection", "close")];
        request(there, "GET", "/healthz", &headers, b"").status
    };
    assert_eq!(ask(&format!("127.0.0.2:{}", site.addr.port())), 200);
    assert_eq!(ask("evil.example"), 421);
    // Whoever is connected when it is closed is cut off; the owner's own lines are not.
    let mut idle = TcpStream::connect(there).unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    assert_eq!(site.owner.delete("/api/reach/network").status, 204);
    assert!(matches!(idle.read(&mut [0; 16]), Ok(0) | Err(_)));
    await_true(|| TcpStream::connect(there).is_err());
    assert_eq!(site.owner.delete("/api/reach/network").status, 204, "it stays closed");

    assert_eq!(open("self_signed").status, 200);
    let mut plain = TcpStream::connect(there).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert_eq!(answer.first(), Some(&21), "TLS says no with an alert: {answer:?}");
}

pub(crate) fn ports_and_ends(mut site: Site) {
    let port = site.addr.port();
    let folder = tempfile::tempdir().unwrap();
    let on = |port| Options { port, ..options(folder.path()) };
    let error = site.listen(on(Port::Exactly(port))).err().unwrap();
    assert!(matches!(error, ListenError::Taken { port: taken } if taken == port), "{error}");
    // A neighbour who has the other loopback address would be sent the token by some browsers.
    if let Ok(neighbour) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        let half = neighbour.local_addr().unwrap().port();
        let error = site.listen(on(Port::Exactly(half))).err().unwrap();
        assert!(matches!(error, ListenError::Taken { .. }), "{error}");
    }
    // Whoever has the preferred one, there is a server.
    drop(site.listen(on(Port::Preferred)).unwrap());
    let bad = Options { public_url: Some("vm.example".to_owned()), ..on(Port::Free) };
    assert!(matches!(site.listen(bad), Err(ListenError::PublicUrl(_))));
    site.stop();
    assert!(TcpStream::connect(site.addr).is_err());
    site.restart();
    // A server ends with its handle.
    drop(site.running.take());
    await_true(|| TcpStream::connect(site.addr).is_err());
}
