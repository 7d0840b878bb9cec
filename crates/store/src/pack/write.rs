//! Writing a pack.

use std::io::{self, Write};

use stackvm_machine::digest::{Digest, FAN_OUT};

use super::index::{self, Extent, HEADER_BYTES};
use super::node;
use super::worker::{Compressed, Compressing, Done, Worker};
use super::{Class, EXTENT_BYTES_MAX, EXTENT_CHUNKS_MAX, PackError, ids::Ids};
use crate::{CHUNK_BYTES_MAX, PAGE_BYTES};

/// Most chunks in a pack, so that its lengths fit into 32 bits: 256 GiB of pages.
const CHUNKS_MAX: usize = 1 << 26;

/// Writes one pack.
#[derive(Debug)]
pub struct PackWriter<W: Write> {
    sink: W,
    written_bytes: u64,
    /// A write failed: what is in the sink is no pack.
    failed: bool,
    open: [Open; 2],
    ids: [Vec<Digest>; 2],
    references: Ids,
    depths: Vec<u32>,
    extents: Vec<Extent>,
    compressing: Compressing<(Class, Vec<u32>)>,
    /// Room that is used again.
    spare: Vec<Compressed>,
}

/// An extent that is being filled.
#[derive(Debug, Default)]
struct Open {
    bytes: Compressed,
    /// Where each chunk ends.
    ends: Vec<u32>,
}

impl<W: Write> PackWriter<W> {
    /// A pack without chunks, compressed in this thread.
    pub fn new(sink: W) -> PackWriter<W> {
        PackWriter::with_worker(sink, Worker::None)
    }

    /// A pack without chunks.
    pub fn with_worker(sink: W, worker: Worker) -> PackWriter<W> {
        PackWriter {
            sink,
            written_bytes: 0,
            failed: false,
            open: Default::default(),
            ids: Default::default(),
            references: Ids::default(),
            depths: Vec::new(),
            extents: Vec::new(),
            compressing: Compressing::new(worker),
            spare: Vec::new(),
        }
    }

    /// Adds a chunk unless the pack has it. `id` is its hash.
    ///
    /// # Errors
    /// The sink's.
    ///
    /// # Panics
    /// When it is empty or has more than [`CHUNK_BYTES_MAX`] bytes.
    pub fn put(&mut self, id: &Digest, bytes: &[u8]) -> Result<(), PackError> {
        assert!((1..=CHUNK_BYTES_MAX).contains(&bytes.len()), "a chunk of {} bytes", bytes.len());
        assert_ne!(*id, Digest::ZERO, "zeroes are elided");
        if self.contains(id) {
            return Ok(());
        }
        self.add(Class::Page, id, bytes)
    }

    /// Adds a node of a tree; when `before` is given, a node that is stored already, only the
    /// children that differ from it are written. `before` comes with its
    /// [depth](crate::Chunks::difference_depth); if that is too deep, the node is written in full.
    ///
    /// # Errors
    /// The sink's.
    pub fn put_node(
        &mut self,
        id: &Digest,
        children: &[Digest; FAN_OUT],
        before: Option<(&Digest, &[Digest; FAN_OUT], u32)>,
    ) -> Result<(), PackError> {
        assert_ne!(*id, Digest::ZERO, "a node of zeroes is elided");
        if self.contains(id) {
            return Ok(());
        }
        let own = |id: &Digest| self.references.get(id);
        let base = before.filter(|(_, _, depth)| *depth < node::DEPTH_MAX);
        let mut record = node::encode(children, base, own);
        let mut depth = base.map_or(0, |(_, _, depth)| depth + 1);
        if base.is_some() {
            let full = node::encode(children, None, own);
            if full.len() <= record.len() {
                (record, depth) = (full, 0);
            }
        }
        self.depths.push(depth);
        self.add(Class::Node, id, &record)
    }

    /// Whether the pack has a chunk.
    pub fn contains(&self, id: &Digest) -> bool {
        self.references.get(id).is_some()
    }

    /// As [`crate::Chunks::difference_depth`], for the nodes of this pack.
    pub fn difference_depth(&self, id: &Digest) -> Option<u32> {
        let reference = self.references.get(id)?;
        (reference & 1 == 1).then(|| self.depths[(reference >> 1) as usize])
    }

    /// Number of chunks put so far.
    pub fn chunks(&self) -> usize {
        self.ids[0].len() + self.ids[1].len()
    }

    /// Bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Writes the index and gives the sink back.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> Result<W, PackError> {
        self.flush(Class::Page)?;
        self.flush(Class::Node)?;
        while let Some(done) = self.compressing.finish()? {
            self.write_extent(done)?;
        }
        self.write_header()?;
        let ids = [&self.ids[0][..], &self.ids[1][..]];
        let index = index::encode(self.written_bytes, &self.extents, ids);
        self.write(&index)?;
        Ok(self.sink)
    }

    fn add(&mut self, class: Class, id: &Digest, bytes: &[u8]) -> Result<(), PackError> {
        if self.chunks() == CHUNKS_MAX {
            return Err(io::Error::other(format!("more than {CHUNKS_MAX} chunks")).into());
        }
        let open = &self.open[class as usize];
        let full = open.ends.len() == EXTENT_CHUNKS_MAX
            || open.bytes.raw.len() + bytes.len() > EXTENT_BYTES_MAX;
        if full {
            self.flush(class)?;
        }
        let ids = &mut self.ids[class as usize];
        self.references.insert(*id, (ids.len() as u64) << 1 | class as u64);
        ids.push(*id);
        let open = &mut self.open[class as usize];
        open.bytes.raw.extend_from_slice(bytes);
        open.ends.push(open.bytes.raw.len() as u32);
        Ok(())
    }

    /// Ends an extent.
    fn flush(&mut self, class: Class) -> Result<(), PackError> {
        let next = Open { bytes: self.spare.pop().unwrap_or_default(), ends: Vec::new() };
        let Open { bytes, ends } = std::mem::replace(&mut self.open[class as usize], next);
        if ends.is_empty() {
            return Ok(());
        }
        match self.compressing.push((class, ends), bytes)? {
            Some(done) => self.write_extent(done),
            None => Ok(()),
        }
    }

    fn write_extent(&mut self, done: Done<(Class, Vec<u32>)>) -> Result<(), PackError> {
        self.write_header()?;
        let (class, ends) = done.what;
        let mut room = done.bytes;
        let compressed = room.compressed().is_some();
        let bytes = room.compressed().unwrap_or(&room.raw);
        let offset = self.written_bytes;
        let uniform = ends.iter().zip(1..).all(|(&end, nth)| end as usize == nth * PAGE_BYTES);
        self.extents.push(Extent {
            class,
            compressed,
            offset,
            stored_bytes: bytes.len() as u32,
            first: 0,
            chunks: ends.len() as u32,
            ends: (!uniform).then(|| ends.into_boxed_slice()),
        });
        self.write(bytes)?;
        room.raw.clear();
        self.spare.push(room);
        Ok(())
    }

    fn write_header(&mut self) -> Result<(), PackError> {
        if self.written_bytes < HEADER_BYTES { self.write(&index::header()) } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        if self.failed {
            return Err(io::Error::other("an earlier part of the pack is missing").into());
        }
        if let Err(error) = self.sink.write_all(bytes) {
            self.failed = true;
            return Err(error.into());
        }
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }
}
