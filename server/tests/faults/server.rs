//! The server as a process of its own, under limits.

use crate::client::{Client, PATIENCE};
use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Who reads the log of the process.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Log {
    /// Whoever reads that of the test.
    #[default]
    Read,
    /// Nobody, and the pipe is full some day.
    Unread,
    /// Nobody any more: the pipe is closed.
    Closed,
}

/// What the process may not do.
#[derive(Default)]
pub struct Limits {
    /// Descriptors it may have.
    pub descriptors: Option<u32>,
    /// The system calls of io_uring are refused, as containers do.
    pub no_uring: bool,
    /// Nobody reads its log: the pipe fills up, or is closed at the other end.
    pub log: Log,
}

/// Refuses `io_uring_setup` (system call 425 on all machines) with EPERM, then becomes the program
/// in its arguments: prctl PR_SET_NO_NEW_PRIVS, then PR_SET_SECCOMP with a filter of four steps.
const WITHOUT_URING: &str = "
import ctypes, os, struct, sys
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
class Program(ctypes.Structure):
    _fields_ = [('count', ctypes.c_ushort), ('steps', ctypes.c_void_p)]
program = Program(len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
";

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
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn command(limits: &Limits, options: &[&str]) -> Command {
    let binary = env!("CARGO_BIN_EXE_stompede");
    let mut command = match limits {
        Limits { no_uring: true, .. } => {
            let mut command = Command::new("python3");
            command.args(["-c", WITHOUT_URING, binary]);
            command
        }
        Limits { descriptors: Some(count), .. } => {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\""), binary]);
            command
        }
        _ => Command::new(binary),
    };
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
        Server::start_with(&Limits::default(), options)
    }

    /// Starts it under limits.
    pub fn start_with(limits: &Limits, options: &[&str]) -> Server {
        let mut command = command(limits, options);
        if limits.log != Log::Read {
            command.stderr(Stdio::piped());
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary, and python3");
        if limits.log == Log::Closed {
            drop(child.stderr.take());
        }
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
        Server { child: RefCell::new(child), greeting, http, stomp, admin }
    }

    /// Starts what must not start: its exit code, and what it says about it.
    pub fn refused(limits: &Limits, options: &[&str]) -> (Option<i32>, String) {
        let output = command(limits, options).output().expect("the binary, and python3");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.borrow().id());
        let status = Command::new("sh").args(["-c", &line]).status();
        assert!(status.is_ok_and(|status| status.success()), "{line}");
    }

    /// Waits for its end; `None` if a signal ended it.
    pub fn wait(&self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.borrow_mut().try_wait().expect("our child") {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
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

    /// Publishes some 2 MB a second, if it can, until its connection ends.
    pub fn load(&self) -> JoinHandle<()> {
        let mut client = self.session();
        let frames = format!("SEND\ndestination:/topic/load\n\n{}\0", "x".repeat(500)).repeat(20);
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
