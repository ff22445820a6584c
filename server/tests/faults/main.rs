//! Faults of the real thing: the binary under limits, signals and kills of the system.
//!
//! Names begin with rows of the catalogue. What a process may do is narrowed by the shell that
//! starts it (`ulimit`), or by a filter of system calls; signals are sent by the shell, too.

mod client;
mod server;

use client::{http, Client};
use server::{Limits, Log, Server};
use std::time::Duration;

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
    let limits = Limits { descriptors: Some(120), ..Limits::default() };
    let options = ["--io", "epoll", "--shards", "1", "--connections-max", "10000"];
    let server = Server::start_with(&limits, &options);
    let mut inside = server.session();
    let crowd: Vec<Client> = (0..200).map(|_| Client::open(server.stomp)).collect();
    for _ in 0..20 {
        inside.round_trip();
    }
    drop(crowd);
    server.until("a session for a newcomer", || Client::open(server.stomp).connect());
    inside.round_trip();
    let metrics = http(server.admin, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let errors =
        metrics.lines().find_map(|line| line.strip_prefix("stompede_accept_errors_total "));
    assert!(errors.is_some_and(|count| count != "0"), "{errors:?}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn l14_where_io_uring_is_forbidden_epoll_serves() {
    let limits = Limits { no_uring: true, ..Limits::default() };
    let server = Server::start_with(&limits, &["--io", "auto"]);
    assert!(server.greeting.starts_with("stompede on epoll: "), "{}", server.greeting);
    server.session().round_trip();
    assert_eq!(server.stop(), Some(0));
    let (status, said) = Server::refused(&limits, &["--io", "uring"]);
    assert_ne!(status, Some(0));
    assert!(said.contains("io_uring"), "{said}");
}

#[test]
fn l18_n15_killed_under_load_and_started_again_at_once() {
    for io in DRIVERS {
        let mut server = Server::start(&["--io", io]);
        for _ in 0..3 {
            let publisher = server.load();
            let listen = [server.http, server.stomp, server.admin].map(|a| a.to_string());
            server.signal("KILL");
            server.wait();
            publisher.join().expect("it ends with the connection");
            let [http, stomp, admin] = &listen;
            server = Server::start(&[
                "--io",
                io,
                "--listen",
                http,
                "--stomp-listen",
                stomp,
                "--admin-listen",
                admin,
            ]);
            server.session().round_trip();
        }
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn l19_time_in_which_the_server_stood_still_is_nobodys_silence() {
    for io in DRIVERS {
        let server = Server::start(&["--io", io, "--shards", "1", "--heartbeat-min", "250ms"]);
        let mut client = Client::open(server.stomp);
        client.send("CONNECT\naccept-version:1.2\nheart-beat:250,0\nhost:/\n\n\0");
        assert!(client.frame().starts_with("CONNECTED"));
        server.signal("STOP");
        // Over three intervals, all of them kept by the client.
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(100));
            client.send("\n");
        }
        server.signal("CONT");
        client.round_trip();
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn n01_n02_a_drain_during_a_fan_out_with_clients_that_are_stuck() {
    for io in DRIVERS {
        let server = Server::start(&["--io", io, "--drain-timeout", "1s"]);
        let stuck: Vec<Client> = (0..5).map(|_| server.subscriber()).collect();
        let mut reader = server.subscriber();
        let publisher = server.load();
        assert!(reader.frame().starts_with("MESSAGE\n"));
        // By a thread: it keeps up with the others while we are busy.
        let reader = std::thread::spawn(|| reader.read_to_end());
        server.signal("TERM");
        let rest = reader.join().expect("no panic");
        assert!(rest.contains("message:Server is shutting down"));
        publisher.join().expect("it ends with the connection");
        assert_eq!(server.wait(), Some(0));
        drop(stuck);
    }
}

#[test]
fn n06_nobody_reads_the_log() {
    for log in [Log::Unread, Log::Closed] {
        let server =
            Server::start_with(&Limits { log, ..Limits::default() }, &["--log-level", "debug"]);
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
