//! Frames, wrappings and preludes, byte by byte as the protocol's suite wants them.

use super::*;
use proptest::prelude::*;

const CALL: Wrapping<'static> = Wrapping::Call("cb");
const ALL: [Wrapping<'static>; 5] =
    [Wrapping::Bare, Wrapping::Line, Wrapping::Event, Wrapping::Script, CALL];

fn frame_of(texts: &[&str]) -> Frame {
    let mut messages = texts.iter().map(|text| {
        let mut out = Vec::new();
        push_message(&mut out, &[text.as_bytes()]);
        Bytes::from(out)
    });
    let first = messages.next().unwrap();
    Frame::Messages(Messages::new(first, messages.collect()))
}

fn wire(frame: &Frame, wrapping: Wrapping<'_>) -> String {
    let mut out = Vec::new();
    frame.encode(&mut out, wrapping);
    String::from_utf8(out).unwrap()
}

#[test]
fn frames_bare() {
    assert_eq!(wire(&Frame::Open, Wrapping::Bare), "o");
    assert_eq!(wire(&Frame::Heartbeat, Wrapping::Bare), "h");
    assert_eq!(wire(&frame_of(&["a", "b\n"]), Wrapping::Bare), r#"a["a","b\n"]"#);
    assert_eq!(wire(&Frame::Close(Close::GO_AWAY), Wrapping::Bare), r#"c[3000,"Go away!"]"#);
    let close = Frame::Close(Close::ANOTHER_CONNECTION);
    assert_eq!(wire(&close, Wrapping::Line), "c[2010,\"Another connection still open\"]\n");
}

#[test]
fn frames_wrapped() {
    let x = frame_of(&["x"]);
    assert_eq!(wire(&x, Wrapping::Line), "a[\"x\"]\n");
    assert_eq!(wire(&x, Wrapping::Event), "data: a[\"x\"]\r\n\r\n");
    assert_eq!(wire(&x, Wrapping::Script), "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n");
    assert_eq!(wire(&x, CALL), "/**/cb(\"a[\\\"x\\\"]\");\r\n");
    assert_eq!(wire(&Frame::Open, CALL), "/**/cb(\"o\");\r\n");
    assert_eq!(wire(&Frame::Open, Wrapping::Script), "<script>\np(\"o\");\n</script>\r\n");
}

#[test]
fn events_survive_decode_uri() {
    let frame = frame_of(&["100%41 %\r\n\0"]);
    let expected = "data: a[\"100%2541 %25\\r\\n\\u0000\"]\r\n\r\n";
    assert_eq!(wire(&frame, Wrapping::Event), expected);
}

/// Catalogue: G12.
#[test]
fn a_message_cannot_leave_its_script() {
    let frame = frame_of(&["</script><!--<script>"]);
    for wrapping in [Wrapping::Script, CALL] {
        let text = wire(&frame, wrapping);
        let inner = text.trim_start_matches("<script>").trim_end_matches("</script>\r\n");
        assert!(inner.contains("<\\/script>\\u003c!--\\u003cscript>"), "{inner}");
    }
}

#[test]
fn a_reason_is_bounded_and_escaped() {
    let close = Close::new(4000, "ä".repeat(100));
    assert_eq!((close.reason().len(), close.code), (122, 4000));
    let frame = Frame::Close(Close::new(1000, "say \"hi\"\n"));
    assert_eq!(wire(&frame, Wrapping::Bare), r#"c[1000,"say \"hi\"\n"]"#);
    let longest = "x".repeat(CLOSE_REASON_BYTES_MAX);
    assert_eq!(Close::new(1000, longest.clone()).reason(), longest);
}

#[test]
fn a_lone_message_is_known_as_such() {
    let (one, two) = (frame_of(&["x"]), frame_of(&["x", "y"]));
    let (Frame::Messages(one), Frame::Messages(two)) = (one, two) else { unreachable!() };
    assert_eq!(one.single().map(|bytes| &bytes[..]), Some(&b"\"x\""[..]));
    assert_eq!((two.single(), two.iter().count()), (None, 2));
}

#[test]
fn preludes() {
    let prelude = |transport| {
        let mut out = Vec::new();
        push_prelude(&mut out, transport, "callback");
        String::from_utf8(out).unwrap()
    };
    assert_eq!(prelude(Transport::XhrStreaming), "h".repeat(2048) + "\n");
    assert_eq!(prelude(Transport::EventSource), "\r\n");
    assert_eq!(prelude(Transport::Xhr), "");
    assert_eq!(prelude(Transport::Jsonp), "");
    let page = prelude(Transport::HtmlFile);
    assert!(page.len() > 1024 && page.ends_with(" \r\n\r\n"), "{}", page.len());
    assert!(page.starts_with("<!doctype html>\n<html><head>\n") && !page.contains("{{"));
    assert!(page.contains("\n    var c = parent.callback;\n    c.start();\n"));
    assert!(page.trim_end().ends_with("{c.stop();};\n  </script>"));
}

/// What a client makes of a wrapped frame: the frame.
fn unwrapped(text: &str, wrapping: Wrapping<'_>) -> String {
    let (before, behind) = wrapping.around();
    let inner = text.strip_prefix(&before.concat()).unwrap().strip_suffix(behind).unwrap();
    match wrapping {
        Wrapping::Bare | Wrapping::Line => inner.to_owned(),
        Wrapping::Event => inner.replace("%25", "%"),
        Wrapping::Script | Wrapping::Call(_) => {
            serde_json::from_str(&format!("\"{inner}\"")).unwrap()
        }
    }
}

proptest! {
    #[test]
    fn a_client_reads_what_was_sent(
        texts in proptest::collection::vec("\\PC{0,30}|[\0-\x7f]{0,40}", 1..4),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let frame = frame_of(&texts);
        for wrapping in ALL {
            let text = wire(&frame, wrapping);
            prop_assert_eq!(text.len(), frame.wrapped_bytes(wrapping));
            let bare = unwrapped(&text, wrapping);
            let read: Vec<String> = serde_json::from_str(bare.strip_prefix('a').unwrap()).unwrap();
            prop_assert_eq!(&read, &texts);
            let body = text.strip_prefix("<script>").unwrap_or(&text);
            let body = body.strip_suffix("</script>\r\n").unwrap_or(body);
            prop_assert!(wrapping != Wrapping::Script || !body.contains("</"));
        }
    }
}
