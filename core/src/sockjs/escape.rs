//! Text to the inside of a JSON string, as SockJS clients want it (protocol, "Unicode").
//!
//! The short escapes of JSON, `\u00xx` for the other controls, `/` as it is, and in addition lower
//! case `\uxxxx` for U+200C-200F, U+2028-202F, U+2060-206F and U+FFF0-FFFF, which browsers lose or
//! change on some transports. Characters beyond U+FFFF go out as the four bytes they are: every
//! client reads them, and they are a third of a pair of escapes.
//!
//! This is done once per class of subscribers, over every byte of a message: 16 bytes at a time are
//! looked at without a branch, and only those with a candidate in them one by one. A candidate is a
//! control, a quote, a backslash, or the first byte (E2, EF) of what the four ranges start with.

const BLOCK_BYTES: usize = 16;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` escaped, without quotes around it. Pieces of a text may be escaped one by one.
pub fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len());
    // Everything before `copied` is in `out`.
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let block = &bytes[at..bytes.len().min(at + BLOCK_BYTES)];
        if !has_candidate(block) {
            at += block.len();
            continue;
        }
        let block_end = at + block.len();
        while at < block_end {
            let Some((escaped_bytes, code)) = special_at(bytes, at) else {
                at += 1;
                continue;
            };
            out.extend_from_slice(&bytes[copied..at]);
            push_escape(out, code);
            at += escaped_bytes;
            copied = at;
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Appends bytes that ought to be UTF-8 escaped like [`escape`]; what is not becomes U+FFFD,
/// because SockJS carries text only. A piece must not end within a character.
pub fn escape_lossy(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return escape(out, text);
    }
    for chunk in bytes.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            push_escape(out, 0xfffd);
        }
    }
}

/// Without a branch inside, so that it becomes a few vector instructions.
fn has_candidate(block: &[u8]) -> bool {
    let is = |b: u8| (b < 0x20) | (b == b'"') | (b == b'\\') | (b == 0xe2) | (b == 0xef);
    match <&[u8; BLOCK_BYTES]>::try_from(block) {
        Ok(block) => block.iter().fold(false, |seen, &b| seen | is(b)),
        Err(_) => block.iter().any(|&b| is(b)),
    }
}

/// Bytes and code of the character at `at`, if it has to be escaped.
fn special_at(bytes: &[u8], at: usize) -> Option<(usize, u16)> {
    match bytes[at] {
        byte @ (..0x20 | b'"' | b'\\') => Some((1, u16::from(byte))),
        lead @ (0xe2 | 0xef) => {
            let &[second, third] = bytes.get(at + 1..at + 3)? else { return None };
            let is_escaped = matches!(
                (lead, second, third),
                (0xe2, 0x80, 0x8c..=0x8f | 0xa8..=0xaf)
                    | (0xe2, 0x81, 0xa0..=0xaf)
                    | (0xef, 0xbf, 0xb0..=0xbf)
            );
            let bits = |byte: u8, mask: u8| u16::from(byte & mask);
            let code = bits(lead, 0x0f) << 12 | bits(second, 0x3f) << 6 | bits(third, 0x3f);
            is_escaped.then_some((3, code))
        }
        _ => None,
    }
}

fn push_escape(out: &mut Vec<u8>, code: u16) {
    let short = match code {
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        0x22 => b'"',
        0x5c => b'\\',
        _ => {
            let digit = |shift: u16| HEX[usize::from(code >> shift & 0xf)];
            return out.extend([b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
        }
    };
    out.extend([b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    /// The twin: character by character, out of the words of the protocol.
    fn naive(text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            match c {
                '\u{8}' => out += "\\b",
                '\t' => out += "\\t",
                '\n' => out += "\\n",
                '\u{c}' => out += "\\f",
                '\r' => out += "\\r",
                '"' => out += "\\\"",
                '\\' => out += "\\\\",
                '\0'..='\u{1f}'
                | '\u{200c}'..='\u{200f}'
                | '\u{2028}'..='\u{202f}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fff0}'..='\u{ffff}' => out += &format!("\\u{:04x}", u32::from(c)),
                _ => out.push(c),
            }
        }
        out
    }

    /// Catalogue: G12.
    #[test]
    fn every_character_is_escaped_as_the_protocol_says() {
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            assert_eq!(escaped(&text), naive(&text), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn what_goes_out_raw() {
        let text = "/\u{7f}\u{9f}\u{ad}\u{2000}\u{ffef}\u{1f600}</script>%";
        assert_eq!(escaped(text), text);
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        let mut out = Vec::new();
        escape_lossy(&mut out, b"a\xff\"\xe2\x80");
        assert_eq!(out, b"a\\ufffd\\\"\\ufffd");
        out.clear();
        escape_lossy(&mut out, "ä\n".as_bytes());
        assert_eq!(out, "ä\\n".as_bytes());
    }

    /// Texts that are dense in what matters and of every length around a block.
    fn text() -> impl Strategy<Value = String> {
        let range = proptest::char::range;
        let c = prop_oneof![
            6 => any::<char>(),
            6 => prop_oneof![range('a', 'z'), Just('"'), Just('\\'), range('\0', '\u{1f}')],
            6 => prop_oneof![range('\u{2000}', '\u{2070}'), range('\u{ffe0}', '\u{ffff}')],
            20 => Just('x'),
        ];
        proptest::collection::vec(c, 0..80).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn fast_is_naive(text in text()) {
            prop_assert_eq!(escaped(&text), naive(&text));
        }

        /// Catalogue: G12.
        #[test]
        fn a_json_parser_reads_back_what_went_in(text in text()) {
            let read: String = serde_json::from_str(&format!("\"{}\"", escaped(&text))).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn pieces_are_the_whole(text in text(), cut in 0usize..80) {
            let cut = text.char_indices().map(|(i, _)| i).nth(cut).unwrap_or(text.len());
            let pieces = escaped(&text[..cut]) + &escaped(&text[cut..]);
            prop_assert_eq!(pieces, escaped(&text));
        }

        #[test]
        fn lossy_is_the_standard_librarys(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut out = Vec::new();
            escape_lossy(&mut out, &bytes);
            prop_assert_eq!(out, naive(&String::from_utf8_lossy(&bytes)).into_bytes());
        }
    }
}
