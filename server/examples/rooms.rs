//! Chat rooms over raw WebSocket and SockJS, with the public handler API.
//!
//! `cargo run -p stompede --example rooms`, then open several WebSocket clients at
//! `ws://127.0.0.1:8080/rooms/any-name`, or SockJS clients at the same address with `http`. What
//! one says, all of its room hear, by whatever transport and on whatever shard they are. Once a
//! minute another thread tells each room how long the server has been open. Another address is
//! given as the first argument.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use stompede::config::Config;
use stompede::handler::{
    Close, Handler, Message, Session, SessionId, SessionSender, SharedMessage,
};
use stompede::{Builder, Server};

/// Who is in which room. Shards share it, so it has a lock; a room's talk holds it briefly.
pub type Rooms = Arc<Mutex<HashMap<String, HashMap<SessionId, SessionSender>>>>;

struct Chat {
    rooms: Rooms,
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
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.entry(room).or_default().insert(session.id(), session.sender());
        // An error of `send` means that the session is over: `on_close` will come.
        let _ = session.send("welcome");
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        tell(&self.rooms, &Chat::room(session), &message.into());
    }

    fn on_close(&mut self, session: &mut Session<'_>, close: &Close) {
        let room = Chat::room(session);
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guests) = rooms.get_mut(&room) {
            guests.remove(&session.id());
            if guests.is_empty() {
                rooms.remove(&room);
            }
        }
        println!("{} left {room}: {} {}", session.peer(), close.code, close.cause);
    }
}

/// Sends one message to all guests of a room; its payload is not copied until their shards do.
pub fn tell(rooms: &Rooms, room: &str, message: &SharedMessage) {
    let rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    for guest in rooms.get(room).into_iter().flat_map(HashMap::values) {
        // An error means that the guest, or the server, is gone, or that far too much waits.
        let _ = guest.send(message.clone());
    }
}

/// A server with rooms.
pub fn serve(config: Config, rooms: &Rooms) -> Builder {
    let rooms = rooms.clone();
    Server::builder(config).endpoint("/rooms/{room}", move |_shard| Chat { rooms: rooms.clone() })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = address.parse()?;
        config.stomp_listen = None;
        config.admin_listen = None;
    }
    config.settle()?;
    let (rooms, start) = (Rooms::default(), Instant::now());
    let handle = serve(config, &rooms).start()?;
    println!("ws://{0}/rooms/any-name, http://{0}/rooms/any-name for SockJS", handle.http_address);
    loop {
        std::thread::sleep(Duration::from_secs(60));
        let names: Vec<String> =
            rooms.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let minutes = start.elapsed().as_secs() / 60;
        for name in names {
            tell(&rooms, &name, &format!("open for {minutes} minutes").into());
        }
    }
}
