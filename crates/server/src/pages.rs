//! The pages, as built by `web/` and put into the binary by `build.rs`. Serves bytes; knows nothing
//! of machines.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::access::random_name;

/// A file of the pages.
struct Page {
    /// Its path below `/`.
    path: &'static str,
    bytes: &'static [u8],
    /// The same, compressed, where that is smaller.
    gzip: Option<&'static [u8]>,
}

// `PAGES: &[Page]`, sorted by path.
include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// What the first page has where its nonce belongs.
const NONCE_PLACE: &str = "NONCE";
/// Built files below this have their content's hash in their name.
const HASHED: &str = "assets/";

/// Answers a GET for any path that is not the interface's.
pub(crate) async fn serve(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    // The pages find their way by the path themselves.
    match path.split_once('/').map_or(path, |(first, _)| first) {
        "" | "index.html" | "m" | "s" => return index("'none'"),
        // Made for frames on other sites: there are no cookies, and typing needs a click.
        "embed" => return index("*"),
        _ => {}
    }
    let Ok(at) = PAGES.binary_search_by(|page| page.path.cmp(path)) else {
        return (StatusCode::NOT_FOUND, "no such page\n").into_response();
    };
    let page = &PAGES[at];
    let accepts = request.headers().get(header::ACCEPT_ENCODING);
    let accepts_gzip = accepts.and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip"))
    });
    let cache = match path.starts_with(HASHED) {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers = [
        (header::CONTENT_TYPE, content_type(path)),
        (header::CACHE_CONTROL, cache),
        (header::VARY, "accept-encoding"),
    ];
    match page.gzip.filter(|_| accepts_gzip) {
        Some(gzip) => (headers, [(header::CONTENT_ENCODING, "gzip")], gzip).into_response(),
        None => (headers, page.bytes).into_response(),
    }
}

/// The first page, with a nonce of its own for the style elements that the terminal makes.
/// `ancestors`: which sites may frame it.
fn index(ancestors: &str) -> Response {
    let at = PAGES.binary_search_by(|page| page.path.cmp("index.html"));
    let text = at.ok().and_then(|at| std::str::from_utf8(PAGES[at].bytes).ok());
    let (Some(text), Ok(nonce)) = (text, random_name()) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // Against whatever gets text into the page (a guest's output above all): nothing runs, loads or
    // is sent anywhere but what this server serves, and no other site may frame the page. Style
    // attributes carry a guest's 24-bit colours; they can load nothing under this policy.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; \
         style-src-attr 'unsafe-inline'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors {ancestors}"
    );
    let mut response = text.replace(NONCE_PLACE, &nonce).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let policy = HeaderValue::try_from(policy).expect("the policy is of visible characters");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_can_be_found_and_stay_small() {
        assert!(PAGES.is_sorted_by(|a, b| a.path < b.path));
        assert!(PAGES.iter().any(|page| page.path == "index.html"));
        let sent: usize = PAGES.iter().map(|page| page.gzip.unwrap_or(page.bytes).len()).sum();
        assert!(sent <= 350 << 10, "the page is {sent} bytes");
        assert!(PAGES.iter().all(|page| content_type(page.path) != "application/octet-stream"));
    }
}
