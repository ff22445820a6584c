//! Requests that receive: one at a time, and what becomes of those that come second, at once, or
//! break off (reference: protocol, "Session", rules 1, 2 and 4; thread-per-core).

use crate::client::{config, exchange, request, start, Answer, Session, SHARDS};
use crate::support::{until, Running};
use std::sync::Barrier;
use std::thread::ScopedJoinHandle;

/// Name, method, and whether its answer goes on after the first frame.
const RECEIVERS: [(&str, &str, bool); 5] = [
    ("xhr", "POST", false),
    ("jsonp?c=f", "GET", false),
    ("xhr_streaming", "POST", true),
    ("eventsource", "GET", true),
    ("htmlfile?c=f", "GET", true),
];

const INTERRUPTED: &str = r#"c[1002,"Connection interrupted"]"#;

fn text_of(session: &Session, receiver: (&str, &str, bool)) -> String {
    let (transport, method, _) = receiver;
    request(method, &format!("{}/{transport}", session.base), "", "")
}

fn ask(session: &Session, receiver: (&str, &str, bool)) -> Answer {
    exchange(session.address, &text_of(session, receiver))
}

/// The next frame as the transport wraps it, without preludes.
fn frame(answer: &mut Answer, receiver: (&str, &str, bool)) -> String {
    if !receiver.2 {
        return answer.body();
    }
    let chunk = answer.chunk();
    let is_prelude =
        chunk.len() == 2_049 || chunk == "\r\n" || chunk.starts_with("<!doctype html>");
    if is_prelude {
        answer.chunk()
    } else {
        chunk
    }
}

/// A frame as this receiver gets it.
fn wrapped(frame: &str, (transport, ..): (&str, &str, bool)) -> String {
    let quoted = || frame.replace('\\', "\\\\").replace('"', "\\\"");
    match transport {
        "eventsource" => format!("data: {frame}\r\n\r\n"),
        "htmlfile?c=f" => format!("<script>\np(\"{}\");\n</script>\r\n", quoted()),
        "jsonp?c=f" => format!("/**/f(\"{}\");\r\n", quoted()),
        _ => format!("{frame}\n"),
    }
}

/// A session with a receiver that waits for its next frame. Before a poll stands the answer to
/// another request, unread.
fn waiting(server: &Running, shards: usize, receiver: (&str, &str, bool)) -> (Session, Answer) {
    let session = server.session("/echo");
    let mut answer = ask(&session, receiver);
    assert_eq!(frame(&mut answer, receiver), wrapped("o", receiver));
    if !receiver.2 {
        let calls =
            || server.sum(shards, |m| m.sockjs_calls_local.get() + m.sockjs_calls_forwarded.get());
        // The answer that was sent is one more, so that none of it is taken for the poll.
        until("the end of the first", || calls() >= 2);
        let before = calls();
        let greeting = request("GET", "/echo", "", "");
        answer.send((greeting + &text_of(&session, receiver)).as_bytes());
        until("the poll", || calls() > before);
        let turns = |shard: usize| server.metrics(shard).loop_turns.get();
        let before: Vec<_> = (0..shards).map(turns).collect();
        until("a turn of its home", || (0..shards).all(|shard| turns(shard) > before[shard] + 1));
    }
    (session, answer)
}

/// Catalogue: G05.
#[test]
fn a_second_receiver_is_told_by_any_transport_and_the_first_is_untouched() {
    for shards in SHARDS {
        let server = start(config(shards));
        let told = r#"c[2010,"Another connection still open"]"#;
        for first in RECEIVERS.into_iter().filter(|receiver| receiver.2) {
            let (session, mut answer) = waiting(&server, shards, first);
            for second in RECEIVERS {
                let mut refused = ask(&session, second);
                assert_eq!(refused.status, 200);
                assert_eq!(frame(&mut refused, second), wrapped(told, second), "{second:?}");
                if second.2 {
                    assert_eq!(refused.chunk(), "", "{second:?} ends");
                }
            }
            session.send(r#"["x"]"#);
            assert_eq!(frame(&mut answer, first), wrapped(r#"a["x"]"#, first));
        }
        // A poll that waits is as good a first.
        let session = server.session("/echo").open();
        let poll = text_of(&session, RECEIVERS[0]);
        let mut first = exchange(server.http_address, &request("GET", "/echo", "", ""));
        first.body();
        first.send(poll.as_bytes());
        let mut second = exchange(server.http_address, &request("GET", "/echo", "", ""));
        second.body();
        second.send(poll.as_bytes());
        // Whichever came second is told so; the other one waits on.
        std::thread::scope(|scope| {
            let all = [first, second].map(|answer| scope.spawn(move || answer.next("").body()));
            until("one to be told", || all.iter().any(ScopedJoinHandle::is_finished));
            session.send(r#"["x"]"#);
            let mut seen = all.map(|one| one.join().expect("an answer"));
            seen.sort();
            assert_eq!(seen, ["a[\"x\"]\n".to_owned(), format!("{told}\n")]);
        });
    }
}

/// Catalogue: G16.
#[test]
fn first_requests_at_once_open_one_session_and_the_others_are_second() {
    for shards in SHARDS {
        let server = start(config(shards));
        for _ in 0..10 {
            let session = server.session("/echo");
            let streams: Vec<_> = RECEIVERS.into_iter().filter(|receiver| receiver.2).collect();
            let barrier = Barrier::new(2 * streams.len());
            let mut seen: Vec<_> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..2 * streams.len())
                    .map(|index| {
                        let receiver = streams[index % streams.len()];
                        let (session, barrier) = (&session, &barrier);
                        scope.spawn(move || {
                            barrier.wait();
                            let mut answer = ask(session, receiver);
                            let frame = frame(&mut answer, receiver);
                            (frame == wrapped("o", receiver), frame, receiver, answer)
                        })
                    })
                    .collect();
                all.into_iter().map(|one| one.join().expect("an answer")).collect()
            });
            seen.sort_by_key(|(is_first, ..)| !is_first);
            let (is_first, _, receiver, answer) = &mut seen[0];
            assert!(*is_first, "nobody opened it");
            session.send(r#"["x"]"#);
            assert_eq!(frame(answer, *receiver), wrapped(r#"a["x"]"#, *receiver));
            for (is_first, frame, ..) in &seen[1..] {
                assert!(!is_first && frame.contains("2010"), "{frame}");
            }
        }
        let opened = server.sum(shards, |m| m.sockjs_sessions_opened.get());
        assert_eq!(opened, 10, "one each time");
    }
}

/// Two polls at once: the one opens, the other is told that it is second, or waits behind it.
/// Catalogue: G16.
#[test]
fn first_polls_and_sends_at_once_lose_nothing() {
    for shards in SHARDS {
        let server = start(config(shards));
        for _ in 0..10 {
            let session = server.session("/echo");
            let barrier = Barrier::new(3);
            let (polled, status) = std::thread::scope(|scope| {
                let poll = || {
                    barrier.wait();
                    session.poll()
                };
                let send = || {
                    barrier.wait();
                    session.post("xhr_send", r#"["early"]"#).status
                };
                let (one, two, sent) = (scope.spawn(poll), scope.spawn(poll), scope.spawn(send));
                // Whoever waits gets something to wait for.
                until("the first", || one.is_finished() || two.is_finished());
                let _ = session.post("xhr_send", r#"["late"]"#);
                let polled = [one, two].map(|one| one.join().expect("a frame"));
                (polled, sent.join().expect("a status"))
            });
            assert_eq!(polled.iter().filter(|frame| *frame == "o").count(), 1, "{polled:?}");
            // Taken is taken: it comes back with that poll or with the next.
            let mut seen = polled.concat();
            if status == 204 && !seen.contains("early") {
                seen = session.poll();
                assert!(seen.contains("early"), "{seen}");
            }
            assert!(matches!(status, 204 | 404), "{status}");
        }
    }
}

/// How a connection breaks off.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// Both halves are closed.
    Close,
    /// Only the client's half.
    HalfClose,
    /// Closed with bytes unread: the server's system is told of a reset.
    Reset,
}

/// Catalogue: G09.
#[test]
fn a_receiver_that_breaks_off_in_any_way_ends_the_session() {
    for shards in [1, 4] {
        for receiver in RECEIVERS {
            for way in [Break::Close, Break::HalfClose, Break::Reset] {
                let server = start(config(shards));
                let (session, mut answer) = waiting(&server, shards, receiver);
                match (way, receiver.2) {
                    (Break::Reset, true) => session.send(r#"["unread"]"#),
                    (Break::Reset, false) | (_, true) => {}
                    (_, false) => {
                        assert!(answer.line.up_to("SockJS!\n").starts_with("HTTP/1.1 200 "));
                    }
                }
                let mut kept = None;
                match way {
                    Break::Close => drop(answer),
                    Break::HalfClose => {
                        answer.line.end_sending();
                        kept = Some(answer);
                    }
                    Break::Reset => answer.line.reset(),
                }
                assert_eq!(session.poll(), INTERRUPTED, "{receiver:?} by {way:?}");
                assert_eq!(session.post("xhr_send", r#"["x"]"#).status, 404);
                drop(kept);
                until("no sockets", || server.sum(shards, |m| m.connections.get()) == 0);
            }
        }
    }
}

#[test]
fn who_broke_off_is_no_second_receiver() {
    // Its end and its next request race to the home by different shards.
    let server = start(config(4));
    for _ in 0..100 {
        let session = server.session("/echo");
        let mut stream = session.stream();
        assert_eq!(stream.chunk(), "o\n");
        drop(stream);
        assert_eq!(session.poll(), INTERRUPTED);
    }
}

/// Where ended sessions are not remembered, whoever comes next opens a new one, also as what looked
/// like the second receiver of the old.
#[test]
fn without_tombstones_the_next_receiver_opens_anew() {
    for shards in SHARDS {
        let mut config = config(shards);
        config.sockjs.tombstone_ms = 0;
        let server = start(config);
        for prefix in ["/echo", "/sockjs"] {
            for _ in 0..20 {
                let session = server.session(prefix);
                let mut stream = session.stream();
                assert_eq!(stream.chunk(), "o\n");
                drop(stream);
                assert_eq!(session.poll(), "o", "{prefix}");
            }
        }
    }
}
