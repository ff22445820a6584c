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
fn rabbitmq_refuses_what_its_clients_expect_to_be_refused() {
    with(Profile::RabbitMq, |server, over| {
        // Row 12: there is one virtual host.
        let mut client = server.open(over);
        client.send("CONNECT\naccept-version:1.2\nhost:mars\n\n\0");
        let error = client.expect_error("Bad CONNECT", 1008);
        assert_eq!(error.body_text(), "Virtual host 'mars' access denied");
        let mut client = server.open(over);
        client.send("CONNECT\naccept-version:1.2\n\n\0");
        client.expect("CONNECTED");
        client.send("SEND\ndestination:/topic/a\nmessage-id:1\nreceipt:r\n\n\0");
        let error = client.expect_error("Invalid header", 1002);
        let told = (error.body_text(), error.get("receipt-id"));
        assert_eq!(told, ("'message-id' is not allowed on 'SEND'.\n", "r"));
    });
}

#[test]
fn rabbitmq_takes_a_message_id_alone_in_1_1() {
    with(Profile::RabbitMq, |server, over| {
        let mut client = server.open(over);
        client.connect("1.1");
        client.subscribe("s", &format!("/queue/{over:?}"), "ack:client-individual\n");
        for (command, body) in [("NACK", "1"), ("ACK", "1"), ("ACK", "2")] {
            if command == "NACK" || body == "2" {
                client.publish(&format!("/queue/{over:?}"), body);
            }
            let message = client.expect("MESSAGE");
            assert_eq!(message.body_text(), body);
            let id = message.get("message-id");
            client.send(format!("{command}\nmessage-id:{id}\nreceipt:r\n\n\0"));
            client.expect("RECEIPT");
        }
        client.sync();
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

/// One line of README's table of profiles: does the profile do this?
type Claim = fn(&TestServer, Transport, bool);

/// What is asked, and who says yes: default, spring, rabbitmq, activemq.
const CLAIMS: [(Claim, [bool; 4]); 12] = [
    (queues_are_broadcast, [false, true, false, false]),
    (a_bare_name_is_a_queue, [false, false, true, true]),
    (names_have_segments, [true, true, false, true]),
    (segments_have_wildcards, [true, true, false, false]),
    (words_have_a_hash, [false, false, true, false]),
    (words_have_a_greater_than, [false, false, false, true]),
    (exchanges_are_there, [false, false, true, false]),
    (temporary_destinations_are_subscribed, [false, false, false, true]),
    (message_ids_and_hosts_are_refused, [false, false, true, false]),
    (acks_need_a_subscription_in_1_1, [true, true, false, true]),
    (topics_tell_redelivered_and_errors_versions, [false, false, true, false]),
    (a_ttl_in_send_is_the_queues, [false, false, true, false]),
];

/// What it says of users is in `users::spring_answers_the_senders_own_session_alone`.
#[test]
fn profiles_differ_as_the_readme_says() {
    let profiles = [Profile::Default, Profile::Spring, Profile::RabbitMq, Profile::ActiveMq];
    for (at, profile) in profiles.into_iter().enumerate() {
        with(profile, |server, over| {
            for (claim, answers) in CLAIMS {
                claim(server, over, answers[at]);
            }
        });
    }
}

/// Subscribes to `subscribed`, sends to `sent`: does the message come? Else one of them is
/// answered with an ERROR, or nobody hears.
fn is_heard(server: &TestServer, over: Transport, subscribed: &str, sent: &str) -> bool {
    let mut client = server.session(over);
    client.send(format!(
        "SUBSCRIBE\nid:s\ndestination:{subscribed}\n\n\0\
         SEND\ndestination:{sent}\nreceipt:r\n\nx\0"
    ));
    loop {
        match &*client.next_frame().command {
            "MESSAGE" => return true,
            // What is in a queue comes behind it, what is published before.
            "RECEIPT" if subscribed.starts_with("/queue/") => {}
            "RECEIPT" | "ERROR" => return false,
            other => panic!("{other}"),
        }
    }
}

fn queues_are_broadcast(server: &TestServer, over: Transport, is_so: bool) {
    let queue = format!("/queue/shared-{over:?}");
    let mut clients = [server.session(over), server.session(over)];
    clients.iter_mut().for_each(|client| client.subscribe("s", &queue, ""));
    let mut publisher = server.session(over);
    ["1", "2"].iter().for_each(|body| publisher.publish(&queue, body));
    for client in &mut clients {
        (0..if is_so { 2 } else { 1 }).for_each(|_| drop(client.expect("MESSAGE")));
        client.sync();
    }
}

fn a_bare_name_is_a_queue(server: &TestServer, over: Transport, is_so: bool) {
    let name = format!("bare-{over:?}");
    assert_eq!(is_heard(server, over, &format!("/queue/{name}"), &name), is_so);
}

fn names_have_segments(server: &TestServer, over: Transport, is_so: bool) {
    assert_eq!(is_heard(server, over, "/topic/a/b", "/topic/a/b"), is_so);
}

fn segments_have_wildcards(server: &TestServer, over: Transport, is_so: bool) {
    for pattern in ["/topic/*/?", "/topic/{name}/b", "/topic/**"] {
        assert_eq!(is_heard(server, over, pattern, "/topic/a/b"), is_so, "{pattern}");
    }
}

fn words_have_a_hash(server: &TestServer, over: Transport, is_so: bool) {
    assert_eq!(is_heard(server, over, "/topic/a.#", "/topic/a.b.c"), is_so);
}

fn words_have_a_greater_than(server: &TestServer, over: Transport, is_so: bool) {
    assert_eq!(is_heard(server, over, "/topic/a.>", "/topic/a.b.c"), is_so);
}

fn exchanges_are_there(server: &TestServer, over: Transport, is_so: bool) {
    let queue = format!("alias-{over:?}");
    for (subscribed, sent) in [
        ("/topic/a", "/exchange/amq.topic/a"),
        ("/exchange/amq.direct/a", "/exchange/amq.direct/a"),
        ("/exchange/amq.fanout", "/exchange/amq.fanout/a"),
        (&*format!("/queue/{queue}"), &*format!("/amq/queue/{queue}")),
    ] {
        assert_eq!(is_heard(server, over, subscribed, sent), is_so, "{sent}");
    }
}

fn temporary_destinations_are_subscribed(server: &TestServer, over: Transport, is_so: bool) {
    for name in ["/temp-queue/a", "/temp-topic/a"] {
        let mut client = server.session(over);
        if !is_so {
            client.send(format!("SUBSCRIBE\nid:s\ndestination:{name}\n\n\0"));
            client.expect("ERROR");
            continue;
        }
        client.subscribe("s", name, "");
        let mut service = server.session(over);
        service.subscribe("q", "/topic/questions", "");
        client.send(format!("SEND\ndestination:/topic/questions\nreply-to:{name}\n\n?\0"));
        let reply_to = service.expect("MESSAGE").get("reply-to").to_owned();
        service.publish(&reply_to, "!");
        let answer = client.expect("MESSAGE");
        let told = (answer.get("subscription"), answer.get("destination"), answer.body_text());
        assert_eq!(told, ("s", name, "!"));
        // Another's of that name is another.
        service.subscribe("s", name, "");
        service.publish(&reply_to, "!!");
        assert_eq!(client.expect("MESSAGE").body_text(), "!!");
        service.sync();
        // Who left it gets the answer as one who never came.
        client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
        client.expect("RECEIPT");
        service.publish(&reply_to, "late");
        assert_eq!(client.expect("MESSAGE").get("subscription"), name);
    }
}

fn message_ids_and_hosts_are_refused(server: &TestServer, over: Transport, is_so: bool) {
    let send = "CONNECT\naccept-version:1.2\nhost:/\n\n\0\
                SEND\ndestination:/topic/a\nmessage-id:1\nreceipt:r\n\n\0";
    for (frames, answer) in
        [(send, "RECEIPT"), ("CONNECT\naccept-version:1.2\nhost:mars\n\n\0", "CONNECTED")]
    {
        let mut client = server.open(over);
        client.send(frames);
        if frames == send {
            client.expect("CONNECTED");
        }
        client.expect(if is_so { "ERROR" } else { answer });
    }
}

fn acks_need_a_subscription_in_1_1(server: &TestServer, over: Transport, is_so: bool) {
    let mut client = server.open(over);
    client.connect("1.1");
    client.subscribe("s", "/topic/acked", "ack:client\n");
    client.publish("/topic/acked", "x");
    let message = client.expect("MESSAGE");
    let id = message.get("message-id");
    client.send(format!("ACK\nmessage-id:{id}\nreceipt:r\n\n\0"));
    client.expect(if is_so { "ERROR" } else { "RECEIPT" });
}

fn topics_tell_redelivered_and_errors_versions(server: &TestServer, over: Transport, is_so: bool) {
    let mut client = server.session(over);
    client.subscribe("s", "/topic/told", "");
    client.publish("/topic/told", "x");
    let told = client.expect("MESSAGE").header("redelivered").map(str::to_owned);
    assert_eq!(told.as_deref(), is_so.then_some("false"));
    client.send("FOO\n\n\0");
    assert_eq!(client.expect("ERROR").header("version").is_some(), is_so);
}

fn a_ttl_in_send_is_the_queues(server: &TestServer, over: Transport, is_so: bool) {
    let mut client = server.session(over);
    for ttl in ["60000", "50000"] {
        let head = format!("SEND\ndestination:/queue/ttl-{over:?}\nx-message-ttl:{ttl}");
        client.send(format!("{head}\nreceipt:r\n\nx\0"));
        match is_so && ttl == "50000" {
            true => assert_eq!(client.expect("ERROR").get("message"), "precondition_failed"),
            false => drop(client.expect("RECEIPT")),
        }
    }
}
