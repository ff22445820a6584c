//! The page that lends its origin to clients on other sites (protocol, "IframePage").
//!
//! The text is fixed by the protocol's test suite down to its blanks, but for the address of the
//! client. The same bytes go out for every version in the path, for a year, with an `ETag`; that is
//! why the page is built once per endpoint. For browsers without CORS, so off by default.

use sha1::{Digest, Sha1};
use std::fmt::Write;

const BEFORE_URL: &str = r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src=""#;

const BEHIND_URL: &str = r#""></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"#;

/// The page of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iframe {
    /// The body, `text/html; charset=UTF-8`.
    pub body: String,
    /// The value of `ETag`, quotes included.
    pub etag: String,
}

impl Iframe {
    /// The page that loads the client from `client_url`, an absolute address or path. `None` when
    /// it starts with neither `http` nor `/`, or could leave the attribute it is written into.
    pub fn new(client_url: &str) -> Option<Iframe> {
        let is_address = client_url.starts_with("http") || client_url.starts_with('/');
        let is_inert = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\'');
        if !is_address || !client_url.bytes().all(is_inert) {
            return None;
        }
        let body = format!("{BEFORE_URL}{client_url}{BEHIND_URL}");
        let mut etag = "\"".to_owned();
        for byte in Sha1::digest(body.as_bytes()) {
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        Some(Iframe { body, etag })
    }

    /// Whether the client of an `If-None-Match` has the page already: 304 without content type and
    /// body. Compared weakly (RFC 9110 §13.1.2).
    pub fn is_known(&self, if_none_match: Option<&str>) -> bool {
        let mut tags = if_none_match.unwrap_or("").split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_clients_address() {
        let page = Iframe::new("/sockjs.min.js").unwrap();
        assert!(page
            .body
            .starts_with("<!DOCTYPE html>\n<html>\n<head>\n  <meta http-equiv=\"X-UA"));
        assert!(page.body.contains("\n  <script src=\"/sockjs.min.js\"></script>\n  <script>\n"));
        assert!(page.body.ends_with("magic.</p>\n</body>\n</html>"));
    }

    /// Catalogue: G18.
    #[test]
    fn the_tag_is_stable_and_changes_with_the_page() {
        let tag = |url| Iframe::new(url).unwrap().etag;
        assert_eq!(tag("/a.js"), tag("/a.js"));
        assert_ne!(tag("/a.js"), tag("/b.js"));
        assert!(tag("/a.js").starts_with('"') && tag("/a.js").ends_with('"'));
    }

    #[test]
    fn a_known_tag_is_not_sent_again() {
        let page = Iframe::new("https://a.example/s.js").unwrap();
        let tag = page.etag.clone();
        assert!(page.is_known(Some(&tag)) && page.is_known(Some("*")));
        assert!(page.is_known(Some(&format!("\"x\", W/{tag}"))));
        assert!(!page.is_known(None) && !page.is_known(Some("\"x\"")) && !page.is_known(Some("")));
    }

    /// Catalogue: G18.
    #[test]
    fn an_address_that_leaves_its_attribute_is_refused() {
        for url in ["", "s.js", "/a\"><script>", "/a b", "javascript:x", "/ä"] {
            assert_eq!(Iframe::new(url), None, "{url}");
        }
    }
}
