//! Attacks by STOMP frames: their form (rows H) and their meaning (rows I).

use super::ground::Ground;
use super::peer::{wrong, Told, Wrong};
use super::{closed, Attack, USUAL};

/// An ERROR that names the mistake, and the end.
const ERROR: Attack = Attack { answer: "ERROR and 1002", counter: closed!("stomp_error"), ..USUAL };

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        id: "H02",
        sends: "commands that are unknown, too long, lower case or escape codes",
        answer: "ERROR, and the client's bytes come back escaped",
        run: |ground| {
            for command in ["FOO", "send", "F\x1b[1mO", "<script>"] {
                let mut peer = ground.session()?;
                peer.send_stomp(format!("{command}\n\n\0"));
                let error = peer.expect_stomp("ERROR", "message:Bad command\n")?;
                if error.contains('\x1b') {
                    return wrong("an escape code comes back as it is");
                }
                peer.expect_close(1002)?;
            }
            errors(ground, &[("A".repeat(60_000), "Command too long", 1009)])?;
            Ok(5)
        },
        ..ERROR
    },
    Attack {
        id: "H03",
        sends: "headers without colon, without name, too long, with NUL",
        run: |ground| {
            let send = |line: &str| format!("SEND\ndestination:/topic/a\n{line}\n\n\0");
            let cases = [
                (send("nocolon"), "Header without colon", 1002),
                (send(":value"), "Empty header name", 1002),
                (send(&format!("x:{}", "x".repeat(40_000))), "Header too long", 1009),
                (send("x\0y:z"), "NUL", 1002),
            ];
            errors(ground, &cases)
        },
        ..ERROR
    },
    Attack {
        id: "H04",
        sends: "escapes that are not defined",
        run: |ground| {
            let send = |value: &str| format!("SEND\ndestination:/topic/a\nx:{value}\n\n\0");
            errors(ground, &["a\\tb", "a\\", "\\x41"].map(|v| (send(v), "Undefined escape", 1002)))
        },
        ..ERROR
    },
    Attack {
        id: "H07",
        sends: "ten thousand headers",
        answer: "ERROR and 1009",
        run: |ground| {
            let many: String = (0..5_000).map(|n| format!("h{n}:v\n")).collect();
            let frame = format!("SEND\ndestination:/topic/a\n{many}\n\0");
            errors(ground, &[(frame, "Too many headers", 1009)])
        },
        ..ERROR
    },
    Attack {
        id: "H08",
        sends: "content-lengths that are no number, too large, or a lie",
        answer: "ERROR, and no allocation",
        run: |ground| {
            let send = |length: &str| {
                format!("SEND\ndestination:/topic/a\ncontent-length:{length}\n\nhello\0")
            };
            let bad = ["-1", "+5", "0x5", "5 5", "18446744073709551617"];
            errors(ground, &bad.map(|length| (send(length), "Bad content-length", 1002)))?;
            let cases = [
                (send("2"), "Frame does not end in NUL", 1002),
                (send("1000000000000"), "Frame too large", 1009),
            ];
            errors(ground, &cases)?;
            Ok(7)
        },
        ..ERROR
    },
    Attack {
        id: "H10",
        sends: "bodies on frames that have none",
        run: |ground| {
            let frame = "SUBSCRIBE\nid:1\ndestination:/topic/a\n\nbody\0";
            errors(ground, &[(frame.to_owned(), "Body not allowed", 1002)])
        },
        ..ERROR
    },
    Attack {
        id: "H11",
        sends: "a million line ends between frames",
        answer: "they are passed over for a while, then ERROR and 1008",
        counter: closed!("control_flood"),
        run: |ground| {
            let mut peer = ground.session()?;
            for _ in 0..20 {
                peer.send_stomp(vec![b'\n'; 50_000]);
            }
            peer.expect_error("Too many control frames", 1008).map(|()| 1)
        },
        ..ERROR
    },
    Attack {
        id: "H12",
        sends: "heart-beat headers that make no sense",
        run: |ground| {
            let bad = ["a,b", "-1,0", "1", "1,2,3", "99999999999999999999,0"];
            for value in bad {
                let mut peer = ground.websocket()?;
                peer.send_stomp(format!("CONNECT\naccept-version:1.2\nheart-beat:{value}\n\n\0"));
                peer.expect_error("Bad heart-beat", 1002)?;
            }
            Ok(bad.len() as u64)
        },
        ..ERROR
    },
    Attack {
        id: "H15",
        sends: "STOMP versions that nobody speaks",
        answer: "ERROR with the versions that are spoken",
        run: |ground| {
            for versions in ["9.9", "", "1.3,2.0"] {
                let mut peer = ground.websocket()?;
                peer.send_stomp(format!("CONNECT\naccept-version:{versions}\nhost:a\n\n\0"));
                peer.expect_error("\nversion:", 1002)?;
            }
            Ok(3)
        },
        ..ERROR
    },
    Attack {
        id: "H17",
        sends: "CONNECT within a session",
        run: |ground| {
            let again = ["CONNECT\naccept-version:1.2\n\n\0", "STOMP\n\n\0"];
            errors(ground, &again.map(|frame| (frame.to_owned(), "Already connected", 1002)))
        },
        ..ERROR
    },
    Attack {
        id: "H18",
        sends: "frames before CONNECT, and a CONNECT of 64 KiB",
        run: |ground| {
            let mut peer = ground.websocket()?;
            peer.send_stomp("SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\0");
            peer.expect_error("You must log in", 1002)?;
            let mut peer = ground.websocket()?;
            peer.send_stomp(format!("CONNECT\nx:{}\n\n\0", "x".repeat(65_000)));
            peer.expect_error("Frame too large", 1009)?;
            Ok(2)
        },
        ..ERROR
    },
    Attack {
        id: "H19",
        sends: "frames that only servers send",
        run: |ground| {
            let commands = ["CONNECTED", "MESSAGE", "RECEIPT", "ERROR"];
            let frame = |command: &str| format!("{command}\ndestination:/topic/a\n\n\0");
            errors(ground, &commands.map(|c| (frame(c), "Command is for servers only", 1002)))
        },
        ..ERROR
    },
    Attack {
        id: "H21",
        sends: "a SEND with the headers of a MESSAGE",
        answer: "the server's values win",
        counter: "",
        run: forged_headers,
        ..ERROR
    },
    Attack {
        id: "H22",
        sends: "ten thousand frames that are wrong",
        answer: "the first ends the connection",
        run: |ground| {
            let mut peer = ground.session()?;
            peer.send_stomp("FOO\n\n\0".repeat(10_000));
            peer.expect_error("Bad command", 1002).map(|()| 1)
        },
        ..ERROR
    },
    Attack {
        id: "I01",
        sends: "one subscription id twice",
        run: |ground| {
            let twice = "SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\0".repeat(2);
            errors(ground, &[(twice, "Duplicated subscription", 1002)])
        },
        ..ERROR
    },
    Attack {
        id: "I03",
        sends: "receipts of 10 KiB, and with colons and line ends",
        answer: "the long one is refused, others come back as they were",
        run: |ground| {
            let mut peer = ground.session()?;
            peer.send_stomp("SEND\ndestination:/topic/attack\nreceipt:a\\cb\\nc\n\n\0");
            peer.expect_stomp("RECEIPT", "receipt-id:a\\cb\\nc\n")?;
            let frame = format!("SEND\ndestination:/topic/a\nreceipt:{}\n\n\0", "r".repeat(10_000));
            errors(ground, &[(frame, "Identifier too long", 1008)])
        },
        ..ERROR
    },
    Attack {
        id: "I06",
        sends: "acknowledgements of messages that were never delivered",
        run: |ground| {
            let frames = ["ACK\nid:1\n\n\0", "NACK\nid:0-0-0\n\n\0"];
            errors(ground, &frames.map(|frame| (frame.to_owned(), "", 1002)))
        },
        ..ERROR
    },
    Attack {
        id: "I10",
        sends: "transactions that are unknown, doubled, too many, too large",
        run: |ground| {
            let begin = |id: usize| format!("BEGIN\ntransaction:{id}\n\n\0");
            let filled =
                begin(0) + &"SEND\ndestination:/topic/a\ntransaction:0\n\n\0".repeat(1_025);
            let cases = [
                ("COMMIT\ntransaction:x\n\n\0".to_owned(), "Unknown transaction", 1002),
                (begin(1).repeat(2), "Transaction already started", 1002),
                ((0..17).map(begin).collect(), "Too many transactions", 1008),
                (filled, "Transaction too large", 1009),
            ];
            errors(ground, &cases)
        },
        ..ERROR
    },
    Attack {
        id: "I13",
        sends: "subscriptions to another user's destinations, and through dots",
        answer: "ERROR and the end",
        run: |ground| {
            let all =
                ["/user/bob/queue/x", "/user/../queue/x", "/user//queue/x", "/user/*/queue/x"];
            for to in all {
                let mut peer = ground.session()?;
                peer.send_stomp(format!("SUBSCRIBE\nid:1\ndestination:{to}\nreceipt:r\n\n\0"));
                peer.expect_stomp("ERROR", "")?;
            }
            Ok(all.len() as u64)
        },
        ..ERROR
    },
    Attack {
        id: "I17",
        sends: "ten thousand destinations, one message each",
        answer: "they leave nothing behind",
        counter: "",
        run: |ground| {
            let mut peer = ground.session()?;
            let name = ground.name();
            for batch in 0..10 {
                let frames = (0..1_000)
                    .map(|n| format!("SEND\ndestination:/topic/{name}.{batch}.{n}\n\nx\0"));
                peer.send_stomp(frames.collect::<String>());
                peer.expect_alive()?;
            }
            Ok(0)
        },
        ..ERROR
    },
    Attack {
        id: "I18",
        sends: "patterns with twenty wildcards, and a thousand subscriptions",
        answer: "ERROR and 1008",
        run: |ground| {
            let deep = format!("/topic{}", "/**/a".repeat(20));
            let wild = format!("SUBSCRIBE\nid:1\ndestination:{deep}\n\n\0");
            let many = (0..=1_000)
                .map(|n| format!("SUBSCRIBE\nid:{n}\ndestination:/topic/attack/*/{n}\n\n\0"));
            let cases = [
                (wild, "Pattern too complex", 1008),
                (many.collect(), "Too many subscriptions", 1008),
            ];
            errors(ground, &cases)
        },
        ..ERROR
    },
    Attack {
        id: "I20",
        sends: "selectors that are broken, deep, long, or code",
        run: |ground| {
            let with = |selector: &str| {
                format!("SUBSCRIBE\nid:1\ndestination:/topic/a\nselector:{selector}\n\n\0")
            };
            let deep = format!("{}a = 1{}", "(".repeat(1_000), ")".repeat(1_000));
            let cases = [
                (with("a ="), "Bad selector", 1002),
                (with("T(java.lang.Runtime).getRuntime()"), "Bad selector", 1002),
                (with(&deep), "Selector too complex", 1008),
                (with(&"a".repeat(10_000)), "Selector too long", 1009),
            ];
            errors(ground, &cases)
        },
        ..ERROR
    },
    Attack {
        id: "I22",
        sends: "a message that its consumer always refuses",
        answer: "it is delivered so often, and then it dies",
        counter: "stompede_dead_letters_total{reason=\"deliveries\"}",
        run: poison,
        ..ERROR
    },
];

/// Sends frames within sessions of their own: each is an ERROR with a text, and a close code.
fn errors(ground: &Ground, cases: &[(String, &str, u16)]) -> Told<u64> {
    for (frame, text, code) in cases {
        let mut peer = ground.session()?;
        peer.send_stomp(frame);
        peer.expect_error(text, *code)?;
    }
    Ok(cases.len() as u64)
}

fn forged_headers(ground: &Ground) -> Told<u64> {
    let mut peer = ground.session()?;
    let to = format!("/topic/attack.{}", ground.name());
    peer.send_stomp(format!("SUBSCRIBE\nid:mine\ndestination:{to}\nreceipt:s\n\n\0"));
    peer.expect_stomp("RECEIPT", "receipt-id:s\n")?;
    let forged = "message-id:forged\nsubscription:forged\nack:forged\nredelivered:forged\n";
    peer.send_stomp(format!("SEND\ndestination:{to}\n{forged}\nx\0"));
    let message = peer.expect_stomp("MESSAGE", "subscription:mine\n")?;
    match message.contains("forged") {
        true => wrong(format!("`{}` believes the client", message.escape_debug())),
        false => Ok(0),
    }
}

/// Takes a message from a queue and refuses it, until the one behind it comes instead.
fn poison(ground: &Ground) -> Told<u64> {
    const OFTEN: usize = 1_000;
    let mut peer = ground.session()?;
    let to = format!("/queue/attack.{}", ground.name());
    let mode = "ack:client-individual\nprefetch-count:1\nreceipt:s\n";
    peer.send_stomp(format!("SUBSCRIBE\nid:q\ndestination:{to}\n{mode}\n\0"));
    if peer.expect_stomp("RECEIPT", "receipt-id:s\n").is_err() {
        return Err(Wrong::NotOffered("no queues"));
    }
    for body in ["poison", "behind"] {
        peer.send_stomp(format!("SEND\ndestination:{to}\n\n{body}\0"));
    }
    for _ in 0..OFTEN {
        let message = peer.expect_stomp("MESSAGE", "\nack:")?;
        let ack = message.lines().find_map(|line| line.strip_prefix("ack:")).unwrap_or("");
        if message.ends_with("\n\nbehind\0") {
            peer.send_stomp(format!("ACK\nid:{ack}\nreceipt:r\n\n\0"));
            return peer.expect_stomp("RECEIPT", "receipt-id:r\n").map(|_| 1);
        }
        peer.send_stomp(format!("NACK\nid:{ack}\n\n\0"));
    }
    wrong(format!("it came {OFTEN} times"))
}
