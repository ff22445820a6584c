//! The real server at modest load: nothing lost, whatever the transport, version and scenario.

use std::time::Duration;
use stompede::config::{Config, IoChoice};
use stompede::{Handle, Server};
use stompede_bench::plan::{Plan, Rate, Target, Workload};
use stompede_bench::queue::AckMode;
use stompede_bench::report::Report;
use stompede_bench::run::{run, Outcome, Silent};

pub fn server(shards: usize) -> Handle {
    start(shards, Config::default())
}

/// On ports of the system's choice.
pub fn start(shards: usize, config: Config) -> Handle {
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        stomp_listen: Some("127.0.0.1:0".parse().unwrap()),
        admin_listen: None,
        shards,
        io: IoChoice::Auto,
        connections_max: 1_000,
        ..config
    };
    Server::start(config).unwrap()
}

pub fn stop(server: Handle) {
    server.drain();
    assert_eq!(server.wait(), 0);
}

fn ws(server: &Handle) -> Plan {
    Plan::new(Target::parse(&format!("ws://{}/ws", server.http_address)).unwrap())
}

pub fn publishing(mut plan: Plan, workload: Workload) -> Plan {
    plan.workload = workload;
    (plan.subscribers, plan.publishers) = (60, 3);
    plan.rate = Rate::PerSecond(300.0);
    plan.duration = Duration::from_millis(500);
    // Only a message that is lost is waited for as long.
    plan.settle = Duration::from_secs(30);
    plan
}

pub fn flawless(plan: &Plan) -> Outcome {
    let outcome = run(plan.clone(), &mut Silent).unwrap();
    let report = Report::new("test", plan, &outcome);
    assert_eq!(report.faults(), Vec::<String>::new(), "{}", report.table());
    assert_eq!(outcome.tally.connected, u64::from(plan.connections()));
    if let (Rate::PerSecond(rate), true) = (plan.rate, plan.workload != Workload::Idle) {
        let messages = (rate * plan.duration.as_secs_f64()) as u64;
        assert_eq!(outcome.tally.published, messages);
        assert_eq!(outcome.latencies.count(), outcome.tally.expected);
    }
    outcome
}

/// Runs until more than so many are published: how many that are in the time of one run, the
/// machine decides.
pub fn flawless_beyond(plan: &Plan, count: u64) -> Outcome {
    let runs = std::iter::repeat_with(|| flawless(plan)).take(20);
    let mut enough = runs.filter(|outcome| outcome.tally.published > count);
    enough.next().expect("the window opens again")
}

#[test]
fn fanout_over_both_transports_and_all_versions() {
    let server = server(2);
    let tcp = Target::parse(&format!("tcp://{}", server.stomp_address.unwrap())).unwrap();
    for version in ["1.0", "1.1", "1.2"] {
        for target in [ws(&server).target, tcp.clone()] {
            let mut plan = publishing(Plan::new(target), Workload::Fanout);
            plan.version = version.into();
            let outcome = flawless(&plan);
            assert_eq!(outcome.tally.delivered, 60 * 150);
            assert!(outcome.frame_bytes > plan.body_bytes);
        }
    }
    stop(server);
}

#[test]
fn epoll_loses_nothing_either() {
    let server = server(1);
    let mut plan = publishing(ws(&server), Workload::Fanout);
    plan.is_epoll = true;
    flawless(&plan);
    stop(server);
}

#[test]
fn two_threads_share_the_work() {
    let server = server(1);
    let mut plan = publishing(ws(&server), Workload::Fanout);
    plan.threads = 2;
    let outcome = flawless(&plan);
    // Every broadcast, from the workers together.
    let (first, last) = (&outcome.broadcasts.first, &outcome.broadcasts.last);
    assert_eq!((first.count(), last.count()), (150, 150));
    assert_eq!(last.percentile_us(100.0), outcome.latencies.percentile_us(100.0));
    assert_eq!(first.percentile_us(0.0), outcome.latencies.percentile_us(0.0));
    assert!(first.percentile_us(50.0) <= last.percentile_us(50.0));
    stop(server);
}

#[test]
fn many_destinations_with_several_subscriptions_each() {
    let server = server(2);
    let mut plan = publishing(ws(&server), Workload::Many);
    (plan.destinations, plan.subscriptions, plan.zipf) = (300, 120, 1.1);
    let outcome = flawless(&plan);
    assert_eq!(outcome.tally.delivered, 150 * 60 * 120 / 300);
    stop(server);
}

#[test]
fn echoes_come_back() {
    let server = server(1);
    let mut plan = publishing(ws(&server), Workload::Echo);
    (plan.publishers, plan.destinations) = (60, 60);
    let outcome = flawless(&plan);
    assert_eq!(outcome.tally.delivered, 150);
    stop(server);
}

#[test]
fn a_window_bounds_what_is_on_its_way() {
    let server = server(1);
    let mut plan = publishing(ws(&server), Workload::Fanout);
    plan.rate = Rate::Window(64);
    flawless_beyond(&plan, 64);
    stop(server);
}

#[test]
fn queues_settle_every_message_once_in_every_mode_and_version() {
    let server = server(2);
    let tcp = Target::parse(&format!("tcp://{}", server.stomp_address.unwrap())).unwrap();
    let modes = [AckMode::Auto, AckMode::Client, AckMode::ClientIndividual];
    for (mode, version) in modes.iter().flat_map(|&mode| [(mode, "1.2"), (mode, "1.1")]) {
        let target = if version == "1.1" { tcp.clone() } else { ws(&server).target };
        let mut plan = publishing(Plan::new(target), Workload::Queue);
        (plan.destinations, plan.threads, plan.ack) = (20, 2, mode);
        plan.destination = format!("/queue/{}.{version}", mode.value());
        // Only who acknowledges gets all of its share.
        (plan.prefetch, plan.rate) = (2, Rate::PerSecond(2_000.0));
        plan.version = version.into();
        let outcome = run(plan.clone(), &mut Silent).unwrap();
        let report = Report::new("queue", &plan, &outcome);
        assert_eq!(report.faults(), Vec::<String>::new(), "{mode:?}: {}", report.table());
        assert_eq!((report.delivered, report.acknowledged), (1_000, 1_000), "{mode:?}");
        assert_eq!((report.redelivered, report.churned), (0, 60), "{mode:?}");
    }
    stop(server);
}

#[test]
fn stalled_readers_are_left_out_of_what_is_expected() {
    let server = server(1);
    let mut plan = publishing(ws(&server), Workload::Fanout);
    plan.stalled_share = 0.1;
    let outcome = flawless(&plan);
    assert_eq!(outcome.tally.delivered, 54 * 150);
    stop(server);
}

#[test]
fn after_a_storm_everybody_is_back() {
    let server = server(1);
    let mut plan = ws(&server);
    (plan.subscribers, plan.storms, plan.storm_share) = (60, 2, 0.5);
    let outcome = run(plan, &mut Silent).unwrap();
    assert_eq!(outcome.aborted, None);
    assert_eq!(outcome.storms_s.len(), 2);
    assert_eq!((outcome.tally.churned, outcome.tally.connected), (60, 120));
    assert_eq!((outcome.tally.failed, outcome.tally.dropped), (0, 0));
    stop(server);
}

#[test]
fn a_source_that_is_taken_is_a_retry_from_another() {
    let server = server(1);
    for (is_epoll, first_seed) in [(false, 0), (true, 1_000)] {
        let mut plan = ws(&server);
        plan.sources = vec!["127.7.0.1".parse().unwrap()];
        (plan.subscribers, plan.is_epoll) = (5, is_epoll);
        // A listener keeps the third one's port to itself.
        let mut taken = None;
        for seed in first_seed..first_seed + 1_000 {
            plan.seed = seed;
            taken = std::net::TcpListener::bind(plan.source(2).unwrap()).ok();
            if taken.is_some() {
                break;
            }
        }
        assert!(taken.is_some(), "no port to take");
        let outcome = flawless(&plan);
        assert_eq!((outcome.tally.retried, outcome.tally.failed), (1, 0));
        assert_eq!(outcome.troubles.len(), 1, "{:?}", outcome.troubles);
    }
    stop(server);
}

#[test]
fn who_comes_back_comes_from_a_source_that_nobody_had() {
    let server = server(1);
    let mut plan = ws(&server);
    plan.sources = vec!["127.7.0.2".parse().unwrap(), "127.7.0.3".parse().unwrap()];
    (plan.subscribers, plan.storms, plan.threads, plan.seed) = (60, 2, 2, 20_000);
    let outcome = run(plan, &mut Silent).unwrap();
    assert_eq!((outcome.aborted, outcome.tally.failed), (None, 0));
    assert_eq!((outcome.tally.churned, outcome.tally.retried), (120, 0));
    stop(server);
}

#[test]
fn a_wrong_login_is_told() {
    let server = Server::start(Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        stomp_listen: None,
        admin_listen: None,
        shards: 1,
        users: vec![("ann".into(), "secret".into())],
        ..Config::default()
    })
    .unwrap();
    let mut plan = ws(&server);
    plan.subscribers = 2;
    plan.login = Some(("ann".into(), "wrong".into()));
    let outcome = run(plan.clone(), &mut Silent).unwrap();
    assert!(outcome.aborted.is_some());
    assert!(
        outcome.troubles.keys().any(|what| what.starts_with("ERROR")),
        "{:?}",
        outcome.troubles
    );
    plan.login = Some(("ann".into(), "secret".into()));
    flawless(&plan);
    stop(server);
}
