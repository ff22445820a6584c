//! Test services, for conformance suites and demonstrations: `stompede demo` or
//! `--test-services`.
//!
//! They are ordinary handlers and use nothing but the public API of [`crate::handler`]:
//!
//! | path | what it does |
//! |---|---|
//! | `/echo` | every message back, in order |
//! | `/close` | closes at once, 3000 "Go away!" |
//! | `/ticker` | `tick!` every second |
//! | `/broadcast` | every message to all sessions of the service, on all shards |
//! | `/amplify` | for a number n of 1 to 18, else for 1: 2^n times `x` |

use crate::handler::{Close, Handler, Message, Session, SessionId, SessionSender, SharedMessage};
use crate::Builder;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Largest power of two that `/amplify` answers with.
const AMPLIFY_POWER_MAX: u32 = 18;

/// Adds all test services to a server.
pub fn register(builder: Builder) -> Builder {
    let (ticked, everybody) = (Audience::default(), Audience::default());
    tick(Arc::downgrade(&ticked.senders));
    builder
        .endpoint("/echo", |_| Echo)
        .endpoint("/close", |_| GoAway)
        .endpoint("/ticker", move |_| Ticker(ticked.clone()))
        .endpoint("/broadcast", move |_| Broadcast(everybody.clone()))
        .endpoint("/amplify", |_| Amplify)
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

struct Broadcast(Audience);

impl Handler for Broadcast {
    fn on_open(&mut self, session: &mut Session<'_>) {
        self.0.enter(session);
    }

    fn on_message(&mut self, _: &mut Session<'_>, message: Message<'_>) {
        send_to_all(&self.0.senders, &message.into());
    }

    fn on_close(&mut self, session: &mut Session<'_>, _: &Close) {
        self.0.leave(session);
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
