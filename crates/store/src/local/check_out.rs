//! From the store into a file: sparse, and every page verified.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Continue, LocalStore, Progress, Watch};
use crate::PAGE_BYTES;
use crate::backend::{RootName, Store, StoreError};
use crate::chunks::ReadError;
use crate::tree;

/// Bytes written at once.
const BATCH_BYTES: usize = 1 << 20;

impl LocalStore {
    /// Writes a root's content into a file that is empty; zeroes become holes. The file is on disk
    /// when this returns.
    ///
    /// # Errors
    /// See [`StoreError`]; what is in the file then is not the content.
    pub fn check_out(
        &self,
        name: &RootName,
        file: &File,
        path: &Path,
        watch: Watch<'_>,
    ) -> Result<(), StoreError> {
        let root = self.root(name)?;
        let io = |error| StoreError::Io { what: "write", path: path.to_owned(), error };
        file.set_len(root.size_bytes).map_err(io)?;
        let mut run = Run { file, offset: 0, bytes: Vec::with_capacity(BATCH_BYTES) };
        let mut stopped = None;
        let visited = tree::visit_pages(self, &root.tree, &mut |number, id| {
            let page = tree::read_page(self, id)?;
            let offset = number * PAGE_BYTES as u64;
            let len = (root.size_bytes - offset).min(PAGE_BYTES as u64) as usize;
            let written = run.put(offset, &page[..len]).map_err(io);
            let progress = Progress { done_bytes: offset, total_bytes: root.size_bytes };
            let stop = match written {
                Err(error) => error,
                Ok(()) if watch(progress) == Continue::No => StoreError::Cancelled,
                Ok(()) => return Ok(()),
            };
            stopped = Some(stop);
            // Ends the walk; what is said is above.
            Err(ReadError::TooLarge { bytes: 0, max: 0 })
        });
        if let Some(error) = stopped {
            return Err(error);
        }
        visited?;
        run.flush().map_err(io)?;
        file.sync_all().map_err(io)
    }
}

/// Pages that follow one another and are written together.
struct Run<'a> {
    file: &'a File,
    offset: u64,
    bytes: Vec<u8>,
}

impl Run<'_> {
    fn put(&mut self, offset: u64, page: &[u8]) -> std::io::Result<()> {
        let follows = self.offset + self.bytes.len() as u64 == offset;
        if !follows || self.bytes.len() >= BATCH_BYTES {
            self.flush()?;
            self.offset = offset;
        }
        self.bytes.extend_from_slice(page);
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.write_all_at(&self.bytes, self.offset)?;
        self.bytes.clear();
        Ok(())
    }
}
