//! What a topic said last: for recovery after a lost connection, and for replay to newcomers.
//!
//! A [`History`] is one destination's ring at its home shard, bounded in number, bytes and age.
//! Each publication has an offset, from 1 on; the epoch is an opaque text that changes when offsets
//! start anew. Recovery is all or nothing: a client that saw offset `n` of this epoch gets every
//! later publication, or none and the reason (ecosystem.md §7.1, issue 5 item 7). The home shard
//! answers and notes the interest in one step, so that the live stream goes on at
//! [`Past::position`] without gap or repeat. Who saw nothing may ask for the newest instead
//! (`replay`, stomp.md §2.3 `activemq.retroactive`).
//!
//! [`Histories`] holds the rings of a shard under one budget: over it, the oldest publications of
//! all destinations go first. What is empty and unused is freed, and its epoch never comes back.

use super::pattern::ByPattern;
use super::publication::Publication;
use super::slab::Slab;
use super::Keyed;
use crate::amount;
use crate::stomp::replay::Replay;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// What a publication costs beside itself: its place in the ring and in the order of all.
const PLACE_BYTES: usize = size_of::<Kept>() + size_of::<Place>();

/// What a MESSAGE has on the wire beside its publication, generously: command, ids, position.
const HEAD_BYTES: usize = 256;

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

/// The place of a publication in its destination's order: what `offset` and `epoch` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1 on; 0 before the first.
    pub offset: u64,
    /// Names the run of offsets.
    pub epoch: Arc<str>,
}

/// What a destination's history has for a new subscription.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The newest publication, whether it is kept or not: the live stream goes on with the next
    /// offset. None if the destination keeps no history.
    pub position: Option<Position>,
    /// Whether `publications` is all that the client missed, if it asked for that; why there is
    /// nothing, if it asked for anything.
    pub recovery: Option<Result<(), Reason>>,
    /// Oldest first, with offsets.
    pub publications: Vec<(u64, Arc<Publication>)>,
}

impl Past {
    /// Of a destination that keeps nothing.
    pub fn none(replay: &Replay) -> Past {
        let is_asked = *replay != Replay::Nothing;
        Past { recovery: is_asked.then_some(Err(Reason::NoHistory)), ..Past::default() }
    }

    /// Gives up the publications, because they are too much for the client now; says so if it
    /// asked for any.
    pub fn refuse(&mut self, replay: &Replay) {
        self.publications.clear();
        if *replay != Replay::Nothing {
            self.recovery = Some(Err(Reason::Limit));
        }
    }

    /// Bytes of the publications on the wire, about.
    pub fn bytes(&self) -> usize {
        self.publications.iter().map(|(_, publication)| wire_bytes(publication)).sum()
    }
}

fn wire_bytes(publication: &Publication) -> usize {
    publication.bytes() + HEAD_BYTES
}

#[derive(Debug)]
struct Kept {
    publication: Arc<Publication>,
    at_ms: u64,
}

/// The history of one destination.
#[derive(Debug)]
pub struct History {
    epoch: Arc<str>,
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

    /// What a new subscription that asks for `replay` gets. Limit: `bytes_max` of what may be sent
    /// at once; recovery is refused over it, a replay of the newest begins later.
    pub fn past(&mut self, replay: &Replay, now_ms: u64, bytes_max: usize) -> Past {
        self.expire(now_ms);
        let position = Some(Position { offset: self.live_offset, epoch: self.epoch.clone() });
        let (recovery, count) = match replay {
            Replay::Nothing => (None, 0),
            Replay::Newest(count) => (None, self.count_within(*count, bytes_max)),
            Replay::After { offset, epoch } => match self.missed(*offset, epoch, bytes_max) {
                Ok(count) => (Some(Ok(())), count),
                Err(reason) => (Some(Err(reason)), 0),
            },
        };
        let newest = self.newest(count);
        let publications = newest.map(|(at, publication)| (at, Arc::clone(publication))).collect();
        Past { position, recovery, publications }
    }

    /// Number of publications that a client missed that saw `offset` (0: nothing) of `epoch`.
    fn missed(&self, offset: u64, epoch: &str, bytes_max: usize) -> Result<usize, Reason> {
        if epoch != &*self.epoch {
            return Err(Reason::Epoch);
        }
        let missed = self.live_offset.checked_sub(offset).ok_or(Reason::Ahead)?;
        let count = usize::try_from(missed).unwrap_or(usize::MAX);
        if count > self.ring.len() {
            return Err(Reason::Evicted);
        }
        match self.count_within(count, bytes_max) == count {
            true => Ok(count),
            false => Err(Reason::Limit),
        }
    }

    /// How many of the newest `count_max` publications are together no more than `bytes_max`.
    fn count_within(&self, count_max: usize, bytes_max: usize) -> usize {
        let sizes =
            self.ring.iter().rev().take(count_max).map(|kept| wire_bytes(&kept.publication));
        let mut left = bytes_max;
        let fits = |bytes: &usize| left.checked_sub(*bytes).map(|rest| left = rest).is_some();
        sizes.take_while(fits).count()
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

    /// Keeps a publication; its position, or none if its destination keeps no history.
    pub fn append(&mut self, publication: &Arc<Publication>, now_ms: u64) -> Option<Position> {
        if self.rules.is_empty() {
            return None;
        }
        let slot = self.slot_of(publication.destination())?;
        let place = self.change(slot, |owned| {
            let offset = owned.history.append(Arc::clone(publication), now_ms);
            (Place { slot, generation: owned.generation, offset }, owned.history.epoch.clone())
        })?;
        let (place, epoch) = place;
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
        Some(Position { offset: place.offset, epoch })
    }

    /// What the history of a destination, created by the first use, has for a new subscription:
    /// [`History::past`], or [`Past::none`] if no rule names it.
    pub fn past(
        &mut self,
        destination: &str,
        replay: &Replay,
        now_ms: u64,
        bytes_max: usize,
    ) -> Past {
        self.slot_of(destination)
            .and_then(|slot| {
                self.change(slot, |owned| owned.history.past(replay, now_ms, bytes_max))
            })
            .unwrap_or_else(|| Past::none(replay))
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

    /// Whether any destination can have a history.
    pub fn is_used(&self) -> bool {
        !self.rules.is_empty()
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
