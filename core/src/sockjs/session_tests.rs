//! The rules of a session one by one, and a model over random operations.

use super::*;
use crate::sockjs::frame::push_message;
use proptest::prelude::*;

const RULES: Rules = Rules {
    heartbeat_ticks: 100,
    disconnect_ticks: 20,
    tombstone_ticks: 240,
    response_bytes_max: 4_096,
    queue_bytes_max: 20_000,
    window_bytes: 8_192,
};

fn message(text: &str) -> Bytes {
    let mut out = Vec::new();
    push_message(&mut out, &[text.as_bytes()]);
    Bytes::from(out)
}

/// A session with what it wrote, as `receiver frame`, a `.` behind the last one of an answer.
struct Run {
    session: Session<u32>,
    writes: Vec<Write<u32>>,
    now: u32,
    rules: Rules,
}

impl Run {
    fn open(transport: Transport) -> Run {
        let mut writes = Vec::new();
        let session = Session::open(1, transport, 0, &RULES, &mut writes);
        Run { session, writes, now: 0, rules: RULES }
    }

    fn idle() -> Run {
        let mut run = Run::open(Transport::Xhr);
        assert_eq!(run.seen(), "1 o.");
        run.session.completed(1, 0);
        run
    }

    fn attach(&mut self, id: u32, transport: Transport) {
        self.session.attach(id, transport, self.now, &self.rules, &mut self.writes);
    }

    fn send(&mut self, text: &str) {
        self.session.send(message(text), &self.rules).unwrap();
    }

    fn flush(&mut self) {
        self.session.flush(self.now, &self.rules, &mut self.writes);
    }

    fn close(&mut self, close: Close) {
        self.session.close(close, self.now, &mut self.writes);
    }

    fn tick(&mut self, now: u32) -> Option<End> {
        self.now = now;
        self.session.tick(now, &self.rules, &mut self.writes)
    }

    fn seen(&mut self) -> String {
        let text = |write: Write<u32>| {
            let mut out = Vec::new();
            write.frame.encode(&mut out, Wrapping::Bare);
            let end = if write.is_last { "." } else { "" };
            format!("{} {}{end}", write.receiver, String::from_utf8(out).unwrap())
        };
        self.writes.drain(..).map(text).collect::<Vec<_>>().join(" | ")
    }
}

#[test]
fn a_session_between_polls_is_small() {
    assert!(size_of::<Session<[u32; 4]>>() <= 80, "{}", size_of::<Session<[u32; 4]>>());
    assert!(Run::idle().session.queue.rest.is_none());
}

#[test]
fn a_new_session_is_answered_with_open() {
    for transport in [Transport::Xhr, Transport::Jsonp] {
        assert_eq!(Run::open(transport).seen(), "1 o.");
    }
    for transport in [Transport::XhrStreaming, Transport::EventSource, Transport::HtmlFile] {
        assert_eq!(Run::open(transport).seen(), "1 o");
    }
}

#[test]
fn what_was_sent_without_receiver_is_one_array_on_the_next_poll() {
    let mut run = Run::idle();
    for text in ["a", "b", "c"] {
        run.send(text);
        run.flush();
    }
    assert_eq!(run.seen(), "");
    run.attach(2, Transport::Xhr);
    assert_eq!(run.seen(), r#"2 a["a","b","c"]."#);
    assert_eq!(run.session.waiting_bytes(), 0);
}

#[test]
fn a_waiting_poll_ends_with_one_frame() {
    let mut run = Run::idle();
    run.attach(2, Transport::Xhr);
    run.send("a");
    run.send("b");
    run.flush();
    run.send("c");
    run.flush();
    assert_eq!(run.seen(), r#"2 a["a","b"]."#);
    // The next poll may be faster than the word that the last one was sent.
    run.attach(3, Transport::Xhr);
    assert_eq!(run.seen(), r#"3 a["c"]."#);
    run.session.completed(2, 1);
    assert_eq!(run.session.aborted(2, 1, &RULES), None);
    run.session.completed(3, 1);
    assert_eq!(run.session.state, State::Idle { since: 1 });
}

/// Catalogue: A08, G09.
#[test]
fn a_half_close_ends_who_waits_and_not_who_was_answered() {
    let mut run = Run::open(Transport::Xhr);
    assert_eq!(run.session.left(1, 0, &RULES), None);
    run.session.completed(1, 0);
    run.seen();
    run.attach(2, Transport::Xhr);
    assert_eq!(run.session.left(1, 0, &RULES), None);
    assert_eq!(run.session.left(2, 0, &RULES), Some(End::Interrupted));
    assert_eq!(run.session.accept(), Err(Error::SessionUnknown));
    let mut stream = Run::open(Transport::XhrStreaming);
    assert_eq!(stream.session.left(1, 0, &RULES), Some(End::Interrupted));
}

/// Catalogue: G05.
#[test]
fn a_second_receiver_gets_2010_and_the_first_is_untouched() {
    let mut run = Run::open(Transport::XhrStreaming);
    run.seen();
    run.attach(2, Transport::XhrStreaming);
    assert_eq!(run.seen(), r#"2 c[2010,"Another connection still open"]."#);
    run.session.completed(2, 0);
    assert_eq!(run.session.aborted(2, 0, &RULES), None);
    run.send("x");
    run.flush();
    assert_eq!(run.seen(), r#"1 a["x"]"#);
}

/// Catalogue: G14.
#[test]
fn a_stream_ends_at_the_response_limit_counted_with_framing() {
    let mut run = Run::open(Transport::XhrStreaming);
    assert_eq!(run.seen(), "1 o");
    let text = "x".repeat(128);
    for i in 1..=31 {
        run.send(&text);
        run.flush();
        // 2 bytes of `o` and 134 of each message: 4,022 after 30, 4,156 after 31.
        assert_eq!(run.writes.last().unwrap().is_last, i == 31, "message {i}");
    }
    run.send("later");
    run.flush();
    assert_eq!(run.writes.len(), 31);
    run.session.completed(1, 0);
    run.writes.clear();
    run.attach(2, Transport::XhrStreaming);
    assert_eq!(run.seen(), r#"2 a["later"]"#);
}

#[test]
fn a_frame_over_the_response_limit_is_sent_whole() {
    let mut run = Run::open(Transport::HtmlFile);
    run.send(&"x".repeat(10_000));
    run.flush();
    assert!(run.writes[1].is_last && run.writes[1].frame.wrapped_bytes(Wrapping::Bare) > 10_000);
}

#[test]
fn a_limit_of_one_turns_a_stream_into_a_poll() {
    let mut writes = Vec::new();
    let rules = Rules { response_bytes_max: 1, ..RULES };
    Session::open(1, Transport::EventSource, 0, &rules, &mut writes);
    assert!(writes[0].is_last);
}

/// Catalogue: G09.
#[test]
fn an_aborted_receiver_ends_the_session() {
    for transport in [Transport::XhrStreaming, Transport::Xhr] {
        let mut run = Run::open(transport);
        run.seen();
        assert_eq!(run.session.aborted(9, 0, &RULES), None);
        assert_eq!(run.session.aborted(1, 0, &RULES), Some(End::Interrupted));
        assert_eq!(run.session.aborted(1, 0, &RULES), None);
        assert_eq!(run.session.accept(), Err(Error::SessionUnknown));
        run.send("lost");
        assert_eq!(run.session.waiting_bytes(), 0);
        run.attach(2, transport);
        assert_eq!(run.seen(), r#"2 c[1002,"Connection interrupted"]."#);
        assert!(!run.session.is_over());
        assert_eq!(run.tick(240), None);
        assert!(run.session.is_over());
    }
}

/// Catalogue: G08.
#[test]
fn without_tombstones_an_ended_session_is_forgotten_at_once() {
    let rules = Rules { tombstone_ticks: 0, ..RULES };
    let mut run = Run::open(Transport::Xhr);
    assert_eq!(run.session.aborted(1, 0, &rules), Some(End::Interrupted));
    assert!(run.session.is_over());
}

/// Catalogue: G15.
#[test]
fn a_session_without_receiver_lives_for_the_disconnect_delay() {
    let mut run = Run::open(Transport::Xhr);
    // The answer is still being sent: the delay has not begun.
    assert_eq!(run.tick(50), None);
    run.session.completed(1, 50);
    assert_eq!(run.tick(69), None);
    assert_eq!(run.session.accept(), Ok(Accept::Deliver));
    assert_eq!(run.tick(70), Some(End::Expired));
    assert_eq!(run.tick(71), None);
    assert_eq!(run.session.accept(), Err(Error::SessionUnknown));
    run.seen();
    run.attach(2, Transport::Xhr);
    assert_eq!(run.seen(), r#"2 c[1002,"Connection interrupted"]."#);
}

#[test]
fn a_poll_in_time_restarts_the_delay() {
    let mut run = Run::idle();
    assert_eq!(run.tick(19), None);
    run.attach(2, Transport::Xhr);
    assert_eq!(run.tick(90), None);
    run.send("x");
    run.flush();
    run.session.completed(2, 90);
    assert_eq!(run.tick(109), None);
    assert_eq!(run.tick(110), Some(End::Expired));
}

/// Catalogue: G20.
#[test]
fn heartbeats_after_silence_answer_a_poll_and_leave_a_stream_open() {
    let mut poll = Run::idle();
    poll.attach(2, Transport::Xhr);
    poll.tick(99);
    assert_eq!(poll.seen(), "");
    poll.tick(100);
    poll.tick(300);
    assert_eq!(poll.seen(), "2 h.");
    let mut stream = Run::open(Transport::XhrStreaming);
    stream.session.sent(1, 2, 0, &RULES, &mut stream.writes);
    stream.now = 60;
    stream.send("x");
    stream.flush();
    stream.session.sent(1, 100, 60, &RULES, &mut stream.writes);
    stream.tick(159);
    assert_eq!(stream.seen(), r#"1 o | 1 a["x"]"#);
    stream.tick(160);
    stream.tick(161);
    assert_eq!(stream.seen(), "1 h");
    // The heart-beat has not left yet: no second one behind it.
    stream.tick(500);
    assert_eq!(stream.seen(), "");
}

#[test]
fn heartbeats_can_be_off() {
    let mut run = Run::idle();
    run.attach(2, Transport::Xhr);
    run.session.stop_heartbeats();
    run.tick(1_000);
    assert_eq!(run.seen(), "");
    let mut run = Run::idle();
    run.rules.heartbeat_ticks = 0;
    run.attach(2, Transport::Xhr);
    run.tick(1_000);
    assert_eq!(run.seen(), "");
}

#[test]
fn close_sends_what_waits_then_the_frame_and_ends_a_stream() {
    let mut run = Run::open(Transport::XhrStreaming);
    run.send("x");
    run.close(Close::GO_AWAY);
    assert_eq!(run.seen(), r#"1 o | 1 a["x"] | 1 c[3000,"Go away!"]."#);
    run.attach(2, Transport::EventSource);
    assert_eq!(run.seen(), r#"2 c[3000,"Go away!"]."#);
}

#[test]
fn close_without_receiver_is_told_to_every_later_one() {
    let mut run = Run::idle();
    run.send("x");
    run.close(Close::GO_AWAY);
    run.close(Close::NORMAL);
    run.send("too late");
    assert_eq!(run.session.accept(), Ok(Accept::Drop));
    // One frame per poll: the message first.
    for (id, expected) in
        [(2, r#"2 a["x"]."#), (3, r#"3 c[3000,"Go away!"]."#), (4, r#"4 c[3000,"Go away!"]."#)]
    {
        run.now += 19;
        run.attach(id, Transport::Xhr);
        assert_eq!(run.seen(), expected);
        assert_eq!(run.session.aborted(id, run.now, &RULES), None);
    }
    run.tick(run.now + 19);
    assert_eq!(run.session.accept(), Ok(Accept::Drop));
    assert_eq!(run.tick(run.now + 1), None);
    assert_eq!(run.session.accept(), Err(Error::SessionUnknown));
    assert!(!run.session.is_over(), "who comes late is told, and gets no new session");
    run.tick(run.now + RULES.tombstone_ticks);
    assert!(run.session.is_over());
}

#[test]
fn a_close_answers_a_waiting_poll() {
    let mut run = Run::idle();
    run.attach(2, Transport::Jsonp);
    run.close(Close::NORMAL);
    assert_eq!(run.seen(), r#"2 c[1000,"Normal closure"]."#);
}

/// Catalogue: K02.
#[test]
fn the_queue_is_bounded_in_bytes() {
    let mut run = Run::idle();
    let text = "x".repeat(4_966);
    // With quotes and the overhead of 32: 5,000 each.
    (0..4).for_each(|_| run.send(&text));
    assert_eq!(run.session.waiting_bytes(), 20_000);
    // One more is taken, and none behind it.
    run.send(&text);
    let full = run.session.send(message(""), &RULES);
    assert_eq!(full, Err(Error::QueueFull { seen: 25_000, limit: 20_000 }));
    assert_eq!(run.session.waiting_bytes(), 25_000);
}

#[test]
fn a_slow_stream_fills_its_own_queue_and_no_more() {
    let mut run = Run::open(Transport::XhrStreaming);
    run.rules.response_bytes_max = 1 << 20;
    let text = "x".repeat(4_966);
    let mut sent_count = 0;
    while run.session.send(message(&text), &run.rules).is_ok() {
        run.flush();
        sent_count += 1;
        assert!(sent_count < 10, "unbounded");
    }
    // Two fill the window (4,972 bytes each), the others wait: all are counted.
    assert_eq!((sent_count, run.writes.len()), (5, 3));
    run.session.sent(1, 2 + 4_972, 0, &run.rules, &mut run.writes);
    assert_eq!(run.writes.len(), 4);
    // Stale, repeated and foreign reports change nothing.
    let before = run.session.waiting_bytes();
    run.session.sent(1, 5, 0, &run.rules, &mut run.writes);
    run.session.sent(7, 9_000, 0, &run.rules, &mut run.writes);
    assert_eq!(run.session.waiting_bytes(), before);
    run.session.sent(1, u32::MAX, 0, &run.rules, &mut run.writes);
    assert_eq!(run.session.waiting_bytes(), 0);
}

#[test]
fn one_message_is_shared_by_many_sessions() {
    let shared = message("x");
    let mut writes = Vec::new();
    for id in 0..3 {
        let mut session = Session::open(id, Transport::XhrStreaming, 0, &RULES, &mut Vec::new());
        session.send(shared.clone(), &RULES).unwrap();
        session.flush(0, &RULES, &mut writes);
    }
    for write in &writes {
        let Frame::Messages(messages) = &write.frame else { panic!("{write:?}") };
        assert_eq!(messages.single().unwrap().as_ptr(), shared.as_ptr());
    }
}

#[test]
fn rules_come_from_endpoint_and_limits() {
    let rules = Rules::new(&Endpoint::default(), &Limits::default(), 250);
    let ticks = (rules.heartbeat_ticks, rules.disconnect_ticks, rules.tombstone_ticks);
    assert_eq!(ticks, (100, 20, 240));
    assert_eq!(rules.response_bytes_max, 131_072);
}

#[derive(Clone, Debug)]
enum Operation {
    Attach(Transport),
    Completed,
    Aborted(u32),
    Sent,
    Send,
    Flush,
    Close,
    Tick(u32),
}

fn operation() -> impl Strategy<Value = Operation> {
    let transport = prop_oneof![
        Just(Transport::Xhr),
        Just(Transport::XhrStreaming),
        Just(Transport::EventSource),
        Just(Transport::Jsonp),
    ];
    prop_oneof![
        6 => transport.prop_map(Operation::Attach),
        6 => Just(Operation::Completed),
        1 => (0u32..3).prop_map(Operation::Aborted),
        2 => Just(Operation::Sent),
        10 => Just(Operation::Send),
        6 => Just(Operation::Flush),
        1 => Just(Operation::Close),
        3 => (0u32..30).prop_map(Operation::Tick),
    ]
}

proptest! {
    /// What holds in any order of events: messages arrive once, in order, without a gap; an answer
    /// gets nothing behind its last frame; a poll gets exactly one frame; nothing follows a close.
    #[test]
    fn model(operations in proptest::collection::vec(operation(), 0..200)) {
        let rules =
            Rules { response_bytes_max: 60, window_bytes: 40, queue_bytes_max: 300, ..RULES };
        let mut run = Run::open(Transport::XhrStreaming);
        run.rules = rules;
        let (mut ids, mut polls) = (1, vec![]);
        let (mut sent_count, mut arrived_count, mut ends) = (0, 0, 0);
        let mut ended = std::collections::HashSet::new();
        let mut closed = false;
        for operation in operations {
            let was_open = run.session.is_open();
            match operation {
                Operation::Attach(transport) => {
                    ids += 1;
                    if !transport.is_streaming() {
                        polls.push(ids);
                    }
                    run.attach(ids, transport);
                }
                Operation::Completed => {
                    let leaving = match run.session.state { State::Leaving { id } => id, _ => 0 };
                    run.session.completed(leaving, run.now);
                }
                Operation::Aborted(back) => {
                    let id = ids.saturating_sub(back);
                    ends += usize::from(run.session.aborted(id, run.now, &rules).is_some());
                }
                Operation::Sent => {
                    if let State::Attached(receiver) = run.session.state {
                        let (id, bytes) = (receiver.id, receiver.response_bytes);
                        run.session.sent(id, bytes, run.now, &rules, &mut run.writes);
                    }
                }
                Operation::Send => {
                    let text = message(&sent_count.to_string());
                    if run.session.send(text, &rules).is_ok() && was_open {
                        sent_count += 1;
                    }
                }
                Operation::Flush => run.flush(),
                Operation::Close => {
                    closed |= was_open;
                    run.close(Close::GO_AWAY);
                }
                Operation::Tick(ticks) => {
                    ends += usize::from(run.tick(run.now + ticks).is_some());
                }
            }
            prop_assert!(run.session.waiting_bytes() <= 300 + 60);
            prop_assert!(ends + usize::from(closed) <= 1);
            prop_assert_eq!(run.session.is_open(), ends == 0 && !closed);
            for write in run.writes.drain(..) {
                prop_assert!(!ended.contains(&write.receiver), "{write:?} behind the last");
                prop_assert!(write.is_last || !polls.contains(&write.receiver));
                if write.is_last {
                    ended.insert(write.receiver);
                }
                match write.frame {
                    Frame::Messages(messages) => for text in messages.iter() {
                        prop_assert_eq!(text, &message(&arrived_count.to_string()));
                        arrived_count += 1;
                    },
                    Frame::Close(_) => prop_assert!(write.is_last),
                    Frame::Open => prop_assert_eq!(write.receiver, 1),
                    Frame::Heartbeat => {}
                }
            }
        }
        prop_assert!(arrived_count <= sent_count);
        if run.session.is_open() {
            // Everything not yet written arrives at who comes next and reads.
            if let State::Attached(receiver) = run.session.state {
                let (id, bytes) = (receiver.id, receiver.response_bytes);
                run.session.sent(id, bytes, run.now, &rules, &mut run.writes);
            } else {
                run.attach(ids + 1, Transport::Xhr);
            }
            run.flush();
            let rest = run.writes.drain(..).map(|write| match write.frame {
                Frame::Messages(messages) => messages.iter().count(),
                _ => 0,
            });
            prop_assert_eq!(arrived_count + rest.sum::<usize>(), sent_count);
        }
    }
}

#[test]
fn a_server_that_was_held_up_does_not_expire_whom_it_did_not_hear() {
    let mut run = Run::idle();
    let now = run.now + 1_000 * run.rules.disconnect_ticks;
    run.session.excuse(now);
    assert_eq!(run.tick(now), None);
    assert_eq!(run.tick(now + RULES.disconnect_ticks), Some(End::Expired));
}
