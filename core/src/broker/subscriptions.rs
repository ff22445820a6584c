//! The subscriptions of one shard: who is reached by a publication, class by class.
//!
//! Three slabs: a record per subscription (16 bytes), an entry per destination or pattern, and a
//! group per entry and class. A class is what makes two subscribers' frames equal (design.md §7);
//! its group holds them as a dense array of 8-byte places, so that a walk prefetches and a frame is
//! encoded once. A record keeps its position in that array; removing swaps the last place in and
//! corrects its record. Records of one connection form a singly linked list whose head the
//! connection keeps.
//!
//! Groups, entries and classes without a subscriber are freed at once, and arrays give room back.
//! STOMP semantics: stomp.md §1.8. A connection with several matching subscriptions is reached once
//! for each. Duplicate ids are the caller's to refuse, with [`Subscriptions::find`].

use super::pattern::index::{PatternIndex, PatternKey};
use super::pattern::Pattern;
use super::selector::Filter;
use super::slab::Slab;
use super::Keyed;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// No subscription: the head of an empty list.
pub const NONE: u32 = u32::MAX;

/// Names a live subscription of one shard; reused after it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionKey(pub u32);

impl SubscriptionKey {
    /// The number a connection keeps as the head of its list.
    pub fn index(self) -> u32 {
        self.0
    }
}

/// What makes the frames of two subscribers of a destination equal. Interned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// The client's subscription id; none for STOMP 1.0 subscriptions by destination.
    pub id: Option<Box<str>>,
    /// Protocol version, for its escaping. Opaque to the broker.
    pub version: u8,
    /// Transport framing. Opaque to the broker.
    pub framing: u8,
    /// Whether deliveries need an ACK, and so a private head.
    pub explicit_ack: bool,
    /// Which messages are wanted; `None` is all. The caller asks it.
    pub filter: Option<Arc<Filter>>,
}

/// Number of an interned [`Class`], stable while a subscription of the class lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassIndex(pub u32);

/// A subscriber's place in the array that a delivery walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The connection's slot, as given to [`Subscriptions::subscribe`].
    pub connection: u32,
    /// Index of its [`SubscriptionKey`].
    pub subscription: u32,
}

impl Subscriber {
    /// The subscription's key.
    pub fn key(self) -> SubscriptionKey {
        SubscriptionKey(self.subscription)
    }
}

/// A destination or pattern that lost its last local subscriber: interest must be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The destination, or the pattern's text.
    pub destination: Box<str>,
    /// Whether it was subscribed as a pattern.
    pub is_pattern: bool,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    connection: u32,
    /// Next record of the connection; of the free list when `group` is [`NONE`].
    next: u32,
    group: u32,
    /// Index in the group's `subscribers`.
    position: u32,
}

#[derive(Debug)]
struct Group {
    entry: u32,
    class: u32,
    /// Index in the entry's `groups`.
    position: u32,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug)]
struct Entry {
    text: Arc<str>,
    /// Its place in `matching`; none for literals.
    pattern: Option<PatternKey>,
    groups: Vec<u32>,
}

#[derive(Debug)]
struct Interned {
    class: Arc<Class>,
    /// Number of groups of the class.
    groups: u32,
}

/// The subscriptions of one shard.
///
/// Methods that take a [`SubscriptionKey`] panic on one that is not live: keys come from this table
/// and never from a peer.
#[derive(Debug)]
pub struct Subscriptions {
    records: Vec<Record>,
    free_record: u32,
    live: usize,
    groups: Slab<Group>,
    entries: Slab<Entry>,
    classes: Slab<Interned>,
    literals: HashMap<Arc<str>, u32, Keyed>,
    patterns: HashMap<Arc<str>, u32, Keyed>,
    /// Entries of patterns, found by the destination they match.
    matching: PatternIndex<u32>,
    class_index: HashMap<Arc<Class>, u32, Keyed>,
    /// (entry, class) to group.
    group_index: HashMap<(u32, u32), u32, Keyed>,
    /// Work of the selectors of each literal destination that has any, by entry, in steps.
    filter_steps: BTreeMap<u32, u64>,
    /// The same of all patterns together: a publication may match each of them.
    pattern_filter_steps: u64,
}

impl Subscriptions {
    /// An empty table. `hash_key` is random per start: peers choose the names.
    pub fn new(hash_key: u64) -> Subscriptions {
        let keyed = Keyed(hash_key);
        Subscriptions {
            records: Vec::new(),
            free_record: NONE,
            live: 0,
            groups: Slab::new(),
            entries: Slab::new(),
            classes: Slab::new(),
            literals: HashMap::with_hasher(keyed),
            patterns: HashMap::with_hasher(keyed),
            matching: PatternIndex::new(hash_key),
            class_index: HashMap::with_hasher(keyed),
            group_index: HashMap::with_hasher(keyed),
            filter_steps: BTreeMap::new(),
            pattern_filter_steps: 0,
        }
    }

    /// Adds a subscription of `connection`, whose list begins at `head` ([`NONE`] when empty).
    ///
    /// `destination` is the literal name or the pattern's text. Returns the key, which is the
    /// list's new head, and whether it is the first local subscriber of the name, so that interest
    /// must be announced. Limits (`subscriptions_count_max`) and duplicate ids are the caller's.
    pub fn subscribe(
        &mut self,
        connection: u32,
        head: u32,
        destination: &str,
        pattern: Option<Pattern>,
        class: Class,
    ) -> (SubscriptionKey, bool) {
        let (entry, is_first) = self.intern_entry(destination, pattern);
        let group = self.intern_group(entry, class);
        let key = self.take_record();
        let mut position = 0;
        if let Some(group) = self.groups.get_mut(group) {
            position = group.subscribers.len() as u32;
            group.subscribers.push(Subscriber { connection, subscription: key });
        }
        self.records[key as usize] = Record { connection, next: head, group, position };
        self.live += 1;
        (SubscriptionKey(key), is_first)
    }

    /// Finds a connection's subscription by id; without an id by destination, among the
    /// subscriptions that were made without an id (STOMP 1.0).
    pub fn find(
        &self,
        head: u32,
        id: Option<&str>,
        destination: Option<&str>,
    ) -> Option<SubscriptionKey> {
        self.iter_connection(head).find(|&key| match (self.class(key).id.as_deref(), id) {
            (Some(seen), Some(wanted)) => seen == wanted,
            (None, None) => destination == Some(self.destination(key)),
            _ => false,
        })
    }

    /// Removes a subscription from the list at `head`. Returns the new head and, if it was the last
    /// local subscriber of its destination, what to take back. A key of another list changes
    /// nothing.
    pub fn unsubscribe(&mut self, head: u32, key: SubscriptionKey) -> (u32, Option<Removed>) {
        let Some(next) = self.records.get(key.0 as usize).map(|record| record.next) else {
            return (head, None);
        };
        let mut new_head = head;
        if head == key.0 {
            new_head = next;
        } else {
            let before = self.iter_connection(head).find(|at| self.next_of(at.0) == key.0);
            let Some(before) = before else { return (head, None) };
            self.records[before.0 as usize].next = next;
        }
        (new_head, self.remove_record(key.0))
    }

    /// Removes all subscriptions of a closed connection; `on_last` hears of every destination that
    /// lost its last local subscriber.
    pub fn remove_connection(&mut self, head: u32, mut on_last: impl FnMut(Removed)) {
        let mut at = head;
        while at != NONE {
            let next = self.next_of(at);
            if let Some(removed) = self.remove_record(at) {
                on_last(removed);
            }
            at = next;
        }
    }

    /// Number of subscriptions in the list at `head`.
    pub fn count_of(&self, head: u32) -> usize {
        self.iter_connection(head).count()
    }

    /// The subscriptions in the list at `head`, newest first.
    pub fn iter_connection(&self, head: u32) -> impl Iterator<Item = SubscriptionKey> + '_ {
        let some = |index: u32| (index != NONE).then_some(SubscriptionKey(index));
        std::iter::successors(some(head), move |key| some(self.next_of(key.0)))
    }

    /// The number of the subscription's class.
    pub fn class_index(&self, key: SubscriptionKey) -> ClassIndex {
        ClassIndex(self.group_of(key).class)
    }

    /// The subscription's class.
    pub fn class(&self, key: SubscriptionKey) -> &Class {
        let group = self.group_of(key);
        &self.classes.get(group.class).expect("a group's class lives").class
    }

    /// The subscription's connection.
    pub fn connection(&self, key: SubscriptionKey) -> u32 {
        self.records[key.0 as usize].connection
    }

    /// The destination, or the pattern's text, that was subscribed.
    pub fn destination(&self, key: SubscriptionKey) -> &str {
        let group = self.group_of(key);
        &self.entries.get(group.entry).expect("a group's entry lives").text
    }

    /// Calls `f` for every group of subscribers that a publication on `destination` reaches: those
    /// of the literal name first, then those of each matching pattern. A class may come more than
    /// once.
    pub fn for_each_group(
        &self,
        destination: &str,
        mut f: impl FnMut(ClassIndex, &Class, &[Subscriber]),
    ) {
        let literal = self.literals.get(destination).and_then(|&entry| self.entries.get(entry));
        let mut visit = |entry: &Entry| {
            for group in entry.groups.iter().filter_map(|&group| self.groups.get(group)) {
                if let Some(interned) = self.classes.get(group.class) {
                    f(ClassIndex(group.class), &interned.class, &group.subscribers);
                }
            }
        };
        literal.into_iter().for_each(&mut visit);
        self.matching.for_each_match(destination, |&entry| {
            self.entries.get(entry).into_iter().for_each(&mut visit);
        });
    }

    /// Has this very destination or pattern a subscriber?
    pub fn has_subscribers(&self, text: &str) -> bool {
        self.literals.contains_key(text) || self.patterns.contains_key(text)
    }

    /// Steps that the selectors of this very destination take at most for one publication, or those
    /// of all patterns: what its caller bounds before it adds another.
    pub fn filter_steps(&self, destination: &str, is_pattern: bool) -> u64 {
        if is_pattern {
            return self.pattern_filter_steps;
        }
        let entry = self.literals.get(destination);
        entry.and_then(|entry| self.filter_steps.get(entry)).copied().unwrap_or(0)
    }

    /// Number of subscriptions.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Number of destinations and patterns that have a subscriber.
    pub fn destinations_len(&self) -> usize {
        self.entries.len()
    }

    /// Number of classes that have a subscriber.
    pub fn classes_len(&self) -> usize {
        self.classes.len()
    }

    /// Whether nothing at all is held: no subscription, destination, group or class.
    pub fn is_empty(&self) -> bool {
        self.live == 0
            && self.groups.len() == 0
            && self.entries.len() == 0
            && self.classes.len() == 0
            && self.literals.is_empty()
            && self.patterns.is_empty()
            && self.matching.is_empty()
            && self.class_index.is_empty()
            && self.group_index.is_empty()
            && self.filter_steps.is_empty()
            && self.pattern_filter_steps == 0
    }

    fn next_of(&self, record: u32) -> u32 {
        self.records[record as usize].next
    }

    fn group_of(&self, key: SubscriptionKey) -> &Group {
        let group = self.records[key.0 as usize].group;
        self.groups.get(group).expect("the key is live")
    }

    fn take_record(&mut self) -> u32 {
        let key = self.free_record;
        if key != NONE {
            self.free_record = self.next_of(key);
            return key;
        }
        let unused = Record { connection: NONE, next: NONE, group: NONE, position: 0 };
        self.records.push(unused);
        (self.records.len() - 1) as u32
    }

    fn intern_entry(&mut self, destination: &str, pattern: Option<Pattern>) -> (u32, bool) {
        let is_pattern = pattern.is_some();
        let index = if is_pattern { &mut self.patterns } else { &mut self.literals };
        if let Some(&entry) = index.get(destination) {
            return (entry, false);
        }
        let text: Arc<str> = destination.into();
        let new = Entry { text: Arc::clone(&text), pattern: None, groups: Vec::new() };
        let entry = self.entries.insert(new);
        index.insert(text, entry);
        if let (Some(pattern), Some(new)) = (pattern, self.entries.get_mut(entry)) {
            new.pattern = Some(self.matching.insert(pattern, entry));
        }
        (entry, true)
    }

    fn intern_group(&mut self, entry: u32, class: Class) -> u32 {
        let known = self.class_index.get(&class).copied();
        if let Some(group) = known.and_then(|class| self.group_index.get(&(entry, class))) {
            return *group;
        }
        let class = known.unwrap_or_else(|| {
            let class = Arc::new(class);
            let index = self.classes.insert(Interned { class: Arc::clone(&class), groups: 0 });
            self.class_index.insert(class, index);
            index
        });
        if let Some(interned) = self.classes.get_mut(class) {
            interned.groups += 1;
        }
        let new = Group { entry, class, position: 0, subscribers: Vec::new() };
        let group = self.groups.insert(new);
        if let (Some(owner), Some(new)) = (self.entries.get_mut(entry), self.groups.get_mut(group))
        {
            new.position = owner.groups.len() as u32;
            owner.groups.push(group);
        }
        self.group_index.insert((entry, class), group);
        let steps = self.filter_steps_of(class);
        if steps > 0 {
            *self.filter_steps_mut(entry) += steps;
        }
        group
    }

    fn filter_steps_of(&self, class: u32) -> u64 {
        let filter = self.classes.get(class).and_then(|interned| interned.class.filter.as_ref());
        filter.map_or(0, |filter| u64::from(filter.steps_most()))
    }

    fn filter_steps_mut(&mut self, entry: u32) -> &mut u64 {
        match self.entries.get(entry) {
            Some(Entry { pattern: Some(_), .. }) => &mut self.pattern_filter_steps,
            _ => self.filter_steps.entry(entry).or_default(),
        }
    }

    /// Removes a live record from its group; the connection's list is the caller's.
    fn remove_record(&mut self, key: u32) -> Option<Removed> {
        let Record { group: group_index, position, .. } = self.records[key as usize];
        let group = self.groups.get_mut(group_index)?;
        group.subscribers.swap_remove(position as usize);
        let moved = group.subscribers.get(position as usize).copied();
        let is_last = group.subscribers.is_empty();
        give_back_vec(&mut group.subscribers);
        if let Some(moved) = moved {
            self.records[moved.subscription as usize].position = position;
        }
        let next = self.free_record;
        self.records[key as usize] = Record { connection: NONE, next, group: NONE, position: 0 };
        self.free_record = key;
        self.live -= 1;
        if self.live == 0 {
            self.records = Vec::new();
            self.free_record = NONE;
        }
        if is_last {
            self.remove_group(group_index)
        } else {
            None
        }
    }

    fn remove_group(&mut self, index: u32) -> Option<Removed> {
        let group = self.groups.remove(index)?;
        self.group_index.remove(&(group.entry, group.class));
        give_back_map(&mut self.group_index);
        let steps = self.filter_steps_of(group.class);
        if steps > 0 {
            *self.filter_steps_mut(group.entry) -= steps;
            if self.filter_steps.get(&group.entry) == Some(&0) {
                self.filter_steps.remove(&group.entry);
            }
        }
        self.release_class(group.class);
        let entry = self.entries.get_mut(group.entry)?;
        entry.groups.swap_remove(group.position as usize);
        let moved = entry.groups.get(group.position as usize).copied();
        let is_last = entry.groups.is_empty();
        give_back_vec(&mut entry.groups);
        if let Some(moved) = moved.and_then(|moved| self.groups.get_mut(moved)) {
            moved.position = group.position;
        }
        if is_last {
            self.remove_entry(group.entry)
        } else {
            None
        }
    }

    fn release_class(&mut self, index: u32) {
        let Some(interned) = self.classes.get_mut(index) else { return };
        interned.groups -= 1;
        if interned.groups > 0 {
            return;
        }
        if let Some(interned) = self.classes.remove(index) {
            self.class_index.remove(&interned.class);
            give_back_map(&mut self.class_index);
        }
    }

    fn remove_entry(&mut self, index: u32) -> Option<Removed> {
        let entry = self.entries.remove(index)?;
        let is_pattern = entry.pattern.is_some();
        if let Some(pattern) = entry.pattern {
            self.patterns.remove(&entry.text);
            give_back_map(&mut self.patterns);
            self.matching.remove(pattern);
        } else {
            self.literals.remove(&entry.text);
            give_back_map(&mut self.literals);
        }
        Some(Removed { destination: (&*entry.text).into(), is_pattern })
    }

    /// Panics if the tables contradict each other. For tests and simulation; walks everything.
    pub fn check_invariants(&self) {
        let live = self.records.iter().enumerate().filter(|(_, record)| record.group != NONE);
        assert_eq!(live.clone().count(), self.live, "live records");
        for (key, record) in live {
            let group = self.groups.get(record.group).expect("a record's group lives");
            let place = group.subscribers[record.position as usize];
            let wanted = Subscriber { connection: record.connection, subscription: key as u32 };
            assert_eq!(place, wanted, "back-pointer of record {key}");
        }
        let mut subscribers = 0;
        for (index, group) in self.groups.iter() {
            assert!(!group.subscribers.is_empty(), "group {index} is empty");
            subscribers += group.subscribers.len();
            let entry = self.entries.get(group.entry).expect("a group's entry lives");
            assert_eq!(entry.groups[group.position as usize], index, "place of group {index}");
            assert_eq!(self.group_index.get(&(group.entry, group.class)), Some(&index));
        }
        assert_eq!(subscribers, self.live, "places");
        assert_eq!(self.group_index.len(), self.groups.len(), "groups");
        for (index, entry) in self.entries.iter() {
            assert!(!entry.groups.is_empty(), "entry {index} is empty");
            if let Some(pattern) = entry.pattern {
                assert_eq!(self.patterns.get(&entry.text), Some(&index));
                assert_eq!(self.matching.get(pattern), Some(&index));
            } else {
                assert_eq!(self.literals.get(&entry.text), Some(&index));
            }
        }
        assert_eq!(self.literals.len() + self.patterns.len(), self.entries.len(), "entries");
        assert_eq!(self.matching.len(), self.patterns.len(), "patterns");
        for (index, interned) in self.classes.iter() {
            let groups = self.groups.iter().filter(|(_, group)| group.class == index).count();
            assert_eq!(groups, interned.groups as usize, "references of class {index}");
            assert_eq!(self.class_index.get(&interned.class), Some(&index));
        }
        assert_eq!(self.class_index.len(), self.classes.len(), "classes");
    }
}

/// Gives room back when three quarters of it are unused. Half stays, so that a flutter costs
/// nothing.
fn give_back_vec<T>(array: &mut Vec<T>) {
    if array.capacity() > 16 && array.len() < array.capacity() / 4 {
        array.shrink_to(array.capacity() / 2);
    }
}

fn give_back_map<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V, Keyed>) {
    if map.capacity() > 64 && map.len() < map.capacity() / 4 {
        map.shrink_to(map.capacity() / 2);
    }
}

#[cfg(test)]
mod tests;
