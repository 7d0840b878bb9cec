//! Checks that every request passes before anything else looks at it, and the headers that every
//! answer carries. Each check names whom it keeps out.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The names under which this server answers.
#[derive(Clone)]
pub(crate) struct Guard {
    hosts: [String; 3],
}

impl Guard {
    pub(crate) fn new(address: SocketAddr) -> Guard {
        let port = address.port();
        Guard { hosts: ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}")) }
    }

    /// Against DNS rebinding: a web page whose own name was made to point at this host would be of
    /// one origin with this server, but its requests still carry its name.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        single(headers, header::HOST).is_some_and(|host| self.hosts.iter().any(|own| own == host))
    }

    /// Against a web page in another tab, including one from another server on this host: browsers
    /// let any page send POST requests and open WebSockets anywhere, but say for whom.
    fn knows_origin(&self, headers: &HeaderMap) -> bool {
        let origin = single(headers, header::ORIGIN);
        let host = origin.and_then(|origin| origin.strip_prefix("http://"));
        host.is_some_and(|host| self.hosts.iter().any(|own| own == host))
    }

    fn refusal(&self, request: &Request) -> Option<(StatusCode, String)> {
        let headers = request.headers();
        if !self.knows_host(headers) {
            let help = format!("this server answers at http://{}/ only\n", self.hosts[0]);
            return Some((StatusCode::MISDIRECTED_REQUEST, help));
        }
        // GET changes nothing, except that it can become a WebSocket.
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
        let needs_origin = !is_reading || headers.contains_key(header::UPGRADE);
        if needs_origin && !self.knows_origin(headers) {
            return Some((StatusCode::FORBIDDEN, "this request is another page's\n".to_owned()));
        }
        None
    }
}

/// The middleware.
pub(crate) async fn watch(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.refusal(&request) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        // A guest's output that a browser mistakes for a page or script.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Other sites need not learn that this server exists.
        (header::REFERRER_POLICY, "no-referrer"),
        // A page that frames this one to catch clicks or keys (`frame-ancestors` says it again).
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A page in the same browser that opens this one, or embeds what it serves.
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    // The page's own, stricter or wider, policy stays.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The value of a header that occurs exactly once: of two, others might read the other one.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn check(method: &str, headers: &[(&str, &str)], expected: Option<u16>) {
        let guard = Guard::new("127.0.0.1:7333".parse().unwrap());
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refusal = guard.refusal(&request.body(Body::empty()).unwrap());
        assert_eq!(refusal.map(|(status, _)| status.as_u16()), expected, "{method} {headers:?}");
    }

    #[test]
    fn only_own_names_are_answered() {
        for host in ["localhost:7333", "127.0.0.1:7333", "[::1]:7333"] {
            check("GET", &[("host", host)], None);
        }
        for host in ["localhost", "localhost:7334", "evil.example:7333", "127.0.0.1:7333.x", ""] {
            check("GET", &[("host", host)], Some(421));
        }
        check("GET", &[], Some(421));
        check("GET", &[("host", "localhost:7333"), ("host", "evil.example")], Some(421));
    }

    #[test]
    fn only_own_pages_may_act() {
        let host = ("host", "localhost:7333");
        let upgrade = ("upgrade", "websocket");
        for origin in ["http://localhost:7333", "http://127.0.0.1:7333"] {
            check("POST", &[host, ("origin", origin)], None);
            check("GET", &[host, upgrade, ("origin", origin)], None);
        }
        for origin in
            ["null", "http://localhost:8080", "https://localhost:7333", "http://evil.example", ""]
        {
            check("POST", &[host, ("origin", origin)], Some(403));
            check("DELETE", &[host, ("origin", origin)], Some(403));
            check("GET", &[host, upgrade, ("origin", origin)], Some(403));
        }
        check("POST", &[host], Some(403));
        check("GET", &[host, upgrade], Some(403));
    }
}
