//! Paths, methods and header fields of every answer (reference: protocol, URL map and HTTP rules,
//! header sets; measured against the reference server).

use crate::client::{config, exchange, request, start, Answer};
use crate::support::{Running, UPGRADE};

const NO_CACHE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
const CACHE: &str = "public, max-age=31536000";
const JAVASCRIPT: &str = "application/javascript; charset=UTF-8";
const PLAIN: &str = "text/plain; charset=UTF-8";
const HTML: &str = "text/html; charset=UTF-8";

/// Which CORS fields a route has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cors {
    /// The origin, `null` as well, with credentials.
    Full,
    /// The same, but `null` is everybody.
    Events,
    None,
}

/// A path below `/echo`, the method that is its own, what answers it and with which type.
type Place = (&'static str, &'static str, u16, &'static str, Cors);

/// `S` stands for a session: those that send go to one that is open.
const PLACES: [Place; 10] = [
    ("", "GET", 200, PLAIN, Cors::None),
    ("/info", "GET", 200, "application/json; charset=UTF-8", Cors::Full),
    ("/iframe.html", "GET", 200, HTML, Cors::None),
    ("/0/S/xhr", "POST", 200, JAVASCRIPT, Cors::Full),
    ("/0/S/xhr_streaming", "POST", 200, JAVASCRIPT, Cors::Full),
    ("/0/S/xhr_send", "POST", 204, PLAIN, Cors::Full),
    ("/0/S/eventsource", "GET", 200, "text/event-stream", Cors::Events),
    ("/0/S/htmlfile?c=f", "GET", 200, HTML, Cors::None),
    ("/0/S/jsonp?c=f", "GET", 200, JAVASCRIPT, Cors::None),
    ("/0/S/jsonp_send", "POST", 200, PLAIN, Cors::None),
];

fn is_sender(path: &str) -> bool {
    path.ends_with("_send")
}

/// Asks at `path` of a service, in a session of its own.
fn ask(server: &Running, prefix: &str, place: (&str, &str), lines: &str, body: &str) -> Answer {
    let (method, path) = place;
    let session = server.session(prefix);
    let session = if is_sender(path) && method == "POST" { session.open() } else { session };
    let path = path.replace("/0/S", session.base.strip_prefix(prefix).expect("its prefix"));
    exchange(server.http_address, &request(method, &format!("{prefix}{path}"), lines, body))
}

fn check_cors(answer: &Answer, cors: Cors, origin: Option<&str>, headers: Option<&str>) {
    let origin = match cors {
        Cors::Full => origin,
        Cors::Events => origin.filter(|origin| *origin != "null"),
        Cors::None => {
            assert!(!answer.text.contains("Access-Control-"), "{answer:?}");
            return;
        }
    };
    let seen = |name: &str| answer.header(&format!("access-control-{name}"));
    assert_eq!(seen("allow-origin"), Some(origin.unwrap_or("*")), "{answer:?}");
    assert_eq!(seen("allow-credentials"), origin.map(|_| "true"), "{answer:?}");
    assert_eq!(seen("allow-headers"), headers.filter(|names| !names.is_empty()), "{answer:?}");
    assert_eq!(answer.header("vary"), Some("Origin"), "{answer:?}");
}

/// Catalogue: G17, G18.
#[test]
fn every_answer_has_the_fields_of_its_transport() {
    let server = start(config(2));
    for origin in [None, Some("http://b.example:81"), Some("null")] {
        for headers in [None, Some("x-a, B"), Some("")] {
            let mut lines = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
            if let Some(names) = headers {
                lines += &format!("Access-Control-Request-Headers: {names}\r\n");
            }
            for (path, method, status, content_type, cors) in PLACES {
                let body = if is_sender(path) { "[\"x\"]" } else { "" };
                let answer = ask(&server, "/echo", (method, path), &lines, body);
                assert_eq!(answer.status, status, "{path}: {answer:?}");
                assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
                check_cors(&answer, cors, origin, headers);
                let (cache, is_dated) = match path {
                    "" => (None, false),
                    "/iframe.html" => (Some(CACHE), true),
                    _ => (Some(NO_CACHE), false),
                };
                assert_eq!(answer.header("cache-control"), cache, "{path}");
                assert_eq!(answer.header("expires").is_some(), is_dated, "{path}");
                assert_eq!(answer.header("last-modified"), None, "{path}");
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
                // What the client may not read, it cannot tell from a network that fails.
                if is_sender(path) {
                    let bad = ask(&server, "/echo", (method, path), &lines, "d=%5B");
                    assert_eq!((bad.status, bad.header("content-type")), (500, Some(PLAIN)));
                    check_cors(&bad, cors, origin, headers);
                }
            }
        }
    }
}

#[test]
fn preflights_are_answered_where_there_are_any_and_kept_for_a_year() {
    let server = start(config(2));
    let lines = "Origin: http://b\r\nAccess-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: content-type\r\n";
    for (path, method, _, _, cors) in PLACES {
        let answer = ask(&server, "/cookie_needed_echo", ("OPTIONS", path), lines, "");
        if cors != Cors::Full {
            assert_eq!((answer.status, answer.header("allow")), (405, Some(method)), "{path}");
            continue;
        }
        assert_eq!((answer.status, answer.header("content-type")), (204, None), "{path}");
        assert_eq!((answer.header("content-length"), answer.line.unread()), (None, &b""[..]));
        check_cors(&answer, cors, Some("http://b"), Some("content-type"));
        let methods = format!("OPTIONS, {method}");
        assert_eq!(answer.header("access-control-allow-methods"), Some(&*methods));
        assert_eq!(answer.header("access-control-max-age"), Some("31536000"));
        assert_eq!(answer.header("cache-control"), Some(CACHE));
        assert!(answer.header("expires").is_some_and(|date| date.ends_with(" GMT")));
        assert_eq!(answer.header("set-cookie"), Some("JSESSIONID=dummy; path=/"));
    }
}

#[test]
fn cookies_are_set_where_the_service_wants_them_and_never_elsewhere() {
    let server = start(config(2));
    for (lines, value) in [
        ("", "dummy"),
        ("Cookie: JSESSIONID=abc.1\r\n", "abc.1"),
        ("Cookie: a=b; JSESSIONID=x_y; c=d\r\n", "x_y"),
        ("Cookie: JSESSIONID=\"a\\b\"\r\n", "dummy"),
        ("Cookie: xJSESSIONID=a\r\n", "dummy"),
    ] {
        let cookie = format!("JSESSIONID={value}; path=/");
        for (path, method, ..) in PLACES {
            let body = if is_sender(path) { "[]" } else { "" };
            let answer = ask(&server, "/cookie_needed_echo", (method, path), lines, body);
            let expected = path.contains("/S/").then_some(&*cookie);
            assert_eq!(answer.header("set-cookie"), expected, "{path}");
            let without = ask(&server, "/echo", (method, path), lines, body);
            assert_eq!(without.header("set-cookie"), None, "{path}");
        }
    }
    let info = |prefix: &str| ask(&server, prefix, ("GET", "/info"), "", "").body();
    assert!(info("/cookie_needed_echo").contains("\"cookie_needed\":true"));
    assert!(info("/echo").contains("\"cookie_needed\":false"));
}

/// Catalogue: G01, G18.
#[test]
fn other_paths_are_404_with_a_text_and_names_are_case_sensitive() {
    let server = start(config(2));
    let long = format!("/0/{}/xhr", "x".repeat(129));
    let paths = "/a /a.html // /// /a/a /a/a/ /a/ /a/a/xhr/x /a/a/a/xhr /a.b/a/xhr /a/a.b/xhr \
        //a/xhr /a//xhr ///xhr /iframe.htm /iframe /IFRAME.HTML /IFRAME /iframe.HTML /iframe.xml \
        /iframe-/.html /iframexhtml /%69nfo /INFO /info// /a/a/XHR /a/a/chunking_test /a/a/xhr;x \
        /../echo/info /./info";
    for path in paths.split_whitespace().chain([&*long]) {
        for method in ["GET", "POST", "PUT"] {
            let mut answer = ask(&server, "/echo", (method, path), "", "");
            let seen = (answer.status, answer.header("content-type").map(str::to_owned));
            assert_eq!(seen, (404, Some(PLAIN.to_owned())), "{path}");
            assert_eq!(answer.body(), "404 Error: Page not found\n", "{path}");
        }
    }
}

#[test]
fn a_slash_a_query_and_escapes_in_names_are_allowed() {
    let server = start(config(2));
    for path in ["", "/", "?x=1", "/?x=1&y"] {
        let mut answer = ask(&server, "/echo", ("GET", path), "", "");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("19")), "{path}");
        assert_eq!(answer.body(), "Welcome to SockJS!\n");
    }
    for path in ["/info/", "/info?t=1", "/iframe-1.6.1.html", "/iframe-a_b-0.html/?x"] {
        assert_eq!(ask(&server, "/echo", ("GET", path), "", "").status, 200, "{path}");
    }
    // Escapes are part of the name as they are: another escape is another session.
    let name = |text: &str| format!("/echo/a%2fb/{text}/xhr?t=1");
    let poll =
        |text: &str| exchange(server.http_address, &request("POST", &name(text), "", "")).body();
    assert_eq!((poll("n%2fm"), poll("n%2Fm")), ("o\n".to_owned(), "o\n".to_owned()));
}

/// On one connection: the answers to HEAD, too, end where the next one begins.
#[test]
fn wrong_methods_are_told_the_right_ones_without_a_body() {
    let server = start(config(2));
    let places = PLACES.iter().map(|(path, own, _, _, cors)| (*path, *own, *cors == Cors::Full));
    let sockets = [("/websocket", "GET", false), ("/0/S/websocket", "GET", false)];
    let mut answer = exchange(server.http_address, &request("GET", "/echo", "", ""));
    answer.body();
    for (path, own, has_preflight) in places.chain(sockets) {
        let allow = if has_preflight { format!("OPTIONS, {own}") } else { own.to_owned() };
        for method in ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "get"] {
            if method == own {
                continue;
            }
            answer = answer.next(&request(method, &format!("/echo{path}"), "", ""));
            assert_eq!((answer.status, answer.header("allow")), (405, Some(&*allow)), "{path}");
            let fields = ["content-type", "content-length"].map(|name| answer.header(name));
            assert_eq!(fields, [None, Some("0")], "{method} {path}");
        }
        answer = answer.next(&request("GET", "/echo", "", ""));
        assert_eq!(answer.body(), "Welcome to SockJS!\n", "behind {path}");
    }
}

/// RFC 9110 §9.3.2: "The server MUST NOT send content in the response" to HEAD.
#[test]
fn a_refusal_of_head_has_a_length_and_no_body() {
    let mut config = config(2);
    config.allowed_origins = vec!["https://good.example".to_owned()];
    let server = start(config);
    let foreign = "Origin: https://evil.example\r\n";
    for (path, lines, status) in [("/echo/nothing", "", 404), ("/echo/info", foreign, 403)] {
        let mut answer = exchange(server.http_address, &request("GET", path, lines, ""));
        let length = answer.body().len();
        let answer = answer.next(&request("HEAD", path, lines, ""));
        assert_eq!((answer.status, answer.body_bytes()), (status, length), "{path}");
        let mut next = answer.next(&request("GET", "/echo", "", ""));
        assert_eq!((next.status, &*next.body()), (200, "Welcome to SockJS!\n"));
    }
}

/// Catalogue: G18.
#[test]
fn the_iframe_page_is_the_same_for_every_version_and_not_sent_twice() {
    let server = start(config(2));
    let page = |name: &str, lines: &str| ask(&server, "/echo", ("GET", name), lines, "");
    let mut first = page("/iframe.html", "");
    let tag = first.header("etag").expect("a tag").to_owned();
    let body = first.body();
    let mut other = page("/iframe-1.2.3.html?x", "");
    assert_eq!((other.header("etag"), other.header("set-cookie")), (Some(&*tag), None));
    assert_eq!(other.body(), body);
    let known = page("/iframe-0.html", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((known.status, known.header("content-type")), (304, None));
    assert_eq!((known.header("etag"), known.header("content-length")), (Some(&*tag), None));
    let changed = page("/iframe-0.html", "If-None-Match: \"other\"\r\n");
    assert_eq!(changed.status, 200);
}

/// Catalogue: C16, J15.
#[test]
fn what_carries_no_origin_is_judged_by_its_fetch_metadata() {
    let mut config = config(2);
    config.allowed_origins = vec!["https://good.example".to_owned()];
    let server = start(config);
    for (site, is_let_in) in [("cross-site", false), ("same-site", false), ("same-origin", true)] {
        let lines = format!("Sec-Fetch-Site: {site}\r\n");
        for path in ["/iframe.html", "/0/S/jsonp?c=f", "/0/S/htmlfile?c=f", "/0/S/eventsource"] {
            let answer = ask(&server, "/echo", ("GET", path), &lines, "");
            assert_eq!(answer.status, if is_let_in { 200 } else { 403 }, "{site} {path}");
        }
        assert_eq!(ask(&server, "/echo", ("GET", "/"), &lines, "").status, 200);
    }
    let page = ask(&server, "/echo", ("GET", "/iframe.html"), "", "");
    assert_eq!(page.header("x-frame-options"), Some("SAMEORIGIN"));
}

#[test]
fn info_differs_each_time_and_says_what_there_is() {
    let server = start(config(4));
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let body = ask(&server, "/echo", ("GET", "/info"), "", "").body();
        let info: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(info["origins"], serde_json::json!(["*:*"]));
        assert_eq!((&info["websocket"], &info["cookie_needed"]), (&true.into(), &false.into()));
        let entropy = info["entropy"].as_u64().expect("a whole number");
        assert!(u32::try_from(entropy).is_ok() && seen.insert(entropy), "{body}");
    }
    let body = ask(&server, "/disabled_websocket_echo", ("GET", "/info"), "", "").body();
    assert!(body.contains("\"websocket\":false"), "{body}");
}

/// Catalogue: G01.
#[test]
fn handshakes_that_are_none_are_refused() {
    let server = start(config(2));
    for path in ["/websocket", "/0/S/websocket"] {
        let get = |prefix: &str, lines: &str| ask(&server, prefix, ("GET", path), lines, "").status;
        assert_eq!(get("/echo", ""), 400);
        assert_eq!(get("/echo", "Upgrade: websocket\r\nConnection: close\r\n"), 400);
        assert_eq!(get("/echo", &UPGRADE.replace("keep-alive, Upgrade", "close")), 400);
        // RFC 6455 §4.4 wants this and not the reference server's 400; clients take both.
        assert_eq!(get("/echo", &UPGRADE.replace("13", "8")), 426);
        assert_eq!(get("/disabled_websocket_echo", UPGRADE), 404);
        assert_eq!(get("/echo", &UPGRADE.replace("keep-alive, Upgrade", "uPGRADE")), 101);
    }
}
