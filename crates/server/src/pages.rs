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
/// What it has where a published recording's own belong.
const TITLE_PLACE: &str = "<title>StackVM</title>";
const ABOUT_PLACE: &str = "<meta name=\"description\" content=\"A computer in this browser\" />";
const BODY_PLACE: &str = "<div id=\"page\"></div>";
/// Built files below this have their content's hash in their name.
const HASHED: &str = "assets/";

/// Answers a GET for any path that is not the interface's.
pub(crate) async fn serve(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    // The pages find their way by the path themselves.
    match path.split_once('/').map_or(path, |(first, _)| first) {
        "" | "index.html" | "m" | "s" | "r" => return index("'none'", None),
        // Made for frames on other sites: there are no cookies, and typing needs a click.
        "embed" => return index("*", None),
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

/// What the first page says to whoever runs no scripts.
pub(crate) struct Shown<'a> {
    pub(crate) title: &'a str,
    pub(crate) description: &'a str,
    /// Address of a picture on this server, and for others.
    pub(crate) poster: &'a str,
    pub(crate) poster_url: &'a str,
    pub(crate) transcript: &'a str,
}

impl Shown<'_> {
    /// The first page, with this in it. A guest wrote part of it, and its owner the rest: all of it
    /// is text.
    fn put_into(&self, page: &str) -> String {
        let [title, description, transcript] =
            [self.title, self.description, self.transcript].map(escaped);
        let [poster, poster_url] = [self.poster, self.poster_url].map(escaped);
        let first_line = description.lines().next().unwrap_or_default();
        let head = format!(
            "<title>{title} · StackVM</title>\
             <meta property=\"og:title\" content=\"{title}\" />\
             <meta property=\"og:description\" content=\"{first_line}\" />\
             <meta property=\"og:type\" content=\"video.other\" />\
             <meta property=\"og:image\" content=\"{poster_url}\" />"
        );
        let body = format!(
            "<div id=\"page\"><article class=\"sheet\"><h1>{title}</h1><p>{description}</p>\
             <img src=\"{poster}\" alt=\"What its terminal showed\" />\
             <h2>Transcript</h2><pre>{transcript}</pre></article></div>"
        );
        let about = format!("<meta name=\"description\" content=\"{first_line}\" />");
        page.replace(TITLE_PLACE, &head).replace(ABOUT_PLACE, &about).replace(BODY_PLACE, &body)
    }
}

/// As text and as an attribute's value.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The first page, with a nonce of its own for the style elements that the terminal makes.
/// `ancestors`: which sites may frame it.
pub(crate) fn index(ancestors: &str, shown: Option<&Shown<'_>>) -> Response {
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
    // First the nonce: what comes after may say the same word.
    let text = text.replace(NONCE_PLACE, &nonce);
    let text = shown.map_or_else(|| text.clone(), |shown| shown.put_into(&text));
    let mut response = text.into_response();
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
    fn a_recordings_page_says_what_it_shows_as_text() {
        let at = PAGES.binary_search_by(|page| page.path.cmp("index.html")).unwrap();
        let page = std::str::from_utf8(PAGES[at].bytes).unwrap();
        let shown = Shown {
            title: "a \"lesson\"",
            description: "</title><script>1</script>\nmore",
            poster: "/r/x/poster.svg",
            poster_url: "https://example.org/r/x/poster.svg",
            transcript: "root# cat <x>\n",
        };
        let text = shown.put_into(page);
        let parts = [
            "<title>a &quot;lesson&quot; · StackVM</title>",
            "content=\"&lt;/title&gt;&lt;script&gt;1&lt;/script&gt;\" />",
            "<pre>root# cat &lt;x&gt;\n</pre>",
            "<img src=\"/r/x/poster.svg\"",
            "\"og:image\" content=\"https://example.org/r/x/poster.svg\"",
        ];
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("<script>").count(), 0, "{text}");
        assert_eq!(text.matches("name=\"description\"").count(), 1, "{text}");
    }

    #[test]
    fn pages_can_be_found_and_stay_small() {
        assert!(PAGES.is_sorted_by(|a, b| a.path < b.path));
        assert!(PAGES.iter().any(|page| page.path == "index.html"));
        let sent: usize = PAGES.iter().map(|page| page.gzip.unwrap_or(page.bytes).len()).sum();
        assert!(sent <= 350 << 10, "the page is {sent} bytes");
        assert!(PAGES.iter().all(|page| content_type(page.path) != "application/octet-stream"));
    }
}
