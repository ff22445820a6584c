//! A tiny STOMP server over TCP on plain threads, whose deliveries a test can spoil.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What becomes of message `number`: any list of frames instead of its own.
pub type Spoil = dyn Fn(usize, Vec<u8>) -> Vec<Vec<u8>> + Send + Sync;

struct Hub {
    subscribers: Mutex<(usize, Vec<TcpStream>)>,
    spoil: Box<Spoil>,
    /// Every message so far comes to a new subscriber too, whatever was acknowledged.
    history: Option<Mutex<Vec<Vec<u8>>>>,
}

/// Starts a server whose new subscribers get all that was sent before, marked as redelivered.
pub fn start_forgetful() -> SocketAddr {
    start_hub(Box::new(|_, body| vec![body]), Some(Mutex::default()))
}

/// Starts the server; it ends with the test's process.
pub fn start(spoil: impl Fn(usize, Vec<u8>) -> Vec<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    start_hub(Box::new(spoil), None)
}

fn start_hub(spoil: Box<Spoil>, history: Option<Mutex<Vec<Vec<u8>>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Arc::new(Hub { subscribers: Mutex::default(), spoil, history });
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let hub = hub.clone();
            // A client that goes away ends its thread.
            std::thread::spawn(move || serve(stream, &hub));
        }
    });
    address
}

fn serve(mut stream: TcpStream, hub: &Hub) -> Option<()> {
    let mut buffer = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        let count = stream.read(&mut piece).ok().filter(|&count| count > 0)?;
        buffer.extend_from_slice(&piece[..count]);
        // No body of the generator holds a NUL.
        while let Some(end) = buffer.iter().position(|&byte| byte == 0) {
            let frame: Vec<u8> = buffer.drain(..=end).collect();
            if frame.starts_with(b"CONNECT\n") {
                stream.write_all(b"CONNECTED\nversion:1.2\n\n\0").ok()?;
            } else if frame.starts_with(b"SUBSCRIBE\n") {
                // Held meanwhile: what is published behind the receipt finds the subscriber.
                let mut subscribers = hub.subscribers.lock().unwrap();
                let mut out = b"RECEIPT\nreceipt-id:s\n\n\0".to_vec();
                for body in hub.history.iter().flat_map(|all| all.lock().unwrap().clone()) {
                    out.extend(message("redelivered:true\n", &body));
                }
                // In one piece: nobody knows how long to wait for more.
                stream.write_all(&out).ok()?;
                subscribers.1.push(stream.try_clone().ok()?);
            } else if frame.starts_with(b"SEND\n") {
                let body = frame.windows(2).position(|pair| pair == b"\n\n")? + 2;
                let body = frame[body..frame.len() - 1].to_vec();
                if let Some(history) = &hub.history {
                    history.lock().unwrap().push(body.clone());
                }
                let mut subscribers = hub.subscribers.lock().unwrap();
                let number = subscribers.0;
                subscribers.0 += 1;
                for body in (hub.spoil)(number, body) {
                    let frame = message("", &body);
                    // Who went away is no concern of the publisher.
                    subscribers.1.retain_mut(|subscriber| subscriber.write_all(&frame).is_ok());
                }
            }
        }
    }
}

fn message(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("MESSAGE\nmessage-id:1\nack:1\n{headers}content-length:{length}\n\n");
    [head.as_bytes(), body, b"\0"].concat()
}
