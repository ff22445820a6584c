//! Permessage-deflate: what any client sends is inflated as flate2 alone would, within the limits;
//! what we compress is read by a client with the window that was agreed on.

use crate::source::Source;
use flate2::{Decompress, FlushDecompress, Status};
use stompede_core::limits::{Limits, WS_INFLATED_BYTES_UNRATED};
use stompede_core::ws::deflate::{stored_block_header, Deflater, Inflater};
use stompede_core::ws::extensions::Window;
use stompede_core::ws::frame::{encode_masked, Opcode, RSV1};
use stompede_core::ws::receiver::{Event, Receiver};

/// RFC 7692 §7.2.1.
const FLUSH_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The first byte chooses a payload to inflate or a message to compress.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    match source.below(2) {
        0 => inflate(source),
        _ => deflate(source),
    }
}

fn inflate(mut source: Source<'_>) {
    let limit = [100, 70_000, 140_000][source.below(3)];
    let limits = Limits { ws_message_bytes_max: limit, ..Limits::default() };
    let mut inflater = Inflater::default();
    let payload = source.rest();
    let Ok(message) = inflater.inflate(payload, u64::MAX, &limits) else { return };
    let (size, ratio_max) = (message.len() as u64, u64::from(limits.ws_inflate_ratio_max));
    assert!(size <= limit);
    assert!(size <= WS_INFLATED_BYTES_UNRATED || size <= payload.len() as u64 * ratio_max);
    assert_eq!(Some(&*message), plain_inflate(15, payload, limit as usize).as_deref());
    let message = message.to_vec();
    // Nothing of one message is in the next.
    assert_eq!(inflater.inflate(payload, u64::MAX, &limits), Ok(&mut message.clone()[..]));
}

/// `None` if it is broken or larger than `bytes_max`.
fn plain_inflate(bits: u8, payload: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let input = [payload, &FLUSH_TAIL].concat();
    let mut decompress = Decompress::new_with_window_bits(false, bits);
    let (mut rest, mut out) = (&input[..], Vec::new());
    loop {
        out.reserve(4_096);
        let consumed = decompress.total_in();
        let status = decompress.decompress_vec(rest, &mut out, FlushDecompress::Sync).ok()?;
        rest = &rest[(decompress.total_in() - consumed) as usize..];
        if out.len() > bytes_max {
            return None;
        }
        if status == Status::StreamEnd {
            // §7.2.3.4: behind a last block another stream begins.
            decompress.reset(false);
        }
        if rest.is_empty() && out.len() < out.capacity() {
            return Some(out);
        }
    }
}

fn deflate(mut source: Source<'_>) {
    let window = source.pick(&Window::ALL);
    let repeat = [1, 1, 3, 100][source.below(4)];
    let head = source.bytes(40);
    let message = source.rest().repeat(repeat);
    let mut tail = Vec::new();
    let mut deflater = Deflater::new(window);
    assert!(deflater.deflate(&message, &mut tail));
    let mut payload = stored_block_header(head.len() as u16).to_vec();
    payload.extend_from_slice(head);
    payload.extend_from_slice(&tail);
    let whole = [head, &message].concat();
    let bytes_max = whole.len();
    assert_eq!(plain_inflate(window.bits(), &payload, bytes_max).as_ref(), Some(&whole));
    assert_eq!(receive(&payload), whole);
}

/// The way of a compressed message through a server: receiver, then inflater.
fn receive(payload: &[u8]) -> Vec<u8> {
    let limits = Limits {
        ws_message_bytes_max: 64 << 20,
        ws_inflate_ratio_max: u32::MAX,
        ..Limits::default()
    };
    let mut stream = Vec::new();
    encode_masked(&mut stream, Opcode::Binary, [1, 2, 3, 4], payload);
    stream[0] |= RSV1;
    let mut receiver = Receiver::new(Some(Window::Bits15));
    let Ok(Some((Event::Data { payload, compressed: true, ends: true, .. }, _))) =
        receiver.next_event(&mut stream, &limits)
    else {
        panic!("a compressed message in one frame");
    };
    let mut inflater = Inflater::default();
    inflater.inflate(payload, u64::MAX, &limits).expect("our own").to_vec()
}
