//! The ways a session ends, and what its handler is told.

use crate::client::{everywhere, Client};
use crate::support::{unless_held_up, Running, BINARY, CLOSE, PATIENCE, PING, PONG, TEXT};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Duration;
use stompede::config::Config;
use stompede::handler::{Close, Handler, Message, SendError, Session, SessionSender};
use stompede::shard::reason::DisconnectReason;
use stompede::Server;

/// Does what its messages say, and tells the test what happens to it.
struct Puppet {
    events: Sender<Event>,
}

#[derive(Debug)]
enum Event {
    Opened(SessionSender),
    Failed(DisconnectReason),
    Closed(Close),
}

impl Handler for Puppet {
    fn on_open(&mut self, session: &mut Session<'_>) {
        let _ = self.events.send(Event::Opened(session.sender()));
        assert!(session.query() != "panic", "asked to");
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        match message.text() {
            Some("panic") => panic!("asked to"),
            Some("close") => {
                assert_eq!(session.close(1005, ""), Err(SendError::CloseCode(1005)));
                session.send("last words").expect("is open");
                session.close(4321, "enough").expect("is open");
                assert_eq!(session.send("too late"), Err(SendError::SessionEnded));
                assert_eq!(session.close(4000, ""), Err(SendError::SessionEnded));
            }
            Some("flood") => while session.send("x".repeat(10_000).as_str()).is_ok() {},
            _ => session.send(message).expect("is open"),
        }
    }

    fn on_error(&mut self, _: &mut Session<'_>, reason: DisconnectReason) {
        let _ = self.events.send(Event::Failed(reason));
        assert!(reason != DisconnectReason::HandlerPanic, "a panic on the way out");
    }

    fn on_close(&mut self, session: &mut Session<'_>, close: &Close) {
        assert_eq!(session.send("too late"), Err(SendError::SessionEnded));
        let _ = self.events.send(Event::Closed(close.clone()));
    }
}

struct Stage {
    server: Running,
    events: Receiver<Event>,
    shards: usize,
}

impl Stage {
    fn new(config: Config) -> Stage {
        let (sender, events) = channel();
        let shards = config.shards;
        let make = move |_| Puppet { events: sender.clone() };
        Stage { server: Running::of(Server::builder(config).endpoint("/p", make)), events, shards }
    }

    fn enter(&self) -> (Client, SessionSender) {
        let client = Client::open(self.server.http_address, "/p");
        let Event::Opened(sender) = self.next() else { panic!("is opened first") };
        (client, sender)
    }

    fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event comes")
    }

    fn expect_closed(&self, code: u16, reason: &str, cause: DisconnectReason) {
        let Event::Closed(close) = self.next() else { panic!("is closed next") };
        assert_eq!(close, Close { code, reason: reason.into(), cause });
    }

    fn expect_failed(&self, cause: DisconnectReason) {
        let Event::Failed(seen) = self.next() else { panic!("an error is next") };
        assert_eq!(seen, cause);
    }

    /// The last event was told, and the handler still works.
    fn still_works(&self) {
        let (mut client, _) = self.enter();
        client.send_frame(TEXT, b"hello");
        client.expect(TEXT, b"hello");
    }
}

#[test]
fn the_client_closes() {
    everywhere(|config| {
        let stage = Stage::new(config);
        let (mut client, _) = stage.enter();
        client.send_frame(CLOSE, b"\x0b\xb8bye");
        assert_eq!(client.expect_close(3000), "");
        stage.expect_closed(3000, "bye", DisconnectReason::ClosingHandshake);
        let (mut client, _) = stage.enter();
        client.send_frame(CLOSE, b"");
        client.expect_close(1000);
        stage.expect_closed(1005, "", DisconnectReason::ClosingHandshake);
        let (client, _) = stage.enter();
        drop(client);
        stage.expect_closed(1006, "", DisconnectReason::PeerClosed);
        let (mut client, _) = stage.enter();
        client.send_frame(TEXT & 0x7f, b"half");
        drop(client);
        stage.expect_failed(DisconnectReason::PeerClosedMidFrame);
        stage.expect_closed(1006, "", DisconnectReason::PeerClosedMidFrame);
        stage.still_works();
    });
}

#[test]
fn the_handler_closes_and_what_waits_is_sent_first() {
    everywhere(|config| {
        let stage = Stage::new(config);
        let (mut client, _) = stage.enter();
        // What comes behind the close is not looked at.
        client.send_frame(TEXT, b"close");
        client.send_frame(TEXT, b"panic");
        client.expect(TEXT, b"last words");
        assert_eq!(client.expect_close(4321), "enough");
        stage.expect_closed(4321, "enough", DisconnectReason::HandlerClosed);
        stage.still_works();
        assert_eq!(stage.server.sum(stage.shards, |shard| shard.handler_panics.get()), 0);
    });
}

/// Catalogue: L26.
#[test]
fn a_panic_ends_its_session_and_no_other() {
    everywhere(|config| {
        let stage = Stage::new(config);
        let (mut other, _) = stage.enter();
        let (mut client, _) = stage.enter();
        client.send_frame(TEXT, b"panic");
        assert_eq!(client.expect_close(1011), "the handler failed");
        // `on_error` panics too, and `on_close` comes all the same.
        stage.expect_failed(DisconnectReason::HandlerPanic);
        stage.expect_closed(1011, "the handler failed", DisconnectReason::HandlerPanic);
        let mut client = Client::open(stage.server.http_address, "/p?panic");
        client.expect_close(1011);
        assert!(matches!(stage.next(), Event::Opened(_)));
        stage.expect_failed(DisconnectReason::HandlerPanic);
        stage.expect_closed(1011, "the handler failed", DisconnectReason::HandlerPanic);
        other.send_frame(TEXT, b"unharmed");
        other.expect(TEXT, b"unharmed");
        stage.still_works();
        assert_eq!(stage.server.sum(stage.shards, |shard| shard.handler_panics.get()), 4);
    });
}

#[test]
fn another_thread_sends_and_closes() {
    everywhere(|config| {
        let stage = Stage::new(config);
        let (mut client, sender) = stage.enter();
        let twin = sender.clone();
        let thread = std::thread::spawn(move || {
            for number in 0..1_000 {
                twin.send(number.to_string()).expect("there is room");
                if number % 100 == 0 {
                    // Long enough for the shard to sleep.
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            twin.send(vec![1, 2]).expect("there is room");
            twin.close(3210, "from afar").expect("there is room");
            twin.send("after the close").expect("is taken, and dropped");
        });
        for number in 0..1_000 {
            client.expect(TEXT, number.to_string().as_bytes());
        }
        client.expect(BINARY, &[1, 2]);
        assert_eq!(client.expect_close(3210), "from afar");
        thread.join().expect("sends all");
        stage.expect_closed(3210, "from afar", DisconnectReason::HandlerClosed);
        // A sender of a session that is over reaches nobody else, whoever has its slot now.
        drop(client);
        let (mut next, _) = stage.enter();
        sender.send("not for you").expect("is taken, and dropped");
        next.send_frame(TEXT, b"mine");
        next.expect(TEXT, b"mine");
        let Stage { server, .. } = stage;
        drop(server);
        assert_eq!(sender.send("nobody"), Err(SendError::ServerEnded));
    });
}

/// Catalogue: K01.
#[test]
fn a_client_that_does_not_keep_up_is_ended() {
    everywhere(|config| {
        let stage = Stage::new(config);
        let (mut client, _) = stage.enter();
        client.send_frame(TEXT, b"flood");
        stage.expect_failed(DisconnectReason::SlowConsumer);
        stage.expect_closed(1006, "", DisconnectReason::SlowConsumer);
        assert_eq!(stage.server.sum(stage.shards, |shard| shard.slow_consumers.get()), 1);
        let (_still, sender) = stage.enter();
        // One that reads nothing, fed from another thread: what the sockets hold is finite.
        let piece = "x".repeat(100_000);
        let event = loop {
            let _ = sender.send(piece.as_str());
            if let Ok(event) = stage.events.recv_timeout(Duration::from_millis(1)) {
                break event;
            }
        };
        assert!(matches!(event, Event::Failed(DisconnectReason::SlowConsumer)), "{event:?}");
        stage.expect_closed(1006, "", DisconnectReason::SlowConsumer);
        stage.still_works();
    });
}

#[test]
fn a_silent_client_is_pinged_and_a_dead_one_ended() {
    everywhere(|config| {
        let stage = Stage::new(Config { ping_interval: Duration::from_millis(250), ..config });
        unless_held_up("five answers, and then the end", || {
            let (mut client, _) = stage.enter();
            // It answers five pings and no more: three go unanswered, or those of a slow answer
            // too.
            let mut answered = 0;
            while answered < 5 && (!client.unread().is_empty() || client.fill()) {
                client.expect(PING, b"");
                client.send_frame(PONG, b"");
                answered += 1;
            }
            let rest = client.rest();
            assert!(rest.chunks(2).all(|frame| frame == [PING, 0]), "{rest:?}");
            assert!(answered < 5 || rest.len() >= 6, "{rest:?}");
            stage.expect_failed(DisconnectReason::HeartbeatMissed);
            let (code, cause) = (1006, DisconnectReason::HeartbeatMissed);
            stage.expect_closed(code, "no answer to pings", cause);
            answered == 5
        });
    });
}

#[test]
fn a_breach_of_the_protocol_is_an_error() {
    everywhere(|config| {
        let stage = Stage::new(config);
        let (mut client, _) = stage.enter();
        client.send([0x81, 1, b'a']);
        let text = client.expect_close(1002);
        stage.expect_failed(DisconnectReason::WebSocketError);
        stage.expect_closed(1002, &text, DisconnectReason::WebSocketError);
    });
}

#[test]
fn the_drain_closes_with_1001_and_tells_every_handler() {
    everywhere(|config| {
        let stage = Stage::new(config);
        let mut clients: Vec<_> = (0..5).map(|_| stage.enter().0).collect();
        stage.server.drain();
        for client in &mut clients {
            client.expect_close(1001);
        }
        drop(clients);
        for _ in 0..5 {
            stage.expect_closed(1001, "server is shutting down", DisconnectReason::Drain);
        }
        let Stage { server, events, .. } = stage;
        drop(server);
        assert!(events.try_recv().is_err(), "nothing is told twice");
    });
}
