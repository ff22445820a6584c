//! STOMP over SockJS is STOMP over anything else.

use crate::client::{config, start, upgrade, Session, SHARDS};
use crate::support::{masked, BINARY};

const CONNECT: &str = r#"["CONNECT\naccept-version:1.2\nhost:a\n\n\u0000"]"#;

fn subscribe(destination: &str) -> String {
    format!(r#"["SUBSCRIBE\nid:s\ndestination:{destination}\nreceipt:r\n\n\u0000"]"#)
}

/// Polls until a frame has `text` in it.
fn poll_for(session: &Session, text: &str) -> String {
    loop {
        let frame = session.poll();
        if frame.contains(text) {
            return frame;
        }
    }
}

#[test]
fn a_polling_client_subscribes_publishes_and_gets_receipts() {
    for shards in SHARDS {
        let server = start(config(shards));
        for topic in 0..4 {
            let session = server.session("/sockjs").open();
            session.send(CONNECT);
            assert!(session.poll().starts_with(r#"a["CONNECTED\nversion:1.2\n"#));
            session.send(&subscribe(&format!("/topic/t{topic}")));
            poll_for(&session, r"RECEIPT\nreceipt-id:r");
            // A frame in pieces, as clients cut large ones.
            session.send(&format!(r#"["SEND\ndestination:/topic/t{topic}\nrec"]"#));
            session.send(r#"["eipt:q\n\n\"hi\" 100%\u0000"]"#);
            let (mut is_sent, mut is_received) = (false, false);
            while !(is_sent && is_received) {
                let frame = session.poll();
                is_sent |= frame.contains(r"RECEIPT\nreceipt-id:q\n\n\u0000");
                is_received |= frame.contains(r#"\n\n\"hi\" 100%\u0000"#);
            }
            session.send(r#"["DISCONNECT\nreceipt:z\n\n\u0000"]"#);
            poll_for(&session, r"receipt-id:z");
            assert_eq!(session.poll(), r#"c[1000,""]"#);
        }
    }
}

#[test]
fn one_publication_reaches_all_transports() {
    for shards in SHARDS {
        let server = start(config(shards));
        let polled = server.session("/sockjs").open();
        polled.send(CONNECT);
        poll_for(&polled, "CONNECTED");
        polled.send(&subscribe("/topic/all"));
        poll_for(&polled, "RECEIPT");

        let mut socket = server.session("/sockjs").websocket();
        assert_eq!(socket.text(), "o");
        socket.send_text(CONNECT);
        assert!(socket.text().starts_with(r#"a["CONNECTED"#));
        socket.send_text(&subscribe("/topic/all"));
        assert!(socket.text().starts_with(r#"a["RECEIPT"#));

        let mut raw = upgrade(server.http_address, "/sockjs/websocket");
        raw.send_text("CONNECT\naccept-version:1.2\nhost:a\n\n\0");
        assert!(raw.text().starts_with("CONNECTED"));
        raw.send_text("SEND\ndestination:/topic/all\n\nhi\0");
        for frame in [polled.poll(), socket.text()] {
            assert!(frame.starts_with(r#"a["MESSAGE\n"#), "{frame}");
            assert!(frame.ends_with(r#"\n\nhi\u0000"]"#), "{frame}");
        }
    }
}

#[test]
fn a_queue_waits_for_a_polling_consumer() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/sockjs").open();
        session.send(CONNECT);
        poll_for(&session, "CONNECTED");
        session.send(r#"["SEND\ndestination:/queue/q\nreceipt:q\n\nhi\u0000"]"#);
        poll_for(&session, "receipt-id:q");
        session
            .send(r#"["SUBSCRIBE\nid:s\ndestination:/queue/q\nack:client-individual\n\n\u0000"]"#);
        let frame = poll_for(&session, "MESSAGE");
        assert!(frame.ends_with(r#"\n\nhi\u0000"]"#), "{frame}");
        let (_, ack) = frame.split_once(r"\nack:").expect("an ack header");
        let (ack, _) = ack.split_once(r"\n").expect("a line");
        session.send(&format!(r#"["ACK\nid:{ack}\nreceipt:a\n\n\u0000"]"#));
        poll_for(&session, "receipt-id:a");
    }
}

/// Catalogue: G20.
#[test]
fn heart_beats_of_stomp_replace_those_of_sockjs() {
    let mut config = config(2);
    config.sockjs.heartbeat_ms = 250;
    let server = start(config);
    let session = server.session("/sockjs");
    let mut stream = session.stream();
    assert_eq!(stream.chunk(), "o\n");
    assert_eq!(stream.chunk(), "h\n");
    session.send(r#"["CONNECT\naccept-version:1.2\nhost:a\nheart-beat:0,1000\n\n\u0000"]"#);
    let mut chunk = stream.chunk();
    while chunk == "h\n" {
        chunk = stream.chunk();
    }
    assert!(chunk.contains("CONNECTED"), "{chunk}");
    for _ in 0..2 {
        assert_eq!(stream.chunk(), "a[\"\\n\"]\n");
    }
}

#[test]
fn an_error_is_told_before_the_close() {
    let server = start(config(2));
    let session = server.session("/sockjs").open();
    session.send(r#"["NONSENSE\n\n\u0000"]"#);
    let frame = session.poll();
    assert!(frame.starts_with(r#"a["ERROR\n"#), "{frame}");
    assert!(session.poll().starts_with("c[1002,"));
}

#[test]
fn what_was_missed_is_recovered_and_says_so() {
    for shards in SHARDS {
        let mut config = config(shards);
        config.history = vec!["/topic/h,10,1m".to_owned()];
        let server = start(config);
        let session = server.session("/sockjs").open();
        session.send(CONNECT);
        poll_for(&session, "CONNECTED");
        session.send(&subscribe("/topic/h"));
        let receipt = poll_for(&session, "RECEIPT");
        let (_, epoch) = receipt.split_once(r"\nepoch:").expect("a position");
        let (epoch, _) = epoch.split_once(r"\n").expect("a line");
        session.send(r#"["SEND\ndestination:/topic/h\n\nhi\u0000"]"#);
        assert!(!poll_for(&session, "MESSAGE").contains("recovered"));
        let late = server.session("/sockjs").open();
        late.send(CONNECT);
        poll_for(&late, "CONNECTED");
        let past = format!(r"from-offset:0\nepoch:{epoch}\n\n\u0000");
        late.send(&subscribe("/topic/h").replace(r"\n\n\u0000", &format!(r"\n{past}")));
        let frame = poll_for(&late, "MESSAGE");
        assert!(frame.contains(r"MESSAGE\n") && frame.contains(r"\nrecovered:true\n"), "{frame}");
    }
}

/// SockJS is text: bytes that are none arrive as U+FFFD, and `content-length` counts what arrives,
/// so that a client which goes by it finds the end of the frame.
#[test]
fn a_body_of_bytes_arrives_as_text_with_the_length_of_that() {
    let bytes = b"a\xff\0\xc3(";
    let text = r"\ncontent-length:9\n\na\ufffd\u0000\ufffd(\u0000";
    for shards in SHARDS {
        let server = start(config(shards));
        let connected = || {
            let session = server.session("/sockjs").open();
            session.send(CONNECT);
            poll_for(&session, "CONNECTED");
            session
        };
        let polled = connected();
        polled.send(&subscribe("/topic/bytes"));
        poll_for(&polled, "RECEIPT");
        let acknowledging = connected();
        acknowledging
            .send(&subscribe("/topic/bytes").replace(r"receipt:r", r"receipt:r\nack:client"));
        poll_for(&acknowledging, "RECEIPT");
        let consumer = connected();
        consumer.send(&subscribe("/queue/bytes"));
        poll_for(&consumer, "RECEIPT");
        let mut socket = server.session("/sockjs").websocket();
        for sent in [CONNECT, &subscribe("/topic/bytes")] {
            socket.text();
            socket.send_text(sent);
        }
        assert!(socket.text().contains("RECEIPT"));
        let mut raw = upgrade(server.http_address, "/sockjs/websocket");
        raw.send_text("CONNECT\naccept-version:1.2\nhost:a\n\n\0");
        assert!(raw.text().starts_with("CONNECTED"));
        raw.send_text("SUBSCRIBE\nid:s\ndestination:/topic/bytes\n\n\0");

        for destination in ["/queue/bytes", "/topic/bytes"] {
            let head = format!("SEND\ndestination:{destination}\ncontent-length:5\n\n");
            raw.send(&masked(BINARY, &[head.as_bytes(), bytes, b"\0"].concat()));
        }
        for session in [&polled, &acknowledging, &consumer] {
            let frame = poll_for(session, "MESSAGE");
            assert!(frame.contains(text), "{frame}");
        }
        let frame = socket.text();
        assert!(frame.contains(text), "{frame}");
        // Whoever can have the bytes has them as they were.
        let (first, payload) = raw.line.frame();
        let whole = [b"\ncontent-length:5\n\n", &bytes[..], b"\0"].concat();
        assert!(first == BINARY && payload.ends_with(&whole), "{payload:?}");
        // Text is not touched, and has its own length.
        polled.send(r#"["SEND\ndestination:/topic/bytes\n\n\u00e9\u0000"]"#);
        let frame = poll_for(&polled, "MESSAGE");
        assert!(frame.contains(r"content-length:2\n\né\u0000"), "{frame}");
    }
}
