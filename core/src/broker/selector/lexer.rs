//! Cuts the text of a selector into tokens, one at a time, borrowed from the text.
//!
//! Names are `[A-Za-z_$][A-Za-z0-9_$.]*`; anything goes into a name in double quotes. Text is in
//! single quotes, a quote inside is doubled (SQL-92). Numbers are decimal, with fraction and
//! exponent, or hexadecimal; a final `L` is Java's and means nothing. An integer that does not fit
//! into 64 bits is a floating-point number.

use super::SelectorError;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A keyword or a name.
    Word(&'a str),
    /// A name in double quotes, without them.
    Quoted(&'a str),
    /// What is between single quotes; inner quotes are still doubled.
    Text(&'a str),
    Int(i64),
    Float(f64),
    Symbol(&'static str),
    End,
}

/// Longer ones first, so that `<=` is not seen as `<`.
const SYMBOLS: [&str; 22] = [
    "<>", "<=", ">=", "==", "!=", "&&", "||", "=", "<", ">", "!", "+", "-", "*", "/", "%", "(",
    ")", "[", "]", ",", ".",
];

/// The token at `from` or after it, where it starts and where it ends.
pub(super) fn next(text: &str, from: usize) -> Result<(Token<'_>, usize, usize), SelectorError> {
    let rest = text[from..].trim_ascii_start();
    let start = text.len() - rest.len();
    let (token, len) = match rest.as_bytes() {
        [] => (Token::End, 0),
        [b'\'', ..] => {
            let len = text_len(rest).ok_or(syntax(start, "a closing single quote"))?;
            (Token::Text(&rest[1..len - 1]), len)
        }
        [b'"', ..] => {
            let inner = rest[1..].find('"').ok_or(syntax(start, "a closing double quote"))?;
            (Token::Quoted(&rest[1..1 + inner]), inner + 2)
        }
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => number(rest, start)?,
        [first, ..] if is_name_start(*first) => {
            let len = rest.bytes().take_while(|&byte| is_name_part(byte)).count();
            (Token::Word(&rest[..len]), len)
        }
        _ => {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
            let symbol = symbol.ok_or(syntax(start, "a name, a literal or an operator"))?;
            (Token::Symbol(symbol), symbol.len())
        }
    };
    Ok((token, start, start + len))
}

fn syntax(at: usize, expected: &'static str) -> SelectorError {
    SelectorError::Syntax { at, expected }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$'
}

fn is_name_part(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit() || byte == b'.'
}

/// Bytes of the quoted text that `rest` starts with, quotes included.
fn text_len(rest: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        at += rest[at..].find('\'')? + 1;
        if !rest[at..].starts_with('\'') {
            return Some(at);
        }
        at += 1;
    }
}

fn number(rest: &str, start: usize) -> Result<(Token<'_>, usize), SelectorError> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    if let [b'0', b'x' | b'X', ..] = bytes {
        let len = 2 + bytes[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let value = i64::from_str_radix(&rest[2..len], 16);
        let value = value.map_err(|_| syntax(start, "a hexadecimal number of 63 bits"))?;
        return Ok((Token::Int(value), len + suffix_len(&bytes[len..])));
    }
    let mut len = digits(0);
    let whole = len;
    if bytes.get(len) == Some(&b'.') {
        len += 1 + digits(len + 1);
    }
    if let Some(b'e' | b'E') = bytes.get(len) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let exponent = bytes.get(len + 1 + sign).map_or(0, |_| digits(len + 1 + sign));
        if exponent == 0 {
            return Err(syntax(start, "digits of an exponent"));
        }
        len += 1 + sign + exponent;
    }
    if len == whole {
        if let Ok(value) = rest[..len].parse() {
            return Ok((Token::Int(value), len + suffix_len(&bytes[len..])));
        }
    }
    let value = rest[..len].parse().map_err(|_| syntax(start, "a number"))?;
    Ok((Token::Float(value), len))
}

fn suffix_len(after: &[u8]) -> usize {
    match after {
        [b'L' | b'l', next, ..] if is_name_part(*next) => 0,
        [b'L' | b'l', ..] => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut at = 0;
        let mut seen = Vec::new();
        loop {
            let (token, _, end) = next(text, at).unwrap();
            if token == Token::End {
                return seen;
            }
            seen.push(token);
            at = end;
        }
    }

    #[test]
    fn cuts_names_texts_and_symbols() {
        use Token::*;
        assert_eq!(
            tokens("a.b<>'it''s'AND\"x-y\" <=$_1"),
            [
                Word("a.b"),
                Symbol("<>"),
                Text("it''s"),
                Word("AND"),
                Quoted("x-y"),
                Symbol("<="),
                Word("$_1")
            ]
        );
    }

    #[test]
    fn cuts_numbers() {
        use Token::*;
        assert_eq!(
            tokens("7 7L .5 1. 2e3 1.5E-1 0xff"),
            [Int(7), Int(7), Float(0.5), Float(1.0), Float(2000.0), Float(0.15), Int(255)]
        );
        assert_eq!(tokens("99999999999999999999"), [Float(1e20)]);
    }

    #[test]
    fn names_the_place_of_what_is_not_closed() {
        for (text, at) in [("a = 'x''", 4), ("a = \"x", 4), ("a ~ b", 2), ("1e", 0), ("ä", 0)] {
            let mut from = 0;
            let error = loop {
                match next(text, from) {
                    Ok((token, _, end)) => {
                        assert_ne!(token, Token::End, "{text}");
                        from = end;
                    }
                    Err(error) => break error,
                }
            };
            assert!(
                matches!(error, SelectorError::Syntax { at: seen, .. } if seen == at),
                "{text}"
            );
        }
    }
}
