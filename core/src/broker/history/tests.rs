//! Tests of histories: rules, reasons, budget, and a naive model that keeps everything.

use super::*;
use crate::broker::pattern::Pattern;
use crate::limits::Limits;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { count_max: 3, bytes_max: 100_000, age_ms_max: 100 };

fn publication(destination: &str, bytes: usize) -> Arc<Publication> {
    let none = std::iter::empty::<(&str, &str)>();
    Arc::new(Publication::new(destination, none, &vec![b'x'; bytes]))
}

fn after(offset: u64, epoch: &str) -> Replay {
    Replay::After { offset, epoch: epoch.into() }
}

fn histories(budget_bytes: usize) -> Histories {
    let mut rules = ByPattern::default();
    rules.push(Pattern::parse("/topic/h/*", &Limits::default()).unwrap(), BOUNDS);
    Histories::new(rules, "e", budget_bytes, 5)
}

#[test]
fn rules_are_read() {
    let bounds = |count_max, bytes_max, age_ms_max| Bounds { count_max, bytes_max, age_ms_max };
    assert_eq!(parse_rule("/topic/*,100,5m", 9), Ok(("/topic/*", bounds(100, 9, 300_000))));
    let wide = bounds(usize::MAX, 65_536, 1_000);
    assert_eq!(parse_rule("/topic/a,b, 64KiB, 1s", 9), Ok(("/topic/a,b", wide)));
    for (text, error) in [
        ("/topic/a,100", RuleError::Parts),
        (",100,5m", RuleError::Parts),
        ("/topic/a,0,5m", RuleError::Size),
        ("/topic/a,many,5m", RuleError::Size),
        ("/topic/a,1,0s", RuleError::Age),
        ("/topic/a,1,5", RuleError::Age),
    ] {
        assert_eq!(parse_rule(text, 9), Err(error), "{text}");
    }
}

#[test]
fn every_reason_is_named() {
    let mut history = History::new("one", BOUNDS);
    (1..=5).for_each(|wanted| assert_eq!(history.append(publication("/t", 8), 0), wanted));
    let reason = |history: &mut History, from, epoch, now_ms, bytes_max| {
        let past = history.past(&after(from, epoch), now_ms, bytes_max);
        assert_eq!(past.position.map(|position| position.offset), Some(5));
        let recovery = past.recovery.expect("it was asked for");
        assert!(recovery.is_ok() || past.publications.is_empty());
        recovery.err()
    };
    assert_eq!(reason(&mut history, 2, "one", 99, 9_999), None);
    assert_eq!(reason(&mut history, 2, "two", 99, 9_999), Some(Reason::Epoch));
    assert_eq!(reason(&mut history, 6, "one", 99, 9_999), Some(Reason::Ahead));
    assert_eq!(reason(&mut history, 1, "one", 99, 9_999), Some(Reason::Evicted));
    assert_eq!(reason(&mut history, 2, "one", 99, 9), Some(Reason::Limit));
    assert_eq!(reason(&mut history, 5, "one", 99, 0), None);
    // By age all is gone, but who saw everything missed nothing.
    assert_eq!(reason(&mut history, 4, "one", 100, 9_999), Some(Reason::Evicted));
    assert_eq!(reason(&mut history, 5, "one", 100, 0), None);
    assert_eq!((history.bytes(), history.len()), (0, 0));
}

#[test]
fn the_budget_takes_the_oldest_of_all_first() {
    let one = publication("/topic/h/a", 1_000).bytes() + PLACE_BYTES;
    let mut table = histories(one * 3);
    for name in ["/topic/h/a", "/topic/h/b", "/topic/h/a", "/topic/h/c"] {
        assert!(table.append(&publication(name, 1_000), 0).is_some());
    }
    let offsets = |table: &mut Histories, name| {
        let past = table.past(name, &Replay::Newest(9), 0, 9_999);
        past.publications.iter().map(|(at, _)| *at).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&mut table, "/topic/h/a"), [2]);
    assert_eq!(offsets(&mut table, "/topic/h/b"), [1]);
    assert_eq!(table.bytes(), one * 3);
}

#[test]
fn what_is_empty_and_unused_is_freed_and_its_epoch_never_comes_back() {
    let mut table = histories(1 << 20);
    let epoch = table.append(&publication("/topic/h/a", 1), 0).unwrap().epoch;
    table.sweep(100, |_| true);
    assert_eq!((table.len(), table.bytes()), (1, 0));
    assert_eq!(table.past("/topic/h/a", &after(1, &epoch), 100, 0).recovery, Some(Ok(())));
    table.sweep(100, |_| false);
    assert!(table.is_empty());
    table.append(&publication("/topic/h/a", 1), 100);
    let past = table.past("/topic/h/a", &after(0, &epoch), 100, 9_999);
    assert_eq!(past.recovery, Some(Err(Reason::Epoch)));
    assert_eq!(table.append(&publication("/topic/a", 1), 0), None);
    let past = table.past("/topic/a", &after(0, &epoch), 0, 9_999);
    assert_eq!((past.recovery, past.position), (Some(Err(Reason::NoHistory)), None));
    let newest = table.past("/topic/a", &Replay::Newest(1), 0, 9_999);
    assert_eq!(newest.recovery, Some(Err(Reason::NoHistory)));
    assert!(table.past("/topic/a", &Replay::Nothing, 0, 9_999).recovery.is_none());
}

#[test]
fn the_newest_are_as_many_as_fit() {
    let mut history = History::new("one", BOUNDS);
    (1..=3).for_each(|at| assert_eq!(history.append(publication("/t", 1_000), 0), at));
    let mut offsets = |count, bytes_max| {
        let past = history.past(&Replay::Newest(count), 0, bytes_max);
        assert_eq!(past.recovery, None);
        past.publications.iter().map(|(at, _)| *at).collect::<Vec<_>>()
    };
    assert_eq!(offsets(1, 9_999), [3]);
    assert_eq!(offsets(9, 9_999), [1, 2, 3]);
    assert_eq!(offsets(9, 2 * (1_000 + 400)), [2, 3]);
    assert_eq!(offsets(9, 1_000), [0; 0]);
}

proptest! {
    #[test]
    fn agrees_with_a_model_that_keeps_everything(
        steps in prop::collection::vec((0u64..60, 0usize..400, 0u64..12), 1..60),
        count_max in 1usize..6,
        bytes_max in 100usize..2_000,
    ) {
        let bounds = Bounds { count_max, bytes_max, age_ms_max: 100 };
        let mut history = History::new("e", bounds);
        let mut model: Vec<(u64, Arc<Publication>)> = Vec::new();
        let mut now_ms = 0;
        for (wait_ms, bytes, from) in steps {
            now_ms += wait_ms;
            let new = publication("/topic/a", bytes);
            model.push((now_ms, new.clone()));
            prop_assert_eq!(history.append(new, now_ms), model.len() as u64);
            let cost = |part: &[(u64, Arc<Publication>)]| -> usize {
                part.iter().map(|(_, publication)| publication.bytes() + PLACE_BYTES).sum()
            };
            // A suffix is kept exactly if it and every shorter one is within the bounds, at the
            // time of each append since.
            let mut first = 0;
            for end in 1..=model.len() {
                let at_ms = model[end - 1].0;
                while end - first > count_max || cost(&model[first..end]) > bytes_max
                    || (first < end && at_ms - model[first].0 >= 100)
                {
                    first += 1;
                }
            }
            prop_assert_eq!((history.len(), history.bytes()),
                (model.len() - first, cost(&model[first..])));
            let past = history.past(&after(from, "e"), now_ms, usize::MAX);
            let wanted = if from > model.len() as u64 { Some(Reason::Ahead) }
                else if from < first as u64 { Some(Reason::Evicted) }
                else { None };
            prop_assert_eq!(past.recovery, Some(wanted.map_or(Ok(()), Err)));
            if wanted.is_none() {
                let offsets = past.publications.iter().map(|(at, _)| *at);
                prop_assert!(offsets.eq(from + 1..=model.len() as u64));
                for (at, publication) in &past.publications {
                    prop_assert!(Arc::ptr_eq(publication, &model[*at as usize - 1].1));
                }
            }
        }
    }

    #[test]
    fn the_accounts_of_a_shard_balance(
        steps in prop::collection::vec((0usize..6, 0usize..300, 0u64..40, any::<bool>()), 1..150),
    ) {
        let mut table = histories(1_500);
        let mut now_ms = 0;
        for (name, bytes, wait_ms, is_sweep) in steps {
            now_ms += wait_ms;
            table.append(&publication(&format!("/topic/h/{name}"), bytes), now_ms);
            if is_sweep {
                table.sweep(now_ms, |name| name.ends_with('0'));
            }
            let sum: usize = table.owned.iter().map(|(_, owned)| owned.history.bytes()).sum();
            prop_assert_eq!(table.bytes(), sum);
            prop_assert!(sum <= 1_500);
            prop_assert!(table.order.len() <= (table.kept * 2).max(64));
        }
        table.sweep(now_ms + 100, |_| false);
        prop_assert!(table.is_empty());
    }
}
