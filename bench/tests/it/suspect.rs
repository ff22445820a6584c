//! The oracle of the attacks sees what a bad server does: a proxy in front of a good one spoils it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stompede::config::Config;
use stompede::{Handle, Server};
use stompede_bench::attack::oracle::Oracle;
use stompede_bench::attack::{all, Order};

/// What the proxy does to bytes of the server.
#[derive(Clone, Copy, PartialEq)]
enum Mischief {
    Nothing,
    /// Every answer of HTTP but a 101 is left out.
    Mute,
    /// What the first client gets, all later ones get too.
    Leak,
    /// Everything comes half a second later.
    Hold,
    /// The first client misses its message 50.
    Lose,
}

fn server() -> Handle {
    Server::start(Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        stomp_listen: None,
        admin_listen: Some("127.0.0.1:0".parse().unwrap()),
        shards: 1,
        connections_max: 1_000,
        // Who was left behind stays so.
        handshake_deadline: Duration::from_secs(3_600),
        ..Config::default()
    })
    .unwrap()
}

/// Starts the proxy; it ends with the test's process.
fn proxy(server: SocketAddr, mischief: Mischief) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let overheard = Arc::new(Mutex::new(Vec::new()));
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            let server = TcpStream::connect(server).unwrap();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || carry(from, to, |bytes| bytes));
            let overheard = overheard.clone();
            let mut pieces = 0;
            let spoil = move |mut bytes: Vec<u8>| {
                pieces += 1;
                let mut overheard = overheard.lock().unwrap();
                match mischief {
                    Mischief::Mute if bytes.starts_with(b"HTTP/1.1 4") => bytes.clear(),
                    Mischief::Leak if number == 0 => overheard.clone_from(&bytes),
                    Mischief::Leak if pieces == 1 => bytes.extend_from_slice(&overheard),
                    Mischief::Hold if pieces > 20 => {
                        std::thread::sleep(Duration::from_millis(500));
                    }
                    Mischief::Lose if number == 0 && has(&bytes, b"-50\0") => bytes.clear(),
                    _ => {}
                }
                bytes
            };
            std::thread::spawn(move || carry(server, client, spoil));
        }
    });
    address
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|seen| seen == wanted)
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut spoil: impl FnMut(Vec<u8>) -> Vec<u8>) {
    let mut piece = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&spoil(piece[..count].to_vec())).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// An attack on what listens there: no metrics, and 30 s for everything.
fn order(id: &str, address: SocketAddr) -> Order {
    Order {
        ids: vec![id.to_owned()],
        strict: false,
        list: false,
        url: format!("ws://{address}/ws"),
        stomp_url: None,
        sockjs: "off".into(),
        login: None,
        metrics: None,
        pid: None,
        patience: Duration::from_secs(30),
        canary_max: Some(Duration::from_secs(30)),
    }
}

/// Plays one attack; gives its line.
fn judged(id: &str, mischief: Mischief) -> String {
    let server = server();
    let mut order = order(id, proxy(server.http_address, mischief));
    order.metrics = Some(format!("http://{}/metrics", server.admin_address.unwrap()));
    if mischief != Mischief::Nothing {
        order.patience = Duration::from_secs(3);
    }
    if mischief == Mischief::Hold {
        order.canary_max = Some(Duration::from_millis(100));
    }
    let mut oracle = Oracle::new(&order).unwrap();
    let attack = all().find(|attack| attack.id == id).unwrap();
    let line = oracle.judge(attack).line();
    assert_eq!(oracle.fell_count(), u32::from(line.contains("FELL")));
    line
}

#[test]
fn a_good_server_holds() {
    let line = judged("C01", Mischief::Nothing);
    assert!(line.starts_with("C01   held"), "{line}");
}

#[test]
fn a_missing_answer_is_seen() {
    let line = judged("C01", Mischief::Mute);
    assert!(line.contains("answer: the end instead of an answer"), "{line}");
}

/// Catalogue: K12.
#[test]
fn bytes_of_the_canary_in_another_stream_are_seen() {
    let line = judged("C01", Mischief::Leak);
    assert!(line.contains("foreign: the canary's secret came to somebody else"), "{line}");
}

#[test]
fn a_late_canary_is_seen() {
    let line = judged("C01", Mischief::Hold);
    assert!(line.contains("canary: over 100.0 ms"), "{line}");
}

#[test]
fn a_lost_message_of_the_canary_is_seen() {
    let line = judged("A02", Mischief::Lose);
    assert!(line.contains("canary: "), "{line}");
}

#[test]
fn what_does_not_come_back_is_seen() {
    let server = server();
    let address = server.http_address;
    let mut order = order("A02", address);
    order.metrics = Some(format!("http://{}/metrics", server.admin_address.unwrap()));
    order.patience = Duration::from_secs(1);
    let is_seen = || {
        // Fails only if nobody is answered within that patience.
        let Ok(mut oracle) = Oracle::new(&order) else { return false };
        // Somebody else's connection looks like one that the attack left behind.
        let mut left = TcpStream::connect(address).unwrap();
        // Who says nothing is not accepted yet.
        left.write_all(b"G").unwrap();
        let attack = all().find(|attack| attack.id == "A02").unwrap();
        let line = oracle.judge(attack).line();
        println!("{line}");
        // More of them, if the server is held up.
        line.contains("back: left over stompede_connections 2")
    };
    assert!((0..5).any(|_| is_seen()), "never");
}

/// Shows metrics of which one is larger each time; it ends with the test's process.
fn rising_metrics(series: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, mut client) in listener.incoming().flatten().enumerate() {
            let _ = client.read(&mut [0; 4_096]);
            let text = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{series} {number}\n");
            let _ = client.write_all(text.as_bytes());
            let _ = client.shutdown(Shutdown::Write);
        }
    });
    address
}

/// Plays C01, of which each request is counted once, and there are three.
fn judged_by(series: &'static str) -> String {
    let server = server();
    let mut order = order("C01", server.http_address);
    order.strict = true;
    order.metrics = Some(format!("http://{}/metrics", rising_metrics(series)));
    order.patience = Duration::from_secs(3);
    let mut oracle = Oracle::new(&order).unwrap();
    oracle.judge(all().find(|attack| attack.id == "C01").unwrap()).line()
}

#[test]
fn a_panic_that_the_server_caught_is_seen() {
    let line = judged_by("stompede_panics_total");
    assert!(line.contains("alive: it panicked"), "{line}");
}

#[test]
fn a_counter_that_rises_too_much_is_seen() {
    let line = judged_by("stompede_connections_closed_total{reason=\"http_error\"}");
    assert!(line.contains("by 3 is right"), "{line}");
}

#[test]
fn what_is_left_out_does_not_hold_where_all_is_asked_for() {
    let server = server();
    for strict in [false, true] {
        let order = Order { strict, ..order("O07", server.http_address) };
        let mut oracle = Oracle::new(&order).unwrap();
        let line = oracle.judge(all().find(|attack| attack.id == "O07").unwrap()).line();
        assert!(line.contains("left out: no --metrics"), "{line}");
        assert_eq!(oracle.fell_count(), u32::from(strict));
    }
}
