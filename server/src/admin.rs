//! The admin listener: metrics and health, on threads of its own, never on the public port.
//!
//! One request per connection, one thread per connection, a bounded number of them: a scraper that
//! stalls costs a thread until its deadline, and nobody waits for it. `/metrics` speaks
//! OpenMetrics to clients whose `Accept` names it, and Prometheus' older text format to others.

use crate::metrics;
use crate::shard::reason::NAMES;
use crate::shard::Shared;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stompede_core::http::request::Request;
use stompede_core::http::{accept, request, response};
use stompede_core::limits::Limits;

/// How long one admin client may take for its request and for taking the answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long to wait after an accept that failed, as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections served at a time; more are refused with 503.
pub const CONNECTIONS_COUNT_MAX: usize = 16;

/// `Content-Type` of Prometheus' text format, for clients that do not ask for OpenMetrics.
const PLAIN_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const TEXT: &str = "text/plain; charset=utf-8";

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

    /// Serves on threads of its own until the process ends.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn serve(self, shared: Arc<Shared>) -> Result<(), String> {
        let thread = std::thread::Builder::new().name("admin".into());
        let thread = thread.spawn(move || self.accept(&shared));
        thread.map(|_| ()).map_err(|error| format!("cannot start the admin thread: {error}"))
    }

    fn accept(&self, shared: &Arc<Shared>) {
        // Each serving thread holds one more reference; no count has to be kept right.
        let served = Arc::new(());
        for stream in self.socket.incoming() {
            let Ok(stream) = stream else {
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            };
            if Arc::strong_count(&served) > CONNECTIONS_COUNT_MAX {
                // So short that it fits into the socket's buffer.
                let _ = Client::new(stream).and_then(|mut client| client.send(&busy()));
                continue;
            }
            let (shared, one) = (shared.clone(), served.clone());
            let serve = move || {
                // A broken scrape is the scraper's trouble.
                let _ = Client::new(stream).and_then(|mut client| client.serve(&shared));
                drop(one);
            };
            let thread = std::thread::Builder::new().name("admin-client".into()).spawn(serve);
            if let Err(error) = thread {
                tracing::warn!(%error, "cannot start a thread for an admin client");
            }
        }
    }
}

/// One connection, with one deadline for all it does.
struct Client {
    stream: TcpStream,
    deadline: Instant,
}

impl Client {
    fn new(stream: TcpStream) -> io::Result<Client> {
        Ok(Client { stream, deadline: Instant::now() + DEADLINE })
    }

    /// The time left; an error once there is none.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // A time-out of zero would mean none.
        (!left.is_zero()).then_some(left).ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.stream.shutdown(Shutdown::Write)
    }

    fn serve(&mut self, shared: &Shared) -> io::Result<()> {
        let answer = self.answer(shared)?;
        if answer.is_empty() {
            return Ok(());
        }
        self.send(&answer)?;
        // What is left unread would turn the answer into a reset.
        let mut rest = [0; 2048];
        while self.read(&mut rest)? > 0 {}
        Ok(())
    }

    /// Reads the request. Nothing is the answer to a client that leaves before its end.
    fn answer(&mut self, shared: &Shared) -> io::Result<Vec<u8>> {
        let limits = Limits::default();
        let mut input = Vec::new();
        let mut piece = [0; 2048];
        loop {
            match request::decode(&input, &limits) {
                Ok(Some((request, _))) => return Ok(answer(&request, shared)),
                Ok(None) => {}
                Err(error) => {
                    let text = format!("{error}\n");
                    return Ok(encode(error.status(), &[], TEXT, &text, false));
                }
            }
            match self.read(&mut piece) {
                Ok(0) => return Ok(Vec::new()),
                Ok(count) => input.extend_from_slice(&piece[..count]),
                Err(error) => return Err(error),
            }
        }
    }
}

fn busy() -> Vec<u8> {
    let text = format!("seen {CONNECTIONS_COUNT_MAX} admin connections, which is the limit\n");
    encode(503, &[("Retry-After", "1")], TEXT, &text, false)
}

fn answer(request: &Request<'_>, shared: &Shared) -> Vec<u8> {
    let is_head = request.method == "HEAD";
    let is_draining = shared.is_draining.load(Ordering::Relaxed);
    let (status, kind, body) = match request.path {
        "/metrics" => {
            let (kind, body) = metrics_text(request, shared);
            (200, kind, body)
        }
        "/health/live" => (200, TEXT, "live\n".to_owned()),
        "/health/ready" if is_draining => (503, TEXT, "draining\n".to_owned()),
        "/health/ready" => (200, TEXT, "ready\n".to_owned()),
        _ => {
            let text = "no such page: /metrics, /health/live, /health/ready\n";
            return encode(404, &[], TEXT, text, is_head);
        }
    };
    match request.method {
        "GET" | "HEAD" => encode(status, &[("Cache-Control", "no-store")], kind, &body, is_head),
        _ => {
            let text = "method is not allowed here, allowed: GET, HEAD\n";
            encode(405, &[("Allow", "GET, HEAD")], TEXT, text, false)
        }
    }
}

fn encode(status: u16, extra: &[(&str, &str)], kind: &str, body: &str, is_head: bool) -> Vec<u8> {
    let mut headers = vec![("Content-Type", kind)];
    headers.extend_from_slice(extra);
    let mut bytes = Vec::new();
    response::encode_head(&mut bytes, status, &headers, body.len() as u64, false);
    if !is_head {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

/// The metrics in the format that the client asked for, and its type.
fn metrics_text(request: &Request<'_>, shared: &Shared) -> (&'static str, String) {
    let build = metrics::BuildInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        driver: shared.driver.into(),
    };
    let text = metrics::render(&shared.metrics, &NAMES, &build);
    if accept::names(request, "accept", "application/openmetrics-text") {
        (metrics::CONTENT_TYPE, text)
    } else {
        (PLAIN_METRICS, plain_text(&text))
    }
}

/// OpenMetrics as Prometheus' text format 0.0.4, in which a counter's description names its series,
/// with `_total`, and no line marks the end.
fn plain_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut lines = text.lines().filter(|line| *line != "# EOF").peekable();
    while let Some(line) = lines.next() {
        let is_of_counter = line.ends_with(" counter")
            || lines
                .peek()
                .is_some_and(|next| next.starts_with("# TYPE ") && next.ends_with(" counter"));
        let mut words = line.splitn(4, ' ');
        let head = [words.next(), words.next(), words.next(), words.next()];
        match head {
            [Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)]
                if is_of_counter =>
            {
                plain.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_the_name_of_their_series() {
        let open = "# HELP a Help of a.\n# TYPE a gauge\na 1\n# HELP b Help: b counter\n\
            # TYPE b counter\nb_total{x=\"y z\"} 2\n# EOF\n";
        let plain = "# HELP a Help of a.\n# TYPE a gauge\na 1\n# HELP b_total Help: b counter\n\
            # TYPE b_total counter\nb_total{x=\"y z\"} 2\n";
        assert_eq!(plain_text(open), plain);
    }
}
