//! Request and reply by temporary queues (stomp.md §2.2 `/temp-queue/`, `/reply-queue/`).

use super::client::{Client, Transport};
use super::{everywhere, on_every_server, TestServer};

/// A server of requests on `/topic/rpc` and a client that has asked it `question`, with the name
/// to answer to.
fn ask(server: &TestServer, over: Transport, label: &str) -> (Client, Client, String) {
    let mut service = server.session(over);
    service.subscribe("s", "/topic/rpc", "");
    let mut client = server.session(over);
    let name = question(&mut client, &mut service, label);
    (service, client, name)
}

fn question(client: &mut Client, service: &mut Client, label: &str) -> String {
    client.send(format!(
        "SEND\ndestination:/topic/rpc\nreply-to:/temp-queue/{label}\ncorrelation-id:7\n\n?\0"
    ));
    let request = service.expect("MESSAGE");
    assert_eq!(request.get("correlation-id"), "7");
    request.get("reply-to").to_owned()
}

#[test]
fn an_answer_reaches_the_requester_alone() {
    everywhere(|server, over| {
        let (mut service, mut client, name) = ask(server, over, "x");
        let token = name.strip_prefix("/reply-queue/").and_then(|name| name.split_once('-'));
        assert_eq!(token.expect("a token").1.len(), 32, "{name}");
        let mut other = server.session(over);
        let theirs = question(&mut other, &mut service, "x");
        assert_ne!(theirs, name);
        assert_eq!(question(&mut client, &mut service, "x"), name, "the same label");
        for round in 0..10 {
            service.send(format!("SEND\ndestination:{name}\nreceipt:r\nk:v\n\n{round}\0"));
            service.expect("RECEIPT");
            let answer = client.expect("MESSAGE");
            assert_eq!(answer.get("subscription"), "/temp-queue/x");
            assert_eq!(answer.get("destination"), name);
            assert_eq!((answer.get("k"), answer.body_text()), ("v", &*round.to_string()));
        }
        other.sync();
        service.publish(&theirs, "yours");
        assert_eq!(other.expect("MESSAGE").body_text(), "yours");
        client.sync();
    });
}

#[test]
fn the_name_ends_with_the_connection() {
    on_every_server(
        |_| {},
        |server| {
            let (mut service, client, name) = ask(server, Transport::Ws, "x");
            drop(client);
            server.wait_for_metric("stompede_connections", 1);
            // Whoever gets the slot next gets nothing of it.
            let mut next: Vec<_> = (0..4).map(|_| server.session(Transport::Ws)).collect();
            service.send(format!("SEND\ndestination:{name}\nreceipt:r\n\nlate\0"));
            service.expect("RECEIPT");
            server.wait_for_metric("stompede_messages_undeliverable_total", 1);
            next.iter_mut().for_each(Client::sync);
        },
    );
}

/// Catalogue: I14.
#[test]
fn guessing_reaches_nobody() {
    everywhere(|server, over| {
        let (mut service, mut client, name) = ask(server, over, "x");
        let (shard, token) = name.rsplit_once('-').expect("a token");
        let swapped: String = token.chars().rev().collect();
        for guess in [
            format!("{shard}-{swapped}"),
            format!("{shard}-{}", token.to_uppercase() + "0"),
            format!("{shard}-00000000000000000000000000000000"),
            format!("/reply-queue/fffffff-{token}"),
            "/reply-queue/x".to_owned(),
            "/reply-queue/0-".to_owned(),
        ] {
            service.send(format!("SEND\ndestination:{guess}\nreceipt:r\n\nguess\0"));
            service.expect("RECEIPT");
        }
        client.sync();
        for destination in [&*name, "/reply-queue/x", "/temp-queue/x"] {
            let mut thief = server.session(over);
            thief.send(format!("SUBSCRIBE\nid:t\ndestination:{destination}\n\n\0"));
            thief.expect_error("Invalid destination", 1002);
        }
        let mut thief = server.session(over);
        thief.publish("/temp-queue/x", "x");
        thief.expect_error("Invalid destination", 1002);
    });
}

/// Catalogue: I16.
#[test]
fn the_ids_of_temporary_queues_are_reserved() {
    everywhere(|server, over| {
        for frame in [
            "SUBSCRIBE\nid:/temp-queue/x\ndestination:/topic/a\n\n\0",
            "UNSUBSCRIBE\nid:/temp-queue/x\n\n\0",
        ] {
            let mut client = server.session(over);
            client.send(frame);
            client.expect_error("Reserved subscription identifier", 1002);
        }
    });
}

#[test]
fn labels_are_checked_and_limited() {
    on_every_server(
        |config| config.limits.reply_queues_count_max = 2,
        |server| {
            let send =
                |reply_to: &str| format!("SEND\ndestination:/topic/a\nreply-to:{reply_to}\n\n\0");
            let mut client = server.session(Transport::Tcp);
            for label in ["x", "y", "x", "y"] {
                client.send(send(&format!("/temp-queue/{label}")));
            }
            client.sync();
            client.send(send("/temp-queue/z"));
            client.expect_error("Too many temporary queues", 1008);
            for bad in ["/temp-queue/", "/temp-queue/a\\nb"] {
                let mut client = server.session(Transport::Ws);
                client.send(send(bad));
                client.expect_error("Bad header value", 1002);
            }
        },
    );
}

#[test]
fn a_request_in_a_transaction_and_other_names_of_reply_to() {
    everywhere(|server, over| {
        let (mut service, mut client, _) = ask(server, over, "x");
        client.send("BEGIN\ntransaction:t\n\n\0");
        client.send("SEND\ntransaction:t\ndestination:/topic/rpc\nreply-to:/temp-queue/y\n\n1\0");
        client.send("SEND\ntransaction:t\ndestination:/topic/rpc\nreply-to:/topic/b\n\n2\0");
        client.send("COMMIT\ntransaction:t\n\n\0");
        // Their order between shards is that of the transaction: they have one home.
        let name = service.expect("MESSAGE").get("reply-to").to_owned();
        assert_eq!(service.expect("MESSAGE").get("reply-to"), "/topic/b");
        service.publish(&name, "!");
        assert_eq!(client.expect("MESSAGE").get("subscription"), "/temp-queue/y");
    });
}
