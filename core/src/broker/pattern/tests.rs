//! Tests of patterns: each dialect's rules, hostile input, and naive twins of matching, of the
//! index, and of the relations.

use super::index::{PatternIndex, PatternKey};
use super::twin::naive;
use super::*;
use proptest::prelude::*;

fn matches(pattern: &str, destination: &str) -> bool {
    let limits = Limits { pattern_wildcards_count_max: 100, ..Limits::default() };
    Pattern::parse(pattern, &limits).unwrap().matches(destination)
}

#[test]
fn any_depth_takes_zero_or_more_segments() {
    for yes in ["/topic", "/topic/", "/topic/a", "/topic/a/b", "/topic/a/b/"] {
        assert!(matches("/topic/**", yes), "{yes}");
    }
    assert!(!matches("/topic/**", "/topics") && !matches("/topic/**", "topic/a"));
    assert!(matches("/topic/**/z", "/topic/z") && matches("/topic/**/z", "/topic/a/z/z"));
    assert!(!matches("/topic/**/z", "/topic/a/z/y"));
    assert!(matches("/**/a/**/b", "/x/a/b/a/c/b") && !matches("/**/a/**/b", "/b/a"));
}

#[test]
fn one_star_stays_within_a_segment() {
    assert!(matches("/topic/*", "/topic/a") && !matches("/topic/*", "/topic/a/b"));
    assert!(matches("/topic/a*c", "/topic/abbc") && matches("/topic/a*c", "/topic/ac"));
    assert!(!matches("/topic/*", "/topic"));
    assert!(matches("/topic/a**c", "/topic/axc") && !matches("/topic/a**c", "/topic/a/c"));
}

#[test]
fn a_question_mark_is_one_character() {
    assert!(matches("/topic/a?c", "/topic/abc") && matches("/topic/a?c", "/topic/aäc"));
    assert!(!matches("/topic/a?c", "/topic/ac") && !matches("/topic/a?c", "/topic/a/c"));
}

#[test]
fn separators_must_agree() {
    assert!(!matches("/topic/*", "/topic/a/") && matches("/topic/*/", "/topic/a/"));
    assert!(!matches("topic/*", "/topic/a") && matches("topic/*", "topic/a"));
    assert!(matches("/topic//*", "/topic/a") && matches("/topic/*", "/topic//a"));
    assert!(!matches("/topic/**/b", "/topic/b/"));
}

#[test]
fn case_matters() {
    assert!(!matches("/topic/A*", "/topic/ab"));
}

/// Catalogue: I18.
#[test]
fn limits_and_braces_are_refused() {
    let limits = Limits::default();
    let parse = |text: &str| Pattern::parse(text, &limits).map(|_| ()).unwrap_err();
    assert_eq!(parse(""), PatternError::Empty);
    for brace in ["/topic/{id:[0-9]+}", "/topic/{id", "/topic/id}", "/topic/{}", "/topic/{a{b}}"] {
        assert_eq!(parse(brace), PatternError::Unsupported, "{brace}");
    }
    let deep = format!("/topic{}", "/**".repeat(300));
    assert_eq!(parse(&deep), PatternError::TooComplex { seen: 300, limit: 8 });
    assert_eq!(parse(&deep).to_string(), "pattern too complex: seen 300 wildcards, limit is 8");
    let long = "*".repeat(1_025);
    assert_eq!(parse(&long), PatternError::TooLong { seen: 1_025, limit: 1_024 });
    assert!(Pattern::parse("/topic/*/*/*/*/*/*/*/*", &limits).is_ok());
    assert_eq!(Pattern::parse("/topic/?", &limits).unwrap().as_str(), "/topic/?");
}

/// Catalogue: I18, I19.
#[test]
fn hostile_patterns_cost_little() {
    let text = format!("/topic/{}", "a".repeat(1_000));
    // Backtracking over every star would take longer than the universe.
    assert!(!matches("/topic/*a*a*a*a*a*a*a*b", &text));
    let path = format!("/topic{}", "/a".repeat(500));
    assert!(!matches("/topic/**/a/**/a/**/a/**/a/**/a/**/a/**/b", &path));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn agrees_with_the_naive_twin(pattern in "[ab/*?]{1,12}", destination in "[ab/]{0,12}") {
        prop_assert_eq!(matches(&pattern, &destination), naive(&pattern, &destination));
    }

    #[test]
    fn agrees_on_segments(
        pattern in "/(a|b|\\*|\\*\\*|a\\*|\\?)(/(a|b|\\*|\\*\\*|\\*b)){0,5}/?",
        destination in "/(a|b|ab)(/(a|b|ab)){0,6}/?",
    ) {
        prop_assert_eq!(matches(&pattern, &destination), naive(&pattern, &destination));
    }

    /// Catalogue: I18.
    #[test]
    fn never_panics(pattern in "\\PC{0,40}", destination in "\\PC{0,40}") {
        if let Ok(pattern) = Pattern::parse(&pattern, &Limits::default()) {
            pattern.matches(&destination);
        }
    }
}

fn dotted(dialect: Dialect, text: &str) -> Result<Pattern, PatternError> {
    Pattern::parse_as(dialect, text, "/topic/", &Limits::default())
}

#[test]
fn variables_are_stars() {
    assert!(matches("/topic/{id}/x", "/topic/7/x") && !matches("/topic/{id}/x", "/topic/7/8/x"));
    assert!(matches("/topic/a{id}c", "/topic/abc") && !matches("/topic/{a}{b}", "/topic/a/b"));
}

#[test]
fn amqp_words() {
    let yes = |pattern, name| dotted(Dialect::Amqp, pattern).unwrap().matches(name);
    assert!(yes("/topic/a.*", "/topic/a.b") && !yes("/topic/a.*", "/topic/a.b.c"));
    assert!(yes("/topic/a.#", "/topic/a") && yes("/topic/a.#", "/topic/a.b.c"));
    assert!(yes("/topic/#.z", "/topic/z") && yes("/topic/*", "/topic/a/b"));
    assert!(!yes("/topic/a*", "/topic/ab") && !yes("/topic/#", "/topics/a"));
    assert!(yes("/topic/a..b", "/topic/a..b") && !yes("/topic/a.b", "/topic/a..b"));
    assert!(!Dialect::Amqp.is_pattern("a*.b?") && Dialect::Amqp.is_pattern("a.#"));
}

#[test]
fn activemq_words() {
    let yes = |pattern, name| dotted(Dialect::ActiveMq, pattern).unwrap().matches(name);
    assert!(yes("/topic/A.>", "/topic/A") && yes("/topic/A.>", "/topic/A.b.c"));
    assert!(yes("/topic/*.b", "/topic/a.b") && !yes("/topic/*.b", "/topic/b"));
    assert_eq!(dotted(Dialect::ActiveMq, "/topic/>.b"), Err(PatternError::Misplaced));
    assert!(!Dialect::ActiveMq.is_pattern("a.#") && Dialect::ActiveMq.is_pattern("a.>"));
}

#[test]
fn relations_of_dialects_that_differ_are_told_by_the_literal_head() {
    let ant = |text| Pattern::parse(text, &Limits::default()).unwrap();
    let amqp = |text| dotted(Dialect::Amqp, text).unwrap();
    assert!(ant("/**").covers(&amqp("/topic/a.#")) && ant("/topic/**").covers(&amqp("/topic/#")));
    assert!(!ant("/topic/*").covers(&amqp("/topic/#")));
    assert!(!ant("/queue/**").overlaps(&amqp("/topic/#")));
    assert!(ant("/topic//a*").overlaps(&amqp("/topic/a.#")));
    // Both match /topic/a: a wildcard for any depth may stand for nothing.
    assert!(ant("/topic/a/**").overlaps(&amqp("/topic/a.#")));
    assert!(!ant("/topic/a/**").overlaps(&amqp("/topic/b.#")));
}

#[test]
fn the_index_is_empty_at_the_end() {
    let mut index = PatternIndex::new(7);
    let add = |index: &mut PatternIndex<u32>, text: &str, value| {
        index.insert(Pattern::parse(text, &Limits::default()).unwrap(), value)
    };
    let keys: Vec<_> = ["/topic/**", "/topic/*/a/**/z", "/topic/a*", "/topic/**/z"]
        .iter()
        .zip(0..)
        .map(|(text, value)| add(&mut index, text, value))
        .collect();
    let mut seen = Vec::new();
    index.for_each_match("/topic/b/a/z", |value| seen.push(*value));
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 3]);
    for (key, value) in keys.into_iter().zip(0..) {
        assert_eq!((index.remove(key), index.remove(key)), (Some(value), None));
    }
    assert!(index.is_empty());
}

#[test]
fn the_index_tries_only_what_can_match() {
    let mut index = PatternIndex::new(7);
    for number in 0..1_000 {
        for text in [format!("/topic/{number}/*"), format!("/topic/**/x{number}")] {
            index.insert(Pattern::parse(&text, &Limits::default()).unwrap(), number);
        }
    }
    assert_eq!(index.candidates("/topic/5/x7"), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_index_agrees_with_trying_each(
        steps in prop::collection::vec(
            (0u8..3, "/(a|b|\\*|\\*\\*|a\\*)([/.](a|b|\\*|\\*\\*|#|>)){0,4}/?", any::<bool>()),
            1..30,
        ),
        destinations in prop::collection::vec("/(a|b|ab)([/.](a|b|ab)){0,6}/?", 1..8),
    ) {
        let mut index = PatternIndex::new(3);
        let mut model: Vec<(PatternKey, Pattern, usize)> = Vec::new();
        for (number, (dialect, text, is_removal)) in steps.into_iter().enumerate() {
            if is_removal && !model.is_empty() {
                let (key, _, value) = model.swap_remove(number % model.len());
                prop_assert_eq!(index.remove(key), Some(value));
            }
            let dialect = [Dialect::Ant, Dialect::Amqp, Dialect::ActiveMq][dialect as usize];
            let limits = Limits::default();
            let Ok(pattern) = Pattern::parse_as(dialect, &text, "/", &limits) else { continue };
            model.push((index.insert(pattern.clone(), number), pattern, number));
        }
        for destination in &destinations {
            let mut seen = Vec::new();
            index.for_each_match(destination, |value| seen.push(*value));
            seen.sort_unstable();
            let matching = model.iter().filter(|(_, pattern, _)| pattern.matches(destination));
            let mut wanted: Vec<usize> = matching.map(|(_, _, value)| *value).collect();
            wanted.sort_unstable();
            prop_assert_eq!(seen, wanted);
        }
        for (key, _, _) in model {
            index.remove(key);
        }
        prop_assert!(index.is_empty());
    }

    #[test]
    fn relations_are_on_the_safe_side(
        dialects in (0u8..3, 0u8..3),
        left in "/(a|\\*|\\*\\*|a\\*)([/.](a|b|\\*|\\*\\*|#|>|\\*b)){0,3}/?",
        right in "/(a|\\*|\\*\\*|a\\*)([/.](a|b|\\*|\\*\\*|#|>|a\\*)){0,3}/?",
        destinations in prop::collection::vec("/(a|b|ab)([/.](a|b|ab)){0,3}/?", 1..20),
    ) {
        let pick = |number: u8| [Dialect::Ant, Dialect::Amqp, Dialect::ActiveMq][number as usize];
        let parse = |number, text: &str| {
            Pattern::parse_as(pick(number), text, "/", &Limits::default())
        };
        let (Ok(left), Ok(right)) = (parse(dialects.0, &left), parse(dialects.1, &right)) else {
            return Ok(());
        };
        prop_assert!(left.covers(&left));
        for destination in &destinations {
            let (by_left, by_right) = (left.matches(destination), right.matches(destination));
            prop_assert!(by_left || !by_right || !left.covers(&right), "{}", destination);
            prop_assert!(!(by_left && by_right) || left.overlaps(&right), "{}", destination);
        }
    }
}
