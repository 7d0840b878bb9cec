//! Finds Debian's mirror in the host's apt configuration (sources.list(5)): one-line `.list` files
//! and deb822 `.sources` files.

use std::fs;
use std::path::{Path, PathBuf};

/// Suites of Debian itself that a host's main source may name; any of them is served by the same
/// mirror as the release the images are made of.
const SUITES: [&str; 14] = [
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "experimental",
    "rc-buggy",
];

/// One source of binary packages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// The host's first Debian mirror, or `None` on hosts that have none (other distributions).
pub(super) fn host_mirror() -> Option<String> {
    let etc = Path::new("/etc/apt");
    let mut files = vec![etc.join("sources.list")];
    let mut parts: Vec<PathBuf> = fs::read_dir(etc.join("sources.list.d"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    parts.sort();
    files.extend(parts);
    files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        match path.extension()?.to_str()? {
            "list" => debian_mirror(&parse_one_line(&text)),
            "sources" => debian_mirror(&parse_deb822(&text)),
            _ => None,
        }
    })
}

/// The first URI that serves Debian's main archive: a Debian suite and the component `main`,
/// signed by Debian's keyring or at a path that ends in `debian` as mirrors' paths do. Somebody
/// else's archive that got through fails later, when its signature is checked.
fn debian_mirror(sources: &[Source]) -> Option<String> {
    sources.iter().find_map(|source| {
        let suite = source.suites.iter().any(|suite| SUITES.contains(&suite.as_str()));
        let main = source.components.iter().any(|component| component == "main");
        let keyring =
            source.signed_by.as_ref().is_some_and(|path| path.contains("debian-archive-keyring"));
        let uri = source.uris.iter().find(|uri| {
            let path = uri.trim_end_matches('/');
            let list_file = path.starts_with("mirror") && path.contains("debian");
            !path.starts_with("cdrom:")
                && !path.ends_with("-security")
                && (keyring || path.ends_with("/debian") || list_file)
        })?;
        (suite && main).then(|| uri.trim_end_matches('/').to_owned())
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `deb [option=value ...] uri suite component...`, one per line.
fn parse_one_line(text: &str) -> Vec<Source> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.filter_map(|line| parse_line(line.trim().strip_prefix("deb")?)).collect()
}

fn parse_line(rest: &str) -> Option<Source> {
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by =
        words(options).iter().find_map(|word| Some(word.strip_prefix("signed-by=")?.to_owned()));
    let mut rest = words(rest).into_iter();
    let (uri, suite) = (rest.next()?, rest.next()?);
    Some(Source { uris: vec![uri], suites: vec![suite], components: rest.collect(), signed_by })
}

/// Stanzas of `Field: value` with continuation lines, between blank lines.
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza_source(&stanza));
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((field, value)) = line.split_once(':') {
            stanza.push((field.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn stanza_source(stanza: &[(String, String)]) -> Option<Source> {
    let field = |name: &str| {
        stanza.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    };
    let enabled = field("enabled").is_none_or(|value| value != "no");
    let binary = words(field("types")?).iter().any(|kind| kind == "deb");
    (enabled && binary).then(|| Source {
        uris: words(field("uris").unwrap_or_default()),
        suites: words(field("suites").unwrap_or_default()),
        components: words(field("components").unwrap_or_default()),
        signed_by: field("signed-by").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_found_in_one_line_files() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(debian_mirror(&parse_one_line(text)).as_deref(), expected, "{text}");
        };
        check("deb http://m.example/debian trixie main", Some("http://m.example/debian"));
        check(
            "deb\thttp://m.example/debian/ bookworm main contrib # x",
            Some("http://m.example/debian"),
        );
        check(
            "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
             https://m.example/pub/archive stable main",
            Some("https://m.example/pub/archive"),
        );
        check("# deb http://m.example/debian trixie main", None);
        check("deb-src http://m.example/debian trixie main", None);
        check("deb http://m.example/debian-security trixie-security main", None);
        check("deb http://m.example/ubuntu noble main", None);
        check("deb http://m.example/linux/debian bookworm stable", None);
        check("deb cdrom:[Debian]/ trixie main", None);
        check("deb [", None);
        check("deb http://m.example/debian", None);
    }

    #[test]
    fn mirrors_are_found_in_deb822_files() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(debian_mirror(&parse_deb822(text)).as_deref(), expected, "{text}");
        };
        check(
            "Types: deb deb-src\n# a remark\nURIs: http://m.example/debian\n\
             Suites: trixie trixie-updates\nComponents: main\n",
            Some("http://m.example/debian"),
        );
        check(
            "Types: deb\nURIs: http://m.example/debian-security\nSuites: trixie-security\n\
             Components: main\n\nTypes: deb\nURIs:\n http://n.example/debian\nSuites: trixie\n\
             Components: main\n",
            Some("http://n.example/debian"),
        );
        check(
            "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\n\
             Components: main\n",
            Some("mirror+file:///etc/apt/mirrors/debian.list"),
        );
        check(
            "Types: deb\nEnabled: no\nURIs: http://m.example/debian\nSuites: sid\n\
             Components: main\n",
            None,
        );
        check(
            "Types: deb\nURIs: http://m.example/node_20.x\nSuites: nodistro\nComponents: main",
            None,
        );
        check("nonsense", None);
    }
}
