//! The lines of a head, with what matters inside them, in one pass over the bytes.
//!
//! A line ends in LF or CR LF (1.2, STOMP Frames: "EOL"). Its limit counts the bytes before the LF
//! and is checked as soon as they are there, so that nobody can make us wait for a line that is
//! too long already. What is inside a line (colon, CR, escapes) is only noted: what it means is
//! the decoder's to say.

use super::error::Error;
use super::marks::Marks;

/// A complete line: places in the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Where the text starts.
    pub start: usize,
    /// Where the text ends, before LF or CR LF.
    pub end: usize,
    /// Where the next line starts.
    pub next: usize,
    /// Where the first `:` of the text is.
    pub colon: Option<usize>,
    /// There is a CR in the text.
    pub has_cr: bool,
    /// There is a `\` in the text.
    pub has_escape: bool,
    /// Its first `:` is the only byte of the text that any version escapes or replaces.
    pub is_plain: bool,
}

/// Reads lines from the start of an input.
pub struct Lines<'a> {
    /// As much of the input as a head may be long.
    window: &'a [u8],
    head_bytes_max: usize,
    marks: Marks<'a>,
    start: usize,
    has_nul: bool,
}

impl<'a> Lines<'a> {
    /// The lines of `input`; `head_bytes_max` bounds all of them together.
    #[inline]
    pub fn new(input: &'a [u8], head_bytes_max: usize) -> Lines<'a> {
        let window = &input[..input.len().min(head_bytes_max)];
        Lines { window, head_bytes_max, marks: Marks::new(window), start: 0, has_nul: false }
    }

    /// The next line, of at most `line_bytes_max` bytes before its LF; `None` if there is none, for
    /// the reason that [`Lines::fault`] tells. The lines must not be read further then.
    #[inline(always)]
    pub fn next(&mut self, line_bytes_max: usize) -> Option<Line> {
        let start = self.start;
        let line_end_max = line_end_max(start, line_bytes_max);
        let (mut colon, mut first_cr, mut has_escape) = (None, None, false);
        let mut has_others = false;
        loop {
            let at = self.marks.next()?;
            if at >= line_end_max {
                return None;
            }
            match self.window[at] {
                b'\n' => {
                    let end = match first_cr {
                        Some(_) if self.window[at - 1] == b'\r' => at - 1,
                        _ => at,
                    };
                    let has_cr = first_cr.is_some_and(|cr| cr < end);
                    let (next, is_plain) = (at + 1, !(has_others | has_escape | has_cr));
                    self.start = next;
                    return Some(Line { start, end, next, colon, has_cr, has_escape, is_plain });
                }
                b':' if colon.is_none() => colon = Some(at),
                b'\\' => has_escape = true,
                b'\r' => first_cr = first_cr.or(Some(at)),
                0 => {
                    self.has_nul = true;
                    return None;
                }
                _ => has_others = true,
            }
        }
    }

    /// Why there was no next line: `Ok` if it only is not complete.
    ///
    /// # Errors
    /// [`Error::NulInHead`]; else `too_long` or `head_too_large`, whichever limit comes first.
    #[cold]
    pub fn fault(
        &self,
        line_bytes_max: usize,
        too_long: Error,
        head_too_large: Error,
    ) -> Result<(), Error> {
        let line_end_max = line_end_max(self.start, line_bytes_max);
        if self.has_nul {
            Err(Error::NulInHead)
        } else if self.window.len() < line_end_max.min(self.head_bytes_max) {
            Ok(())
        } else if line_end_max <= self.head_bytes_max {
            Err(too_long)
        } else {
            Err(head_too_large)
        }
    }
}

/// Where the LF of a line that starts at `start` must not be any more.
fn line_end_max(start: usize, line_bytes_max: usize) -> usize {
    start.saturating_add(line_bytes_max).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONG: Error = Error::HeaderTooLong { limit: 1 };
    const LARGE: Error = Error::HeadTooLarge { limit: 1 };

    /// Byte by byte.
    fn naive(
        input: &[u8],
        start: usize,
        line_bytes_max: usize,
        head_bytes_max: usize,
    ) -> Result<Option<Line>, Error> {
        for at in start.. {
            if at >= head_bytes_max && at <= start + line_bytes_max {
                return Err(LARGE);
            }
            if at > start + line_bytes_max {
                return Err(LONG);
            }
            match input.get(at) {
                None => return Ok(None),
                Some(0) => return Err(Error::NulInHead),
                Some(b'\n') => {
                    let whole = &input[start..at];
                    let text = whole.strip_suffix(b"\r").unwrap_or(whole);
                    let colon = text.iter().position(|&byte| byte == b':').map(|at| start + at);
                    let is_mark = |byte: &&u8| matches!(byte, 0..=0x0d | b':' | b'\\');
                    let marks_count = text.iter().filter(is_mark).count();
                    return Ok(Some(Line {
                        start,
                        end: start + text.len(),
                        next: at + 1,
                        colon,
                        is_plain: marks_count == usize::from(colon.is_some()),
                        has_cr: text.contains(&b'\r'),
                        has_escape: text.contains(&b'\\'),
                    }));
                }
                Some(_) => {}
            }
        }
        unreachable!("the loop has no end of its own")
    }

    proptest! {
        #[test]
        fn same_as_naive(
            input in "[ab:\\\\\n\r\0\té]{0,20}|[a-j:\n\r\\\\]{0,300}",
            line_bytes_max in 0usize..100,
            head_bytes_max in 0usize..300,
        ) {
            let input = input.as_bytes();
            let mut lines = Lines::new(input, head_bytes_max);
            let mut start = 0;
            loop {
                let line = match lines.next(line_bytes_max) {
                    None => lines.fault(line_bytes_max, LONG, LARGE).map(|()| None),
                    line => Ok(line),
                };
                prop_assert_eq!(&line, &naive(input, start, line_bytes_max, head_bytes_max));
                let Ok(Some(line)) = line else { break };
                start = line.next;
            }
        }
    }
}
