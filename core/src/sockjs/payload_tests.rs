//! Bodies of clients, well-meant and not.

use super::*;
use proptest::prelude::*;

fn xhr(body: impl Into<Vec<u8>>) -> Result<Vec<String>, Error> {
    let mut body = body.into();
    let payload = Parser::default().parse(&mut body, &Limits::default())?;
    Ok(payload.iter().map(str::to_owned).collect())
}

fn jsonp(body: &str, content_type: &str) -> Result<Vec<String>, Error> {
    let (mut body, limits) = (body.as_bytes().to_vec(), Limits::default());
    let payload = Parser::default().parse_jsonp(&mut body, Some(content_type), &limits)?;
    Ok(payload.iter().map(str::to_owned).collect())
}

fn websocket(body: &str) -> Result<Option<Vec<String>>, Error> {
    let mut body = body.as_bytes().to_vec();
    let payload = Parser::default().parse_websocket(&mut body, &Limits::default())?;
    Ok(payload.map(|payload| payload.iter().map(str::to_owned).collect()))
}

#[test]
fn an_array_of_strings_is_taken() {
    assert_eq!(xhr(r#"["a","b\n\u0000é","\ud83d\ude00"]"#).unwrap(), ["a", "b\n\0é", "😀"]);
    assert_eq!(xhr(" \t\r\n[ \"a\" ] \n").unwrap(), ["a"]);
    assert_eq!(xhr("[]"), Ok(vec![]));
    assert_eq!(xhr(r#"[""]"#).unwrap(), [""]);
}

#[test]
fn no_array_is_no_payload() {
    for body in ["", "{}", "{\"a\":[\"b\"]}", "1", "null", "\"a\"", "true"] {
        assert_eq!(xhr(body), Err(Error::PayloadExpected), "{body}");
    }
}

#[test]
fn broken_json_is_broken() {
    let bad = [
        "[\"x",
        "[\"x\"",
        "[\"x\",]",
        "[\"x\"]]",
        "[\"x\"] y",
        "['x']",
        "[x]",
        "   ",
        "\0",
        "[\"\n\"]",
        "[\"\0\"]",
        "[\"x\"]\0",
        "\u{feff}[\"x\"]",
        "[\"\\x\"]",
        "[\"\\u12\"]",
        "[\"\\u12g4\"]",
        "[\"\\",
        "[",
        "]",
        "[,]",
        "{\"a\"",
        "[\"a\" \"b\"]",
        "\\",
        "[\"\\ud83d",
    ];
    for body in bad {
        assert_eq!(xhr(body), Err(Error::BrokenJson), "{body:?}");
    }
    for body in [&b"[\"\xff\"]"[..], b"[\"\xed\xa0\x80\"]", b"[\"\xe2\x80\"]", b"\xff"] {
        assert_eq!(xhr(body), Err(Error::BrokenJson), "{body:?}");
    }
}

#[test]
fn only_strings_are_messages() {
    for body in ["[1]", "[null]", "[{}]", "[[]]", "[[\"a\"]]", "[\"a\",1]", "[{\"a\":\"b\"}]"] {
        assert_eq!(xhr(body), Err(Error::BrokenJson), "{body}");
    }
}

/// Catalogue: G13.
#[test]
fn lone_surrogates_are_refused() {
    let bad = [
        r"\ud800",
        r"\udc00",
        r"\ud800x",
        r"\ud800\n",
        r"\ud800\u0041",
        r"\ud800\ud800",
        r"\ude00\ud83d",
        r"\ud800\ue000",
        r"\uD800",
        r"\\\ud800",
        r"\ud83d\ude00\ude00",
    ];
    for text in bad {
        assert_eq!(xhr(format!("[\"{text}\"]")), Err(Error::BrokenJson), "{text}");
    }
    assert_eq!(xhr(r#"["\\ud800"]"#).unwrap(), ["\\ud800"]);
    assert_eq!(xhr(r#"["\uDBFF\udfff"]"#).unwrap(), ["\u{10ffff}"]);
}

/// Catalogue: G13.
#[test]
fn deep_nesting_is_refused_and_survived() {
    for open in ["[", "{\"a\":"] {
        assert_eq!(xhr(open.repeat(100_000)), Err(Error::BrokenJson));
    }
    assert_eq!(xhr("[".repeat(100_000) + &"]".repeat(100_000)), Err(Error::BrokenJson));
}

/// Catalogue: G13.
#[test]
fn bodies_are_bounded() {
    let limits = Limits {
        sockjs_payload_bytes_max: 20,
        sockjs_payload_messages_max: 2,
        ..Limits::default()
    };
    let mut parser = Parser::default();
    let mut parse = |body: &str| {
        let mut body = body.as_bytes().to_vec();
        parser.parse(&mut body, &limits).map(|payload| payload.iter().count())
    };
    assert_eq!(parse(r#"["a","b"]"#), Ok(2));
    assert_eq!(parse(r#"["a","b","c"]"#), Err(Error::TooManyMessages { seen: 3, limit: 2 }));
    assert_eq!(parse(&" ".repeat(21)), Err(Error::PayloadTooLarge { seen: 21, limit: 20 }));
    let form = "application/x-www-form-urlencoded";
    let mut body = b"x=12345678901234567890&d=[]".to_vec();
    let refused = parser.parse_jsonp(&mut body, Some(form), &limits).map(|_| ());
    assert_eq!(refused, Err(Error::PayloadTooLarge { seen: 27, limit: 20 }));
}

/// Catalogue: G22.
#[test]
fn a_websocket_may_send_one_string_or_nothing() {
    assert_eq!(websocket(""), Ok(None));
    assert_eq!(websocket("[]"), Ok(Some(vec![])));
    assert_eq!(websocket("\"a\""), Ok(Some(vec!["a".to_owned()])));
    assert_eq!(websocket("[\"a\",\"b\"]").unwrap().unwrap(), ["a", "b"]);
    for body in ["[\"x", "{}", "1", "[1]", "\"\\ud800\"", " "] {
        assert_eq!(websocket(body).unwrap_err().close().code, 3000, "{body}");
    }
}

#[test]
fn jsonp_sends_a_form_or_plain_json() {
    let form = "application/x-www-form-urlencoded; charset=UTF-8";
    assert_eq!(jsonp("d=%5B%22x%22%5D", form).unwrap(), ["x"]);
    assert_eq!(jsonp("i=1&d=[%22a+b%2B%61%22]&d=[]", form).unwrap(), ["a b+a"]);
    assert_eq!(jsonp("d=[\"100%\"]", form).unwrap(), ["100%"]);
    // Text is not decoded.
    assert_eq!(jsonp("[\"%61bc\"]", "text/plain").unwrap(), ["%61bc"]);
    for body in ["", "d=", "p=p", "dd=[]"] {
        assert_eq!(jsonp(body, form), Err(Error::PayloadExpected), "{body}");
    }
    assert_eq!(jsonp("", "text/plain"), Err(Error::PayloadExpected));
    assert_eq!(jsonp("d=[%22x", form), Err(Error::BrokenJson));
    assert_eq!(jsonp("d=[\"x\"]", "text/plain"), Err(Error::BrokenJson));
}

/// JSON-like text, dense in what parsers get wrong.
fn body() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[\\[\\]\",\\\\a{}:1 ]{0,6}",
        Just("\"".to_owned()),
        Just("\",\"".to_owned()),
        "\\\\u[0-9a-fA-F]{4}",
        "\\\\u[dD][89a-fA-F][0-9a-f]{2}",
        "\\\\[bfnrtux/\"\\\\]",
        "\\PC{0,4}",
    ];
    let parts = proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat());
    prop_oneof![parts.clone(), parts.prop_map(|parts| format!("[\"{parts}\"]"))]
}

proptest! {
    #[test]
    fn it_agrees_with_serde_json(body in body()) {
        let expected = serde_json::from_str::<Vec<String>>(&body).ok();
        prop_assert_eq!(xhr(body.clone()).ok(), expected, "{}", body);
    }

    /// Catalogue: G13.
    #[test]
    fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let expected = serde_json::from_slice::<Vec<String>>(&body).ok();
        prop_assert_eq!(xhr(body).ok(), expected);
    }

    #[test]
    fn what_a_client_sends_arrives(
        texts in proptest::collection::vec("\\PC{0,30}|[\0-\x7f]{0,40}", 0..5),
    ) {
        let json = serde_json::to_string(&texts).unwrap();
        prop_assert_eq!(xhr(json.clone()).unwrap(), texts.clone());
        let form: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = jsonp(&format!("d={form}"), "application/x-www-form-urlencoded").unwrap();
        prop_assert_eq!(form, texts);
    }
}
