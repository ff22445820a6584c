//! WebSocket frames: any cut gives the same, and tungstenite agrees.
//!
//! Where we refuse what tungstenite takes, it must be one of the rules that it does not have.

use crate::source::{cuts, Source};
use std::io::{self, Cursor, Read, Write};
use stompede_core::limits::Limits;
use stompede_core::ws::close;
use stompede_core::ws::error::Error;
use stompede_core::ws::frame::{encode_masked, Opcode};
use stompede_core::ws::receiver::{Event, MessageKind, Receiver};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::Message;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// The first byte chooses raw bytes, or frames that are well-formed to begin with.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let stream = match source.below(2) {
        0 => source.rest().to_vec(),
        _ => frames(source),
    };
    let limits =
        Limits { ws_message_bytes_max: 600, ws_fragments_count_max: 6, ..Limits::default() };
    let (events, error) = receive(&stream, stream.len(), &limits);
    for cut in cuts(&stream) {
        assert_eq!(receive(&stream, cut, &limits), (events.clone(), error), "cut at {cut}");
    }
    compare(&stream, &events, error, &limits);
}

fn frames(mut source: Source<'_>) -> Vec<u8> {
    const OPCODES: [Opcode; 6] = [
        Opcode::Continuation,
        Opcode::Text,
        Opcode::Binary,
        Opcode::Close,
        Opcode::Ping,
        Opcode::Pong,
    ];
    let mut stream = Vec::new();
    while !source.is_empty() {
        let (opcode, is_final) = (source.pick(&OPCODES), source.below(4) != 0);
        let key = [source.byte(), 0, 7, source.byte()];
        let repeat = [1, 1, 1, 3][source.below(4)];
        let payload = source.bytes(200).repeat(repeat);
        let start = stream.len();
        encode_masked(&mut stream, opcode, key, &payload);
        if !is_final {
            stream[start] &= 0x7f;
        }
    }
    stream
}

/// All events up to the first close, when the stream comes in two reads.
fn receive(stream: &[u8], cut: usize, limits: &Limits) -> (Vec<Owned>, Option<Error>) {
    let mut receiver = Receiver::new(None);
    let (mut buffer, mut events, mut message) = (Vec::new(), Vec::new(), Vec::new());
    for read in [&stream[..cut], &stream[cut..]] {
        buffer.extend_from_slice(read);
        loop {
            let (event, used) = match receiver.next_event(&mut buffer, limits) {
                Err(error) => return (events, Some(error)),
                Ok(None) => break,
                Ok(Some(found)) => found,
            };
            match event {
                Event::Data { kind, payload, starts, ends, compressed } => {
                    assert!(!compressed && (!starts || message.is_empty()));
                    message.extend_from_slice(payload);
                    if ends {
                        events.push(Owned::Message(kind, std::mem::take(&mut message)));
                    }
                }
                Event::Ping(payload) => events.push(Owned::Ping(payload.to_vec())),
                Event::Pong(payload) => events.push(Owned::Pong(payload.to_vec())),
                Event::Close { code, reason } => {
                    events.push(Owned::Close(code, reason.to_owned()));
                    return (events, None);
                }
            }
            assert!(used > 0);
            buffer.drain(..used);
        }
    }
    (events, None)
}

/// What tungstenite reads from; what it answers is dropped.
struct Pipe<'a>(Cursor<&'a [u8]>);

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compare(stream: &[u8], events: &[Owned], error: Option<Error>, limits: &Limits) {
    let bytes_max = limits.ws_message_bytes_max as usize;
    let config = WebSocketConfig::default()
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    let pipe = Pipe(Cursor::new(stream));
    let mut other = WebSocket::from_raw_socket(pipe, Role::Server, Some(config));
    let mut theirs = Vec::new();
    let refusal = loop {
        match other.read() {
            Ok(Message::Text(text)) => {
                theirs.push(Owned::Message(MessageKind::Text, text.as_bytes().to_vec()));
            }
            Ok(Message::Binary(bytes)) => {
                theirs.push(Owned::Message(MessageKind::Binary, bytes.to_vec()));
            }
            Ok(Message::Ping(bytes)) => theirs.push(Owned::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => theirs.push(Owned::Pong(bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                let reason = frame.map_or(String::new(), |frame| frame.reason.to_string());
                theirs.push(Owned::Close(code, reason));
                break None;
            }
            Ok(Message::Frame(_)) => {}
            Err(tungstenite::Error::Io(_)) => break None,
            Err(refusal) => break Some(refusal),
        }
    };
    match error {
        None => {
            assert!(refusal.is_none(), "tungstenite refuses: {refusal:?}");
            assert_eq!(events, theirs);
        }
        Some(error) => {
            let common = events.len().min(theirs.len());
            assert_eq!(events[..common], theirs[..common]);
            // It may stop before us, where a frame is refused at its head; it may go on only
            // where it has no rule.
            assert_eq!(common, events.len(), "tungstenite: {refusal:?}, we: {error}");
            let is_further = refusal.is_none() && theirs.len() > common;
            assert!(!is_further || is_ours_alone(error), "tungstenite takes: {error}");
        }
    }
    if let Some(Owned::Close(Some(code), _)) = events.last() {
        assert!(close::is_valid_code(*code));
    }
}

/// Rules that tungstenite does not have. A control frame's length in more bytes than it needs is
/// too long to us, whatever it is.
fn is_ours_alone(error: Error) -> bool {
    matches!(
        error,
        Error::ControlTooLong
            | Error::LengthNotMinimal
            | Error::TooManyFragments { .. }
            | Error::CloseCode(_)
    )
}
