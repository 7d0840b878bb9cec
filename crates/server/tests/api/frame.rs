//! Frames of a WebSocket as a server sends them (RFC 6455, section 5.2): unmasked, whole messages.
//! The tests of rooms, which have sockets of another kind, use it as well.

/// Takes the first frame off: its kind and its payload; `None` while it is not there as a whole.
pub(crate) fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let kind = bytes.first()? & 0x0f;
    let (start, length) = match usize::from(*bytes.get(1)?) {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        length => (2, length),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    bytes.drain(..start + length);
    Some((kind, payload))
}
