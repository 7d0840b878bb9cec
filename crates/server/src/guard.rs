//! Checks that every request passes before anything else looks at it, and the headers that every
//! answer carries. Each check names whom it keeps out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::Line;
use crate::limits::Limits;
use crate::listener::Peer;
use crate::problem::{Kind, Problem};
use crate::reach::Reach;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What requests are checked against.
pub(crate) struct Guard {
    pub(crate) reach: Arc<Reach>,
    pub(crate) limits: Arc<Limits>,
    /// Whose word about callers is believed.
    pub(crate) proxies: Vec<Network>,
}

/// A range of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Who sends a request, as handlers see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    pub(crate) line: Line,
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let bad = || format!("{text:?} is no range of addresses; write 10.0.0.0/8 or 192.0.2.1");
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.parse().map_err(|_| bad())? };
        if bits > most { Err(bad()) } else { Ok(Network { address, bits }) }
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differs = own.to_bits() ^ other.to_bits();
                differs.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differs = own.to_bits() ^ other.to_bits();
                differs.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Guard {
    /// Who really sends it: a neighbour who claims to be another address is only believed where the
    /// owner said that a proxy is.
    fn caller(&self, peer: Peer, headers: &HeaderMap) -> Caller {
        let is_proxy = |address| self.proxies.iter().any(|network| network.contains(address));
        let address = peer.address.ip();
        if !is_proxy(address) {
            return Caller { address, line: peer.line };
        }
        let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
        // From the nearest on: the first that is no proxy of ours is as far as we know.
        let known = chain.iter().rev().map_while(|text| text.trim().parse::<IpAddr>().ok());
        let far = known.clone().find(|address| !is_proxy(*address)).or_else(|| known.last());
        let is_tls = headers.get(FORWARDED_PROTO).is_some_and(|value| value == "https");
        let line = if is_tls { Line::Tls } else { peer.line };
        Caller { address: far.unwrap_or(address), line }
    }

    fn refusal(&self, request: &Request, caller: Caller) -> Option<Problem> {
        let headers = request.headers();
        let host = single(headers, header::HOST);
        // Against DNS rebinding: a web page whose own name was made to point at this host would be
        // of one origin with this server, but its requests still carry its name.
        let Some(host) = host.filter(|host| self.reach.knows_host(host)) else {
            let action = format!("Open {}/ instead.", self.reach.local());
            return Some(Problem::new(
                Kind::Misdirected,
                "this server does not answer under that name",
                action,
            ));
        };
        // Against a web page in another tab, including one from another server on this host:
        // browsers let any page send POST requests and open WebSockets anywhere, but say for whom.
        // No foreign page can send a bearer, which is a header of the caller's own making.
        // GET changes nothing, except that it can become a WebSocket.
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
        let needs_origin = !is_reading || headers.contains_key(header::UPGRADE);
        let origin = single(headers, header::ORIGIN);
        let is_own = origin.is_some_and(|origin| self.reach.knows_origin(origin, host));
        let is_program = headers.contains_key(header::AUTHORIZATION);
        if needs_origin && !is_own && !is_program {
            return Some(Problem::new(
                Kind::OtherPage,
                "this request is not from a page of this server",
                "Use the server's own pages, or send a bearer.",
            ));
        }
        let path = request.uri().path();
        // Pages of recordings are written anew for each request.
        if path.starts_with("/api/") || path.starts_with("/r/") {
            return self.limits.request(caller.address).err();
        }
        None
    }
}

/// The middleware.
pub(crate) async fn watch(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = guard.caller(peer, request.headers());
    request.extensions_mut().insert(caller);
    let is_embedded = request.uri().path().starts_with("/embed/");
    let mut response = match guard.refusal(&request, caller) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        // A guest's output that a browser mistakes for a page or script.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Other sites need not learn that this server exists.
        (header::REFERRER_POLICY, "no-referrer"),
        // A page in the same browser that opens this one.
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // One that embeds what this server serves: that is for pictures which were made for it.
    let policy = headers.entry(HeaderName::from_static("cross-origin-resource-policy"));
    policy.or_insert(HeaderValue::from_static("same-origin"));
    if !is_embedded {
        // A page that frames this one to catch clicks or keys (`frame-ancestors` says it again).
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    // The page's own, stricter or wider, policy stays.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The value of a header that occurs exactly once: of two, others might read the other one.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests;
