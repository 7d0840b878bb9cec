//! `stackvm cast extract`: a file of the guest as it was.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use stackvm_host::past::disk::{DiskError, Disks, Kind};
use stackvm_host::past::{PastError, ThrowAway};
use stackvm_host::protocol::Stream;
use stackvm_timeline::replay::{Boot, Replay};
use stackvm_timeline::{Position, When};

use super::Recording;
use super::sink::Sink;
use crate::args::CastExtract;
use crate::failure::failure;

/// What the guest runs to say what a path is.
const KIND: &str = r#"
if [ -d "$1" ]; then command -v tar >/dev/null && echo folder || echo no tar
elif [ -f "$1" ]; then echo file
elif [ -e "$1" ] || [ -L "$1" ]; then echo special
else echo missing; fi"#;

pub(super) fn run(args: &CastExtract) -> Result<u8> {
    if !args.path.starts_with('/') {
        return Err(failure(format!("{} is no absolute path", args.path), "begin it with /"));
    }
    let recording = Recording::open(&args.file, &args.branch)?;
    let at = place(&recording, args.at.as_ref())?;
    let mut replay = recording.replay()?;
    replay.seek(at)?;
    if args.from_disk {
        return from_disk(args, &mut replay);
    }
    let mut branch = ThrowAway::new(replay.depart(Boot::Read)?);
    match branch.up(args.wait) {
        Ok(()) => from_guest(args, &recording, at, &mut branch),
        Err(error @ (PastError::NoAgent | PastError::NotUp { .. } | PastError::Off { .. })) => {
            eprintln!("{error}; reading the disk instead");
            from_disk(args, &mut replay)
        }
        Err(error) => Err(error.into()),
    }
}

/// The place that is asked for; without one the end.
pub(super) fn place(recording: &Recording, when: Option<&When>) -> Result<Position> {
    let (timeline, branch) = (&recording.timeline, recording.branch);
    match when {
        Some(when) => timeline.find(branch, when).map_err(|error| {
            failure(error.to_string(), "`stackvm cast info` shows its length and marks")
        }),
        None => Ok(Position { branch, at: timeline.branch(branch).end, entries: None }),
    }
}

fn from_guest(
    args: &CastExtract,
    recording: &Recording,
    at: Position,
    branch: &mut ThrowAway,
) -> Result<u8> {
    let kind = branch.exec(&["sh", "-c", KIND, "sh", &args.path], b"", args.wait)?;
    let path = args.path.as_str();
    let when = recording.elapsed(at.at);
    let argv: &[&str] = match String::from_utf8_lossy(&kind.stdout).trim() {
        "file" => &["cat", path],
        "folder" => &["tar", "-C", path, "-cf", "-", "."],
        "missing" => {
            return Err(failure(
                format!("{path} is not there at {when}"),
                format!("`stackvm cast when FILE --changed {path}` says when it is"),
            ));
        }
        "no tar" => {
            return Err(failure(
                format!("{path} is a folder, and the guest has no tar"),
                "--from-disk reads it from the disk",
            ));
        }
        _ => {
            return Err(failure(
                format!("{path} is neither a file nor a folder at {when}"),
                "only files and folders can be copied",
            ));
        }
    };
    let kind = if argv[0] == "tar" { Kind::Folder } else { Kind::File { bytes: 0 } };
    let mut sink = sink(args, kind)?;
    let mut words = Vec::new();
    let code = branch.stream(argv, b"", args.wait, &mut |stream, bytes| match stream {
        Stream::Stdout => sink.write_all(bytes),
        Stream::Stderr => {
            words.extend_from_slice(&bytes[..bytes.len().min(4096)]);
            Ok(())
        }
    })?;
    if code != 0 {
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        return Err(failure(
            format!("{path} could not be read in the guest (code {code}): {words}"),
            "nothing was written",
        ));
    }
    sink.finish()?;
    Ok(0)
}

fn from_disk(args: &CastExtract, replay: &mut Replay) -> Result<u8> {
    let departure = replay.depart(Boot::Later)?;
    let disks = Disks::new(departure.machine, &departure.config)
        .context("the file cannot be read from a disk either")?;
    let found = disks.find(&args.path).map_err(|error| match error {
        DiskError::NotFound { .. } => failure(
            error.to_string(),
            "paths are as on the disk itself: without what the guest mounts on it",
        ),
        error => error.into(),
    })?;
    eprintln!(
        "warning: this is {} on {} as of its disk; what the guest had not written to it yet is \
         missing",
        args.path,
        found.place()
    );
    let mut sink = sink(args, found.kind())?;
    found.copy(&mut sink)?;
    sink.finish()?;
    Ok(0)
}

/// Where the copy goes.
fn sink(args: &CastExtract, kind: Kind) -> Result<Sink> {
    let name = Path::new(&args.path).file_name().unwrap_or("root".as_ref());
    let mut name = name.to_owned();
    if kind == Kind::Folder {
        name.push(".tar");
    }
    match &args.output {
        Some(output) if output.is_dir() => Sink::open(&output.join(name)),
        Some(output) => Sink::open(output),
        None if Path::new(&name).exists() => {
            Err(failure(format!("{} is here already", name.display()), "name another file with -o"))
        }
        None => Sink::open(Path::new(&name)),
    }
}
