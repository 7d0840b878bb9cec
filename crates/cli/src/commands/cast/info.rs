//! `stackvm cast info`: what is in a recording.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stackvm_machine::instant::Ticks;
use stackvm_store::chunks::file::FileAt;
use stackvm_timeline::note::{Note, Words};
use stackvm_timeline::{BranchId, Timeline, vmcast};

use super::{joined, show_elapsed};
use crate::args::CastInfo;
use crate::casts::{self, Found};
use crate::days;
use crate::values::{show_bytes, show_size};

/// Everything that is shown, counted.
struct Facts {
    timeline: Timeline,
    found: Found,
    /// Branches that are not deleted.
    branches: Vec<BranchId>,
    /// Inputs by whom, on those.
    inputs: BTreeMap<String, u64>,
    /// Name and size in bytes of each part of the file, or of the journal's folder.
    parts: Vec<(String, u64)>,
}

pub(super) fn run(args: &CastInfo) -> Result<u8> {
    let facts = facts(&args.file)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&facts.json())?);
    } else {
        print!("{}", facts.text());
    }
    Ok(0)
}

fn facts(file: &Path) -> Result<Facts> {
    let (found, newest) = casts::newest(file)?;
    let timeline = Timeline::open(&newest)?;
    let count = timeline.branches().len() as u32;
    let alive = |branch: &BranchId| !timeline.branch(*branch).deleted;
    let branches: Vec<BranchId> = (0..count).map(BranchId).filter(alive).collect();
    let mut inputs = BTreeMap::new();
    for &branch in &branches {
        for entry in timeline.entries(branch, 0) {
            *inputs.entry(timeline.actor(entry?.actor).to_owned()).or_default() += 1;
        }
    }
    let parts = match found {
        Found::File => file_parts(&newest)?,
        Found::Journal => folder_parts(&newest)?,
    };
    Ok(Facts { found, branches, inputs, parts, timeline })
}

/// The parts of a `.vmcast`.
fn file_parts(file: &Path) -> Result<Vec<(String, u64)>> {
    let place = file.display().to_string();
    let source = FileAt::open(file).with_context(|| format!("{place} cannot be read"))?;
    Ok(vmcast::entries(&place, Arc::new(source))?)
}

/// The files of a journal: its packs hold keyframes.
fn folder_parts(folder: &Path) -> Result<Vec<(String, u64)>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            parts.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
        }
    }
    parts.sort();
    Ok(parts)
}

impl Facts {
    /// How long a branch's whole path is.
    fn length(&self, branch: BranchId) -> Ticks {
        self.timeline.branch(branch).end.since(self.timeline.begin(branch))
    }

    fn bytes(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Marks and comments of branches that are not deleted.
    fn notes(&self) -> impl Iterator<Item = &Note> {
        self.timeline.notes().iter().filter(|note| self.branches.contains(&note.branch))
    }

    fn json(&self) -> Value {
        let (timeline, header) = (&self.timeline, self.timeline.header());
        let branches = self.branches.iter().map(|&id| {
            let branch = timeline.branch(id);
            json!({
                "name": branch.name,
                "author": branch.author,
                "created_unix_ms": branch.created_unix_ms,
                "length_s": self.length(id).ns() as f64 / 1e9,
                "begin": timeline.begin(id).to_string(),
                "end": branch.end.to_string(),
                "inputs": branch.entries,
                "keyframes": timeline.keyframes_of(id).len(),
            })
        });
        let notes = self.notes().map(|note| {
            let begin = timeline.begin(note.branch);
            let words = match &note.words {
                Words::Mark(name) => json!({ "mark": name }),
                Words::Comment(text) => json!({ "comment": text }),
            };
            let place = json!({
                "branch": timeline.branch(note.branch).name,
                "elapsed_s": note.at.since(begin).ns() as f64 / 1e9,
                "at": note.at.to_string(),
                "author": note.author,
            });
            joined(place, words)
        });
        let parts = self.parts.iter().map(|(name, bytes)| (name.clone(), json!(bytes)));
        json!({
            "label": header.label,
            "image": header.image,
            "profile": header.profile,
            "determinism_version": header.determinism_version,
            "created_unix_ms": header.created_unix_ms,
            "memory_bytes": header.memory_bytes,
            "harts": header.harts,
            "disks": header.disks.len(),
            "nics": header.nics,
            "seed": header.seed,
            "finished": self.found == Found::File,
            "branches": branches.collect::<Vec<_>>(),
            "inputs_by": self.inputs,
            "notes": notes.collect::<Vec<_>>(),
            "keyframes": timeline.keyframes().len(),
            "bytes": self.bytes(),
            "parts_bytes": parts.collect::<serde_json::Map<_, _>>(),
        })
    }

    fn text(&self) -> String {
        let (timeline, header) = (&self.timeline, self.timeline.header());
        let mut text = String::new();
        let mut row = |name: &str, value: String| text += &format!("{name:<10} {value}\n");
        row("machine", self.machine());
        if let Some(image) = &header.image {
            row("image", image.clone());
        }
        row("recorded", days::for_people(header.created_unix_ms) + " UTC");
        if self.found == Found::Journal {
            row("state", "not finished: this is its journal".to_owned());
        }
        let by: Vec<String> =
            self.inputs.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let total: u64 = self.inputs.values().sum();
        row(
            "inputs",
            if by.is_empty() { "0".into() } else { format!("{total}: {}", by.join(", ")) },
        );
        for &id in &self.branches {
            let branch = timeline.branch(id);
            // Scripted recordings are nobody's.
            let by = match branch.author.as_str() {
                "" => String::new(),
                author => format!(", by {author}"),
            };
            row(
                "branch",
                format!(
                    "{}  {} long, {} inputs of its own{by}",
                    branch.name,
                    show_elapsed(self.length(id)),
                    branch.entries,
                ),
            );
        }
        for note in self.notes() {
            let elapsed = show_elapsed(note.at.since(timeline.begin(note.branch)));
            let (kind, words) = match &note.words {
                Words::Mark(name) => ("mark", format!("#{name}")),
                Words::Comment(words) => ("comment", words.clone()),
            };
            row(kind, format!("{elapsed}  {}  {words} ({})", note.at, note.author));
        }
        let (first, all) = (timeline.first_keyframes().count(), timeline.keyframes().len());
        row(
            "keyframes",
            format!("{first} to begin from, {} to seek by", all.saturating_sub(first)),
        );
        row("size", show_bytes(self.bytes()));
        for (name, bytes) in &self.parts {
            row("", format!("{:<14} {:>10}  {}", name, show_bytes(*bytes), meaning(name)));
        }
        text
    }

    /// `tiny, 96M, 1 hart, profile virt-1`.
    fn machine(&self) -> String {
        let header = self.timeline.header();
        let harts = if header.harts == 1 { "hart" } else { "harts" };
        let mut text = format!(
            "{}, {}, {} {harts}, profile {}",
            header.label,
            show_size(header.memory_bytes),
            header.harts,
            header.profile
        );
        for (count, what) in [(header.disks.len(), "disk"), (usize::from(header.nics), "nic")] {
            if count > 0 {
                text += &format!(", {count} {what}{}", if count == 1 { "" } else { "s" });
            }
        }
        text
    }
}

/// What a part of a file is for.
fn meaning(name: &str) -> &'static str {
    match name {
        "manifest.json" => "machine, branches, marks",
        "log" => "the inputs",
        "first.pack" => "first keyframe, kernel, disks",
        "later.pack" => "keyframes to seek by; `stackvm cast compact` drops them",
        "track.pack" => "what terminals showed, for searching and seeking",
        _ => "",
    }
}
