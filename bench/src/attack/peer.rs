//! One hostile client: a blocking socket with patience, that says and hears exact bytes.
//!
//! What it hears is searched for the canary's secret: a byte of another client's in this stream is
//! the worst that a push server can do.

use super::ground::Ground;
use crate::wire::stomp::connect_frame;
use crate::wire::websocket::{upgrade_request, websocket_key};
use memchr::memmem;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use stompede_core::ws::frame::{encode_masked, Opcode};

/// Why an attack has no good end.
#[derive(Debug)]
pub enum Wrong {
    /// The server's answer is not the right one.
    Answer(String),
    /// The server has not what is attacked.
    NotOffered(&'static str),
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Wrong {
        Wrong::Answer(error.to_string())
    }
}

/// That went well, or not.
pub type Told<T = ()> = Result<T, Wrong>;

/// A wrong answer.
pub fn wrong<T>(what: impl Into<String>) -> Told<T> {
    Err(Wrong::Answer(what.into()))
}

/// What came over a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A frame: its first byte and its payload.
    Frame(u8, Vec<u8>),
    /// The end of the stream, or a reset.
    End,
}

/// One connection to the server.
pub struct Peer<'a> {
    ground: &'a Ground,
    /// Its socket.
    pub stream: TcpStream,
    /// Is it the canary, whose secret may come here?
    pub knows_secret: bool,
    unread: Vec<u8>,
    is_ended: bool,
}

/// The masking key of every frame; zero would hide mistakes.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl<'a> Peer<'a> {
    /// Connects to `address`.
    ///
    /// # Errors
    /// The connection is refused.
    pub fn connect(ground: &'a Ground, address: SocketAddr) -> Told<Peer<'a>> {
        let stream = TcpStream::connect_timeout(&address, ground.patience)?;
        stream.set_read_timeout(Some(ground.patience))?;
        stream.set_write_timeout(Some(ground.patience))?;
        stream.set_nodelay(true)?;
        Ok(Peer { ground, stream, knows_secret: false, unread: Vec::new(), is_ended: false })
    }

    /// Sends bytes. That the server has had enough is no error: its answer says why.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A write that fails shows in what is read.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends one masked frame whose first byte is `first`.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(frame(first, payload));
    }

    /// Sends one STOMP frame in a text message.
    pub fn send_stomp(&mut self, frame: impl AsRef<[u8]>) {
        self.send_frame(0x81, frame.as_ref());
    }

    /// Ends its own half.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends with a reset.
    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads what there is; false: the stream has ended.
    fn fill(&mut self) -> Told<bool> {
        if self.is_ended {
            return Ok(false);
        }
        let mut piece = [0; 16_384];
        let count = match self.stream.read(&mut piece) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let patience = self.ground.patience;
                return wrong(format!("nothing for {patience:?}, behind {}", self.seen()));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(_) => 0,
        };
        self.is_ended = count == 0;
        self.unread.extend_from_slice(&piece[..count]);
        // The secret may have come in two pieces.
        let secret = self.ground.secret.as_bytes();
        let from = self.unread.len().saturating_sub(count + secret.len());
        if !self.knows_secret && memmem::find(&self.unread[from..], secret).is_some() {
            self.ground.leaked.store(true, Ordering::Relaxed);
        }
        Ok(count > 0)
    }

    /// The beginning of what is unread, for people.
    fn seen(&self) -> String {
        let most = self.unread.len().min(60);
        format!("{} bytes `{}`", self.unread.len(), self.unread[..most].escape_ascii())
    }

    /// The head of an HTTP answer: its status, and the head itself.
    ///
    /// # Errors
    /// Something else came.
    pub fn head(&mut self) -> Told<(u16, String)> {
        loop {
            if let Some(end) = memmem::find(&self.unread, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.unread[..end + 4]).into_owned();
                let status = head.get(9..12).and_then(|digits| digits.parse().ok());
                let Some(status) = status.filter(|_| head.starts_with("HTTP/1.")) else {
                    return wrong(format!("no HTTP answer, seen {}", self.seen()));
                };
                self.unread.drain(..end + 4);
                return Ok((status, head));
            }
            if !self.fill()? {
                return wrong(format!("the end instead of an answer, behind {}", self.seen()));
            }
        }
    }

    /// Checks the status of an HTTP answer; gives its head.
    ///
    /// # Errors
    /// Another status.
    pub fn expect_status(&mut self, expected: u16) -> Told<String> {
        let (status, head) = self.head()?;
        if status != expected {
            return wrong(format!("status {status} instead of {expected}"));
        }
        Ok(head)
    }

    /// Reads a body of the length that `head` says.
    ///
    /// # Errors
    /// The end comes before.
    pub fn body(&mut self, head: &str) -> Told<String> {
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|text| text.trim().parse::<usize>().ok()).unwrap_or(0);
        while self.unread.len() < length {
            if !self.fill()? {
                return wrong(format!("half a body, {}", self.seen()));
            }
        }
        Ok(String::from_utf8_lossy(&self.unread.drain(..length).collect::<Vec<_>>()).into_owned())
    }

    /// Reads up to the end of the stream, for whatever comes; gives all of it.
    ///
    /// # Errors
    /// The stream does not end in [`Ground::patience`].
    pub fn expect_end(&mut self) -> Told<Vec<u8>> {
        let until = Instant::now() + self.ground.patience;
        while self.fill()? {
            if Instant::now() > until {
                return wrong("it does not end");
            }
        }
        Ok(std::mem::take(&mut self.unread))
    }

    /// Checks that the connection ends without another byte.
    ///
    /// # Errors
    /// It goes on.
    pub fn expect_silent_end(&mut self) -> Told {
        match self.expect_end()?.as_slice() {
            [] => Ok(()),
            more => wrong(format!("behind the end {} bytes", more.len())),
        }
    }

    /// The next WebSocket frame.
    ///
    /// # Errors
    /// Nothing comes, or no frame of a server.
    pub fn hear(&mut self) -> Told<Heard> {
        loop {
            if let Some((first, payload)) = self.take_frame()? {
                return Ok(Heard::Frame(first, payload));
            }
            if !self.fill()? {
                return match self.unread.len() {
                    0 => Ok(Heard::End),
                    _ => wrong(format!("half a frame, {}", self.seen())),
                };
            }
        }
    }

    fn take_frame(&mut self) -> Told<Option<(u8, Vec<u8>)>> {
        let &[first, second, ..] = self.unread.as_slice() else { return Ok(None) };
        let (length, head) = match second {
            0..=125 => (u64::from(second), 2),
            126 => match self.unread.get(2..).and_then(|rest| rest.first_chunk::<2>()) {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 4),
                None => return Ok(None),
            },
            127 => match self.unread.get(2..).and_then(|rest| rest.first_chunk::<8>()) {
                Some(bytes) => (u64::from_be_bytes(*bytes), 10),
                None => return Ok(None),
            },
            _ => return wrong(format!("a masked frame, {}", self.seen())),
        };
        if length > 64 << 20 {
            return wrong(format!("a frame of {length} bytes"));
        }
        let end = head + length as usize;
        if self.unread.len() < end {
            return Ok(None);
        }
        let payload = self.unread[head..end].to_vec();
        self.unread.drain(..end);
        Ok(Some((first, payload)))
    }

    /// Reads up to a close frame with this code, behind which the connection ends.
    ///
    /// # Errors
    /// Another code, or none.
    pub fn expect_close(&mut self, code: u16) -> Told {
        let until = Instant::now() + self.ground.patience;
        while Instant::now() < until {
            match self.hear()? {
                Heard::Frame(0x88, payload) => {
                    let seen = payload.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
                    if seen != Some(code) {
                        return wrong(format!("close code {seen:?} instead of {code}"));
                    }
                    self.finish();
                    return self.expect_silent_end();
                }
                Heard::Frame(..) => {}
                Heard::End => return wrong(format!("the end without close code {code}")),
            }
        }
        wrong(format!("no close frame with {code}"))
    }

    /// Reads up to a STOMP frame of this command that contains `text`; gives it.
    ///
    /// # Errors
    /// An ERROR or the end instead.
    pub fn expect_stomp(&mut self, command: &str, text: &str) -> Told<String> {
        let until = Instant::now() + self.ground.patience;
        while Instant::now() < until {
            match self.hear()? {
                Heard::Frame(0x81 | 0x82, payload) if payload != b"\n" => {
                    let seen = String::from_utf8_lossy(&payload).into_owned();
                    let is_command = seen.split('\n').next() == Some(command);
                    if is_command && seen.contains(text) {
                        return Ok(seen);
                    }
                    if seen.starts_with("ERROR") || is_command {
                        return wrong(format!("`{}` instead of {command}", seen.escape_debug()));
                    }
                }
                Heard::Frame(0x88, payload) => {
                    let reason = payload.escape_ascii();
                    return wrong(format!("close `{reason}` instead of {command}"));
                }
                Heard::Frame(..) => {}
                Heard::End => return wrong(format!("the end instead of {command}")),
            }
        }
        wrong(format!("no {command}"))
    }

    /// Checks for an ERROR with `text`, then the close code, then the end.
    ///
    /// # Errors
    /// Another answer.
    pub fn expect_error(&mut self, text: &str, code: u16) -> Told {
        self.expect_stomp("ERROR", text)?;
        self.expect_close(code)
    }

    /// Upgrades to WebSocket with extra header lines; gives the head of the answer.
    ///
    /// # Errors
    /// Refused.
    pub fn upgrade(&mut self, extra: &str) -> Told<String> {
        let ground = self.ground;
        self.upgrade_to(&ground.target.path, extra)
    }

    /// As [`Peer::upgrade`], to another path.
    ///
    /// # Errors
    /// Refused.
    pub fn upgrade_to(&mut self, path: &str, extra: &str) -> Told<String> {
        let (key, accept) = websocket_key([7; 16]);
        let host = &self.ground.target.host;
        let mut request = upgrade_request(host, path, &key, Some("v12.stomp"));
        request.truncate(request.len() - 2);
        self.send([&request, extra.as_bytes(), b"\r\n"].concat());
        let head = self.expect_status(101)?;
        if !head.contains(&accept) {
            return wrong("the upgrade has a wrong Sec-WebSocket-Accept");
        }
        Ok(head)
    }

    /// Logs in and waits for CONNECTED.
    ///
    /// # Errors
    /// Refused.
    pub fn log_in(&mut self) -> Told {
        let host = &self.ground.target.host;
        self.send_stomp(connect_frame("1.2", host, self.ground.login.as_ref(), "0,0"));
        self.expect_stomp("CONNECTED", "").map(drop)
    }

    /// Proves that the session goes on: a SEND is answered with its RECEIPT.
    ///
    /// # Errors
    /// It does not.
    pub fn expect_alive(&mut self) -> Told {
        self.send_stomp("SEND\ndestination:/topic/attack.alive\nreceipt:alive\n\n\0");
        self.expect_stomp("RECEIPT", "receipt-id:alive\n").map(drop)
    }
}

/// One masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_masked(&mut bytes, Opcode::Text, KEY, payload);
    bytes[0] = first;
    bytes
}
