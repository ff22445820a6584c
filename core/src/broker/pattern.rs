//! Subscription patterns in three dialects (stomp.md §2.1, §2.2, §2.3 "Pattern", "Wildcards").
//!
//! * Ant, on `/`: `?` is one character, `*` any number within one segment, `**` as a segment zero
//!   or more segments, `{name}` the same as `*`. Empty segments collapse, as in Spring. Leading
//!   separators must agree; trailing ones too, unless the pattern ends in `**`, which swallows
//!   them: `/topic/**` matches `/topic`, `/topic/a` and `/topic/a/`. `{name:regex}` is refused.
//! * AMQP, on `.` after the prefix: the word `*` is one word, `#` zero or more.
//! * ActiveMQ, on `.` after the prefix: `*` is one word, a last `>` is all below and the parent.
//!
//! The work of a match is at most pattern length times destination length, twice over: one star is
//! retried at a time, on segments and on characters, because an earlier star can never do better by
//! taking more (stomp.md §5 row 59: "pattern too complex"). [`index`] finds the patterns that match
//! a destination without trying each; [`relation`] compares two patterns.

use crate::limits::Limits;
use crate::search::has_any;
use std::fmt;

pub mod index;
pub mod relation;

/// The language of a pattern. One per destination prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Spring's path patterns, on `/`.
    #[default]
    Ant,
    /// RabbitMQ's topic keys, on `.`.
    Amqp,
    /// ActiveMQ's wildcards, on `.`.
    ActiveMq,
}

impl Dialect {
    /// What separates the segments of a name.
    pub fn separator(self) -> char {
        match self {
            Dialect::Ant => '/',
            Dialect::Amqp | Dialect::ActiveMq => '.',
        }
    }

    /// Whether a name (without its prefix, or with it) is a pattern rather than a literal name.
    pub fn is_pattern(self, name: &str) -> bool {
        match self {
            Dialect::Ant => {
                // A brace, or one of the few bytes beyond it.
                let may_be = |byte: u8| (byte == b'*') | (byte == b'?') | (byte >= b'{');
                let has_braces = || name.find('{').is_some_and(|at| name[at..].contains('}'));
                has_any(name.as_bytes(), may_be) && (name.contains(['*', '?']) || has_braces())
            }
            Dialect::Amqp => self.segments(name).any(|word| matches!(word, "*" | "#")),
            Dialect::ActiveMq => self.segments(name).any(|word| matches!(word, "*" | ">")),
        }
    }

    /// The pattern of all names.
    pub(super) fn all(self) -> &'static str {
        match self {
            Dialect::Ant => "**",
            Dialect::Amqp => "#",
            Dialect::ActiveMq => ">",
        }
    }

    /// Refuses a name with what looks like a wildcard of another dialect.
    pub(super) fn check_own(self, name: &str) -> Result<(), PatternError> {
        let is_foreign = |word: &str| match self {
            Dialect::Ant => matches!(word, "#" | ">"),
            Dialect::Amqp | Dialect::ActiveMq => {
                word != "*" && word != self.all() && word.contains(['*', '#', '>', '?', '{', '}'])
            }
        };
        match self.segments(name).any(is_foreign) {
            true => Err(PatternError::Foreign { dialect: self }),
            false => Ok(()),
        }
    }

    /// The segments of a name; in Ant without the empty ones.
    fn segments(self, name: &str) -> Segments<'_> {
        Segments { rest: Some(name), dialect: self }
    }

    /// Whether a segment stands for any number of them, none included.
    fn is_any_depth(self, segment: &str) -> bool {
        matches!(
            (self, segment),
            (Dialect::Ant, "**") | (Dialect::Amqp, "#") | (Dialect::ActiveMq, ">")
        )
    }

    fn segment(self, text: &str) -> Result<Segment, PatternError> {
        Ok(match (self, text) {
            _ if self.is_any_depth(text) => Segment::AnyDepth,
            (_, "*") => Segment::One,
            (Dialect::Ant, _) if text.contains(['*', '?', '{', '}']) => Segment::glob(text)?,
            _ => Segment::Literal(text.into()),
        })
    }
}

/// Why a pattern is refused. All are the client's fault; the answer is ERROR and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// No text at all.
    Empty,
    /// More bytes than `destination_bytes_max`.
    TooLong { seen: usize, limit: usize },
    /// More wildcards than `pattern_wildcards_count_max`.
    TooComplex { seen: usize, limit: usize },
    /// A regular expression `{name:regex}` or a brace without its partner (Ant).
    Unsupported,
    /// `>` before the last word (ActiveMQ).
    Misplaced,
    /// A wildcard of another dialect, in a rule.
    Foreign { dialect: Dialect },
}

impl PatternError {
    /// The short text for the ERROR frame's `message` header.
    pub fn message(self) -> &'static str {
        match self {
            PatternError::Empty | PatternError::Misplaced => "bad pattern",
            PatternError::TooLong { .. } => "pattern too long",
            PatternError::TooComplex { .. } => "pattern too complex",
            PatternError::Unsupported | PatternError::Foreign { .. } => "unsupported pattern",
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message();
        match self {
            PatternError::Empty => write!(out, "{message}: seen no text"),
            PatternError::TooLong { seen, limit } => {
                write!(out, "{message}: seen {seen} bytes, limit is {limit}")
            }
            PatternError::TooComplex { seen, limit } => {
                write!(out, "{message}: seen {seen} wildcards, limit is {limit}")
            }
            PatternError::Unsupported => {
                write!(out, "{message}: seen a brace that is not part of {{name}}")
            }
            PatternError::Foreign { dialect } => {
                let own = match dialect {
                    Dialect::Ant => "* and ? within a segment, ** for any number of segments",
                    Dialect::Amqp => "* for one word, # for any number of words, words end at .",
                    Dialect::ActiveMq => "* for one word, > at the end for all below",
                };
                write!(out, "{message}: seen a wildcard of another dialect: here use {own}")
            }
            PatternError::Misplaced => {
                write!(out, "{message}: seen > before the last word: use * for one word")
            }
        }
    }
}

impl std::error::Error for PatternError {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// Contains `*` or `?` beside other characters; `{name}` became `*`.
    Glob(Box<str>),
    /// `*`
    One,
    /// `**`, `#`, `>`
    AnyDepth,
}

impl Segment {
    /// Reads an Ant segment with wildcards or braces.
    fn glob(text: &str) -> Result<Segment, PatternError> {
        let mut glob = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(open);
            let close = after.find('}').filter(|&close| close > 0);
            let name = close.map(|close| &after[1..close]).ok_or(PatternError::Unsupported)?;
            if name.is_empty() || name.contains(['{', ':', '*', '?']) {
                return Err(PatternError::Unsupported);
            }
            glob.push_str(before);
            glob.push('*');
            rest = &after[name.len() + 2..];
        }
        glob.push_str(rest);
        let is_any = glob.bytes().all(|byte| byte == b'*');
        Ok(if is_any { Segment::One } else { Segment::Glob(glob.into()) })
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Segment::Literal(text) => **text == *segment,
            Segment::Glob(glob) => glob_matches(glob, segment),
            Segment::One | Segment::AnyDepth => true,
        }
    }
}

/// A parsed pattern. Cheap to match: no allocation, bounded work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    dialect: Dialect,
    /// Bytes of the literal prefix before the segments; 0 in Ant.
    prefix_len: u32,
    segments: Box<[Segment]>,
    /// Whether it starts with a separator (Ant).
    leading: bool,
    /// What the destination's trailing separator must be; `None` after `**` and outside of Ant.
    trailing: Option<bool>,
}

impl Pattern {
    /// Parses an Ant pattern. Limits: `destination_bytes_max`, `pattern_wildcards_count_max`.
    pub fn parse(text: &str, limits: &Limits) -> Result<Pattern, PatternError> {
        Pattern::parse_as(Dialect::Ant, text, "", limits)
    }

    /// Parses a pattern of any dialect. `prefix` is the destination prefix (`/topic/`) that `text`
    /// starts with: outside of Ant the words begin after it. Limits as [`Pattern::parse`].
    pub fn parse_as(
        dialect: Dialect,
        text: &str,
        prefix: &str,
        limits: &Limits,
    ) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > limits.destination_bytes_max {
            let limit = limits.destination_bytes_max;
            return Err(PatternError::TooLong { seen: text.len(), limit });
        }
        let is_ant = dialect == Dialect::Ant;
        let name = if is_ant { None } else { text.strip_prefix(prefix) }.unwrap_or(text);
        let wildcards = count_wildcards(dialect, name);
        if wildcards > limits.pattern_wildcards_count_max {
            let limit = limits.pattern_wildcards_count_max;
            return Err(PatternError::TooComplex { seen: wildcards, limit });
        }
        let parsed = dialect.segments(name).map(|segment| dialect.segment(segment));
        let segments = parsed.collect::<Result<Box<[Segment]>, PatternError>>()?;
        let any_depth = segments.iter().position(|segment| *segment == Segment::AnyDepth);
        let any_tail = segments.last() == Some(&Segment::AnyDepth);
        if dialect == Dialect::ActiveMq && any_depth.is_some_and(|at| at + 1 < segments.len()) {
            return Err(PatternError::Misplaced);
        }
        Ok(Pattern {
            text: text.into(),
            dialect,
            prefix_len: (text.len() - name.len()) as u32,
            leading: is_ant && text.starts_with('/'),
            trailing: (is_ant && !any_tail).then_some(text.ends_with('/')),
            segments,
        })
    }

    /// Whether the pattern covers a (literal) destination.
    pub fn matches(&self, destination: &str) -> bool {
        let Some(name) = destination.strip_prefix(self.prefix()) else { return false };
        if self.dialect == Dialect::Ant
            && (name.starts_with('/') != self.leading
                || self.trailing.is_some_and(|trailing| trailing != name.ends_with('/')))
        {
            return false;
        }
        let mut path = self.dialect.segments(name);
        let mut at = 0;
        // Where to go on when the newest `**` has to take one segment more.
        let mut retry = None;
        loop {
            if self.segments.get(at) == Some(&Segment::AnyDepth) {
                at += 1;
                retry = Some((at, path.clone()));
                continue;
            }
            let fits = match (self.segments.get(at), path.next()) {
                (None, None) => return true,
                (Some(_), None) => return false,
                (None, Some(_)) => false,
                (Some(pattern), Some(segment)) => pattern.matches(segment),
            };
            if fits {
                at += 1;
                continue;
            }
            let Some((after_star, mut longer)) = retry.take() else { return false };
            if longer.next().is_none() {
                return false;
            }
            path = longer.clone();
            at = after_star;
            retry = Some((after_star, longer));
        }
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its language.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What every destination it matches starts with, before the words; empty in Ant.
    fn prefix(&self) -> &str {
        &self.text[..self.prefix_len as usize]
    }
}

/// Iterator over the segments of a name.
#[derive(Clone)]
struct Segments<'a> {
    rest: Option<&'a str>,
    dialect: Dialect,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let separator = self.dialect.separator();
        loop {
            let rest = self.rest?;
            let (segment, after) = match rest.split_once(separator) {
                Some((segment, after)) => (segment, Some(after)),
                None => (rest, None),
            };
            self.rest = after;
            if !segment.is_empty() || self.dialect != Dialect::Ant {
                return Some(segment);
            }
        }
    }
}

/// In Ant, runs of `*` count once: they are one wildcard to the matcher.
fn count_wildcards(dialect: Dialect, name: &str) -> usize {
    if dialect != Dialect::Ant {
        return dialect.segments(name).filter(|word| matches!(*word, "*" | "#" | ">")).count();
    }
    let bytes = name.as_bytes();
    let starts = |at: usize| match bytes[at] {
        b'*' => at == 0 || bytes[at - 1] != b'*',
        byte => byte == b'{',
    };
    (0..bytes.len()).filter(|&at| starts(at)).count()
}

/// `*` and `?` within one segment.
fn glob_matches(glob: &str, text: &str) -> bool {
    let (mut glob, mut text) = (glob.chars(), text.chars());
    let mut retry = None;
    loop {
        let fits = match glob.next() {
            Some('*') => {
                retry = Some((glob.clone(), text.clone()));
                true
            }
            Some(wanted) => match text.next() {
                Some(seen) => wanted == '?' || wanted == seen,
                None => return false,
            },
            None if text.as_str().is_empty() => return true,
            None => false,
        };
        if fits {
            continue;
        }
        let Some((after_star, mut longer)) = retry.take() else { return false };
        if longer.next().is_none() {
            return false;
        }
        glob = after_star.clone();
        text = longer.clone();
        retry = Some((after_star, longer));
    }
}

/// Values by pattern, in the operator's order: the first match wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByPattern<T>(Vec<(Pattern, T)>);

impl<T> Default for ByPattern<T> {
    fn default() -> ByPattern<T> {
        ByPattern(Vec::new())
    }
}

impl<T> ByPattern<T> {
    /// Adds a value after the others. A literal name is a pattern that matches itself.
    pub fn push(&mut self, pattern: Pattern, value: T) {
        self.0.push((pattern, value));
    }

    /// The value of the first pattern that matches. Work: each pattern at most once, so it is for
    /// tables of the operator's rules, looked up once per new destination.
    pub fn find(&self, destination: &str) -> Option<&T> {
        self.0.iter().find(|(pattern, _)| pattern.matches(destination)).map(|(_, value)| value)
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
