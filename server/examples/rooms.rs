//! Chat rooms over raw WebSocket and SockJS, with the public handler API.
//!
//! `cargo run -p stompede --example rooms`, then open several WebSocket clients at
//! `ws://127.0.0.1:8080/rooms/any-name`. What one says, all of its room hear, on whatever shard
//! their connections are: a room is a group of sessions. Once a minute another thread tells every
//! guest how long the server has been open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use stompede::config::Config;
use stompede::handler::{
    Close, Handler, Message, Session, SessionId, SessionSender, SharedMessage,
};
use stompede::Server;

/// Who is here, for the thread that tells the time. Shards share it, so it has a lock.
type Guests = Arc<Mutex<HashMap<SessionId, SessionSender>>>;

struct Chat {
    guests: Guests,
}

impl Chat {
    fn room(session: &Session<'_>) -> String {
        session.param("room").unwrap_or_default().into_owned()
    }
}

impl Handler for Chat {
    fn on_open(&mut self, session: &mut Session<'_>) {
        let room = Chat::room(session);
        if room.len() > 64 {
            let _ = session.close(3001, "the name of the room is too long");
            return;
        }
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.insert(session.id(), session.sender());
        // An error means that the session is over: `on_close` will come.
        let _ = session.join(&room);
        let _ = session.send("welcome");
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let room = Chat::room(session);
        session.publish(&room, message);
    }

    fn on_close(&mut self, session: &mut Session<'_>, close: &Close) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.remove(&session.id());
        let room = Chat::room(session);
        println!("{} left {room}: {} {}", session.peer(), close.code, close.cause);
    }
}

fn main() -> Result<(), String> {
    let guests = Guests::default();
    let (for_shards, start) = (guests.clone(), Instant::now());
    let handle = Server::builder(Config::default())
        .endpoint("/rooms/{room}", move |_shard| Chat { guests: for_shards.clone() })
        .start()?;
    println!("ws://{}/rooms/any-name", handle.http_address);
    loop {
        std::thread::sleep(Duration::from_secs(60));
        let minutes = start.elapsed().as_secs() / 60;
        let message = SharedMessage::from(format!("open for {minutes} minutes"));
        for guest in guests.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = guest.send(message.clone());
        }
    }
}
