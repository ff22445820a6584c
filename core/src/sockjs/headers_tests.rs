//! The header sets of every route and outcome.

use super::*;

fn session(transport: Transport) -> Route<'static> {
    Route::Session { session: "s", transport }
}

fn value<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a str> {
    let mut values = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    let first = values.next().map(|(_, value)| *value);
    assert!(values.next().is_none(), "{name} twice");
    first
}

const ALL: Asked<'static> = Asked {
    origin: Some("http://a.example"),
    request_headers: Some("a, b"),
    set_cookie: Some("JSESSIONID=dummy; path=/"),
    expires: "later",
    etag: "\"tag\"",
    is_own_site_only: false,
};
const CORS: [Route<'static>; 4] = [
    Route::Info,
    Route::Session { session: "s", transport: Transport::Xhr },
    Route::Session { session: "s", transport: Transport::XhrStreaming },
    Route::Session { session: "s", transport: Transport::XhrSend },
];

/// Catalogue: G17.
#[test]
fn an_origin_is_echoed_with_credentials() {
    for route in CORS {
        for outcome in [Outcome::Success, Outcome::Preflight, Outcome::Failure] {
            for origin in ["http://a.example", "null"] {
                let fields = fields(&route, outcome, &Asked { origin: Some(origin), ..ALL });
                assert_eq!(value(&fields, "Access-Control-Allow-Origin"), Some(origin));
                assert_eq!(value(&fields, "Access-Control-Allow-Credentials"), Some("true"));
                assert_eq!(value(&fields, "Access-Control-Allow-Headers"), Some("a, b"));
                assert_eq!(value(&fields, "Vary"), Some("Origin"));
            }
        }
    }
}

#[test]
fn without_origin_everyone_without_credentials() {
    for route in CORS {
        let asked = Asked { request_headers: Some(""), ..Asked::default() };
        let fields = fields(&route, Outcome::Success, &asked);
        assert_eq!(value(&fields, "Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(value(&fields, "Access-Control-Allow-Credentials"), None);
        assert_eq!(value(&fields, "Access-Control-Allow-Headers"), None);
    }
    let asked = Asked { origin: Some("null"), ..ALL };
    let fields = fields(&session(Transport::EventSource), Outcome::Success, &asked);
    assert_eq!(value(&fields, "Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(value(&fields, "Access-Control-Allow-Credentials"), None);
}

/// Catalogue: G17.
#[test]
fn a_preflight_is_cached_for_a_year() {
    for route in CORS {
        let fields = fields(&route, Outcome::Preflight, &ALL);
        assert_eq!(value(&fields, "Cache-Control"), Some("public, max-age=31536000"));
        assert_eq!(value(&fields, "Expires"), Some("later"));
        assert_eq!(value(&fields, "Access-Control-Max-Age"), Some("31536000"));
        assert_eq!(value(&fields, "Access-Control-Allow-Methods"), Some(route.methods()));
        assert_eq!(value(&fields, "Content-Type"), None);
        assert!(value(&fields, "Set-Cookie").is_some());
    }
}

/// Catalogue: G18.
#[test]
fn sessions_and_info_are_never_cached() {
    let others =
        [Transport::EventSource, Transport::HtmlFile, Transport::Jsonp, Transport::JsonpSend];
    for route in CORS.into_iter().chain(others.map(session)) {
        for outcome in [Outcome::Success, Outcome::Failure] {
            let fields = fields(&route, outcome, &ALL);
            let expected = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
            assert_eq!(value(&fields, "Cache-Control"), Some(expected));
            assert_eq!((value(&fields, "Expires"), value(&fields, "Last-Modified")), (None, None));
        }
    }
}

/// Catalogue: J16.
#[test]
fn a_cookie_is_set_on_sessions_and_never_on_pages() {
    for route in [Route::Greeting, Route::Info, Route::Iframe, session(Transport::WebSocket)] {
        assert_eq!(value(&fields(&route, Outcome::Success, &ALL), "Set-Cookie"), None);
    }
    for transport in [Transport::Xhr, Transport::XhrSend, Transport::EventSource, Transport::Jsonp]
    {
        let with = fields(&session(transport), Outcome::Success, &ALL);
        assert_eq!(value(&with, "Set-Cookie"), ALL.set_cookie);
        let without = Asked { set_cookie: None, ..ALL };
        let without = fields(&session(transport), Outcome::Success, &without);
        assert_eq!(value(&without, "Set-Cookie"), None);
    }
}

/// Catalogue: J16.
#[test]
fn the_cookie_is_the_clients_own_or_dummy() {
    assert_eq!(session_cookie(None), "JSESSIONID=dummy; path=/");
    assert_eq!(session_cookie(Some("a=b; JSESSIONID=abcdef; c")), "JSESSIONID=abcdef; path=/");
    for bad in ["JSESSIONID=", "JSESSIONID=a\r\nb", "jsessionid=x", "XJSESSIONID=x", "a"] {
        assert_eq!(session_cookie(Some(bad)), "JSESSIONID=dummy; path=/", "{bad}");
    }
}

#[test]
fn pages_have_neither_cors_nor_session_headers() {
    let page = fields(&Route::Iframe, Outcome::Success, &ALL);
    assert_eq!(value(&page, "Content-Type"), Some("text/html; charset=UTF-8"));
    assert_eq!((value(&page, "ETag"), value(&page, "Expires")), (Some("\"tag\""), Some("later")));
    assert_eq!(page.len(), 4);
    let known = fields(&Route::Iframe, Outcome::NotModified, &ALL);
    assert_eq!(value(&known, "Content-Type"), None);
    assert_eq!(fields(&Route::Greeting, Outcome::Success, &ALL).len(), 1);
    for transport in [Transport::HtmlFile, Transport::Jsonp, Transport::JsonpSend] {
        let fields = fields(&session(transport), Outcome::Success, &ALL);
        assert_eq!(value(&fields, "Access-Control-Allow-Origin"), None);
    }
}

/// Catalogue: G18.
#[test]
fn the_iframe_page_is_held_by_others_only_where_all_may_connect() {
    for (is_own_site_only, expected) in [(false, None), (true, Some("SAMEORIGIN"))] {
        for outcome in [Outcome::Success, Outcome::NotModified] {
            let asked = Asked { is_own_site_only, ..ALL };
            let fields = fields(&Route::Iframe, outcome, &asked);
            assert_eq!(value(&fields, "X-Frame-Options"), expected);
        }
    }
}

#[test]
fn streams_ask_proxies_not_to_buffer() {
    for (transport, expected) in [(Transport::XhrStreaming, Some("no")), (Transport::Xhr, None)] {
        let fields = fields(&session(transport), Outcome::Success, &ALL);
        assert_eq!(value(&fields, "X-Accel-Buffering"), expected);
    }
}

#[test]
fn expires_is_a_year_ahead() {
    assert_eq!(expires(0), "Fri, 01 Jan 1971 00:00:00 GMT");
    assert_eq!(expires(784_111_777 - YEAR_S), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(expires(951_782_400 - YEAR_S), "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_eq!(expires(1_709_251_199 - YEAR_S), "Thu, 29 Feb 2024 23:59:59 GMT");
    assert_eq!(expires(4_107_542_400 - YEAR_S), "Mon, 01 Mar 2100 00:00:00 GMT");
}
