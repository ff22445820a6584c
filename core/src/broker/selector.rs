//! Selectors: which messages a subscription wants, as a condition on headers (stomp.md §2.3).
//!
//! The SQL-92 subset of JMS: `= <> < <= > >=`, AND OR NOT, `+ - * / %`, \[NOT\] BETWEEN, IN, LIKE
//! with ESCAPE, IS \[NOT\] NULL, literals, names, and `"quoted names"` for names with dashes. Also
//! Spring's literal form: `headers['x'] == 'y'`, `!=`, `and`, `or`, `&&`, `||`, `!`.
//!
//! A header that is not there is NULL and logic has three values; only TRUE selects. Headers are
//! text: next to a number they count as a number, next to TRUE or FALSE as a boolean, as in
//! ActiveMQ's STOMP; a text that is no number equals none. The one difference of Spring's `==` and
//! `!=` is that they know two values: a header that is not there `!=` any text.
//!
//! `lexer` cuts the text, `parser` compiles it in one pass into a `program` for a small
//! stack machine; `like` is LIKE. Length, nodes, depth and steps are limited (`selector_*`).

mod lexer;
mod like;
mod parser;
mod program;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;

use super::publication::Publication;
use crate::limits::{Limits, SELECTOR_STACK_COUNT_MAX};
use program::Program;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Why a selector is refused. All are the client's fault; the answer is ERROR and close
/// (stomp.md §5 rows 57 and 58).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorError {
    /// Not the grammar: at this byte something else was expected.
    Syntax { at: usize, expected: &'static str },
    /// More bytes than `selector_bytes_max`.
    TooLong { seen: usize, limit: usize },
    /// More operators, literals and names than `selector_nodes_count_max`.
    TooComplex { at: usize, limit: usize },
    /// Nested deeper than `selector_depth_count_max`, or than the stack holds.
    TooDeep { at: usize, limit: usize },
}

impl SelectorError {
    /// The short text for the ERROR frame's `message` header.
    pub fn message(self) -> &'static str {
        match self {
            SelectorError::Syntax { .. } => "bad selector",
            SelectorError::TooLong { .. } => "selector too long",
            SelectorError::TooComplex { .. } | SelectorError::TooDeep { .. } => {
                "selector too complex"
            }
        }
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message();
        match self {
            SelectorError::Syntax { at, expected } => {
                write!(out, "{message}: at byte {at}, expected {expected}")
            }
            SelectorError::TooLong { seen, limit } => {
                write!(out, "{message}: seen {seen} bytes, limit is {limit}: shorten it")
            }
            SelectorError::TooComplex { at, limit } => write!(
                out,
                "{message}: at byte {at}, limit is {limit} operators, literals and names: split it"
            ),
            SelectorError::TooDeep { at, limit } => {
                write!(out, "{message}: at byte {at}, limit is {limit} levels: nest less")
            }
        }
    }
}

impl std::error::Error for SelectorError {}

/// A compiled selector. Immutable; evaluation allocates nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    program: Program,
}

/// The outcome of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// Whether the condition is TRUE: not FALSE, not unknown, not out of steps.
    pub is_match: bool,
    /// What it cost, at most `selector_steps_count_max` (for budgets of work).
    pub steps: u32,
}

impl Selector {
    /// Compiles a selector. A blank one selects everything.
    ///
    /// # Errors
    /// [`SelectorError`]. Limits: `selector_bytes_max`, `selector_nodes_count_max`,
    /// `selector_depth_count_max`; `selector_steps_count_max` holds for each evaluation.
    pub fn compile(text: &str, limits: &Limits) -> Result<Selector, SelectorError> {
        if text.len() > limits.selector_bytes_max {
            let limit = limits.selector_bytes_max;
            return Err(SelectorError::TooLong { seen: text.len(), limit });
        }
        Ok(Selector { program: parser::compile(text, limits)? })
    }

    /// Whether a message is wanted. `lookup` gives the value of a header, of a repeated one the
    /// first (STOMP 1.2, "Repeated Header Entries").
    pub fn matches<'h>(&self, lookup: impl Fn(&str) -> Option<&'h str>) -> bool {
        self.evaluate(lookup).is_match
    }

    /// As [`Selector::matches`], with the cost. Out of steps is unknown, so not a match.
    pub fn evaluate<'h>(&self, lookup: impl Fn(&str) -> Option<&'h str>) -> Evaluation {
        self.program.evaluate(lookup)
    }
}

/// Depth of the evaluation's stack, see [`SELECTOR_STACK_COUNT_MAX`].
const STACK: usize = SELECTOR_STACK_COUNT_MAX;

/// A selector with its text, by which it is equal to another: subscriptions with the same one are
/// asked once for each message.
#[derive(Clone, Debug)]
pub struct Filter {
    text: Box<str>,
    selector: Selector,
    steps_most: u32,
}

impl Filter {
    /// Compiles a selector; `None` if it is blank, which selects everything.
    ///
    /// # Errors
    /// Those of [`Selector::compile`].
    pub fn compile(text: &str, limits: &Limits) -> Result<Option<Filter>, SelectorError> {
        let selector = Selector::compile(text, limits)?;
        let is_blank = text.trim().is_empty();
        let steps_most = selector.program.steps_most(limits.stomp_header_line_bytes_max);
        Ok((!is_blank).then(|| Filter { text: text.into(), selector, steps_most }))
    }

    /// The selector.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Whether a message is wanted.
    pub fn selects(&self, publication: &Publication) -> bool {
        self.evaluate(publication).is_match
    }

    /// As [`Filter::selects`], with the cost.
    pub fn evaluate(&self, publication: &Publication) -> Evaluation {
        self.selector.evaluate(|name| publication.header(name))
    }

    /// Steps that one evaluation takes at most.
    pub fn steps_most(&self) -> u32 {
        self.steps_most
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Filter) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
