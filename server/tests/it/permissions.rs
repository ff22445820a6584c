//! Who may send and subscribe where, and how a client learns that it may not.
//!
//! Rules: `core::broker::authorization`. stomp.md §5 rows 61 and 62, §0.12.

use super::client::{Client, Transport, TRANSPORTS};
use super::{on_every_server, TestServer};
use stompede::config::Config;
use stompede_core::broker::destination::Profile;

fn with_rules(rules: &'static [&'static str]) -> impl Fn(&mut Config) + Sync {
    move |config| {
        config.users = ["ann", "bob"].map(|name| (name.to_owned(), "pw".to_owned())).to_vec();
        config.rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
    }
}

fn login(server: &TestServer, over: Transport, user: &str, extra: &str) -> Client {
    let mut client = server.open(over);
    client.send(format!(
        "CONNECT\naccept-version:1.2\nhost:/\nlogin:{user}\npasscode:pw\n{extra}\n\0"
    ));
    client.expect("CONNECTED");
    client
}

const RULES: &[&str] = &[
    "allow user:ann both /**",
    "allow any subscribe /topic/of/{user}/**",
    "deny any both /topic/of/**",
    "deny any publish /topic/news",
    "deny any subscribe /user/queue/secret",
];

/// Catalogue: J12.
#[test]
fn the_first_rule_that_fits_decides() {
    on_every_server(with_rules(RULES), |server| {
        for over in TRANSPORTS {
            let mut ann = login(server, over, "ann", "");
            ann.subscribe("own", "/topic/of/bob/x", "");
            ann.publish("/topic/of/bob/x", "1");
            assert_eq!(ann.expect("MESSAGE").body_text(), "1");
            let mut bob = login(server, over, "bob", "");
            bob.subscribe("news", "/topic/news", "");
            bob.subscribe("own", "/topic/of/bob/**", "");
            ann.publish("/topic/news", "2");
            assert_eq!(bob.expect("MESSAGE").body_text(), "2");
            for refused in [
                "SEND\ndestination:/topic/news\nreceipt:r\n\n\0",
                "SEND\ndestination:/topic/of/bob/x\nreceipt:r\n\n\0",
                "SEND\ndestination:/user/ann/queue/x\nreceipt:r\n\n\0",
                "SUBSCRIBE\nid:s\ndestination:/topic/of/ann/x\nreceipt:r\n\n\0",
                "SUBSCRIBE\nid:s\ndestination:/topic/**\nreceipt:r\n\n\0",
                "SUBSCRIBE\nid:s\ndestination:/topic/*/bob/x\nreceipt:r\n\n\0",
                "SUBSCRIBE\nid:s\ndestination:/user/queue/secret\nreceipt:r\n\n\0",
                "SUBSCRIBE\nid:s\ndestination:/user/queue/**\nreceipt:r\n\n\0",
            ] {
                // Row 61: ERROR and close is what the specification wants.
                let mut client = login(server, over, "bob", "");
                client.send(refused);
                let error = client.expect_error("Access refused", 1008);
                assert_eq!(error.get("receipt-id"), "r", "{refused}");
            }
            bob.sync();
        }
        server.wait_for_metric("stompede_denied_total", 16);
    });
}

#[test]
fn a_refused_send_breaks_its_transaction() {
    on_every_server(with_rules(RULES), |server| {
        let mut ann = login(server, Transport::Tcp, "ann", "");
        ann.subscribe("s", "/topic/a", "");
        let mut bob = login(server, Transport::Tcp, "bob", "");
        bob.send("BEGIN\ntransaction:t\n\n\0");
        bob.send("SEND\ntransaction:t\ndestination:/topic/a\n\n1\0");
        bob.send("SEND\ntransaction:t\ndestination:/topic/news\n\n2\0");
        bob.expect_error("Access refused", 1008);
        ann.sync();
    });
}

#[test]
fn a_soft_client_keeps_its_session() {
    on_every_server(with_rules(RULES), |server| {
        for over in TRANSPORTS {
            let mut ann = login(server, over, "ann", "");
            let mut bob = login(server, over, "bob", "error-mode:soft\n");
            bob.subscribe("news", "/topic/news", "");
            let refused = "SUBSCRIBE\nid:s\ndestination:/topic/of/ann/x\nreceipt:r\n\n\0";
            // Without a subscription for errors the one that was asked for hears of it.
            for heard in ["s", "e"] {
                bob.send(refused);
                let answer = bob.expect("MESSAGE");
                for (name, value) in [
                    ("subscription", heard),
                    ("destination", "/user/queue/errors"),
                    ("message", "Access refused"),
                    ("denied-id", "s"),
                    ("denied-destination", "/topic/of/ann/x"),
                    ("receipt-id", "r"),
                ] {
                    assert_eq!(answer.get(name), value);
                }
                if heard == "s" {
                    bob.subscribe("e", "/user/queue/errors", "");
                }
            }
            ann.publish("/topic/of/ann/x", "hidden");
            ann.publish("/topic/news", "1");
            assert_eq!(bob.expect("MESSAGE").get("subscription"), "news");
            // The id is free, and a SEND that is refused is fatal as ever.
            bob.subscribe("s", "/topic/b", "");
            bob.publish("/topic/news", "2");
            bob.expect_error("Access refused", 1008);
        }
    });
}

/// Catalogue: I12.
#[test]
fn rules_speak_the_dialect_of_the_profile_and_see_through_aliases() {
    let rules = with_rules(&["deny any both /topic/secret.#"]);
    let rabbit = |config: &mut Config| {
        rules(config);
        config.profile = Profile::RabbitMq;
    };
    on_every_server(rabbit, |server| {
        for frame in [
            "SUBSCRIBE\nid:s\ndestination:/topic/#\n\n\0",
            "SUBSCRIBE\nid:s\ndestination:/topic/*.a\n\n\0",
            "SUBSCRIBE\nid:s\ndestination:/exchange/amq.topic/secret.a\n\n\0",
            "SEND\ndestination:/exchange/amq.topic/secret\n\n\0",
        ] {
            let mut client = login(server, Transport::Ws, "bob", "");
            client.send(frame);
            client.expect_error("access_refused", 1008);
        }
        let mut client = login(server, Transport::Ws, "bob", "");
        client.subscribe("s", "/topic/public.#", "");
        client.publish("/exchange/amq.topic/public.a.b", "1");
        assert_eq!(client.expect("MESSAGE").get("destination"), "/topic/public.a.b");
    });
}
