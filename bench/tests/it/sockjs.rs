//! The real server over SockJS: nothing lost, whatever the transport, also across answers that end.

use crate::honest::{flawless, flawless_beyond, publishing, server, stop};
use std::time::Duration;
use stompede::config::Config;
use stompede::{services, Handle, Server};
use stompede_bench::plan::{Plan, Rate, Target, Workload};
use stompede_bench::queue::AckMode;
use stompede_bench::report::Report;
use stompede_bench::run::{run, Silent};
use stompede_bench::wire::{Protocol, Transport};

fn sockjs(server: &Handle, transport: Transport) -> Plan {
    let target = Target::parse(&format!("http://{}/sockjs", server.http_address)).unwrap();
    Plan::new(target.by(transport).unwrap())
}

#[test]
fn fanout_over_all_transports_and_versions() {
    let server = server(2);
    for (_, transport) in Transport::SOCKJS {
        for version in ["1.0", "1.1", "1.2"] {
            let mut plan = publishing(sockjs(&server, transport), Workload::Fanout);
            plan.version = version.into();
            let outcome = flawless(&plan);
            assert_eq!(outcome.tally.delivered, 60 * 150);
            assert_eq!(outcome.tally.polls > 0, transport == Transport::XhrPolling);
        }
    }
    stop(server);
}

/// 4 KiB are some twenty deliveries: every stream ends and begins again several times.
#[test]
fn streams_that_end_at_their_limit_lose_nothing() {
    let mut config = Config::default();
    config.sockjs.response_bytes_max = 4_096;
    let server = crate::honest::start(2, config);
    let mut plan = publishing(sockjs(&server, Transport::XhrStreaming), Workload::Fanout);
    plan.threads = 2;
    let outcome = flawless(&plan);
    assert_eq!(outcome.tally.delivered, 60 * 150);
    stop(server);
}

/// The server ends every connection behind its fifth answer, in order.
#[test]
fn sessions_move_to_another_connection_without_loss() {
    let mut config = Config::default();
    config.limits.http_requests_count_max = 5;
    config.sockjs.response_bytes_max = 4_096;
    let server = crate::honest::start(2, config);
    for transport in [Transport::XhrPolling, Transport::XhrStreaming] {
        for is_epoll in [false, true] {
            let mut plan = publishing(sockjs(&server, transport), Workload::Fanout);
            plan.is_epoll = is_epoll;
            let outcome = flawless(&plan);
            assert_eq!(outcome.tally.delivered, 60 * 150);
        }
    }
    stop(server);
}

#[test]
fn echoes_come_back() {
    let server = server(2);
    for (_, transport) in Transport::SOCKJS {
        let mut plan = publishing(sockjs(&server, transport), Workload::Echo);
        (plan.publishers, plan.destinations) = (60, 60);
        let outcome = flawless(&plan);
        assert_eq!(outcome.tally.delivered, 150);
    }
    stop(server);
}

#[test]
fn without_stomp_a_message_is_a_body() {
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        stomp_listen: None,
        admin_listen: None,
        shards: 2,
        ..Config::default()
    };
    let server = services::register(Server::builder(config)).start().unwrap();
    for (_, transport) in Transport::SOCKJS {
        let mut plan = publishing(sockjs(&server, transport), Workload::Echo);
        plan.target.path = "/echo".into();
        (plan.publishers, plan.destinations) = (60, 60);
        plan.protocol = Protocol::WebSocket;
        assert_eq!(flawless(&plan).tally.delivered, 150);
    }
    stop(server);
}

#[test]
fn queues_settle_every_message_once() {
    let server = server(2);
    for (name, transport) in Transport::SOCKJS {
        for mode in [AckMode::Client, AckMode::ClientIndividual] {
            let mut plan = publishing(sockjs(&server, transport), Workload::Queue);
            (plan.destinations, plan.threads, plan.ack) = (20, 2, mode);
            plan.destination = format!("/queue/{}.{name}", mode.value());
            plan.prefetch = 2;
            let outcome = run(plan.clone(), &mut Silent).unwrap();
            let report = Report::new("queue", &plan, &outcome);
            assert_eq!(report.faults(), Vec::<String>::new(), "{mode:?}: {}", report.table());
            assert_eq!((report.delivered, report.acknowledged), (150, 150), "{mode:?}");
        }
    }
    stop(server);
}

#[test]
fn a_window_over_polls_is_closed_by_what_comes_back() {
    let server = server(1);
    let mut plan = publishing(sockjs(&server, Transport::XhrPolling), Workload::Fanout);
    plan.rate = Rate::Window(2);
    let outcome = flawless_beyond(&plan, 10);
    assert!(outcome.tally.polls <= outcome.tally.delivered);
    stop(server);
}

#[test]
fn many_subscriptions_heart_beats_and_storms() {
    let server = server(2);
    for (_, transport) in Transport::SOCKJS {
        let mut plan = publishing(sockjs(&server, transport), Workload::Many);
        (plan.destinations, plan.subscriptions) = (300, 120);
        (plan.storms, plan.storm_share) = (2, 0.5);
        (plan.heart_beat_ms, plan.hold) = (1_000, Duration::from_millis(1_500));
        let outcome = run(plan, &mut Silent).unwrap();
        assert_eq!((outcome.aborted.as_ref(), outcome.lost()), (None, 0), "{transport:?}");
        let tally = outcome.tally;
        assert_eq!((tally.churned, tally.connected), (60, 123), "{:?}", outcome.troubles);
        assert_eq!((tally.failed, tally.dropped), (0, 0), "{:?}", outcome.troubles);
        assert!(tally.beats_sent > 60, "{tally:?}");
    }
    stop(server);
}

#[test]
fn stalled_readers_are_left_out_of_what_is_expected() {
    let server = server(1);
    for transport in [Transport::XhrPolling, Transport::XhrStreaming] {
        let mut plan = publishing(sockjs(&server, transport), Workload::Fanout);
        plan.stalled_share = 0.1;
        let outcome = flawless(&plan);
        assert_eq!(outcome.tally.delivered, 54 * 150);
    }
    stop(server);
}

#[test]
fn what_is_no_endpoint_is_told() {
    let server = server(1);
    for (_, transport) in Transport::SOCKJS {
        let target = Target::parse(&format!("http://{}/nothing", server.http_address)).unwrap();
        let mut plan = Plan::new(target.by(transport).unwrap());
        plan.subscribers = 2;
        let outcome = run(plan, &mut Silent).unwrap();
        assert_eq!((outcome.tally.failed, outcome.tally.connected), (2, 0));
        let mut told = outcome.troubles.keys();
        let is_told = told.any(|what| what.contains("to a request") || what.contains("refused"));
        assert!(is_told, "{:?}", outcome.troubles);
    }
    stop(server);
}
