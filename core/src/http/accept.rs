//! What a client likes: the lists of `Accept` and `Accept-Encoding` (RFC 9110 §12.5).
//!
//! Only the question "would the client take this one, and did it name it?" is answered; nothing
//! here has more than two representations, so weights matter only in being zero or not.

use super::request::Request;

/// Does the client name `token` in the list field `field`, compared without case, with a weight
/// other than zero (RFC 9110 §12.4.2)? Wildcards do not count as naming it. Parameters other than
/// `q` are not looked at.
pub fn names(request: &Request<'_>, field: &str, token: &str) -> bool {
    let mut items = request.headers_named(field).flat_map(|list| list.split(|&byte| byte == b','));
    items.any(|item| {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(token.as_bytes()));
        is_named && !parts.any(is_zero_weight)
    })
}

/// `q=0`, `q=0.0` and so on.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let Some((b'q' | b'Q', rest)) = parameter.split_first() else { return false };
    let Some(weight) = rest.strip_prefix(b"=") else { return false };
    weight.starts_with(b"0") && weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::decode;
    use crate::limits::Limits;

    fn names_gzip(value: &str) -> bool {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {value}\r\n\r\n");
        let (request, _) = decode(head.as_bytes(), &Limits::default()).unwrap().unwrap();
        names(&request, "accept-encoding", "gzip")
    }

    #[test]
    fn a_weight_of_zero_is_a_no() {
        for yes in ["gzip", "br, GZIP ; q=0.001", "gzip;q=1", "x\r\nAccept-Encoding: gzip"] {
            assert!(names_gzip(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip; Q=0.000", "*", "xgzip", "gzip x"] {
            assert!(!names_gzip(no), "{no}");
        }
    }
}
