//! What a bad server does must be seen, and a stall must show in the percentiles.

use crate::fake;
use std::sync::Mutex;
use std::time::Duration;
use stompede_bench::plan::{Plan, Rate, Target, Workload};
use stompede_bench::queue::AckMode;
use stompede_bench::report::Report;
use stompede_bench::run::{run, Outcome, Silent};

const SUBSCRIBERS: u32 = 3;

/// Messages a second.
const RATE: f64 = 200.0;
/// Seconds without a message after which those that are missing are lost: where some are, it is
/// waited for them in vain.
const LOSSY_S: u64 = 2;
const LOSSLESS_S: u64 = 30;

/// 100 messages within a second to three subscribers.
fn load(address: std::net::SocketAddr, settle_s: u64) -> (Plan, Outcome) {
    let mut plan = Plan::new(Target::parse(&format!("tcp://{address}")).unwrap());
    plan.workload = Workload::Fanout;
    (plan.subscribers, plan.publishers) = (SUBSCRIBERS, 1);
    plan.rate = Rate::PerSecond(RATE);
    plan.duration = Duration::from_secs_f64(100.0 / RATE);
    plan.settle = Duration::from_secs(settle_s);
    let outcome = run(plan.clone(), &mut Silent).unwrap();
    assert_eq!(outcome.aborted, None);
    assert_eq!(outcome.tally.published, 100);
    (plan, outcome)
}

#[test]
fn an_honest_fake_passes() {
    let (plan, outcome) = load(fake::start(|_, body| vec![body]), LOSSLESS_S);
    let report = Report::new("fanout", &plan, &outcome);
    assert_eq!(report.faults(), Vec::<String>::new());
    assert_eq!(outcome.tally.delivered, 300);
    assert_eq!(outcome.latencies.count(), 300);
}

#[test]
fn lost_messages_are_counted() {
    // One in the middle and the last one, behind which nothing comes.
    let spoil = |number, body| if number == 40 || number == 99 { vec![] } else { vec![body] };
    let (plan, outcome) = load(fake::start(spoil), LOSSY_S);
    assert_eq!(outcome.lost(), 2 * u64::from(SUBSCRIBERS));
    assert_eq!((outcome.tally.duplicates, outcome.tally.reordered), (0, 0));
    assert_eq!(Report::new("fanout", &plan, &outcome).faults(), ["lost 6"]);
}

#[test]
fn duplicates_are_counted_and_not_as_deliveries() {
    let spoil = |number, body: Vec<u8>| match number {
        7 => vec![body.clone(), body.clone(), body],
        _ => vec![body],
    };
    let (_, outcome) = load(fake::start(spoil), LOSSLESS_S);
    assert_eq!(outcome.tally.duplicates, 2 * u64::from(SUBSCRIBERS));
    assert_eq!((outcome.lost(), outcome.tally.reordered), (0, 0));
    assert_eq!(outcome.tally.delivered, 300);
}

#[test]
fn reordered_messages_are_counted() {
    let held = Mutex::new(None);
    let spoil = move |number, body: Vec<u8>| match number {
        50 => {
            *held.lock().unwrap() = Some(body);
            vec![]
        }
        51 => vec![body, held.lock().unwrap().take().unwrap()],
        _ => vec![body],
    };
    let (_, outcome) = load(fake::start(spoil), LOSSLESS_S);
    assert_eq!(outcome.tally.reordered, u64::from(SUBSCRIBERS));
    assert_eq!((outcome.lost(), outcome.tally.duplicates), (0, 0));
}

#[test]
fn changed_bodies_are_counted() {
    let spoil = |number, mut body: Vec<u8>| {
        if number == 3 {
            body[90] ^= 1;
        }
        if number == 4 {
            body[30] ^= 1;
        }
        vec![body]
    };
    let (_, outcome) = load(fake::start(spoil), LOSSY_S);
    assert_eq!(outcome.tally.corrupt, 2 * u64::from(SUBSCRIBERS));
    assert_eq!(outcome.lost(), 2 * u64::from(SUBSCRIBERS));
}

/// One consumer of one queue, 100 messages.
fn consume(address: std::net::SocketAddr, settle_s: u64) -> Report {
    let mut plan = Plan::new(Target::parse(&format!("tcp://{address}")).unwrap());
    (plan.workload, plan.ack) = (Workload::Queue, AckMode::Client);
    (plan.subscribers, plan.publishers) = (1, 1);
    plan.rate = Rate::PerSecond(RATE);
    plan.duration = Duration::from_millis(500);
    plan.settle = Duration::from_secs(settle_s);
    let outcome = run(plan.clone(), &mut Silent).unwrap();
    Report::new("queue", &plan, &outcome)
}

#[test]
fn a_message_of_a_queue_that_comes_twice_without_saying_so_is_counted() {
    let spoil = |number, body: Vec<u8>| match number {
        7 => vec![body.clone(), body],
        30 => vec![],
        _ => vec![body],
    };
    let report = consume(fake::start(spoil), LOSSY_S);
    assert_eq!(report.faults(), ["lost 1", "duplicates 1"]);
    assert_eq!(report.acknowledged, 100);
}

#[test]
fn a_message_that_comes_back_after_its_ack_is_counted() {
    let report = consume(fake::start_forgetful(), LOSSLESS_S);
    assert_eq!(report.faults(), ["unsettled 100"]);
    assert_eq!((report.delivered, report.redelivered), (100, 100));
}

/// Coordinated omission: 100 messages in 500 ms, the server stops for 300 ms after the 20th. A
/// generator that waited with its publishing, or measured from when it sent, would show one slow
/// message; every one that was due meanwhile is slow.
#[test]
fn a_stall_of_the_server_shows_in_the_percentiles() {
    let spoil = |number, body| {
        if number == 20 {
            std::thread::sleep(Duration::from_millis(300));
        }
        vec![body]
    };
    let (_, outcome) = load(fake::start(spoil), LOSSLESS_S);
    assert_eq!(outcome.lost(), 0);
    // 60 messages were due in the stall, 40 of them at least 100 ms before its end.
    assert!(outcome.latencies.percentile_us(61.0) >= 100_000.0, "{:?}", outcome.latency());
    assert!(outcome.latency().max_us >= 300_000.0, "{:?}", outcome.latency());
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // The port is the client's, so that nobody else can listen there.
    let address = client.local_addr().unwrap();
    let mut plan = Plan::new(Target::parse(&format!("tcp://{address}")).unwrap());
    plan.subscribers = 5;
    let outcome = run(plan, &mut Silent).unwrap();
    assert_eq!(outcome.tally.failed, 5);
    assert!(outcome.aborted.is_some());
    assert!(outcome.troubles.keys().any(|what| what.contains("refused")), "{:?}", outcome.troubles);
}
