//! Negotiation of permessage-deflate (RFC 7692 §5, §7.1), server side.
//!
//! The answer always holds `server_no_context_takeover` and `client_no_context_takeover`, which a
//! server may put there unasked (§7.1.1), so that no compression state rests with a connection.
//! `client_max_window_bits` is never answered: one inflater with the largest window reads all.
//! `server_max_window_bits` is met with one of three windows; 8 is declined, for zlib cannot
//! compress with it. Offers are tried in the client's order of preference (§5.1), and one that is
//! invalid or cannot be met is declined, not an error. A header that breaks the grammar is one.

/// The window that we compress with, the `server_max_window_bits` of a connection.
///
/// Three of seven, so that a publication is compressed for few classes: 12 for clients that ask for
/// 12 to 14 (Python's `websockets` asks for 12), 9 for those that ask for 9 to 11.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Window {
    /// 512 bytes.
    Bits9 = 1,
    /// 4 KiB.
    Bits12 = 2,
    /// 32 KiB: the client named no limit, or this one.
    Bits15 = 3,
}

impl Window {
    /// All, in the order of their numbers.
    pub const ALL: [Window; 3] = [Window::Bits9, Window::Bits12, Window::Bits15];

    /// The base-2 logarithm of its bytes: 9, 12 or 15.
    pub fn bits(self) -> u8 {
        match self {
            Window::Bits9 => 9,
            Window::Bits12 => 12,
            Window::Bits15 => 15,
        }
    }

    /// The largest of ours that is not larger than the client's limit.
    fn within(bits: u8) -> Option<Window> {
        Window::ALL.into_iter().rev().find(|window| window.bits() <= bits)
    }
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What we compress with.
    pub window: Window,
    /// §7.1.2.1: an offer with `server_max_window_bits` is accepted by an answer with it.
    pub is_window_named: bool,
}

impl Agreement {
    /// Appends the value of `Sec-WebSocket-Extensions` of the answer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        );
        if self.is_window_named {
            let bits = self.window.bits();
            out.extend_from_slice(b"; server_max_window_bits=");
            out.extend_from_slice(bits.to_string().as_bytes());
        }
    }
}

/// A header that does not match the grammar of RFC 6455 §9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Takes the first offer that can be met out of the values of all `Sec-WebSocket-Extensions`
/// fields, in order. `Ok(None)`: none can, the connection goes on without.
///
/// # Errors
/// RFC 6455 §9.1: on a value that does not conform to the grammar, "the recipient of such malformed
/// data MUST immediately _Fail the WebSocket Connection_".
pub fn negotiate<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Agreement>, Malformed> {
    let mut agreed = None;
    for value in values {
        let mut rest = Text(value);
        loop {
            // RFC 2616 §2.1, the list rule: empty elements are allowed.
            while rest.take(b',') {}
            if rest.0.is_empty() {
                break;
            }
            let offer = Offer::parse(&mut rest)?;
            agreed = agreed.or(offer.agreement());
            if !rest.0.is_empty() && !rest.take(b',') {
                return Err(Malformed);
            }
        }
    }
    Ok(agreed)
}

/// One element of the list, as far as permessage-deflate wants to know it.
#[derive(Default)]
struct Offer {
    /// It is another extension, or one of §7.1's reasons to decline was seen.
    is_declined: bool,
    has_server_no_context_takeover: bool,
    has_client_no_context_takeover: bool,
    has_client_max_window_bits: bool,
    server_max_window_bits: Option<u8>,
}

impl Offer {
    /// Takes an element up to its comma; all of it is checked, whatever it is.
    fn parse(rest: &mut Text<'_>) -> Result<Offer, Malformed> {
        let name = rest.token().ok_or(Malformed)?;
        let mut offer = Offer { is_declined: name != b"permessage-deflate", ..Offer::default() };
        while rest.take(b';') {
            let name = rest.token().ok_or(Malformed)?;
            let value = if rest.take(b'=') { Some(rest.value()?) } else { None };
            if !offer.add(name, value) {
                offer.is_declined = true;
            }
        }
        Ok(offer)
    }

    /// §7.1: a server MUST decline an offer with a parameter that is not defined for offers, has an
    /// invalid value, or comes twice. Says whether this one is good.
    fn add(&mut self, name: &[u8], value: Option<Value<'_>>) -> bool {
        let is_first = |seen: &mut bool| !std::mem::replace(seen, true);
        match (name, value) {
            (b"server_no_context_takeover", None) => {
                is_first(&mut self.has_server_no_context_takeover)
            }
            (b"client_no_context_takeover", None) => {
                is_first(&mut self.has_client_no_context_takeover)
            }
            (b"client_max_window_bits", value) => {
                is_first(&mut self.has_client_max_window_bits)
                    && value.is_none_or(|value| value.window_bits().is_some())
            }
            (b"server_max_window_bits", Some(value)) => {
                let bits = value.window_bits();
                bits.is_some() && self.server_max_window_bits.replace(bits.unwrap_or(0)).is_none()
            }
            _ => false,
        }
    }

    fn agreement(&self) -> Option<Agreement> {
        if self.is_declined {
            return None;
        }
        let bits = self.server_max_window_bits;
        let window = Window::within(bits.unwrap_or(15))?;
        Some(Agreement { window, is_window_named: bits.is_some() })
    }
}

/// A parameter's value: a token, or a quoted string with what a token may hold (RFC 6455 §9.1:
/// "after unescaping, the value MUST conform to the 'token' ABNF").
struct Value<'a> {
    /// Backslashes included.
    text: &'a [u8],
}

impl Value<'_> {
    /// §7.1.2: a decimal integer from 8 to 15 without leading zeros.
    fn window_bits(&self) -> Option<u8> {
        let mut digits = self.text.iter().filter(|&&byte| byte != b'\\');
        match (digits.next(), digits.next(), digits.next()) {
            (Some(&digit @ b'8'..=b'9'), None, _) => Some(digit - b'0'),
            (Some(b'1'), Some(&digit @ b'0'..=b'5'), None) => Some(10 + digit - b'0'),
            _ => None,
        }
    }
}

/// What is left of a header's value.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Takes a separator and the white space around it, if it is next.
    fn take(&mut self, separator: u8) -> bool {
        self.0 = self.0.trim_ascii_start();
        let Some((_, rest)) = self.0.split_first().filter(|(&first, _)| first == separator) else {
            return false;
        };
        self.0 = rest.trim_ascii_start();
        true
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| !is_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        let Some(quoted) = self.0.strip_prefix(b"\"") else {
            return self.token().map(|text| Value { text }).ok_or(Malformed);
        };
        let (mut end, mut is_empty) = (0, true);
        loop {
            // A backslash quotes the next byte, which has to be of a token all the same.
            end += usize::from(quoted.get(end) == Some(&b'\\'));
            match quoted.get(end) {
                Some(&byte) if is_token(byte) => is_empty = false,
                Some(b'"') if !is_empty && quoted[end - 1] != b'\\' => break,
                _ => return Err(Malformed),
            }
            end += 1;
        }
        self.0 = &quoted[end + 1..];
        Ok(Value { text: &quoted[..end] })
    }
}

/// RFC 2616 §2.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALWAYS: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    /// The answer to header fields: its value, none, or the refusal.
    fn answer(values: &[&str]) -> Result<Option<String>, Malformed> {
        let agreed = negotiate(values.iter().map(|value| value.as_bytes()))?;
        Ok(agreed.map(|agreement| {
            let mut out = Vec::new();
            agreement.encode(&mut out);
            String::from_utf8(out).unwrap()
        }))
    }

    /// The rest of the answer behind what is always there; none when all offers were declined.
    fn accepted(value: &str) -> Option<String> {
        let answer = answer(&[value]).unwrap_or_else(|_| panic!("{value} is well-formed"))?;
        Some(answer.strip_prefix(ALWAYS).expect("both no_context_takeover").to_owned())
    }

    #[test]
    fn f03_no_state_rests_whatever_is_asked_for() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=15",
            "permessage-deflate ;server_no_context_takeover; client_no_context_takeover ",
        ] {
            assert_eq!(accepted(offer).as_deref(), Some(""), "{offer}");
        }
    }

    /// Catalogue: F07.
    #[test]
    fn server_max_window_bits_is_met_or_undercut() {
        for (asked, given) in [(9, 9), (10, 9), (11, 9), (12, 12), (13, 12), (14, 12), (15, 15)] {
            let offer = format!("permessage-deflate; server_max_window_bits={asked}");
            let expected = format!("; server_max_window_bits={given}");
            assert_eq!(accepted(&offer), Some(expected), "{offer}");
        }
    }

    #[test]
    fn f07_what_is_invalid_or_cannot_be_met_is_declined() {
        for parameters in [
            "server_max_window_bits=8",
            "server_max_window_bits=7",
            "server_max_window_bits=0",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=+9",
            "server_max_window_bits=115",
            "server_max_window_bits",
            "server_max_window_bits=9; server_max_window_bits=9",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=x",
            "client_max_window_bits; client_max_window_bits=9",
            "server_no_context_takeover=1",
            "client_no_context_takeover=\"a\"",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "unknown",
            "unknown=9",
            "Server_No_Context_Takeover",
        ] {
            let offer = format!("permessage-deflate; {parameters}");
            assert_eq!(answer(&[&offer]), Ok(None), "{offer}");
        }
        for other in ["x-webkit-deflate-frame", "permessage-bzip2; client_max_window_bits=9", ""] {
            assert_eq!(answer(&[other]), Ok(None), "{other}");
        }
        assert_eq!(answer(&[]), Ok(None));
    }

    #[test]
    fn the_first_offer_that_can_be_met_is_taken() {
        let two = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
        assert_eq!(accepted(two).as_deref(), Some("; server_max_window_bits=9"));
        let second = "permessage-deflate; server_max_window_bits=8, \
            x; y=z, permessage-deflate; client_max_window_bits, \
            permessage-deflate; server_max_window_bits=9";
        assert_eq!(accepted(second).as_deref(), Some(""));
        let fields = ["permessage-bzip2", " ,, permessage-deflate; server_max_window_bits=12 ,"];
        let expected = format!("{ALWAYS}; server_max_window_bits=12");
        assert_eq!(answer(&fields), Ok(Some(expected)));
    }

    #[test]
    fn rfc6455_9_1_a_quoted_value_is_its_token() {
        for value in ["\"12\"", "\"1\\2\"", "\"\\1\\2\""] {
            let offer = format!("permessage-deflate; server_max_window_bits={value}");
            assert_eq!(accepted(&offer).as_deref(), Some("; server_max_window_bits=12"), "{offer}");
        }
        // The comma and the semicolon that end a parameter are not inside of quotes.
        for bad in
            ["\"1,2\"", "\"12; a\"", "\"\"", "\"12", "\"12\\\"", "\"12\\", "\"12\"x", "\"\u{7f}\""]
        {
            let offer = format!("permessage-deflate; server_max_window_bits={bad}");
            assert_eq!(answer(&[&offer]), Err(Malformed), "{offer}");
        }
    }

    /// Catalogue: C11.
    #[test]
    fn rfc6455_9_1_a_header_that_breaks_the_grammar_fails_the_handshake() {
        for value in [
            "permessage-deflate;",
            "permessage-deflate; ; a",
            "permessage-deflate; a=",
            "permessage-deflate; =9",
            "permessage-deflate a",
            "; a",
            "=",
            "permessage-deflate, a b",
            "p\u{e9}rmessage",
        ] {
            assert_eq!(answer(&[value]), Err(Malformed), "{value}");
        }
        // Even behind an offer that was good.
        assert_eq!(answer(&["permessage-deflate", "a;"]), Err(Malformed));
    }

    proptest! {
        /// Catalogue: C11.
        #[test]
        fn no_value_makes_it_panic_and_answers_keep_to_the_offer(
            value in "(permessage-deflate|[;,= \"\\\\a]|server_max_window_bits|[0-9]{1,2}){0,12}",
        ) {
            if let Ok(Some(answer)) = answer(&[&value]) {
                prop_assert!(value.contains("permessage-deflate"));
                prop_assert!(answer.starts_with(ALWAYS));
            }
        }
    }
}
