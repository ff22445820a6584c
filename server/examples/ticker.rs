//! A price feed: a plain thread publishes, and every subscriber of `/topic/price/*` reads.
//!
//! `cargo run -p stompede --example ticker`, then connect any STOMP client to
//! `ws://127.0.0.1:8080/ws` (or by `telnet 127.0.0.1 61613`) and subscribe to
//! `/topic/price/apples` or `/topic/price/*`. Ctrl-C or SIGTERM drains. Another address is given as
//! the first argument.

use std::time::Duration;
use stompede::app::Payload;
use stompede::config::Config;
use stompede::publisher::{PublishError, Publisher};
use stompede::{log, Server};

/// Publishes a price of each article, again and again, until the server drains.
pub fn tick(publisher: &Publisher, pause: Duration) {
    for cents in (100..200).cycle() {
        for article in ["apples", "pears"] {
            let price = Payload::json(format!("{{\"cents\":{cents}}}"));
            match publisher.publish(&format!("/topic/price/{article}"), price) {
                Ok(()) => {}
                Err(PublishError::Drained) => return,
                // This price is late already; the next one will do.
                Err(error @ PublishError::Full { .. }) => eprintln!("{article}: {error}"),
                Err(error @ PublishError::Invalid(_)) => return eprintln!("{article}: {error}"),
            }
        }
        std::thread::sleep(pause);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = address.parse()?;
        config.stomp_listen = None;
        config.admin_listen = None;
    }
    log::init(&config)?;
    let handle = Server::start(config)?;
    println!("ws://{}/ws", handle.http_address);
    let publisher = handle.publisher();
    let feed = std::thread::spawn(move || tick(&publisher, Duration::from_secs(1)));
    handle.drain_on_signal()?;
    // It has heard of the drain, or will at its next price.
    feed.join().map_err(|_| "the feed panicked")?;
    Ok(())
}
