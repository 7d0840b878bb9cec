//! `stackvm store`: disks and memory dumps as chunks, each stored once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::json;
use stackvm_images::{Cancel, Phase, Progress as Report, data_dir};
use stackvm_machine::instant::Ticks;
use stackvm_store::local::{Change, CheckIn, CheckedIn, Continue, LocalStore, Progress};
use stackvm_store::local::{ScrubReport, Stats};
use stackvm_store::{Root, RootKind, RootName, Store as _, StoreError};

use super::blocking;
use crate::args::{Store, StorePut};
use crate::failure::failure;
use crate::session::Signals;
use crate::values::show_bytes;
use crate::work::with_progress;

/// What takes less long is done without a word.
const QUIET: Duration = Duration::from_secs(1);
/// How often progress is reported after that.
const REPORT_INTERVAL: Duration = Duration::from_millis(80);

/// Does what `stackvm store …` asks.
pub(crate) async fn run(command: Store) -> Result<u8> {
    match command {
        Store::Put(args) => put(args).await,
        Store::Get { name, file } => get(name, file).await,
        Store::Ls { json } => {
            blocking(move || list(&open()?.roots().map_err(explain)?, json)).await
        }
        Store::Rm { names } => {
            blocking(move || each(&names, |store, name| store.remove(name))).await
        }
        Store::Clone { name, new } => {
            blocking(move || each(&[name], |store, name| store.clone_root(name, &new))).await
        }
        Store::Diff { a, b, json } => {
            blocking(move || show_changes(&open()?.diff(&a, &b).map_err(explain)?, json)).await
        }
        Store::Gc { grace } => blocking(move || gc(grace)).await,
        Store::Scrub { json } => scrub(json).await,
        Store::Verify { names, .. } => verify(names).await,
        Store::Stats { json } => {
            blocking(move || show_stats(&open()?.stats().map_err(explain)?, json)).await
        }
    }
}

/// The store of the data directory.
fn open() -> Result<LocalStore> {
    let folder = data_dir()?.join("store");
    LocalStore::open(&folder)
        .with_context(|| format!("could not open the store in {}", folder.display()))
}

/// What to do about an error, where there is something.
fn explain(error: StoreError) -> anyhow::Error {
    let help = match &error {
        StoreError::NoRoot(_) => "`stackvm store ls` lists what is there",
        StoreError::Taken(_) => "choose another name, or free it with `stackvm store rm`",
        StoreError::Read(_) | StoreError::Unreadable { .. } => {
            "`stackvm store scrub` says what is damaged and what needs it"
        }
        _ => return error.into(),
    };
    match std::error::Error::source(&error) {
        None => failure(error.to_string(), help),
        Some(cause) => failure(format!("{error}: {cause}"), help),
    }
}

fn each(
    names: &[RootName],
    mut work: impl FnMut(&LocalStore, &RootName) -> Result<(), StoreError>,
) -> Result<u8> {
    let store = open()?;
    names.iter().try_for_each(|name| work(&store, name).map_err(explain))?;
    Ok(0)
}

/// Turns a store's progress into lines on the terminal, once it takes a while.
fn watch<'a>(
    sink: &'a mut dyn FnMut(Report),
    cancel: &'a Cancel,
    phase: Phase,
    message: String,
) -> impl FnMut(Progress) -> Continue + 'a {
    let mut next = Instant::now() + QUIET;
    move |progress| {
        if cancel.is_cancelled() {
            return Continue::No;
        }
        if Instant::now() >= next {
            next = Instant::now() + REPORT_INTERVAL;
            let Progress { done_bytes, total_bytes } = progress;
            let (done_bytes, total_bytes) = (Some(done_bytes), Some(total_bytes));
            sink(Report { phase, done_bytes, total_bytes, message: message.clone() });
        }
        Continue::Yes
    }
}

async fn put(args: StorePut) -> Result<u8> {
    let StorePut { file: path, name, parent, ram } = args;
    let name = match name {
        Some(name) => name,
        None => name_of(&path)?,
    };
    let what = CheckIn { name, kind: if ram { RootKind::Ram } else { RootKind::Disk }, parent };
    let done = with_progress(&mut Signals::new()?, move |sink, cancel| {
        let file =
            File::open(&path).with_context(|| format!("could not read {}", path.display()))?;
        let mut watch = watch(sink, cancel, Phase::Import, what.name.to_string());
        open()?.check_in(&file, &what, &mut watch).map_err(explain)
    })
    .await?;
    let CheckedIn { root, new_pages, stored_bytes, .. } = done;
    println!(
        "{}  {}, of which {} are new and take {}",
        root.name,
        show_bytes(root.size_bytes),
        show_bytes(new_pages * stackvm_store::PAGE_BYTES as u64),
        show_bytes(stored_bytes)
    );
    Ok(0)
}

fn name_of(path: &Path) -> Result<RootName> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.parse().map_err(|error: StoreError| failure(error.to_string(), "give one with --name"))
}

async fn get(name: RootName, path: PathBuf) -> Result<u8> {
    if path.exists() {
        let message = format!("{} is there already", path.display());
        return Err(failure(message, "choose another file, or remove it first"));
    }
    let to = path.clone();
    with_progress(&mut Signals::new()?, move |sink, cancel| {
        let store = open()?;
        store.root(&name).map_err(explain)?;
        let mut aside = to.clone().into_os_string();
        aside.push(format!(".{}.part", std::process::id()));
        let aside = PathBuf::from(aside);
        let file = File::create_new(&aside)
            .with_context(|| format!("could not write {}", aside.display()))?;
        let mut watch = watch(sink, cancel, Phase::Export, name.to_string());
        let written = store
            .check_out(&name, &file, &aside, &mut watch)
            .map_err(explain)
            .and_then(|()| Ok(std::fs::rename(&aside, &to)?));
        if written.is_err() {
            let _ = std::fs::remove_file(&aside);
        }
        written
    })
    .await?;
    eprintln!("written: {}", path.display());
    Ok(0)
}

fn list(roots: &[Root], json: bool) -> Result<u8> {
    if json {
        let rows: Vec<_> = roots
            .iter()
            .map(|root| {
                json!({
                    "name": root.name.as_str(),
                    "kind": root.kind.label(),
                    "size_bytes": root.size_bytes,
                    "root": root.tree.root.to_string(),
                    "parent": root.parent.as_ref().map(RootName::as_str),
                    "created_unix_s": root.created_unix_s,
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else if roots.is_empty() {
        eprintln!("the store is empty; `stackvm store put FILE` stores a disk image");
    } else {
        println!("{:<24} {:<5} {:>10} {:>5}  PARENT", "NAME", "KIND", "SIZE", "AGE");
        for root in roots {
            println!(
                "{:<24} {:<5} {:>10} {:>5}  {}",
                root.name.as_str(),
                root.kind.label(),
                show_bytes(root.size_bytes),
                age(root.created_unix_s),
                root.parent.as_ref().map_or("", RootName::as_str)
            );
        }
    }
    Ok(0)
}

/// `12s`, `5m`, `3h`, `2d`.
fn age(created_unix_s: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    match now.saturating_sub(created_unix_s) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn show_changes(changes: &[Change], json: bool) -> Result<u8> {
    let bytes: u64 = changes.iter().map(|change| change.bytes).sum();
    if json {
        let rows: Vec<_> = changes
            .iter()
            .map(|change| json!({ "offset": change.offset, "bytes": change.bytes }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else if changes.is_empty() {
        eprintln!("they are equal");
    } else {
        println!("{:>16} {:>12}", "OFFSET", "BYTES");
        for change in changes {
            println!("{:>16} {:>12}", change.offset, change.bytes);
        }
        eprintln!("{} places, {}", changes.len(), show_bytes(bytes));
    }
    Ok(0)
}

fn gc(grace: Ticks) -> Result<u8> {
    let report = open()?.gc(Duration::from_nanos(grace.ns())).map_err(explain)?;
    println!(
        "{} packs are needed; {} ({}) went to quarantine, {} ({}) were removed{}",
        report.kept_packs,
        report.quarantined_packs,
        show_bytes(report.quarantined_bytes),
        report.purged_packs,
        show_bytes(report.purged_bytes),
        match report.rescued_packs {
            0 => String::new(),
            rescued => format!(", {rescued} came back"),
        }
    );
    Ok(0)
}

async fn scrub(json: bool) -> Result<u8> {
    let report = with_progress(&mut Signals::new()?, |sink, cancel| {
        let mut watch = watch(sink, cancel, Phase::Check, "the store".to_owned());
        open()?.scrub(&mut watch).map_err(explain)
    })
    .await?;
    let ScrubReport { packs, chunks, bytes, damages } = report;
    let names = |roots: &[RootName]| roots.iter().map(RootName::to_string).collect::<Vec<_>>();
    if json {
        let damages: Vec<_> = damages
            .iter()
            .map(|damage| json!({ "problem": damage.problem, "roots": names(&damage.roots) }))
            .collect();
        let report =
            json!({ "packs": packs, "chunks": chunks, "bytes": bytes, "damages": damages });
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(u8::from(!damages.is_empty()));
    }
    println!("{packs} packs with {chunks} chunks read, {}", show_bytes(bytes));
    for damage in &damages {
        let needed = match &damage.roots[..] {
            [] => "nothing needs it, or another copy is whole".to_owned(),
            roots => format!("needed by {}", names(roots).join(", ")),
        };
        println!("{}\n  {needed}", damage.problem);
    }
    if damages.is_empty() {
        println!("nothing is damaged");
    }
    Ok(u8::from(!damages.is_empty()))
}

/// Verifies these, or all.
async fn verify(names: Vec<RootName>) -> Result<u8> {
    with_progress(&mut Signals::new()?, move |sink, cancel| {
        let store = open()?;
        let names = if names.is_empty() {
            store.roots().map_err(explain)?.into_iter().map(|root| root.name).collect()
        } else {
            names
        };
        let mut damaged = 0;
        for name in names {
            let mut watch = watch(sink, cancel, Phase::Check, name.to_string());
            match store.verify(&name, &mut watch) {
                Ok(root) => println!("{name}  whole, {}", show_bytes(root.size_bytes)),
                Err(StoreError::Read(error)) => {
                    damaged += 1;
                    println!("{name}  damaged: {error}");
                }
                Err(error) => return Err(explain(error)),
            }
        }
        Ok(u8::from(damaged > 0))
    })
    .await
}

fn show_stats(stats: &Stats, json: bool) -> Result<u8> {
    let Stats {
        roots,
        content_bytes,
        packs,
        pack_bytes,
        chunks,
        quarantined_packs,
        quarantined_bytes,
    } = *stats;
    if json {
        let stats = json!({
            "roots": roots,
            "content_bytes": content_bytes,
            "packs": packs,
            "pack_bytes": pack_bytes,
            "chunks": chunks,
            "quarantined_packs": quarantined_packs,
            "quarantined_bytes": quarantined_bytes,
        });
        println!("{}", serde_json::to_string_pretty(&stats)?);
        return Ok(0);
    }
    println!("{:<12} {roots}, {} as whole files", "content", show_bytes(content_bytes));
    println!("{:<12} {packs}, {}, {chunks} chunks", "packs", show_bytes(pack_bytes));
    println!("{:<12} {quarantined_packs}, {}", "quarantine", show_bytes(quarantined_bytes));
    Ok(0)
}
