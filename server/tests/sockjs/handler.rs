//! Handlers of sessions over SockJS: what they are told, and what they and other threads may do.

use crate::client::{config, exchange, request, upgrade, Answer, SHARDS};
use crate::support::{masked, until, Running, BINARY, CLOSE, PATIENCE};
use std::sync::mpsc::{channel, Receiver, Sender};
use stompede::config::Config;
use stompede::handler::{Close, Handler, Message, SendError, Session, SessionSender};
use stompede::shard::reason::DisconnectReason;
use stompede::Server;

#[path = "../../examples/rooms.rs"]
#[allow(dead_code)] // Its `main`.
mod rooms;

#[derive(Debug)]
enum Event {
    Opened(String, SessionSender),
    Said(String),
    Failed(DisconnectReason),
    Closed(Close),
}

/// Tells the test what happens.
struct Witness(Sender<Event>);

impl Handler for Witness {
    fn on_open(&mut self, session: &mut Session<'_>) {
        let room = session.param("room").expect("a room").into_owned();
        assert_eq!(session.send(&b"\xff"[..]), Err(SendError::TextOnly));
        let _ = self.0.send(Event::Opened(room, session.sender()));
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let text = message.text().expect("text").to_owned();
        let _ = self.0.send(Event::Said(text));
        session.send(message).expect("is open");
    }

    fn on_error(&mut self, _: &mut Session<'_>, reason: DisconnectReason) {
        let _ = self.0.send(Event::Failed(reason));
    }

    fn on_close(&mut self, _: &mut Session<'_>, close: &Close) {
        let _ = self.0.send(Event::Closed(close.clone()));
    }
}

struct Stage {
    server: Running,
    events: Receiver<Event>,
}

impl Stage {
    fn new(config: Config) -> Stage {
        let (sender, events) = channel();
        let builder =
            Server::builder(config).endpoint("/rooms/{room}", move |_| Witness(sender.clone()));
        Stage { server: Running::of(builder), events }
    }

    fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event comes")
    }

    fn opened(&self, room: &str) -> SessionSender {
        let Event::Opened(seen, sender) = self.next() else { panic!("is opened next") };
        assert_eq!(seen, room);
        sender
    }

    fn expect_said(&self, text: &str) {
        let Event::Said(seen) = self.next() else { panic!("a message is next") };
        assert_eq!(seen, text);
    }

    fn expect_failed(&self, cause: DisconnectReason) {
        let Event::Failed(seen) = self.next() else { panic!("an error is next") };
        assert_eq!(seen, cause);
    }

    fn expect_closed(&self, code: u16, reason: &str, cause: DisconnectReason) {
        let Event::Closed(close) = self.next() else { panic!("is closed next") };
        assert_eq!(close, Close { code, reason: reason.into(), cause });
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        exchange(self.server.http_address, &request("POST", path, "", body))
    }
}

/// Catalogue: G04.
#[test]
fn a_name_below_one_path_is_none_below_another() {
    for shards in SHARDS {
        let stage = Stage::new(config(shards));
        assert_eq!(stage.post("/rooms/a/000/name/xhr", "").body(), "o\n");
        stage.opened("a");
        assert_eq!(stage.post("/rooms/b/000/name/xhr_send", r#"["x"]"#).status, 404);
        // It opens a session of its own there, and that of a is as it was.
        assert_eq!(stage.post("/rooms/b/000/name/xhr", "").body(), "o\n");
        stage.opened("b");
        assert_eq!(stage.post("/rooms/a/999/name/xhr_send", r#"["x"]"#).status, 204);
        stage.expect_said("x");
        assert_eq!(stage.post("/rooms/a/001/name/xhr", "").body(), "a[\"x\"]\n");
    }
}

#[test]
fn another_thread_sends_and_closes_whatever_the_transport() {
    for shards in SHARDS {
        let stage = Stage::new(config(shards));
        let act = |sender: SessionSender| {
            std::thread::spawn(move || {
                sender.send("from afar").expect("there is room");
                // Dropped: the session takes text only, which only its shard knows.
                sender.send(vec![0xff]).expect("there is room");
                assert_eq!(sender.close(1005, ""), Err(SendError::CloseCode(1005)));
                sender.close(3456, "enough").expect("there is room");
            })
        };
        let told = r#"c[3456,"enough"]"#;
        assert_eq!(stage.post("/rooms/p/000/s/xhr", "").body(), "o\n");
        act(stage.opened("p")).join().expect("sends all");
        stage.expect_closed(3456, "enough", DisconnectReason::HandlerClosed);
        assert_eq!(stage.post("/rooms/p/000/s/xhr", "").body(), "a[\"from afar\"]\n");
        assert_eq!(stage.post("/rooms/p/000/s/xhr", "").body(), format!("{told}\n"));

        let mut stream = stage.post("/rooms/s/000/s/xhr_streaming", "");
        assert_eq!((stream.chunk().len(), stream.chunk()), (2_049, "o\n".to_owned()));
        act(stage.opened("s")).join().expect("sends all");
        let seen = [stream.chunk(), stream.chunk(), stream.chunk()];
        assert_eq!(seen, ["a[\"from afar\"]\n".to_owned(), format!("{told}\n"), String::new()]);
        stage.expect_closed(3456, "enough", DisconnectReason::HandlerClosed);

        let mut socket = upgrade(stage.server.http_address, "/rooms/w/000/s/websocket");
        act(stage.opened("w")).join().expect("sends all");
        let seen = [socket.text(), socket.text(), socket.text()];
        assert_eq!(seen, ["o", "a[\"from afar\"]", told]);
        stage.expect_closed(3456, "enough", DisconnectReason::HandlerClosed);
    }
}

#[test]
fn every_end_of_a_session_is_told_once_with_its_cause() {
    let mut config = config(2);
    config.sockjs.disconnect_delay_ms = 500;
    let stage = Stage::new(config);
    // Nobody polls again.
    assert_eq!(stage.post("/rooms/a/000/left/xhr", "").body(), "o\n");
    stage.opened("a");
    stage.expect_closed(1006, "", DisconnectReason::SessionExpired);
    // A receiver breaks off: so clients leave.
    let mut stream = stage.post("/rooms/a/000/broken/xhr_streaming", "");
    assert_eq!((stream.chunk().len(), stream.chunk()), (2_049, "o\n".to_owned()));
    stage.opened("a");
    drop(stream);
    stage.expect_closed(1006, "", DisconnectReason::PeerClosed);
    // A client that does not speak SockJS.
    for (bytes, code, reason) in [
        (masked(BINARY, b"[\"a\"]"), 1003, "Text expected."),
        (masked(crate::support::TEXT, b"[1]"), 3000, "Broken framing."),
    ] {
        let mut socket = upgrade(stage.server.http_address, "/rooms/a/000/w/websocket");
        stage.opened("a");
        socket.send(&bytes);
        stage.expect_failed(DisconnectReason::SockJsError);
        stage.expect_closed(code, reason, DisconnectReason::SockJsError);
    }
    let Stage { server, events } = stage;
    drop(server);
    assert!(events.try_recv().is_err(), "nothing is told twice");
}

/// The example that README names.
#[test]
fn guests_of_a_room_hear_each_other_by_any_transport() {
    for shards in SHARDS {
        let guests = rooms::Rooms::default();
        let server = Running::of(rooms::serve(config(shards), &guests));
        let polled = server.session("/rooms/caf%C3%A9").open();
        assert_eq!(polled.poll(), r#"a["welcome"]"#);
        let mut raw = upgrade(server.http_address, "/rooms/caf%C3%A9");
        assert_eq!(raw.text(), "welcome");
        let mut other = upgrade(server.http_address, "/rooms/other/websocket");
        assert_eq!(other.text(), "welcome");
        raw.send_text("hello");
        assert_eq!((raw.text(), polled.poll()), ("hello".into(), r#"a["hello"]"#.into()));
        polled.send(r#"["\"hi\""]"#);
        assert_eq!((raw.text(), polled.poll()), ("\"hi\"".into(), r#"a["\"hi\""]"#.into()));
        rooms::tell(&guests, "other", &"only here".into());
        assert_eq!(other.text(), "only here");
        drop((raw, other));
        let is_left = || guests.lock().expect("whole").values().flatten().count() == 1;
        until("all but one to leave", is_left);
        let mut long = upgrade(server.http_address, &format!("/rooms/{}", "x".repeat(65)));
        let (first, payload) = long.line.frame();
        assert_eq!((first, &payload[..2]), (CLOSE, &3001_u16.to_be_bytes()[..]));
    }
}
