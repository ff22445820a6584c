//! What waits for one client, and the shared bytes it points into.
//!
//! A frame is encoded once per class of subscribers into the shard's [`SendArena`]; every
//! subscriber gets a 12-byte [`Segment`] of it in its [`Outbound`]. A segment pins its chunk, so a
//! stalled client costs segments and never copies (design.md §7). A segment that continues the last
//! one extends it, so that a burst on one destination leaves as one contiguous piece.
//!
//! Life of a chunk: current (the arena's own reference keeps it) -> full (only segments keep it) ->
//! spare (no reference) -> current again. All is index and count: no pointer outlives its chunk.

use std::collections::VecDeque;

/// Bytes of a normal chunk. 64 KiB: some hundred typical frames, and small against 4 MB per shard.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks kept for reuse when nothing refers to them; 16 of [`CHUNK_BYTES`] are 1 MiB per shard.
const SPARE_CHUNKS_MAX: usize = 16;

/// Segments whose room an empty outbound may keep, so that a burst does not allocate anew each
/// time.
const KEPT_CAPACITY_MAX: usize = 64;

/// A piece of finished wire bytes: `len` bytes from `offset` on in chunk `chunk` of one arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of the chunk in its arena.
    pub chunk: u32,
    /// First byte within the chunk.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Segment {
    const EMPTY: Segment = Segment { chunk: 0, offset: 0, len: 0 };

    /// Whether `next` starts where this segment ends, in the same chunk.
    fn is_continued_by(self, next: Segment) -> bool {
        self.chunk == next.chunk && self.offset + self.len == next.offset
    }
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    references: u32,
}

/// Reference-counted chunks of finished wire bytes of one shard. Append-only; a chunk is reused
/// when no segment refers to it.
#[derive(Debug)]
pub struct SendArena {
    chunk_bytes: usize,
    chunks: Vec<Chunk>,
    /// Slots of `chunks` without memory, free for a new chunk.
    vacant: Vec<u32>,
    /// Slots of `chunks` with an empty buffer of `chunk_bytes`.
    spare: Vec<u32>,
    /// The chunk that is appended to; the arena holds one reference on it.
    current: Option<u32>,
    /// The oversized chunk of the last append; the arena holds one reference until the next append.
    fresh_big: Option<u32>,
    bytes_held: usize,
}

impl Default for SendArena {
    fn default() -> SendArena {
        SendArena::new(CHUNK_BYTES)
    }
}

impl SendArena {
    /// An arena without memory; chunks of `chunk_bytes` (usually [`CHUNK_BYTES`]) come with use.
    pub fn new(chunk_bytes: usize) -> SendArena {
        SendArena {
            chunk_bytes: chunk_bytes.max(1),
            chunks: Vec::new(),
            vacant: Vec::new(),
            spare: Vec::new(),
            current: None,
            fresh_big: None,
            bytes_held: 0,
        }
    }

    /// Copies `parts` one after the other into one contiguous piece; a piece larger than a chunk
    /// gets a chunk of its own.
    ///
    /// The segment has no reference yet: it is valid until the next `append`, which may reuse the
    /// chunk. [`Outbound::push`] or [`SendArena::retain`] it before. Pieces are below 4 GiB (frame
    /// limits).
    pub fn append(&mut self, parts: &[&[u8]]) -> Segment {
        if let Some(big) = self.fresh_big.take() {
            self.release_chunk(big, 1);
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(u32::try_from(len).is_ok(), "a frame is far below 4 GiB");
        if len == 0 {
            return Segment::EMPTY;
        }
        let index = if len > self.chunk_bytes {
            let index = self.new_chunk(len);
            self.fresh_big = Some(index);
            index
        } else {
            self.chunk_with_room(len)
        };
        let bytes = &mut self.chunks[index as usize].bytes;
        let offset = bytes.len() as u32;
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Segment { chunk: index, offset, len: len as u32 }
    }

    /// The bytes of a segment of this arena.
    pub fn bytes(&self, segment: Segment) -> &[u8] {
        if segment.len == 0 {
            return &[];
        }
        let start = segment.offset as usize;
        &self.chunks[segment.chunk as usize].bytes[start..start + segment.len as usize]
    }

    /// Keeps the segment's chunk alive until the matching [`SendArena::release`]. Use it for a
    /// shared tail that outlives further appends before it is pushed.
    pub fn retain(&mut self, segment: Segment) {
        if segment.len > 0 {
            let chunk = &mut self.chunks[segment.chunk as usize];
            debug_assert!(chunk.references > 0, "retained a segment of a free chunk");
            chunk.references += 1;
        }
    }

    /// As `count` times [`SendArena::retain`]: for a segment that many share.
    pub fn retain_many(&mut self, segment: Segment, count: u32) {
        if segment.len > 0 {
            self.chunks[segment.chunk as usize].references += count;
        }
    }

    /// Gives back one reference on the segment's chunk.
    pub fn release(&mut self, segment: Segment) {
        if segment.len > 0 {
            self.release_chunk(segment.chunk, 1);
        }
    }

    /// Number of chunks somebody refers to, the arena's own current chunk included.
    pub fn chunks_in_use(&self) -> usize {
        self.chunks.len() - self.vacant.len() - self.spare.len()
    }

    /// Bytes allocated for chunks, spare ones included.
    pub fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    fn chunk_with_room(&mut self, len: usize) -> u32 {
        if let Some(index) = self.current {
            if self.chunks[index as usize].bytes.len() + len <= self.chunk_bytes {
                return index;
            }
            self.current = None;
            self.release_chunk(index, 1);
        }
        let index = match self.spare.pop() {
            Some(index) => {
                self.chunks[index as usize].references = 1;
                index
            }
            None => self.new_chunk(self.chunk_bytes),
        };
        self.current = Some(index);
        index
    }

    fn new_chunk(&mut self, capacity: usize) -> u32 {
        let chunk = Chunk { bytes: Vec::with_capacity(capacity), references: 1 };
        self.bytes_held += chunk.bytes.capacity();
        match self.vacant.pop() {
            Some(index) => {
                self.chunks[index as usize] = chunk;
                index
            }
            None => {
                self.chunks.push(chunk);
                (self.chunks.len() - 1) as u32
            }
        }
    }

    #[inline]
    fn release_chunk(&mut self, index: u32, count: u32) {
        let chunk = &mut self.chunks[index as usize];
        debug_assert!(chunk.references >= count, "released a segment twice");
        chunk.references = chunk.references.saturating_sub(count);
        if chunk.references > 0 {
            return;
        }
        if chunk.bytes.capacity() <= self.chunk_bytes && self.spare.len() < SPARE_CHUNKS_MAX {
            chunk.bytes.clear();
            self.spare.push(index);
        } else {
            self.bytes_held -= chunk.bytes.capacity();
            chunk.bytes = Vec::new();
            self.vacant.push(index);
        }
    }
}

/// References to give back, those of one chunk together: of many connections that were sent the
/// same.
#[derive(Debug)]
pub struct Releases {
    chunk: u32,
    count: u32,
}

impl Default for Releases {
    fn default() -> Releases {
        Releases { chunk: Segment::EMPTY.chunk, count: 0 }
    }
}

impl Releases {
    /// Gives back one reference on the segment's chunk, now or later.
    #[inline]
    pub fn push(&mut self, arena: &mut SendArena, segment: Segment) {
        if segment.chunk != self.chunk {
            self.finish(arena);
            self.chunk = segment.chunk;
        }
        self.count += u32::from(segment.len > 0);
    }

    /// Gives back what has not been given back yet.
    pub fn finish(&mut self, arena: &mut SendArena) {
        if self.count > 0 {
            arena.release_chunk(self.chunk, std::mem::take(&mut self.count));
        }
    }
}

/// All but the first segment, allocated only for clients that have more than one.
#[derive(Debug, Default)]
struct Rest {
    segments: VecDeque<Segment>,
    bytes: usize,
}

/// What waits for one client: 24 bytes while at most one segment waits.
///
/// It must be [`Outbound::clear`]ed (or consumed) before it is dropped, else its chunks stay
/// pinned.
#[derive(Debug)]
pub struct Outbound {
    /// Empty (`len` 0) exactly when nothing waits.
    first: Segment,
    rest: Option<Box<Rest>>,
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound { first: Segment::EMPTY, rest: None }
    }
}

impl Outbound {
    /// With one segment, not an empty one, for which the caller takes the reference.
    #[inline]
    pub fn of_unretained(segment: Segment) -> Outbound {
        Outbound { first: segment, rest: None }
    }

    /// The segment, if exactly one waits and nothing else was allocated.
    pub fn single(&self) -> Option<Segment> {
        (self.first.len > 0 && self.rest.is_none()).then_some(self.first)
    }

    /// Queues a segment; it extends the last one if it continues it. Takes the needed reference.
    pub fn push(&mut self, arena: &mut SendArena, segment: Segment) {
        if self.push_unretained(segment) {
            arena.retain(segment);
        }
    }

    /// As [`Outbound::push`], but says whether a reference is needed and leaves taking it to the
    /// caller, who does so once for many ([`SendArena::retain_many`]).
    #[must_use]
    #[inline]
    pub fn push_unretained(&mut self, segment: Segment) -> bool {
        if segment.len == 0 {
            return false;
        }
        if self.first.len == 0 {
            self.first = segment;
            return true;
        }
        let is_alone = self.rest.as_ref().is_none_or(|rest| rest.segments.is_empty());
        if is_alone && self.first.is_continued_by(segment) {
            self.first.len += segment.len;
            return false;
        }
        let rest = self.rest.get_or_insert_default();
        rest.bytes += segment.len as usize;
        match rest.segments.back_mut() {
            Some(last) if last.is_continued_by(segment) => {
                last.len += segment.len;
                false
            }
            _ => {
                rest.segments.push_back(segment);
                true
            }
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first.len == 0
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.first.len as usize + self.rest.as_ref().map_or(0, |rest| rest.bytes)
    }

    /// The waiting segments, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        let rest = self.rest.iter().flat_map(|rest| rest.segments.iter().copied());
        self.first().into_iter().chain(rest)
    }

    /// Number of waiting segments.
    pub fn segment_count(&self) -> usize {
        usize::from(!self.is_empty()) + self.rest.as_ref().map_or(0, |rest| rest.segments.len())
    }

    /// The oldest waiting segment.
    pub fn first(&self) -> Option<Segment> {
        (self.first.len > 0).then_some(self.first)
    }

    /// Removes the first `bytes` bytes, because they were sent; more than waits removes all.
    pub fn consume(&mut self, arena: &mut SendArena, bytes: usize) {
        let mut left = bytes;
        while left > 0 && self.first.len > 0 {
            if left < self.first.len as usize {
                self.first.offset += left as u32;
                self.first.len -= left as u32;
                return;
            }
            left -= self.first.len as usize;
            arena.release(self.first);
            self.first = self.next_of_rest();
        }
        if self.first.len == 0 {
            self.give_back_large_rest();
        }
    }

    /// Removes everything that waits. Keeps the room for up to 64 segments.
    pub fn clear(&mut self, arena: &mut SendArena) {
        arena.release(self.first);
        self.first = Segment::EMPTY;
        if let Some(rest) = self.rest.as_mut() {
            rest.segments.drain(..).for_each(|segment| arena.release(segment));
            rest.bytes = 0;
        }
        self.give_back_large_rest();
    }

    fn next_of_rest(&mut self) -> Segment {
        let Some(rest) = self.rest.as_mut() else { return Segment::EMPTY };
        let next = rest.segments.pop_front().unwrap_or(Segment::EMPTY);
        rest.bytes -= next.len as usize;
        next
    }

    fn give_back_large_rest(&mut self) {
        if self.rest.as_ref().is_some_and(|rest| rest.segments.capacity() > KEPT_CAPACITY_MAX) {
            self.rest = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(outbound: &Outbound, arena: &SendArena) -> Vec<u8> {
        outbound.segments().flat_map(|segment| arena.bytes(segment).to_vec()).collect()
    }

    #[test]
    fn an_idle_outbound_is_24_bytes() {
        assert_eq!(std::mem::size_of::<Segment>(), 12);
        assert_eq!(std::mem::size_of::<Outbound>(), 24);
    }

    #[test]
    fn parts_become_one_contiguous_piece() {
        let mut arena = SendArena::new(64);
        let segment = arena.append(&[b"ab", b"", b"cd"]);
        assert_eq!(arena.bytes(segment), b"abcd");
        assert_eq!(arena.append(&[]).len, 0);
    }

    #[test]
    fn a_burst_is_one_segment() {
        let (mut arena, mut outbound) = (SendArena::new(64), Outbound::default());
        for piece in [b"one".as_slice(), b"two", b"three"] {
            let segment = arena.append(&[piece]);
            outbound.push(&mut arena, segment);
        }
        assert_eq!(outbound.segment_count(), 1);
        assert_eq!(waiting(&outbound, &arena), b"onetwothree");
        outbound.consume(&mut arena, 4);
        assert_eq!(waiting(&outbound, &arena), b"wothree");
        assert_eq!(outbound.bytes(), 7);
        outbound.clear(&mut arena);
        assert!(outbound.is_empty());
        assert_eq!(outbound.first(), None);
    }

    /// Catalogue: K06.
    #[test]
    fn a_stalled_client_pins_its_chunk_and_no_other() {
        let (mut arena, mut stalled) = (SendArena::new(8), Outbound::default());
        let segment = arena.append(&[b"12345678"]);
        stalled.push(&mut arena, segment);
        for _ in 0..100 {
            arena.append(&[b"abcdefgh"]);
        }
        assert_eq!(arena.chunks_in_use(), 2);
        assert_eq!(arena.bytes_held(), 16);
        assert_eq!(waiting(&stalled, &arena), b"12345678");
        stalled.consume(&mut arena, 8);
        assert_eq!(arena.chunks_in_use(), 1);
    }

    /// Catalogue: K06.
    #[test]
    fn a_big_piece_has_a_chunk_of_its_own_that_is_dropped() {
        let (mut arena, mut outbound) = (SendArena::new(8), Outbound::default());
        let big = vec![7; 1_000];
        let segment = arena.append(&[&big]);
        assert_eq!(arena.bytes(segment), big);
        outbound.push(&mut arena, segment);
        arena.append(&[b"x"]);
        assert_eq!(waiting(&outbound, &arena), big);
        assert!(arena.bytes_held() >= 1_008);
        outbound.clear(&mut arena);
        assert_eq!(arena.bytes_held(), 8);
        // One that nobody wanted goes with the next append.
        arena.append(&[&big]);
        arena.append(&[b"y"]);
        assert_eq!((arena.bytes_held(), arena.chunks_in_use()), (8, 1));
    }

    #[test]
    fn a_retained_tail_survives_the_appends_of_private_heads() {
        let (mut arena, mut outbound) = (SendArena::new(8), Outbound::default());
        let tail = arena.append(&[b"tail"]);
        arena.retain(tail);
        for head in [b"head1", b"head2", b"head3"] {
            let head = arena.append(&[head]);
            outbound.push(&mut arena, head);
            outbound.push(&mut arena, tail);
        }
        arena.release(tail);
        assert_eq!(waiting(&outbound, &arena), b"head1tailhead2tailhead3tail");
        assert_eq!(outbound.segment_count(), 6);
        outbound.consume(&mut arena, usize::MAX);
        assert_eq!(arena.chunks_in_use(), 1);
    }

    #[test]
    fn room_after_a_large_burst_is_given_back() {
        let (mut arena, mut outbound) = (SendArena::new(4), Outbound::default());
        for _ in 0..1_000 {
            let segment = arena.append(&[b"abc"]);
            outbound.push(&mut arena, segment);
        }
        assert_eq!((outbound.segment_count(), outbound.bytes()), (1_000, 3_000));
        outbound.clear(&mut arena);
        assert!(outbound.rest.is_none());
        assert!(arena.bytes_held() <= (SPARE_CHUNKS_MAX + 1) * 4);
        assert_eq!(arena.chunks_in_use(), 1);
    }

    proptest! {
        /// Any mix of pushes to several clients, partial sends and clears: every client reads
        /// exactly what was pushed to it, and at the end nothing but the current chunk is in use.
        #[test]
        fn clients_read_what_was_pushed(
            chunk in 1usize..40,
            steps in prop::collection::vec((0u8..4, 0usize..4, 0usize..60), 1..200),
        ) {
            let mut arena = SendArena::new(chunk);
            let mut clients: Vec<(Outbound, Vec<u8>)> = Vec::new();
            clients.resize_with(4, Default::default);
            let mut next = 0u8;
            for (what, who, size) in steps {
                match what {
                    0 | 1 => {
                        let bytes = (0..size).map(|at| next.wrapping_add(at as u8));
                        let piece: Vec<u8> = bytes.collect();
                        next = next.wrapping_add(size as u8);
                        let segment = arena.append(&[&piece[..size / 2], &piece[size / 2..]]);
                        for client in clients.iter_mut().take(who + 1) {
                            client.0.push(&mut arena, segment);
                            client.1.extend_from_slice(&piece);
                        }
                    }
                    2 => {
                        let (outbound, expected) = &mut clients[who];
                        outbound.consume(&mut arena, size);
                        expected.drain(..size.min(expected.len()));
                    }
                    _ => {
                        clients[who].0.clear(&mut arena);
                        clients[who].1.clear();
                    }
                }
                for (outbound, expected) in &clients {
                    prop_assert_eq!(&waiting(outbound, &arena), expected);
                    prop_assert_eq!(outbound.bytes(), expected.len());
                    prop_assert_eq!(outbound.is_empty(), expected.is_empty());
                    prop_assert_eq!(outbound.segments().count(), outbound.segment_count());
                }
            }
            for (outbound, _) in &mut clients {
                outbound.clear(&mut arena);
            }
            arena.append(&[b"x"]);
            prop_assert_eq!(arena.chunks_in_use(), 1);
        }
    }
}
