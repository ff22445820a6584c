//! Which shards want a destination.
//!
//! At a destination's home shard this says where its publications must go: one bit per shard that
//! has at least one local subscriber (design.md §4). Pattern subscriptions are few and known to
//! every shard, so a pattern's bits live in every shard's table.
//!
//! A shard announces its first local subscriber of a name and takes it back with the last, so
//! adding and removing are idempotent here: a bit, not a count. Empty entries are freed.

use super::pattern::index::{PatternIndex, PatternKey};
use super::pattern::Pattern;
use super::Keyed;
use std::collections::HashMap;

/// Largest number of shards of a process.
pub const SHARDS_COUNT_MAX: usize = 1_024;

/// A set of shard numbers below [`SHARDS_COUNT_MAX`]. Up to 64 shards need no allocation.
#[derive(Clone, Debug, Default)]
pub struct ShardSet {
    first: u64,
    /// Words of shards 64 and up.
    rest: Vec<u64>,
}

impl ShardSet {
    /// Adds a shard; whether it was not in the set. A number past [`SHARDS_COUNT_MAX`] is refused.
    pub fn insert(&mut self, shard: usize) -> bool {
        debug_assert!(shard < SHARDS_COUNT_MAX, "shard {shard} of {SHARDS_COUNT_MAX}");
        if shard >= SHARDS_COUNT_MAX {
            return false;
        }
        if shard / 64 > self.rest.len() {
            self.rest.resize(shard / 64, 0);
        }
        let (word, bit) = (self.word_mut(shard), 1 << (shard % 64));
        word.is_some_and(|word| {
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        })
    }

    /// Removes a shard; whether it was in the set.
    pub fn remove(&mut self, shard: usize) -> bool {
        let bit = 1 << (shard % 64);
        self.word_mut(shard).is_some_and(|word| {
            let was_there = *word & bit != 0;
            *word &= !bit;
            was_there
        })
    }

    /// Whether a shard is in the set.
    pub fn contains(&self, shard: usize) -> bool {
        let word = match shard / 64 {
            0 => self.first,
            index => self.rest.get(index - 1).copied().unwrap_or(0),
        };
        word & (1 << (shard % 64)) != 0
    }

    /// Adds every shard of `other`.
    pub fn union(&mut self, other: &ShardSet) {
        self.first |= other.first;
        if self.rest.len() < other.rest.len() {
            self.rest.resize(other.rest.len(), 0);
        }
        self.rest.iter_mut().zip(&other.rest).for_each(|(word, more)| *word |= more);
    }

    /// Removes every shard; keeps the room.
    pub fn clear(&mut self) {
        self.first = 0;
        self.rest.clear();
    }

    /// Whether no shard is in the set.
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.iter().all(|&word| word == 0)
    }

    /// Number of shards in the set.
    pub fn len(&self) -> usize {
        self.words().map(|word| word.count_ones() as usize).sum()
    }

    /// The shards, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words().enumerate().flat_map(|(index, word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then_some(left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(index * 64 + bit)
            })
        })
    }

    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::once(self.first).chain(self.rest.iter().copied())
    }

    fn word_mut(&mut self, shard: usize) -> Option<&mut u64> {
        match shard / 64 {
            0 => Some(&mut self.first),
            index => self.rest.get_mut(index - 1),
        }
    }
}

/// The shards that want each destination, and each pattern.
#[derive(Debug)]
pub struct Interest {
    literals: HashMap<Box<str>, ShardSet, Keyed>,
    patterns: HashMap<Box<str>, PatternKey, Keyed>,
    matching: PatternIndex<Wanted>,
}

/// A pattern and the shards that want it.
#[derive(Debug)]
struct Wanted {
    text: Box<str>,
    shards: ShardSet,
}

/// With hash key 0: for tests. A server gives its own key with [`Interest::new`].
impl Default for Interest {
    fn default() -> Interest {
        Interest::new(0)
    }
}

impl Interest {
    /// An empty table. `hash_key` is random per start: peers choose the names.
    pub fn new(hash_key: u64) -> Interest {
        let keyed = Keyed(hash_key);
        Interest {
            literals: HashMap::with_hasher(keyed),
            patterns: HashMap::with_hasher(keyed),
            matching: PatternIndex::new(hash_key),
        }
    }

    /// `shard` has a subscriber of `destination`.
    pub fn add(&mut self, destination: &str, shard: usize) {
        match self.literals.get_mut(destination) {
            Some(shards) => shards.insert(shard),
            None => self.literals.entry(destination.into()).or_default().insert(shard),
        };
    }

    /// `shard` has no subscriber of `destination` any more.
    pub fn remove(&mut self, destination: &str, shard: usize) {
        let Some(shards) = self.literals.get_mut(destination) else { return };
        shards.remove(shard);
        if shards.is_empty() {
            self.literals.remove(destination);
            give_back(&mut self.literals);
        }
    }

    /// `shard` has a subscriber of the pattern `text`.
    pub fn add_pattern(&mut self, text: &str, pattern: Pattern, shard: usize) {
        let wanted = || Wanted { text: text.into(), shards: ShardSet::default() };
        let new = || self.matching.insert(pattern, wanted());
        let key = *self.patterns.entry(text.into()).or_insert_with(new);
        if let Some(wanted) = self.matching.get_mut(key) {
            wanted.shards.insert(shard);
        }
    }

    /// `shard` has no subscriber of the pattern `text` any more.
    pub fn remove_pattern(&mut self, text: &str, shard: usize) {
        let Some(&key) = self.patterns.get(text) else { return };
        let Some(wanted) = self.matching.get_mut(key) else { return };
        wanted.shards.remove(shard);
        if wanted.shards.is_empty() {
            self.matching.remove(key);
            self.patterns.remove(text);
            give_back(&mut self.patterns);
        }
    }

    /// The shards that want a publication on `destination`, by name or by pattern.
    pub fn shards(&self, destination: &str) -> ShardSet {
        let mut shards = ShardSet::default();
        self.shards_into(destination, &mut shards);
        shards
    }

    /// As [`Interest::shards`], into a set that is cleared and reused, so that nothing is
    /// allocated.
    pub fn shards_into(&self, destination: &str, shards: &mut ShardSet) {
        shards.clear();
        if let Some(literal) = self.literals.get(destination) {
            shards.union(literal);
        }
        self.matching.for_each_match(destination, |wanted| shards.union(&wanted.shards));
    }

    /// Of the patterns that match `destination` and that some shard wants, the longest; of several
    /// of that length the last in the order of their texts.
    pub fn longest_pattern(&self, destination: &str) -> Option<&str> {
        let mut longest: Option<&str> = None;
        self.matching.for_each_match(destination, |wanted| {
            let text = &*wanted.text;
            if longest.is_none_or(|known| (known.len(), known) < (text.len(), text)) {
                longest = Some(text);
            }
        });
        longest
    }

    /// Number of destinations and patterns somebody wants.
    pub fn len(&self) -> usize {
        self.literals.len() + self.patterns.len()
    }

    /// Whether nobody wants anything.
    pub fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.patterns.is_empty()
    }
}

/// A table that had many entries gives its memory back when three quarters of the room is unused.
fn give_back<V>(table: &mut HashMap<Box<str>, V, Keyed>) {
    if table.capacity() > 64 && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, &Limits::default()).unwrap()
    }

    #[test]
    fn literal_and_pattern_interest_add_up_without_repeats() {
        let mut interest = Interest::new(7);
        interest.add("/topic/a", 3);
        interest.add("/topic/a", 1_023);
        interest.add_pattern("/topic/*", pattern("/topic/*"), 3);
        interest.add_pattern("/topic/*", pattern("/topic/*"), 64);
        assert_eq!(interest.shards("/topic/a").iter().collect::<Vec<_>>(), [3, 64, 1_023]);
        assert_eq!(interest.shards("/topic/b").iter().collect::<Vec<_>>(), [3, 64]);
        assert!(interest.shards("/topic/b/c").is_empty());
        assert_eq!(interest.len(), 2);
    }

    #[test]
    fn adding_and_removing_are_idempotent_and_every_table_is_empty_at_the_end() {
        let mut interest = Interest::new(7);
        for _ in 0..2 {
            interest.add("/topic/a", 70);
            interest.add_pattern("/**", pattern("/**"), 70);
        }
        interest.remove("/topic/a", 1);
        interest.remove("/topic/b", 70);
        assert_eq!(interest.shards("/topic/a").len(), 1);
        for _ in 0..2 {
            interest.remove("/topic/a", 70);
            interest.remove_pattern("/**", 70);
        }
        assert!(interest.is_empty() && interest.shards("/topic/a").is_empty());
    }

    /// Catalogue: I17, K10.
    #[test]
    fn the_longest_pattern_is_the_nearest() {
        let mut interest = Interest::new(7);
        for text in ["/app/**", "/app/orders/*", "/app/x/**"] {
            interest.add_pattern(text, pattern(text), 3);
        }
        assert_eq!(interest.longest_pattern("/app/orders/1"), Some("/app/orders/*"));
        assert_eq!(interest.longest_pattern("/app/orders/1/2"), Some("/app/**"));
        assert_eq!(interest.longest_pattern("/topic/a"), None);
        interest.remove_pattern("/app/orders/*", 3);
        assert_eq!(interest.longest_pattern("/app/orders/1"), Some("/app/**"));
    }

    #[test]
    fn memory_is_given_back() {
        let mut interest = Interest::new(7);
        (0..10_000).for_each(|number| interest.add(&format!("/topic/{number}"), number % 100));
        (0..10_000).for_each(|number| interest.remove(&format!("/topic/{number}"), number % 100));
        assert!(interest.is_empty() && interest.literals.capacity() <= 64);
    }

    proptest! {
        #[test]
        fn a_shard_set_is_a_set(
            steps in prop::collection::vec((any::<bool>(), 0usize..1_024), 0..80)
        ) {
            let (mut set, mut model) = (ShardSet::default(), BTreeSet::new());
            for (add, shard) in steps {
                if add {
                    prop_assert_eq!(set.insert(shard), model.insert(shard));
                } else {
                    prop_assert_eq!(set.remove(shard), model.remove(&shard));
                }
                prop_assert_eq!(set.contains(shard), model.contains(&shard));
            }
            let expected: Vec<usize> = model.iter().copied().collect();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        }
    }
}
