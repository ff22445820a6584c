//! Which web pages may open a connection (RFC 6454, RFC 6455 §10.2).
//!
//! Browsers send cookies along with a WebSocket handshake from any page, and no CORS rule stops
//! them: this check is the only protection against cross-site hijacking. It is exact: scheme, host
//! and port must all be equal, a wildcard stands for whole labels only, and `null` (sandboxed
//! frames, `file:`) is refused. Browsers serialise origins in lower case and punycode without a
//! trailing dot, so anything else did not come from a browser's own hand and is refused too.

use super::request::Request;

/// The pages that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Only pages from the scheme, host and port that the request itself went to.
    SameOrigin,
    /// Every page, `null` included: for servers whose clients log in with tokens.
    Any,
    /// Only these, each `scheme://host[:port]` in lower case or `scheme://*.host[:port]`.
    List(Vec<String>),
}

/// An origin cut into what has to be equal. Port 0 is "the default of an unknown scheme".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
}

impl OriginPolicy {
    /// Reads the configured list: nothing or `same-origin` is [`OriginPolicy::SameOrigin`], `*` is
    /// [`OriginPolicy::Any`]; both stand alone. The error text names the item at fault.
    pub fn parse(items: &[String]) -> Result<Self, String> {
        match items {
            [] => return Ok(OriginPolicy::SameOrigin),
            [one] if one.eq_ignore_ascii_case("same-origin") => {
                return Ok(OriginPolicy::SameOrigin);
            }
            [one] if one == "*" => return Ok(OriginPolicy::Any),
            _ => {}
        }
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            // An operator may write `https://Example.com`, a browser never sends it.
            let item = item.trim().to_ascii_lowercase();
            if item == "*" || item == "same-origin" {
                return Err(format!("seen origin `{item}` in a list, it has to stand alone"));
            }
            if !is_list_item(&item) {
                return Err(format!(
                    "seen origin `{item}`, must be scheme://host[:port] or scheme://*.domain.tld"
                ));
            }
            list.push(item);
        }
        Ok(OriginPolicy::List(list))
    }

    /// Whether a request is let in, as by [`OriginPolicy::allows`]. Two `Origin` fields are not.
    /// Nor is a request without one that comes from a page of another site, as its browser says in
    /// `Sec-Fetch-Site` (Fetch Metadata, §2.3): script elements and frames send no `Origin`.
    pub fn allows_request(&self, request: &Request<'_>, is_tls: bool) -> bool {
        let mut origins = request.headers_named("origin");
        let (origin, second) = (origins.next(), origins.next());
        let is_foreign = |site: &[u8]| matches!(site, b"cross-site" | b"same-site");
        let is_silent = origin.is_none()
            && *self != OriginPolicy::Any
            && request.headers_named("sec-fetch-site").any(is_foreign);
        second.is_none() && !is_silent && self.allows(origin, request.host(), is_tls)
    }

    /// Whether a request with this `Origin` and `Host` is let in. No origin means no browser, and
    /// is let in: cookies of a victim cannot be misused without one. Two `Origin` fields are for
    /// the caller to refuse. `is_tls` is about the client's side, as told by a trusted proxy.
    pub fn allows(&self, origin: Option<&[u8]>, host: Option<&[u8]>, is_tls: bool) -> bool {
        let Some(origin) = origin else { return true };
        if *self == OriginPolicy::Any {
            return true;
        }
        let Ok(origin) = std::str::from_utf8(origin) else { return false };
        let Some(origin) = parse_origin(origin) else { return false };
        match self {
            OriginPolicy::Any => true,
            OriginPolicy::SameOrigin => {
                let scheme = if is_tls { "https" } else { "http" };
                let Some(Ok(host)) = host.map(std::str::from_utf8) else { return false };
                let host = host.to_ascii_lowercase();
                parse_authority(scheme, &host) == Some(origin)
            }
            OriginPolicy::List(items) => items.iter().any(|item| matches(item, origin)),
        }
    }
}

fn is_list_item(item: &str) -> bool {
    match item.split_once("://*.") {
        // A wildcard over a whole top-level domain is a slip of the pen.
        Some((scheme, rest)) => {
            parse_parts(scheme, rest).is_some_and(|origin| origin.host.contains('.'))
        }
        None => parse_origin(item).is_some(),
    }
}

fn matches(item: &str, origin: Origin<'_>) -> bool {
    let Some((scheme, rest)) = item.split_once("://*.") else {
        return parse_origin(item) == Some(origin);
    };
    let Some(wanted) = parse_parts(scheme, rest) else { return false };
    // `parse_origin` has refused empty labels, so what is left of the dot is one label or more.
    let labels = origin.host.strip_suffix(wanted.host).and_then(|rest| rest.strip_suffix('.'));
    let is_below = labels.is_some_and(|labels| !labels.is_empty());
    is_below && wanted.scheme == origin.scheme && wanted.port == origin.port
}

fn parse_origin(origin: &str) -> Option<Origin<'_>> {
    let (scheme, authority) = origin.split_once("://")?;
    parse_parts(scheme, authority)
}

fn parse_parts<'a>(scheme: &'a str, authority: &'a str) -> Option<Origin<'a>> {
    let is_scheme = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(is_scheme) {
        return None;
    }
    parse_authority(scheme, authority)
}

fn parse_authority<'a>(scheme: &'a str, authority: &'a str) -> Option<Origin<'a>> {
    let host_bytes = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(host_bytes);
    let port = match rest.strip_prefix(':') {
        None if !rest.is_empty() => return None,
        Some(digits) if !digits.is_empty() => {
            let is_number = digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| digits.parse().ok()).flatten()?
        }
        _ => match scheme {
            "http" => 80,
            "https" => 443,
            _ => 0,
        },
    };
    is_host(host).then_some(Origin { scheme, host, port })
}

fn is_host(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let is_v6 = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b':' | b'.');
        return !v6.is_empty() && v6.bytes().all(is_v6);
    }
    let is_label_byte = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    host.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label_byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn list(items: &[&str]) -> OriginPolicy {
        let items: Vec<String> = items.iter().map(std::string::ToString::to_string).collect();
        OriginPolicy::parse(&items).unwrap()
    }

    fn allows(policy: &OriginPolicy, origin: &str) -> bool {
        policy.allows(Some(origin.as_bytes()), Some(b"good.com"), true)
    }

    #[test]
    fn c16_a_list_is_exact() {
        let policy =
            list(&["https://Good.com", "http://localhost:3000", "https://xn--bcher-kva.ch"]);
        for good in ["https://good.com", "https://good.com:443", "http://localhost:3000"] {
            assert!(allows(&policy, good), "{good}");
        }
        assert!(allows(&policy, "https://xn--bcher-kva.ch"));
        let bad = "http://good.com https://good.com:8443 https://good.com.evil.com \
            https://evilgood.com https://good.com. https://GOOD.com HTTPS://good.com null \
            https://bücher.ch https://good.com/ https://good.com@evil.com https://u@good.com \
            good.com https:// https://a.good.com http://localhost https://good.com:+443 \
            https://good.com:65979 https://good.com, https://good.com\u{0}";
        for origin in bad.split(' ').map(str::trim).chain(["", "https://good.com https://b.com"]) {
            assert!(!allows(&policy, origin), "{origin}");
        }
        assert!(!policy.allows(Some(b"https://good.com\xff"), None, true));
    }

    #[test]
    fn c16_a_wildcard_stands_for_whole_labels() {
        let policy = list(&["https://*.example.com", "http://*.dev.test:81"]);
        for good in ["https://a.example.com", "https://a.b.example.com", "http://x.dev.test:81"] {
            assert!(allows(&policy, good), "{good}");
        }
        let bad = "https://example.com https://evilexample.com https://.example.com \
            https://a.example.com.evil.com http://a.example.com https://a.example.com:444 \
            https://a..example.com https://evil.com/.example.com https://*.example.com \
            http://x.dev.test https://evil.com#.example.com";
        for origin in bad.split(' ').filter(|origin| !origin.is_empty()) {
            assert!(!allows(&policy, origin), "{origin}");
        }
    }

    #[test]
    fn same_origin_compares_with_host_and_scheme() {
        let policy = list(&[]);
        let check = |origin: &str, host: &str, is_tls| {
            policy.allows(Some(origin.as_bytes()), Some(host.as_bytes()), is_tls)
        };
        assert!(check("https://a.com", "a.com", true) && check("https://a.com", "A.com:443", true));
        assert!(check("http://a.com:8080", "a.com:8080", false));
        assert!(check("http://[::1]:8080", "[::1]:8080", false));
        assert!(!check("http://a.com", "a.com", true) && !check("https://a.com", "a.com", false));
        assert!(!check("https://a.com", "a.com:8443", true) && !check("null", "null", true));
        assert!(!policy.allows(Some(b"https://a.com"), None, true));
    }

    #[test]
    fn any_lets_null_in_and_a_missing_origin_is_no_browser() {
        let any = list(&["*"]);
        assert!(allows(&any, "null") && allows(&any, "https://evil.com"));
        for policy in [any, list(&[]), list(&["https://good.com"])] {
            assert!(policy.allows(None, Some(b"good.com"), true));
        }
    }

    #[test]
    fn c16_a_script_of_another_site_is_known_by_its_fetch_metadata() {
        let allows = |policy: &OriginPolicy, lines: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: good.com\r\n{lines}\r\n");
            let decoded = crate::http::request::decode(head.as_bytes(), &Limits::default());
            policy.allows_request(&decoded.unwrap().unwrap().0, false)
        };
        let foreign = ["Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n"];
        for policy in [list(&[]), list(&["https://good.com"])] {
            assert!(foreign.iter().all(|lines| !allows(&policy, lines)));
            for own in ["", "Sec-Fetch-Site: same-origin\r\n", "Sec-Fetch-Site: none\r\n"] {
                assert!(allows(&policy, own), "{own}");
            }
        }
        assert!(foreign.iter().all(|lines| allows(&list(&["*"]), lines)));
        // Where there is an origin, it decides.
        let both = format!("Origin: https://good.com\r\n{}", foreign[0]);
        assert!(allows(&list(&["https://good.com"]), &both));
    }

    #[test]
    fn bad_configuration_is_refused() {
        let bad = ["good.com", "https://", "https://*", "https://*.com", "https://a.*.com", "null"];
        for item in bad.into_iter().chain(["https://*a.com", "https://a.com/", "https://a.com:x"]) {
            assert!(OriginPolicy::parse(&[item.to_string()]).is_err(), "{item}");
        }
        let mixed = ["*".to_string(), "https://a.com".to_string()];
        assert!(OriginPolicy::parse(&mixed).is_err());
        assert!(allows(&list(&["capacitor://localhost"]), "capacitor://localhost"));
    }
}
