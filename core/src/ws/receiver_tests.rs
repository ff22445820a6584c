//! Tests of the receiver: one per row of the hostile-case table E, and every split.
//!
//! Kept out of `receiver.rs` for its length. Names start with the row of the table (E01, E09, ...)
//! they prove. The properties at the end say that it makes no difference in what pieces a stream
//! arrives, good or bad; pieces of a message are joined before they are compared.

use super::*;
use crate::ws::frame::encode_masked;
use proptest::prelude::*;

/// An event with its bytes owned, data pieces joined to messages.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// A frame as a client sends it.
fn frame(opcode: Opcode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked(&mut out, opcode, [0x12, 0x34, 0x56, 0x78], payload);
    if !is_final {
        out[0] &= 0x7f;
    }
    out
}

/// Feeds `stream` in reads of the sizes given, the last one repeated, and drains after each read.
/// Returns the events, the error, and whether a message was left open.
fn run(stream: &[u8], reads: &[usize], limits: &Limits) -> (Vec<Owned>, Option<Error>, bool) {
    let mut receiver = Receiver::default();
    let (mut buffer, mut events, mut message) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fed, mut read) = (0, 0);
    while fed < stream.len() {
        let size = reads[read.min(reads.len() - 1)].max(1).min(stream.len() - fed);
        read += 1;
        buffer.extend_from_slice(&stream[fed..fed + size]);
        fed += size;
        loop {
            let was_mid = receiver.is_mid_message();
            let (event, used) = match receiver.next_event(&mut buffer, limits) {
                Err(error) => return (events, Some(error), was_mid),
                Ok(None) => break,
                Ok(Some(found)) => found,
            };
            match event {
                Event::Data { kind, payload, starts, ends, .. } => {
                    assert_eq!(starts, !was_mid);
                    message.extend_from_slice(payload);
                    if ends {
                        events.push(Owned::Message(kind, std::mem::take(&mut message)));
                    }
                }
                Event::Ping(payload) => events.push(Owned::Ping(payload.to_vec())),
                Event::Pong(payload) => events.push(Owned::Pong(payload.to_vec())),
                Event::Close { code, reason } => events.push(Owned::Close(code, reason.into())),
            }
            assert!(used > 0);
            buffer.drain(..used);
        }
    }
    (events, None, receiver.is_mid_message())
}

fn all(stream: &[u8]) -> (Vec<Owned>, Option<Error>, bool) {
    run(stream, &[usize::MAX], &Limits::default())
}

fn text(payload: &str) -> Owned {
    Owned::Message(MessageKind::Text, payload.as_bytes().to_vec())
}

#[test]
fn e09_control_frames_may_come_between_fragments() {
    let stream = [
        frame(Opcode::Text, false, b"Hel"),
        frame(Opcode::Ping, true, b"p"),
        frame(Opcode::Continuation, false, b""),
        frame(Opcode::Pong, true, b""),
        frame(Opcode::Continuation, true, b"lo"),
        frame(Opcode::Binary, true, b"\xff\x00"),
        frame(Opcode::Close, true, b"\x03\xe8bye"),
    ]
    .concat();
    let expected = vec![
        Owned::Ping(b"p".to_vec()),
        Owned::Pong(Vec::new()),
        text("Hello"),
        Owned::Message(MessageKind::Binary, vec![0xff, 0]),
        Owned::Close(Some(1000), "bye".into()),
    ];
    assert_eq!(all(&stream), (expected.clone(), None, false));
    for cut in 1..stream.len() {
        assert_eq!(run(&stream, &[cut, usize::MAX], &Limits::default()).0, expected, "{cut}");
    }
    assert_eq!(run(&stream, &[1], &Limits::default()).0, expected);
}

#[test]
fn e08_continuations_need_a_start_and_messages_do_not_nest() {
    let lone = frame(Opcode::Continuation, true, b"a");
    assert_eq!(all(&lone).1, Some(Error::ContinuationWithoutStart));
    for opcode in [Opcode::Text, Opcode::Binary] {
        let stream = [frame(Opcode::Text, false, b"a"), frame(opcode, true, b"b")].concat();
        assert_eq!(all(&stream).1, Some(Error::DataInsideMessage));
    }
    let after = [frame(Opcode::Text, true, b"a"), lone].concat();
    assert_eq!(all(&after), (vec![text("a")], Some(Error::ContinuationWithoutStart), false));
}

#[test]
fn e01_to_e07_bad_heads_are_passed_on() {
    assert_eq!(all(&[0x81, 5]).1, Some(Error::NotMasked));
    assert_eq!(all(&[0xc1]).1, Some(Error::ReservedBits));
    assert_eq!(all(&[0x83]).1, Some(Error::ReservedOpcode(3)));
    assert_eq!(all(&[0x09]).1, Some(Error::ControlFragmented));
    assert_eq!(all(&[0x89, 0xfe]).1, Some(Error::ControlTooLong));
    assert_eq!(all(&[0x82, 0xfe, 0, 5]).1, Some(Error::LengthNotMinimal));
}

#[test]
fn e10_bad_text_fails_with_the_byte_that_is_bad() {
    // A message of 100 bytes is announced, its 3rd byte is bad, the rest never comes.
    let whole = frame(Opcode::Text, true, &[b"ab\xff".to_vec(), vec![b'a'; 97]].concat());
    assert_eq!(run(&whole[..8], &[1], &Limits::default()).1, None);
    assert_eq!(run(&whole[..9], &[1], &Limits::default()).1, Some(Error::TextNotUtf8));
    // A surrogate cut over two fragments fails with its second byte.
    let cut = [frame(Opcode::Text, false, b"\xed"), frame(Opcode::Continuation, false, b"\xa0")];
    assert_eq!(all(&cut.concat()).1, Some(Error::TextNotUtf8));
    // A code point that the end of the message cuts off.
    assert_eq!(all(&frame(Opcode::Text, true, b"\xe2\x82")).1, Some(Error::TextNotUtf8));
    let open = [frame(Opcode::Text, false, b"\xe2"), frame(Opcode::Continuation, true, b"")];
    assert_eq!(all(&open.concat()).1, Some(Error::TextNotUtf8));
    assert_eq!(all(&frame(Opcode::Binary, true, b"\xff")).1, None);
}

#[test]
fn e11_a_code_point_over_four_fragments_with_pings_between() {
    let mut stream = Vec::new();
    for (i, byte) in "\u{1f600}".bytes().enumerate() {
        let opcode = if i == 0 { Opcode::Text } else { Opcode::Continuation };
        stream.extend(frame(opcode, i == 3, &[byte]));
        stream.extend(frame(Opcode::Ping, true, b"\xff"));
    }
    for reads in [[1], [4], [usize::MAX]] {
        let (events, error, _) = run(&stream, &reads, &Limits::default());
        assert_eq!((events.len(), error), (5, None));
        assert!(events.contains(&text("\u{1f600}")));
    }
}

#[test]
fn e13_e14_fragments_are_capped() {
    for payload in [&b""[..], b"a"] {
        let mut stream = frame(Opcode::Binary, false, payload);
        for _ in 0..127 {
            stream.extend(frame(Opcode::Continuation, false, payload));
        }
        assert_eq!(all(&stream), (vec![], None, true));
        stream.extend(frame(Opcode::Continuation, true, payload));
        let error = Error::TooManyFragments { seen: 129, limit: 128 };
        assert_eq!(all(&stream).1, Some(error));
    }
}

#[test]
fn e18_the_message_limit_is_exact_by_one_frame_and_by_fragments() {
    let limits = Limits { ws_message_bytes_max: 200, ..Limits::default() };
    let one = |bytes| run(&frame(Opcode::Binary, true, &vec![7; bytes]), &[50], &limits).1;
    let error = Some(Error::MessageTooBig { seen: 201, limit: 200 });
    assert_eq!((one(200), one(201)), (None, error));
    let two = |bytes| {
        let first = frame(Opcode::Binary, false, &[7; 100]);
        let second = frame(Opcode::Continuation, true, &vec![7; bytes]);
        // The head alone is enough for the refusal.
        run(&[first, second[..6].to_vec()].concat(), &[50], &limits).1
    };
    assert_eq!((two(100), two(101)), (None, error));
    // The count starts again with each message.
    let stream = frame(Opcode::Binary, true, &[7; 200]).repeat(3);
    assert_eq!(run(&stream, &[50], &limits).0.len(), 3);
}

#[test]
fn a_small_message_limit_does_not_forbid_control_frames() {
    let limits = Limits { ws_message_bytes_max: 1, ..Limits::default() };
    assert_eq!(run(&frame(Opcode::Ping, true, &[1; 125]), &[9], &limits).1, None);
}

#[test]
fn e20_e21_close_payloads_are_checked() {
    let close = |payload: &[u8]| all(&frame(Opcode::Close, true, payload));
    assert_eq!(close(b"").0, [Owned::Close(None, String::new())]);
    assert_eq!(close(b"\x03").1, Some(Error::CloseTooShort));
    assert_eq!(close(b"\x03\xed").1, Some(Error::CloseCode(1005)));
    assert_eq!(close(b"\x03\xe8\xff").1, Some(Error::CloseReasonNotUtf8));
    let longest = [b"\x03\xe8".to_vec(), vec![b'r'; 123]].concat();
    assert_eq!(close(&longest).0, [Owned::Close(Some(1000), "r".repeat(123))]);
    let longer = [longest, vec![b'r']].concat();
    assert_eq!(close(&longer).1, Some(Error::ControlTooLong));
}

#[test]
fn nothing_changes_while_more_is_needed() {
    let ping = frame(Opcode::Ping, true, b"hello");
    let head = &frame(Opcode::Text, true, b"hello")[..6];
    for part in [&ping[..ping.len() - 1], head, &[]] {
        let (mut receiver, mut buffer) = (Receiver::default(), part.to_vec());
        for _ in 0..2 {
            assert_eq!(receiver.next_event(&mut buffer, &Limits::default()), Ok(None));
            assert_eq!((&buffer[..], receiver.is_mid_message()), (part, false));
        }
    }
}

#[test]
fn pieces_are_handed_out_as_they_arrive() {
    let mut stream = frame(Opcode::Text, true, b"abcdef");
    let mut receiver = Receiver::default();
    let (head, tail) = stream.split_at_mut(8);
    let (event, used) = receiver.next_event(head, &Limits::default()).unwrap().unwrap();
    let mut expected = *b"ab";
    let payload = &mut expected[..];
    let kind = MessageKind::Text;
    assert_eq!(
        (event, used),
        (Event::Data { kind, compressed: false, payload, starts: true, ends: false }, 8)
    );
    assert!(receiver.is_mid_message());
    assert_eq!(receiver.next_event(&mut [], &Limits::default()), Ok(None));
    let (event, used) = receiver.next_event(tail, &Limits::default()).unwrap().unwrap();
    let mut expected = *b"cdef";
    let payload = &mut expected[..];
    assert_eq!(
        (event, used),
        (Event::Data { kind, compressed: false, payload, starts: false, ends: true }, 4)
    );
    assert!(!receiver.is_mid_message());
}

/// Small limits, so that random streams run into them.
fn small() -> Limits {
    Limits { ws_message_bytes_max: 300, ws_fragments_count_max: 4, ..Limits::default() }
}

/// Any message with its fragments, a control frame, or a frame out of place.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let payload = || {
        prop_oneof![
            "\\PC{0,30}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..140),
        ]
    };
    let message = |payload: Vec<u8>, size: usize, opcode: Opcode| {
        let pieces: Vec<&[u8]> = payload.chunks(size).collect();
        let last = pieces.len().saturating_sub(1);
        let mut out = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let opcode = if i == 0 { opcode } else { Opcode::Continuation };
            out.extend(frame(opcode, i == last, piece));
        }
        out
    };
    let control = prop_oneof![Just(Opcode::Ping), Just(Opcode::Pong), Just(Opcode::Close)];
    prop_oneof![
        8 => ("\\PC{1,60}", 1usize..90).prop_map(move |(text, size)| {
            message(text.into_bytes(), size, Opcode::Text)
        }),
        4 => (proptest::collection::vec(any::<u8>(), 1..400), 60usize..200)
            .prop_map(move |(bytes, size)| message(bytes, size, Opcode::Binary)),
        4 => (control, "[a-z]{0,20}").prop_map(|(opcode, text)| match opcode {
            Opcode::Close => frame(opcode, true, format!("\u{3}\u{7f}{text}").as_bytes()),
            _ => frame(opcode, true, text.as_bytes()),
        }),
        1 => (any::<bool>(), payload()).prop_map(|(is_final, payload)| {
            frame(Opcode::Continuation, is_final, &payload)
        }),
        1 => (any::<bool>(), payload()).prop_map(|(is_final, payload)| {
            frame(Opcode::Text, is_final, &payload)
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..10),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn e12_any_split_gives_the_same_events_and_errors(
        parts in proptest::collection::vec(part(), 0..8),
        reads in proptest::collection::vec(1usize..150, 1..20),
    ) {
        let stream = parts.concat();
        let (events, error, _) = run(&stream, &[usize::MAX], &small());
        let (split_events, split_error, _) = run(&stream, &reads, &small());
        prop_assert_eq!((&split_events, split_error), (&events, error));
        let (byte_events, byte_error, _) = run(&stream, &[1], &small());
        prop_assert_eq!((&byte_events, byte_error), (&events, error));
    }

    #[test]
    fn what_was_sent_is_what_arrives(
        messages in proptest::collection::vec(("\\PC{0,200}", 1usize..70), 0..6),
        reads in proptest::collection::vec(1usize..40, 1..10),
    ) {
        let mut stream = Vec::new();
        for (message, size) in &messages {
            let mut opcode = Opcode::Text;
            for piece in message.as_bytes().chunks(*size) {
                stream.extend(frame(opcode, false, piece));
                stream.extend(frame(Opcode::Ping, true, b""));
                opcode = Opcode::Continuation;
            }
            stream.extend(frame(opcode, true, b""));
        }
        let limits = Limits { ws_fragments_count_max: u32::MAX, ..Limits::default() };
        let (mut events, error, is_mid) = run(&stream, &reads, &limits);
        events.retain(|event| matches!(event, Owned::Message(..)));
        let expected: Vec<Owned> = messages.iter().map(|(message, _)| text(message)).collect();
        prop_assert_eq!((events, error, is_mid), (expected, None, false));
    }
}
