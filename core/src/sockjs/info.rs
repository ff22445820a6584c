//! The body of `/info`: what a client may try here (protocol, "Info test").
//!
//! `application/json; charset=UTF-8`, never cached. Clients take the time of this answer for the
//! round trip and give a transport a multiple of it, so it is answered where it arrives.

use super::endpoint::Endpoint;
use super::escape::escape;

/// Appends the body. `entropy` must differ from answer to answer; it is for clients without a good
/// source of random numbers.
pub fn encode(out: &mut Vec<u8>, endpoint: &Endpoint, entropy: u32) {
    let (websocket, cookie) = (endpoint.transports.websocket, endpoint.cookie);
    let text = format!(
        "{{\"websocket\":{websocket},\"origins\":[\"*:*\"],\"cookie_needed\":{cookie},\
         \"entropy\":{entropy}"
    );
    out.extend_from_slice(text.as_bytes());
    if let Some(url) = &endpoint.base_url {
        out.extend_from_slice(b",\"base_url\":\"");
        escape(out, url);
        out.push(b'"');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(endpoint: &Endpoint, entropy: u32) -> serde_json::Value {
        let mut out = Vec::new();
        encode(&mut out, endpoint, entropy);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn the_fields_the_protocol_demands() {
        let seen = info(&Endpoint::default(), u32::MAX);
        let expected = serde_json::json!({
            "websocket": true, "origins": ["*:*"], "cookie_needed": false, "entropy": u32::MAX,
        });
        assert_eq!(seen, expected);
    }

    #[test]
    fn options_are_told() {
        let mut endpoint = Endpoint { cookie: true, ..Endpoint::default() };
        endpoint.transports.websocket = false;
        endpoint.base_url = Some("https://a.example/\"x".to_owned());
        let seen = info(&endpoint, 0);
        assert_eq!(seen["websocket"], false);
        assert_eq!(seen["cookie_needed"], true);
        assert_eq!(seen["base_url"], "https://a.example/\"x");
    }
}
