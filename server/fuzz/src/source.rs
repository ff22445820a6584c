//! Decisions out of the bytes of a fuzzer: numbers, choices, texts.
//!
//! When the bytes are used up everything is zero or empty, so that every input means something and
//! short ones mean something simple.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The bytes that are left.
#[derive(Clone, Copy)]
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    /// All of `input`.
    pub fn new(input: &'a [u8]) -> Source<'a> {
        Source(input)
    }

    /// Is nothing left?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `end`, at most 256 of them.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// One of `choices`, which are not none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Up to `count_max` bytes: the first byte says how many.
    pub fn bytes(&mut self, count_max: usize) -> &'a [u8] {
        let count = self.below(count_max + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// As [`Source::bytes`], as text: what is not UTF-8 becomes U+FFFD.
    pub fn text(&mut self, count_max: usize) -> String {
        String::from_utf8_lossy(self.bytes(count_max)).into_owned()
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Some places to cut `bytes` in two, by what they are: of inputs that differ a little, others.
pub fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    const COUNT: u64 = 8;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let (hash, len) = (hasher.finish(), bytes.len());
    let places = (1..=COUNT).map(move |n| hash.wrapping_mul(2 * n + 1) >> 32);
    places.filter(move |_| len > 0).map(move |place| place as usize % len)
}
