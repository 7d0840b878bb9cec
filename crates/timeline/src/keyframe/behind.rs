//! Writing keyframes behind the running machine: a thread that is there only while one is written.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stackvm_machine::Frozen;
use stackvm_machine::persist::StateTrees;
use stackvm_store::{Chunks, PackError, PackWriter};
use thiserror::Error;

use super::{Keyframe, Place, write};
use crate::journal::{self, JournalError, VerifiedPack};
use crate::screen::Derived;

/// A keyframe to write.
pub struct Job {
    /// The machine.
    pub frozen: Frozen,
    /// What its terminals show.
    pub derived: Derived,
    /// Where in the timeline it is.
    pub place: Place,
    /// The new pack's file; nothing is there yet.
    pub pack: PathBuf,
}

/// A keyframe that was written and synced.
#[derive(Debug)]
pub struct Finished {
    /// The keyframe.
    pub keyframe: Keyframe,
    /// Its pack, which was read back.
    pub pack: VerifiedPack,
    /// The pack's file.
    pub path: PathBuf,
    /// The pack's size.
    pub pack_bytes: u64,
    /// CPU time it took.
    pub cpu: Duration,
}

/// Why a keyframe could not be written.
#[derive(Debug, Error)]
pub enum KeyframerError {
    /// While writing.
    #[error(transparent)]
    Write(#[from] PackError),
    /// What was written is not what is read back.
    #[error(transparent)]
    ReadBack(#[from] JournalError),
}

impl From<std::io::Error> for KeyframerError {
    fn from(error: std::io::Error) -> KeyframerError {
        KeyframerError::Write(error.into())
    }
}

/// Writes one keyframe after another, each as its difference from the one before.
pub struct Keyframer {
    known: Arc<dyn Chunks>,
    /// Trees of the last keyframe that was written.
    last: Option<StateTrees>,
    running: Option<JoinHandle<Result<(Finished, StateTrees), KeyframerError>>>,
}

impl Keyframer {
    /// A writer of keyframes that leaves out what `known` has. `last` are the trees of the last
    /// keyframe in it, if they are at hand: without them the next one hashes all of RAM.
    pub fn new(known: Arc<dyn Chunks>, last: Option<StateTrees>) -> Keyframer {
        Keyframer { known, last, running: None }
    }

    /// Whether a keyframe is being written, or was and is not taken yet.
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Begins to write a keyframe; `wake` is called when it is done.
    ///
    /// # Errors
    /// The host's, when it has no thread to give.
    ///
    /// # Panics
    /// While [`Keyframer::is_busy`].
    pub fn start(
        &mut self,
        job: Job,
        wake: impl FnOnce() + Send + 'static,
    ) -> Result<(), std::io::Error> {
        assert!(!self.is_busy(), "one keyframe at a time");
        // The thread gets copies: if it fails, the next keyframe begins from the same state.
        let (known, before) = (self.known.clone(), self.last.clone());
        let body = move || {
            let trees = before.clone().unwrap_or_else(|| StateTrees::new(job.frozen.config()));
            let result = write_pack(&job, trees, before, known.as_ref());
            if result.is_err() {
                // Nothing refers to it, and it may fill what is left of the disk.
                let _ = fs::remove_file(&job.pack);
            }
            wake();
            result
        };
        self.running = Some(thread::Builder::new().name("keyframe".into()).spawn(body)?);
        Ok(())
    }

    /// The keyframe that was begun, if it is done. It is known to the next one's writing only once
    /// its pack is among the known chunks: add it there first.
    ///
    /// # Errors
    /// The pack could not be written and is not there.
    pub fn take_finished(&mut self) -> Option<Result<Finished, KeyframerError>> {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) { self.wait() } else { None }
    }

    /// Waits for the keyframe that was begun; `None` if there is none.
    ///
    /// # Errors
    /// As [`Keyframer::take_finished`].
    pub fn wait(&mut self) -> Option<Result<Finished, KeyframerError>> {
        let result = match self.running.take()?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Some(result.map(|(finished, trees)| {
            self.last = Some(trees);
            finished
        }))
    }

    /// Forgets the last keyframe: it could not be added to the known chunks.
    pub fn forget_last(&mut self) {
        self.last = None;
    }
}

impl Drop for Keyframer {
    fn drop(&mut self) {
        // A pack that nobody will add.
        if let Some(Ok(finished)) = self.wait() {
            let _ = fs::remove_file(finished.path);
        }
    }
}

/// Writes a keyframe that is no difference from another, on this thread. `trees` may show any
/// earlier state of the machine; what `known` has is left out.
pub(crate) fn write_alone(
    job: &Job,
    trees: StateTrees,
    known: &dyn Chunks,
) -> Result<(Finished, StateTrees), KeyframerError> {
    let result = write_pack(job, trees, None, known);
    if result.is_err() {
        let _ = fs::remove_file(&job.pack);
    }
    result
}

fn write_pack(
    job: &Job,
    mut trees: StateTrees,
    mut before: Option<StateTrees>,
    known: &dyn Chunks,
) -> Result<(Finished, StateTrees), KeyframerError> {
    let start = thread_cpu();
    let mut pack = PackWriter::new(BufWriter::new(File::create_new(&job.pack)?));
    let Job { frozen, derived, place, .. } = job;
    let keyframe = write(frozen, &mut trees, before.as_mut(), derived, *place, known, &mut pack)?;
    let mut sink = pack.finish()?;
    sink.flush()?;
    let file = sink.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let pack_bytes = file.metadata()?.len();
    sync_folder_of(&job.pack)?;
    let pack = journal::verify_pack(&job.pack)?;
    let cpu = thread_cpu().saturating_sub(start);
    let path = job.pack.clone();
    Ok((Finished { keyframe, pack, path, pack_bytes, cpu }, trees))
}

/// Makes a new file's name safe against a power loss.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// CPU time this thread has used.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}
