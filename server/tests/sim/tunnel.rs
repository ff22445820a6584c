//! A naive SockJS client: a byte stream in requests of its own choice, to any shard.
//!
//! One request that sends and one that receives are under way, by polls, streams and event streams
//! in turn, on new connections or used ones. Now and then it asks for frames a second time, sends
//! to a session that it guessed, or is refused before it is accepted, and checks the answers: whole
//! frames only, one a chunk, `o` first, 2010 for the second, 404 for the guess. What it carries is
//! checked by [`crate::client`], as over any other line.

use std::collections::VecDeque;
use stompede::reactor::sim::{Read, Rng, SimNet, SocketId};

/// Bytes that wait to be sent.
const TEXT_BYTES_MAX: usize = 16_384;
/// Reads after which a used connection is not used again.
const REUSE_AGE_MAX: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Xhr,
    Streaming,
    Events,
    Send,
    /// To a session that is none.
    Guess,
}

#[derive(Clone, Copy)]
struct Connection {
    net: usize,
    id: SocketId,
    /// The read in which it was last used.
    used: u64,
}

/// One request and its answer.
struct Exchange {
    kind: Kind,
    connection: Connection,
    request: Vec<u8>,
    /// Bytes of the request that were written.
    written: usize,
    raw: Vec<u8>,
    head: Option<Head>,
    has_prelude: bool,
    frames: VecDeque<String>,
    is_done: bool,
}

struct Head {
    status: u16,
    /// None: chunks.
    length: Option<usize>,
    is_last: bool,
}

/// See the module.
pub struct Tunnel {
    nets: Vec<SimNet>,
    rng: Rng,
    window_bytes: usize,
    name: String,
    text: Vec<u8>,
    sender: Option<Exchange>,
    guess: Option<Exchange>,
    /// Oldest first; the frames of a younger one are behind all of an older one's.
    receivers: VecDeque<Exchange>,
    idle: Vec<Connection>,
    received: Vec<u8>,
    is_open: bool,
    is_shut: bool,
    over: Option<Read>,
    reads_count: u64,
}

impl Tunnel {
    pub fn new(nets: Vec<SimNet>, window_bytes: usize, seed: u64) -> Tunnel {
        Tunnel {
            nets,
            rng: Rng::new(!seed),
            window_bytes,
            name: format!("s{seed:x}"),
            text: Vec::new(),
            sender: None,
            guess: None,
            receivers: VecDeque::new(),
            idle: Vec::new(),
            received: Vec::new(),
            is_open: false,
            is_shut: false,
            over: None,
            reads_count: 0,
        }
    }

    pub fn is_idle(&self) -> bool {
        let is_whole = self.receivers.iter().all(|receiver| receiver.raw.is_empty());
        self.text.is_empty() && self.sender.is_none() && is_whole
    }

    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if self.is_shut || self.over.is_some() {
            return bytes.len();
        }
        let count = bytes.len().min(TEXT_BYTES_MAX - self.text.len());
        self.text.extend_from_slice(&bytes[..count]);
        self.send();
        count
    }

    pub fn read(&mut self, bytes_max: usize) -> Read {
        self.reads_count += 1;
        if !self.is_shut && self.over.is_none() {
            self.ask();
            self.send();
        }
        self.receive(bytes_max);
        if self.is_shut && self.receivers.is_empty() {
            self.over.get_or_insert(Read::End);
        }
        match &self.over {
            Some(end) if self.received.is_empty() => end.clone(),
            _ => Read::Bytes(std::mem::take(&mut self.received)),
        }
    }

    /// Ends all sockets in this way; no request follows.
    pub fn end(&mut self, how: impl Fn(&SimNet, SocketId)) {
        self.is_shut = true;
        self.text.clear();
        let own = [self.sender.take(), self.guess.take()];
        let own = own.iter().flatten().chain(&self.receivers).map(|exchange| exchange.connection);
        for Connection { net, id, .. } in own.chain(self.idle.drain(..)) {
            how(&self.nets[net], id);
        }
    }

    fn begin(&mut self, kind: Kind, body: &str) -> Exchange {
        let (method, path) = match kind {
            Kind::Xhr => ("POST", "xhr"),
            Kind::Streaming => ("POST", "xhr_streaming"),
            Kind::Events => ("GET", "eventsource"),
            Kind::Send | Kind::Guess => ("POST", "xhr_send"),
        };
        let server = self.rng.below(1000);
        let name = match kind {
            Kind::Guess => format!("guess{}", self.rng.next_u64()),
            _ => self.name.clone(),
        };
        let length = body.len();
        let request = format!(
            "{method} /sockjs/{server}/{name}/{path} HTTP/1.1\r\nHost: sim\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let connection = self.connection();
        Exchange {
            kind,
            connection,
            request: request.into_bytes(),
            written: 0,
            raw: Vec::new(),
            head: None,
            has_prelude: false,
            frames: VecDeque::new(),
            is_done: false,
        }
    }

    fn connection(&mut self) -> Connection {
        let oldest = self.reads_count.saturating_sub(REUSE_AGE_MAX);
        while let Some(used) = self.idle.pop() {
            if used.used > oldest && self.rng.chance(500) {
                return used;
            }
            self.nets[used.net].shutdown_write(used.id);
        }
        let net = self.rng.below(self.nets.len());
        let id = self.nets[net].connect(0, self.window_bytes);
        Connection { net, id, used: self.reads_count }
    }

    /// Asks for frames, if nobody does; or a second time, while a stream is there for certain.
    fn ask(&mut self) {
        let is_streaming = self.receivers.back().is_some_and(|receiver| receiver.has_prelude);
        let is_second = self.receivers.len() == 1 && is_streaming && self.rng.chance(10);
        if self.receivers.is_empty() || is_second {
            let kinds = [Kind::Xhr, Kind::Xhr, Kind::Streaming, Kind::Events];
            let kind = kinds[self.rng.below(4)];
            let exchange = self.begin(kind, "");
            self.receivers.push_back(exchange);
        }
        if self.guess.is_none() && self.rng.chance(5) {
            self.guess = Some(self.begin(Kind::Guess, "[\"guess\"]"));
        }
    }

    /// Sends what waits, once the session is open: one request at a time.
    fn send(&mut self) {
        if let Some(mut sender) = self.sender.take() {
            match sender.pump(&self.nets, usize::MAX) {
                Pumped::Pending => self.sender = Some(sender),
                Pumped::Done => match self.finish(&sender) {
                    204 => {}
                    // Full for the moment.
                    503 => self.text.splice(..0, sender.body()).for_each(drop),
                    _ => self.over = Some(Read::Reset),
                },
                Pumped::Refused => self.text.splice(..0, sender.body()).for_each(drop),
                Pumped::Broken(end) => self.over = Some(end),
            }
        }
        if let Some(mut guess) = self.guess.take() {
            match guess.pump(&self.nets, usize::MAX) {
                Pumped::Pending => self.guess = Some(guess),
                Pumped::Done => assert_eq!(self.finish(&guess), 404, "a session was guessed"),
                Pumped::Refused | Pumped::Broken(_) => {}
            }
        }
        let is_free = self.sender.is_none() && self.is_open && self.over.is_none();
        let whole = match std::str::from_utf8(&self.text) {
            Ok(_) => self.text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.text.len(),
        };
        if is_free && whole > 0 {
            let text: Vec<u8> = self.text.drain(..whole).collect();
            let text = String::from_utf8_lossy(&text).into_owned();
            let cut = self.rng.below(text.len() + 1);
            let cut = (0..=cut).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let messages = [&text[..cut], &text[cut..]];
            let body = serde_json::to_string(&messages).expect("two strings");
            self.sender = Some(self.begin(Kind::Send, &body));
        }
    }

    fn receive(&mut self, bytes_max: usize) {
        let mut at = 0;
        while at < self.receivers.len() {
            match self.receivers[at].pump(&self.nets, bytes_max) {
                Pumped::Pending | Pumped::Done => at += 1,
                Pumped::Refused => drop(self.receivers.remove(at)),
                Pumped::Broken(end) => {
                    // What came whole counts.
                    self.receivers[at].is_done = true;
                    self.over.get_or_insert(end);
                    at += 1;
                }
            }
        }
        while let Some(first) = self.receivers.front_mut() {
            let (frames, is_done) = (std::mem::take(&mut first.frames), first.is_done);
            frames.iter().for_each(|frame| self.take_frame(frame));
            if !is_done {
                break;
            }
            let first = self.receivers.pop_front().expect("it is there");
            if first.head.is_some() && self.finish(&first) != 200 {
                self.over.get_or_insert(Read::Reset);
            }
        }
    }

    fn take_frame(&mut self, frame: &str) {
        match frame.as_bytes()[0] {
            // The session was forgotten: nobody healthy sees that.
            b'o' if self.is_open => self.over = Some(Read::Reset),
            b'o' => self.is_open = true,
            b'h' => {}
            b'a' => {
                assert!(self.is_open, "{}: messages before `o`", self.name);
                let texts: Vec<String> = serde_json::from_str(&frame[1..]).expect("strings");
                assert!(!texts.is_empty(), "{}: a frame without messages", self.name);
                texts.iter().for_each(|text| self.received.extend_from_slice(text.as_bytes()));
            }
            b'c' if frame.starts_with("c[2010,") => {}
            b'c' => self.over = Some(Read::End),
            _ => panic!("{}: seen {frame:?}", self.name),
        }
    }

    /// The answer is over: the connection may be used again. Gives the status.
    fn finish(&mut self, exchange: &Exchange) -> u16 {
        let head = exchange.head.as_ref().expect("an answer has a head");
        let used = self.reads_count;
        let connection = Connection { used, ..exchange.connection };
        if head.is_last || self.is_shut {
            self.nets[connection.net].shutdown_write(connection.id);
        } else {
            self.idle.push(connection);
        }
        head.status
    }
}

enum Pumped {
    Pending,
    Done,
    Refused,
    Broken(Read),
}

impl Exchange {
    /// The text of its messages.
    fn body(&self) -> Vec<u8> {
        let text = std::str::from_utf8(&self.request).expect("it was text");
        let (_, body) = text.split_once("\r\n\r\n").expect("a head");
        let texts: Vec<String> = serde_json::from_str(body).expect("strings");
        texts.concat().into_bytes()
    }

    fn pump(&mut self, nets: &[SimNet], bytes_max: usize) -> Pumped {
        if self.is_done {
            return Pumped::Done;
        }
        let Connection { net, id, .. } = self.connection;
        self.written += nets[net].write(id, &self.request[self.written..]);
        let read = nets[net].read(id, bytes_max);
        if let Read::Bytes(bytes) = &read {
            self.raw.extend_from_slice(bytes);
        }
        self.parse();
        match read {
            _ if self.is_done => Pumped::Done,
            Read::Bytes(_) => Pumped::Pending,
            Read::Refused => Pumped::Refused,
            // As all clients do: a connection may time out when a request is on its way. If that
            // was taken all the same, a message comes twice, or the session is gone: both are seen.
            Read::End if self.head.is_none() => Pumped::Refused,
            end => Pumped::Broken(end),
        }
    }

    fn parse(&mut self) {
        if self.head.is_none() {
            let Some(end) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") else {
                return;
            };
            let head: Vec<u8> = self.raw.drain(..end + 4).collect();
            self.head = Some(Head::parse(&String::from_utf8(head).expect("a head is text")));
        }
        let Some(head) = &self.head else { return };
        if let Some(length) = head.length {
            if self.raw.len() >= length {
                assert_eq!(self.raw.len(), length, "bytes behind an answer");
                let body = String::from_utf8(std::mem::take(&mut self.raw)).expect("text");
                if self.kind == Kind::Xhr && head.status == 200 {
                    let frame = body.strip_suffix('\n').expect("a whole frame");
                    self.frames.push_back(frame.to_owned());
                }
                self.is_done = true;
            }
            return;
        }
        while let Some(chunk) = take_chunk(&mut self.raw) {
            match (chunk.as_str(), self.has_prelude) {
                ("", _) => self.is_done = true,
                (prelude, false) => {
                    let streaming = "h".repeat(2048) + "\n";
                    let is_streaming = self.kind == Kind::Streaming;
                    assert_eq!(prelude, if is_streaming { &streaming } else { "\r\n" });
                    self.has_prelude = true;
                }
                (chunk, true) => {
                    let frame = match self.kind {
                        Kind::Streaming => chunk.strip_suffix('\n').map(str::to_owned),
                        _ => chunk
                            .strip_prefix("data: ")
                            .and_then(|rest| rest.strip_suffix("\r\n\r\n"))
                            .map(|frame| frame.replace("%25", "%")),
                    };
                    let frame = frame.expect("one frame a chunk");
                    assert!(!frame.contains(['\r', '\n']), "one frame a chunk");
                    self.frames.push_back(frame);
                }
            }
        }
    }
}

impl Head {
    fn parse(head: &str) -> Head {
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let value = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let length = value("content-length").map(|length| length.parse().expect("a length"));
        let is_chunked = value("transfer-encoding") == Some("chunked");
        let status = status.expect("a status");
        let is_last = value("connection").is_some_and(|value| value.contains("close"));
        let length = length.or((!is_chunked).then_some(0));
        Head { status, length, is_last }
    }
}

/// Takes a whole chunk off the front.
fn take_chunk(raw: &mut Vec<u8>) -> Option<String> {
    let end = raw.windows(2).position(|two| two == b"\r\n")?;
    let size = std::str::from_utf8(&raw[..end]).expect("a size is text");
    let size = usize::from_str_radix(size, 16).expect("a size");
    let chunk = raw.get(end + 2..end + 2 + size)?.to_vec();
    let behind = raw.get(end + 2 + size..end + 4 + size)?;
    assert_eq!(behind, b"\r\n", "a line end behind a chunk");
    raw.drain(..end + 4 + size);
    Some(String::from_utf8(chunk).expect("text"))
}

/// Text of about so many bytes, with all that is escaped somewhere on the way.
pub fn any_text(rng: &mut Rng, length: usize) -> Vec<u8> {
    const PIECES: [&str; 12] =
        ["x", "\0", "\n", "\r", "\"", "\\", "%25", "</", "\u{2028}", "\u{ffff}", "\u{1f600}", "ü"];
    let mut text = String::new();
    while text.len() < length {
        text += PIECES[rng.below(PIECES.len())];
    }
    text.into_bytes()
}
