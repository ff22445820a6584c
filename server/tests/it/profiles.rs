//! `--profile`: prefixes, patterns and aliases of each (stomp.md §2.1 to §2.3).

use super::client::{Client, Transport, TRANSPORTS};
use super::{on_every_server, TestServer};
use stompede_core::broker::destination::Profile;

fn with(profile: Profile, test: impl Fn(&TestServer, Transport) + Sync) {
    on_every_server(
        |config| config.profile = profile,
        |server| TRANSPORTS.into_iter().for_each(|over| test(server, over)),
    );
}

/// Subscribes one client to each pattern, publishes to each destination, and checks who got what.
fn check(server: &TestServer, over: Transport, expected: &[(&str, &[&str])], sent: &[&str]) {
    let mut publisher = server.session(over);
    let mut clients: Vec<Client> = Vec::new();
    for (pattern, _) in expected {
        let mut client = server.session(over);
        client.subscribe("s", pattern, "");
        clients.push(client);
    }
    for destination in sent {
        publisher.send(format!("SEND\ndestination:{destination}\nreceipt:r\n\n\0"));
        publisher.expect("RECEIPT");
    }
    for (client, (pattern, wanted)) in clients.iter_mut().zip(expected) {
        for destination in *wanted {
            assert_eq!(client.expect("MESSAGE").get("destination"), *destination, "{pattern}");
        }
        client.sync();
        client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
        client.expect("RECEIPT");
    }
}

#[test]
fn spring_broadcasts_on_queues() {
    with(Profile::Spring, |server, over| {
        let expected: &[(&str, &[&str])] = &[
            ("/queue/a", &["/queue/a"]),
            ("/queue/a", &["/queue/a"]),
            ("/queue/{name}", &["/queue/a"]),
            ("/queue/**", &["/queue/a"]),
            ("/topic/a.*", &["/topic/a.b"]),
            ("/topic/#", &[]),
        ];
        check(server, over, expected, &["/queue/a", "/topic/a.b"]);
    });
}

#[test]
fn rabbitmq_matches_words() {
    with(Profile::RabbitMq, |server, over| {
        let expected: &[(&str, &[&str])] = &[
            ("/topic/a.*", &["/topic/a.b"]),
            ("/topic/a.#", &["/topic/a", "/topic/a.b", "/topic/a.b.c"]),
            ("/topic/#.c", &["/topic/a.b.c"]),
            ("/exchange/amq.topic/*.b", &["/topic/a.b"]),
            ("/topic/a.?", &[]),
            ("/exchange/amq.direct/a.b", &["/exchange/amq.direct/a.b"]),
            ("/exchange/amq.direct/a.*", &[]),
            ("/exchange/amq.fanout", &["/exchange/amq.fanout", "/exchange/amq.fanout/a"]),
            ("/exchange/amq.fanout/b", &["/exchange/amq.fanout", "/exchange/amq.fanout/a"]),
        ];
        let sent = [
            "/topic/a",
            "/topic/a.b",
            "/topic/a.b.c",
            "/exchange/amq.direct/a.b",
            "/exchange/amq.fanout",
            "/exchange/amq.fanout/a",
        ];
        check(server, over, expected, &sent);
        for destination in ["/topic/a/b", "/topic/", "/queue/a/b"] {
            let mut client = server.session(over);
            client.publish(destination, "x");
            client.expect_error("Invalid destination", 1002);
        }
        for (destination, message, body) in [
            ("/exchange/nope/a", "not_found", "no exchange 'nope' in vhost '/'\n"),
            ("/a/b", "Unknown destination", "'/a/b' is not a valid destination.\n"),
            ("/queue/a/b", "Invalid destination", "'/a/b' is not a valid queue destination\n"),
        ] {
            let mut client = server.session(over);
            client.publish(destination, "x");
            let error = client.expect_error(message, 1002);
            assert_eq!((error.body_text(), error.get("version")), (body, "1.0,1.1,1.2"));
        }
        let mut client = server.session(over);
        client.subscribe("s", "/topic/a", "");
        client.publish("/topic/a", "x");
        assert_eq!(client.expect("MESSAGE").get("redelivered"), "false");
        client.send("FOO\n\n\0");
        let error = client.expect_error("Bad command", 1002);
        assert_eq!(error.body_text(), "Could not interpret command \"FOO\"\n");
    });
}

#[test]
fn activemq_matches_what_is_below() {
    with(Profile::ActiveMq, |server, over| {
        let expected: &[(&str, &[&str])] = &[
            ("/topic/a.*", &["/topic/a.b"]),
            ("/topic/a.>", &["/topic/a", "/topic/a.b", "/topic/a.b.c"]),
            ("/topic/a.#", &[]),
        ];
        check(server, over, expected, &["/topic/a", "/topic/a.b", "/topic/a.b.c"]);
        let mut client = server.session(over);
        client.send("SUBSCRIBE\nid:s\ndestination:/topic/>.a\n\n\0");
        client.expect_error("Invalid destination", 1002);
        let mut client = server.session(over);
        client.send("SUBSCRIBE\nid:s\ndestination:/queue/a.>\n\n\0");
        let error = client.expect_error("Invalid destination", 1002);
        assert!(error.body_text().contains("patterns are for topics"), "{}", error.body_text());
        let mut client = server.session(over);
        client.publish("/queue/a.>", "x");
        client.expect_error("Cannot send to a pattern", 1002);
    });
}
