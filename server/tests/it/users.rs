//! User destinations: who is reached, and who cannot be (stomp.md §2.1 "User destinations").
//!
//! Sessions of one user may be on different shards, and the user's home on a third: the kernel and
//! a key that is random per start choose, and the answers are the same.

use super::client::{Client, Transport, TRANSPORTS};
use super::{everywhere, on_every_server, until, TestServer};
use stompede::config::Config;
use stompede_core::broker::destination::Profile;

/// Names and passwords alike.
fn with_users(config: &mut Config) {
    let names = ["ann", "bob", "a/b", "queue"];
    config.users = names.map(|name| (name.to_owned(), "pw".to_owned())).to_vec();
}

/// As above, and everybody may send to everybody.
fn with_open_users(config: &mut Config) {
    with_users(config);
    config.rules.push("allow any publish /user/**".to_owned());
}

fn login(server: &TestServer, over: Transport, user: &str) -> Client {
    let mut client = server.open(over);
    client.send(format!("CONNECT\naccept-version:1.2\nhost:/\nlogin:{user}\npasscode:pw\n\n\0"));
    assert_eq!(client.expect("CONNECTED").get("user-name"), user);
    client
}

#[test]
fn an_anonymous_session_has_destinations_of_its_own() {
    everywhere(|server, over| {
        let mut clients: Vec<_> = (0..6).map(|_| server.session(over)).collect();
        for client in &mut clients {
            client.subscribe("s", "/user/queue/x", "");
            client.subscribe("p", "/user/topic/**", "");
        }
        for (index, client) in clients.iter_mut().enumerate() {
            client.publish("/user/queue/x", &format!("{index}"));
            client.publish("/user/queue/y", "nobody");
            client.publish("/user/topic/a/b", &format!("{index}"));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            for (id, shown) in [("s", "/user/queue/x"), ("p", "/user/topic/a/b")] {
                let message = client.expect("MESSAGE");
                assert_eq!(message.get("destination"), shown);
                assert_eq!(message.get("subscription"), id);
                assert_eq!(message.body_text(), index.to_string());
            }
            client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
            client.expect("RECEIPT");
            client.publish("/user/queue/x", "too late");
            client.sync();
        }
    });
}

/// Catalogue: I15.
#[test]
fn every_session_of_a_user_is_reached_on_any_shard() {
    on_every_server(with_open_users, |server| {
        let mut sessions: Vec<_> =
            (0..8).map(|index| login(server, TRANSPORTS[index % 2], "bob")).collect();
        let mut stranger = login(server, Transport::Tcp, "ann");
        for client in sessions.iter_mut().chain([&mut stranger]) {
            client.subscribe("s", "/user/queue/x", "");
        }
        let mut sender = login(server, Transport::Ws, "ann");
        for round in 0..20 {
            sender.send(format!(
                "SEND\ndestination:/user/bob/queue/x\nreceipt:{round}\nk:v\n\n{round}\0"
            ));
            assert_eq!(sender.expect("RECEIPT").get("receipt-id"), round.to_string());
        }
        for client in &mut sessions {
            for round in 0..20 {
                let message = client.expect("MESSAGE");
                assert_eq!(message.get("destination"), "/user/queue/x");
                assert_eq!(message.get("k"), "v");
                assert_eq!(message.body_text(), round.to_string());
            }
            client.sync();
        }
        stranger.sync();
        // Those who are gone are forgotten, those who stay are not.
        let mut last = sessions.pop().expect("a session");
        drop(sessions);
        server.wait_for_metric("stompede_connections", 3);
        sender.publish("/user/bob/queue/x", "again");
        assert_eq!(last.expect("MESSAGE").body_text(), "again");
        drop(last);
        // The shard that knows where users are hears a moment later that the last one is gone.
        until("nobody", || {
            sender.publish("/user/bob/queue/x", "nobody");
            server.metric("stompede_messages_undeliverable_total") > 0
        });
    });
}

/// Catalogue: I04.
#[test]
fn a_receipt_of_subscribe_counts_for_users_too() {
    on_every_server(with_open_users, |server| {
        let mut sender = login(server, Transport::Tcp, "ann");
        for round in 0..40 {
            let mut client = login(server, TRANSPORTS[round % 2], "bob");
            client.subscribe("s", "/user/queue/x", "");
            sender.publish("/user/bob/queue/x", &format!("{round}"));
            assert_eq!(client.expect("MESSAGE").body_text(), round.to_string());
        }
    });
}

/// Catalogue: I13.
#[test]
fn names_with_a_slash_are_one_segment() {
    // Row 86.
    on_every_server(with_open_users, |server| {
        let mut sender = login(server, Transport::Tcp, "ann");
        for (user, segment) in [("a/b", "a%2Fb"), ("queue", "queue")] {
            let mut client = login(server, Transport::Ws, user);
            client.subscribe("s", "/user/queue/x", "");
            sender.publish(&format!("/user/{segment}/queue/x"), user);
            assert_eq!(client.expect("MESSAGE").body_text(), user);
        }
        for login in ["a%2Fb", "a\rb"] {
            let mut client = server.open(Transport::Tcp);
            client.send(format!(
                "CONNECT\naccept-version:1.2\nhost:/\nlogin:{login}\npasscode:pw\n\n\0"
            ));
            client.expect("ERROR");
            client.expect_end();
        }
    });
}

/// Catalogue: I13.
#[test]
fn others_are_out_of_reach_without_a_rule() {
    on_every_server(with_users, |server| {
        for over in TRANSPORTS {
            let mut bob = login(server, over, "bob");
            bob.subscribe("s", "/user/queue/x", "");
            let mut second = login(server, over, "bob");
            second.publish("/user/bob/queue/x", "to myself");
            assert_eq!(bob.expect("MESSAGE").body_text(), "to myself");
            let mut ann = login(server, over, "ann");
            ann.publish("/user/bob/queue/x", "spam");
            ann.expect_error("Access refused", 1008);
            bob.sync();
        }
        server.wait_for_metric("stompede_denied_total", 2);
    });
}

/// Catalogue: I14.
#[test]
fn nobody_can_name_what_belongs_to_another_session() {
    // Row 62, and every other way to write an internal name.
    let guess = "0123456789abcdef0123456789abcdef";
    everywhere(|server, over| {
        let mut victim = server.session(over);
        victim.subscribe("s", "/user/queue/x", "");
        let own = format!("/queue/x-user{guess}");
        for (destination, message) in [
            (&*own, "Access refused"),
            ("/user/bob/queue/x", "Invalid destination"),
            ("/user/**", "Invalid destination"),
            ("/user/*/x", "Invalid destination"),
            ("/user/*/queue/x", "Invalid destination"),
            ("/user/", "Invalid destination"),
            ("/user/queue/", "Invalid destination"),
            ("\u{1}0.1.1/queue/x", "Invalid destination"),
            ("0.1.1/queue/x", "Unknown destination"),
            ("/**", "Unknown destination"),
        ] {
            let mut thief = server.session(over);
            thief.send(format!("SUBSCRIBE\nid:t\ndestination:{destination}\n\n\0"));
            let error = thief.expect("ERROR");
            assert_eq!(error.get("message"), message, "{destination:?}");
        }
        for destination in ["\u{1}0.1.1/queue/x", "/user//queue/x", "/user/bob//queue/x"] {
            let mut forger = server.session(over);
            forger.send(format!("SEND\ndestination:{destination}\n\nforged\0"));
            assert_eq!(forger.expect("ERROR").get("message"), "Invalid destination");
        }
        let mut spy = server.session(over);
        spy.subscribe("all", "/topic/q**", "");
        victim.publish("/user/queue/x", "mine");
        assert_eq!(victim.expect("MESSAGE").body_text(), "mine");
        spy.sync();
    });
}

#[test]
fn a_pattern_is_no_destination_of_send() {
    everywhere(|server, over| {
        let mut client = server.session(over);
        client.publish("/user/queue/*", "x");
        client.expect_error("Cannot send to a pattern", 1002);
    });
}

#[test]
fn in_a_transaction_too() {
    on_every_server(with_open_users, |server| {
        for over in TRANSPORTS {
            let mut bob = login(server, over, "bob");
            bob.subscribe("s", "/user/queue/x", "ack:client-individual\n");
            let mut ann = login(server, over, "ann");
            ann.subscribe("s", "/user/queue/x", "");
            ann.send("BEGIN\ntransaction:t\n\n\0");
            for destination in ["/user/bob/queue/x", "/user/queue/x"] {
                ann.send(format!("SEND\ntransaction:t\ndestination:{destination}\n\n1\0"));
            }
            ann.sync();
            bob.sync();
            ann.send("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
            assert_eq!(ann.expect("MESSAGE").body_text(), "1");
            ann.expect("RECEIPT");
            let ack = bob.expect("MESSAGE").get("ack").to_owned();
            bob.send(format!("ACK\nid:{ack}\nreceipt:a\n\n\0"));
            bob.expect("RECEIPT");
        }
    });
}

#[test]
fn stomp_1_0_subscribes_and_unsubscribes_by_destination() {
    everywhere(|server, over| {
        let mut client = server.open(over);
        client.connect("1.0");
        client.send("SUBSCRIBE\ndestination:/user/queue/x\nreceipt:s\n\n\0");
        client.expect("RECEIPT");
        client.publish("/user/queue/x", "1");
        let message = client.expect("MESSAGE");
        assert_eq!(message.get("destination"), "/user/queue/x");
        assert_eq!(message.header("subscription"), None);
        client.send("UNSUBSCRIBE\ndestination:/user/queue/x\nreceipt:u\n\n\0");
        client.expect("RECEIPT");
        client.publish("/user/queue/x", "2");
        client.sync();
    });
}

#[test]
fn a_session_is_named_by_its_id() {
    // Spring's simpSessionId: with it a session without a user is reached, and by itself alone.
    everywhere(|server, over| {
        let mut client = server.open(over);
        let connected = client.connect("1.2");
        assert_eq!(connected.header("user-name"), None);
        let id = connected.get("session").to_owned();
        client.subscribe("s", "/user/queue/x", "");
        client.publish(&format!("/user/{id}/queue/x"), "mine");
        let message = client.expect("MESSAGE");
        assert_eq!((message.get("destination"), message.body_text()), ("/user/queue/x", "mine"));
        let mut other = server.session(over);
        other.publish(&format!("/user/{id}/queue/x"), "not yours");
        other.expect_error("Access refused", 1008);
        client.sync();
    });
    on_every_server(with_open_users, |server| {
        for over in TRANSPORTS {
            let mut sessions: Vec<_> = (0..4)
                .map(|_| {
                    let mut client = server.open(over);
                    let login = "login:bob\npasscode:pw";
                    client.send(format!("CONNECT\naccept-version:1.2\n{login}\n\n\0"));
                    let id = client.expect("CONNECTED").get("session").to_owned();
                    client.subscribe("s", "/user/queue/x", "");
                    (client, id)
                })
                .collect();
            let mut ann = login(server, over, "ann");
            for (client, id) in &mut sessions {
                ann.publish(&format!("/user/{id}/queue/x"), id);
                assert_eq!(client.expect("MESSAGE").body_text(), id);
            }
            // One that is over, and one that never was.
            let (gone, id) = sessions.remove(0);
            drop(gone);
            for id in [&*id, "0123456789abcdef0123456789abcdef"] {
                ann.send(format!("SEND\ndestination:/user/{id}/queue/x\nreceipt:r\n\n\0"));
                ann.expect("RECEIPT");
            }
            sessions.iter_mut().for_each(|(client, _)| client.sync());
        }
    });
}

#[test]
fn spring_answers_the_senders_own_session_alone() {
    let spring = |config: &mut Config| {
        with_users(config);
        config.profile = Profile::Spring;
    };
    on_every_server(spring, |server| {
        let mut sessions: Vec<_> = (0..4).map(|_| login(server, Transport::Ws, "bob")).collect();
        for client in &mut sessions {
            client.subscribe("s", "/user/queue/x", "");
        }
        sessions[0].publish("/user/bob/queue/x", "1");
        assert_eq!(sessions[0].expect("MESSAGE").body_text(), "1");
        sessions.iter_mut().for_each(Client::sync);
    });
}
