//! Acknowledgements and transactions on topics.
//!
//! STOMP 1.2: SUBSCRIBE (ack), ACK, NACK, BEGIN, COMMIT, ABORT; the older versions name a delivery
//! by `message-id`. An ACK settles on the delivery's terms, not on those of a subscription that may
//! be gone; a transaction happens whole or not at all.

use super::client::{Client, Frame};
use super::everywhere;

/// Subscribes and receives `count` messages.
fn receive(client: &mut Client, id: &str, ack: &str, count: usize) -> Vec<Frame> {
    client.subscribe(id, &format!("/topic/{id}"), &format!("ack:{ack}\n"));
    let receive_one = |number| {
        client.publish(&format!("/topic/{id}"), &format!("{number}"));
        client.expect("MESSAGE")
    };
    (0..count).map(receive_one).collect()
}

fn ack(message: &Frame, version: &str, command: &str) -> String {
    let (id, subscription) = (message.get("message-id"), message.get("subscription"));
    match version {
        "1.0" => format!("{command}\nmessage-id:{id}\nreceipt:a\n\n\0"),
        "1.1" => {
            format!("{command}\nmessage-id:{id}\nsubscription:{subscription}\nreceipt:a\n\n\0")
        }
        _ => format!("{command}\nid:{}\nreceipt:a\n\n\0", message.get("ack")),
    }
}

const VERSIONS: [&str; 3] = ["1.0", "1.1", "1.2"];

/// Catalogue: I09.
#[test]
fn cumulative_acks_cover_the_subscription_and_nothing_else() {
    everywhere(|server, transport| {
        for version in VERSIONS {
            let mut client = server.open(transport);
            client.connect(version);
            let first = receive(&mut client, "one", "client", 3);
            let second = receive(&mut client, "two", "client", 2);
            client.send(ack(&first[1], version, "ACK"));
            client.expect("RECEIPT");
            client.send(ack(&second[1], version, "NACK"));
            client.expect("RECEIPT");
            client.send(ack(&first[2], version, "ACK"));
            client.expect("RECEIPT");
            // Covered by the second ACK.
            client.send(ack(&first[0], version, "ACK"));
            let error = client.expect_error("Message not found", 1002);
            assert_eq!(error.get("receipt-id"), "a");
        }
    });
}

/// Catalogue: I08.
#[test]
fn individual_acks_cover_one_and_may_come_after_unsubscribe() {
    // Rows 64 and 67.
    everywhere(|server, transport| {
        for version in VERSIONS {
            let mut client = server.open(transport);
            client.connect(version);
            let messages = receive(&mut client, "one", "client-individual", 3);
            client.send(ack(&messages[2], version, "ACK"));
            client.expect("RECEIPT");
            client.send("UNSUBSCRIBE\nid:one\nreceipt:u\n\n\0");
            client.expect("RECEIPT");
            for (message, command) in messages[..2].iter().zip(["ACK", "NACK"]) {
                client.send(ack(message, version, command));
                client.expect("RECEIPT");
            }
            client.send(ack(&messages[2], version, "ACK"));
            client.expect_error("Message not found", 1002);
        }
    });
}

/// Catalogue: I06.
#[test]
fn acks_that_are_refused() {
    everywhere(|server, transport| {
        for version in VERSIONS {
            // Row 66: on an auto subscription.
            let mut client = server.open(transport);
            client.connect(version);
            let message = receive(&mut client, "one", "auto", 1).remove(0);
            assert_eq!(message.header("ack"), None);
            let id = message.get("message-id");
            let frame = match version {
                "1.2" => format!("ACK\nid:{id}\nreceipt:a\n\n\0"),
                _ => ack(&message, version, "ACK"),
            };
            client.send(frame);
            let error = client.expect_error("Subscription does not take acknowledgements", 1002);
            assert_eq!(error.get("receipt-id"), "a");
            // Row 64: another connection's.
            let mut client = server.open(transport);
            client.connect(version);
            let message = receive(&mut client, "one", "client", 1).remove(0);
            let mut other = server.open(transport);
            other.connect(version);
            other.send(ack(&message, version, "ACK"));
            other.expect_error("Message not found", 1002);
            client.send(ack(&message, version, "ACK"));
            client.expect("RECEIPT");
        }
        // Row 70: in a transaction that was never begun, or is over.
        for begun in ["", "BEGIN\ntransaction:t\n\n\0ABORT\ntransaction:t\n\n\0"] {
            for command in ["ACK", "NACK"] {
                let mut client = server.open(transport);
                client.connect("1.2");
                let message = receive(&mut client, "one", "client", 1).remove(0);
                let id = message.get("ack");
                client.send(format!("{begun}{command}\nid:{id}\ntransaction:t\nreceipt:a\n\n\0"));
                let error = client.expect_error("Unknown transaction", 1002);
                assert_eq!(error.get("receipt-id"), "a");
            }
        }
        // 1.1 names the subscription, and it must be the right one.
        let mut client = server.open(transport);
        client.connect("1.1");
        let message = receive(&mut client, "one", "client", 1).remove(0);
        client.subscribe("two", "/topic/two", "ack:client\n");
        let id = message.get("message-id");
        client.send(format!("ACK\nmessage-id:{id}\nsubscription:two\n\n\0"));
        client.expect_error("Message not found", 1002);
    });
}

#[test]
fn a_transaction_is_applied_at_commit_with_its_receipts() {
    everywhere(|server, transport| {
        let mut client = server.session(transport);
        let mut subscriber = server.session(transport);
        for name in ["a", "b", "c", "d"] {
            subscriber.subscribe(name, &format!("/topic/{name}"), "");
        }
        client.send("BEGIN\ntransaction:t\nreceipt:begin\n\n\0");
        assert_eq!(client.expect("RECEIPT").get("receipt-id"), "begin");
        for name in ["a", "b", "c", "d", "a"] {
            client.send(format!(
                "SEND\ndestination:/topic/{name}\ntransaction:t\nreceipt:{name}\nx:1\n\nin\0"
            ));
        }
        // Nothing of it is out: what was sent behind it overtakes it, and no receipt has come.
        client.sync();
        for name in ["a", "b", "c", "d"] {
            client.send(format!("SEND\ndestination:/topic/{name}\nreceipt:o\n\nout\0"));
            client.expect("RECEIPT");
            assert_eq!(subscriber.expect("MESSAGE").body_text(), "out");
        }
        client.send("COMMIT\ntransaction:t\nreceipt:commit\n\n\0");
        for receipt in ["a", "b", "c", "d", "a", "commit"] {
            assert_eq!(client.expect("RECEIPT").get("receipt-id"), receipt);
        }
        let mut seen: Vec<_> = (0..5)
            .map(|_| {
                let message = subscriber.expect("MESSAGE");
                assert_eq!((message.body_text(), message.header("transaction")), ("in", None));
                message.get("subscription").to_owned()
            })
            .collect();
        seen.sort();
        assert_eq!(seen, ["a", "a", "b", "c", "d"]);
        // The id is free again; an ABORT drops what was sent.
        client.send("BEGIN\ntransaction:t\n\n\0SEND\ndestination:/topic/a\ntransaction:t\n\nno\0");
        client.send("ABORT\ntransaction:t\nreceipt:abort\n\n\0");
        assert_eq!(client.expect("RECEIPT").get("receipt-id"), "abort");
        client.publish("/topic/a", "yes");
        assert_eq!(subscriber.expect("MESSAGE").body_text(), "yes");
    });
}

/// Catalogue: I10.
#[test]
fn a_transaction_that_cannot_be_applied_whole_is_not_applied() {
    // Row 71.
    let bad_ends = [
        // A SEND that is wrong on arrival.
        "SEND\ndestination:/nowhere\ntransaction:t\n\n\0COMMIT\ntransaction:t\nreceipt:r\n\n\0",
        // One delivery twice: the second one cannot be settled.
        "ACK\nid:{}\ntransaction:t\n\n\0ACK\nid:{}\ntransaction:t\n\n\0\
         COMMIT\ntransaction:t\nreceipt:r\n\n\0",
        // Settled outside meanwhile.
        "ACK\nid:{}\ntransaction:t\n\n\0ACK\nid:{}\n\n\0COMMIT\ntransaction:t\nreceipt:r\n\n\0",
        // Begun twice (row 69): it is aborted, and the COMMIT behind it is not read.
        "BEGIN\ntransaction:t\n\n\0COMMIT\ntransaction:t\nreceipt:r\n\n\0",
        // Gone without a commit.
        "DISCONNECT\nreceipt:r\n\n\0",
    ];
    everywhere(|server, transport| {
        let mut subscriber = server.session(transport);
        subscriber.subscribe("s", "/topic/a", "");
        for frames in bad_ends {
            let mut client = server.session(transport);
            let message = receive(&mut client, "own", "client", 1).remove(0);
            client.send(
                "BEGIN\ntransaction:t\n\n\0SEND\ndestination:/topic/a\ntransaction:t\n\nno\0",
            );
            client.send(frames.replace("{}", message.get("ack")));
            if frames.starts_with("DISCONNECT") {
                client.expect("RECEIPT");
            } else {
                client.expect("ERROR");
            }
            let mut other = server.session(transport);
            other.publish("/topic/a", "yes");
            assert_eq!(subscriber.expect("MESSAGE").body_text(), "yes", "{frames}");
        }
    });
}

/// Catalogue: I10.
#[test]
fn a_transaction_has_so_many_bytes_and_no_more() {
    // Row 72; in frames and messages of their own, which have limits, too.
    everywhere(|server, transport| {
        let mut client = server.session(transport);
        client.send("BEGIN\ntransaction:t\n\n\0");
        let body = "x".repeat(50_000);
        for _ in 0..20 {
            client.send(format!("SEND\ndestination:/topic/a\ntransaction:t\n\n{body}\0"));
        }
        client.sync();
        let head = "SEND\ndestination:/topic/a\ntransaction:t\nreceipt:r";
        client.send(format!("{head}\n\n{body}\0"));
        let error = client.expect_error("Transaction too large", 1009);
        assert_eq!(error.get("receipt-id"), "r");
    });
}

#[test]
fn an_aborted_ack_can_be_sent_again() {
    everywhere(|server, transport| {
        let mut client = server.session(transport);
        let messages = receive(&mut client, "one", "client", 2);
        let (first, second) = (messages[0].get("ack"), messages[1].get("ack"));
        let begin = "BEGIN\ntransaction:t\n\n\0";
        client.send(format!(
            "{begin}ACK\nid:{second}\ntransaction:t\n\n\0ABORT\ntransaction:t\n\n\0"
        ));
        // In order within a transaction: first one, then all up to the other.
        client.send(format!(
            "{begin}ACK\nid:{first}\ntransaction:t\n\n\0ACK\nid:{second}\ntransaction:t\n\n\0\
             COMMIT\ntransaction:t\nreceipt:c\n\n\0"
        ));
        assert_eq!(client.expect("RECEIPT").get("receipt-id"), "c");
        client.send(format!("ACK\nid:{first}\n\n\0"));
        client.expect_error("Message not found", 1002);
    });
}

/// Catalogue: I10.
#[test]
fn a_reset_aborts_the_transaction() {
    // Row 75.
    everywhere(|server, transport| {
        let mut subscriber = server.session(transport);
        subscriber.subscribe("s", "/topic/a", "");
        let mut client = server.session(transport);
        client.send(
            "BEGIN\ntransaction:t\nreceipt:b\n\n\0\
             SEND\ndestination:/topic/a\ntransaction:t\n\nno\0",
        );
        client.expect("RECEIPT");
        client.sync();
        client.reset();
        subscriber.publish("/topic/a", "yes");
        assert_eq!(subscriber.expect("MESSAGE").body_text(), "yes");
        subscriber.send("SEND\ndestination:/topic/a\nreceipt:r\n\nlast\0");
        assert_eq!(subscriber.expect("MESSAGE").body_text(), "last");
    });
}
