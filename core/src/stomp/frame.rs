//! A decoded frame: views into the bytes it came in.
//!
//! The decoder has checked everything (UTF-8, escapes, colons), so reading a header cannot fail.
//! "If a client or a server receives repeated frame header entries, only the first header entry
//! SHOULD be used" (1.2, Repeated Header Entries): later ones are not in the table at all. Header
//! positions live in a [`HeaderTable`] that its owner keeps between frames, so that decoding does
//! not allocate.

use std::borrow::Cow;

use super::command::Command;
use super::escape;
use super::negotiation::Version;

/// Where the headers of a frame are. Reused by its owner so that decoding allocates nothing.
#[derive(Default)]
pub struct HeaderTable {
    entries: Vec<Entry>,
    /// A bit for each hash in the table: most names are new, and this says so without a search.
    seen: u64,
}

/// One header: `name:value`, as offsets into the head. The value starts behind the colon.
#[derive(Clone, Copy)]
struct Entry {
    name_start: u32,
    name_end: u32,
    value_end: u32,
    /// Of the name: makes the search for repeats cheap when a peer sends thousands of them.
    hash: u32,
}

impl HeaderTable {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.seen = 0;
    }

    /// Number of headers, repeats not counted.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds the header whose `name` starts at `start` and whose value ends at `end` of `head`;
    /// false, and nothing added, if the name is there already.
    #[inline]
    pub(super) fn insert(&mut self, head: &[u8], start: u32, name: &[u8], end: u32) -> bool {
        let hash = hash(name, word_at(head, start as usize));
        if self.seen & bit(hash) != 0 && self.contains(head, name, hash) {
            return false;
        }
        self.seen |= bit(hash);
        let name_end = start + name.len() as u32;
        self.entries.push(Entry { name_start: start, name_end, value_end: end, hash });
        true
    }

    /// The value of the header of that name, as it is written in `head`.
    #[inline(always)]
    pub(super) fn raw_value<'h>(&self, head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
        let hash = hash(name, word_at(name, 0));
        if self.seen & bit(hash) == 0 {
            return None;
        }
        let entry = self.find(head, name, hash)?;
        head.get(entry.name_end as usize + 1..entry.value_end as usize)
    }

    fn contains(&self, head: &[u8], name: &[u8], hash: u32) -> bool {
        self.find(head, name, hash).is_some()
    }

    /// The header of that name, as it is written in `head`.
    #[inline]
    fn find(&self, head: &[u8], name: &[u8], hash: u32) -> Option<&Entry> {
        self.entries.iter().find(|e| {
            e.hash == hash && head.get(e.name_start as usize..e.name_end as usize) == Some(name)
        })
    }
}

/// The place of a hash in `seen`.
#[inline]
fn bit(hash: u32) -> u64 {
    1 << (hash >> 26)
}

/// Eight bytes of `input` from `start` on; zeros behind its end.
#[inline]
fn word_at(input: &[u8], start: usize) -> u64 {
    let rest = input.get(start..).unwrap_or_default();
    match rest.first_chunk() {
        Some(&word) => u64::from_le_bytes(word),
        None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// Of the length and both ends, which tell the names of real clients apart. Not keyed: a collision
/// costs one comparison, and the table is bounded. `first_word` are the eight bytes from the name's
/// start on, whatever is behind the name; names are not empty.
#[inline]
fn hash(name: &[u8], first_word: u64) -> u32 {
    let last = name.last_chunk().map_or(0, |&last| u64::from_le_bytes(last));
    // Of a short name what follows it is shifted out.
    let first = first_word << (8 * 8usize.saturating_sub(name.len()).min(7));
    let mixed = (first ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ last.wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 32) as u32
}

/// A complete frame, borrowed from the input it was decoded from.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// The command.
    pub command: Command,
    /// The body, without its NUL.
    pub body: &'a [u8],
    /// Command and header lines.
    pub(super) head: &'a str,
    pub(super) table: &'a HeaderTable,
    /// Escapes are not resolved: 1.0, CONNECT, STOMP, CONNECTED.
    pub(super) is_literal: bool,
    /// Spaces around values do not count: 1.0.
    pub(super) is_trimmed: bool,
    /// Every version writes all header lines as they are.
    pub(super) is_plain: bool,
    pub(super) has_content_length: bool,
}

impl<'a> Frame<'a> {
    /// The value of a header, unescaped. Of repeated headers the first wins. `name` has no byte
    /// that is escaped in names, as no standard header's has: it is looked for as it is written.
    ///
    /// Inlined, so that the hash of a name that is known here costs nothing, and a header that is
    /// not there one comparison.
    #[inline(always)]
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        debug_assert!(!name.contains([':', '\\', '\r', '\n']), "a name that is escaped");
        let hash = hash(name.as_bytes(), word_at(name.as_bytes(), 0));
        match self.table.seen & bit(hash) {
            0 => None,
            _ => self.hashed_header(name, hash),
        }
    }

    fn hashed_header(&self, name: &str, hash: u32) -> Option<Cow<'a, str>> {
        let entry = self.table.find(self.head.as_bytes(), name.as_bytes(), hash)?;
        Some(self.value(entry))
    }

    /// All headers, unescaped, in order, without repeats.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + Clone + use<'a> {
        let frame = *self;
        frame.table.entries.iter().map(move |entry| (frame.name(entry), frame.value(entry)))
    }

    /// All headers, each as its name and its line, `name:value`, without repeats; none unless every
    /// version writes all lines as they are here. Nearly always it does.
    pub fn lines(&self) -> Option<impl Iterator<Item = (&'a str, &'a str)> + use<'a>> {
        let head = self.head;
        let line = move |entry: &Entry| {
            let line = head.get(entry.name_start as usize..entry.value_end as usize)?;
            Some((line.get(..(entry.name_end - entry.name_start) as usize)?, line))
        };
        self.is_plain.then(|| self.table.entries.iter().filter_map(line))
    }

    /// Whether the sender gave a `content-length`: a relay must keep that difference.
    pub fn has_content_length(&self) -> bool {
        self.has_content_length
    }

    fn name(&self, entry: &Entry) -> Cow<'a, str> {
        self.plain(self.head.get(entry.name_start as usize..entry.name_end as usize))
    }

    fn value(&self, entry: &Entry) -> Cow<'a, str> {
        let raw = self.head.get(entry.name_end as usize + 1..entry.value_end as usize);
        self.plain(if self.is_trimmed { raw.map(|raw| raw.trim_matches(' ')) } else { raw })
    }

    /// The decoder has checked ranges and escapes: the fallbacks are never taken.
    fn plain(&self, raw: Option<&'a str>) -> Cow<'a, str> {
        let raw = raw.unwrap_or_default();
        if self.is_literal {
            return Cow::Borrowed(raw);
        }
        escape::unescape(raw, Version::V1_2).unwrap_or(Cow::Borrowed(raw))
    }
}

impl std::fmt::Debug for Frame<'_> {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers().map(|(name, _)| name).collect();
        f.debug_struct("Frame")
            .field("command", &self.command)
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::{decode, Item, Rules};
    use super::*;
    use crate::limits::Limits;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn headers_are_lines_where_all_versions_write_them_alike() {
        let lines = |head: &str, version| -> Option<Vec<(String, String)>> {
            let (input, mut table) = (format!("SEND\n{head}\n\n\0"), HeaderTable::default());
            let rules = Rules::Version(version);
            let item = decode(input.as_bytes(), rules, &Limits::default(), &mut table);
            let Ok(Some((Item::Frame(frame), _))) = item else { panic!("a frame") };
            let lines = frame.lines()?;
            Some(lines.map(|(name, line)| (name.to_owned(), line.to_owned())).collect())
        };
        let pair = |name: &str, line: &str| (name.to_owned(), line.to_owned());
        for version in [Version::V1_1, Version::V1_2] {
            let wanted = vec![pair("a", "a:1"), pair("ä", "ä:")];
            assert_eq!(lines("a:1\r\nä:\na:2", version), Some(wanted));
            for bad in ["a:b:c", "a:\\c", "a:\tb", "\\n:b"] {
                assert_eq!(lines(&format!("ok:1\n{bad}"), version), None, "{bad:?}");
            }
        }
        assert_eq!(lines("a:b\rc", Version::V1_1), None);
        assert_eq!(lines("a:1", Version::V1_0), None);
    }

    proptest! {
        #[test]
        fn repeats_are_found_as_a_set_finds_them(
            names in prop::collection::vec("[ab]{1,3}|[a-c]{1,20}|a{8}[ab]{1,3}c{8}", 0..150),
        ) {
            let (mut table, mut set) = (HeaderTable::default(), HashSet::new());
            let (head, mut start) = (names.concat(), 0);
            for name in &names {
                let end = (start + name.len()) as u32;
                let is_new = table.insert(head.as_bytes(), start as u32, name.as_bytes(), end);
                prop_assert_eq!(is_new, set.insert(name));
                start += name.len();
            }
            prop_assert_eq!(table.len(), set.len());
        }
    }
}
