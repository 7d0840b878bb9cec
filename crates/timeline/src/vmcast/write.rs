//! Writing a `.vmcast`.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stackvm_machine::digest::HashTree;
use stackvm_machine::memory::PageBytes;
use stackvm_store::chunks::{FileAt, data_after};
use stackvm_store::tree::{self, Blob};
use stackvm_store::{
    Digest, NoChunks, PAGE_BYTES, Pack, PackError, PackSet, PackWriter, Slice, Tree,
};

use super::manifest::{BranchEntry, FORMAT, Manifest, VERSION, names};
use super::zip::{self, Written};
use super::{Keyframes, Progress, WriteError, select};
use crate::branch::BranchId;
use crate::header::{
    ConfigureError, Content, DiskBase, Header, HeaderFirmware, open_disk, open_unchanged,
    read_content,
};
use crate::keyframe::Keyframe;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::log::LogWriter;
use crate::timeline::{OpenError, Timeline, trees_of};

/// How far it is, and whether it was cancelled.
struct Meter<'a, 'p> {
    progress: RefCell<&'a mut Progress<'p>>,
    done: RefCell<u64>,
    total: u64,
}

impl Meter<'_, '_> {
    fn add(&self, bytes: u64) -> io::Result<()> {
        let mut done = self.done.borrow_mut();
        *done += bytes;
        let total = self.total.max(*done);
        if (self.progress.borrow_mut())(*done, total) {
            return Ok(());
        }
        Err(io::Error::other(WriteError::Cancelled))
    }
}

/// A file that is being written, entry by entry.
struct Output<'a, 'p> {
    file: File,
    path: PathBuf,
    offset: u64,
    entries: Vec<Written>,
    meter: &'a Meter<'a, 'p>,
}

/// One of its entries.
struct EntryWriter<'a, 'p> {
    file: File,
    buffer: Vec<u8>,
    offset: u64,
    bytes: u64,
    crc: crc32fast::Hasher,
    meter: &'a Meter<'a, 'p>,
}

const BUFFER_BYTES: usize = 1 << 20;

impl Write for EntryWriter<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(buf);
        self.crc.update(buf);
        self.bytes += buf.len() as u64;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.meter.add(self.buffer.len() as u64)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<'a, 'p> Output<'a, 'p> {
    fn error(&self) -> impl Fn(io::Error) -> WriteError {
        let place = self.path.display().to_string();
        move |error| match error.downcast::<WriteError>() {
            Ok(inner) => inner,
            Err(error) => WriteError::Io { place: place.clone(), error },
        }
    }

    fn pack_error(&self) -> impl Fn(PackError) -> WriteError {
        let io = self.error();
        move |error| match error {
            PackError::Io(error) => io(error),
            PackError::Read(error) => WriteError::Open(error.into()),
        }
    }

    fn begin(&self, name: &str) -> Result<EntryWriter<'a, 'p>, WriteError> {
        Ok(EntryWriter {
            file: self.file.try_clone().map_err(self.error())?,
            buffer: Vec::new(),
            offset: self.offset + zip::local_bytes(name),
            bytes: 0,
            crc: crc32fast::Hasher::new(),
            meter: self.meter,
        })
    }

    /// Ends an entry; says where its bytes are.
    fn end(
        &mut self,
        name: &'static str,
        mut entry: EntryWriter<'a, 'p>,
    ) -> Result<(u64, u64), WriteError> {
        entry.flush().map_err(self.error())?;
        let written =
            Written { name, local: self.offset, crc: entry.crc.finalize(), bytes: entry.bytes };
        let header = zip::local_header(&written);
        self.file.write_all_at(&header, self.offset).map_err(self.error())?;
        let data = self.offset + header.len() as u64;
        self.offset = data + entry.bytes;
        self.entries.push(written);
        Ok((data, entry.bytes))
    }

    fn put(&mut self, name: &'static str, bytes: &[u8]) -> Result<(), WriteError> {
        let mut entry = self.begin(name)?;
        entry.write_all(bytes).map_err(self.error())?;
        self.end(name, entry).map(|_| ())
    }

    fn finish(mut self) -> Result<(), WriteError> {
        let directory = zip::directory(&self.entries, self.offset);
        self.file.write_all_at(&directory, self.offset).map_err(self.error())?;
        self.offset += directory.len() as u64;
        self.file.sync_all().map_err(self.error())
    }
}

/// Writes a timeline to `path`: aside, synced, read back, then renamed. Boot files and disks that
/// are files of this computer are taken in; deleted branches that no other one needs are left out.
///
/// # Errors
/// See [`WriteError`].
pub fn write(
    timeline: &Timeline,
    path: &Path,
    keyframes: Keyframes,
    progress: &mut Progress<'_>,
) -> Result<(), WriteError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let aside = path.with_file_name(name);
    let written = write_aside(timeline, &aside, keyframes, progress).and_then(|()| {
        let place = path.display().to_string();
        let io = |error| WriteError::Io { place: place.clone(), error };
        fs::rename(&aside, path).map_err(io)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(io)?;
        folder.sync_all().map_err(io)
    });
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

fn write_aside(
    timeline: &Timeline,
    aside: &Path,
    keyframes: Keyframes,
    progress: &mut Progress<'_>,
) -> Result<(), WriteError> {
    let place = aside.display().to_string();
    let file = File::options().read(true).write(true).create(true).truncate(true).open(aside);
    let file = file.map_err(|error| WriteError::Io { place: place.clone(), error })?;
    let meter = Meter {
        progress: RefCell::new(progress),
        done: RefCell::new(0),
        total: total_bytes(timeline),
    };
    let path = aside.to_owned();
    let mut output = Output { file, path, offset: 0, entries: Vec::new(), meter: &meter };
    let selected = select::select(timeline, keyframes);
    let ranges = write_logs(timeline, &selected.branches, &mut output)?;
    let (header, first) = write_first(timeline, &selected.first, &mut output)?;
    write_later(timeline, &selected.later, first, &mut output)?;
    let tracks = write_tracks(timeline, &selected.branches, &mut output)?;
    let branches = selected.infos.into_iter().zip(ranges).zip(tracks);
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        header,
        actors: timeline.actors().to_vec(),
        branches: branches
            .map(|((branch, (log_start, log_bytes)), track)| BranchEntry {
                branch,
                log_start,
                log_bytes,
                track,
            })
            .collect(),
        keyframes: selected.first.into_iter().chain(selected.later).collect(),
        notes: selected.notes,
    };
    let manifest = serde_json::to_vec(&manifest).map_err(|error| output.error()(error.into()))?;
    if manifest.len() as u64 > MANIFEST_BYTES_MAX {
        let (what, count, max) = ("bytes of manifest", manifest.len() as u64, MANIFEST_BYTES_MAX);
        return Err(OpenError::TooMuch { place, what, count, max }.into());
    }
    output.put(names::MANIFEST, &manifest)?;
    output.finish()?;
    Timeline::open(aside)?.verify_chunks()?;
    Ok(())
}

/// About how much there is to read and write.
fn total_bytes(timeline: &Timeline) -> u64 {
    let packs = timeline.parts().chunks.packs();
    let stored: u64 = packs.iter().map(|pack| pack.size_bytes()).sum();
    let file = |content: &Content| match content {
        Content::File { bytes, .. } => *bytes,
        Content::Stored(_) => 0,
    };
    let header = timeline.header();
    let boot: u64 = header.contents().iter().map(|(_, content)| file(content)).sum();
    let disks = header.disks.iter().map(|disk| match &disk.base {
        DiskBase::File(content) => file(content),
        DiskBase::Stored(_) => 0,
    });
    stored + boot + disks.sum::<u64>()
}

fn write_logs(
    timeline: &Timeline,
    branches: &[BranchId],
    output: &mut Output<'_, '_>,
) -> Result<Vec<(u64, u64)>, WriteError> {
    let mut entry = output.begin(names::LOG)?;
    let mut ranges = Vec::new();
    for branch in branches {
        let start = entry.bytes;
        let mut log = LogWriter::default();
        for item in timeline.entries(*branch, 0) {
            log.push(&item?);
            entry.write_all(&log.take_blocks()).map_err(output.error())?;
        }
        entry.write_all(&log.finish()).map_err(output.error())?;
        ranges.push((start, entry.bytes - start));
    }
    output.end(names::LOG, entry)?;
    Ok(ranges)
}

/// Writes what a replay cannot do without; gives the header that names it, and the pack.
fn write_first(
    timeline: &Timeline,
    keyframes: &[Keyframe],
    output: &mut Output<'_, '_>,
) -> Result<(Header, PackSet), WriteError> {
    let chunks = timeline.chunks();
    let mut pack = PackWriter::new(output.begin(names::FIRST)?);
    let trees: Vec<Tree> = keyframes.iter().flat_map(trees_of).collect();
    tree::copy(&*chunks, &trees, &NoChunks, &mut pack).map_err(output.pack_error())?;
    let mut header = timeline.header().clone();
    let mut take_in = |content: &mut Content, what| -> Result<(), WriteError> {
        if let Content::Stored(blob) = content {
            return tree::copy(&*chunks, &[blob.tree], &NoChunks, &mut pack)
                .map_err(output.pack_error());
        }
        let bytes = read_content(content, what, &*chunks)?;
        let blob = tree::write_blob(&bytes, &NoChunks, &mut pack).map_err(output.pack_error())?;
        *content = Content::Stored(blob);
        Ok(())
    };
    if let Some(kernel) = &mut header.kernel {
        take_in(kernel, "kernel")?;
    }
    if let Some(initrd) = &mut header.initrd {
        take_in(initrd, "initial RAM disk")?;
    }
    if let HeaderFirmware::File(firmware) = &mut header.firmware {
        take_in(firmware, "firmware")?;
    }
    for disk in &mut header.disks {
        let tree = match &disk.base {
            DiskBase::Stored(tree) => {
                tree::copy(&*chunks, &[*tree], &NoChunks, &mut pack)
                    .map_err(output.pack_error())?;
                *tree
            }
            DiskBase::File(content) => write_disk(content, disk.size_bytes, &mut pack, output)?,
        };
        disk.base = DiskBase::Stored(tree);
    }
    let sink = pack.finish().map_err(output.pack_error())?;
    let (data, bytes) = output.end(names::FIRST, sink)?;
    let file = output.file.try_clone().and_then(FileAt::new).map_err(output.error())?;
    let source = Slice::new(Arc::new(file), data, bytes).expect("it was just written");
    let written = PackSet::new();
    written.add(Pack::open(names::FIRST, Arc::new(source)).map_err(OpenError::Chunks)?);
    Ok((header, written))
}

/// Pages of a disk that are read at a time.
const READ_PAGES: usize = 256;

/// Writes a disk that is a file of this computer.
fn write_disk(
    content: &Content,
    size_bytes: u64,
    pack: &mut PackWriter<EntryWriter<'_, '_>>,
    output: &Output<'_, '_>,
) -> Result<Tree, WriteError> {
    let (file, place) = open_unchanged(content)?;
    let source = open_disk(content, size_bytes)?;
    let read = |page: u64, buf: &mut PageBytes| {
        let offset = page * PAGE_BYTES as u64;
        let there = (size_bytes - offset).min(PAGE_BYTES as u64) as usize;
        buf[there..].fill(0);
        source.read_at(offset, &mut buf[..there])
    };
    let io = |error: io::Error| match error.downcast::<WriteError>() {
        Ok(inner) => inner,
        Err(error) => WriteError::Io { place: place.clone(), error },
    };
    let mut tree = HashTree::new(size_bytes.div_ceil(PAGE_BYTES as u64));
    let mut whole = match content {
        Content::File { hash: Some(hash), .. } => Some((blake3::Hasher::new(), *hash)),
        _ => None,
    };
    let file_bytes = file.metadata().map_err(io)?.len();
    // A disk is mostly holes, which are not read.
    let mut pages = vec![0; READ_PAGES * PAGE_BYTES];
    let mut data = data_after(&file, 0, file_bytes).map_err(io)?;
    for first in (0..tree.pages()).step_by(READ_PAGES) {
        let offset = first * PAGE_BYTES as u64;
        let there = (size_bytes - offset).min(pages.len() as u64) as usize;
        if data.is_some_and(|(_, end)| end <= offset) {
            data = data_after(&file, offset, file_bytes).map_err(io)?;
        }
        if data.is_none_or(|(start, _)| start >= offset + there as u64) {
            pages.fill(0);
        } else {
            pages[there..].fill(0);
            source.read_at(offset, &mut pages[..there]).map_err(io)?;
            for (n, page) in (first..tree.pages()).zip(pages.as_chunks().0) {
                tree.set(n, Digest::of_page(page));
            }
        }
        if let Some((hasher, _)) = &mut whole {
            let there = file_bytes.saturating_sub(offset).min(pages.len() as u64) as usize;
            hasher.update(&pages[..there]);
        }
        output.meter.add(there as u64).map_err(io)?;
    }
    if whole.is_some_and(|(hasher, hash)| hasher.finalize().as_bytes() != hash.as_bytes()) {
        return Err(WriteError::Changed(place));
    }
    let written = tree::write(&mut tree, None, &mut |n, page| read(n, page), &NoChunks, pack);
    let written = written.map_err(|error| match error {
        // It was changed between the two reads.
        PackError::Read(_) => WriteError::Changed(place.clone()),
        PackError::Io(error) => io(error),
    })?;
    // And it still is what it was.
    open_unchanged(content)?;
    Ok(written)
}

fn write_later(
    timeline: &Timeline,
    keyframes: &[Keyframe],
    first: PackSet,
    output: &mut Output<'_, '_>,
) -> Result<(), WriteError> {
    if keyframes.is_empty() {
        return Ok(());
    }
    let mut pack = PackWriter::new(output.begin(names::LATER)?);
    let trees: Vec<Tree> = keyframes.iter().flat_map(trees_of).collect();
    tree::copy(&*timeline.chunks(), &trees, &first, &mut pack).map_err(output.pack_error())?;
    let sink = pack.finish().map_err(output.pack_error())?;
    output.end(names::LATER, sink).map(|_| ())
}

fn write_tracks(
    timeline: &Timeline,
    branches: &[BranchId],
    output: &mut Output<'_, '_>,
) -> Result<Vec<Option<Blob>>, WriteError> {
    let mut pack = PackWriter::new(output.begin(names::TRACK)?);
    let mut blobs = Vec::new();
    for branch in branches {
        let mut bytes = Vec::new();
        for part in &timeline.parts().tracks[branch.0 as usize] {
            let start = bytes.len();
            bytes.resize(start + (part.end - part.start) as usize, 0);
            let read = part.source.read_at(part.start, &mut bytes[start..]);
            read.map_err(|error| OpenError::Io { place: part.place.to_string(), error })?;
        }
        if bytes.is_empty() {
            blobs.push(None);
            continue;
        }
        let blob = tree::write_blob(&bytes, &NoChunks, &mut pack).map_err(output.pack_error())?;
        blobs.push(Some(blob));
    }
    if pack.chunks() == 0 {
        return Ok(blobs);
    }
    let sink = pack.finish().map_err(output.pack_error())?;
    output.end(names::TRACK, sink)?;
    Ok(blobs)
}

impl From<ConfigureError> for WriteError {
    fn from(error: ConfigureError) -> WriteError {
        match error {
            ConfigureError::Chunks { error, .. } => WriteError::Open(error.into()),
            ConfigureError::Io { place, error } => WriteError::Io { place, error },
            ConfigureError::Changed(place) => WriteError::Changed(place),
        }
    }
}
