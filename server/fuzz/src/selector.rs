//! Selectors: any text within its bounds of work, and conditions as the naive twin decides them.

use crate::source::Source;
use stompede_core::broker::selector::{Filter, Selector};
use stompede_core::limits::Limits;
use twin::{header, Number, Tree};

#[path = "../../../core/src/broker/selector/twin.rs"]
mod twin;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The first byte chooses a text as it is, or a tree.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    match source.below(2) {
        0 => any_text(&String::from_utf8_lossy(source.rest())),
        _ => against_twin(source),
    }
}

fn any_text(text: &str) {
    let limits = Limits::default();
    let Ok(selector) = Selector::compile(text, &limits) else { return };
    for value in [None, Some(""), Some("1"), Some("TRUE"), Some("aaaaaaaaaaab"), Some("9e999")] {
        let evaluation = selector.evaluate(|_| value);
        assert!(evaluation.steps <= limits.selector_steps_count_max);
        assert_eq!(evaluation.is_match, selector.matches(|_| value));
    }
    let filter = Filter::compile(text, &limits).expect("it compiled before");
    assert_eq!(filter.is_none(), text.trim().is_empty());
}

fn against_twin(mut source: Source<'_>) {
    const VALUES: [&str; 8] = ["", "0", "1", "7", "12", "99", "x", "x1"];
    let mut header_value = || (source.below(4) != 0).then(|| source.pick(&VALUES).to_owned());
    let headers = [header_value(), header_value(), header_value()];
    let tree = tree(&mut source, 4);
    let text = tree.print();
    let limits = Limits { selector_nodes_count_max: 1_000, ..Limits::default() };
    let Ok(selector) = Selector::compile(&text, &limits) else {
        panic!("{text}: {:?}", Selector::compile(&text, &limits));
    };
    let seen = selector.matches(|name| header(&headers, name));
    assert_eq!(seen, tree.value(&headers) == Some(true), "{text} on {headers:?}");
}

fn tree(source: &mut Source<'_>, depth: usize) -> Tree {
    const OPS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
    const TEXTS: [&str; 7] = ["", "0", "1", "x", "x1", "'", "12"];
    const LIKES: [&str; 8] = ["", "%", "_", "x%", "%1", "_1", "%x%_", "1"];
    match source.below(if depth > 0 { 12 } else { 6 }) {
        0 => Tree::Compare(number(source, 2), source.pick(&OPS), number(source, 2)),
        1 => Tree::Equals(source.pick(&NAMES), source.pick(&TEXTS).to_owned()),
        2 => Tree::Between(number(source, 2), number(source, 2), number(source, 2)),
        3 => {
            let count = 1 + source.below(3);
            let list = (0..count).map(|_| source.pick(&TEXTS).to_owned()).collect();
            Tree::In(source.pick(&NAMES), list)
        }
        4 => Tree::Like(source.pick(&NAMES), source.pick(&LIKES).to_owned()),
        5 => Tree::IsNull(source.pick(&NAMES)),
        6 | 7 => Tree::Not(tree(source, depth - 1).into()),
        8 | 9 => Tree::And(tree(source, depth - 1).into(), tree(source, depth - 1).into()),
        _ => Tree::Or(tree(source, depth - 1).into(), tree(source, depth - 1).into()),
    }
}

fn number(source: &mut Source<'_>, depth: usize) -> Number {
    match source.below(if depth > 0 { 4 } else { 2 }) {
        0 => Number::Literal(source.below(12) as i64),
        1 => Number::Header(source.pick(&NAMES)),
        _ => {
            let op = source.pick(&['+', '-', '*', '/', '%']);
            let (left, right) = (number(source, depth - 1), number(source, depth - 1));
            Number::Sum(left.into(), op, right.into())
        }
    }
}
