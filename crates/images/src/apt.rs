//! Drives the host's own apt, for another architecture and with state directories of its own: the
//! host's packages, lists and cache are neither used nor changed, and no root is needed.
//!
//! apt verifies Debian's signatures against the keyring of the host's `debian-archive-keyring`
//! package. Only the proxy settings of the host's apt configuration are taken over; its hooks and
//! preferences are the host's business.

mod run;
mod sources;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use crate::progress::{Cancelled, Job, Phase};

/// The release images are made of.
pub const SUITE: &str = "trixie";
/// Debian's name of the guest's architecture.
pub const ARCHITECTURE: &str = "riscv64";
/// Where `debian-archive-keyring` puts the keys, newest name first.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];
/// Package lists younger than this are used as they are.
const LISTS_FRESH: Duration = Duration::from_secs(600);

/// Why packages could not be had.
#[derive(Debug, Error)]
pub enum AptError {
    /// The host has no apt.
    #[error(
        "this host has no apt; build the image on a Debian machine, `stackvm image export` it \
         there and `stackvm image import` it here"
    )]
    NoApt,
    /// No Debian mirror is configured.
    #[error(
        "no Debian mirror is in this host's apt configuration; name one with `--mirror URL` \
         (with make: MIRROR=URL)"
    )]
    NoMirror,
    /// `--mirror` is no URL.
    #[error("mirror {0:?} is not a URL such as https://HOST/debian")]
    BadMirror(String),
    /// Debian's keys are not installed.
    #[error(
        "Debian's signing keys are not installed; install the package debian-archive-keyring \
         (expected at {})", KEYRINGS[1]
    )]
    NoKeyring,
    /// The mirror cannot be reached.
    #[error(
        "the mirror {mirror} cannot be reached: {detail}; check the network, or name another with \
         `--mirror URL`"
    )]
    NoNetwork {
        /// Which mirror.
        mirror: String,
        /// What apt says.
        detail: String,
    },
    /// The mirror's signature is wrong.
    #[error("the mirror {mirror} does not carry Debian's valid signature: {detail}")]
    Signature {
        /// Which mirror.
        mirror: String,
        /// What apt says.
        detail: String,
    },
    /// No space for the downloads.
    #[error("no space left in {} for packages", path.display())]
    DiskFull {
        /// Where they were to go.
        path: PathBuf,
    },
    /// Another failure of apt.
    #[error("{command} failed: {detail}")]
    Failed {
        /// Which command.
        command: String,
        /// The end of what it says.
        detail: String,
    },
    /// apt's answer is not understood.
    #[error("unexpected answer of apt-get: {0:?}")]
    Answer(String),
    /// The private state directory cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A package as apt chose it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Name, as in `apt install NAME`.
    pub name: String,
    /// Version, epoch included.
    pub version: String,
    /// Name of its file in the cache.
    pub file_name: String,
    /// Size of its file.
    pub bytes: u64,
}

/// apt with a private state directory.
#[derive(Debug)]
pub struct Apt {
    directory: PathBuf,
    mirror: String,
}

impl Apt {
    /// Prepares a state directory below `cache`. The mirror is the host's own unless named.
    ///
    /// # Errors
    /// [`AptError`], before anything is fetched.
    pub fn new(cache: &Path, mirror: Option<&str>) -> Result<Apt, AptError> {
        if Command::new("apt-get").arg("--version").output().is_err() {
            return Err(AptError::NoApt);
        }
        let mirror = match mirror {
            Some(mirror) => check_mirror(mirror)?,
            None => sources::host_mirror().ok_or(AptError::NoMirror)?,
        };
        let keyring = KEYRINGS.iter().find(|path| Path::new(path).exists());
        let keyring = keyring.ok_or(AptError::NoKeyring)?;
        let apt = Apt { directory: cache.join("apt"), mirror };
        let text = apt.directory.to_string_lossy();
        if !apt.directory.is_absolute() || text.contains(['"', '\n', '\\', ';']) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "apt cannot use such a path");
            return Err(AptError::Io { path: apt.directory, source });
        }
        for part in ["lists/partial", "archives/partial", "empty/partial"] {
            let path = apt.directory.join(part);
            fs::create_dir_all(&path).map_err(|source| AptError::Io { path, source })?;
        }
        let line =
            format!("deb [arch={ARCHITECTURE} signed-by={keyring}] {} {SUITE} main\n", apt.mirror);
        apt.write("sources.list", &line)?;
        apt.write("apt.conf", &apt.configuration())?;
        Ok(apt)
    }

    /// The mirror in use.
    pub fn mirror(&self) -> &str {
        &self.mirror
    }

    /// Fetches and verifies the mirror's package lists, unless they are minutes old.
    ///
    /// # Errors
    /// [`AptError`].
    pub fn update(&self, job: &mut Job<'_>) -> Result<(), AptError> {
        let stamp = self.directory.join("updated");
        let line = fs::read_to_string(self.directory.join("sources.list")).unwrap_or_default();
        let age = fs::metadata(&stamp)
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        let same_mirror = fs::read_to_string(&stamp).is_ok_and(|text| text == line);
        if same_mirror && age.is_some_and(|age| age < LISTS_FRESH) {
            return Ok(());
        }
        self.write("status", "")?;
        let lists = self.directory.join("lists/partial");
        self.run("apt-get", &["update"], job, &mut |job| {
            let done = directory_bytes(&lists);
            job.advance(Phase::Lists, done, done, "reading the mirror's package lists");
        })?;
        self.write("updated", &line)
    }

    /// The packages that `roots` and their dependencies come to on an empty system, in apt's
    /// order of installation. Names in `provided` count as installed already.
    ///
    /// # Errors
    /// [`AptError`].
    pub fn resolve(
        &self,
        roots: &[&str],
        provided: &[&str],
        job: &mut Job<'_>,
    ) -> Result<Vec<Package>, AptError> {
        job.say(Phase::Lists, "choosing packages");
        self.write("status", &status_of(provided))?;
        // Nothing is in the directory `empty`, so that apt lists cached packages as well.
        let archives = format!("Dir::Cache::archives={}/", self.directory.join("empty").display());
        let mut arguments = vec!["-o", &archives, "-y", "--print-uris", "install"];
        arguments.extend(roots);
        let answer = self.run("apt-get", &arguments, job, &mut |_| {})?;
        let lines = answer.lines().filter(|line| line.starts_with('\''));
        lines.map(parse_print_uris).collect()
    }

    /// Fetches what `roots` come to ([`Apt::resolve`] with the same arguments lists it) into the
    /// cache and returns the files in the same order. Interrupted downloads go on where they were.
    ///
    /// # Errors
    /// [`AptError`].
    pub fn download(
        &self,
        roots: &[&str],
        provided: &[&str],
        job: &mut Job<'_>,
    ) -> Result<Vec<(Package, PathBuf)>, AptError> {
        let packages = self.resolve(roots, provided, job)?;
        let total: u64 = packages.iter().map(|package| package.bytes).sum();
        let archives = self.directory.join("archives");
        let missing = packages.iter().any(|package| {
            fs::metadata(archives.join(&package.file_name))
                .map_or(true, |metadata| metadata.len() != package.bytes)
        });
        if missing {
            let mut arguments = vec!["-y", "--download-only", "install"];
            arguments.extend(roots);
            self.run("apt-get", &arguments, job, &mut |job| {
                let done = packages.iter().map(|package| cached_bytes(&archives, package)).sum();
                let message = format!("{} packages from {}", packages.len(), self.mirror);
                job.advance(Phase::Download, done, total, message);
            })?;
        }
        let paths = packages.into_iter().map(|package| {
            let path = archives.join(&package.file_name);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.len() == package.bytes => Ok((package, path)),
                _ => Err(AptError::Answer(format!("{} was not fetched", package.file_name))),
            }
        });
        paths.collect()
    }

    fn write(&self, name: &str, text: &str) -> Result<(), AptError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(|source| AptError::Io { path, source })
    }

    /// The whole of apt's configuration: it is told to read none of the host's files.
    fn configuration(&self) -> String {
        let directory = self.directory.display();
        let nowhere = ["Etc::Main", "Etc::Parts", "Etc::Preferences", "Etc::PreferencesParts"];
        let nothing = ["Etc::SourceParts", "Etc::Trusted", "Etc::TrustedParts"];
        let mut lines: Vec<String> = nowhere
            .iter()
            .chain(&nothing)
            .map(|item| format!("Dir::{item} \"/dev/null\";"))
            .collect();
        lines.extend([
            format!("Dir::Etc::SourceList \"{directory}/sources.list\";"),
            format!("Dir::State \"{directory}/\";"),
            format!("Dir::State::Lists \"{directory}/lists/\";"),
            format!("Dir::State::status \"{directory}/status\";"),
            format!("Dir::Log \"{directory}/\";"),
            format!("Dir::Cache \"{directory}/\";"),
            format!("Dir::Cache::archives \"{directory}/archives/\";"),
            format!("APT::Architecture \"{ARCHITECTURE}\";"),
            format!("APT::Architectures \"{ARCHITECTURE}\";"),
            // As root, apt would drop to a user who may not see the data directory.
            "APT::Sandbox::User \"root\";".to_owned(),
            "APT::Install-Recommends \"false\";".to_owned(),
            "APT::Update::Error-Mode \"any\";".to_owned(),
            "APT::Keep-Downloaded-Packages \"true\";".to_owned(),
            "Acquire::Languages \"none\";".to_owned(),
            "Acquire::PDiffs \"false\";".to_owned(),
            "Acquire::Retries \"3\";".to_owned(),
            "Acquire::http::Timeout \"20\";".to_owned(),
            "Acquire::https::Timeout \"20\";".to_owned(),
        ]);
        lines.extend(host_proxies());
        lines.join("\n") + "\n"
    }
}

/// The host's apt proxy settings, as configuration lines.
fn host_proxies() -> Vec<String> {
    let Ok(output) = Command::new("apt-config").arg("dump").output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted = |line: &&str| {
        let name = line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        name.starts_with("acquire::") && name.contains("proxy") && !name.contains("scripts")
    };
    text.lines().filter(wanted).map(str::to_owned).collect()
}

fn check_mirror(mirror: &str) -> Result<String, AptError> {
    let trimmed = mirror.trim_end_matches('/');
    let schemes = ["http://", "https://", "file:/", "copy:/", "mirror"];
    let known = schemes.iter().any(|scheme| trimmed.starts_with(scheme));
    let plain = trimmed.chars().all(|c| c.is_ascii_graphic() && !"[]\"'#".contains(c));
    let complete = trimmed.split_once(":/").is_some_and(|(_, rest)| rest.len() > 1);
    if known && plain && complete {
        Ok(trimmed.to_owned())
    } else {
        Err(AptError::BadMirror(mirror.to_owned()))
    }
}

/// A dpkg status file in which `provided` are installed, at a version above any real one.
fn status_of(provided: &[&str]) -> String {
    let stanza = |name: &&str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: all\n\
             Multi-Arch: foreign\nVersion: 9999\nMaintainer: none\nDescription: provided\n\n"
        )
    };
    provided.iter().map(stanza).collect()
}

/// `'URI' FILE BYTES HASH`, where FILE is `NAME_VERSION_ARCHITECTURE.deb`.
fn parse_print_uris(line: &str) -> Result<Package, AptError> {
    let parse = || {
        let mut fields = line.split_whitespace().skip(1);
        let (file_name, bytes) = (fields.next()?, fields.next()?.parse().ok()?);
        let mut parts = file_name.strip_suffix(".deb")?.splitn(3, '_');
        let (name, version) = (parts.next()?, parts.next()?);
        parts.next()?;
        if file_name.contains('/') {
            return None;
        }
        Some(Package {
            name: name.to_owned(),
            version: version.replace("%3a", ":"),
            file_name: file_name.to_owned(),
            bytes,
        })
    };
    parse().ok_or_else(|| AptError::Answer(line.to_owned()))
}

fn cached_bytes(archives: &Path, package: &Package) -> u64 {
    let size = |path: PathBuf| fs::metadata(path).map(|metadata| metadata.len()).ok();
    let whole = size(archives.join(&package.file_name));
    let part = || size(archives.join("partial").join(&package.file_name));
    whole.or_else(part).unwrap_or(0).min(package.bytes)
}

fn directory_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_must_be_urls() {
        let check = |mirror: &str, expected: Option<&str>| {
            assert_eq!(check_mirror(mirror).ok().as_deref(), expected, "{mirror}");
        };
        check("https://m.example/debian/", Some("https://m.example/debian"));
        check("file:/srv/debian", Some("file:/srv/debian"));
        check("m.example/debian", None);
        check("http://", None);
        check("http://m.example/debian trixie contrib\ndeb", None);
        check("http://m.example/[trusted=yes]", None);
    }

    #[test]
    fn answers_are_taken_apart() {
        let line = "'http://m.example/p_1%3a2.deb' p+x_1%3a2.0-1+b1_riscv64.deb 941532 MD5Sum:00";
        let expected = Package {
            name: "p+x".to_owned(),
            version: "1:2.0-1+b1".to_owned(),
            file_name: "p+x_1%3a2.0-1+b1_riscv64.deb".to_owned(),
            bytes: 941_532,
        };
        assert_eq!(parse_print_uris(line).expect("well formed"), expected);
        assert!(parse_print_uris("'x' ../y_1_all.deb 5").is_err());
        assert!(parse_print_uris("'x' y_1_all.deb many").is_err());
    }
}
