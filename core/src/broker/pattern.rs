//! Subscription patterns in the Ant dialect on `/` (stomp.md §2.1 "Pattern subscription").
//!
//! `?` is one character (Unicode scalar value), `*` any number of characters within one segment,
//! `**` as a whole segment zero or more segments. Empty segments collapse, as in Spring's matcher.
//! Leading separators must agree; trailing ones too, unless the pattern ends in `**`, which
//! swallows them. So `/topic/**` matches `/topic`, `/topic/a` and `/topic/a/`. `{...}` is refused.
//!
//! The work of a match is at most pattern length times destination length, twice over: one star is
//! retried at a time, on segments and on characters, because an earlier star can never do better by
//! taking more (stomp.md §5 row 59: "pattern too complex").

use crate::limits::Limits;
use std::fmt;

/// Why a pattern is refused. All are the client's fault; the answer is ERROR and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// No text at all.
    Empty,
    /// More bytes than `destination_bytes_max`.
    TooLong { seen: usize, limit: usize },
    /// More wildcards (`*`, `**`) than `pattern_wildcards_count_max`.
    TooComplex { seen: usize, limit: usize },
    /// `{` or `}`: variables are not supported.
    Unsupported,
}

impl PatternError {
    /// The short text for the ERROR frame's `message` header.
    pub fn message(self) -> &'static str {
        match self {
            PatternError::Empty => "bad pattern",
            PatternError::TooLong { .. } => "pattern too long",
            PatternError::TooComplex { .. } => "pattern too complex",
            PatternError::Unsupported => "unsupported pattern",
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
            PatternError::Unsupported => write!(out, "{message}: seen a brace"),
        }
    }
}

impl std::error::Error for PatternError {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// Contains `*` or `?`.
    Glob(Box<str>),
    /// `**`
    AnyDepth,
}

impl Segment {
    fn matches(&self, segment: &str) -> bool {
        match self {
            Segment::Literal(text) => **text == *segment,
            Segment::Glob(glob) => glob_matches(glob, segment),
            Segment::AnyDepth => true,
        }
    }
}

/// A parsed pattern. Cheap to match: no allocation, bounded work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    leading: bool,
    /// What the destination's trailing separator must be; `None` after `**`.
    trailing: Option<bool>,
}

impl Pattern {
    /// Parses a pattern. Limits: `destination_bytes_max`, `pattern_wildcards_count_max`.
    pub fn parse(text: &str, limits: &Limits) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > limits.destination_bytes_max {
            let limit = limits.destination_bytes_max;
            return Err(PatternError::TooLong { seen: text.len(), limit });
        }
        if text.contains(['{', '}']) {
            return Err(PatternError::Unsupported);
        }
        let wildcards = count_wildcards(text);
        if wildcards > limits.pattern_wildcards_count_max {
            let limit = limits.pattern_wildcards_count_max;
            return Err(PatternError::TooComplex { seen: wildcards, limit });
        }
        let segments: Box<[Segment]> = segments_of(text)
            .map(|segment| match segment {
                "**" => Segment::AnyDepth,
                _ if segment.contains(['*', '?']) => Segment::Glob(segment.into()),
                _ => Segment::Literal(segment.into()),
            })
            .collect();
        let any_tail = segments.last() == Some(&Segment::AnyDepth);
        Ok(Pattern {
            text: text.into(),
            leading: text.starts_with('/'),
            trailing: (!any_tail).then_some(text.ends_with('/')),
            segments,
        })
    }

    /// Whether the pattern covers a (literal) destination.
    pub fn matches(&self, destination: &str) -> bool {
        if destination.starts_with('/') != self.leading
            || self.trailing.is_some_and(|trailing| trailing != destination.ends_with('/'))
        {
            return false;
        }
        let mut path = segments_of(destination);
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
}

fn segments_of(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split('/').filter(|segment| !segment.is_empty())
}

/// Runs of `*` count once: they are one wildcard to the matcher.
fn count_wildcards(text: &str) -> usize {
    let bytes = text.as_bytes();
    (0..bytes.len()).filter(|&at| bytes[at] == b'*' && (at == 0 || bytes[at - 1] != b'*')).count()
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

#[cfg(test)]
mod tests {
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

    #[test]
    fn limits_and_braces_are_refused() {
        let limits = Limits::default();
        let parse = |text: &str| Pattern::parse(text, &limits).map(|_| ()).unwrap_err();
        assert_eq!(parse(""), PatternError::Empty);
        assert_eq!(parse("/topic/{id}/*"), PatternError::Unsupported);
        let deep = format!("/topic{}", "/**".repeat(300));
        assert_eq!(parse(&deep), PatternError::TooComplex { seen: 300, limit: 8 });
        assert_eq!(parse(&deep).to_string(), "pattern too complex: seen 300 wildcards, limit is 8");
        let long = "*".repeat(1_025);
        assert_eq!(parse(&long), PatternError::TooLong { seen: 1_025, limit: 1_024 });
        assert!(Pattern::parse("/topic/*/*/*/*/*/*/*/*", &limits).is_ok());
        assert_eq!(Pattern::parse("/topic/?", &limits).unwrap().as_str(), "/topic/?");
    }

    #[test]
    fn hostile_patterns_cost_little() {
        let text = format!("/topic/{}", "a".repeat(1_000));
        // Backtracking over every star would take longer than the universe.
        assert!(!matches("/topic/*a*a*a*a*a*a*a*b", &text));
        let path = format!("/topic{}", "/a".repeat(500));
        assert!(!matches("/topic/**/a/**/a/**/a/**/a/**/a/**/a/**/b", &path));
    }

    /// The twin: plain recursion over the definition.
    fn naive(pattern: &str, destination: &str) -> bool {
        fn characters(glob: &[char], text: &[char]) -> bool {
            match (glob.split_first(), text.split_first()) {
                (None, None) => true,
                (Some(('*', rest)), None) => characters(rest, text),
                (Some(('*', rest)), Some((_, tail))) => {
                    characters(rest, text) || characters(glob, tail)
                }
                (Some(('?', rest)), Some((_, tail))) => characters(rest, tail),
                (Some((a, rest)), Some((b, tail))) => a == b && characters(rest, tail),
                _ => false,
            }
        }
        fn segments(pattern: &[&str], path: &[&str]) -> bool {
            match (pattern.split_first(), path.split_first()) {
                (None, None) => true,
                (Some((&"**", rest)), None) => segments(rest, path),
                (Some((&"**", rest)), Some((_, tail))) => {
                    segments(rest, path) || segments(pattern, tail)
                }
                (Some((glob, rest)), Some((segment, tail))) => {
                    let (glob, segment): (Vec<_>, Vec<_>) =
                        (glob.chars().collect(), segment.chars().collect());
                    characters(&glob, &segment) && segments(rest, tail)
                }
                _ => false,
            }
        }
        let split = |text: &'_ str| -> Vec<String> {
            text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let (globs, path) = (split(pattern), split(destination));
        let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        pattern.starts_with('/') == destination.starts_with('/')
            && (globs.last() == Some(&"**") || pattern.ends_with('/') == destination.ends_with('/'))
            && segments(&globs, &path)
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

        #[test]
        fn never_panics(pattern in "\\PC{0,40}", destination in "\\PC{0,40}") {
            if let Ok(pattern) = Pattern::parse(&pattern, &Limits::default()) {
                pattern.matches(&destination);
            }
        }
    }
}
