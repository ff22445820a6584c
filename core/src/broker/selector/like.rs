//! LIKE: `%` is any number of characters, `_` is one, an escape character makes the next literal.
//!
//! One `%` is retried at a time, because an earlier one can never do better by taking more. So a
//! match costs at most pattern length times text length, and each step is counted by the caller.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Char(char),
    /// `_`
    One,
    /// `%`, or several in a row.
    Any,
}

/// A compiled LIKE pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Like {
    parts: Box<[Part]>,
}

impl Like {
    /// Compiles a pattern; `None` when it ends in the escape character.
    pub(super) fn compile(pattern: &str, escape: Option<char>) -> Option<Like> {
        let mut parts = Vec::new();
        let mut chars = pattern.chars();
        while let Some(next) = chars.next() {
            let part = match next {
                _ if Some(next) == escape => Part::Char(chars.next()?),
                '%' if parts.last() == Some(&Part::Any) => continue,
                '%' => Part::Any,
                '_' => Part::One,
                _ => Part::Char(next),
            };
            parts.push(part);
        }
        Some(Like { parts: parts.into() })
    }

    /// Steps that a match takes at most, for texts of so many bytes. Without a `%` before the end
    /// nothing is retried.
    pub(super) fn steps_most(&self, text_bytes: usize) -> usize {
        let parts = self.parts.len() + 1;
        match self.parts.iter().position(|part| *part == Part::Any) {
            Some(at) if at + 1 < self.parts.len() => parts * (text_bytes + 1),
            _ => parts,
        }
    }

    /// Whether the whole text matches; `None` when that takes more steps than are left.
    pub(super) fn matches(&self, text: &str, steps_left: &mut u32) -> Option<bool> {
        let (mut at, mut rest) = (0, text.chars());
        let mut retry = None;
        loop {
            *steps_left = steps_left.checked_sub(1)?;
            if self.parts.get(at) == Some(&Part::Any) {
                at += 1;
                if at == self.parts.len() {
                    return Some(true);
                }
                retry = Some((at, rest.clone()));
                continue;
            }
            let mut after = rest.clone();
            let fits = match (self.parts.get(at), after.next()) {
                (None, None) => return Some(true),
                (Some(Part::Char(wanted)), Some(seen)) => *wanted == seen,
                (Some(Part::One), Some(_)) => true,
                _ => false,
            };
            if fits {
                at += 1;
                rest = after;
                continue;
            }
            let Some((after_any, from)) = &mut retry else { return Some(false) };
            if from.next().is_none() {
                return Some(false);
            }
            at = *after_any;
            rest = from.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, exponential.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|from| naive(rest, &text[from..])),
            ['_', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
            [first, rest @ ..] => text.first() == Some(first) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[aä%_]{0,8}", text in "[aäb]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            let mut steps = 10_000;
            let seen = Like::compile(&pattern, None).unwrap().matches(&text, &mut steps);
            prop_assert_eq!(seen, Some(naive(&chars(&pattern), &chars(&text))));
            // Pattern times text, both with their ends.
            let bound = (pattern.chars().count() + 2) * (text.chars().count() + 2);
            prop_assert!(10_000 - steps <= bound as u32);
        }
    }

    #[test]
    fn escapes() {
        let matches = |pattern, text| {
            Like::compile(pattern, Some('\\')).unwrap().matches(text, &mut 1_000).unwrap()
        };
        assert!(matches("a\\%b", "a%b") && !matches("a\\%b", "axb"));
        assert!(matches("\\_%", "_x") && !matches("\\_%", "xx") && matches("\\\\", "\\"));
        assert_eq!(Like::compile("a\\", Some('\\')), None);
    }

    #[test]
    fn stops_when_out_of_steps() {
        let like = Like::compile("%a%a%a%a%b", None).unwrap();
        let text = "a".repeat(10_000);
        assert_eq!(like.matches(&text, &mut 1_000), None);
        assert_eq!(like.matches(&text, &mut 100_000), Some(false));
    }
}
