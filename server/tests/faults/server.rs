//! The server as a process of its own, under limits.

use crate::cage::Cage;
use crate::client::{http, Client, PATIENCE};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Who reads the log of the process.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Log {
    /// Whoever reads that of the test.
    #[default]
    Shown,
    /// The test: [`Server::log`].
    Kept,
    /// Nobody, and the pipe is full some day.
    Unread,
    /// Nobody any more: the pipe is closed.
    Closed,
}

/// What is special about a process.
#[derive(Default)]
pub struct Start {
    /// What it may not do.
    pub cage: Cage,
    /// Who reads its log.
    pub log: Log,
}

impl From<Cage> for Start {
    fn from(cage: Cage) -> Start {
        Start { cage, log: Log::Shown }
    }
}

/// Listens to [`Server::load`] at the port in its argument.
const SUBSCRIBER: &str = "
import socket, sys
peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
peer.sendall(b'CONNECT\\naccept-version:1.2\\nhost:/\\n\\n\\0')
peer.sendall(b'SUBSCRIBE\\nid:s\\ndestination:/topic/load\\nreceipt:s\\n\\n\\0')
seen = b''
while b'RECEIPT' not in seen:
    seen += peer.recv(65536)
print('subscribed', flush=True)
try:
    while peer.recv(65536):
        pass
except ConnectionError:
    pass
";

/// Messages of one [`burst`].
pub const BURST_COUNT: usize = 20;

/// Frames for the subscribers of [`Server::load`].
pub fn burst() -> String {
    format!("SEND\ndestination:/topic/load\n\n{}\0", "x".repeat(500)).repeat(BURST_COUNT)
}

/// A running server. It is killed if a test fails.
pub struct Server {
    child: RefCell<Child>,
    /// What it says at its start.
    pub greeting: String,
    /// Where HTTP is.
    pub http: SocketAddr,
    /// Where STOMP is.
    pub stomp: SocketAddr,
    /// Where metrics are.
    pub admin: SocketAddr,
    log: Option<JoinHandle<String>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A client in a process of its own, killed when it is dropped.
pub struct Process(RefCell<Child>);

impl Process {
    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        signal(&self.0.borrow(), name);
    }

    /// Waits for its end.
    pub fn wait(&self) {
        self.0.borrow_mut().wait().expect("our child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.0.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn signal(child: &Child, name: &str) {
    let line = format!("kill -{name} {}", child.id());
    let status = Command::new("sh").args(["-c", &line]).status();
    assert!(status.is_ok_and(|status| status.success()), "{line}");
}

fn command(cage: Cage, options: &[&str]) -> Command {
    let mut command = cage.command(env!("CARGO_BIN_EXE_stompede"));
    // A later flag of the same name would be a mistake: only those that are not given.
    for name in ["--listen", "--stomp-listen", "--admin-listen"] {
        if !options.contains(&name) {
            command.args([name, "127.0.0.1:0"]);
        }
    }
    command.args(options);
    command
}

impl Server {
    /// Starts it, on ports of its choice unless they are given.
    pub fn start(options: &[&str]) -> Server {
        Server::start_in(Cage::Open, options)
    }

    /// Starts it in a cage or with a log of its own.
    pub fn start_in(start: impl Into<Start>, options: &[&str]) -> Server {
        let Start { cage, log } = start.into();
        let mut command = command(cage, options);
        if log != Log::Shown {
            command.stderr(Stdio::piped());
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary, and python3");
        if log == Log::Closed {
            drop(child.stderr.take());
        }
        let log = child.stderr.take_if(|_| log == Log::Kept).map(|mut errors| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = errors.read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let mut greeting = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        while !greeting.starts_with("stompede on ") {
            greeting.clear();
            let count = output.read_line(&mut greeting).expect("text");
            assert!(count > 0, "it ended before it served");
        }
        let address = |before: &str| {
            let rest = greeting.split_once(before).expect("it says where it listens").1;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
            rest[..end.unwrap_or(rest.len())].parse().expect("an address")
        };
        let (http, stomp, admin) =
            (address("http://"), address("STOMP on "), address("metrics on "));
        Server { child: RefCell::new(child), greeting, http, stomp, admin, log }
    }

    /// Starts what must not start: its exit code, and what it says about it.
    pub fn refused(cage: Cage, options: &[&str]) -> (Option<i32>, String) {
        let output = command(cage, options).output().expect("the binary, and python3");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What it finds on this machine: `stompede probe`.
    pub fn probe(cage: Cage) -> String {
        let mut command = cage.command(env!("CARGO_BIN_EXE_stompede"));
        let output = command.args(["probe", "--listen", "127.0.0.1:0"]).output().expect("probed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        signal(&self.child.borrow(), name);
    }

    /// Waits for its end; `None` if a signal ended it.
    pub fn wait(&self) -> Option<i32> {
        self.wait_for_end().code()
    }

    /// Waits for its end.
    pub fn wait_for_end(&self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.borrow_mut().try_wait().expect("our child") {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that it said, behind its end; for [`Log::Kept`].
    pub fn log(mut self) -> String {
        let log = self.log.take().expect("its log is kept");
        log.join().expect("no panic")
    }

    /// Drains it; gives its exit code.
    pub fn stop(&self) -> Option<i32> {
        self.signal("TERM");
        self.wait()
    }

    /// A session that is logged in.
    pub fn session(&self) -> Client {
        let mut client = Client::open(self.stomp);
        assert!(client.connect());
        client
    }

    /// One that listens to [`Server::load`].
    pub fn subscriber(&self) -> Client {
        let mut client = self.session();
        client.send("SUBSCRIBE\nid:s\ndestination:/topic/load\nreceipt:s\n\n\0");
        assert!(client.frame().starts_with("RECEIPT"));
        client
    }

    /// One in a process of its own, which listens until its connection ends.
    pub fn subscriber_process(&self) -> Process {
        let mut command = Command::new("python3");
        command.args(["-c", SUBSCRIBER, &self.stomp.port().to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("python3");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("text");
        assert_eq!(line, "subscribed\n");
        Process(RefCell::new(child))
    }

    /// Connections that ended for this reason.
    pub fn closed_count(&self, reason: &str) -> u64 {
        self.metric(&format!("stompede_connections_closed_total{{reason=\"{reason}\"}}"))
    }

    /// A number that it shows.
    pub fn metric(&self, series: &str) -> u64 {
        let metrics = http(self.admin, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        let values = metrics.lines().filter_map(|line| line.strip_prefix(series));
        let count = values.filter_map(|rest| rest.strip_prefix(' ')).next();
        count.and_then(|count| count.parse().ok()).expect("a metric")
    }

    /// Publishes some 2 MB a second, if it can, until its connection ends.
    pub fn load(&self) -> JoinHandle<()> {
        let mut client = self.session();
        let frames = burst();
        std::thread::spawn(move || {
            while client.send(&frames) {
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    }

    /// Waits until `is_so`.
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "no {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
