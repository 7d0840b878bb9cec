//! Making, extending and opening journals.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, failed};
use super::manifest::{BaseBranch, BranchInfo, FORMAT, KeyframeRecord, Manifest, VERSION};
use super::read::{self, Loaded};
use super::records::Records;
use super::track_file::TrackFile;
use super::writer::LogFiles;
use super::{Journal, JournalError, base, keyframes, paths, records};
use crate::branch::{BranchId, BranchKind, Origin};
use crate::header::Header;
use crate::keyframe::Keyframe;
use crate::timeline::{OpenError, Timeline};

/// Name of the branch that a timeline begins with.
const TRUNK_NAME: &str = "main";
/// Name of [`crate::ActorId::HOST`].
const HOST_NAME: &str = "host";

impl Journal {
    /// Makes a journal in `folder`, which must not be there. `packs` hold the chunks of `first`, its
    /// first keyframe, and are linked or copied into it. `owner` is told to others that want to
    /// write it ("pid 17, stackvm record").
    ///
    /// # Errors
    /// See [`JournalError`]; nothing is left behind.
    pub fn create(
        folder: &Path,
        header: &Header,
        packs: &[PathBuf],
        first: &Keyframe,
        owner: &str,
    ) -> Result<Journal, JournalError> {
        assert_eq!(first.branch, BranchId::TRUNK, "the first keyframe is the trunk's");
        assert_eq!(first.entries, 0, "nothing comes before the first keyframe");
        make_folder(folder, owner, |aside| {
            let names: Vec<_> = (0..packs.len() as u64).map(paths::pack_name).collect();
            for (pack, name) in packs.iter().zip(&names) {
                // What is linked was read back when it was written.
                if files::link_or_copy(pack, &aside.join(name))? == files::Placed::Copied {
                    keyframes::verify_pack(&aside.join(name))?;
                }
            }
            let (log, tail) = log_paths(aside, BranchId::TRUNK);
            drop(LogFiles::create(&log, &tail, 0, first.at)?);
            let record = KeyframeRecord { keyframe: first.clone(), packs: Vec::new() };
            drop(records::replace(&paths::keyframes(aside), &[record])?);
            let trunk = BranchInfo {
                origin: Origin::Start,
                name: TRUNK_NAME.to_owned(),
                author: String::new(),
                created_unix_ms: header.created_unix_ms,
                kind: BranchKind::Exact,
                deleted: false,
                base: None,
                has_files: true,
                fold: None,
            };
            Ok(Manifest {
                format: FORMAT.to_owned(),
                version: VERSION,
                header: header.clone(),
                base: None,
                packs: names,
                actors: vec![HOST_NAME.to_owned()],
                branches: vec![trunk],
                grows: BranchId::TRUNK,
            })
        })
    }

    /// Makes a journal in `folder` that goes on from a `.vmcast`, whose packs it reads in place. The
    /// trunk grows, until a branch is begun or resumed.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn extend(folder: &Path, vmcast: &Path, owner: &str) -> Result<Journal, JournalError> {
        let timeline = Timeline::open(vmcast)?;
        let remembered = base::remember(folder, vmcast)?;
        make_folder(folder, owner, |aside| {
            let mut branches = Vec::new();
            for (n, branch) in timeline.branches().iter().enumerate() {
                branches.push(BranchInfo {
                    origin: branch.origin,
                    name: branch.name.clone(),
                    author: branch.author.clone(),
                    created_unix_ms: branch.created_unix_ms,
                    kind: branch.kind,
                    deleted: branch.deleted,
                    base: Some(BaseBranch {
                        entries: branch.entries,
                        end: branch.end,
                        track_bytes: read::track_bytes(&timeline.parts().tracks[n]),
                    }),
                    has_files: false,
                    fold: None,
                });
            }
            let trunk = &mut branches[0];
            let part = trunk.base.as_mut().expect("it was just made");
            let last = timeline.keyframes_of(BranchId::TRUNK).last().map_or(0, |k| k.track_bytes);
            part.track_bytes = part.track_bytes.min(last);
            let (log, tail) = log_paths(aside, BranchId::TRUNK);
            drop(LogFiles::create(&log, &tail, part.entries, part.end)?);
            trunk.has_files = true;
            Ok(Manifest {
                format: FORMAT.to_owned(),
                version: VERSION,
                header: timeline.header().clone(),
                base: Some(remembered),
                packs: Vec::new(),
                actors: timeline.actors().to_vec(),
                branches,
                grows: BranchId::TRUNK,
            })
        })
    }

    /// Opens a journal for writing and recovers what its last writer had written. Of the output
    /// track of the branch that grows, what was written after its last keyframe is dropped: a replay
    /// from there makes it again.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(folder: &Path, owner: &str) -> Result<Journal, JournalError> {
        if let Err(error) = fs::metadata(folder) {
            return Err(OpenError::Io { place: folder.display().to_string(), error }.into());
        }
        let lock = paths::lock(folder, owner)?;
        let loaded = read::load(folder)?;
        Timeline::new(loaded.parts(folder)).check()?;
        let mut journal = Journal::of_loaded(folder, loaded, lock)?;
        journal.remove_strays()?;
        Ok(journal)
    }

    fn of_loaded(
        folder: &Path,
        mut loaded: Loaded,
        lock: fs::File,
    ) -> Result<Journal, JournalError> {
        let grows = loaded.manifest.grows;
        let n = grows.0 as usize;
        let damaged = |problem: &str| OpenError::Damaged {
            place: folder.display().to_string(),
            problem: problem.to_owned(),
        };
        let tail = loaded.tails.get_mut(n).and_then(Option::take);
        let tail = tail.ok_or_else(|| damaged("the branch that grows has no log"))?;
        let (log, tail_path) = log_paths(folder, grows);
        if tail.tail.entries > 0 {
            // From here on the open block is the writer's.
            loaded.logs[n].pop();
        }
        let log = LogFiles::open(&log, &tail_path, &tail)?;
        let keyframes = loaded.keyframes();
        let kept = keyframes.iter().filter(|k| k.branch == grows).map(|k| k.track_bytes).max();
        let base_bytes = loaded.manifest.branches[n].base.map_or(0, |base| base.track_bytes);
        let folded = loaded.branches[n].folded.track_bytes;
        let written = read::track_bytes(&loaded.tracks[n]).saturating_sub(base_bytes) + folded;
        let end = kept.unwrap_or(0).saturating_sub(base_bytes).min(written);
        loaded.tracks[n] = read::cut_track(&loaded.tracks[n], base_bytes);
        let track = TrackFile::open(&paths::track(folder, grows), folded, end.max(folded))?;
        let highest = loaded.pack_bytes.keys().filter_map(|name| paths::pack_number(name)).max();
        let parts = loaded.parts(folder);
        Ok(Journal {
            folder: folder.to_owned(),
            grows,
            branches: parts.branches,
            logs: parts.logs,
            tracks: parts.tracks,
            log,
            track,
            base: loaded.base,
            records: loaded.records,
            records_file: Records::open(&paths::keyframes(folder), loaded.records_end)?,
            notes: parts.notes,
            notes_file: Records::open(&paths::notes(folder), loaded.notes_end)?,
            current_chunks: Arc::new(keyframes::CurrentChunks::new(&loaded.chunks)),
            chunks: loaded.chunks,
            pack_bytes: loaded.pack_bytes,
            next_pack: highest.map_or(0, |n| n + 1),
            manifest: loaded.manifest,
            _lock: lock,
        })
    }

    /// Removes packs that no keyframe speaks of: of keyframes that a crash kept from being added.
    fn remove_strays(&mut self) -> Result<(), JournalError> {
        let entries = fs::read_dir(&self.folder).map_err(failed(&self.folder))?;
        for entry in entries {
            let entry = entry.map_err(failed(&self.folder))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let pack = paths::pack_number(name).is_some() && !self.pack_bytes.contains_key(name);
            if pack || name.ends_with(".new") {
                files::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn log_paths(folder: &Path, branch: BranchId) -> (PathBuf, PathBuf) {
    (paths::log(folder, branch), paths::tail(folder, branch))
}

/// Makes a folder aside, lets `fill` put everything into it, and gives it its name.
fn make_folder(
    folder: &Path,
    owner: &str,
    fill: impl FnOnce(&Path) -> Result<Manifest, JournalError>,
) -> Result<Journal, JournalError> {
    if folder.exists() {
        let lock = paths::lock(folder, owner);
        // Who has it is more than that it is there.
        lock?;
        return Err(failed(folder)(io::ErrorKind::AlreadyExists.into()));
    }
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let aside = folder.with_file_name(name);
    let _ = fs::remove_dir_all(&aside);
    let made = fs::create_dir(&aside).map_err(failed(&aside)).and_then(|()| {
        let manifest = fill(&aside)?;
        manifest.write(&aside)?;
        let lock = paths::lock(&aside, owner)?;
        files::rename(&aside, folder)?;
        Ok(lock)
    });
    match made.and_then(|lock| Ok((lock, read::load(folder)?))) {
        Ok((lock, loaded)) => Journal::of_loaded(folder, loaded, lock),
        Err(error) => {
            let _ = fs::remove_dir_all(&aside);
            Err(error)
        }
    }
}
