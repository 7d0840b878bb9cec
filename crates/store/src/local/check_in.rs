//! From a file into the store.
//!
//! Some threads read, look for zeroes and hash; this one looks chunks up, and what is new it hands
//! to others that compress.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use stackvm_machine::digest::{Digest, HashTree};
use stackvm_machine::memory::PageBytes;

use super::keeper::{Keeper, verified};
use super::session::Session;
use super::{Continue, LocalStore, Progress, Watch, now_unix_s};
use crate::backend::{CONTENT_BYTES_MAX, Root, RootKind, RootName, StoreError};
use crate::chunks::{Chunks, data_after};
use crate::pack::{PackWriter, Worker};
use crate::pool::Pool;
use crate::tree::{self, Tree};
use crate::{PAGE_BYTES, local::host::HostFile};

/// Bytes read at once: they stay in a processor's cache until they are hashed.
const BATCH_BYTES: usize = 256 << 10;
/// Batches of each thread that wait for being looked up, at most.
const BATCHES_MAX: usize = 4;

/// What is checked in, and as what.
#[derive(Clone, Debug)]
pub struct CheckIn {
    /// The new root's name.
    pub name: RootName,
    /// What the content is.
    pub kind: RootKind,
    /// A root that it is a successor of: then nodes are stored as their difference from it.
    pub parent: Option<RootName>,
}

/// What a check-in did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedIn {
    /// The new root.
    pub root: Root,
    /// Bytes that were read: holes of the file are not.
    pub read_bytes: u64,
    /// Pages that were new to the store.
    pub new_pages: u64,
    /// Bytes that the store grew by.
    pub stored_bytes: u64,
}

/// Consecutive pages with their digests.
#[derive(Default)]
struct Batch {
    first_page: u64,
    /// Of the file; the last page is filled with zeroes.
    file_bytes: usize,
    bytes: Vec<u8>,
    digests: Vec<Digest>,
}

impl LocalStore {
    /// Stores a disk image or a dump of RAM. The file must not change meanwhile.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing has changed then.
    pub fn check_in(
        &self,
        file: &File,
        what: &CheckIn,
        watch: Watch<'_>,
    ) -> Result<CheckedIn, StoreError> {
        let size_bytes = file.metadata().map_err(read_error)?.len();
        if size_bytes > CONTENT_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: size_bytes });
        }
        if self.catalog().root(&what.name)?.is_some() {
            return Err(StoreError::Taken(what.name.clone()));
        }
        let (session, parent) = Session::begin(self, what.parent.as_ref())?;
        let path = session.pack_path();
        let sink = self.host.create_new(&path)?;
        let pages = size_bytes.div_ceil(PAGE_BYTES as u64);
        let before = match &parent {
            Some(root) if root.tree.pages == pages => Some(tree::load(self, &root.tree, pages)?),
            _ => None,
        };
        let mut work = Work {
            session: &session,
            pack: PackWriter::with_worker(sink, Worker::Threads),
            tree: HashTree::new(pages),
            before,
            new_pages: 0,
            read_bytes: 0,
        };
        work.pages(file, size_bytes, watch)?;
        let tree = work.nodes()?;
        let Work { pack, new_pages, read_bytes, .. } = work;
        session.trouble()?;
        let row = if pack.chunks() == 0 {
            None
        } else {
            let sink: HostFile = pack.finish()?;
            sink.sync(&path)?;
            Some(verified(self, &path)?)
        };
        let stored_bytes = row.as_ref().map_or(0, |row| row.bytes);
        let CheckIn { name, kind, .. } = what.clone();
        let parent = parent.map(|root| root.name);
        let root = Root { name, kind, tree, size_bytes, parent, created_unix_s: now_unix_s() };
        Keeper::elect(self)?.adopt(&session, row, &root)?;
        Ok(CheckedIn { root, read_bytes, new_pages, stored_bytes })
    }
}

struct Work<'a> {
    session: &'a Session<'a>,
    pack: PackWriter<HostFile>,
    tree: HashTree,
    before: Option<HashTree>,
    new_pages: u64,
    read_bytes: u64,
}

impl Work<'_> {
    /// Reads the file and stores what is new.
    fn pages(&mut self, file: &File, size_bytes: u64, watch: Watch<'_>) -> Result<(), StoreError> {
        let shared = Arc::new(file.try_clone().map_err(read_error)?);
        let work = || {
            let file = Arc::clone(&shared);
            move |batch: Batch| batch.read(&file)
        };
        let mut pool = Pool::start("hash", BATCHES_MAX, work).map_err(read_error)?;
        let mut spare = Vec::new();
        let mut at = 0;
        while let Some((mut offset, end)) = data_after(file, at, size_bytes).map_err(read_error)? {
            while offset < end {
                if pool.is_full() {
                    self.take(&mut pool, &mut spare, size_bytes, watch)?;
                }
                let mut batch: Batch = spare.pop().unwrap_or_default();
                batch.first_page = offset / PAGE_BYTES as u64;
                batch.file_bytes = BATCH_BYTES.min((end - offset) as usize);
                offset += batch.file_bytes as u64;
                pool.push(batch).map_err(read_error)?;
            }
            at = end;
        }
        while self.take(&mut pool, &mut spare, size_bytes, watch)? {}
        Ok(())
    }

    /// Takes the next batch that was read; says whether there was one.
    fn take(
        &mut self,
        pool: &mut Pool<Batch, io::Result<Batch>>,
        spare: &mut Vec<Batch>,
        total_bytes: u64,
        watch: Watch<'_>,
    ) -> Result<bool, StoreError> {
        let Some(batch) = pool.take() else { return Ok(false) };
        let batch = batch.flatten().map_err(read_error)?;
        let (pages, _) = batch.bytes.as_chunks::<PAGE_BYTES>();
        for ((number, digest), page) in (batch.first_page..).zip(&batch.digests).zip(pages) {
            self.page(number, digest, page)?;
        }
        self.read_bytes += batch.bytes.len() as u64;
        let done_bytes = batch.first_page * PAGE_BYTES as u64 + batch.file_bytes as u64;
        spare.push(batch);
        match watch(Progress { done_bytes, total_bytes }) {
            Continue::Yes => Ok(true),
            Continue::No => Err(StoreError::Cancelled),
        }
    }

    fn page(&mut self, number: u64, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if *digest == Digest::ZERO {
            return Ok(());
        }
        self.tree.set(number, *digest);
        let same = self.before.as_ref().is_some_and(|before| before.page(number) == *digest);
        if same || self.pack.contains(digest) || self.session.contains(digest) {
            return Ok(());
        }
        self.new_pages += 1;
        Ok(self.pack.put(digest, bytes)?)
    }

    /// Stores the nodes above.
    fn nodes(&mut self) -> Result<Tree, StoreError> {
        let mut page = |number: u64, _: &mut PageBytes| {
            // It was stored by `page` above, or was known and its pack pinned.
            Err(io::Error::other(format!("page {number} is not stored")))
        };
        let Work { tree, before, session, pack, .. } = self;
        Ok(tree::write(tree, before.as_mut(), &mut page, *session, pack)?)
    }
}

impl Batch {
    /// Reads and hashes.
    fn read(mut self, file: &File) -> io::Result<Batch> {
        self.bytes.resize(self.file_bytes.next_multiple_of(PAGE_BYTES), 0);
        let (bytes, rest) = self.bytes.split_at_mut(self.file_bytes);
        file.read_exact_at(bytes, self.first_page * PAGE_BYTES as u64)?;
        rest.fill(0);
        let (pages, _) = self.bytes.as_chunks::<PAGE_BYTES>();
        self.digests.clear();
        self.digests.extend(pages.iter().map(Digest::of_page));
        Ok(self)
    }
}

fn read_error(error: io::Error) -> StoreError {
    StoreError::Io { what: "read", path: "the file that is checked in".into(), error }
}
