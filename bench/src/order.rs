//! Order, gaps and duplicates of one stream at one subscriber.
//!
//! A number ahead of the expected one opens a gap; a number from an open gap is late (reordered);
//! any other number behind is a duplicate. Gaps are remembered 64 numbers back, so a stream costs
//! 16 bytes. What is still missing at the end is counted by difference, never guessed here.

/// Where a subscriber stands in one stream.
#[derive(Clone, Copy, Default)]
pub struct Stream {
    /// The number after the highest seen.
    next: u32,
    /// Bit `k`: number `next - 1 - k` did not come yet.
    missing: u64,
}

const _: () = assert!(size_of::<Stream>() <= 16);

/// What a delivery is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one.
    InOrder,
    /// Some before it have not come.
    AfterGap,
    /// It came after a later one.
    Late,
    /// It came before already.
    Duplicate,
}

impl Stream {
    /// Messages up to the highest seen.
    pub fn received(&self) -> u64 {
        self.next.into()
    }

    /// Takes note of number `sequence`.
    pub fn take(&mut self, sequence: u32) -> Arrival {
        if sequence >= self.next {
            let skipped = sequence - self.next;
            let shifted = self.missing.checked_shl(skipped + 1).unwrap_or(0);
            // The skipped numbers are missing; number `sequence` itself (bit 0) is not.
            let gap = 1u64.checked_shl(skipped + 1).map_or(u64::MAX, |bit| bit - 1) & !1;
            self.missing = shifted | gap;
            self.next = sequence + 1;
            return if skipped == 0 { Arrival::InOrder } else { Arrival::AfterGap };
        }
        let bit = 1u64.checked_shl(self.next - 1 - sequence).unwrap_or(0);
        if self.missing & bit != 0 {
            self.missing &= !bit;
            return Arrival::Late;
        }
        Arrival::Duplicate
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival::{AfterGap, Duplicate, InOrder, Late};
    use super::*;

    fn arrivals(numbers: &[u32]) -> Vec<Arrival> {
        let mut stream = Stream::default();
        numbers.iter().map(|&number| stream.take(number)).collect()
    }

    #[test]
    fn every_kind_of_arrival_is_told() {
        assert_eq!(arrivals(&[0, 1, 2]), [InOrder, InOrder, InOrder]);
        assert_eq!(arrivals(&[0, 0, 1]), [InOrder, Duplicate, InOrder]);
        assert_eq!(arrivals(&[0, 2, 1, 1, 3]), [InOrder, AfterGap, Late, Duplicate, InOrder]);
        assert_eq!(arrivals(&[1, 0]), [AfterGap, Late]);
    }

    #[test]
    fn gaps_are_remembered_64_back() {
        assert_eq!(arrivals(&[63, 0, 0]), [AfterGap, Late, Duplicate]);
        assert_eq!(arrivals(&[64, 0]), [AfterGap, Duplicate]);
        assert_eq!(arrivals(&[1000, 999, 1001, 998]), [AfterGap, Late, InOrder, Late]);
    }
}
