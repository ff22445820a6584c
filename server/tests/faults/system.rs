//! Machines that offer little, and signals.

use crate::cage::Cage;
use crate::client::{Client, PATIENCE};
use crate::server::Server;
use crate::DRIVERS;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn n10_without_proc_on_a_read_only_root_as_nobody() {
    for io in DRIVERS {
        let server = Server::start_in(Cage::Bare, &["--io", io, "--shards", "2"]);
        for _ in 0..4 {
            server.session().round_trip();
        }
        assert_ne!(server.metric("stompede_connections_opened_total"), 0);
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn n08_shards_are_as_many_as_processors_that_we_may_use() {
    let probe = Server::probe(Cage::OneProcessor);
    assert!(probe.contains(" 1 shards of "), "{probe}");
}

#[test]
fn n01_a_second_signal_ends_at_once_and_a_broken_pipe_is_none() {
    for io in DRIVERS {
        let server = Server::start(&["--io", io, "--drain-timeout", "1h", "--drain-rate", "4"]);
        let mut session = server.session();
        for _ in 0..20 {
            server.signal("PIPE");
        }
        session.round_trip();
        // Who does not take his answer keeps the drain waiting.
        let crowd: Vec<Client> = (0..100).map(|_| server.session()).collect();
        server.signal("HUP");
        assert!(session.read_to_end().contains("message:Server is shutting down"));
        server.signal("TERM");
        assert_eq!(server.wait(), Some(1));
        drop(crowd);
    }
}

#[test]
fn a07_a_full_backlog_of_newcomers_is_served_when_the_server_wakes_up() {
    for io in DRIVERS {
        let server = Server::start(&["--io", io, "--shards", "1"]);
        server.signal("STOP");
        // Ten times what a listener gets that does not ask for more.
        let mut crowd: Vec<Client> = (0..1_280).map(|_| Client::open(server.stomp)).collect();
        for client in &mut crowd {
            client.send("CONNECT\naccept-version:1.2\nhost:/\n\n\0");
        }
        server.signal("CONT");
        for client in &mut crowd {
            assert!(client.frame().starts_with("CONNECTED"));
        }
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn g21_polls_that_end_in_the_same_moment_hold_nobody_up() {
    for io in DRIVERS {
        let options = ["--io", io, "--shards", "2", "--sockjs-heartbeat", "1s"];
        let server = Server::start(&options);
        let mut session = server.session();
        let polls: Vec<TcpStream> = (0..500)
            .map(|n| {
                let mut poll = TcpStream::connect(server.http).expect("somebody listens");
                poll.set_read_timeout(Some(PATIENCE)).expect("a time-out");
                let path = format!("POST /sockjs/000/g21-{n}/xhr HTTP/1.1\r\nHost: a\r\n");
                let end = "Connection: close\r\n\r\n";
                write!(poll, "{path}\r\n{path}{end}").expect("it reads");
                poll
            })
            .collect();
        for mut poll in polls {
            session.round_trip();
            let mut text = String::new();
            poll.read_to_string(&mut text).expect("two answers");
            assert!(text.contains("\r\n\r\no\n") && text.ends_with("h\n"), "{text}");
        }
        assert_eq!(server.stop(), Some(0));
    }
}
