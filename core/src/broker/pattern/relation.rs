//! How two patterns relate: does one cover the other, may both match one destination.
//!
//! For authorization: a subscription by pattern is granted only by a rule that covers it, and is
//! refused by a rule it overlaps, or `/topic/**` would read what a rule on `/topic/secret` hides.
//! Both answers err on the safe side: `covers` may miss, but never claims too much; `overlaps` may
//! claim too much, but never misses.
//!
//! Work: number of segments of the one times those of the other.

use super::{glob_matches, Pattern, Segment};

impl Pattern {
    /// Whether every destination that `other` matches is matched by `self`. `false` may also mean
    /// "not known".
    pub fn covers(&self, other: &Pattern) -> bool {
        if !self.is_comparable(other) {
            let head = self.literal_head();
            let is_subtree = self.literal_tail_is_any(head);
            return is_subtree && other.literal_head().starts_with(head);
        }
        let ends_agree = self.trailing.is_none() || self.trailing == other.trailing;
        self.leading == other.leading
            && ends_agree
            && walk(&self.segments, &other.segments, |own, theirs| match (own, theirs) {
                (_, Segment::AnyDepth) => false,
                (Segment::One, _) => true,
                (Segment::Glob(glob), Segment::Literal(text)) => glob_matches(glob, text),
                (own, theirs) => own == theirs,
            })
    }

    /// Whether some destination may be matched by both. `true` may also mean "not known".
    pub fn overlaps(&self, other: &Pattern) -> bool {
        if !self.is_comparable(other) {
            let (mut left, mut right) = (self.certain_head(), other.certain_head());
            loop {
                match (take_collapsed(&mut left), take_collapsed(&mut right)) {
                    (Some(a), Some(b)) if a == b => {}
                    (Some(_), Some(_)) => return false,
                    _ => return true,
                }
            }
        }
        self.leading == other.leading
            && walk(&self.segments, &other.segments, |left, right| match (left, right) {
                (Segment::Literal(a), Segment::Literal(b)) => a == b,
                (Segment::Literal(text), Segment::Glob(glob))
                | (Segment::Glob(glob), Segment::Literal(text)) => glob_matches(glob, text),
                (Segment::Glob(a), Segment::Glob(b)) => {
                    let (a, b) = (glob_head(a), glob_head(b));
                    a.starts_with(b) || b.starts_with(a)
                }
                _ => true,
            })
    }

    fn is_comparable(&self, other: &Pattern) -> bool {
        self.dialect == other.dialect && self.prefix() == other.prefix()
    }

    /// What all that is matched starts with, but for repeated separators in Ant: a wildcard for any
    /// depth may stand for nothing, and then the separator before it is not there either.
    fn certain_head(&self) -> &str {
        let head = self.literal_head();
        let separator = self.dialect.separator();
        let next = self.text[head.len()..].split(separator).next();
        match next.is_some_and(|text| self.dialect.is_any_depth(text)) {
            true => &head[..head.trim_end_matches(separator).len().max(self.prefix_len as usize)],
            false => head,
        }
    }

    /// The text before the first segment with a wildcard.
    fn literal_head(&self) -> &str {
        let separator = self.dialect.separator();
        let mut at = self.prefix_len as usize;
        while let Some((segment, _)) = self.text[at..].split_once(separator) {
            if self.dialect.is_pattern(segment) {
                break;
            }
            at += segment.len() + separator.len_utf8();
        }
        &self.text[..at]
    }

    /// Whether after `head` comes nothing but a wildcard for any depth.
    fn literal_tail_is_any(&self, head: &str) -> bool {
        self.dialect.is_any_depth(&self.text[head.len()..])
    }
}

/// The next character, with repeated `/` as one.
fn take_collapsed(text: &mut &str) -> Option<char> {
    let first = text.chars().next()?;
    *text = if first == '/' { text.trim_start_matches('/') } else { &text[first.len_utf8()..] };
    Some(first)
}

fn glob_head(glob: &str) -> &str {
    glob.find(['*', '?']).map_or(glob, |at| &glob[..at])
}

/// Whether the two lists can be laid side by side so that `fits` holds for each pair, where an
/// [`Segment::AnyDepth`] of the one takes any number of segments of the other; one of `right` does
/// so only beside segments that `fits` it.
fn walk(left: &[Segment], right: &[Segment], fits: impl Fn(&Segment, &Segment) -> bool) -> bool {
    let width = right.len() + 1;
    // `below[at]`: whether the segments of `left` after this row and `right[at..]` go together.
    let mut below = vec![true; width];
    for at in (0..right.len()).rev() {
        let is_free = right[at] == Segment::AnyDepth && fits(&Segment::AnyDepth, &right[at]);
        below[at] = is_free && below[at + 1];
    }
    for own in left.iter().rev() {
        let mut row = vec![*own == Segment::AnyDepth && below[right.len()]; width];
        for at in (0..right.len()).rev() {
            let theirs = &right[at];
            row[at] = match (own, theirs) {
                (Segment::AnyDepth, _) => below[at] || row[at + 1],
                (_, Segment::AnyDepth) => fits(own, theirs) && (below[at] || row[at + 1]),
                _ => fits(own, theirs) && below[at + 1],
            };
        }
        below = row;
    }
    below[0]
}
