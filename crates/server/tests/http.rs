//! The server from outside, as browsers, neighbours and other people's pages meet it.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use stackvm_server::backend::{Fault, MachineLink, Pending, Preparation, Report};
use stackvm_server::{ListenError, Options, Port, Running, Server};

/// A machine that is never ready.
struct Never;

impl Preparation for Never {
    fn prepare(&self, _report: Report) -> Pending<Result<(), Fault>> {
        Box::pin(std::future::pending())
    }

    fn connect(&self) -> Pending<Result<MachineLink, Fault>> {
        Box::pin(std::future::pending())
    }
}

async fn listen(port: Port) -> Result<Running, ListenError> {
    let options = Options { machine: "m".into(), image: "i".into() };
    Server::new(options, Never).listen(port).await
}

/// An answer's status, headers (lower case) and body.
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    /// The answer that `bytes` are, once they are all of it.
    fn parse(bytes: &[u8]) -> Option<Answer> {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lower = |(name, value): (&str, &str)| format!("{}: {value}\n", name.to_lowercase());
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": ")).map(lower);
        let body = bytes[end + 4..].to_vec();
        let answer = Answer { status, headers: headers.collect(), body };
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        (answer.body.len() >= length).then_some(answer)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.headers.lines().find_map(|line| line.strip_prefix(&start))
    }
}

/// Sends one request, byte by byte as given, and reads its answer.
async fn request(running: &Running, text: String) -> Answer {
    let addr = running.addr;
    let ask = move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(answer) = Answer::parse(&bytes) {
                return answer;
            }
            let count = stream.read(&mut buffer).expect("an answer in time");
            assert!(count > 0, "half an answer: {}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

fn get(running: &Running, path: &str, more: &str) -> String {
    let port = running.addr.port();
    format!("GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n{more}\r\n")
}

fn post(running: &Running, path: &str, more: &str, body: &str) -> String {
    let port = running.addr.port();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n{more}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn own_origin(running: &Running) -> String {
    format!("origin: http://localhost:{}\r\n", running.addr.port())
}

fn token(url: &str) -> &str {
    url.split_once('#').unwrap().1
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn upgrade(running: &Running, more: &str) -> String {
    let port = running.addr.port();
    format!("GET /api/machine HTTP/1.1\r\nhost: localhost:{port}\r\n{UPGRADE}{more}\r\n")
}

#[tokio::test]
async fn a_token_opens_one_session_and_no_more() {
    let running = listen(Port::Free).await.unwrap();
    let origin = own_origin(&running);
    let exchange = post(&running, "/api/session", &origin, token(&running.url));
    let answer = request(&running, exchange.clone()).await;
    assert_eq!(answer.status, 204);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Path=/api; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());

    assert_eq!(request(&running, get(&running, "/api/session", &cookie)).await.status, 204);
    assert_eq!(request(&running, get(&running, "/api/session", "")).await.status, 401);
    assert_eq!(request(&running, exchange).await.status, 403);

    // The session opens the WebSocket and makes links; nothing else does.
    let with_both = format!("{origin}{cookie}");
    assert_eq!(request(&running, upgrade(&running, &with_both)).await.status, 101);
    assert_eq!(request(&running, upgrade(&running, &origin)).await.status, 401);
    assert_eq!(request(&running, post(&running, "/api/link", &origin, "")).await.status, 401);
    let link = request(&running, post(&running, "/api/link", &with_both, "")).await;
    let link = String::from_utf8(link.body).unwrap();
    let exchange = post(&running, "/api/session", &origin, token(&link));
    assert_eq!(request(&running, exchange).await.status, 204);
}

#[tokio::test]
async fn pages_of_others_are_refused() {
    let running = listen(Port::Free).await.unwrap();
    let exchange = |more: &str| post(&running, "/api/session", more, token(&running.url));
    for origin in ["", "origin: http://evil.example\r\n", "origin: http://localhost:1\r\n"] {
        assert_eq!(request(&running, exchange(origin)).await.status, 403, "{origin}");
        assert_eq!(request(&running, upgrade(&running, origin)).await.status, 403, "{origin}");
    }
    let rebound = "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(request(&running, rebound.to_owned()).await.status, 421);
    // None of this used the token up.
    let own = own_origin(&running);
    assert_eq!(request(&running, exchange(&own)).await.status, 204);
}

#[tokio::test]
async fn reading_changes_nothing() {
    let running = listen(Port::Free).await.unwrap();
    let path = format!("/api/session?token={}", token(&running.url));
    assert_eq!(request(&running, get(&running, &path, "")).await.status, 401);
    assert_eq!(request(&running, get(&running, "/api/link", "")).await.status, 405);
    let own = own_origin(&running);
    let exchange = post(&running, "/api/session", &own, token(&running.url));
    assert_eq!(request(&running, exchange).await.status, 204);
}

#[tokio::test]
async fn every_answer_has_its_armour() {
    let running = listen(Port::Free).await.unwrap();
    let own = own_origin(&running);
    let requests = [
        get(&running, "/", ""),
        get(&running, "/nothing/here", ""),
        get(&running, "/../Cargo.toml", ""),
        get(&running, "/api/session", ""),
        post(&running, "/api/session", &own, "x"),
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
    ];
    let mut statuses = Vec::new();
    for text in requests {
        let answer = request(&running, text).await;
        statuses.push(answer.status);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("script-src") || policy.contains("script-src 'self';"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(statuses, [200, 404, 404, 401, 403, 421]);
}

#[tokio::test]
async fn what_is_too_large_or_too_often_is_refused() {
    let running = listen(Port::Free).await.unwrap();
    let own = own_origin(&running);
    let large = "x".repeat(2000);
    assert_eq!(request(&running, post(&running, "/api/session", &own, &large)).await.status, 413);
    let mut statuses = Vec::new();
    for _ in 0..60 {
        let guess = post(&running, "/api/session", &own, &"0".repeat(64));
        statuses.push(request(&running, guess).await.status);
    }
    assert_eq!(statuses[0], 403);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn a_taken_port_is_an_error_only_where_it_was_asked_for() {
    let first = listen(Port::Free).await.unwrap();
    let port = first.addr.port();
    let error = listen(Port::Exactly(port)).await.err().expect("the port is taken");
    assert!(matches!(error, ListenError::Taken { port: taken } if taken == port), "{error}");
    assert!(error.to_string().contains(&port.to_string()));
    // Whoever has the preferred one, there is a server.
    let (second, third) = (listen(Port::Preferred).await.unwrap(), listen(Port::Preferred).await);
    assert_ne!(second.addr, third.unwrap().addr);
}

/// A neighbour who has the other loopback address would be sent the token by some browsers.
#[tokio::test]
async fn half_a_port_is_not_enough() {
    let Ok(neighbour) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        eprintln!("this host has no IPv6: nothing to see here");
        return;
    };
    let port = neighbour.local_addr().unwrap().port();
    assert!(matches!(listen(Port::Exactly(port)).await, Err(ListenError::Taken { .. })));
}

#[tokio::test]
async fn a_server_ends_with_its_handle() {
    let running = listen(Port::Free).await.unwrap();
    let addr = running.addr;
    assert!(TcpStream::connect(addr).is_ok());
    drop(running);
    // The task ends at its next turn.
    while TcpStream::connect(addr).is_ok() {
        tokio::task::yield_now().await;
    }
    let again = listen(Port::Exactly(addr.port())).await.unwrap();
    again.shutdown().await;
    assert!(TcpStream::connect(addr).is_err());
}
