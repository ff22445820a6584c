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
    }

    /// Number of headers, repeats not counted.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds `head[name_start..name_end]`; false, and nothing added, if the name is there already.
    pub(super) fn insert(&mut self, head: &[u8], start: u32, name_end: u32, end: u32) -> bool {
        let name = head.get(start as usize..name_end as usize).unwrap_or_default();
        let hash = hash(name);
        let is_repeat = self.entries.iter().any(|e| {
            e.hash == hash && head.get(e.name_start as usize..e.name_end as usize) == Some(name)
        });
        if !is_repeat {
            self.entries.push(Entry { name_start: start, name_end, value_end: end, hash });
        }
        !is_repeat
    }
}

/// FNV-1a. Not keyed: a collision costs one comparison, and the table is bounded.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, &b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193))
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
    pub(super) has_content_length: bool,
}

impl<'a> Frame<'a> {
    /// The value of a header, unescaped. Of repeated headers the first wins.
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let entry = self.table.entries.iter().find(|entry| self.name(entry) == name)?;
        Some(self.value(entry))
    }

    /// All headers, unescaped, in order, without repeats.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        let frame = *self;
        frame.table.entries.iter().map(move |entry| (frame.name(entry), frame.value(entry)))
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
