//! Publishing from other threads of the process: `stompede::publisher`.

use crate::client::{Client, Transport, TRANSPORTS};
use crate::support::{drivers, until};
use crate::{config, on_every_built, on_every_server, start, start_built, TestServer};
use std::sync::mpsc::channel;
use std::sync::Mutex;
use stompede::app::Payload;
use stompede::config::Config;
use stompede::publisher::{PublishError, Publisher};
use stompede::Builder;
use stompede_core::stomp::error::Error;

/// The example's own code.
#[path = "../../examples/ticker.rs"]
#[allow(dead_code)]
mod example;

fn users(config: &mut Config) {
    config.users = ["ann", "a/n"].map(|name| (name.into(), "pw".into())).to_vec();
}

fn mappings(builder: Builder) -> Builder {
    builder.subscribe("/app/live", |_| Ok(None))
}

/// Logs in; gives the session's id, too.
fn login(server: &TestServer, over: Transport, user: &str) -> (Client, String) {
    let mut client = server.open(over);
    client.send(format!("CONNECT\naccept-version:1.2\nhost:/\nlogin:{user}\npasscode:pw\n\n\0"));
    let session = client.expect("CONNECTED").get("session").to_owned();
    (client, session)
}

#[test]
fn everybody_gets_what_another_thread_publishes() {
    fn can_be_anywhere<T: Send + Sync + Clone + 'static>(it: &T) -> T {
        it.clone()
    }
    on_every_built(users, mappings, |server| {
        let publisher = can_be_anywhere(&server.handle().publisher());
        for over in TRANSPORTS {
            let (mut ann, session) = login(server, over, "ann");
            let (mut other, _) = login(server, over, "ann");
            let (mut slash, _) = login(server, over, "a/n");
            for client in [&mut ann, &mut other, &mut slash] {
                client.subscribe("t", "/topic/w/**", "");
                client.subscribe("u", "/user/queue/told", "");
            }
            ann.subscribe("a", "/app/live", "");
            let payload = || Payload::json("{\"x\":1}").header("mood", "good");
            for destination in ["/topic/w/a", "/topic/w/b", "/topic/w/c/d"] {
                assert_eq!(publisher.publish(destination, payload()), Ok(()));
                for client in [&mut ann, &mut other, &mut slash] {
                    let message = client.expect("MESSAGE");
                    assert_eq!(message.get("destination"), destination);
                    assert_eq!(message.body_text(), "{\"x\":1}");
                    let (kind, mood) = (message.get("content-type"), message.get("mood"));
                    assert_eq!((kind, mood), ("application/json", "good"));
                }
            }
            assert_eq!(publisher.publish("/app/live", "live"), Ok(()));
            assert_eq!(ann.expect("MESSAGE").get("destination"), "/app/live");
            // A user is all their sessions, an id is one of them.
            assert_eq!(publisher.send_to_user("ann", "/queue/told", "all"), Ok(()));
            for client in [&mut ann, &mut other] {
                let message = client.expect("MESSAGE");
                assert_eq!(message.get("destination"), "/user/queue/told");
                assert_eq!(message.body_text(), "all");
            }
            assert_eq!(publisher.send_to_user(&session, "/queue/told", "one"), Ok(()));
            assert_eq!(ann.expect("MESSAGE").body_text(), "one");
            assert_eq!(publisher.send_to_user("a/n", "/queue/told", "slash"), Ok(()));
            assert_eq!(slash.expect("MESSAGE").body_text(), "slash");
            // As a destination it is the same.
            assert_eq!(publisher.publish("/user/ann/queue/told", "again"), Ok(()));
            for client in [&mut ann, &mut other] {
                assert_eq!(client.expect("MESSAGE").body_text(), "again");
            }
            [ann, other, slash].iter_mut().for_each(Client::sync);
        }
        let told = server.metric("stompede_messages_undeliverable_total");
        assert_eq!(publisher.send_to_user("nobody", "/queue/told", "?"), Ok(()));
        server.wait_for_metric("stompede_messages_undeliverable_total", told + 1);
    });
}

#[test]
fn queues_keep_what_is_published_and_say_in_the_metrics_what_they_refuse() {
    on_every_server(users, |server| {
        let publisher = server.handle().publisher();
        let payload = |body: &str| {
            let payload = Payload::new(body).header("x-max-length", "2");
            payload.header("x-overflow", "reject-publish")
        };
        for body in ["one", "two", "three"] {
            assert_eq!(publisher.publish("/queue/orders", payload(body)), Ok(()));
        }
        server.wait_for_metric("stompede_queue_refused_total", 1);
        let (mut ann, _) = login(server, Transport::Tcp, "ann");
        ann.subscribe("q", "/queue/orders", "");
        for body in ["one", "two"] {
            assert_eq!(ann.expect("MESSAGE").body_text(), body);
        }
        ann.sync();
    });
}

/// Each thread's messages, in their order, on every destination.
fn check_order(server: &TestServer, threads_count: usize) {
    const COUNT: usize = 300;
    let publisher = server.handle().publisher();
    let mut clients: Vec<Client> = (0..4).map(|_| server.session(Transport::Tcp)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("t", "/topic/order/*", ""));
    std::thread::scope(|scope| {
        for thread in 0..threads_count {
            let publisher = publisher.clone();
            scope.spawn(move || {
                for number in 0..COUNT {
                    for destination in ["/topic/order/all", &format!("/topic/order/{thread}")] {
                        let body = format!("{thread} {number}");
                        assert_eq!(publisher.publish(destination, body), Ok(()));
                    }
                }
            });
        }
        for client in &mut clients {
            let mut next = std::collections::HashMap::new();
            for _ in 0..threads_count * COUNT * 2 {
                let message = client.expect("MESSAGE");
                let (thread, number) = message.body_text().split_once(' ').expect("two words");
                let place = (message.get("destination").to_owned(), thread.to_owned());
                let next = next.entry(place).or_insert(0);
                assert_eq!(number.parse(), Ok(*next), "{message:?}");
                *next += 1;
            }
        }
    });
    clients.iter_mut().for_each(Client::sync);
}

#[test]
fn the_order_of_every_thread_is_kept_on_every_destination() {
    let change = |config: &mut Config| config.outbound_bytes_max = 4 << 20;
    on_every_server(change, |server| check_order(server, 4));
    for io in drivers() {
        let mut config = Config { io, shards: 4, ..config() };
        change(&mut config);
        let server = start(config).expect("a driver that works");
        check_order(&server, 3);
        assert_eq!(server.end(), 0);
    }
}

#[test]
fn a_full_inbox_is_an_error_and_not_for_ever() {
    for io in drivers() {
        let mut config = Config { io, ..config() };
        config.limits.publisher_inbox_bytes_max = 2_000;
        // The only shard stands still while its mapping waits.
        let (entered, is_entered) = channel();
        let (release, is_released) = channel::<()>();
        let ends = std::sync::Arc::new((Mutex::new(entered), Mutex::new(is_released)));
        let build = |builder: Builder| {
            let ends = ends.clone();
            builder.message("/app/stop", move |_, _| {
                ends.0.lock().expect("whole").send(()).expect("the test waits");
                ends.1.lock().expect("whole").recv().expect("the test goes on");
                Ok(())
            })
        };
        let server = start_built(config, build).expect("a driver that works");
        let publisher = server.handle().publisher();
        let mut client = server.session(Transport::Tcp);
        client.subscribe("t", "/topic/a", "");
        client.publish("/app/stop", "");
        is_entered.recv().expect("the mapping runs");
        let body = "x".repeat(1_500);
        assert_eq!(publisher.publish("/topic/a", &*body), Ok(()));
        let full = publisher.publish("/topic/a", &*body).expect_err("as much waits as may");
        let PublishError::Full { seen, limit } = full else { panic!("{full}") };
        assert!(seen > limit && limit == 2_000, "{full}");
        assert!(full.to_string().contains("--publisher-inbox-max"), "{full}");
        release.send(()).expect("the mapping waits");
        assert_eq!(client.expect("MESSAGE").body_text(), body);
        until("room", || publisher.publish("/topic/a", &*body) == Ok(()));
        assert_eq!(client.expect("MESSAGE").body_text(), body);
        client.sync();
    }
}

#[test]
fn a_server_that_drains_takes_nothing_more() {
    on_every_server(
        |_| {},
        |server| {
            let publisher = server.handle().publisher();
            let mut client = server.session(Transport::Tcp);
            client.subscribe("t", "/topic/a", "");
            assert_eq!(publisher.publish("/topic/a", "last"), Ok(()));
            assert_eq!(client.expect("MESSAGE").body_text(), "last");
            server.handle().drain();
            assert_eq!(publisher.publish("/topic/a", "late"), Err(PublishError::Drained));
            let late = publisher.send_to_user("ann", "/queue/a", "late");
            assert_eq!(late, Err(PublishError::Drained));
            client.expect("ERROR");
        },
    );
    let server = start(config()).expect("a driver that works");
    let publisher = server.handle().publisher();
    assert_eq!(server.end(), 0);
    let late = publisher.publish("/topic/a", "late").expect_err("too late");
    assert_eq!(
        (late, &*late.to_string()),
        (PublishError::Drained, "the server ends: publish nothing more")
    );
}

#[test]
fn what_cannot_be_published_is_an_error_at_once() {
    let server = start(config()).expect("a driver that works");
    let publisher = server.handle().publisher();
    let mut client = server.session(Transport::Tcp);
    client.subscribe("t", "/topic/**", "");
    let long = format!("/topic/{}", "x".repeat(2_000));
    for (destination, wanted) in [
        ("", Error::BadDestination),
        ("/topic/", Error::BadDestination),
        ("/topic/a\n", Error::BadDestination),
        ("/user/queue/x", Error::BadDestination),
        ("/user/ann/x", Error::BadDestination),
        ("/topic/*", Error::SendToPattern),
        ("/user/ann/queue/*", Error::SendToPattern),
        ("/queue/**", Error::SendToPattern),
        ("/temp-queue/x", Error::MisusedDestination),
        (&long, Error::DestinationTooLong { seen: 2_007, limit: 1_024 }),
    ] {
        let error = publisher.publish(destination, "x").expect_err(destination);
        assert_eq!(error, PublishError::Invalid(wanted), "{destination}");
    }
    let unknown = publisher.publish("/nowhere/x", "x").expect_err("no kind").to_string();
    assert!(unknown.contains("unknown prefix"), "{unknown}");
    for user in ["", "a%2Fb", "a\n"] {
        let error = publisher.send_to_user(user, "/queue/x", "x");
        assert_eq!(error, Err(PublishError::Invalid(Error::BadDestination)), "{user:?}");
    }
    check_payloads(&publisher);
    // The client saw nothing of it.
    assert_eq!(publisher.publish("/topic/good", "x"), Ok(()));
    assert_eq!(client.expect("MESSAGE").get("destination"), "/topic/good");
}

fn check_payloads(publisher: &Publisher) {
    let many = (0..200).fold(Payload::new("x"), |payload, n| payload.header(&n.to_string(), "x"));
    let lines = |count: usize| {
        let value = "x".repeat(16_000);
        (0..count).fold(Payload::new("x"), |payload, n| payload.header(&n.to_string(), &value))
    };
    let queue = |name, value| Payload::new("x").header(name, value);
    for (destination, payload, wanted) in [
        ("/topic/a", many, "seen too many headers, limit is 128"),
        ("/topic/a", Payload::new("x").header("a", &"x".repeat(20_000)), "limit is 16384 bytes"),
        ("/topic/a", lines(5), "limit is 65536 bytes"),
        ("/topic/a", Payload::new(vec![0; 1 << 20]), "limit is 1048576 bytes"),
        ("/queue/a", queue("expires", "soon"), "the header 'expires'"),
        ("/queue/a", queue("x-max-length", "many"), "the header 'x-max-length'"),
    ] {
        let error = publisher.publish(destination, payload).expect_err(wanted);
        assert!(matches!(error, PublishError::Invalid(_)), "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn the_ticker_of_the_examples() {
    on_every_server(
        |_| {},
        |server| {
            let publisher = server.handle().publisher();
            let mut client = server.session(Transport::Ws);
            client.subscribe("p", "/topic/price/*", "");
            std::thread::scope(|scope| {
                scope.spawn(|| example::tick(&publisher, std::time::Duration::from_millis(1)));
                let mut numbers = Vec::new();
                for _ in 0..6 {
                    let message = client.expect("MESSAGE");
                    assert_eq!(message.get("content-type"), "application/json");
                    numbers.push(message.get("destination").to_owned());
                }
                numbers.sort_unstable();
                numbers.dedup();
                assert_eq!(numbers, ["/topic/price/apples", "/topic/price/pears"]);
                // It ends with the server.
                server.handle().drain();
            });
        },
    );
}
