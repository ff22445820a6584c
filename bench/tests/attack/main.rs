//! Every attack against a real server, in a process of its own, on both drivers. None is left out,
//! and the server says nothing of panics.
//!
//! This is a test without harness: it starts itself again as the server, so that the oracle sees
//! memory and descriptors of the server alone. Deadlines are short there and patience is long
//! here, so that nothing depends on the speed of the machine.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use stompede::config::{Compression, Config, IoChoice};
use stompede::Server;
use stompede_bench::attack::{play, Order};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How this program calls itself as the server, with a driver behind it.
const SERVE: &str = "serve";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [SERVE, driver] => {
            // On one shard the canary is on that of every attack; on two there is a mesh.
            match *driver {
                "epoll" => serve(IoChoice::Epoll, 2),
                _ => serve(IoChoice::Auto, 1),
            }
            ExitCode::SUCCESS
        }
        // What `cargo test FILTER` and `cargo test -- --list` ask of every test.
        arguments if arguments.contains(&"--list") => {
            println!("attack: test");
            ExitCode::SUCCESS
        }
        [filter, ..] if !filter.starts_with('-') && !"attack".contains(filter) => ExitCode::SUCCESS,
        _ => match ["auto", "epoll"].into_iter().all(held) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
    }
}

/// Serves until the standard input ends.
fn serve(io: IoChoice, shards: usize) {
    let mut config = Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        stomp_listen: Some("127.0.0.1:0".parse().expect("an address")),
        admin_listen: Some("127.0.0.1:0".parse().expect("an address")),
        shards,
        io,
        connections_max: 1_000,
        users: vec![("ann".into(), "secret".into())],
        handshake_deadline: Duration::from_secs(1),
        connect_deadline: Duration::from_secs(1),
        stall_deadline: Duration::from_secs(1),
        message_rate_span: Duration::from_secs(1),
        compression: Compression::Shared,
        ..Config::default()
    };
    // Shorter than the deadline for CONNECT: it says how a session ends that was left.
    config.sockjs.disconnect_delay_ms = 500;
    config.sockjs.tombstone_ms = 1_000;
    let server = Server::start(config).expect("the server starts");
    let (stomp, admin) = (server.stomp_address.expect("on"), server.admin_address.expect("on"));
    println!("ws://{}/ws tcp://{stomp} http://{admin}/metrics", server.http_address);
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    server.drain();
    assert_eq!(server.wait(), 0);
}

/// The server's process; it ends with its standard input.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn held(driver: &str) -> bool {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args([SERVE, driver]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut served = Served(command.spawn().expect("it starts again"));
    let mut errors = served.0.stderr.take().expect("piped");
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut line = String::new();
    let output = served.0.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("addresses");
    let [url, stomp, metrics] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("no addresses: {line}");
    };
    println!("driver {driver}");
    let order = Order {
        ids: vec!["all".into()],
        strict: true,
        list: false,
        url: url.into(),
        stomp_url: Some(stomp.into()),
        sockjs: "/sockjs".into(),
        login: Some(("ann".into(), "secret".into())),
        metrics: Some(metrics.into()),
        pid: Some(served.0.id()),
        patience: Duration::from_secs(30),
        canary_max: Some(Duration::from_secs(20)),
    };
    let has_held = play(&order).expect("the server lets us in");
    drop(served);
    let said = said.join().expect("no panic");
    let is_calm = !said.contains("panicked at");
    if !(has_held && is_calm) {
        println!("the server said: {said}");
    }
    has_held && is_calm
}
