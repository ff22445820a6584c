//! What `xhr_send` and `jsonp_send` take, and what they refuse: JSON that is broken, large or deep,
//! and bodies whose end two parsers could see differently (reference: protocol, "xhr and xhr_send",
//! "JSON text rules"; RFC 9112 §6.3, §7.1).

use crate::client::{config, exchange, request, start, Answer, Session};
use crate::support::Line;

const BROKEN: &str = "Broken JSON encoding.";
const EXPECTED: &str = "Payload expected.";

/// Sends any bytes as the body of an `xhr_send`.
fn send(session: &Session, body: &[u8]) -> (u16, String) {
    let head = format!(
        "POST {}/xhr_send HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        session.base,
        body.len()
    );
    let mut line = Line::connect(session.address);
    line.send([head.as_bytes(), body].concat());
    let status = line.head().status;
    (status, String::from_utf8(line.rest()).expect("text"))
}

/// The session is as it was: nothing came to it, and it takes what comes.
fn is_untouched(session: &Session) {
    session.send(r#"["alive"]"#);
    assert_eq!(session.poll(), r#"a["alive"]"#);
}

/// Catalogue: G13.
#[test]
fn broken_json_of_every_kind_is_refused_and_the_session_survives() {
    let server = start(config(4));
    let session = server.session("/echo").open();
    let refused = |body: &[u8], text: &str| {
        let seen = send(&session, body);
        assert_eq!(seen, (500, text.to_owned()), "{:?}", String::from_utf8_lossy(body));
    };
    // Cut anywhere.
    let whole = "[\"aé\u{1f600}\\u00e9\\ud83d\\ude00\\n\", \"b\"]".as_bytes();
    for cut in 1..whole.len() {
        refused(&whole[..cut], BROKEN);
    }
    // Something behind or before it, and what only looks like it.
    let bad = [
        "[\"a\"]x",
        "[\"a\"]]",
        "[\"a\"],",
        "[\"a\"]\0",
        "[\"a\"][\"b\"]",
        "\u{feff}[\"a\"]",
        " ",
        "['a']",
        "[a]",
        "[\"a\",]",
        "[,]",
        "[\"a\" \"b\"]",
        "[\"a\u{1}\"]",
        "[\"a\nb\"]",
        "]",
        "x",
        "{\"a\":",
        "nul",
        "\"a",
        "[\"\\x41\"]",
        "[\"\\u12\"]",
        "[\"\\uzzzz\"]",
        "[\"\\u 123\"]",
    ];
    bad.iter().for_each(|body| refused(body.as_bytes(), BROKEN));
    // Elements that are no strings: what they would mean, nobody said.
    let others = [
        "[1]",
        "[null]",
        "[true]",
        "[{}]",
        "[[]]",
        "[[\"a\"]]",
        "[\"a\",1]",
        "[1,\"a\"]",
        "[{\"a\":\"b\"}]",
        "[-0.0e9]",
    ];
    others.iter().for_each(|body| refused(body.as_bytes(), BROKEN));
    // Half a character, in either notation.
    let lone = [
        "\\ud800",
        "\\udc00",
        "\\udfff",
        "\\udbff",
        "\\ud800\\ud800",
        "\\udc00\\ud800",
        "\\ud800x",
        "\\ud83d\\u0041",
        "\\ud83d\\n",
        "\\\\\\ud800",
        "a\\uD83D",
    ];
    lone.iter().for_each(|text| refused(format!("[\"{text}\"]").as_bytes(), BROKEN));
    let bytes: [&[u8]; 7] =
        [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"];
    bytes.iter().for_each(|text| refused(&[b"[\"", *text, b"\"]"].concat(), BROKEN));
    is_untouched(&session);
}

#[test]
fn json_that_is_no_array_is_no_payload() {
    let server = start(config(2));
    let session = server.session("/echo").open();
    for body in ["", "{}", "{\"a\":[\"b\"]}", "\"a\"", "1", "-1.5", "null", "true", " {} "] {
        assert_eq!(send(&session, body.as_bytes()), (500, EXPECTED.to_owned()), "{body}");
    }
    is_untouched(&session);
    // The payload is looked at before the session is looked for.
    let nobody = server.session("/echo");
    assert_eq!(send(&nobody, b""), (500, EXPECTED.to_owned()));
    assert_eq!(send(&nobody, b"["), (500, BROKEN.to_owned()));
    assert_eq!(send(&nobody, b"[]").0, 404);
}

/// Catalogue: G13.
#[test]
fn deep_nesting_is_refused_and_survived() {
    let server = start(config(2));
    let session = server.session("/echo").open();
    let depth = 100_000;
    let deep = [
        "[".repeat(depth),
        format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        format!("[\"a\",{}1{}]", "[".repeat(depth), "]".repeat(depth)),
        format!("[{}1{}]", "{\"a\":".repeat(depth), "}".repeat(depth)),
    ];
    for body in deep {
        assert_eq!(send(&session, body.as_bytes()), (500, BROKEN.to_owned()), "{body:.9}");
    }
    let object = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(send(&session, object.as_bytes()), (500, EXPECTED.to_owned()));
    // In a string it is text.
    let text = format!("[\"{}\"]", "[{".repeat(depth));
    assert_eq!(send(&session, text.as_bytes()).0, 204);
    assert_eq!(session.poll(), format!("a{text}"));
    is_untouched(&session);
}

#[test]
fn every_type_white_space_and_escape_is_taken_and_waits_for_one_poll() {
    let server = start(config(2));
    let session = server.session("/echo").open();
    let types = [
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "",
        "application/json; a=b",
        "text/xml; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ];
    for content_type in types {
        let lines = format!("Content-Type: {content_type}\r\n");
        let path = format!("{}/xhr_send", session.base);
        let sent = exchange(server.http_address, &request("POST", &path, &lines, "[\"t\"]"));
        assert_eq!(
            (sent.status, sent.header("content-type")),
            (204, Some("text/plain; charset=UTF-8"))
        );
    }
    assert_eq!(session.poll(), format!("a[{}]", vec!["\"t\""; types.len()].join(",")));
    for (sent, echoed) in [
        (" \r\n\t[ \"a\" , \"b\" ]\n ", "\"a\",\"b\""),
        (r#"["\/\b\f\n\r\t\"\\"]"#, r#""/\b\f\n\r\t\"\\""#),
        (r#"["\u0000\u001F\u007f"]"#, "\"\\u0000\\u001f\u{7f}\""),
        (r#"["\ud83d\uDE00\uDBFF\uDFFF"]"#, "\"\u{1f600}\u{10ffff}\""),
        ("[\"\u{ffff}\u{2028}</script>%\"]", "\"\\uffff\\u2028</script>%\""),
        (r#"["",""]"#, r#""","""#),
    ] {
        session.send(sent);
        assert_eq!(session.poll(), format!("a[{echoed}]"), "{sent}");
    }
    // Nothing in it is nothing to send.
    session.send("[]");
    session.send(" [ ] ");
    is_untouched(&session);
}

/// The five-byte body `["a"]` in chunks.
const CHUNKS: &str = "5\r\n[\"a\"]\r\n0\r\n\r\n";

fn post(session: &Session, lines: &str, rest: &str) -> String {
    format!("POST {}/xhr_send HTTP/1.1\r\nHost: a\r\n{lines}\r\n{rest}", session.base)
}

/// Catalogue: C07.
#[test]
fn chunks_of_any_size_and_cut_are_one_body() {
    let server = start(config(2));
    let session = server.session("/echo").open();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let bodies = [
        CHUNKS.to_owned(),
        "1\r\n[\r\n1\r\n\"\r\n1\r\na\r\n1\r\n\"\r\n1\r\n]\r\n0\r\n\r\n".to_owned(),
        "005;name=value;other=\"q\"\r\n[\"a\"]\r\n000;last\r\n\r\n".to_owned(),
        "5\r\n[\"a\"]\r\n0\r\nTrailer: x\r\nContent-Length: 99\r\n\r\n".to_owned(),
        format!("A\r\n[\"a\"{}]\r\n0\r\n\r\n", " ".repeat(5)),
        format!("0a\r\n[\"a\"{}]\r\n0\r\n\r\n", " ".repeat(5)),
    ];
    for body in &bodies {
        let whole = post(&session, chunked, body);
        let mut answer = exchange(server.http_address, &whole);
        assert_eq!(answer.status, 204, "{body}");
        assert_eq!(session.poll(), r#"a["a"]"#);
        // Byte by byte, behind the first; and the next request begins where it ends.
        for byte in whole.as_bytes() {
            answer.send(&[*byte]);
        }
        let answer = answer.next("");
        assert_eq!(answer.status, 204, "{body}");
        let mut poll = answer.next(&request("POST", &format!("{}/xhr", session.base), "", ""));
        assert_eq!(poll.body(), "a[\"a\"]\n");
    }
    // A coding in another case is the same coding.
    let answer =
        exchange(server.http_address, &post(&session, "transfer-encoding: CHUNKED\r\n", CHUNKS));
    assert_eq!(answer.status, 204);
    assert_eq!(session.poll(), r#"a["a"]"#);
}

/// Each is refused and ends its connection, so that what stands behind is never a request.
/// Catalogue: C07.
#[test]
fn bodies_with_two_ends_are_refused_and_what_is_behind_them_is_no_request() {
    let server = start(config(2));
    let session = server.session("/echo").open();
    let smuggled = request("POST", &format!("{}/xhr_send", session.base), "", "[\"smuggled\"]");
    let lengths = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 0",
        "Content-Length: 5\u{b}",
        "Content-Length: 18446744073709551616",
        "Content-Length:",
        "Content-Length : 5",
        "Content-Length: 5\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\0\r\nContent-Length: 5",
    ];
    for lines in lengths {
        let text = post(&session, &format!("{lines}\r\n"), &format!("{CHUNKS}{smuggled}"));
        is_refused(&mut exchange(server.http_address, &text), 400, lines);
    }
    let chunks = [
        "5 \r\n[\"a\"]\r\n0\r\n\r\n",
        " 5\r\n[\"a\"]\r\n0\r\n\r\n",
        "0x5\r\n[\"a\"]\r\n0\r\n\r\n",
        "+5\r\n[\"a\"]\r\n0\r\n\r\n",
        "-5\r\n[\"a\"]\r\n0\r\n\r\n",
        "\r\n[\"a\"]\r\n0\r\n\r\n",
        ";x\r\n[\"a\"]\r\n0\r\n\r\n",
        "5\n[\"a\"]\r\n0\r\n\r\n",
        "5\r[\"a\"]\r\n0\r\n\r\n",
        "5\r\n[\"a\"]\n0\r\n\r\n",
        "5\r\n[\"a\"]0\r\n\r\n",
        "4\r\n[\"a\"]\r\n0\r\n\r\n",
        "6\r\n[\"a\"]\r\n0\r\n\r\n",
        "00000000000000005\r\n[\"a\"]\r\n0\r\n\r\n",
        "5;a\nb\r\n[\"a\"]\r\n0\r\n\r\n",
        "5;a\0\r\n[\"a\"]\r\n0\r\n\r\n",
        "5\r\n[\"a\"]\r\n0\r\nX: y\n\r\n",
        "5\r\n[\"a\"]\r\n0\r\nX: \u{1}\r\n\r\n",
    ];
    let extension = format!("5;{}\r\n[\"a\"]\r\n0\r\n\r\n", "x".repeat(300));
    let trailers = format!("5\r\n[\"a\"]\r\n0\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for body in chunks.into_iter().chain([&*extension, &*trailers]) {
        let rest = format!("{body}{smuggled}");
        let text = post(&session, "Transfer-Encoding: chunked\r\n", &rest);
        is_refused(&mut exchange(server.http_address, &text), 400, body);
    }
    // RFC 9112 §6.1: no codings in HTTP/1.0.
    let old = post(&session, "Transfer-Encoding: chunked\r\n", &format!("{CHUNKS}{smuggled}"));
    let old = old.replacen("HTTP/1.1", "HTTP/1.0", 1);
    is_refused(&mut exchange(server.http_address, &old), 400, "HTTP/1.0");
    is_untouched(&session);
}

/// Refused, and nothing follows.
fn is_refused(answer: &mut Answer, status: u16, what: &str) {
    assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{what:?}");
    let body = answer.body();
    assert!(body.starts_with("seen "), "{what:?}: {body}");
    while answer.line.fill() {}
    assert_eq!(answer.line.unread(), b"", "{what:?}");
}

/// Catalogue: G13.
#[test]
fn a_body_over_the_limit_is_refused_as_soon_as_that_is_known() {
    let mut config = config(2);
    config.limits.sockjs_payload_bytes_max = 10_000;
    let server = start(config);
    let session = server.session("/echo").open();
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1_000));
    let ten = chunk.repeat(10);
    for (lines, rest) in [
        ("Content-Length: 10001\r\n", ""),
        ("Content-Length: 9999999999999999999\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "2711\r\n"),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked\r\n", &format!("{ten}1\r\n")),
        // It waits for leave to send, and gets none.
        ("Expect: 100-continue\r\nContent-Length: 10001\r\n", ""),
    ] {
        is_refused(&mut exchange(server.http_address, &post(&session, lines, rest)), 413, lines);
    }
    // As long as allowed, and neither shorter nor longer for coming in pieces.
    let most = format!("[\"{}\"]", "y".repeat(10_000 - 4));
    let chunked = format!("2710\r\n{most}\r\n0\r\n\r\n");
    let answer =
        exchange(server.http_address, &post(&session, "Transfer-Encoding: chunked\r\n", &chunked));
    assert_eq!(answer.status, 204);
    assert_eq!(session.poll(), format!("a{most}"));
    let many = format!("[{}]", vec!["\"\""; 3_000].join(","));
    assert_eq!(session.post("xhr_send", &many).status, 204);
    assert_eq!(session.poll(), format!("a{many}"));
}

#[test]
fn a_body_that_breaks_off_is_none() {
    let server = start(config(2));
    let session = server.session("/echo").open();
    let whole = [
        post(&session, "Content-Length: 5\r\n", "[\"a\"]"),
        post(&session, "Transfer-Encoding: chunked\r\n", CHUNKS),
    ];
    for text in &whole {
        for missing in 1..5 {
            let mut line = Line::connect(server.http_address);
            line.send(&text[..text.len() - missing]);
            line.end_sending();
            while line.fill() {}
            let answer = String::from_utf8_lossy(line.unread()).into_owned();
            assert!(!answer.contains(" 204 "), "{answer}");
        }
    }
    is_untouched(&session);
}

#[test]
fn a_form_is_decoded_once_and_text_not_at_all() {
    let server = start(config(2));
    let session = server.session("/echo");
    assert_eq!(session.get("jsonp?c=f").body(), "/**/f(\"o\");\r\n");
    let send = |content_type: &str, body: &str| {
        let path = format!("{}/jsonp_send?i=1", session.base);
        let lines = format!("Content-Type: {content_type}\r\n");
        let mut answer = exchange(server.http_address, &request("POST", &path, &lines, body));
        (answer.status, answer.body())
    };
    let form = "application/x-www-form-urlencoded";
    let ok = (200, "ok".to_owned());
    for (content_type, body, echoed) in [
        (form, "d=%5B%22a+b%2B%25%22%5D", "a b+%"),
        (form, "x=1&d=[\"a\"]&d=[\"b\"]", "a"),
        ("application/x-www-form-urlencoded; charset=UTF-8", "d=%5b%22%C3%A9%22%5d", "é"),
        ("text/plain", "[\"%61+b\"]", "%61+b"),
        ("text/plain;charset=UTF-8", "[\"d=x\"]", "d=x"),
    ] {
        assert_eq!(send(content_type, body), ok, "{body}");
        let frame = format!("/**/f(\"a[\\\"{echoed}\\\"]\");\r\n");
        assert_eq!(session.get("jsonp?c=f").body(), frame);
    }
    for body in ["", "d=", "p=p", "D=[]", "xd=[]"] {
        assert_eq!(send(form, body), (500, EXPECTED.to_owned()), "{body}");
    }
    for body in ["d=[\"a", "d=%5B%22%ff%22%5D", "d=%5B%22%22%5", "d=[\"\\ud800\"]"] {
        assert_eq!(send(form, body), (500, BROKEN.to_owned()), "{body}");
    }
    assert_eq!(send("text/plain", ""), (500, EXPECTED.to_owned()));
    assert_eq!(server.session("/echo").post("jsonp_send", "[\"x\"]").status, 404);
}
