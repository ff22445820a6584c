//! A short soak of the real server: all parts at once, nothing wrong, nothing left behind.

use std::time::Duration;
use stompede::config::{Config, IoChoice};
use stompede::Server;
use stompede_bench::plan::{Plan, Rate, Target};
use stompede_bench::run::Silent;
use stompede_bench::soak::scrape::Source;
use stompede_bench::soak::{run, Terms};

#[test]
fn everything_at_once_is_flawless_and_leaves_nothing_behind() {
    let server = Server::start(Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        stomp_listen: None,
        admin_listen: Some("127.0.0.1:0".parse().unwrap()),
        shards: 2,
        io: IoChoice::Auto,
        ..Config::default()
    })
    .unwrap();
    let target = Target::parse(&format!("ws://{}/ws", server.http_address)).unwrap();
    let mut plan = Plan::new(target);
    (plan.subscribers, plan.publishers, plan.storm_share) = (200, 2, 0.5);
    plan.rate = Rate::PerSecond(200.0);
    plan.duration = Duration::from_secs(6);
    plan.pid = Some(std::process::id());
    let metrics = format!("http://{}/metrics", server.admin_address.unwrap());
    let terms = Terms {
        metrics: Some(Source::parse(&metrics).unwrap()),
        churn_per_second: 0.5,
        storm_every: Duration::from_secs(1),
        // The generator's own memory is in it, and these seconds are few.
        growth_max: f64::MAX,
        drift_max: f64::MAX,
    };
    let report = run(&plan, &terms, &mut Silent).unwrap();
    assert_eq!(report.faults(), Vec::<String>::new(), "{}", report.table());
    let soak = report.soak.as_ref().unwrap();
    let part = |name: &str| &soak.parts[name];
    assert_eq!(part("fanout").delivered, 80 * 1_200);
    assert_eq!(part("queue").delivered, 1_200);
    assert_eq!(part("echo").delivered, 1_200);
    assert!(part("guests").storms_s.len() >= 2 && part("guests").churned >= 30);
    assert!(part("queue").churned > 40, "consumers come and go while it is published");
    assert!(part("stalled").churned > 0);
    assert!(soak.memory.is_some() && soak.drift.is_some());
    assert!(soak.counters["stompede_messages_published_total"].len() >= 2);
    assert!(report.table().contains("a minute"));
    server.drain();
    assert_eq!(server.wait(), 0);
}
