//! Destinations and patterns: matching as the naive twin, the index as trying each, the relations
//! on the safe side.

use crate::source::Source;
use stompede_core::broker::destination::{classify, home_shard, Prefixes, Profile};
use stompede_core::broker::pattern::index::{PatternIndex, PatternKey};
use stompede_core::broker::pattern::{Dialect, Pattern};
use stompede_core::limits::Limits;

#[path = "../../../core/src/broker/pattern/twin.rs"]
mod twin;

const DIALECTS: [Dialect; 3] = [Dialect::Ant, Dialect::Amqp, Dialect::ActiveMq];
const PIECES: [&str; 16] =
    ["a", "b", "ab", "*", "**", "?", "#", ">", "/", "/", "/", ".", "a*", "*b", "{x}", "é"];

/// The first byte chooses texts as they are, or texts of pieces that mean something.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    match source.below(3) {
        0 => destinations(&String::from_utf8_lossy(source.rest())),
        1 => against_twin(source),
        _ => against_each(source),
    }
}

fn destinations(text: &str) {
    let limits = Limits::default();
    for profile in [Profile::Default, Profile::RabbitMq, Profile::ActiveMq, Profile::Spring] {
        let prefixes = Prefixes::of(profile);
        if let Ok(claim) = classify(text, &prefixes, &limits) {
            assert!(text.ends_with(claim.name) && !text.chars().any(char::is_control));
            let canonical = claim.canonical(text);
            let again = classify(&canonical, &prefixes, &limits).expect("has a canonical name");
            assert_eq!(again.canonical(&canonical), canonical);
            let _ = (claim.subscribed(text), claim.for_send(), claim.for_subscribe());
        }
        if let Ok(Some(pattern)) = prefixes.pattern(text, &limits) {
            assert_eq!(pattern.as_str(), text);
            pattern.matches(text);
        }
        let _ = prefixes.rule(text, &limits);
    }
    assert!(home_shard(1, text, 3) < 3);
}

fn text(source: &mut Source<'_>) -> String {
    let count = source.below(12);
    std::iter::once("/").chain((0..count).map(|_| source.pick(&PIECES))).collect()
}

fn against_twin(mut source: Source<'_>) {
    let limits = Limits { pattern_wildcards_count_max: 100, ..Limits::default() };
    let (pattern, destination) = (text(&mut source), text(&mut source));
    // The twin's work doubles with each star.
    if pattern.contains("{x}") || pattern.matches('*').count() > 8 {
        return;
    }
    let Ok(parsed) = Pattern::parse(&pattern, &limits) else { return };
    let expected = twin::naive(&pattern, &destination);
    assert_eq!(parsed.matches(&destination), expected, "{pattern} on {destination}");
}

fn against_each(mut source: Source<'_>) {
    let limits = Limits::default();
    let mut index = PatternIndex::new(3);
    let mut live: Vec<(PatternKey, Pattern, usize)> = Vec::new();
    let mut number = 0;
    while !source.is_empty() {
        number += 1;
        match source.below(4) {
            0 if !live.is_empty() => {
                let (key, _, value) = live.swap_remove(source.below(live.len()));
                assert_eq!(index.remove(key), Some(value));
            }
            1 => {
                let destination = text(&mut source);
                check_lookup(&index, &live, &destination);
                check_relations(&live, &destination);
            }
            _ => {
                let dialect = source.pick(&DIALECTS);
                let text = text(&mut source);
                let parsed = Pattern::parse_as(dialect, &text, "/", &limits);
                let Ok(pattern) = parsed else { continue };
                live.push((index.insert(pattern.clone(), number), pattern, number));
            }
        }
    }
    for (key, _, _) in live {
        assert!(index.remove(key).is_some());
    }
    assert!(index.is_empty());
}

fn check_lookup(
    index: &PatternIndex<usize>,
    live: &[(PatternKey, Pattern, usize)],
    destination: &str,
) {
    let mut seen = Vec::new();
    index.for_each_match(destination, |value| seen.push(*value));
    seen.sort_unstable();
    let matching = live.iter().filter(|(_, pattern, _)| pattern.matches(destination));
    let mut expected: Vec<usize> = matching.map(|(_, _, value)| *value).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected, "{destination}");
}

fn check_relations(live: &[(PatternKey, Pattern, usize)], destination: &str) {
    for (_, left, _) in live.iter().take(6) {
        for (_, right, _) in live.iter().take(6) {
            let (by_left, by_right) = (left.matches(destination), right.matches(destination));
            let is_covered = by_left || !by_right || !left.covers(right);
            assert!(is_covered, "{left:?} covers {right:?}, not {destination}");
            let is_told = !(by_left && by_right) || left.overlaps(right);
            assert!(is_told, "{left:?} overlaps {right:?} at {destination}");
        }
    }
}
