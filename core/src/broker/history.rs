//! What a topic said last: for recovery after a lost connection, and for replay to newcomers.
//!
//! A [`History`] is one destination's ring at its home shard, bounded in number, bytes and age.
//! Each publication has an offset, from 1 on; the epoch is an opaque text that changes when offsets
//! start anew. Recovery is all or nothing: a client that saw offset `n` of this epoch gets every
//! later publication, or none and the reason (ecosystem.md §7.1, issue 5 item 7). The home shard
//! answers and notes the interest in one step, so that the live stream goes on at
//! [`Recovery::live_offset`] without gap or repeat.
//!
//! [`Histories`] holds the rings of a shard under one budget: over it, the oldest publications of
//! all destinations go first. What is empty and unused is freed, and its epoch never comes back.

use super::amount;
use super::pattern::ByPattern;
use super::publication::Publication;
use super::slab::Slab;
use super::Keyed;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// What a publication costs beside itself: its place in the ring and in the order of all.
const PLACE_BYTES: usize = size_of::<Kept>() + size_of::<Place>();

/// Bounds of one destination's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Number of publications.
    pub count_max: usize,
    /// Bytes of memory they hold.
    pub bytes_max: usize,
    /// Age in milliseconds.
    pub age_ms_max: u64,
}

/// Why the text of a `--history` rule is refused: the operator's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// Not three parts.
    Parts,
    /// The size is no count and no bytes, or is 0.
    Size,
    /// The time is no duration, or is 0.
    Age,
}

impl fmt::Display for RuleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            RuleError::Parts => "bad history rule: allowed is 'match,size,ttl'",
            RuleError::Size => "bad history size: allowed is a count (100) or bytes (64KiB)",
            RuleError::Age => "bad history ttl: allowed is a duration (500ms, 10s, 5m, 1h)",
        })
    }
}

impl std::error::Error for RuleError {}

/// Reads `match,size,ttl`: the destination or pattern's text, and the bounds. A size in bytes
/// leaves the number free; one in messages leaves the bytes to `bytes_max`.
pub fn parse_rule(text: &str, bytes_max: usize) -> Result<(&str, Bounds), RuleError> {
    let mut parts = text.rsplitn(3, ',').map(str::trim);
    let (Some(age), Some(size), Some(matched)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(RuleError::Parts);
    };
    if matched.is_empty() {
        return Err(RuleError::Parts);
    }
    let positive = |number: u64| usize::try_from(number).ok().filter(|&number| number > 0);
    let (count_max, bytes_max) = match (amount::count(size), amount::bytes(size)) {
        (Some(count), _) => (positive(count), Some(bytes_max)),
        (None, bytes) => (Some(usize::MAX), bytes.and_then(positive)),
    };
    let (count_max, bytes_max) = count_max.zip(bytes_max).ok_or(RuleError::Size)?;
    let age_ms_max = amount::millis(age).filter(|&age| age > 0).ok_or(RuleError::Age)?;
    Ok((matched, Bounds { count_max, bytes_max, age_ms_max }))
}

/// Why nothing was recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The destination keeps no history.
    NoHistory,
    /// The client saw another epoch: the offsets started anew since.
    Epoch,
    /// The client names an offset that was never given.
    Ahead,
    /// Some of what it missed is gone, by number, bytes, age or budget.
    Evicted,
    /// It missed more than may be sent at once.
    Limit,
}

impl Reason {
    /// The value of the `reason` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoHistory => "no-history",
            Reason::Epoch => "epoch",
            Reason::Ahead => "ahead",
            Reason::Evicted => "evicted",
            Reason::Limit => "limit",
        }
    }
}

/// The answer to a SUBSCRIBE with `from-offset` and `epoch`.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Whether `publications` is all that the client missed.
    pub recovered: bool,
    /// Why not.
    pub reason: Option<Reason>,
    /// What it missed, oldest first, with offsets; empty if not recovered.
    pub publications: Vec<(u64, Arc<Publication>)>,
    /// The newest offset: the live stream goes on with the next one.
    pub live_offset: u64,
}

impl Recovery {
    /// Nothing, and why.
    pub fn failed(reason: Reason, live_offset: u64) -> Recovery {
        let publications = Vec::new();
        Recovery { recovered: false, reason: Some(reason), publications, live_offset }
    }
}

#[derive(Debug)]
struct Kept {
    publication: Arc<Publication>,
    at_ms: u64,
}

/// The history of one destination.
#[derive(Debug)]
pub struct History {
    epoch: Box<str>,
    bounds: Bounds,
    ring: VecDeque<Kept>,
    /// Offset of the newest publication; 0 before the first.
    live_offset: u64,
    bytes: usize,
}

impl History {
    /// An empty history. `epoch` must never have named another run of offsets of the destination.
    pub fn new(epoch: &str, bounds: Bounds) -> History {
        History { epoch: epoch.into(), bounds, ring: VecDeque::new(), live_offset: 0, bytes: 0 }
    }

    /// Adds a publication and drops what is then over the bounds; returns its offset. One larger
    /// than `bytes_max` gets its offset and is not kept. Time never goes backwards.
    pub fn append(&mut self, publication: Arc<Publication>, now_ms: u64) -> u64 {
        self.live_offset += 1;
        self.bytes += publication.bytes() + PLACE_BYTES;
        self.ring.push_back(Kept { publication, at_ms: now_ms });
        while self.ring.len() > self.bounds.count_max || self.bytes > self.bounds.bytes_max {
            self.pop_oldest();
        }
        self.expire(now_ms);
        self.live_offset
    }

    /// What the client missed that saw `from_offset` (0: nothing) of `epoch`. Limit: `bytes_max` of
    /// what may be sent at once.
    pub fn recover(
        &mut self,
        from_offset: u64,
        epoch: &str,
        now_ms: u64,
        bytes_max: usize,
    ) -> Recovery {
        self.expire(now_ms);
        let reason = if epoch != &*self.epoch {
            Some(Reason::Epoch)
        } else if from_offset > self.live_offset {
            Some(Reason::Ahead)
        } else if from_offset < self.live_offset - self.ring.len() as u64 {
            Some(Reason::Evicted)
        } else {
            let missed = self.newest((self.live_offset - from_offset) as usize);
            let bytes: usize = missed.map(|(_, publication)| publication.bytes()).sum();
            (bytes > bytes_max).then_some(Reason::Limit)
        };
        if let Some(reason) = reason {
            return Recovery::failed(reason, self.live_offset);
        }
        let missed = self.newest((self.live_offset - from_offset) as usize);
        let publications = missed.map(|(at, publication)| (at, Arc::clone(publication))).collect();
        Recovery { recovered: true, reason: None, publications, live_offset: self.live_offset }
    }

    /// The newest `count` publications that are still kept, oldest first, with offsets: for
    /// `replay:last` (1) and `replay:N`.
    pub fn last(
        &mut self,
        count: usize,
        now_ms: u64,
    ) -> impl Iterator<Item = (u64, &Arc<Publication>)> {
        self.expire(now_ms);
        self.newest(count)
    }

    /// Drops what is older than the bound.
    pub fn expire(&mut self, now_ms: u64) {
        let age_ms_max = self.bounds.age_ms_max;
        let is_old = |kept: &Kept| now_ms.saturating_sub(kept.at_ms) >= age_ms_max;
        while self.ring.front().is_some_and(is_old) {
            self.pop_oldest();
        }
        if self.ring.is_empty() {
            self.ring = VecDeque::new();
        }
    }

    /// The text that names this run of offsets.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Offset of the newest publication; 0 before the first.
    pub fn live_offset(&self) -> u64 {
        self.live_offset
    }

    /// Number of publications kept.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether no publication is kept.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Bytes of memory that the publications hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn newest(&self, count: usize) -> impl Iterator<Item = (u64, &Arc<Publication>)> {
        let start = self.ring.len().saturating_sub(count);
        let first = self.first_offset() + start as u64;
        let kept = self.ring.iter().skip(start).map(|kept| &kept.publication);
        (first..).zip(kept)
    }

    fn first_offset(&self) -> u64 {
        self.live_offset + 1 - self.ring.len() as u64
    }

    fn pop_oldest(&mut self) {
        if let Some(kept) = self.ring.pop_front() {
            self.bytes -= kept.publication.bytes() + PLACE_BYTES;
        }
    }
}

/// Where a publication lies, in the order of all appends of the shard.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    generation: u32,
    offset: u64,
}

#[derive(Debug)]
struct Owned {
    destination: Box<str>,
    generation: u32,
    history: History,
}

/// The histories of the destinations whose home is one shard.
#[derive(Debug)]
pub struct Histories {
    rules: ByPattern<Bounds>,
    epoch_prefix: Box<str>,
    created: u32,
    budget_bytes: usize,
    bytes: usize,
    slots: HashMap<Box<str>, u32, Keyed>,
    owned: Slab<Owned>,
    /// Oldest first; places whose publication is gone are skipped, and dropped when they are many.
    order: VecDeque<Place>,
    kept: usize,
}

impl Histories {
    /// No history yet. `epoch_prefix` is unique per start and shard; `budget_bytes` bounds what all
    /// hold together.
    pub fn new(
        rules: ByPattern<Bounds>,
        epoch_prefix: &str,
        budget_bytes: usize,
        hash_key: u64,
    ) -> Histories {
        Histories {
            rules,
            epoch_prefix: epoch_prefix.into(),
            created: 0,
            budget_bytes,
            bytes: 0,
            slots: HashMap::with_hasher(Keyed(hash_key)),
            owned: Slab::new(),
            order: VecDeque::new(),
            kept: 0,
        }
    }

    /// Keeps a publication; its offset, or none if its destination keeps no history.
    pub fn append(&mut self, publication: &Arc<Publication>, now_ms: u64) -> Option<u64> {
        let slot = self.slot_of(publication.destination())?;
        let place = self.change(slot, |owned| {
            let offset = owned.history.append(Arc::clone(publication), now_ms);
            Place { slot, generation: owned.generation, offset }
        })?;
        self.order.push_back(place);
        while self.bytes > self.budget_bytes {
            let Some(oldest) = self.order.pop_front() else { break };
            self.evict(oldest);
        }
        if self.order.len() > 64 && self.order.len() > self.kept * 2 {
            let owned = &self.owned;
            self.order.retain(|place| is_kept(owned, *place));
            self.order.shrink_to(self.kept * 2);
        }
        Some(place.offset)
    }

    /// The history of a destination, created by the first use; none if no rule names it.
    /// Read it in `read`; the accounts are put right afterwards.
    pub fn with<R>(
        &mut self,
        destination: &str,
        read: impl FnOnce(&mut History) -> R,
    ) -> Option<R> {
        let slot = self.slot_of(destination)?;
        self.change(slot, |owned| read(&mut owned.history))
    }

    /// [`History::recover`] of a destination, with [`Reason::NoHistory`] where none is kept.
    pub fn recover(
        &mut self,
        destination: &str,
        from_offset: u64,
        epoch: &str,
        now_ms: u64,
        bytes_max: usize,
    ) -> Recovery {
        self.with(destination, |history| history.recover(from_offset, epoch, now_ms, bytes_max))
            .unwrap_or_else(|| Recovery::failed(Reason::NoHistory, 0))
    }

    /// Drops what is too old everywhere and frees the histories that are empty and that
    /// `is_used` (somebody subscribes) does not keep. For a slow tick: walks all destinations.
    pub fn sweep(&mut self, now_ms: u64, mut is_used: impl FnMut(&str) -> bool) {
        let slots: Vec<u32> = self.owned.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.change(slot, |owned| owned.history.expire(now_ms));
            let Some(owned) = self.owned.get(slot) else { continue };
            if owned.history.is_empty() && !is_used(&owned.destination) {
                self.slots.remove(&owned.destination);
                self.owned.remove(slot);
            }
        }
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
        if self.kept == 0 {
            self.order = VecDeque::new();
        }
    }

    /// Bytes that all publications kept hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of destinations with a history.
    pub fn len(&self) -> usize {
        self.owned.len()
    }

    /// Whether nothing at all is held.
    pub fn is_empty(&self) -> bool {
        self.owned.len() == 0 && self.slots.is_empty() && self.order.is_empty() && self.bytes == 0
    }

    fn slot_of(&mut self, destination: &str) -> Option<u32> {
        if let Some(&slot) = self.slots.get(destination) {
            return Some(slot);
        }
        let bounds = *self.rules.find(destination)?;
        self.created += 1;
        let generation = self.created;
        let epoch = format!("{}-{generation:x}", self.epoch_prefix);
        let history = History::new(&epoch, bounds);
        let owned = Owned { destination: destination.into(), generation, history };
        let slot = self.owned.insert(owned);
        self.slots.insert(destination.into(), slot);
        Some(slot)
    }

    fn change<R>(&mut self, slot: u32, f: impl FnOnce(&mut Owned) -> R) -> Option<R> {
        let owned = self.owned.get_mut(slot)?;
        self.bytes -= owned.history.bytes;
        self.kept -= owned.history.len();
        let result = f(owned);
        self.bytes += owned.history.bytes;
        self.kept += owned.history.len();
        Some(result)
    }

    fn evict(&mut self, place: Place) {
        if is_kept(&self.owned, place) {
            self.change(place.slot, |owned| owned.history.pop_oldest());
        }
    }
}

fn is_kept(owned: &Slab<Owned>, place: Place) -> bool {
    owned.get(place.slot).is_some_and(|owned| {
        owned.generation == place.generation && place.offset >= owned.history.first_offset()
    })
}

#[cfg(test)]
mod tests;
