//! Application destinations: mappings of the library, and service connections.
//!
//! Issue 5 item 10; stomp.md §2.1 `/app`, `@SubscribeMapping`, `@MessageExceptionHandler`.

use crate::client::{Client, Event, Transport, TRANSPORTS};
use crate::{on_every_built, TestServer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stompede::app::{AppError, Context, Message, Payload};
use stompede::config::Config;
use stompede::{Builder, Server, StartError};

/// The example's own code.
#[path = "../../examples/greeting.rs"]
#[allow(dead_code)]
mod example;

fn users(config: &mut Config) {
    config.users = ["ann", "bob", "worker"].map(|name| (name.into(), "pw".into())).to_vec();
    config.rules = vec![
        "allow user:worker both /app/**".to_owned(),
        "allow user:worker publish /user/**".to_owned(),
    ];
}

fn mappings(builder: Builder) -> Builder {
    let total = Arc::new(AtomicU64::new(0));
    let seen = total.clone();
    // Counts who said that the first snapshot may come.
    let released = Arc::new(AtomicU64::new(0));
    let releases = released.clone();
    builder
        .message("/app/hello/{name}", |context, message| {
            let name = context.param("name").unwrap_or_default();
            let user = context.user().unwrap_or("nobody");
            let text = format!("{user} greets {name}: {}", message.text()?);
            context.publish("/topic/greetings", Payload::new(text).header("mood", "good"));
            Ok(())
        })
        .message("/app/echo", |context, message| {
            context.reply("/queue/echo", message.body());
            Ok(())
        })
        .message("/app/tell/{user}", |context, message| {
            let user = context.param("user").unwrap_or_default();
            context.send_to_user(user, "/queue/told", message.body());
            Ok(())
        })
        .message("/app/fail", |_, _| Err(AppError::new("seen nothing good")))
        .message("/app/fail/{why}", |_, _| Err(AppError::new("seen nothing\nat all")))
        .message("/app/panic", |_, _| panic!("the mapping's fault"))
        .message_async("/app/later", later)
        .message_async("/app/later/panic", |_, _| async {
            monoio::time::sleep(Duration::from_millis(1)).await;
            panic!("the task's fault")
        })
        .message("/app/add", move |context, _| {
            let now = total.fetch_add(1, Ordering::SeqCst) + 1;
            context.publish("/topic/total", now.to_string());
            context.publish("/topic/total/slowly", now.to_string());
            context.publish("/app/total", now.to_string());
            Ok(())
        })
        .subscribe_async("/topic/total/slowly", {
            let seen = seen.clone();
            move |_| {
                let seen = seen.clone();
                async move {
                    let then = seen.load(Ordering::SeqCst);
                    monoio::time::sleep(Duration::from_millis(5)).await;
                    Ok(Some(Payload::new(then.to_string()).header("snapshot", "true")))
                }
            }
        })
        .message("/app/release", move |_, _| {
            releases.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .subscribe_async("/topic/slow/first", move |_| {
            let released = released.clone();
            async move {
                let then = released.load(Ordering::SeqCst);
                while released.load(Ordering::SeqCst) == then {
                    monoio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(Some(Payload::from("first")))
            }
        })
        .subscribe_async("/topic/slow/{what}", |context| async move {
            let pause = Duration::from_millis(50);
            monoio::time::sleep(pause).await;
            match context.param("what") {
                Some("broken") => Err(AppError::new("no state today")),
                Some("panic") => panic!("the task's fault"),
                Some("nothing") => Ok(None),
                Some("never") => std::future::pending().await,
                what => Ok(what.map(Payload::from)),
            }
        })
        .subscribe("/topic/total", {
            let seen = seen.clone();
            move |_| Ok(Some(seen.load(Ordering::SeqCst).to_string().into()))
        })
        .subscribe("/app/total", move |_| Ok(Some(seen.load(Ordering::SeqCst).to_string().into())))
        .subscribe("/app/of/{what}", |context| Ok(context.param("what").map(Payload::from)))
        .subscribe("/app/broken", |_| Err(AppError::new("no state today")))
}

async fn later(context: Context, message: Message) -> Result<(), AppError> {
    monoio::time::sleep(Duration::from_millis(5)).await;
    match message.text()? {
        "bad" => Err(AppError::new("it was bad")),
        text => {
            context.reply("/queue/echo", format!("later {text}"));
            Ok(())
        }
    }
}

fn login(server: &TestServer, over: Transport, user: &str) -> Client {
    let mut client = server.open(over);
    client.send(format!("CONNECT\naccept-version:1.2\nhost:/\nlogin:{user}\npasscode:pw\n\n\0"));
    client.expect("CONNECTED");
    client
}

#[test]
fn mappings_answer_everybody_one_user_and_one_session() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            let (mut ann, mut bob) = (login(server, over, "ann"), login(server, over, "bob"));
            let mut other = login(server, over, "ann");
            for client in [&mut ann, &mut bob, &mut other] {
                client.subscribe("g", "/topic/greetings", "");
                client.subscribe("e", "/user/queue/echo", "");
                client.subscribe("t", "/user/queue/told", "");
            }
            ann.publish("/app/hello/world", "hi");
            for client in [&mut ann, &mut bob, &mut other] {
                let message = client.expect("MESSAGE");
                assert_eq!(message.body_text(), "ann greets world: hi");
                let (destination, mood) = (message.get("destination"), message.get("mood"));
                assert_eq!((destination, mood), ("/topic/greetings", "good"));
            }
            ann.publish("/app/echo", "only me");
            let message = ann.expect("MESSAGE");
            assert_eq!(message.get("destination"), "/user/queue/echo");
            assert_eq!(message.body_text(), "only me");
            bob.publish("/app/tell/ann", "both of you");
            for client in [&mut ann, &mut other] {
                let message = client.expect("MESSAGE");
                assert_eq!(
                    (message.get("subscription"), message.body_text()),
                    ("t", "both of you")
                );
            }
            [ann, bob, other].iter_mut().for_each(Client::sync);
        }
        assert_eq!(server.metric("stompede_app_errors_total"), 0);
    });
}

#[test]
fn errors_and_panics_go_to_the_clients_errors_and_the_session_lives() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            let mut client = login(server, over, "ann");
            // Without a subscription for errors they are counted and nothing else.
            client.publish("/app/fail", "");
            client.sync();
            client.subscribe("x", "/user/queue/errors", "");
            for (destination, body, error) in [
                ("/app/fail", "", "seen nothing good"),
                ("/app/panic", "", "internal error"),
                ("/app/later", "bad", "it was bad"),
                ("/app/later/panic", "", "internal error"),
            ] {
                client.publish(destination, body);
                let message = client.expect("MESSAGE");
                assert_eq!((message.get("message"), message.body_text()), (error, error));
                assert_eq!(message.get("destination"), "/user/queue/errors");
                assert_eq!(message.get("failed-destination"), destination);
            }
            client.subscribe("b", "/app/broken", "");
            assert_eq!(client.expect("MESSAGE").body_text(), "no state today");
            client.sync();
        }
        server.wait_for_metric("stompede_app_errors_total", 2 * 6);
        server.wait_for_metric("stompede_handler_panics_total", 2 * 2);
    });
}

/// The log of this process, from the first test that asks for it.
#[derive(Clone, Copy)]
struct Log;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_that_nobody_listens_to_is_logged() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::level_filters::LevelFilter::WARN)
        .with_ansi(false)
        .with_writer(|| Log);
    subscriber.init();
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            let address = server.address(over);
            let mut client = login(server, over, "ann");
            client.publish(&format!("/app/fail/{address}"), "");
            client.sync();
            // Who listens is told, and nobody else.
            client.subscribe("x", "/user/queue/errors", "");
            client.publish(&format!("/app/fail/heard-{address}"), "");
            client.expect("MESSAGE");
            let log = String::from_utf8(LOG.lock().expect("whole").clone()).expect("text");
            let destination = format!("destination=\"/app/fail/{address}\"");
            let line = log.lines().find(|line| line.contains(&destination)).expect("a line");
            assert!(line.contains("WARN") && line.contains("a mapping failed"), "{line}");
            assert!(line.contains("error=\"seen nothing\\nat all\""), "{line}");
            assert!(!log.contains(&format!("heard-{address}")));
        }
    });
}

#[test]
fn asynchronous_mappings_answer_later_and_bounded() {
    let change = |config: &mut Config| {
        users(config);
        config.limits.app_tasks_count_max = 3;
    };
    on_every_built(change, mappings, |server| {
        for over in TRANSPORTS {
            let mut client = login(server, over, "ann");
            client.subscribe("e", "/user/queue/echo", "");
            client.subscribe("x", "/user/queue/errors", "");
            // Whoever leaves does not take the server along.
            let mut leaver = login(server, over, "bob");
            leaver.publish("/app/later", "nobody");
            leaver.sync();
            drop(leaver);
            let frame = |number| format!("SEND\ndestination:/app/later\n\n{number}\0");
            match over {
                Transport::Tcp => client.send((0..50).map(frame).collect::<String>()),
                Transport::Ws => (0..50).for_each(|number| client.send(frame(number))),
            }
            let (mut done, mut refused) = (0, 0);
            while done + refused < 50 {
                let message = client.expect("MESSAGE");
                match message.get("subscription") {
                    "e" => done += 1,
                    _ => {
                        assert_eq!(message.body_text(), "too busy: try again later");
                        refused += 1;
                    }
                }
            }
            assert!(done > 0);
            assert!(over == Transport::Ws || refused > 0, "{done} at once");
            client.sync();
        }
    });
}

#[test]
fn the_greeting_of_springs_guide() {
    let build = |builder: Builder| builder.message_async("/app/hello", example::greeting);
    on_every_built(users, build, |server| {
        for over in TRANSPORTS {
            let mut client = login(server, over, "ann");
            client.subscribe("g", "/topic/greetings", "");
            client.subscribe("x", "/user/queue/errors", "");
            client.publish("/app/hello", "{\"name\":\"wörld\"}");
            let greeting = client.expect("MESSAGE");
            assert_eq!(greeting.body_text(), "{\"content\":\"Hello, wörld!\"}");
            assert_eq!(greeting.get("content-type"), "application/json");
            client.publish("/app/hello", "{\"name\":\"\"}");
            assert_eq!(client.expect("MESSAGE").get("message"), "seen no name\\c say who you are");
            client.publish("/app/hello", "no json");
            assert_eq!(client.expect("MESSAGE").get("destination"), "/user/queue/errors");
        }
    });
}

#[test]
fn a_snapshot_comes_first_and_nothing_is_missing_behind_it() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            for destination in ["/topic/total", "/app/total"] {
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let mut adder = login(server, over, "bob");
                        for _ in 0..300 {
                            adder.publish("/app/add", "");
                        }
                        adder.sync();
                    });
                    let mut client = login(server, over, "ann");
                    for _ in 0..20 {
                        client.send(format!("SUBSCRIBE\nid:s\ndestination:{destination}\n\n\0"));
                        client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
                        // What is in the snapshot may come once more; nothing is left out.
                        let mut newest: Option<u64> = None;
                        while let Event::Frame(frame) = client.next_but_beats() {
                            if frame.command == "RECEIPT" {
                                break;
                            }
                            let number: u64 = frame.body_text().parse().expect("a number");
                            let is_next = newest.is_none_or(|newest| number <= newest + 1);
                            assert!(is_next, "{number} after {newest:?}");
                            newest = newest.max(Some(number));
                        }
                        assert!(newest.is_some(), "no snapshot");
                    }
                });
            }
            let mut client = login(server, over, "ann");
            client.subscribe("of", "/app/of/mice", "");
            assert_eq!(client.expect("MESSAGE").body_text(), "mice");
            client.sync();
        }
    });
}

#[test]
fn a_slow_snapshot_comes_first_and_nothing_is_missing_behind_it() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            std::thread::scope(|scope| {
                let adder = || {
                    let mut adder = login(server, over, "bob");
                    for _ in 0..600 {
                        adder.publish("/app/add", "");
                        adder.sync();
                    }
                };
                scope.spawn(adder);
                let mut client = login(server, over, "ann");
                for _ in 0..10 {
                    client.subscribe("s", "/topic/total/slowly", "");
                    let first = client.expect("MESSAGE");
                    assert_eq!(first.get("snapshot"), "true");
                    let mut newest: u64 = first.body_text().parse().expect("a number");
                    client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
                    // What was counted in the snapshot and published behind it may come again.
                    while let Event::Frame(frame) = client.next_but_beats() {
                        if frame.command == "RECEIPT" {
                            break;
                        }
                        assert_eq!(frame.header("snapshot"), None);
                        let number: u64 = frame.body_text().parse().expect("a number");
                        assert!(number <= newest + 1, "{number} after {newest}");
                        newest = newest.max(number);
                    }
                }
            });
        }
    });
}

#[test]
fn a_snapshot_that_fails_or_comes_too_late_holds_nothing_up() {
    let change = |config: &mut Config| {
        users(config);
        config.outbound_bytes_max = 16 << 10;
    };
    on_every_built(change, mappings, |server| {
        for over in TRANSPORTS {
            let (mut ann, mut bob) = (login(server, over, "ann"), login(server, over, "bob"));
            ann.subscribe("x", "/user/queue/errors", "");
            for (what, error) in [
                ("broken", Some("no state today")),
                ("panic", Some("internal error")),
                ("nothing", None),
            ] {
                let destination = format!("/topic/slow/{what}");
                ann.subscribe("s", &destination, "");
                bob.publish(&destination, "live");
                if let Some(error) = error {
                    let message = ann.expect("MESSAGE");
                    assert_eq!((message.get("subscription"), message.body_text()), ("x", error));
                }
                let message = ann.expect("MESSAGE");
                assert_eq!((message.get("subscription"), message.body_text()), ("s", "live"));
                ann.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
                ann.expect("RECEIPT");
            }
            // Who unsubscribes meanwhile, or uses the id again, gets nothing of the first one.
            ann.subscribe("s", "/topic/slow/first", "");
            bob.publish("/topic/slow/first", "lost");
            bob.sync();
            ann.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
            ann.expect("RECEIPT");
            bob.publish("/app/release", "");
            ann.subscribe("s", "/topic/slow/second", "");
            assert_eq!(ann.expect("MESSAGE").body_text(), "second");
            ann.sync();
            // Who leaves meanwhile leaves nothing behind.
            let mut leaver = login(server, over, "ann");
            leaver.subscribe("s", "/topic/slow/third", "");
            drop(leaver);
            // What waits is bounded like anything that waits for a client.
            ann.subscribe("never", "/topic/slow/never", "");
            for _ in 0..40 {
                bob.publish("/topic/slow/never", &"x".repeat(1_000));
            }
            bob.sync();
            server.wait_for_closed("slow_consumer", if over == TRANSPORTS[0] { 1 } else { 2 });
            bob.sync();
        }
    });
}

/// A service's pattern and a destination that it takes, of this transport's own: the server may
/// not have seen yet that the services of the other are gone, and give them work.
fn work(over: Transport) -> (String, String) {
    (format!("/app/work/{over:?}/**"), format!("/app/work/{over:?}/x"))
}

#[test]
fn the_work_of_a_service_that_fails_is_anothers() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            let (pattern, work) = work(over);
            let subscribe = "ack:client-individual\nprefetch-count:1\n";
            let mut one = login(server, over, "worker");
            one.subscribe("w", &pattern, subscribe);
            let mut ann = login(server, over, "ann");
            ann.send(format!("SEND\ndestination:{work}\nreceipt:1\n\nfirst\0"));
            ann.send(format!("SEND\ndestination:{work}\nreceipt:2\n\nsecond\0"));
            (0..2).for_each(|_| drop(ann.expect("RECEIPT")));
            let taken = |client: &mut Client, body: &str, redelivered: &str| {
                let message = client.expect("MESSAGE");
                assert_eq!(message.get("destination"), work);
                let seen = (message.body_text(), message.get("redelivered"));
                assert_eq!(seen, (body, redelivered));
                message.get("ack").to_owned()
            };
            taken(&mut one, "first", "false");
            let mut two = login(server, over, "worker");
            two.subscribe("w", &pattern, subscribe);
            let second = taken(&mut two, "second", "false");
            two.send(format!("ACK\nid:{second}\n\n\0"));
            two.sync();
            // It dies: another does it. That one says no, and does it then.
            one.reset();
            let again = taken(&mut two, "first", "true");
            two.send(format!("NACK\nid:{again}\n\n\0"));
            let again = taken(&mut two, "first", "true");
            two.send(format!("ACK\nid:{again}\nreceipt:a\n\n\0"));
            two.expect("RECEIPT");
            two.send("UNSUBSCRIBE\nid:w\nreceipt:u\n\n\0");
            two.expect("RECEIPT");
        }
        server.wait_for_metric("stompede_queues", 0);
    });
}

#[test]
fn a_transaction_reaches_mappings_and_services_or_nobody() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            let (pattern, work) = work(over);
            let mut worker = login(server, over, "worker");
            worker.subscribe("w", &pattern, "");
            let mut ann = login(server, over, "ann");
            ann.subscribe("e", "/user/queue/echo", "");
            ann.send("BEGIN\ntransaction:t\n\n\0");
            ann.send("SEND\ntransaction:t\ndestination:/app/echo\n\nmapped\0");
            ann.send(format!("SEND\ntransaction:t\ndestination:{work}\n\nserved\0"));
            ann.sync();
            ann.send("COMMIT\ntransaction:t\n\n\0");
            assert_eq!(ann.expect("MESSAGE").body_text(), "mapped");
            assert_eq!(worker.expect("MESSAGE").body_text(), "served");
            ann.send("BEGIN\ntransaction:t\n\n\0");
            ann.send(format!("SEND\ntransaction:t\ndestination:{work}\n\nnot served\0"));
            ann.send("SEND\ntransaction:t\ndestination:/app/nobody\n\n\0");
            ann.send("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
            assert_eq!(ann.expect_error("Unknown destination", 1002).get("receipt-id"), "c");
            worker.sync();
        }
    });
}

#[test]
fn a_service_answers_one_session() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            let (pattern, work) = work(over);
            let mut worker = login(server, over, "worker");
            worker.subscribe("w", &pattern, "");
            let (mut ann, mut other) = (login(server, over, "ann"), login(server, over, "ann"));
            for client in [&mut ann, &mut other] {
                client.subscribe("r", "/user/queue/reply", "");
            }
            for (client, name) in [(&mut ann, "one"), (&mut other, "two")] {
                client.send(format!("SEND\ndestination:{work}\nsession:mine\n\n{name}\0"));
                let order = worker.expect("MESSAGE");
                assert_eq!(order.get("user-name"), "ann");
                let destination = format!("/user/{}/queue/reply", order.get("session"));
                worker.publish(&destination, &format!("to {}", order.body_text()));
                assert_eq!(client.expect("MESSAGE").body_text(), format!("to {name}"));
            }
            [ann, other, worker].iter_mut().for_each(Client::sync);
        }
    });
}

#[test]
fn service_connections_take_turns_and_answer() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            // What nobody took waits for the next service: each run has its own.
            let orders = format!("/app/orders/{over:?}");
            let mut workers: Vec<Client> = (0..3)
                .map(|_| {
                    let mut worker = login(server, over, "worker");
                    worker.subscribe("w", &format!("{orders}/**"), "");
                    worker
                })
                .collect();
            let mut ann = login(server, over, "ann");
            ann.subscribe("told", "/user/queue/told", "");
            for number in 0..60 {
                ann.send(format!(
                    "SEND\ndestination:{orders}/new\nuser-name:bob\n\
                     reply-to:/temp-queue/orders\nreceipt:r{number}\n\n{number}\0"
                ));
                ann.expect("RECEIPT");
            }
            // A receipt says that it is in the queue. They take turns, and nobody is out of credit:
            // each gets a third, and behind its mark nothing more.
            let mut taken = Vec::new();
            for worker in &mut workers {
                for _ in 0..20 {
                    let frame = worker.expect("MESSAGE");
                    assert_eq!(frame.get("user-name"), "ann", "not what the client says");
                    assert_eq!(frame.get("destination"), format!("{orders}/new"));
                    taken.push(frame.body_text().to_owned());
                    let reply_to = frame.get("reply-to");
                    let text = format!("SEND\ndestination:{reply_to}\n\n{}\0", frame.body_text());
                    worker.send(text);
                }
                worker.send("UNSUBSCRIBE\nid:w\nreceipt:u\n\n\0");
                assert_eq!(worker.expect("RECEIPT").get("receipt-id"), "u");
            }
            taken.sort_by_key(|text| text.parse::<u64>().expect("a number"));
            assert!(taken.iter().eq(&(0..60).map(|n| n.to_string()).collect::<Vec<_>>()));
            let mut answers: Vec<u64> = (0..60)
                .map(|_| {
                    let answer = ann.expect("MESSAGE");
                    assert_eq!(answer.get("subscription"), "/temp-queue/orders");
                    answer.body_text().parse().expect("a number")
                })
                .collect();
            answers.sort_unstable();
            assert!(answers.into_iter().eq(0..60));
            // A mapping goes before a service, and without a service there is nothing.
            let mut greedy = login(server, over, "worker");
            greedy.subscribe("w", "/app/tell/**", "");
            ann.publish("/app/tell/ann", "1");
            assert_eq!(ann.expect("MESSAGE").get("subscription"), "told");
            greedy.sync();
            greedy.send("DISCONNECT\nreceipt:d\n\n\0");
            greedy.expect("RECEIPT");
            workers.clear();
            // Other shards hear a moment later that nobody serves any more.
            let error = loop {
                ann.send(format!("SEND\ndestination:{orders}/new\nreceipt:r\n\n\0"));
                match ann.next_but_beats() {
                    Event::Frame(frame) if frame.command == "RECEIPT" => {}
                    Event::Frame(frame) => break frame,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(error.get("message"), "Unknown destination");
            ann.expect_closed(1002);
        }
    });
}

#[test]
fn only_who_is_allowed_is_a_service() {
    on_every_built(users, mappings, |server| {
        for over in TRANSPORTS {
            for destination in ["/app/**", "/app/orders/*"] {
                let mut ann = login(server, over, "ann");
                ann.send(format!("SUBSCRIBE\nid:s\ndestination:{destination}\n\n\0"));
                ann.expect_error("Access refused", 1008);
            }
            let mut ann = login(server, over, "ann");
            ann.send("SUBSCRIBE\nid:s\ndestination:/app/orders/new\n\n\0");
            ann.expect_error("Unknown destination", 1002);
        }
    });
}

#[test]
fn a_server_that_does_not_start_says_which_cause_it_has() {
    for pattern in ["/topic/a", "/app/{a", "/app/"] {
        let builder = Server::builder(crate::config()).message(pattern, |_, _| Ok(()));
        let error = builder.start().err().expect("does not start");
        assert!(error.to_string().contains(pattern), "{error}");
        assert!(matches!(error, StartError::Pattern(_)), "{error:?}");
    }
    // An address for documentation (RFC 5737), which is nobody's.
    let foreign = "192.0.2.1:80".parse().expect("an address");
    let config = Config { stomp_listen: Some(foreign), ..crate::config() };
    let error = Server::start(config).err().expect("does not start");
    assert!(error.to_string().ends_with("choose another address with --stomp-listen"), "{error}");
    let StartError::Listen { address, .. } = error else { panic!("{error:?}") };
    assert_eq!(address, foreign);
    // What contradicts itself is found without a call of `settle`.
    let config = Config { heartbeat_min: Duration::from_secs(1_000), ..crate::config() };
    let error = Server::start(config).err().expect("does not start");
    assert!(matches!(error, StartError::Config(_)), "{error:?}");
    let config = Config { users_file: Some("/nonexistent-stompede".into()), ..crate::config() };
    let error = Server::start(config).err().expect("does not start");
    assert!(matches!(error, StartError::Setting(_)), "{error:?}");
}
