//! Messages as bytes: frames of a length and a message in postcard. What is said in them is not this
//! module's business.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{FRAME_BYTES_MAX, VERSION};

/// Why bytes are not a message, or a message cannot be sent.
#[derive(Debug, Error)]
pub enum CodecError {
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("message of {bytes} bytes: at most {FRAME_BYTES_MAX} are possible")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a message of this version.
    #[error("not a message of protocol version {VERSION}: {0}")]
    Malformed(#[from] postcard::Error),
    /// Bytes left over after the message in its frame.
    #[error("{bytes} bytes too many in a message")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Appends `message` as one frame to `out`.
///
/// # Errors
/// [`CodecError::TooLong`], and `out` is as before.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let body = postcard::to_stdvec(message)?;
    if body.len() > FRAME_BYTES_MAX {
        return Err(CodecError::TooLong { bytes: body.len() });
    }
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Decodes the body of one frame (without its length).
///
/// # Errors
/// See [`CodecError`].
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    if body.len() > FRAME_BYTES_MAX {
        return Err(CodecError::TooLong { bytes: body.len() });
    }
    let (message, rest) = postcard::take_from_bytes(body)?;
    if rest.is_empty() { Ok(message) } else { Err(CodecError::Trailing { bytes: rest.len() }) }
}

/// Collects received bytes and hands out whole messages. After an error the connection is of no
/// more use: frames have lost their beginning.
#[derive(Debug, Default)]
pub struct Decoder {
    pub(super) bytes: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// An empty one.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Adds received bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        // What was handed out goes away here, at most once per read.
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if it has arrived.
    ///
    /// # Errors
    /// See [`CodecError`]. A length above the limit is an error as soon as it is seen.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CodecError> {
        let waiting = &self.bytes[self.taken..];
        let Some((length, rest)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
        let bytes = u32::from_be_bytes(*length) as usize;
        if bytes > FRAME_BYTES_MAX {
            return Err(CodecError::TooLong { bytes });
        }
        let Some(body) = rest.get(..bytes) else { return Ok(None) };
        let message = decode(body)?;
        self.taken += 4 + bytes;
        Ok(Some(message))
    }
}
