//! The greeting application of Spring's guide to messaging with STOMP over WebSocket.
//!
//! `cargo run -p stompede --example greeting`, then open `http://127.0.0.1:8080/` (the page needs
//! the network once, for stompjs). A name is sent to `/app/hello`, and a second later everybody at
//! `/topic/greetings` reads "Hello, name!". Another address is given as the first argument.

use std::time::Duration;
use stompede::app::{AppError, Context, Message, Payload};
use stompede::config::Config;
use stompede::Server;

/// Spring's guide sleeps in its mapping; ours is a task, and its shard goes on meanwhile.
pub async fn greeting(context: Context, message: Message) -> Result<(), AppError> {
    let hello: Hello = serde_json::from_slice(message.body())?;
    if hello.name.is_empty() {
        return Err(AppError::new("seen no name: say who you are"));
    }
    monoio::time::sleep(Duration::from_secs(1)).await;
    let content = format!("Hello, {}!", hello.name);
    let text = serde_json::json!({ "content": content }).to_string();
    context.publish("/topic/greetings", Payload::json(text));
    Ok(())
}

#[derive(serde::Deserialize)]
struct Hello {
    name: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/greeting");
    let mut config = Config { static_dir: Some(directory.into()), ..Config::default() };
    if let Some(address) = std::env::args().nth(1) {
        config.listen = address.parse()?;
        config.stomp_listen = None;
        config.admin_listen = None;
    }
    let server = Server::builder(config).message_async("/app/hello", greeting);
    let handle = server.start()?;
    println!("http://{}/", handle.http_address);
    handle.drain_on_signal()?;
    Ok(())
}
