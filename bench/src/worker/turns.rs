//! Who is replaced next, when subscribers come and go.
//!
//! A share is spread evenly over all places, so that a storm takes from every part of a fan-out;
//! and the next one begins a place further, so that in the end nobody was spared. It does not hang
//! on the clock: a rhythm of ours would meet the same places again and again, and those that do not
//! read would wait there until the server ends them.

/// A round through the places.
#[derive(Debug, Default)]
pub(super) struct Turns(usize);

impl Turns {
    /// Whose turn it is: `count` different places of `all`, and no more than there are.
    pub(super) fn next(&mut self, count: usize, all: usize) -> impl Iterator<Item = usize> {
        let (count, offset) = (count.min(all), self.0);
        self.0 = self.0.wrapping_add(usize::from(count > 0));
        (0..count).map(move |index| (index * all / count + offset) % all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_has_a_turn_at_any_rate() {
        for all in [1, 7, 100] {
            // One replaced in each fourth tick is a rate of a quarter.
            for (rate, rounds) in [(0.25, 4 * all), (1.0, all), (7.0, all), (500.0, 1)] {
                let (mut turns, mut due, mut seen) = (Turns::default(), 0.0, BTreeSet::new());
                for _ in 0..rounds {
                    due += rate;
                    let places: BTreeSet<_> = turns.next(due as usize, all).collect();
                    assert_eq!(places.len(), (due as usize).min(all), "different ones");
                    due %= 1.0;
                    seen.extend(places);
                }
                assert!(seen.into_iter().eq(0..all), "{rate} of {all}");
            }
        }
    }

    #[test]
    fn nobody_there_is_nobodys_turn() {
        assert_eq!(Turns::default().next(3, 0).count(), 0);
    }
}
