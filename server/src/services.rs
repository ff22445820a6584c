//! Test services, for conformance suites and demonstrations: `stompede demo` or
//! `--test-services`.
//!
//! They are ordinary handlers and use nothing but the public API of [`crate::handler`]:
//!
//! | path | what it does |
//! |---|---|
//! | `/echo` | every message back, in order; SockJS streams end after 4 KiB |
//! | `/disabled_websocket_echo` | the same without WebSocket |
//! | `/cookie_needed_echo` | the same with JSESSIONID |
//! | `/close` | closes at once, 3000 "Go away!" |
//! | `/ticker` | `tick!` every second |
//! | `/broadcast` | every message to all sessions of the service, on all shards |
//! | `/burst_close` | for a number n of 1 to 1,000, else for 1: n messages, then closes |
//! | `/amplify` | for a number n of 1 to 18, else for 1: 2^n times `x` |

use crate::handler::{
    Close, Handler, Message, Session, SessionId, SessionSender, SharedMessage, SockJsOptions,
    Transports,
};
use crate::Builder;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes after which the suite expects a stream of `/echo` to end.
const ECHO_RESPONSE_BYTES_MAX: u32 = 4_096;
/// Most messages of `/burst_close`.
const BURST_MESSAGES_MAX: usize = 1_000;
/// The group of all sessions of `/broadcast`.
const EVERYBODY: &str = "everybody";
/// Largest power of two that `/amplify` answers with.
const AMPLIFY_POWER_MAX: u32 = 18;

/// Adds all test services to a server.
pub fn register(builder: Builder) -> Builder {
    let own = builder.config.sockjs.clone();
    // The suites want to see every transport.
    let all = SockJsOptions { transports: Transports::ALL, ..own };
    let echo = SockJsOptions { response_bytes_max: ECHO_RESPONSE_BYTES_MAX, ..all.clone() };
    let transports = Transports { websocket: false, raw_websocket: false, ..all.transports };
    let no_websocket = SockJsOptions { transports, ..all.clone() };
    let cookie = SockJsOptions { cookie: true, ..all.clone() };
    let ticked = Audience::default();
    tick(Arc::downgrade(&ticked.senders));
    builder
        .endpoint_with("/echo", echo, |_| Echo)
        .endpoint_with("/disabled_websocket_echo", no_websocket, |_| Echo)
        .endpoint_with("/cookie_needed_echo", cookie, |_| Echo)
        .endpoint_with("/close", all.clone(), |_| GoAway)
        .endpoint_with("/ticker", all.clone(), move |_| Ticker(ticked.clone()))
        .endpoint_with("/broadcast", all.clone(), |_| Broadcast)
        .endpoint_with("/burst_close", all.clone(), |_| BurstClose)
        .endpoint_with("/amplify", all, |_| Amplify)
}

/// Sessions of all shards.
#[derive(Clone, Default)]
struct Audience {
    senders: Arc<Mutex<HashMap<SessionId, SessionSender>>>,
}

impl Audience {
    fn enter(&self, session: &Session<'_>) {
        lock(&self.senders).insert(session.id(), session.sender());
    }

    fn leave(&self, session: &Session<'_>) {
        lock(&self.senders).remove(&session.id());
    }
}

/// A panic elsewhere leaves the map whole, so its lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An overfull inbox drops the message for those who would be behind: these are test services.
fn send_to_all(senders: &Mutex<HashMap<SessionId, SessionSender>>, message: &SharedMessage) {
    for sender in lock(senders).values() {
        let _ = sender.send(message.clone());
    }
}

/// Starts the thread that ticks, until the server is gone.
fn tick(senders: Weak<Mutex<HashMap<SessionId, SessionSender>>>) {
    std::thread::spawn(move || {
        let message = SharedMessage::from("tick!");
        while let Some(senders) = senders.upgrade() {
            send_to_all(&senders, &message);
            drop(senders);
            std::thread::sleep(TICK_INTERVAL);
        }
    });
}

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        // A session that is over needs no echo; so in the other services.
        let _ = session.send(message);
    }
}

struct GoAway;

impl Handler for GoAway {
    fn on_open(&mut self, session: &mut Session<'_>) {
        let _ = session.close(3000, "Go away!");
    }

    fn on_message(&mut self, _: &mut Session<'_>, _: Message<'_>) {}
}

struct Ticker(Audience);

impl Handler for Ticker {
    fn on_open(&mut self, session: &mut Session<'_>) {
        self.0.enter(session);
    }

    fn on_message(&mut self, _: &mut Session<'_>, _: Message<'_>) {}

    fn on_close(&mut self, session: &mut Session<'_>, _: &Close) {
        self.0.leave(session);
    }
}

struct Broadcast;

impl Handler for Broadcast {
    fn on_open(&mut self, session: &mut Session<'_>) {
        let _ = session.join(EVERYBODY);
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        session.publish(EVERYBODY, message);
    }
}

struct BurstClose;

impl Handler for BurstClose {
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let count = message.text().and_then(|text| text.trim().parse::<usize>().ok());
        let count = count.filter(|count| (1..=BURST_MESSAGES_MAX).contains(count)).unwrap_or(1);
        for number in 1..=count {
            let _ = session.send(number.to_string().as_str());
        }
        let _ = session.close(3000, "Go away!");
    }
}

struct Amplify;

impl Handler for Amplify {
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let power = amplify_power(message.text().unwrap_or_default());
        let _ = session.send("x".repeat(1 << power).as_str());
    }
}

/// The whole part of the number that is the message, if it is 1 to 18; else 1.
fn amplify_power(text: &str) -> u32 {
    let number = text.trim().parse::<f64>().unwrap_or(1.0).floor();
    if (1.0..=f64::from(AMPLIFY_POWER_MAX)).contains(&number) {
        number as u32
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amplify_takes_a_number_from_1_to_18() {
        let cases = [("1", 1), ("18", 18), (" 2.9 ", 2), ("19", 1), ("0", 1), ("-3", 1), ("x", 1)];
        for (text, power) in cases {
            assert_eq!(amplify_power(text), power, "{text}");
        }
        assert_eq!((amplify_power(""), amplify_power("NaN"), amplify_power("inf")), (1, 1, 1));
    }
}
