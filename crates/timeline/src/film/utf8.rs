//! Text from bytes that come in pieces.

/// Decodes UTF-8 that may be cut anywhere; what is none becomes U+FFFD.
#[derive(Clone, Default, Debug)]
pub struct Decoder {
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Decoder {
    /// The text up to the last whole character.
    pub fn decode(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        let mut text = String::new();
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            if chunks.peek().is_none() && is_cut(chunk.invalid()) {
                self.rest = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Option<char> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER)
    }
}

/// Whether more bytes could make it a character.
fn is_cut(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_whole_however_they_are_cut() {
        let text = "a\u{fc}\u{20ac}\u{1f600}z";
        for cuts in 0..1_u32 << (text.len() - 1) {
            let (mut decoder, mut seen, mut piece) = (Decoder::default(), String::new(), vec![]);
            for (index, byte) in text.bytes().enumerate() {
                piece.push(byte);
                if cuts >> index & 1 == 1 {
                    seen += &decoder.decode(&std::mem::take(&mut piece));
                }
            }
            seen += &decoder.decode(&piece);
            assert_eq!((seen.as_str(), decoder.finish()), (text, None));
        }
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let check = |pieces: &[&[u8]], expected: &str| {
            let mut decoder = Decoder::default();
            let mut seen: String = pieces.iter().map(|piece| decoder.decode(piece)).collect();
            seen.extend(decoder.finish());
            assert_eq!(seen, expected, "{pieces:?}");
        };
        check(&[b"a\xffb"], "a\u{fffd}b");
        check(&[b"a\xe2\x82", b"b"], "a\u{fffd}b");
        check(&[b"\xe2", b"\xe2\x82\xac"], "\u{fffd}\u{20ac}");
        check(&[b"\xe2\x82"], "\u{fffd}");
        check(&[b"\xc3", b"", b"\xbc"], "\u{fc}");
    }
}
