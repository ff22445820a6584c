//! Tests of selectors: the rules one by one, what is refused and where, and a naive evaluator.
//!
//! The naive evaluator walks a tree that a strategy built; the selector is compiled from the tree
//! printed as text. Both must agree on every set of headers.

use super::twin::{header, Number, Tree};
use super::*;
use proptest::prelude::*;

const HEADERS: [(&str, &str); 8] = [
    ("n", "5"),
    ("f", "2.5"),
    ("s", "red"),
    ("b", "TRUE"),
    ("x-y", "dash"),
    ("q", "it's"),
    ("type", "news"),
    ("s", "second"),
];

fn lookup(name: &str) -> Option<&'static str> {
    HEADERS.iter().find(|(seen, _)| *seen == name).map(|(_, value)| *value)
}

fn selects(text: &str) -> bool {
    let selector = Selector::compile(text, &Limits::default());
    selector.unwrap_or_else(|error| panic!("{text}: {error}")).matches(lookup)
}

#[track_caller]
fn check(yes: &[&str], no: &[&str]) {
    for text in yes {
        assert!(selects(text), "{text}");
    }
    for text in no {
        assert!(!selects(text), "{text}");
    }
}

fn refused(text: &str) -> SelectorError {
    Selector::compile(text, &Limits::default()).expect_err(text)
}

#[test]
fn headers_are_read_as_what_they_are_compared_with() {
    check(
        &["n = 5", "n > 4.5", "n = 5.0", "n = '5'", "5 = n", "f < 3", "b = TRUE", "s <> 5"],
        &["n = 6", "s = 5", "s > 1", "s < 1", "s = TRUE", "b = 'true'", "n <> 5"],
    );
    check(&["s = FALSE", "b", "NOT s", "s < q OR q < s"], &["s", "n", "NOT b"]);
}

#[test]
fn a_missing_header_is_unknown() {
    check(
        &["gone IS NULL", "n IS NOT NULL", "gone = 1 OR n = 5", "NOT (gone = 1 AND n = 6)"],
        &["gone = 1", "gone <> 1", "NOT gone = 1", "gone", "NOT gone", "gone = 1 AND n = 5"],
    );
    check(
        &[],
        &[
            "gone LIKE '%'",
            "gone NOT LIKE '%'",
            "gone IN ('a')",
            "gone NOT IN ('a')",
            "gone BETWEEN 1 AND 2",
            "gone NOT BETWEEN 1 AND 2",
            "gone + 1 = 1",
            "n = NULL",
            "s + 1 IS NOT NULL",
        ],
    );
    // FALSE and UNKNOWN is FALSE: one bound decides.
    check(&["NOT (n BETWEEN gone AND 4)"], &["NOT (n BETWEEN gone AND 6)"]);
}

#[test]
fn predicates() {
    check(
        &[
            "n BETWEEN 5 AND 5",
            "n NOT BETWEEN 6 AND 7 AND s = 'red'",
            "s IN ('blue', 'red')",
            "n IN (1, 5)",
            "n NOT IN (-5, 4.5)",
            "s LIKE 'r_d'",
            "s LIKE '%d'",
            "s NOT LIKE 'r'",
            "q = 'it''s'",
            "q LIKE 'it''%'",
        ],
        &["n BETWEEN 6 AND 9", "s IN ('re')", "s LIKE 'R%'", "n IN (-5)"],
    );
}

#[test]
fn arithmetic_is_javas() {
    check(
        &[
            "n + 1 = 6",
            "n / 2 = 2",
            "n / 2.0 = 2.5",
            "n % 3 = 2",
            "-n = 0 - 5",
            "2 + 3 * n = 17",
            "(2 + 3) * n = 25",
            "10 - 3 - 2 = n",
            "n / 0 IS NULL",
            "9223372036854775807 + 1 > 9e18",
            "- -n = 5",
            "n = 0x5 AND n = 5L",
        ],
        &["n + 1 = 51", "f * 2 = 4"],
    );
}

#[test]
fn precedence_is_sqls() {
    check(
        &["n = 5 OR n = 5 AND n = 6", "NOT n = 6 AND s = 'red'", "not n = 6 or n = 5"],
        &["(n = 5 OR n = 5) AND n = 6", "NOT (n = 6 OR s = 'red')"],
    );
}

#[test]
fn names_may_be_quoted_and_jms_names_are_mapped() {
    check(
        &["\"x-y\" = 'dash'", "JMSType = 'news'", "s = 'red'"],
        &["x - y = 0", "jmstype = 'news'"],
    );
}

#[test]
fn springs_literal_form() {
    check(
        &[
            "headers['s'] == 'red'",
            "headers[\"x-y\"] == 'dash' and headers['n'] != '6'",
            "headers.s == 'red' && !(headers['n'] == '6')",
            "headers['s'] == 'blue' || headers['n'] == '5'",
            // SpEL knows two values: null is a value like others.
            "headers['gone'] != 'x'",
            "headers['gone'] == null",
        ],
        &["headers['s'] != 'red'", "headers['gone'] == 'x'", "headers['s'] == null"],
    );
    assert_eq!(refused("headers[s] == 'x'"), syntax(8, "a header's name in quotes"));
    assert_eq!(refused("headers['s' == 'x'"), syntax(12, "]"));
}

#[test]
fn a_blank_selector_selects_everything() {
    check(&["", "  "], &[]);
}

fn syntax(at: usize, expected: &'static str) -> SelectorError {
    SelectorError::Syntax { at, expected }
}

/// stomp.md §5 row 57.
#[test]
fn errors_name_the_place_and_what_was_expected() {
    let value = "a name, a literal or (";
    for (text, at, expected) in [
        ("n =", 3, value),
        ("n = 5 n", 6, "an operator or the end"),
        ("(n = 5", 6, ")"),
        ("AND", 0, value),
        ("n NOT 5", 6, "BETWEEN, IN or LIKE"),
        ("n IS 5", 5, "NULL"),
        ("n BETWEEN 1 OR 2", 12, "AND"),
        ("n IN 5", 5, "("),
        ("n IN ()", 6, "a text or a number"),
        ("n LIKE 5", 7, "a text"),
        ("n LIKE 'a' ESCAPE 'ab'", 18, "one character"),
        ("n LIKE 'a!' ESCAPE '!'", 7, "a character after the escape character"),
        ("5", 0, "a condition"),
        ("'a'", 0, "a condition"),
        ("n = 1 AND 5", 10, "a condition"),
        ("n < 'a'", 4, "a number"),
        ("'a' + 1 = 2", 0, "a number"),
        ("TRUE + 1 = 2", 0, "a number"),
        ("NOT 5", 4, "a condition"),
        ("5 LIKE '5'", 0, "a text"),
        ("n = 'a", 4, "a closing single quote"),
        ("n ~ 5", 2, "a name, a literal or an operator"),
        ("T(java.lang.Runtime)", 1, "an operator or the end"),
    ] {
        assert_eq!(refused(text), syntax(at, expected), "{text}");
    }
    assert_eq!(
        refused("n = 'a").to_string(),
        "bad selector: at byte 4, expected a closing single quote"
    );
}

/// stomp.md §5 row 58: bounded in length, depth and nodes, and no stack overflow.
/// Catalogue: I20.
#[test]
fn limits_hold() {
    let long = format!("s = '{}'", "x".repeat(1 << 20));
    assert_eq!(refused(&long), SelectorError::TooLong { seen: long.len(), limit: 4_096 });
    let deep = |open: &str, count: usize| open.repeat(count) + "n = 5" + &")".repeat(count);
    assert!(matches!(refused(&deep("(", 2_000)), SelectorError::TooDeep { at: 17, limit: 16 }));
    assert!(selects(&deep("(", 16)));
    assert!(matches!(refused(&"NOT ".repeat(1_000)), SelectorError::TooDeep { limit: 16, .. }));
    assert!(matches!(refused(&"-".repeat(4_000)), SelectorError::TooDeep { limit: 16, .. }));
    let wide = "n = 5 AND ".repeat(20) + "n = 5";
    assert!(matches!(refused(&wide), SelectorError::TooComplex { limit: 64, .. }));
    let list = format!("n IN ({}1)", "1,".repeat(1_000));
    assert!(matches!(refused(&list), SelectorError::TooComplex { limit: 64, .. }));
}

#[test]
fn the_stack_is_an_array_and_never_passed() {
    let limits = Limits {
        selector_depth_count_max: 1_000,
        selector_nodes_count_max: 1_000,
        ..Limits::default()
    };
    let nested = |count| "1 + (".repeat(count) + "1" + &")".repeat(count) + " = 33";
    let fits = Selector::compile(&nested(STACK - 1), &limits).unwrap();
    assert!(!fits.matches(lookup));
    assert_eq!(
        Selector::compile(&nested(STACK), &limits).map_err(SelectorError::message),
        Err("selector too complex")
    );
}

/// What a selector may cost is known before there is a message.
#[test]
fn no_evaluation_costs_more_than_was_foreseen() {
    let limits = Limits { stomp_header_line_bytes_max: 300, ..Limits::default() };
    let long = "ab".repeat(150);
    for text in [
        "a = 'x'",
        "a = b",
        "'ab' = a",
        "a = (b AND c)",
        "a IN ('x', 'abababab')",
        "a LIKE 'ab%'",
        "a LIKE '%b'",
        "a LIKE '%a%b%aa' OR b LIKE 'a_a%c'",
        "a BETWEEN 1 AND 7 OR NOT a IS NULL AND b <> a",
        "headers['a'] == 'x'",
    ] {
        let filter = Filter::compile(text, &limits).unwrap().unwrap();
        for header in ["", "x", "ab", &long, &long[1..]] {
            let publication =
                Publication::new("/topic/a", [("a", header), ("b", &long)].iter().copied(), b"");
            let steps = filter.evaluate(&publication).steps;
            assert!(steps <= filter.steps_most(), "{text}: {steps} > {}", filter.steps_most());
        }
    }
    let steps = |text| Filter::compile(text, &Limits::default()).unwrap().unwrap().steps_most();
    assert!(steps("a = 'x' AND b > 3") < 10);
    assert!(steps("a LIKE 'ab%'") < 10 && steps("a LIKE '%ab%'") > 16_384);
}

/// Catalogue: I20.
#[test]
fn an_evaluation_that_runs_out_of_steps_is_no_match() {
    let limits = Limits { selector_steps_count_max: 1_000, ..Limits::default() };
    let text = "a".repeat(10_000);
    let lookup = |_: &str| Some(text.as_str());
    for selector in ["s LIKE '%a%a%b'", "s NOT LIKE '%a%a%b'", "NOT (s LIKE '%a%a%b')"] {
        let selector = Selector::compile(selector, &limits).unwrap();
        let Evaluation { is_match, steps } = selector.evaluate(lookup);
        assert!(!is_match && steps == 1_000);
    }
}

#[test]
fn a_side_that_cannot_matter_is_not_evaluated() {
    let steps = |text| Selector::compile(text, &Limits::default()).unwrap().evaluate(lookup).steps;
    assert!(steps("n = 6 AND s LIKE '%x%'") < steps("n = 5 AND s LIKE '%x%'"));
    assert!(steps("n = 5 OR s LIKE '%x%'") < steps("n = 6 OR s LIKE '%x%'"));
}

fn names() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c")]
}

fn numbers() -> impl Strategy<Value = Number> {
    let leaf = prop_oneof![(0..12i64).prop_map(Number::Literal), names().prop_map(Number::Header)];
    leaf.prop_recursive(2, 4, 2, |inner| {
        let op = prop::sample::select(vec!['+', '-', '*', '/', '%']);
        (inner.clone(), op, inner).prop_map(|(a, op, b)| Number::Sum(a.into(), op, b.into()))
    })
}

fn trees() -> impl Strategy<Value = Tree> {
    let op = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let text = "[0-9x']{0,2}";
    let leaf = prop_oneof![
        (numbers(), op, numbers()).prop_map(|(a, op, b)| Tree::Compare(a, op, b)),
        (names(), text).prop_map(|(name, text)| Tree::Equals(name, text)),
        (numbers(), numbers(), numbers()).prop_map(|(a, b, c)| Tree::Between(a, b, c)),
        (names(), prop::collection::vec(text, 1..4)).prop_map(|(name, list)| Tree::In(name, list)),
        (names(), "[0-9x%_]{0,4}").prop_map(|(name, pattern)| Tree::Like(name, pattern)),
        names().prop_map(Tree::IsNull),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(tree.into())),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(a.into(), b.into())),
            (inner.clone(), inner).prop_map(|(a, b)| Tree::Or(a.into(), b.into())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_a_naive_evaluator(
        tree in trees(),
        sets in prop::collection::vec(
            prop::array::uniform3(prop::option::of("[1-9][0-9]?|0|x[0-9]?|")), 1..6),
    ) {
        let limits = Limits { selector_nodes_count_max: 1_000, ..Limits::default() };
        let text = tree.print();
        let selector = Selector::compile(&text, &limits).expect(&text);
        for headers in &sets {
            let seen = selector.matches(|name| header(headers, name));
            prop_assert_eq!(seen, tree.value(headers) == Some(true), "{} on {:?}", text, headers);
        }
    }

    /// Catalogue: I20.
    #[test]
    fn no_text_panics(
        text in "([a-c0-9 .'%_()+*<>=!&|-]|AND|OR|NOT|IN|LIKE|IS|NULL|BETWEEN|ä){0,40}",
    ) {
        if let Ok(selector) = Selector::compile(&text, &Limits::default()) {
            let Evaluation { steps, .. } = selector.evaluate(lookup);
            prop_assert!(steps <= Limits::default().selector_steps_count_max);
        }
    }
}
