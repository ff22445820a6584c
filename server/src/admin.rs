//! The admin listener: metrics and health, on a thread of its own, never on the public port.

use crate::metrics;
use crate::shard::reason::NAMES;
use crate::shard::Shared;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;
use stompede_core::http::{request, response};
use stompede_core::limits::Limits;

/// How long one admin client may take for its request and for taking the answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// The open listener.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds the admin address; `None` if it is off.
    ///
    /// # Errors
    /// The address is taken or not allowed, in words for the operator.
    pub fn open(address: Option<SocketAddr>) -> Result<Option<Listener>, String> {
        let Some(address) = address else { return Ok(None) };
        let explain = |error: io::Error| {
            format!("cannot listen on {address}: {error}; choose another with --admin-listen")
        };
        let socket = TcpListener::bind(address).map_err(explain)?;
        let address = socket.local_addr().map_err(explain)?;
        Ok(Some(Listener { socket, address }))
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until the process ends.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn serve(self, shared: Arc<Shared>) -> Result<(), String> {
        let run = move || {
            for stream in self.socket.incoming().flatten() {
                // A broken scrape is the scraper's trouble.
                let _ = serve_one(stream, &shared);
            }
        };
        let thread = std::thread::Builder::new().name("admin".into()).spawn(run);
        thread.map(|_| ()).map_err(|error| format!("cannot start the admin thread: {error}"))
    }
}

fn serve_one(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let limits = Limits::default();
    let mut input = Vec::new();
    let mut piece = [0; 2048];
    loop {
        match request::decode(&input, &limits) {
            Ok(Some((request, _))) => {
                let mut answer = Vec::new();
                answer_path(request.path, shared, &mut answer);
                return stream.write_all(&answer);
            }
            Ok(None) => {}
            Err(error) => {
                let mut answer = Vec::new();
                let text = format!("{error}\n");
                response::encode(&mut answer, error.status(), &[], text.as_bytes(), false);
                return stream.write_all(&answer);
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => input.extend_from_slice(&piece[..count]),
        }
    }
}

fn answer_path(path: &str, shared: &Shared, answer: &mut Vec<u8>) {
    let is_draining = shared.is_draining.load(Ordering::Relaxed);
    let text = [("Content-Type", "text/plain; charset=utf-8")];
    match path {
        "/metrics" => {
            let build = metrics::BuildInfo {
                version: env!("CARGO_PKG_VERSION").into(),
                commit: String::new(),
                driver: shared.driver.into(),
            };
            let body = metrics::render(&shared.metrics, &NAMES, &build);
            let kind = [("Content-Type", metrics::CONTENT_TYPE)];
            response::encode(answer, 200, &kind, body.as_bytes(), false);
        }
        "/health/live" => response::encode(answer, 200, &text, b"live\n", false),
        "/health/ready" if is_draining => {
            response::encode(answer, 503, &text, b"draining\n", false);
        }
        "/health/ready" => response::encode(answer, 200, &text, b"ready\n", false),
        _ => {
            let body = b"no such page: /metrics, /health/live, /health/ready\n";
            response::encode(answer, 404, &text, body, false);
        }
    }
}
