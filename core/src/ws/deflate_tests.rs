//! Tests of compression: the examples of RFC 7692 §7.2.3, rows F01-F09 of the hostile-case table,
//! round trips through any frames and reads.
//!
//! Kept out of `deflate.rs` for its length. What we compress is read back with an inflater of the
//! very window that was agreed on, not with our own, which would forgive too large a window.

use super::*;
use crate::ws::frame::{encode_masked, Opcode, RSV1};
use crate::ws::receiver::{Event, Receiver};
use flate2::Compress;
use proptest::prelude::*;

fn inflate(payload: &[u8]) -> Result<Vec<u8>, Error> {
    let limits = Limits::default();
    Inflater::default().inflate(payload, u64::MAX, &limits).map(|message| message.to_vec())
}

fn deflate(window: Window, message: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 2, 3];
    assert!(Deflater::new(window).deflate(message, &mut out));
    out
}

/// What a client with a window of `bits` makes of a payload of ours.
fn read_as_client(bits: u8, payload: &[u8], message_bytes: usize) -> Vec<u8> {
    let mut decompress = Decompress::new_with_window_bits(false, bits);
    let mut out = Vec::with_capacity(message_bytes + 64);
    let input = [payload, &FLUSH_TAIL].concat();
    decompress.decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
    assert_eq!(decompress.total_in(), input.len() as u64);
    out
}

/// Raw deflate of zlib's best, as a hostile client may prepare it.
fn raw_deflate(message: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(message.len() + 1_024);
    compress.compress_vec(message, &mut out, flush).unwrap();
    assert_eq!(compress.total_in(), message.len() as u64);
    out
}

/// A masked frame with exactly this first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked(&mut out, Opcode::Binary, [9, 8, 7, 6], payload);
    out[0] = first;
    out
}

/// Feeds `stream` in reads of `read` bytes to a connection with permessage-deflate; messages are
/// joined and inflated as a server does it.
fn receive(stream: &[u8], read: usize) -> Result<Vec<Vec<u8>>, Error> {
    let (limits, mut inflater) = (Limits::default(), Inflater::default());
    let mut receiver = Receiver::new(Some(Window::Bits15));
    let (mut buffer, mut payload_so_far, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for piece in stream.chunks(read.max(1)) {
        buffer.extend_from_slice(piece);
        while let Some((event, used)) = receiver.next_event(&mut buffer, &limits)? {
            if let Event::Data { compressed, payload, ends, .. } = event {
                payload_so_far.extend_from_slice(payload);
                if ends && compressed {
                    let whole = inflater.inflate(&payload_so_far, u64::MAX, &limits)?;
                    messages.push(whole.to_vec());
                } else if ends {
                    messages.push(payload_so_far.clone());
                }
                if ends {
                    payload_so_far.clear();
                }
            }
            buffer.drain(..used);
        }
    }
    Ok(messages)
}

const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn section_7_2_3_1_a_message_compressed_in_one_block() {
    for window in Window::ALL {
        assert_eq!(deflate(window, b"Hello"), HELLO);
    }
    assert_eq!(inflate(&HELLO).unwrap(), b"Hello");
    let hello = vec![b"Hello".to_vec()];
    assert_eq!(receive(&frame(0xc1, &HELLO), 64), Ok(hello.clone()));
    let fragments = [frame(0x41, &HELLO[..3]), frame(0x80, &HELLO[3..])].concat();
    for read in 1..fragments.len() {
        assert_eq!(receive(&fragments, read), Ok(hello.clone()), "{read}");
    }
}

#[test]
fn section_7_2_3_2_a_shared_window_is_refused_because_it_was_not_agreed_on() {
    let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let limits = Limits::default();
    let mut inflater = Inflater::default();
    assert_eq!(inflater.inflate(&HELLO, u64::MAX, &limits).unwrap(), b"Hello");
    assert_eq!(inflater.inflate(&second, u64::MAX, &limits), Err(Error::NotDeflate));
    // What we send never shares one: twice the same message is twice the same bytes.
    let (mut deflater, mut out) = (Deflater::new(Window::Bits15), Vec::new());
    for _ in 0..2 {
        assert!(deflater.deflate(b"Hello", &mut out));
        assert_eq!(out, HELLO);
    }
}

#[test]
fn section_7_2_3_3_to_6_other_blocks() {
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    assert_eq!(inflate(&stored).unwrap(), b"Hello");
    let last_block_set = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    assert_eq!(inflate(&last_block_set).unwrap(), b"Hello");
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflate(&two_blocks).unwrap(), b"Hello");
    assert_eq!(inflate(&[0x00]).unwrap(), b"");
    // §7.2.3.6: "a single byte 0x00".
    assert_eq!(deflate(Window::Bits15, b""), [0x00]);
}

/// Found by fuzzing: what we put behind a message was read as one more byte of it.
#[test]
fn a_block_that_is_open_at_the_end_is_refused() {
    for cut in [&b"{u\xff\xff"[..], &HELLO[..5], &HELLO[..6]] {
        assert_eq!(inflate(cut), Err(Error::NotDeflate), "{cut:?}");
    }
}

#[test]
fn f01_a_bomb_costs_no_more_than_its_limit() {
    let bomb = raw_deflate(&vec![0; 64 << 20], FlushCompress::Sync);
    assert!(bomb.len() < 70_000);
    let mut inflater = Inflater::default();
    let limits = Limits { ws_inflate_ratio_max: u32::MAX, ..Limits::default() };
    let limit = limits.ws_message_bytes_max;
    let Err(Error::MessageTooBig { seen, limit: named }) =
        inflater.inflate(&bomb, u64::MAX, &limits)
    else {
        panic!("64 MiB are over the limit");
    };
    assert!(named == limit && seen > limit && seen <= limit + STEP_BYTES as u64);
    assert!(inflater.out.capacity() as u64 <= 2 * limit, "{}", inflater.out.capacity());
    let limits = Limits::default();
    // Before the log-in, 64 KiB.
    let error = inflater.inflate(&bomb, 65_536, &limits).unwrap_err();
    assert!(matches!(error, Error::MessageTooBig { limit: 65_536, .. }), "{error}");
    // F06: what follows an error is not touched by it.
    assert_eq!(inflater.inflate(&HELLO, u64::MAX, &limits).unwrap(), b"Hello");
    assert!(inflater.out.capacity() <= KEPT_BYTES + STEP_BYTES, "the room is given back");
}

#[test]
fn f01_the_limit_itself_is_allowed_and_one_more_byte_is_not() {
    let limits = Limits { ws_message_bytes_max: 100_000, ..Limits::default() };
    let text: Vec<u8> =
        (0..100_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut inflater = Inflater::default();
    let at_limit = deflate(Window::Bits15, &text[..100_000]);
    assert_eq!(inflater.inflate(&at_limit, u64::MAX, &limits).unwrap(), &text[..100_000]);
    let over = deflate(Window::Bits15, &text);
    let error = Error::MessageTooBig { seen: 100_001, limit: 100_000 };
    assert_eq!(inflater.inflate(&over, u64::MAX, &limits), Err(error));
}

#[test]
fn f01_the_ratio_counts_above_64_kib() {
    let limits = Limits::default();
    let mut inflater = Inflater::default();
    let zeros = vec![0; WS_INFLATED_BYTES_UNRATED as usize + 1];
    let small = deflate(Window::Bits15, &zeros[1..]);
    assert!(small.len() < 100);
    assert_eq!(inflater.inflate(&small, u64::MAX, &limits).unwrap(), &zeros[1..]);
    let error = Error::InflateRatio { limit: 256 };
    let over = deflate(Window::Bits15, &zeros);
    assert_eq!(inflater.inflate(&over, u64::MAX, &limits), Err(error));
    let generous = Limits { ws_inflate_ratio_max: 1_100, ..limits };
    assert_eq!(inflater.inflate(&over, u64::MAX, &generous).unwrap(), &zeros);
}

#[test]
fn f04_rsv1_only_on_the_first_frame_of_a_data_message() {
    let refused = Err(Error::ReservedBits);
    assert_eq!(receive(&[frame(0x41, &HELLO), frame(0xc0, b"")].concat(), 64), refused);
    for control in [0xc8, 0xc9, 0xca] {
        assert_eq!(receive(&frame(control, b""), 64), refused, "{control:x}");
    }
    for reserved in [0xa1, 0x91, 0xe1, 0xd1, 0xf1] {
        assert_eq!(receive(&frame(reserved, &HELLO), 64), refused, "{reserved:x}");
    }
    // E03: not agreed on. The first byte is enough.
    let limits = Limits::default();
    assert_eq!(Receiver::default().next_event(&mut [0xc1], &limits), Err(Error::ReservedBits));
    // Plain messages and control frames may come between compressed ones and their fragments.
    let stream = [
        frame(0x81, b"plain"),
        frame(0x41, &HELLO[..2]),
        frame(0x89, b"ping"),
        frame(0x80, &HELLO[2..]),
        frame(0x82, &HELLO),
    ];
    let expected = vec![b"plain".to_vec(), b"Hello".to_vec(), HELLO.to_vec()];
    assert_eq!(receive(&stream.concat(), 7), Ok(expected));
}

#[test]
fn f05_what_is_broken_cut_or_followed_by_more_is_refused() {
    assert_eq!(inflate(b""), Err(Error::NotDeflate));
    for cut in 0..HELLO.len() - 1 {
        assert_eq!(inflate(&HELLO[..cut]), Err(Error::NotDeflate), "{cut}");
    }
    for garbage in [&b"\xff"[..], b"\x07", b"Hello", b"\x00\x05\x00\xfa\xfe", b"\xf2\x48\xcd\xff"] {
        assert_eq!(inflate(garbage), Err(Error::NotDeflate), "{garbage:x?}");
    }
    let trailing = [&HELLO[..], b"\xff\xff"].concat();
    assert_eq!(inflate(&trailing), Err(Error::NotDeflate));
    // A last block without the byte 00 that §7.2.3.4 puts behind it.
    assert_eq!(inflate(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), Err(Error::NotDeflate));
    // §7.2.1: the sender removes the flush's tail; with it, it takes another empty block to go on.
    let unremoved = raw_deflate(b"Hello", FlushCompress::Sync);
    assert_eq!(inflate(&unremoved), Err(Error::NotDeflate));
    assert_eq!(inflate(&[&unremoved[..], b"\0"].concat()).unwrap(), b"Hello");
}

#[test]
fn f09_a_stored_head_goes_before_a_shared_tail() {
    let tail = b"destination:/topic/a\n\n{\"a\":1,\"a\":1,\"a\":1}\0".repeat(200);
    for window in Window::ALL {
        let shared = deflate(window, &tail);
        assert!(shared.len() < tail.len() / 10);
        for head in [&b"MESSAGE\nsubscription:1\n"[..], b"", &[b'x'; 65_535]] {
            let header = stored_block_header(head.len() as u16);
            let payload = [&header[..], head, &shared].concat();
            let message = [head, &tail].concat();
            assert_eq!(read_as_client(window.bits(), &payload, message.len()), message);
        }
    }
}

#[test]
fn a_connection_pays_nothing_at_rest() {
    // The receiver holds the window agreed on, one byte, in room that was there before.
    assert_eq!(size_of::<Receiver>(), 24);
    assert_eq!(size_of::<Option<Window>>(), 1);
}

proptest! {
    #[test]
    fn what_we_compress_every_client_reads(
        words in proptest::collection::vec(0u8..4, 0..3_000),
        noise in proptest::collection::vec(any::<u8>(), 0..1_500),
        window in proptest::sample::select(&Window::ALL[..]),
    ) {
        let names = [&b"price"[..], b"\"volume\":", b"0", b"{\"symbol\":\"ABC\","];
        let mut message: Vec<u8> =
            words.iter().flat_map(|&word| names[usize::from(word)]).copied().collect();
        message.extend_from_slice(&noise);
        message.extend_from_slice(&message.clone());
        let payload = deflate(window, &message);
        prop_assert_eq!(&read_as_client(window.bits(), &payload, message.len()), &message);
        prop_assert_eq!(&inflate(&payload).unwrap(), &message);
    }

    #[test]
    fn any_frames_and_reads_give_the_message(
        message in proptest::collection::vec(97u8..101, 0..600),
        fragment in 1usize..90,
        read in 1usize..90,
        block in 1usize..300,
    ) {
        // A client may flush as often as it likes.
        let mut compress = Compress::new(Compression::fast(), false);
        let mut payload = Vec::with_capacity(8_192);
        for piece in message.chunks(block) {
            compress.compress_vec(piece, &mut payload, FlushCompress::Sync).unwrap();
        }
        payload.truncate(payload.len().saturating_sub(4));
        let pieces: Vec<&[u8]> = payload.chunks(fragment).collect();
        let count = pieces.len();
        let mut stream = Vec::new();
        for (i, piece) in pieces.into_iter().enumerate() {
            let opcode = if i == 0 { 2 | RSV1 } else { 0 };
            let fin = if i + 1 == count { 0x80 } else { 0 };
            stream.extend(frame(fin | opcode, piece));
            stream.extend(frame(0x8a, b""));
        }
        let expected = if count == 0 { Vec::new() } else { vec![message] };
        prop_assert!(count > 128 || receive(&stream, read) == Ok(expected));
    }

    #[test]
    fn no_payload_makes_it_panic_or_pass_the_limit(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        bytes_max in 0u64..2_000,
    ) {
        let limits = Limits::default();
        if let Ok(message) = Inflater::default().inflate(&payload, bytes_max, &limits) {
            prop_assert!(message.len() as u64 <= bytes_max);
        }
    }

    #[test]
    fn every_cut_of_a_message_is_refused_or_shorter(
        message in proptest::collection::vec(97u8..105, 1..400), at: prop::sample::Index,
    ) {
        let payload = deflate(Window::Bits15, &message);
        if let Ok(seen) = inflate(&payload[..at.index(payload.len())]) {
            prop_assert!(seen.len() <= message.len());
        }
    }
}
