//! Slow consumers: what waits for one subscription while its connection is full or its rate is
//! used up, and what is given up for it.
//!
//! Frames in a connection's [`crate::outbound::Outbound`] are on their way and never touched. A
//! delivery that may not go there yet is offered to the subscription's [`Backlog`], which is
//! allocated only then, and taken when there is room and rate. What it gives up is handed back, so
//! that the caller releases the segment, and is counted: the next delivery can say what was missed.
//!
//! Conflation replaces in place: a key keeps its turn and gets its newest value, so that a fast key
//! cannot starve itself or others. Order holds within a key (stomp.md §2.1 `sendTimeLimit` row,
//! §2.3 `maximumPendingMessageLimit`).

use super::Keyed;
use crate::amount;
use std::collections::{HashMap, VecDeque};

/// What happens when more waits than may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The connection is closed.
    #[default]
    Disconnect,
    /// The oldest delivery of the subscription goes.
    DropOldest,
    /// Only the newest of a key waits: of the named header's value, or of the destination.
    Conflate(Option<Box<str>>),
}

impl Policy {
    /// Reads `disconnect`, `drop-oldest`, `conflate` or `conflate:HEADER`.
    pub fn parse(text: &str) -> Option<Policy> {
        match (text, text.strip_prefix("conflate:")) {
            ("disconnect", _) => Some(Policy::Disconnect),
            ("drop-oldest", _) => Some(Policy::DropOldest),
            ("conflate", _) => Some(Policy::Conflate(None)),
            (_, Some(header)) if !header.is_empty() => Some(Policy::Conflate(Some(header.into()))),
            _ => None,
        }
    }
}

/// At most so many deliveries in a period; `max-rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period_ms: u32,
}

impl Rate {
    /// Reads `5/s`, `100/m` or `1/h`; the count is from 1 to 1,000,000.
    pub fn parse(text: &str) -> Option<Rate> {
        let (count, unit) = text.split_once('/')?;
        let count = amount::count(count).filter(|count| (1..=1_000_000).contains(count))? as u32;
        let period_ms = match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        Some(Rate { count, period_ms })
    }

    /// The slower of two.
    pub fn slower(self, other: Rate) -> Rate {
        let per_day = |rate: Rate| u64::from(rate.count) * (86_400_000 / u64::from(rate.period_ms));
        if per_day(other) < per_day(self) {
            other
        } else {
            self
        }
    }
}

/// What a `--slow-consumer` rule, or a subscription's own headers, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is given up.
    pub policy: Policy,
    /// How many deliveries in a period; none is as fast as the client reads.
    pub rate: Option<Rate>,
}

impl Rule {
    /// Whether deliveries may ever have to wait here, so that a backlog is needed.
    pub fn is_paced(&self) -> bool {
        self.policy != Policy::Disconnect || self.rate.is_some()
    }
}

/// Why the text of a `--slow-consumer` rule is refused: the operator's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleError;

impl std::fmt::Display for RuleError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(
            "bad slow-consumer rule: allowed is 'match,policy' or 'match,policy,max-rate' with \
             policy disconnect, drop-oldest, conflate or conflate:HEADER and a rate like 5/s",
        )
    }
}

impl std::error::Error for RuleError {}

/// Reads `match,policy[,max-rate]`: the destination or pattern's text, and the rule.
pub fn parse_rule(text: &str) -> Result<(&str, Rule), RuleError> {
    let (rest, last) = text.rsplit_once(',').ok_or(RuleError)?;
    let (matched, policy, rate) = match Rate::parse(last.trim()) {
        None => (rest, last, None),
        rate => {
            let (matched, policy) = rest.rsplit_once(',').ok_or(RuleError)?;
            (matched, policy, rate)
        }
    };
    let policy = Policy::parse(policy.trim()).ok_or(RuleError)?;
    match matched.trim() {
        "" => Err(RuleError),
        matched => Ok((matched, Rule { policy, rate })),
    }
}

/// What may wait in one backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Number of deliveries (ActiveMQ's `maximumPendingMessageLimit`).
    pub count_max: usize,
    /// Their bytes.
    pub bytes_max: usize,
}

/// The connection must be closed: more waits than may, and the policy gives up nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// What [`Backlog::take`] gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<T> {
    /// What the caller had offered.
    pub item: T,
    /// Deliveries given up since the one taken before.
    pub missed: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    key: Option<Box<str>>,
    bytes: usize,
    item: T,
}

/// Deliveries of one subscription that wait, oldest turn first. `T` is the caller's handle of the
/// encoded frame.
#[derive(Debug)]
pub struct Backlog<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Number of the turn of each key; the turn at the front has `first_turn`.
    turns: HashMap<Box<str>, u64, Keyed>,
    first_turn: u64,
    bytes: usize,
    missed: u64,
    missed_total: u64,
    rate: Option<Rate>,
    /// Part of a delivery earned, in delivery-milliseconds: `period_ms` of them buy one.
    credit: u64,
    credited_ms: u64,
}

impl<T> Backlog<T> {
    /// Nothing waits, and a whole period's deliveries may go at once. `hash_key` is random per
    /// start: peers choose the keys.
    pub fn new(rate: Option<Rate>, now_ms: u64, hash_key: u64) -> Backlog<T> {
        Backlog {
            waiting: VecDeque::new(),
            turns: HashMap::with_hasher(Keyed(hash_key)),
            first_turn: 0,
            bytes: 0,
            missed: 0,
            missed_total: 0,
            rate,
            credit: rate.map_or(0, full_credit),
            credited_ms: now_ms,
        }
    }

    /// Queues a delivery of `bytes` bytes. `key` is what [`Policy::Conflate`] goes by: the header's
    /// value, or the destination; ignored otherwise. `give_up` gets every item that goes for it,
    /// which may be the offered one if it alone is over the bounds.
    pub fn offer(
        &mut self,
        policy: &Policy,
        bounds: Bounds,
        key: &str,
        bytes: usize,
        item: T,
        mut give_up: impl FnMut(T),
    ) -> Result<(), Overflow> {
        let fits = |count: usize, sum: usize| count <= bounds.count_max && sum <= bounds.bytes_max;
        if *policy == Policy::Disconnect && !fits(self.waiting.len() + 1, self.bytes + bytes) {
            give_up(item);
            return Err(Overflow);
        }
        let is_keyed = matches!(policy, Policy::Conflate(_));
        let turn = self.turns.get(key).filter(|_| is_keyed);
        let place = turn.map(|turn| (turn - self.first_turn) as usize);
        if let Some(known) = place.and_then(|place| self.waiting.get_mut(place)) {
            self.bytes = self.bytes - known.bytes + bytes;
            known.bytes = bytes;
            give_up(std::mem::replace(&mut known.item, item));
            self.miss();
        } else {
            let key: Option<Box<str>> = is_keyed.then(|| key.into());
            if let Some(key) = &key {
                self.turns.insert(key.clone(), self.first_turn + self.waiting.len() as u64);
            }
            self.bytes += bytes;
            self.waiting.push_back(Waiting { key, bytes, item });
        }
        while !fits(self.waiting.len(), self.bytes) {
            let Some(oldest) = self.pop() else { break };
            give_up(oldest.item);
            self.miss();
        }
        Ok(())
    }

    /// The next delivery, if there is one and the rate allows it now.
    pub fn take(&mut self, now_ms: u64) -> Option<Taken<T>> {
        if self.waiting.is_empty() {
            return None;
        }
        if let Some(rate) = self.rate {
            let elapsed = now_ms.saturating_sub(self.credited_ms);
            let earned = elapsed.saturating_mul(u64::from(rate.count));
            self.credit = self.credit.saturating_add(earned).min(full_credit(rate));
            self.credited_ms = now_ms.max(self.credited_ms);
            self.credit = self.credit.checked_sub(u64::from(rate.period_ms))?;
        }
        let item = self.pop()?.item;
        Some(Taken { item, missed: std::mem::take(&mut self.missed) })
    }

    /// Whether a delivery must wait here (behind others, or for the rate) rather than go at once.
    pub fn is_needed(&self) -> bool {
        !self.waiting.is_empty() || self.rate.is_some()
    }

    /// Whether the backlog is as good as a new one, which is free.
    pub fn is_idle(&self) -> bool {
        !self.is_needed() && self.missed == 0
    }

    /// Gives up everything, because the subscription or its connection ends.
    pub fn clear(&mut self, mut give_up: impl FnMut(T)) {
        self.waiting.drain(..).for_each(|waiting| give_up(waiting.item));
        self.turns.clear();
        self.turns.shrink_to_fit();
        self.bytes = 0;
    }

    /// Number of deliveries that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Deliveries given up for newer ones, ever.
    pub fn missed_total(&self) -> u64 {
        self.missed_total
    }

    fn pop(&mut self) -> Option<Waiting<T>> {
        let oldest = self.waiting.pop_front()?;
        self.first_turn += 1;
        self.bytes -= oldest.bytes;
        if let Some(key) = &oldest.key {
            self.turns.remove(key);
        }
        Some(oldest)
    }

    fn miss(&mut self) {
        self.missed += 1;
        self.missed_total += 1;
    }
}

fn full_credit(rate: Rate) -> u64 {
    u64::from(rate.count) * u64::from(rate.period_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDE: Bounds = Bounds { count_max: 100, bytes_max: 1_000 };

    #[test]
    fn texts_are_read() {
        assert_eq!(Policy::parse("conflate:symbol"), Some(Policy::Conflate(Some("symbol".into()))));
        assert_eq!(Policy::parse("conflate"), Some(Policy::Conflate(None)));
        assert_eq!(Policy::parse("drop-oldest"), Some(Policy::DropOldest));
        assert!(["", "drop", "conflate:"].iter().all(|text| Policy::parse(text).is_none()));
        assert_eq!(Rate::parse("5/s"), Some(Rate { count: 5, period_ms: 1_000 }));
        assert!(["0/s", "5", "5/d", "x/s", "-1/s"].iter().all(|text| Rate::parse(text).is_none()));
    }

    #[test]
    fn rules_are_read() {
        let rule = |policy, rate| Rule { policy, rate: Rate::parse(rate) };
        assert_eq!(
            parse_rule("/topic/a,disconnect"),
            Ok(("/topic/a", Rule { policy: Policy::Disconnect, rate: None }))
        );
        let conflate = Policy::Conflate(Some("symbol".into()));
        let text = " /topic/a,b/** , conflate:symbol, 5/s";
        assert_eq!(parse_rule(text), Ok(("/topic/a,b/**", rule(conflate, "5/s"))));
        for text in ["", "/topic/a", ",conflate", "/topic/a,never", "conflate,5/s", "/t,conflate,x"]
        {
            assert_eq!(parse_rule(text), Err(RuleError), "{text}");
        }
    }

    #[test]
    fn a_disconnect_gives_the_item_back() {
        let mut backlog = Backlog::new(None, 0, 1);
        let mut gone = Vec::new();
        let bounds = Bounds { count_max: 1, ..WIDE };
        let mut offer =
            |item| backlog.offer(&Policy::Disconnect, bounds, "", 1, item, |item| gone.push(item));
        assert_eq!((offer(1), offer(2)), (Ok(()), Err(Overflow)));
        assert_eq!(gone, [2]);
    }

    /// Catalogue: K04.
    #[test]
    fn a_key_keeps_its_turn_and_gets_its_newest_value() {
        let mut backlog = Backlog::new(None, 0, 1);
        let (mut gone, policy) = (Vec::new(), Policy::Conflate(None));
        for (key, item) in [("a", 1), ("b", 2), ("a", 3), ("a", 4)] {
            backlog.offer(&policy, WIDE, key, item, item, |item| gone.push(item)).unwrap();
        }
        assert_eq!((gone, backlog.bytes()), (vec![1, 3], 6));
        assert_eq!(backlog.take(0), Some(Taken { item: 4, missed: 2 }));
        assert_eq!(backlog.take(0), Some(Taken { item: 2, missed: 0 }));
        assert_eq!((backlog.take(0), backlog.missed_total()), (None, 2));
    }

    #[test]
    fn the_rate_is_kept_and_a_pause_earns_one_period() {
        let mut backlog = Backlog::new(Rate::parse("4/s"), 0, 1);
        for item in 0..50 {
            backlog.offer(&Policy::DropOldest, WIDE, "", 1, item, |_| ()).unwrap();
        }
        let mut taken = |now_ms| std::iter::from_fn(|| backlog.take(now_ms)).count();
        assert_eq!([taken(0), taken(0), taken(249), taken(250)], [4, 0, 0, 1]);
        assert_eq!([taken(750), taken(60_000)], [2, 4]);
    }

    proptest! {
        /// Catalogue: K04.
        #[test]
        fn nothing_is_lost_uncounted_and_the_bounds_hold(
            is_conflating in any::<bool>(),
            steps in prop::collection::vec((0u8..4, 1usize..40, any::<bool>()), 1..100),
        ) {
            let policy = if is_conflating { Policy::Conflate(None) } else { Policy::DropOldest };
            let bounds = Bounds { count_max: 5, bytes_max: 100 };
            let mut backlog = Backlog::new(None, 0, 1);
            let (mut gone, mut taken, mut missed) = (Vec::new(), Vec::new(), 0);
            let count = steps.len();
            for (item, (key, bytes, is_take)) in steps.into_iter().enumerate() {
                let offered = (key, item);
                let key = key.to_string();
                let give_up = |old| gone.push(old);
                let seen = backlog.offer(&policy, bounds, &key, bytes, offered, give_up);
                prop_assert_eq!(seen, Ok(()));
                prop_assert!(backlog.len() <= 5 && backlog.bytes() <= 100);
                prop_assert!(!is_conflating || backlog.len() <= 4);
                prop_assert_eq!(backlog.missed_total(), gone.len() as u64);
                if let Some(next) = is_take.then(|| backlog.take(0)).flatten() {
                    missed += next.missed;
                    taken.push(next.item);
                }
            }
            while let Some(next) = backlog.take(0) {
                missed += next.missed;
                taken.push(next.item);
            }
            for key in 0..4 {
                let own = taken.iter().filter(|item| item.0 == key).map(|item| item.1);
                prop_assert!(own.is_sorted(), "order within a key");
            }
            prop_assert_eq!((taken.len() + gone.len(), missed), (count, gone.len() as u64));
            prop_assert_eq!((backlog.len(), backlog.bytes(), backlog.turns.len()), (0, 0, 0));
        }
    }
}
