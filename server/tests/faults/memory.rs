//! Memory runs out: first by the server's own mark, then by the system's limit.
//!
//! The limit is RLIMIT_DATA, which counts what a process maps for itself; shared memory, such as
//! rings, is not in it. A limit of a control group has no refusal to offer: there the kernel kills.

use crate::cage::Cage;
use crate::client::Client;
use crate::server::{Log, Server, Start};
use crate::DRIVERS;
use std::os::unix::process::ExitStatusExt as _;

/// 192 MiB: some 20 of them are the server's at rest.
const NARROW: Cage = Cage::Shell("ulimit -d 196608");
const SIGABRT: i32 = 6;

/// Frames of this number on two destinations: one is listened to, the other is a queue that nobody
/// consumes.
fn numbered(number: usize, bytes: usize) -> String {
    let body = "x".repeat(bytes);
    format!(
        "SEND\ndestination:/topic/load\nnumber:{number}\n\n{body}\0\
         SEND\ndestination:/queue/full\nreceipt:{number}\n\n{body}\0"
    )
}

/// The number of a MESSAGE, whose body is as it was sent.
fn number(frame: &str, bytes: usize) -> usize {
    let (head, body) = frame.split_once("\n\n").expect("a body");
    assert_eq!(body.len(), bytes + 1, "{head}");
    assert!(body.bytes().all(|byte| byte == b'x' || byte == 0), "foreign bytes");
    let number = head.lines().find_map(|line| line.strip_prefix("number:"));
    number.and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn k07_an_allocation_that_fails_ends_the_process_and_nothing_was_garbled() {
    for io in DRIVERS {
        let start = Start { cage: NARROW, log: Log::Kept };
        // Promises that the process cannot keep.
        let server = Server::start_in(
            start,
            &["--io", io, "--shards", "1", "--memory-max", "8GiB"]
                .into_iter()
                .chain(["--queue-bytes-max", "8GiB", "--queue-memory-max", "8GiB"])
                .collect::<Vec<_>>(),
        );
        let mut reader = server.subscriber();
        let mut publisher = server.session();
        let mut sent = 0;
        while publisher.send(&numbered(sent, 50_000)) {
            let Some(answer) = publisher.next() else { break };
            assert_eq!(answer, format!("RECEIPT\nreceipt-id:{sent}\n\n\0"));
            assert_eq!(number(&reader.frame(), 50_000), sent);
            sent += 1;
        }
        assert!(sent > 1_000, "the limit is not what ended it, behind {sent}");
        assert_eq!(server.wait_for_end().signal(), Some(SIGABRT));
        let log = server.log();
        assert!(log.contains("memory allocation of "), "{log}");
    }
}

#[test]
fn k07_bounds_come_before_the_limit() {
    for io in DRIVERS {
        let options = ["--io", io, "--shards", "1", "--queue-memory-max", "64MiB"];
        let server = Server::start_in(NARROW, &options);
        let mut publisher = server.session();
        let mut sent = 0;
        let refusal = loop {
            publisher.send(&numbered(sent, 50_000));
            let answer = publisher.frame();
            if answer.starts_with("ERROR") {
                break answer;
            }
            sent += 1;
        };
        assert!(refusal.contains("message:Queue full"), "{refusal}");
        server.session().round_trip();
        assert_eq!(server.stop(), Some(0));
    }
}

/// Catalogue: K07, E29.
#[test]
fn unfinished_messages_are_shed_before_the_limit() {
    for io in DRIVERS {
        let server =
            Server::start_in(NARROW, &["--io", io, "--shards", "1", "--memory-max", "32MiB"]);
        let mut inside = server.session();
        let half = format!("SEND\ndestination:/topic/load\n\n{}", "x".repeat(1_000_000));
        let mut crowd = Vec::new();
        // Together three times the limit.
        for _ in 0..600 {
            let mut client = Client::open(server.stomp);
            if client.connect() {
                client.send(&half);
                crowd.push(client);
            }
        }
        inside.round_trip();
        server.until("end of the largest", || server.closed_count("memory_mark") > 0);
        drop(crowd);
        server.until("session for a newcomer", || Client::open(server.stomp).connect());
        inside.round_trip();
        assert_eq!(server.stop(), Some(0));
    }
}

/// Catalogue: K02.
#[test]
fn stalled_subscribers_over_the_mark_go_and_the_others_get_everything() {
    for io in DRIVERS {
        let server = Server::start_in(
            NARROW,
            &["--io", io, "--shards", "1", "--memory-max", "16MiB"]
                .into_iter()
                .chain(["--outbound-bytes-max", "16MiB", "--stall-deadline", "1h"])
                .collect::<Vec<_>>(),
        );
        let stalled: Vec<Client> = (0..60).map(|_| server.subscriber()).collect();
        let mut reader = server.subscriber();
        let mut publisher = server.session();
        let mut sent = 0;
        // An eighth of the bound of each comes to 2 MiB.
        while server.closed_count("slow_consumer") < stalled.len() as u64 {
            for _ in 0..20 {
                let frames = numbered(sent, 20_000);
                publisher.send(frames.split_inclusive('\0').next().expect("two"));
                assert_eq!(number(&reader.frame(), 20_000), sent);
                sent += 1;
            }
        }
        server.until("memory that is given back", || {
            server.metric("stompede_outbound_bytes") == 0 && Client::open(server.stomp).connect()
        });
        assert_eq!(server.stop(), Some(0));
    }
}
