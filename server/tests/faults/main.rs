//! Faults of the real thing: the binary under limits, signals and kills of the system.
//!
//! Names begin with rows of the catalogue. What a process may do is narrowed by the shell that
//! starts it (`ulimit`), or by a filter of system calls; signals are sent by the shell, too.

mod cage;
mod client;
mod clocks;
mod memory;
mod rings;
mod secrets;
mod server;
mod system;

use cage::Cage;
use client::{http, Client};
use server::{burst, Log, Server, Start, BURST_COUNT};
use std::net::SocketAddr;

/// Both drivers.
const DRIVERS: [&str; 2] = ["auto", "epoll"];

#[test]
fn a05_a06_one_connection_too_many_is_told_so() {
    for io in DRIVERS {
        for option in ["--connections-max", "--connections-per-ip-max"] {
            let server = Server::start(&["--io", io, "--shards", "1", option, "3"]);
            let mut sessions: Vec<Client> = (0..3).map(|_| server.session()).collect();
            let answer = http(server.http, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("\r\nRetry-After: "), "{answer}");
            let error = Client::open(server.stomp).read_to_end();
            assert!(error.contains("message:Server is busy"), "{error}");
            sessions[0].round_trip();
            sessions.pop();
            // The place is free when the server has seen the end.
            server.until("room", || {
                let mut client = Client::open(server.stomp);
                client.connect() && client.is_served()
            });
            assert_eq!(server.stop(), Some(0));
        }
    }
}

#[test]
fn a03_l17_without_descriptors_those_inside_are_served_and_others_later() {
    for io in DRIVERS {
        let options = ["--io", io, "--shards", "1", "--connections-max", "10000"];
        let server = Server::start_in(Cage::Shell("ulimit -n 120"), &options);
        let mut inside = server.session();
        server.until("error of accept", || {
            let crowd: Vec<Client> = (0..200).map(|_| Client::begin(server.stomp)).collect();
            for _ in 0..20 {
                inside.round_trip();
            }
            drop(crowd);
            server.until("session for a newcomer", || Client::open(server.stomp).connect());
            inside.round_trip();
            server.metric("stompede_accept_errors_total") != 0
        });
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn l18_n15_killed_under_load_and_started_again_at_once() {
    for io in DRIVERS {
        let start = |[http, stomp, admin]: [SocketAddr; 3]| {
            let [http, stomp, admin] = [http, stomp, admin].map(|address| address.to_string());
            let listen = ["--listen", &http, "--stomp-listen", &stomp, "--admin-listen", &admin];
            Server::start(&[&["--io", io][..], &listen].concat())
        };
        // Where no other test listens: they would be given the ports while nobody has them.
        let mut server = start([SocketAddr::from(([127, 8, 0, 1], 0)); 3]);
        for _ in 0..3 {
            let publisher = server.load();
            let listen = [server.http, server.stomp, server.admin];
            server.signal("KILL");
            server.wait();
            publisher.join().expect("it ends with the connection");
            server = start(listen);
            server.session().round_trip();
        }
        assert_eq!(server.stop(), Some(0));
    }
}

/// Catalogue: K01.
#[test]
fn a_stopped_client_is_ended_and_nobody_else_notices() {
    for io in DRIVERS {
        let server = Server::start(&["--io", io, "--shards", "1"]);
        let stopped = server.subscriber_process();
        let mut reader = server.subscriber();
        stopped.signal("STOP");
        let mut publisher = server.session();
        let ended_count = || server.closed_count("slow_consumer") + server.closed_count("stalled");
        // As fast as the other one reads, who is never behind.
        let mut publish = || {
            assert!(publisher.send(&burst()));
            (0..BURST_COUNT).for_each(|_| assert!(reader.frame().starts_with("MESSAGE\n")));
        };
        server.until("end of the slow consumer", || {
            (0..50).for_each(|_| publish());
            ended_count() == 1
        });
        publish();
        assert_eq!(ended_count(), 1);
        stopped.signal("CONT");
        stopped.wait();
        // A drain would wait for their ends.
        drop((reader, publisher));
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn n01_n02_a_drain_during_a_fan_out_with_clients_that_are_stuck() {
    for io in DRIVERS {
        // A reader that is held up for the whole time-out is cut off like those who are stuck.
        assert!((0..5).any(|_| is_reader_told(io)), "no reader is told");
    }
}

/// Drains during a fan-out; is the one that reads told so?
fn is_reader_told(io: &str) -> bool {
    let server = Server::start(&["--io", io, "--drain-timeout", "1s"]);
    let stuck: Vec<Client> = (0..5).map(|_| server.subscriber()).collect();
    let mut reader = server.subscriber();
    let publisher = server.load();
    assert!(reader.frame().starts_with("MESSAGE\n"));
    // By a thread: it keeps up with the others while we are busy.
    let reader = std::thread::spawn(|| reader.read_to_end());
    server.signal("TERM");
    let rest = reader.join().expect("no panic");
    publisher.join().expect("it ends with the connection");
    assert_eq!(server.wait(), Some(0));
    drop(stuck);
    rest.contains("message:Server is shutting down")
}

#[test]
fn n06_nobody_reads_the_log() {
    for log in [Log::Unread, Log::Closed] {
        let start = Start { log, ..Start::default() };
        let server = Server::start_in(start, &["--log-level", "debug"]);
        // Its standard output is closed at our end since it greeted.
        let mut session = server.session();
        // More lines than a pipe holds: one for each connection that comes and goes.
        for _ in 0..1_500 {
            assert!(Client::open(server.stomp).connect());
        }
        session.round_trip();
        assert_eq!(server.stop(), Some(0));
    }
}
