//! Queues on terms that a client asked for, and topics that are subscribed through a queue: with
//! prefetch, and durable.
//!
//! stomp.md §2.2, §2.3: RabbitMQ's queue arguments, `durable` and `x-queue-name`. As everywhere,
//! with two shards each test uses names enough that queues and topics live on both of them.

use super::client::{Client, Frame, Transport};
use super::{everywhere, on_every_server, TestServer};
use stompede::config::Config;
use stompede_core::broker::destination::Profile;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Publishes and waits until it is taken.
#[track_caller]
fn put(client: &mut Client, destination: &str, extra: &str, body: &str) {
    client.send(format!("SEND\ndestination:{destination}\n{extra}receipt:put\n\n{body}\0"));
    assert_eq!(client.expect("RECEIPT").get("receipt-id"), "put");
}

#[track_caller]
fn take(client: &mut Client, body: &str) -> Frame {
    let message = client.expect("MESSAGE");
    assert_eq!(message.body_text(), body, "{message:?}");
    message
}

#[track_caller]
fn ack(client: &mut Client, message: &Frame) {
    client.send(format!("ACK\nid:{}\nreceipt:settled\n\n\0", message.get("ack")));
    assert_eq!(client.expect("RECEIPT").get("receipt-id"), "settled");
}

#[track_caller]
fn unsubscribe(client: &mut Client, id: &str, extra: &str) {
    client.send(format!("UNSUBSCRIBE\nid:{id}\nreceipt:u\n{extra}\n\0"));
    assert_eq!(client.expect("RECEIPT").get("receipt-id"), "u");
}

/// Names with homes on every shard.
fn destinations(stem: &str, transport: Transport) -> impl Iterator<Item = String> {
    let stem = format!("{stem}-{transport:?}");
    NAMES.into_iter().map(move |name| format!("{stem}-{name}"))
}

#[test]
fn a_queue_with_a_bound_gives_up_its_oldest_and_buries_it_where_it_said() {
    everywhere(|server, transport| {
        for name in destinations("bounded", transport) {
            let queue = format!("/queue/{name}");
            let mut dead = server.session(transport);
            dead.subscribe("s", &format!("/queue/dead-{name}"), "");
            let mut client = server.session(transport);
            let arguments = format!(
                "x-max-length:2\nx-dead-letter-exchange:\nx-dead-letter-routing-key:dead-{name}\n"
            );
            for body in ["0", "1", "2"] {
                put(&mut client, &queue, &arguments, body);
            }
            let letter = take(&mut dead, "0");
            assert_eq!(letter.get("x-death-reason"), "overflow");
            assert_eq!(letter.get("x-death-destination"), queue);
            assert_eq!(letter.get("x-death-count"), "1");
            client.subscribe("s", &queue, "");
            take(&mut client, "1");
            take(&mut client, "2");
            client.sync();
        }
    });
}

#[test]
fn reject_publish_answers_the_sender() {
    everywhere(|server, transport| {
        for name in destinations("rejecting", transport) {
            let queue = format!("/queue/{name}");
            let arguments = "x-max-length-bytes:1\nx-overflow:reject-publish\n";
            let mut consumer = server.session(transport);
            consumer.subscribe("s", &queue, arguments);
            let mut client = server.session(transport);
            client.send(format!("SEND\ndestination:{queue}\nreceipt:r\n\nlarge\0"));
            let error = client.expect_error("Queue full", 1008);
            assert_eq!(error.get("receipt-id"), "r");
        }
    });
}

#[test]
fn the_first_who_declares_wins_and_others_must_say_the_same_or_nothing() {
    everywhere(|server, transport| {
        for name in destinations("first", transport) {
            let queue = format!("/queue/{name}");
            let mut first = server.session(transport);
            first.subscribe("s", &queue, "x-max-length:10\nx-message-ttl:60000\n");
            let mut same = server.session(transport);
            same.subscribe("s", &queue, "x-message-ttl:60000\nx-max-length: 10\n");
            same.subscribe("t", &queue, "");
            // In a SEND `x-message-ttl` is the message's.
            put(&mut same, &queue, "x-message-ttl:5\n", "x");
            let frame = "x-max-length:11\nx-message-ttl:60000\nid:s\nreceipt:r\n";
            for command in ["SUBSCRIBE", "SEND"] {
                let mut other = server.session(transport);
                other.send(format!("{command}\ndestination:{queue}\n{frame}\n\0"));
                let error = other.expect_error("precondition_failed", 1002);
                assert_eq!(error.get("receipt-id"), "r");
                assert!(error.body_text().contains("'x-max-length'"), "{error:?}");
            }
            let mut other = server.session(transport);
            other.send("BEGIN\ntransaction:t\n\n\0");
            let frame = format!("SEND\ndestination:{queue}\ntransaction:t\nx-max-length:9\n\n\0");
            other.send(frame);
            other.send("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
            let error = other.expect_error("precondition_failed", 1002);
            assert_eq!(error.get("receipt-id"), "c");
        }
    });
}

#[test]
fn arguments_that_cannot_be_are_refused() {
    everywhere(|server, transport| {
        for (header, message) in [
            ("x-max-length:many", "Bad header value"),
            ("x-expires:0", "Bad header value"),
            ("x-dead-letter-exchange:mine", "Bad header value"),
            ("x-dead-letter-exchange:/app/x", "Invalid destination"),
            ("x-dead-letter-exchange:/topic/*", "Cannot send to a pattern"),
            ("x-dead-letter-exchange:/nowhere/x", "Unknown destination"),
            ("auto-delete:maybe", "Bad header value"),
            ("durable:maybe", "Bad header value"),
        ] {
            let mut client = server.session(transport);
            client.send(format!("SUBSCRIBE\nid:s\ndestination:/queue/bad\n{header}\n\n\0"));
            client.expect_error(message, 1002);
        }
    });
}

#[test]
fn nobody_sends_by_dying_what_he_may_not_send() {
    let rules = |config: &mut Config| {
        config.rules = vec!["deny any publish /topic/secret".to_owned()];
    };
    on_every_server(rules, |server| {
        let mut client = server.session(Transport::Tcp);
        let header = "x-max-length:1\nx-dead-letter-exchange:/topic/secret\n";
        client.send(format!("SEND\ndestination:/queue/x\n{header}\n\0"));
        client.expect_error("Access refused", 1008);
    });
}

#[test]
fn a_message_that_goes_round_between_two_queues_ends() {
    let few = |config: &mut Config| config.limits.queue_deliveries_count_max = 4;
    on_every_server(few, |server| {
        for name in destinations("round", Transport::Tcp) {
            let mut client = server.session(Transport::Tcp);
            let ping = format!("/queue/ping-{name}");
            let pong = format!("/queue/pong-{name}");
            let to = |other: &str| {
                format!("x-message-ttl:0\nx-expires:3600000\nx-dead-letter-exchange:{other}\n")
            };
            client.subscribe("s", &ping, &to(&pong));
            client.subscribe("t", &pong, &to(&ping));
            unsubscribe(&mut client, "s", "");
            unsubscribe(&mut client, "t", "");
            client.publish(&ping, "x");
        }
        // Each dies as often as it may, once more than there are graves.
        let expired = "stompede_dead_letters_total{reason=\"expired\"}";
        server.wait_for_metric(expired, 5 * NAMES.len() as u64);
        server.wait_for_metric("stompede_queue_messages", 0);
    });
}

#[test]
fn auto_delete_ends_with_the_last_consumer() {
    on_every_server(
        |_| {},
        |server| {
            let mut publisher = server.session(Transport::Tcp);
            for name in destinations("auto", Transport::Tcp) {
                let queue = format!("/queue/{name}");
                let mut first = server.session(Transport::Tcp);
                let extra = "auto-delete:true\nack:client-individual\nprefetch-count:1\n";
                first.subscribe("s", &queue, extra);
                for body in ["0", "1", "2"] {
                    put(&mut publisher, &queue, "", body);
                }
                take(&mut first, "0");
                let mut second = server.session(Transport::Tcp);
                second.subscribe("s", &queue, extra);
                let message = take(&mut second, "1");
                // Not the last one: it goes on.
                server.reset(first);
                ack(&mut second, &message);
                take(&mut second, "0");
                unsubscribe(&mut second, "s", "");
                server.reset(second);
                put(&mut publisher, &queue, "", "new");
                let mut third = server.session(Transport::Tcp);
                third.subscribe("s", &queue, "");
                take(&mut third, "new");
                third.sync();
                server.reset(third);
            }
            server.wait_for_metric("stompede_queues", 0);
        },
    );
}

#[test]
fn an_acknowledged_topic_stops_at_the_prefetch_and_an_ack_goes_on() {
    everywhere(|server, transport| {
        for name in destinations("window", transport) {
            let topic = format!("/topic/{name}");
            let mut publisher = server.session(transport);
            let mut client = server.session(transport);
            client.subscribe("s", &topic, "ack:client\nprefetch-count:5\n");
            let mut other = server.session(transport);
            other.subscribe("s", &format!("{topic}*"), "ack:client-individual\nprefetch-count:1\n");
            for n in 0..12 {
                put(&mut publisher, &topic, "", &n.to_string());
            }
            let first: Vec<Frame> = (0..5).map(|n| take(&mut client, &n.to_string())).collect();
            client.sync();
            assert_eq!(first[0].get("destination"), topic);
            ack(&mut client, &first[3]);
            (5..9).for_each(|n| drop(take(&mut client, &n.to_string())));
            client.sync();
            // Everybody has his own; refused, it comes back.
            let message = take(&mut other, "0");
            other.send(format!("NACK\nid:{}\n\n\0", message.get("ack")));
            let again = take(&mut other, "0");
            assert_eq!(again.get("redelivered"), "true");
            ack(&mut other, &again);
            take(&mut other, "1");
            unsubscribe(&mut client, "s", "");
            put(&mut publisher, &topic, "", "more");
            client.sync();
        }
        server.wait_for_metric("stompede_queue_consumers", 0);
        server.wait_for_metric("stompede_queues", 0);
    });
}

#[test]
fn who_never_acknowledges_a_topic_is_ended_like_anybody_slow() {
    let small = |config: &mut Config| config.outbound_bytes_max = 4_096;
    on_every_server(small, |server| {
        let names = destinations("never", Transport::Tcp);
        let clients = names.map(|name| {
            let topic = format!("/topic/{name}");
            let mut client = server.session(Transport::Tcp);
            // Together they have no more room than one alone.
            for id in 0..20 {
                let id = format!("s{id}");
                client.subscribe(&id, &topic, "ack:client\nprefetch-count:1\n");
            }
            let mut publisher = server.session(Transport::Tcp);
            for _ in 0..3 {
                publisher.publish(&topic, &"x".repeat(100));
            }
            publisher.sync();
            client
        });
        let clients: Vec<Client> = clients.collect();
        server.wait_for_closed("slow_consumer", clients.len() as u64);
        server.wait_for_metric("stompede_queues", 0);
    });
}

fn rabbitmq(config: &mut Config) {
    config.profile = Profile::RabbitMq;
}

#[test]
fn a_durable_subscription_hears_what_was_published_while_nobody_was_there() {
    on_every_server(rabbitmq, |server| {
        for topic in ["plain", "of.words"] {
            for name in destinations(topic, Transport::Tcp) {
                durable(server, &format!("/topic/{name}"), &format!("/topic/{name}"));
                durable(server, &format!("/topic/{name}.x"), &format!("/topic/{name}.*"));
            }
        }
    });
}

fn durable(server: &TestServer, topic: &str, subscribed: &str) {
    let extra = "durable:true\nauto-delete:False\n";
    let mut publisher = server.session(Transport::Tcp);
    let mut client = server.session(Transport::Tcp);
    client.subscribe("id", subscribed, extra);
    put(&mut publisher, topic, "", "first");
    assert_eq!(take(&mut client, "first").get("destination"), topic);
    unsubscribe(&mut client, "id", "");
    put(&mut publisher, topic, "", "second");
    client.sync();
    client.send("DISCONNECT\nreceipt:bye\n\n\0");
    client.expect("RECEIPT");
    put(&mut publisher, topic, "", "third");
    // Another id is another subscription.
    let mut other = server.session(Transport::Tcp);
    other.subscribe("other", subscribed, "persistent:true\n");
    let mut again = server.session(Transport::Tcp);
    again.subscribe("id", subscribed, extra);
    take(&mut again, "second");
    take(&mut again, "third");
    other.sync();
    for (client, id, header) in [(&mut again, "id", "durable"), (&mut other, "other", "persistent")]
    {
        unsubscribe(client, id, &format!("{header}:true\n"));
    }
    put(&mut publisher, topic, "", "to nobody");
    again.subscribe("id", subscribed, extra);
    again.sync();
    unsubscribe(&mut again, "id", "durable:true\n");
    server.wait_for_metric("stompede_queues", 0);
}

#[test]
fn subscribers_of_one_durable_subscription_share_it_and_users_have_their_own() {
    let users = |config: &mut Config| {
        rabbitmq(config);
        config.users = ["ann", "bob"].map(|name| (name.to_owned(), "x".to_owned())).to_vec();
    };
    on_every_server(users, |server| {
        let log_in = |user: &str| {
            let mut client = server.open(Transport::Tcp);
            client.send(format!("CONNECT\naccept-version:1.2\nlogin:{user}\npasscode:x\n\n\0"));
            client.expect("CONNECTED");
            client
        };
        let mut publisher = log_in("ann");
        for name in destinations("shared", Transport::Tcp) {
            let topic = format!("/topic/{name}");
            let [mut one, mut two, mut bobs] = ["ann", "ann", "bob"].map(|user| {
                let mut client = log_in(user);
                let extra = "durable:true\nx-queue-name:mine\nack:client\nprefetch-count:1\n";
                client.subscribe("s", &topic, extra);
                client
            });
            put(&mut publisher, &topic, "", "0");
            put(&mut publisher, &topic, "", "1");
            take(&mut one, "0");
            take(&mut two, "1");
            take(&mut bobs, "0");
            for client in [&mut one, &mut two, &mut bobs] {
                client.sync();
                unsubscribe(client, "s", "durable:true\n");
            }
        }
    });
}

#[test]
fn activemq_knows_a_durable_subscription_by_its_client_and_its_name() {
    let activemq = |config: &mut Config| config.profile = Profile::ActiveMq;
    on_every_server(activemq, |server| {
        let open = |client_id: &str| {
            let mut client = server.open(Transport::Tcp);
            client.send(format!("CONNECT\naccept-version:1.2\n{client_id}\n\0"));
            client.expect("CONNECTED");
            client
        };
        let mut publisher = server.session(Transport::Tcp);
        let extra = "activemq.subscriptionName:news\nselector:colour = 'red'\n";
        for name in destinations("named", Transport::Tcp) {
            let topic = format!("/topic/{name}");
            for id in ["one", "two"] {
                let mut client = open(&format!("client-id:{id}\n"));
                client.subscribe("s", &topic, extra);
                client.send("DISCONNECT\nreceipt:bye\n\n\0");
                client.expect("RECEIPT");
            }
            put(&mut publisher, &topic, "colour:red\n", "red");
            put(&mut publisher, &topic, "colour:blue\n", "blue");
            for id in ["one", "two"] {
                let mut client = open(&format!("client-id:{id}\n"));
                client.subscribe("t", &topic, extra);
                take(&mut client, "red");
                client.sync();
                unsubscribe(&mut client, "t", "activemq.subscriptionName:news\n");
            }
            let mut nobody = open("");
            nobody.send(format!("SUBSCRIBE\nid:s\ndestination:{topic}\n{extra}\n\0"));
            nobody.expect_error("Missing header", 1002);
        }
        server.wait_for_metric("stompede_queues", 0);
    });
}

#[test]
fn a_durable_subscription_needs_an_id_and_a_place() {
    let few = |config: &mut Config| {
        rabbitmq(config);
        config.limits.queues_kept_count_max = 1;
    };
    on_every_server(few, |server| {
        let mut client = server.open(Transport::Tcp);
        client.connect("1.0");
        client.send("SUBSCRIBE\ndestination:/topic/x\ndurable:true\n\n\0");
        client.expect_error("Missing Header", 1002);
        let mut client = server.session(Transport::Tcp);
        // One for each shard, and one more than that.
        for n in 0..64 {
            client.send(format!("SUBSCRIBE\nid:{n}\ndestination:/topic/x\ndurable:true\n\n\0"));
        }
        client.expect_error("Too many queues", 1008);
    });
}

#[test]
fn what_nobody_consumes_ends_after_its_time() {
    let short = |config: &mut Config| {
        rabbitmq(config);
        config.queue_idle_max = std::time::Duration::from_millis(300);
    };
    on_every_server(short, |server| {
        let mut client = server.session(Transport::Tcp);
        for name in destinations("idle", Transport::Tcp) {
            client.subscribe(&name, &format!("/topic/{name}"), "durable:true\n");
            unsubscribe(&mut client, &name, "");
            put(&mut client, &format!("/topic/{name}"), "", "for nobody");
            put(&mut client, &format!("/queue/{name}"), "x-expires:1\n", "for nobody");
            client.subscribe(&name, &format!("/queue/kept-{name}"), "x-max-length:5\n");
            unsubscribe(&mut client, &name, "");
        }
        server.wait_for_metric("stompede_queues", 0);
    });
}

#[test]
fn a_subscription_without_id_through_a_queue_ends_by_its_destination() {
    on_every_server(rabbitmq, |server| {
        for name in destinations("nameless", Transport::Tcp) {
            let mut client = server.open(Transport::Tcp);
            client.connect("1.0");
            let topic = format!("/topic/{name}");
            let mut publisher = server.session(Transport::Tcp);
            let head = format!("destination:{topic}\nreceipt:r\n");
            client.send(format!("SUBSCRIBE\nack:client\nprefetch-count:1\n{head}\n\0"));
            client.expect("RECEIPT");
            put(&mut publisher, &topic, "", "0");
            take(&mut client, "0");
            client.send(format!("UNSUBSCRIBE\n{head}\n\0"));
            client.expect("RECEIPT");
            put(&mut publisher, &topic, "", "1");
            client.sync();
        }
    });
}
