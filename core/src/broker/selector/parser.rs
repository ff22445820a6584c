//! Compiles a selector in one pass, by recursive descent, straight into operations.
//!
//! From weak to strong: OR, AND, NOT, comparisons, `+ -`, `* / %`, sign. AND and OR skip their
//! right side when the left decides. Kinds are checked here as far as the text tells (a header
//! may be anything), so that nonsense is refused at SUBSCRIBE instead of never matching.
//!
//! Names of JMS headers mean the STOMP headers that ActiveMQ maps them to.

use super::lexer::{self, Token};
use super::like::Like;
use super::program::{Arithmetic, Comparison, Constant, Op, Program};
use super::{SelectorError, STACK};
use crate::limits::Limits;

/// What an expression gives, as far as its text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A header or NULL.
    Any,
    Condition,
    Number,
    Text,
}

const JMS_NAMES: [(&str, &str); 8] = [
    ("JMSCorrelationID", "correlation-id"),
    ("JMSDestination", "destination"),
    ("JMSExpiration", "expires"),
    ("JMSMessageID", "message-id"),
    ("JMSPriority", "priority"),
    ("JMSReplyTo", "reply-to"),
    ("JMSTimestamp", "timestamp"),
    ("JMSType", "type"),
];

const KEYWORDS: [&str; 11] =
    ["AND", "OR", "NOT", "BETWEEN", "IN", "LIKE", "ESCAPE", "IS", "NULL", "TRUE", "FALSE"];

/// Compiles `text`, whose length the caller has checked.
pub(super) fn compile(text: &str, limits: &Limits) -> Result<Program, SelectorError> {
    let mut parser = Parser {
        text,
        limits,
        token: Token::End,
        start: 0,
        end: 0,
        ops: Vec::new(),
        nodes: 0,
        nesting: 0,
        held: 0,
    };
    parser.advance()?;
    if parser.token != Token::End {
        let start = parser.start;
        let kind = parser.or()?;
        parser.check(kind, Kind::Condition, start)?;
        if parser.token != Token::End {
            return Err(parser.expected("an operator or the end"));
        }
    }
    let steps_max = limits.selector_steps_count_max;
    Ok(Program { ops: parser.ops.into(), steps_max })
}

struct Parser<'a> {
    text: &'a str,
    limits: &'a Limits,
    token: Token<'a>,
    /// Where the token starts and ends.
    start: usize,
    end: usize,
    ops: Vec<Op>,
    nodes: usize,
    nesting: usize,
    /// Values on the stack at this point of an evaluation.
    held: usize,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<(), SelectorError> {
        (self.token, self.start, self.end) = lexer::next(self.text, self.end)?;
        Ok(())
    }

    fn expected(&self, expected: &'static str) -> SelectorError {
        SelectorError::Syntax { at: self.start, expected }
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.token, Token::Symbol(seen) if seen == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(seen) if seen.eq_ignore_ascii_case(word))
    }

    /// Takes the keyword or symbol if it is next.
    fn take(&mut self, wanted: &str) -> Result<bool, SelectorError> {
        let is_next = self.is_word(wanted) || self.is_symbol(wanted);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn need(&mut self, wanted: &'static str) -> Result<(), SelectorError> {
        if self.take(wanted)? {
            return Ok(());
        }
        Err(self.expected(wanted))
    }

    fn count_node(&mut self) -> Result<(), SelectorError> {
        self.nodes += 1;
        let limit = self.limits.selector_nodes_count_max;
        if self.nodes > limit {
            return Err(SelectorError::TooComplex { at: self.start, limit });
        }
        Ok(())
    }

    /// Adds an operation that takes `pops` values and gives one.
    fn emit(&mut self, op: Op, pops: usize) -> Result<(), SelectorError> {
        self.count_node()?;
        self.ops.push(op);
        self.held = self.held + 1 - pops;
        if self.held > STACK {
            return Err(SelectorError::TooDeep { at: self.start, limit: STACK });
        }
        Ok(())
    }

    /// Runs `inner` one level deeper.
    fn nest<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, SelectorError>,
    ) -> Result<T, SelectorError> {
        self.nesting += 1;
        let limit = self.limits.selector_depth_count_max;
        if self.nesting > limit {
            return Err(SelectorError::TooDeep { at: self.start, limit });
        }
        let result = inner(self)?;
        self.nesting -= 1;
        Ok(result)
    }

    fn check(&self, seen: Kind, wanted: Kind, at: usize) -> Result<(), SelectorError> {
        if seen == wanted || seen == Kind::Any {
            return Ok(());
        }
        let expected = match wanted {
            Kind::Condition => "a condition",
            Kind::Number => "a number",
            Kind::Text => "a text",
            Kind::Any => "a value",
        };
        Err(SelectorError::Syntax { at, expected })
    }

    fn or(&mut self) -> Result<Kind, SelectorError> {
        self.logic(["OR", "||"], true, Op::Or, Self::and)
    }

    fn and(&mut self) -> Result<Kind, SelectorError> {
        self.logic(["AND", "&&"], false, Op::And, Self::not)
    }

    /// A chain of `operand (word operand)*`, where a left side of truth `decides` ends it.
    fn logic(
        &mut self,
        words: [&'static str; 2],
        decides: bool,
        op: Op,
        operand: fn(&mut Self) -> Result<Kind, SelectorError>,
    ) -> Result<Kind, SelectorError> {
        let start = self.start;
        let mut kind = operand(self)?;
        while self.is_word(words[0]) || self.is_symbol(words[1]) {
            self.check(kind, Kind::Condition, start)?;
            self.advance()?;
            let skip = self.ops.len();
            self.ops.push(Op::SkipIf { truth: decides, to: 0 });
            let right_start = self.start;
            let right = operand(self)?;
            self.check(right, Kind::Condition, right_start)?;
            self.emit(op.clone(), 2)?;
            self.ops[skip] = Op::SkipIf { truth: decides, to: self.ops.len() as u32 };
            kind = Kind::Condition;
        }
        Ok(kind)
    }

    fn not(&mut self) -> Result<Kind, SelectorError> {
        if !(self.is_word("NOT") || self.is_symbol("!")) {
            return self.comparison();
        }
        self.advance()?;
        let start = self.start;
        let kind = self.nest(Self::not)?;
        self.check(kind, Kind::Condition, start)?;
        self.emit(Op::Not, 1)?;
        Ok(Kind::Condition)
    }

    fn comparison(&mut self) -> Result<Kind, SelectorError> {
        let start = self.start;
        let left = self.sum()?;
        let comparison = match self.token {
            Token::Symbol("=") => Comparison::Equal,
            Token::Symbol("<>") => Comparison::NotEqual,
            Token::Symbol("<") => Comparison::Less,
            Token::Symbol("<=") => Comparison::LessOrEqual,
            Token::Symbol(">") => Comparison::Greater,
            Token::Symbol(">=") => Comparison::GreaterOrEqual,
            Token::Symbol("==") => Comparison::Same,
            Token::Symbol("!=") => Comparison::NotSame,
            _ => return self.predicate(left, start),
        };
        self.advance()?;
        let right_start = self.start;
        let right = self.sum()?;
        use Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
        if matches!(comparison, Less | LessOrEqual | Greater | GreaterOrEqual) {
            // Text literals have no order in JMS; ActiveMQ refuses them too.
            self.check(left, Kind::Number, start)?;
            self.check(right, Kind::Number, right_start)?;
        }
        self.emit(Op::Compare(comparison), 2)?;
        Ok(Kind::Condition)
    }

    /// What may follow a value: `IS [NOT] NULL`, `[NOT] BETWEEN`, `[NOT] IN`, `[NOT] LIKE`.
    fn predicate(&mut self, left: Kind, start: usize) -> Result<Kind, SelectorError> {
        let is_not;
        if self.take("IS")? {
            is_not = self.take("NOT")?;
            self.need("NULL")?;
            self.emit(Op::IsNull, 1)?;
        } else {
            is_not = self.take("NOT")?;
            if self.take("BETWEEN")? {
                self.check(left, Kind::Number, start)?;
                self.number()?;
                self.need("AND")?;
                self.number()?;
                self.emit(Op::Between, 3)?;
            } else if self.take("IN")? {
                let list = self.list()?;
                self.emit(Op::In(list), 1)?;
            } else if self.take("LIKE")? {
                self.check(left, Kind::Text, start)?;
                let like = self.like()?;
                self.emit(Op::Like(like), 1)?;
            } else if is_not {
                return Err(self.expected("BETWEEN, IN or LIKE"));
            } else {
                return Ok(left);
            }
        }
        if is_not {
            self.emit(Op::Not, 1)?;
        }
        Ok(Kind::Condition)
    }

    fn number(&mut self) -> Result<(), SelectorError> {
        let start = self.start;
        let kind = self.sum()?;
        self.check(kind, Kind::Number, start)
    }

    fn list(&mut self) -> Result<Box<[Constant]>, SelectorError> {
        self.need("(")?;
        let mut list = Vec::new();
        loop {
            self.count_node()?;
            let is_negative = self.take("-")?;
            list.push(match self.token {
                Token::Int(number) if is_negative => Constant::Int(-number),
                Token::Float(number) if is_negative => Constant::Float(-number),
                Token::Int(number) => Constant::Int(number),
                Token::Float(number) => Constant::Float(number),
                Token::Text(text) if !is_negative => Constant::Text(unquote(text)),
                _ => return Err(self.expected("a text or a number")),
            });
            self.advance()?;
            if !self.take(",")? {
                self.need(")")?;
                return Ok(list.into());
            }
        }
    }

    fn like(&mut self) -> Result<Like, SelectorError> {
        let start = self.start;
        let pattern = self.text_literal()?;
        let mut escape = None;
        if self.take("ESCAPE")? {
            let at = self.start;
            let text = self.text_literal()?;
            let mut chars = text.chars();
            escape = chars.next();
            if escape.is_none() || chars.next().is_some() {
                return Err(SelectorError::Syntax { at, expected: "one character" });
            }
        }
        let expected = "a character after the escape character";
        Like::compile(&pattern, escape).ok_or(SelectorError::Syntax { at: start, expected })
    }

    fn text_literal(&mut self) -> Result<Box<str>, SelectorError> {
        let Token::Text(text) = self.token else { return Err(self.expected("a text")) };
        self.advance()?;
        Ok(unquote(text))
    }

    fn sum(&mut self) -> Result<Kind, SelectorError> {
        let operator = |token: Token| match token {
            Token::Symbol("+") => Some(Arithmetic::Add),
            Token::Symbol("-") => Some(Arithmetic::Subtract),
            _ => None,
        };
        self.arithmetic(operator, Self::product)
    }

    fn product(&mut self) -> Result<Kind, SelectorError> {
        let operator = |token: Token| match token {
            Token::Symbol("*") => Some(Arithmetic::Multiply),
            Token::Symbol("/") => Some(Arithmetic::Divide),
            Token::Symbol("%") => Some(Arithmetic::Remainder),
            _ => None,
        };
        self.arithmetic(operator, Self::sign)
    }

    fn arithmetic(
        &mut self,
        operator: fn(Token) -> Option<Arithmetic>,
        operand: fn(&mut Self) -> Result<Kind, SelectorError>,
    ) -> Result<Kind, SelectorError> {
        let start = self.start;
        let mut kind = operand(self)?;
        while let Some(operator) = operator(self.token) {
            self.check(kind, Kind::Number, start)?;
            self.advance()?;
            let right_start = self.start;
            let right = operand(self)?;
            self.check(right, Kind::Number, right_start)?;
            self.emit(Op::Calculate(operator), 2)?;
            kind = Kind::Number;
        }
        Ok(kind)
    }

    fn sign(&mut self) -> Result<Kind, SelectorError> {
        let is_minus = self.is_symbol("-");
        if !is_minus && !self.is_symbol("+") {
            return self.primary();
        }
        self.advance()?;
        let start = self.start;
        let kind = self.nest(Self::sign)?;
        self.check(kind, Kind::Number, start)?;
        if is_minus {
            self.emit(Op::Negate, 1)?;
        }
        Ok(Kind::Number)
    }

    fn primary(&mut self) -> Result<Kind, SelectorError> {
        let (op, kind) = match self.token {
            Token::Int(number) => (Op::Constant(Constant::Int(number)), Kind::Number),
            Token::Float(number) => (Op::Constant(Constant::Float(number)), Kind::Number),
            Token::Text(text) => (Op::Constant(Constant::Text(unquote(text))), Kind::Text),
            Token::Quoted(name) => (Op::Header(name.into()), Kind::Any),
            Token::Word(word) => return self.word(word),
            Token::Symbol("(") => {
                self.advance()?;
                let kind = self.nest(Self::or)?;
                self.need(")")?;
                return Ok(kind);
            }
            _ => return Err(self.expected("a name, a literal or (")),
        };
        self.emit(op, 0)?;
        self.advance()?;
        Ok(kind)
    }

    fn word(&mut self, word: &str) -> Result<Kind, SelectorError> {
        let constant = match KEYWORDS.iter().find(|keyword| keyword.eq_ignore_ascii_case(word)) {
            Some(&"TRUE") => Some((Constant::Bool(true), Kind::Condition)),
            Some(&"FALSE") => Some((Constant::Bool(false), Kind::Condition)),
            Some(&"NULL") => Some((Constant::Null, Kind::Any)),
            Some(_) => return Err(self.expected("a name, a literal or (")),
            None => None,
        };
        self.advance()?;
        if let Some((constant, kind)) = constant {
            self.emit(Op::Constant(constant), 0)?;
            return Ok(kind);
        }
        let mut name = word.strip_prefix("headers.").unwrap_or(word);
        if word == "headers" && self.take("[")? {
            let (Token::Text(inner) | Token::Quoted(inner)) = self.token else {
                return Err(self.expected("a header's name in quotes"));
            };
            name = inner;
            self.advance()?;
            self.need("]")?;
        }
        let stomp = JMS_NAMES.iter().find(|(jms, _)| *jms == name).map_or(name, |(_, stomp)| stomp);
        self.emit(Op::Header(unquote(stomp)), 0)?;
        Ok(Kind::Any)
    }
}

/// The text with doubled quotes made single.
fn unquote(text: &str) -> Box<str> {
    text.replace("''", "'").into()
}
