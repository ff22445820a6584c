//! A blocking client of STOMP over TCP, and one request of HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn open(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Client { stream, unread: Vec::new() }
    }

    /// Connects and begins a frame: who is silent is accepted late, for a kernel may hold it back
    /// (`TCP_DEFER_ACCEPT`).
    pub fn begin(address: SocketAddr) -> Client {
        let mut client = Client::open(address);
        client.send("CONNECT\n");
        client
    }

    /// A second handle, to send from another thread.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a second handle")
    }

    /// Sends; an end on the other side shows in what is read.
    pub fn send(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).is_ok()
    }

    /// Logs in. Says whether it is let in.
    pub fn connect(&mut self) -> bool {
        self.send("CONNECT\naccept-version:1.2\nhost:/\n\n\0");
        self.next().is_some_and(|frame| frame.starts_with("CONNECTED"))
    }

    /// The next frame that is more than line ends; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == 0) {
                let frame: Vec<u8> = self.unread.drain(..=end).collect();
                let text = String::from_utf8_lossy(&frame).into_owned();
                return Some(text.trim_start_matches('\n').to_owned());
            }
            let mut piece = [0; 65_536];
            match self.stream.read(&mut piece) {
                Ok(count @ 1..) => self.unread.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing came in {PATIENCE:?}")
                }
                Ok(_) => return None,
                // A read with a time limit is not taken up again by the kernel.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Shown if the test fails.
                    println!("a connection broke: {error}");
                    return None;
                }
            }
        }
    }

    /// Is the next byte a line end, and so a heart-beat?
    pub fn beats(&mut self) -> bool {
        assert!(self.unread.is_empty());
        let mut byte = [0];
        self.stream.read_exact(&mut byte).is_ok() && byte == *b"\n"
    }

    /// The next frame, which must come.
    pub fn frame(&mut self) -> String {
        self.next().expect("a frame, not the end")
    }

    /// Is a SEND answered?
    pub fn is_served(&mut self) -> bool {
        self.send("SEND\ndestination:/topic/alive\nreceipt:r\n\n\0");
        self.next().is_some_and(|frame| frame.starts_with("RECEIPT"))
    }

    /// Proves that the session goes on.
    pub fn round_trip(&mut self) {
        self.send("SEND\ndestination:/topic/alive\nreceipt:r\n\n\0");
        assert!(self.frame().starts_with("RECEIPT"));
    }

    /// All that comes up to the end.
    pub fn read_to_end(mut self) -> String {
        let mut text = String::new();
        while let Some(frame) = self.next() {
            text += &frame;
        }
        text
    }
}

/// Sends a request and gives all that comes, up to the end.
pub fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // Whoever refuses at once may not read it.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
