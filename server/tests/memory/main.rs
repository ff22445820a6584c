//! What an idle client costs the server's own memory, counted by the allocator: all that a session
//! owns, the reserves of the tables included. Measured where these are largest in proportion, just
//! behind a doubling.

#[path = "../sockjs/client.rs"]
#[allow(dead_code)] // As of the other suites' modules, a part of each.
mod client;
#[path = "../support/mod.rs"]
#[allow(dead_code)]
mod support;

use cap::Cap;
use client::{config, exchange, request, start, Answer, Running};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use stompede::config::Config;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What an idle polling session may cost between polls.
const SESSION_BYTES_MAX: usize = 512;
/// The allocator counts for all threads: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const CONNECT: &str = r#"["CONNECT\naccept-version:1.2\nhost:a\n\n\u0000"]"#;

/// A connection that opened `count` sessions, whose numbers begin with `first`.
fn open_sessions(server: &Running, prefix: &str, first: usize, count: usize) -> Answer {
    let path = |number: usize| format!("{prefix}/000/s{number:07}");
    let mut answer = exchange(server.http_address, &request("GET", prefix, "", ""));
    answer.body();
    for number in first..first + count {
        answer = answer.next(&request("POST", &format!("{}/xhr", path(number)), "", ""));
        assert_eq!(answer.body(), "o\n");
        if prefix == "/sockjs" {
            let send = format!("{}/xhr_send", path(number));
            answer = answer.next(&request("POST", &send, "", CONNECT));
            assert_eq!(answer.status, 204);
            answer = answer.next(&request("POST", &format!("{}/xhr", path(number)), "", ""));
            assert!(answer.body().starts_with("a[\"CONNECTED"));
        }
    }
    answer
}

fn patient() -> Config {
    let mut config = config(1);
    config.limits.http_requests_count_max = usize::MAX;
    config
}

#[test]
fn an_idle_polling_session_is_small() {
    let _alone = ALONE.lock();
    // Hash tables double behind 1,792 and 7,168 entries.
    const COUNTS: [usize; 4] = [1_730, 2_000, 3_375, 1];
    for prefix in ["/sockjs", "/echo"] {
        let server = start(patient());
        // What is needed once is there before the count begins.
        let mut opened = 64;
        let mut connections = vec![open_sessions(&server, prefix, 0, opened)];
        let before = ALLOCATOR.allocated();
        for count in COUNTS {
            connections.push(open_sessions(&server, prefix, opened, count));
            opened += count;
            let bytes = (ALLOCATOR.allocated() - before) / (opened - 64);
            println!("{prefix}: {opened} sessions, {bytes} bytes each");
            assert!(bytes <= SESSION_BYTES_MAX, "{prefix}: {bytes} bytes for each session");
        }
    }
}

#[test]
fn a_connection_between_two_requests_owns_nothing() {
    let _alone = ALONE.lock();
    let server = start(patient());
    let ask = |_| {
        let mut stream = TcpStream::connect(server.http_address).expect("connects");
        stream.write_all(request("GET", "/echo", "", "").as_bytes()).expect("is sent");
        let (mut answer, mut length) = ([0; 1_024], 0);
        while !answer[..length].ends_with(b"Welcome to SockJS!\n") {
            length += stream.read(&mut answer[length..]).expect("an answer");
        }
        stream
    };
    let mut streams = Vec::with_capacity(1_000);
    streams.extend((0..100).map(ask));
    let before = ALLOCATOR.allocated();
    streams.extend((0..500).map(ask));
    // Their records are in tables that do not grow; see `size_of` there.
    let bytes = ALLOCATOR.allocated().saturating_sub(before) / 500;
    assert!(bytes <= 8, "{bytes} bytes for each connection");
}
