//! Compression of extents and indices: zstd, bounded on the way back.

use std::fmt;

/// Level of zstd: level 3 takes a third more of all the time of a check-in and saves 6 %.
const LEVEL: i32 = 1;

/// Compresses; keeps its tables from one call to the next, which changes no result.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Compressor(zstd::bulk::Compressor<'static>);

#[cfg(not(target_arch = "wasm32"))]
impl Compressor {
    pub(crate) fn new() -> Compressor {
        Compressor(zstd::bulk::Compressor::new(LEVEL).expect("the level exists"))
    }

    /// `raw` compressed; `None` if that does not make it smaller.
    pub(crate) fn compress(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        let mut stored = Vec::new();
        self.compress_into(raw, &mut stored).then_some(stored)
    }

    /// As [`Self::compress`], into `stored`, whatever that was; says whether it is smaller.
    pub(crate) fn compress_into(&mut self, raw: &[u8], stored: &mut Vec<u8>) -> bool {
        stored.clear();
        // With room for all that it may need, it compresses more quickly.
        stored.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.0.compress_to_buffer(raw, stored).is_ok_and(|bytes| bytes < raw.len())
    }
}

/// Where C does not compile, packs are written uncompressed.
#[cfg(target_arch = "wasm32")]
pub(crate) struct Compressor;

#[cfg(target_arch = "wasm32")]
impl Compressor {
    pub(crate) fn new() -> Compressor {
        let _ = LEVEL;
        Compressor
    }

    pub(crate) fn compress(&mut self, _raw: &[u8]) -> Option<Vec<u8>> {
        None
    }

    pub(crate) fn compress_into(&mut self, _raw: &[u8], _stored: &mut Vec<u8>) -> bool {
        false
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor")
    }
}

/// Decompresses; keeps its tables from one call to the next.
#[cfg(unix)]
pub(crate) struct Decompressor(zstd::bulk::Decompressor<'static>);

#[cfg(unix)]
impl Decompressor {
    pub(crate) fn new() -> Decompressor {
        Decompressor(zstd::bulk::Decompressor::new().expect("memory for its tables"))
    }

    /// As [`decompress`], into `raw`, whatever that was.
    pub(crate) fn decompress_into(
        &mut self,
        stored: &[u8],
        raw_bytes: usize,
        raw: &mut Vec<u8>,
    ) -> Result<(), String> {
        raw.clear();
        raw.reserve_exact(raw_bytes);
        let bytes = self.0.decompress_to_buffer(stored, raw).map_err(|error| error.to_string())?;
        expect_size(bytes, raw_bytes)
    }
}

/// The `raw_bytes` that `stored` was made from. No more than that is ever allocated.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn decompress(stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>, String> {
    let raw = zstd::bulk::decompress(stored, raw_bytes).map_err(|error| error.to_string())?;
    expect_size(raw.len(), raw_bytes)?;
    Ok(raw)
}

#[cfg(target_arch = "wasm32")]
pub(crate) use in_rust::decompress;

fn expect_size(bytes: usize, raw_bytes: usize) -> Result<(), String> {
    if bytes == raw_bytes {
        return Ok(());
    }
    Err(format!("it holds {bytes} bytes, not {raw_bytes}"))
}

/// The decoder in Rust: for browsers, and in tests for comparison.
#[cfg(any(target_arch = "wasm32", test))]
pub(crate) mod in_rust {
    use ruzstd::decoding::FrameDecoder;

    /// As [`super::decompress`].
    pub(crate) fn decompress(stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>, String> {
        let mut decoder = FrameDecoder::new();
        // A frame's window is no larger than its content, or a little where that is small.
        decoder.set_max_window_size((raw_bytes as u64).next_power_of_two().max(1 << 20));
        let mut raw = vec![0; raw_bytes];
        let bytes = decoder.decode_all(stored, &mut raw).map_err(|error| error.to_string())?;
        super::expect_size(bytes, raw_bytes)?;
        Ok(raw)
    }
}
