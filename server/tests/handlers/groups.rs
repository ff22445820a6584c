//! Groups: who joined hears what is published, whoever and wherever it is, and nobody else does.

use crate::client::{everywhere, Client};
use crate::support::{Running, BINARY, TEXT};
use stompede::config::Config;
use stompede::handler::{Handler, Message, Session};
use stompede::Server;

/// `+name` joins a group, `-name` leaves it, each with an answer; `name:text` publishes to it, and
/// bytes go to the group `bytes`.
struct Rooms;

impl Handler for Rooms {
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let Some(text) = message.text() else { return session.publish("bytes", message) };
        if let Some(name) = text.strip_prefix('+') {
            session.join(name).expect("is open");
        } else if let Some(name) = text.strip_prefix('-') {
            session.leave(name);
        } else if let Some((name, text)) = text.split_once(':') {
            return session.publish(name, text);
        }
        let _ = session.send(text);
    }
}

fn start(config: Config) -> Running {
    let builder = Server::builder(config);
    Running::of(builder.endpoint("/rooms", |_| Rooms).endpoint("/others", |_| Rooms))
}

/// Joins, and waits until that is known everywhere.
fn join(client: &mut Client, name: &str) {
    let (join, probe) = (format!("+{name}"), format!("{name}:probe"));
    client.send_frame(TEXT, join.as_bytes());
    client.expect(TEXT, join.as_bytes());
    client.send_frame(TEXT, probe.as_bytes());
    while client.frame().1 != b"probe" {}
}

/// The next frame that is no probe.
fn next(client: &mut Client) -> (u8, Vec<u8>) {
    loop {
        let frame = client.frame();
        if frame.1 != b"probe" {
            return frame;
        }
    }
}

#[test]
fn who_joined_hears_it_once_and_in_order() {
    everywhere(|config| {
        let server = start(config);
        let mut clients: Vec<Client> =
            (0..6).map(|_| Client::open(server.http_address, "/rooms")).collect();
        for client in &mut clients[..4] {
            join(client, "a");
            join(client, "a");
        }
        join(&mut clients[3], "b");
        // Who is in no group may publish.
        for text in ["a:first", "b:other", "a:second", "nobody:there", "a:third"] {
            clients[5].send_frame(TEXT, text.as_bytes());
        }
        for (at, client) in clients[..4].iter_mut().enumerate() {
            // Of two groups there is no order.
            let count = if at == 3 { 4 } else { 3 };
            let (kinds, mut seen): (Vec<u8>, Vec<Vec<u8>>) =
                (0..count).map(|_| next(client)).unzip();
            assert!(kinds.iter().all(|&kind| kind == TEXT));
            seen.retain(|text| at != 3 || text != b"other");
            assert_eq!(seen, [b"first".to_vec(), b"second".to_vec(), b"third".to_vec()]);
        }
        // Nothing more came, to nobody.
        for client in &mut clients {
            client.send_frame(TEXT, b"last");
            assert_eq!(next(client), (TEXT, b"last".to_vec()));
        }
    });
}

#[test]
fn who_left_or_is_of_another_endpoint_hears_nothing() {
    everywhere(|config| {
        let server = start(config);
        let mut left = Client::open(server.http_address, "/rooms");
        let mut other = Client::open(server.http_address, "/others");
        let mut speaker = Client::open(server.http_address, "/rooms");
        for client in [&mut left, &mut other, &mut speaker] {
            join(client, "a");
        }
        left.send_frame(TEXT, b"-a");
        while next(&mut left).1 != b"-a" {}
        drop(Client::open(server.http_address, "/rooms"));
        speaker.send_frame(TEXT, b"a:secret");
        while next(&mut speaker).1 != b"secret" {}
        for client in [&mut left, &mut other] {
            client.send_frame(TEXT, b"still here");
            assert_eq!(next(client), (TEXT, b"still here".to_vec()));
        }
    });
}

#[test]
fn bytes_stay_bytes() {
    everywhere(|config| {
        let server = start(config);
        let mut client = Client::open(server.http_address, "/rooms");
        join(&mut client, "bytes");
        for payload in [&b"also text"[..], b"\xff\x00", b""] {
            client.send_frame(BINARY, payload);
            client.expect(BINARY, payload);
        }
        client.send_frame(TEXT, b"bytes:text");
        client.expect(TEXT, b"text");
    });
}
