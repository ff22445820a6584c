//! Patterns by what they match, so that a publication tries few of them.
//!
//! One tree per dialect and prefix, an edge per segment: the literal ones in a table, those with
//! wildcards in a short list. A pattern hangs where its first `**` begins, or after
//! `DEPTH_MAX` segments; what hangs behind a `**` is told apart by its last literal segment.
//! Walking a destination visits a node at most once, and what hangs there is matched in full: the
//! tree only leaves out what cannot match. No allocation per lookup; branches without a pattern
//! are freed at once.

use super::{Dialect, Pattern, Segment, Segments};
use crate::broker::slab::Slab;
use crate::broker::Keyed;
use std::collections::HashMap;

/// Depth of the tree, so that a walk does not depend on how long destinations may be.
const DEPTH_MAX: usize = 16;

/// Names a live pattern of one index; reused after it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatternKey(u32);

/// Patterns with a value each, found by the destinations they match.
#[derive(Debug)]
pub struct PatternIndex<T> {
    items: Slab<(Pattern, T)>,
    trees: Vec<Tree>,
    hasher: Keyed,
}

#[derive(Debug)]
struct Tree {
    dialect: Dialect,
    prefix: Box<str>,
    root: Node,
}

#[derive(Debug)]
struct Node {
    literals: HashMap<Box<str>, Node, Keyed>,
    wild: Vec<(Segment, Node)>,
    /// Patterns whose last segment leads here.
    ends: Vec<u32>,
    /// Patterns that go on in a way the tree does not follow, by their last segment.
    by_last: HashMap<Box<str>, Vec<u32>, Keyed>,
    /// The same, where the last segment is a wildcard.
    others: Vec<u32>,
}

impl<T> PatternIndex<T> {
    /// An empty index; allocates nothing. `hash_key` is random per start: peers choose the names.
    pub fn new(hash_key: u64) -> PatternIndex<T> {
        PatternIndex { items: Slab::new(), trees: Vec::new(), hasher: Keyed(hash_key) }
    }

    /// Adds a pattern; equal ones may be there several times.
    pub fn insert(&mut self, pattern: Pattern, value: T) -> PatternKey {
        let hasher = self.hasher;
        let (dialect, prefix) = (pattern.dialect, pattern.prefix());
        let known = self.trees.iter().position(|tree| tree.is_of(dialect, prefix));
        let at = known.unwrap_or(self.trees.len());
        if known.is_none() {
            let root = Node::new(hasher);
            self.trees.push(Tree { dialect, prefix: prefix.into(), root });
        }
        let mut node = &mut self.trees[at].root;
        let edges = edges_of(&pattern);
        for edge in edges {
            node = node.child(edge, hasher);
        }
        let (has_ended, last) = rest_of(&pattern, edges.len());
        let key = self.items.insert((pattern.clone(), value));
        node.bucket(has_ended, last).push(key);
        PatternKey(key)
    }

    /// Removes a pattern; none if the key is not live.
    pub fn remove(&mut self, key: PatternKey) -> Option<T> {
        self.get(key)?;
        let (pattern, value) = self.items.remove(key.0)?;
        let is_of = |tree: &Tree| tree.is_of(pattern.dialect, pattern.prefix());
        let at = self.trees.iter().position(is_of)?;
        let root = &mut self.trees[at].root;
        root.remove(edges_of(&pattern), &pattern, key.0);
        if root.is_empty() {
            self.trees.swap_remove(at);
        }
        Some(value)
    }

    /// The value of a live pattern.
    pub fn get(&self, key: PatternKey) -> Option<&T> {
        self.items.get(key.0).map(|(_, value)| value)
    }

    /// The value of a live pattern.
    pub fn get_mut(&mut self, key: PatternKey) -> Option<&mut T> {
        self.items.get_mut(key.0).map(|(_, value)| value)
    }

    /// Calls `f` once for each pattern that matches a (literal) destination, in no special order.
    pub fn for_each_match<'i>(&'i self, destination: &str, mut f: impl FnMut(&'i T)) {
        self.for_each_candidate(destination, &mut |key| match self.items.get(key) {
            Some((pattern, value)) if pattern.matches(destination) => f(value),
            _ => {}
        });
    }

    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing at all is held.
    pub fn is_empty(&self) -> bool {
        self.items.len() == 0 && self.trees.is_empty()
    }

    fn for_each_candidate(&self, destination: &str, f: &mut dyn FnMut(u32)) {
        for tree in &self.trees {
            let Some(name) = destination.strip_prefix(&*tree.prefix) else { continue };
            let trimmed = match tree.dialect {
                Dialect::Ant => name.trim_end_matches('/'),
                _ => name,
            };
            let last = trimmed.rsplit(tree.dialect.separator()).next().unwrap_or(trimmed);
            tree.root.walk(tree.dialect.segments(name), last, f);
        }
    }

    #[cfg(test)]
    pub(super) fn candidates(&self, destination: &str) -> usize {
        let mut count = 0;
        self.for_each_candidate(destination, &mut |_| count += 1);
        count
    }
}

impl Tree {
    fn is_of(&self, dialect: Dialect, prefix: &str) -> bool {
        self.dialect == dialect && *self.prefix == *prefix
    }
}

/// The segments that the tree follows.
fn edges_of(pattern: &Pattern) -> &[Segment] {
    let segments = &pattern.segments;
    let depth = segments.iter().position(|segment| *segment == Segment::AnyDepth);
    &segments[..depth.unwrap_or(segments.len()).min(DEPTH_MAX)]
}

/// Whether a pattern ends after `depth` segments, and else its last segment if it is literal.
fn rest_of(pattern: &Pattern, depth: usize) -> (bool, Option<&str>) {
    match pattern.segments[depth..].last() {
        None => (true, None),
        Some(Segment::Literal(text)) => (false, Some(text)),
        Some(_) => (false, None),
    }
}

impl Node {
    fn new(hasher: Keyed) -> Node {
        Node {
            literals: HashMap::with_hasher(hasher),
            wild: Vec::new(),
            ends: Vec::new(),
            by_last: HashMap::with_hasher(hasher),
            others: Vec::new(),
        }
    }

    fn child(&mut self, edge: &Segment, hasher: Keyed) -> &mut Node {
        if let Segment::Literal(text) = edge {
            return self.literals.entry(text.clone()).or_insert_with(|| Node::new(hasher));
        }
        let known = self.wild.iter().position(|(known, _)| known == edge);
        let at = known.unwrap_or(self.wild.len());
        if known.is_none() {
            self.wild.push((edge.clone(), Node::new(hasher)));
        }
        &mut self.wild[at].1
    }

    fn bucket(&mut self, has_ended: bool, last: Option<&str>) -> &mut Vec<u32> {
        match last {
            _ if has_ended => &mut self.ends,
            Some(last) => self.by_last.entry(last.into()).or_default(),
            None => &mut self.others,
        }
    }

    fn walk(&self, mut path: Segments<'_>, last: &str, f: &mut dyn FnMut(u32)) {
        self.others.iter().for_each(|&key| f(key));
        self.by_last.get(last).into_iter().flatten().for_each(|&key| f(key));
        let Some(segment) = path.next() else {
            return self.ends.iter().for_each(|&key| f(key));
        };
        if let Some(child) = self.literals.get(segment) {
            child.walk(path.clone(), last, f);
        }
        for (_, child) in self.wild.iter().filter(|(edge, _)| edge.matches(segment)) {
            child.walk(path.clone(), last, f);
        }
    }

    /// Takes `key` out of the node at the end of `edges` and frees what became empty on the way.
    fn remove(&mut self, edges: &[Segment], pattern: &Pattern, key: u32) {
        match edges {
            [] => {
                let (has_ended, last) = rest_of(pattern, edges_of(pattern).len());
                let bucket = self.bucket(has_ended, last);
                bucket.retain(|known| *known != key);
                if bucket.is_empty() {
                    *bucket = Vec::new();
                    last.map(|last| self.by_last.remove(last));
                }
            }
            [Segment::Literal(text), rest @ ..] => {
                let Some(child) = self.literals.get_mut(text) else { return };
                child.remove(rest, pattern, key);
                if child.is_empty() {
                    self.literals.remove(text);
                }
            }
            [edge, rest @ ..] => {
                let at = self.wild.iter().position(|(known, _)| known == edge);
                let Some(at) = at else { return };
                self.wild[at].1.remove(rest, pattern, key);
                if self.wild[at].1.is_empty() {
                    self.wild.swap_remove(at);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty()
            && self.wild.is_empty()
            && self.ends.is_empty()
            && self.by_last.is_empty()
            && self.others.is_empty()
    }
}
