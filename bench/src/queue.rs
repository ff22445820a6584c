//! What a run knows about its queues: how deliveries are acknowledged, and which messages came.
//!
//! The consumers of one queue sit on several threads, so its record is shared and locked for each
//! delivery. It is a window of bits: one a message, from the first that is still missing on, so
//! that a run of any length costs what is on its way. STOMP 1.2 "ACK": `client` is cumulative, so
//! one ACK for all that one receive brought; `client-individual` is one ACK a message.

use clap::ValueEnum;
use std::collections::VecDeque;

/// The `ack` of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AckMode {
    /// A message is settled when it is sent.
    Auto,
    /// ACK settles the message and all before it on the subscription.
    Client,
    /// ACK settles the one message.
    ClientIndividual,
}

impl AckMode {
    /// The header's value.
    pub fn value(self) -> &'static str {
        match self {
            AckMode::Auto => "auto",
            AckMode::Client => "client",
            AckMode::ClientIndividual => "client-individual",
        }
    }
}

/// Which messages of one queue came to any consumer.
#[derive(Default)]
pub struct Seen {
    /// All numbers below came; a multiple of 64.
    base: u32,
    /// Bit `k` of word `w`: number `base + 64 w + k` came.
    words: VecDeque<u64>,
}

impl Seen {
    /// Takes note of number `sequence`; true if it came for the first time.
    pub fn take(&mut self, sequence: u32) -> bool {
        let Some(ahead) = sequence.checked_sub(self.base) else { return false };
        let (word, bit) = (ahead as usize / 64, 1 << (ahead % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_first = self.words[word] & bit == 0;
        self.words[word] |= bit;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.base += 64;
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_number_is_new_once_and_the_window_moves_on() {
        let (mut seen, mut model) = (Seen::default(), HashSet::new());
        // A walk that repeats itself, jumps ahead and fills its gaps.
        for step in 0..20_000_u32 {
            let number = step / 2 + (step.wrapping_mul(2_654_435_761) >> 24);
            assert_eq!(seen.take(number), model.insert(number), "{number}");
        }
        for number in 0..10_300 {
            assert_eq!(seen.take(number), model.insert(number), "{number}");
        }
        assert!(seen.base >= 10_240 && seen.words.len() <= 2, "the window stays small");
        assert!(!seen.take(0));
    }
}
