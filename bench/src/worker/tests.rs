//! A worker by hand: bytes in, bytes out, over a reactor whose sockets are a vector.

use super::*;
use crate::plan::Target;
use crate::stamp::Stamp;
use crate::wire::{mqtt, nats, Protocol};
use std::net::SocketAddr;
use std::time::Duration;
use stompede::reactor::Reactor;

/// One socket, which takes `room` bytes more.
#[derive(Default)]
struct Vectors {
    sent: Vec<u8>,
    room: usize,
    is_armed: bool,
}

impl Reactor for Vectors {
    async fn wait(&mut self, _: &mut Vec<Event>, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn recv_batch(
        &mut self,
        slots: &[u32],
        _: &mut [u8],
        _: usize,
        results: &mut Vec<Result<usize, i32>>,
    ) {
        results.clear();
        results.resize(slots.len(), Err(libc::EAGAIN));
    }

    fn send_batch<'a>(
        &mut self,
        requests: impl Iterator<Item = SendRequest<'a>>,
        shortfalls: &mut Vec<Shortfall>,
    ) {
        for SendRequest { slot, parts } in requests {
            let bytes = parts.iter().collect::<Vec<_>>().concat();
            let taken = bytes.len().min(self.room);
            self.sent.extend_from_slice(&bytes[..taken]);
            self.room -= taken;
            if taken < bytes.len() {
                let taken = if taken == 0 { Err(libc::EAGAIN) } else { Ok(taken) };
                shortfalls.push(Shortfall { slot, taken });
            }
        }
    }

    fn arm_writable(&mut self, _: u32) {
        self.is_armed = true;
    }

    fn shutdown_write(&mut self, _: u32) {}

    fn close(&mut self, _: u32) {}

    fn stop_accepting(&mut self) {}

    fn slots_count(&self) -> usize {
        1
    }

    fn now_ms(&self) -> u64 {
        0
    }
}

impl Connector for Vectors {
    fn connect(&mut self, _: SocketAddr, _: Option<SocketAddr>) -> io::Result<u32> {
        Ok(0)
    }

    fn wake_in(&mut self, _: Duration) {}
}

/// A worker with one connection, in slot 0, that has just been made.
fn connected(protocol: Protocol, subscribers: u32, publishers: u32) -> Worker<Vectors> {
    let mut plan = Plan::new(Target::parse("ws://127.0.0.1:1/ws").unwrap());
    plan.protocol = protocol;
    (plan.subscribers, plan.publishers) = (subscribers, publishers);
    let mut worker = with_plan(plan);
    worker.on_connected(0);
    worker.flush();
    worker
}

/// A worker with one connection, in slot 0, that is to be made.
fn with_plan(mut plan: Plan) -> Worker<Vectors> {
    plan.workload = Workload::Fanout;
    plan.rate = Rate::Window(8);
    plan.heart_beat_ms = 500;
    let control = Arc::new(Control::new(1, 0).unwrap());
    let reactor = Vectors { room: usize::MAX, ..Vectors::default() };
    let mut worker = Worker::new(0, Arc::new(plan), control, reactor);
    worker.seat_client(0, 0, worker.began);
    worker
}

#[test]
fn nothing_comes_between_the_halves_of_a_publishers_frame() {
    let mut worker = connected(Protocol::Stomp, 0, 1);
    worker.become_live(0);
    worker.reactor.sent.clear();
    worker.publishers.publish(0, 0, 2, |_| {});
    let mut wanted = worker.publishers.all[0].out.clone();
    worker.reactor.room = 10;
    worker.flush();
    assert_eq!((worker.reactor.sent.len(), worker.reactor.is_armed), (10, true));
    // A beat is due and a ping is answered while the socket is full; then it takes bytes again.
    worker.on_tick();
    worker.on_frame(0, crate::wire::Inbound::Ping(b"x")).unwrap();
    worker.reactor.room = usize::MAX;
    worker.flush();
    assert_eq!(worker.reactor.sent.len(), 10, "nobody said that the socket takes bytes again");
    worker.on_event(Event::Writable { slot: 0 });
    worker.writer.heart_beat(&mut wanted);
    worker.writer.pong(&mut wanted, b"x");
    assert_eq!(worker.control.tally().beats_sent, 1);
    assert!(worker.reactor.sent == wanted);
}

#[test]
fn what_a_publisher_said_before_it_was_live_goes_first() {
    let mut worker = connected(Protocol::Stomp, 0, 1);
    worker.reactor.sent.clear();
    worker.reactor.room = 3;
    worker.log_in(0);
    worker.flush();
    let login = worker.login.clone();
    assert_eq!(worker.reactor.sent, login[..3]);
    worker.become_live(0);
    worker.publishers.publish(0, 0, 1, |_| {});
    let said = worker.publishers.all[0].out.clone();
    assert!(said.starts_with(&login[3..]) && said.len() > login.len());
    worker.reactor.room = usize::MAX;
    worker.on_event(Event::Writable { slot: 0 });
    assert!(worker.reactor.sent == [&login[..3], &said].concat());
}

#[test]
fn half_a_frame_does_not_go_to_the_next_connection() {
    let mut worker = connected(Protocol::Stomp, 0, 1);
    worker.become_live(0);
    worker.publishers.publish(0, 0, 1, |_| {});
    worker.reactor.room = 10;
    worker.flush();
    worker.free(0, true);
    worker.seat_client(0, 0, worker.began);
    worker.become_live(0);
    assert!(worker.publishers.all[0].out.is_empty() && !worker.publishers.all[0].is_blocked);
}

/// By HTTP the connection that receives has only requests for frames; messages go by another.
#[test]
fn half_a_request_for_frames_is_no_message() {
    let target = Target::parse("http://127.0.0.1:1").unwrap();
    let mut plan = Plan::new(target.by(crate::wire::Transport::XhrPolling).unwrap());
    plan.publishers = 1;
    let mut worker = with_plan(plan);
    worker.reactor.room = 3;
    worker.on_connected(0);
    worker.flush();
    worker.become_live(0);
    worker.say(0, Writer::heart_beat);
    worker.flush();
    assert_eq!(worker.reactor.sent, b"POS");
    worker.reactor.room = usize::MAX;
    worker.on_event(Event::Writable { slot: 0 });
    let sent = String::from_utf8(worker.reactor.sent.clone()).unwrap();
    assert!(sent.starts_with("POST /sockjs/") && sent.ends_with("\r\n\r\n"), "{sent}");
    assert_eq!(sent.matches("\r\n\r\n").count(), 1, "{sent}");
    assert!(worker.publishers.all[0].out.is_empty());
}

#[test]
fn without_receipts_nobody_waits_for_one_but_for_mqtt_that_sends_it_anyway() {
    for (protocol, answer) in
        [(Protocol::Nats, &b"PONG\r\n"[..]), (Protocol::Mqtt, b"\x20\x02\0\0")]
    {
        let mut worker = connected(protocol, 1, 1);
        Arc::make_mut(&mut worker.plan).with_receipts = false;
        worker.log_in(0);
        worker.on_frame(0, worker.reader.next(answer).unwrap().unwrap().0).unwrap();
        let is_live = worker.clients[0].phase == Phase::Live;
        assert_eq!(is_live, protocol == Protocol::Nats, "{protocol:?}");
        worker.on_frame(0, crate::wire::Inbound::Receipt).unwrap();
        assert!(worker.clients[0].phase == Phase::Live, "{protocol:?}");
    }
}

/// A frame as a server sends it.
fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let head = if length < 126 { vec![0x82, length] } else { vec![0x82, 126, 0, length] };
    [&head, payload].concat()
}

/// Ten deliveries, cut into frames of 50 bytes wherever that falls.
fn deliveries(of: impl Fn(&mut Vec<u8>, &[u8])) -> Vec<u8> {
    let mut stream = Vec::new();
    for sequence in 0..10 {
        let mut body = blank_body(100);
        Stamp { planned: 0, sequence, stream: 0 }.write(&mut body);
        of(&mut stream, &body);
    }
    stream.chunks(50).flat_map(framed).collect()
}

/// Lets a subscriber get `answers` to what it says, one after the other, in pieces of `step`.
fn subscribed(protocol: Protocol, answers: &[Vec<u8>], step: usize) -> Worker<Vectors> {
    let mut worker = connected(protocol, 1, 1);
    let accept = worker.reader.accept.clone();
    let response = format!("HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
    for answer in [response.into_bytes()].iter().chain(answers) {
        for piece in answer.chunks(step) {
            worker.on_bytes(0, piece, 0).unwrap();
        }
        worker.flush();
    }
    worker
}

fn is_flawless(worker: &Worker<Vectors>) -> bool {
    let tally = worker.control.tally();
    worker.clients[0].phase == Phase::Live
        && (tally.delivered, tally.corrupt, tally.reordered, tally.duplicates) == (10, 0, 0, 0)
}

#[test]
fn nats_deliveries_are_checked_however_they_are_cut() {
    let mut answers = [&b"INFO {}\r\n"[..], b"PONG\r\n", b"PONG\r\n"].map(framed).to_vec();
    answers.push(deliveries(|stream, body| {
        stream.extend_from_slice(b"MSG /topic/bench 0 100\r\n");
        stream.extend_from_slice(body);
        stream.extend_from_slice(b"\r\n");
    }));
    answers.push(framed(nats::PING));
    for step in [1, 2, 3, 52, 53, 200, 10_000] {
        let mut worker = subscribed(Protocol::Nats, &answers, step);
        assert!(is_flawless(&worker), "{step}");
        let mut wanted = Vec::new();
        worker.writer.frame(&mut wanted, nats::PONG);
        assert!(worker.reactor.sent.ends_with(&wanted));
        // A question that is asked in two frames is one question.
        worker.reactor.sent.clear();
        worker.on_bytes(0, &[framed(b"PI"), framed(b"NG\r\n")].concat(), 0).unwrap();
        worker.flush();
        assert!(worker.reactor.sent == wanted, "{step}");
    }
}

#[test]
fn mqtt_deliveries_are_checked_however_they_are_cut() {
    let mut answers = [&b"\x20\x02\0\0"[..], b"\x90\x03\0\x01\0"].map(framed).to_vec();
    answers.push(deliveries(|stream, body| mqtt::publish(stream, "/topic/bench", body)));
    for step in [1, 2, 3, 52, 53, 200, 10_000] {
        assert!(is_flawless(&subscribed(Protocol::Mqtt, &answers, step)), "{step}");
    }
    let refused = [framed(b"\x20\x02\0\x05")];
    let mut worker = subscribed(Protocol::Mqtt, &[], 1_000);
    assert!(worker.on_bytes(0, &refused[0], 0).unwrap_err().contains("not authorized"));
}
