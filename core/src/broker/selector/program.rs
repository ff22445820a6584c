//! The compiled selector: a short list of operations for a stack machine.
//!
//! No jump goes back, so an evaluation runs each operation at most once; only LIKE and long texts
//! cost more than a step, and steps are limited. The stack is an array whose depth the parser has
//! checked. NULL stands for both a header that is not there and the unknown truth value.

use super::like::Like;
use super::{Evaluation, STACK};
use std::cmp::Ordering;

/// A header with more bytes is no number; bounds the work of reading one.
const NUMBER_BYTES_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Spring's `==`: NULL is equal to NULL and to nothing else.
    Same,
    /// Spring's `!=`.
    NotSame,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    Constant(Constant),
    Header(Box<str>),
    Compare(Comparison),
    Calculate(Arithmetic),
    Negate,
    Between,
    In(Box<[Constant]>),
    Like(Like),
    IsNull,
    Not,
    And,
    Or,
    /// Goes to operation `to` when the value on top, which stays, has this truth.
    SkipIf {
        truth: bool,
        to: u32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    pub(super) ops: Box<[Op]>,
    pub(super) steps_max: u32,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

/// The parser has counted the depth, so neither end is ever passed; NULL if it were.
struct Stack<'a> {
    values: [Value<'a>; STACK],
    len: usize,
}

impl<'a> Stack<'a> {
    fn push(&mut self, value: Value<'a>) {
        if let Some(slot) = self.values.get_mut(self.len) {
            *slot = value;
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Value<'a> {
        self.len = self.len.saturating_sub(1);
        self.values[self.len]
    }
}

impl Program {
    pub(super) fn evaluate<'h>(&self, lookup: impl Fn(&str) -> Option<&'h str>) -> Evaluation {
        let mut left = self.steps_max;
        let result = self.run(lookup, &mut left);
        // No operation at all is the blank selector.
        let is_match = self.ops.is_empty() || result == Some(true);
        Evaluation { is_match, steps: self.steps_max - left }
    }

    /// Steps that an evaluation takes at most, if no header has more bytes than that: what bounds
    /// the work of many selectors before there is any.
    pub(super) fn steps_most(&self, header_bytes: usize) -> u32 {
        let mut sum = 0;
        // What was pushed last, and so one side of a comparison: the shorter one bounds its cost.
        let mut last_bytes = header_bytes;
        for op in &self.ops {
            sum += 1 + match op {
                Op::Compare(_) => last_bytes / TEXT_BYTES_PER_STEP,
                Op::In(list) => list.iter().map(|one| 1 + one.bytes() / TEXT_BYTES_PER_STEP).sum(),
                Op::Like(like) => like.steps_most(header_bytes),
                _ => 0,
            };
            last_bytes = match op {
                Op::Constant(constant) => constant.bytes(),
                _ => header_bytes,
            };
        }
        u32::try_from(sum).unwrap_or(u32::MAX).min(self.steps_max)
    }

    fn run<'h>(&self, lookup: impl Fn(&str) -> Option<&'h str>, left: &mut u32) -> Option<bool> {
        let mut stack = Stack { values: [Value::Null; STACK], len: 0 };
        let mut at = 0;
        while let Some(op) = self.ops.get(at) {
            *left = left.checked_sub(1)?;
            at += 1;
            let value = match op {
                Op::Constant(constant) => Value::from(constant),
                Op::Header(name) => lookup(name).map_or(Value::Null, Value::Text),
                Op::SkipIf { truth, to } => {
                    let top = stack.pop();
                    if top.truth() == Some(*truth) {
                        at = *to as usize;
                    }
                    top
                }
                Op::Compare(comparison) => {
                    let (b, a) = (stack.pop(), stack.pop());
                    charge_texts(a, b, left)?;
                    compare(a, *comparison, b).into()
                }
                Op::Calculate(arithmetic) => {
                    let (b, a) = (stack.pop(), stack.pop());
                    calculate(a, *arithmetic, b)
                }
                Op::Negate => calculate(Value::Int(0), Arithmetic::Subtract, stack.pop()),
                Op::Between => {
                    let (high, low, a) = (stack.pop(), stack.pop(), stack.pop());
                    let above = compare(a, Comparison::GreaterOrEqual, low);
                    and(above, compare(a, Comparison::LessOrEqual, high)).into()
                }
                Op::In(list) => is_in(stack.pop(), list, left)?.into(),
                Op::Like(like) => match stack.pop() {
                    Value::Text(text) => Value::Bool(like.matches(text, left)?),
                    Value::Null => Value::Null,
                    _ => Value::Bool(false),
                },
                Op::IsNull => Value::Bool(matches!(stack.pop(), Value::Null)),
                Op::Not => stack.pop().truth().map(|truth| !truth).into(),
                Op::And => and(stack.pop().truth(), stack.pop().truth()).into(),
                Op::Or => {
                    let not = |value: Value| value.truth().map(|truth| !truth);
                    and(not(stack.pop()), not(stack.pop())).map(|neither| !neither).into()
                }
            };
            stack.push(value);
        }
        stack.pop().truth()
    }
}

impl Constant {
    fn bytes(&self) -> usize {
        match self {
            Constant::Text(text) => text.len(),
            _ => 0,
        }
    }
}

impl<'a> Value<'a> {
    fn from(constant: &'a Constant) -> Value<'a> {
        match constant {
            Constant::Null => Value::Null,
            Constant::Bool(truth) => Value::Bool(*truth),
            Constant::Int(number) => Value::Int(*number),
            Constant::Float(number) => Value::Float(*number),
            Constant::Text(text) => Value::Text(text),
        }
    }

    /// As a condition: headers are text, and only `true` is TRUE, in any case (as in Java).
    fn truth(self) -> Option<bool> {
        match self {
            Value::Null => None,
            Value::Bool(truth) => Some(truth),
            Value::Text(text) => Some(text.eq_ignore_ascii_case("true")),
            Value::Int(_) | Value::Float(_) => Some(false),
        }
    }

    /// As a number: an integer or a float; NULL for anything else.
    fn number(self) -> Value<'a> {
        match self {
            Value::Int(_) | Value::Float(_) => self,
            Value::Text(text) => read_number(text),
            Value::Null | Value::Bool(_) => Value::Null,
        }
    }

    fn float(self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            _ => None,
        }
    }
}

impl From<Option<bool>> for Value<'_> {
    fn from(truth: Option<bool>) -> Self {
        truth.map_or(Value::Null, Value::Bool)
    }
}

fn read_number<'a>(text: &str) -> Value<'a> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Keeps out `inf` and `nan`, which Rust would read.
    let begins = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    if !begins || text.len() > NUMBER_BYTES_MAX {
        return Value::Null;
    }
    match text.parse() {
        Ok(number) => Value::Int(number),
        Err(_) => text.parse().map_or(Value::Null, Value::Float),
    }
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Comparing long texts costs a step for each 64 bytes.
const TEXT_BYTES_PER_STEP: usize = 64;

fn charge_texts(a: Value, b: Value, left: &mut u32) -> Option<()> {
    if let (Value::Text(a), Value::Text(b)) = (a, b) {
        *left = left.checked_sub((a.len().min(b.len()) / TEXT_BYTES_PER_STEP) as u32)?;
    }
    Some(())
}

fn is_in(value: Value, list: &[Constant], left: &mut u32) -> Option<Option<bool>> {
    if matches!(value, Value::Null) {
        return Some(None);
    }
    for constant in list {
        *left = left.checked_sub(1)?;
        charge_texts(value, Value::from(constant), left)?;
        if order(value, Value::from(constant)) == Some(Ordering::Equal) {
            return Some(Some(true));
        }
    }
    Some(Some(false))
}

/// NULL makes SQL's comparisons unknown; values of unlike kinds are not equal (JMS 1.1, 3.8.1.2).
fn compare(a: Value, comparison: Comparison, b: Value) -> Option<bool> {
    let nulls = [a, b].iter().filter(|value| matches!(value, Value::Null)).count();
    let order = order(a, b);
    let is_equal = order == Some(Ordering::Equal);
    match comparison {
        Comparison::Same => return Some(nulls == 2 || is_equal),
        Comparison::NotSame => return Some(nulls != 2 && !is_equal),
        _ if nulls > 0 => return None,
        _ => {}
    }
    Some(match comparison {
        Comparison::Equal | Comparison::Same => is_equal,
        Comparison::NotEqual | Comparison::NotSame => !is_equal,
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
    })
}

/// How two values relate; `None` when they do not. A text next to another kind is read as that.
fn order(a: Value, b: Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(&b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(&b)),
        (Value::Bool(_), Value::Text(_)) | (Value::Text(_), Value::Bool(_)) => {
            Some(a.truth()?.cmp(&b.truth()?))
        }
        (Value::Text(_), _) => order_numbers(a.number(), b),
        _ => order_numbers(a, b.number()),
    }
}

fn order_numbers(a: Value, b: Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(&b)),
        _ => a.float()?.partial_cmp(&b.float()?),
    }
}

/// Integers stay integers (Java's division) unless they overflow; by zero is NULL.
fn calculate<'a>(a: Value, arithmetic: Arithmetic, b: Value) -> Value<'a> {
    let (a, b) = (a.number(), b.number());
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        let exact = match arithmetic {
            Arithmetic::Add => a.checked_add(b),
            Arithmetic::Subtract => a.checked_sub(b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Value::Null,
            Arithmetic::Divide => a.checked_div(b),
            Arithmetic::Remainder => a.checked_rem(b),
        };
        if let Some(number) = exact {
            return Value::Int(number);
        }
    }
    let (Some(a), Some(b)) = (a.float(), b.float()) else { return Value::Null };
    Value::Float(match arithmetic {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    })
}
