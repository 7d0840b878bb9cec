//! Binary frames of a machine's WebSocket: terminal bytes to a page, keystrokes from it. Owns how
//! they are laid out; what may be in them is the room's.

use super::{ConsoleIndex, InputNumber, OUTPUT_BYTES_MAX, PICTURE_BYTES_MAX};

/// A binary frame to a page. Byte 0 is what it is, byte 1 the terminal, then the position as 8
/// big-endian bytes: of the first byte since the run began, or the one where output goes on after a
/// picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// Bytes that the terminal wrote.
    Output = 0,
    /// Begin this terminal anew: 2 bytes columns, 2 bytes rows, then bytes that draw lines above the
    /// screen and the screen on an empty terminal of that size.
    Picture = 1,
}

/// Bytes before the terminal bytes in an output frame.
pub const OUTPUT_HEADER_BYTES: usize = 10;
/// Bytes before the terminal bytes in a picture.
pub const PICTURE_HEADER_BYTES: usize = 14;
/// Bytes before the keys in a frame from a page.
pub const INPUT_HEADER_BYTES: usize = 9;

/// A frame of output.
pub fn output_frame(console: ConsoleIndex, position: u64, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() <= OUTPUT_BYTES_MAX);
    let mut frame = Vec::with_capacity(OUTPUT_HEADER_BYTES + bytes.len());
    frame.extend_from_slice(&[FrameKind::Output as u8, console]);
    frame.extend_from_slice(&position.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// A frame with a picture.
pub fn picture_frame(
    console: ConsoleIndex,
    position: u64,
    (columns, rows): (u16, u16),
    bytes: &[u8],
) -> Vec<u8> {
    assert!(bytes.len() <= PICTURE_BYTES_MAX);
    let mut frame = Vec::with_capacity(PICTURE_HEADER_BYTES + bytes.len());
    frame.extend_from_slice(&[FrameKind::Picture as u8, console]);
    frame.extend_from_slice(&position.to_be_bytes());
    frame.extend_from_slice(&columns.to_be_bytes());
    frame.extend_from_slice(&rows.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// What was typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys<'a> {
    /// Where.
    pub console: ConsoleIndex,
    /// Its number.
    pub number: InputNumber,
    /// What.
    pub bytes: &'a [u8],
}

/// Takes a binary frame of a page apart: the terminal, the number (8 bytes, big-endian), the bytes
/// typed, of which there is at least one.
pub fn parse_keys(frame: &[u8]) -> Option<Keys<'_>> {
    let (&console, rest) = frame.split_first()?;
    let (number, bytes) = rest.split_first_chunk::<8>()?;
    let number = InputNumber(u64::from_be_bytes(*number));
    (!bytes.is_empty() && number.0 > 0).then_some(Keys { console, number, bytes })
}
