//! The life of a session, whatever shard its requests land on (reference: protocol, "Sessions").

use crate::client::{config, exchange, request, start, SHARDS};
use crate::support::{unless_held_up, until};
use std::time::Duration;

/// Catalogue: G16.
#[test]
fn order_holds_over_many_connections() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/echo").open();
        let mut seen = String::new();
        for round in 0..40 {
            session.send(&format!(r#"["{round}.0"]"#));
            session.send(&format!(r#"["{round}.1","{round}.2"]"#));
            seen += &session.poll();
        }
        let expected: String = (0..40).map(|r| format!(r#"a["{r}.0","{r}.1","{r}.2"]"#)).collect();
        assert_eq!(seen, expected);
        if shards > 1 {
            let forwarded = server.sum(shards, |m| m.sockjs_calls_forwarded.get());
            assert!(forwarded > 0, "no request landed elsewhere");
        }
    }
}

/// Catalogue: G14.
#[test]
fn a_stream_ends_at_its_limit_and_nothing_is_lost() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/echo");
        let mut stream = session.stream();
        assert_eq!(stream.chunk(), "o\n");
        let (mut seen, mut streams) = (0, 1);
        for batch in 0..10 {
            let texts: Vec<_> = (0..10).map(|i| format!("\"{:0128}\"", batch * 10 + i)).collect();
            session.send(&format!("[{}]", texts.join(",")));
            while seen < (batch + 1) * 10 {
                let chunk = stream.chunk();
                if chunk.is_empty() {
                    stream = session.stream();
                    streams += 1;
                    continue;
                }
                let frame = chunk.strip_prefix("a[").and_then(|c| c.strip_suffix("]\n"));
                for text in frame.expect("messages").split(',') {
                    assert_eq!(text, format!("\"{seen:0128}\""));
                    seen += 1;
                }
            }
        }
        assert!(streams > 2, "{streams} streams for 13 KiB, 4 KiB each");
    }
}

#[test]
fn a_close_is_told_again_and_again_behind_what_waits() {
    let server = start(config(4));
    let session = server.session("/burst_close").open();
    session.send(r#"["3"]"#);
    assert_eq!(session.poll(), r#"a["1","2","3"]"#);
    for _ in 0..3 {
        assert_eq!(session.poll(), r#"c[3000,"Go away!"]"#);
    }
    // Taken, as always, and dropped.
    session.send(r#"["x"]"#);

    let session = server.session("/burst_close");
    let mut stream = session.stream();
    assert_eq!(stream.chunk(), "o\n");
    session.send(r#"["2"]"#);
    assert_eq!(stream.chunk(), "a[\"1\",\"2\"]\n");
    assert_eq!(stream.chunk(), "c[3000,\"Go away!\"]\n");
    assert_eq!(stream.chunk(), "");
}

/// Catalogue: G08, G15.
#[test]
fn a_session_expires_is_remembered_and_then_forgotten() {
    let mut config = config(2);
    config.sockjs.disconnect_delay_ms = 250;
    config.sockjs.tombstone_ms = 1_500;
    let server = start(config);
    let mut session = server.session("/echo").open();
    // Who is held up for as long as it is remembered opens it anew instead.
    unless_held_up("an end that is remembered", || {
        until("the end", || session.post("xhr_send", "[]").status == 404);
        let told = session.poll();
        if told == "o" {
            session = server.session("/echo").open();
            return false;
        }
        assert_eq!(told, r#"c[1002,"Connection interrupted"]"#);
        true
    });
    until("the tables to be empty", || server.sum(2, |m| m.sockjs_sessions.get()) == 0);
    assert_eq!(session.poll(), "o");
}

#[test]
fn a_broadcast_reaches_every_transport() {
    for shards in SHARDS {
        let server = start(config(shards));
        let polled = server.session("/broadcast").open();
        let streamed = server.session("/broadcast");
        let mut stream = streamed.stream();
        assert_eq!(stream.chunk(), "o\n");
        let mut socket = server.session("/broadcast").websocket();
        assert_eq!(socket.text(), "o");
        streamed.send(r#"["hi"]"#);
        assert_eq!(polled.poll(), r#"a["hi"]"#);
        assert_eq!(stream.chunk(), "a[\"hi\"]\n");
        assert_eq!(socket.text(), r#"a["hi"]"#);
    }
}

/// What is the same for several that wait is written once; their heads may differ.
#[test]
fn polls_that_wait_get_a_message_under_heads_of_their_own() {
    for shards in SHARDS {
        let server = start(config(shards));
        let origins = [None, Some("http://a.example"), Some("http://b.example"), None];
        let mut clients: Vec<_> = origins
            .iter()
            .map(|origin| {
                let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
                let path = format!("{}/xhr", server.session("/broadcast").base);
                let poll = |more: &str| request("POST", &path, &format!("{origin}{more}"), "");
                let mut answer = exchange(server.http_address, &poll(""));
                assert_eq!(answer.body(), "o\n");
                (Some(answer), poll(""), poll("Connection: close\r\n"))
            })
            .collect();
        let sender = server.session("/broadcast").open();
        for round in 0..10 {
            let is_last = round == 9;
            for (answer, poll, last_poll) in &mut clients {
                let poll = if is_last { last_poll } else { poll };
                answer.as_mut().expect("connected").send(poll.as_bytes());
            }
            sender.send(&format!("[\"{round}\"]"));
            for ((answer, ..), origin) in clients.iter_mut().zip(origins) {
                let mut next = answer.take().expect("connected").next("");
                assert_eq!(next.body(), format!("a[\"{round}\"]\n"));
                assert_eq!(next.header("access-control-allow-origin"), origin.or(Some("*")));
                let connection = if is_last { "close" } else { "keep-alive" };
                assert_eq!(next.header("connection"), Some(connection));
                *answer = Some(next);
            }
        }
    }
}

#[test]
fn a_poll_sent_ahead_is_answered_next() {
    let server = start(config(2));
    let session = server.session("/echo");
    let poll = request("POST", &format!("{}/xhr", session.base), "", "");
    let mut answer = exchange(server.http_address, &poll);
    assert_eq!(answer.body(), "o\n");
    for round in 0..5 {
        // The second comes while the first waits, and nothing comes after it.
        answer.send(poll.as_bytes());
        std::thread::sleep(Duration::from_millis(20));
        answer.send(poll.as_bytes());
        std::thread::sleep(Duration::from_millis(20));
        for number in 0..2 {
            session.send(&format!("[\"{round}.{number}\"]"));
            answer = answer.next("");
            assert_eq!(answer.body(), format!("a[\"{round}.{number}\"]\n"));
        }
    }
}

#[test]
fn a_drain_is_told_to_receivers() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/echo");
        let mut stream = session.stream();
        assert_eq!(stream.chunk(), "o\n");
        let mut socket = server.session("/sockjs").websocket();
        assert_eq!(socket.text(), "o");
        server.drain();
        let told = r#"c[1001,"server is shutting down"]"#;
        assert_eq!(stream.chunk(), format!("{told}\n"));
        assert_eq!(stream.chunk(), "");
        assert_eq!(socket.text(), told);
    }
}
