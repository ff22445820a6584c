//! The test services, as clients of a conformance suite see them.

use crate::client::{everywhere, Client};
use crate::support::{Running, TEXT};
use stompede::config::Config;
use stompede::{services, Server};

fn start(config: Config) -> Running {
    Running::of(services::register(Server::builder(config)))
}

#[test]
fn close_says_go_away() {
    everywhere(|config| {
        let server = start(config);
        let mut client = Client::open(server.http_address, "/close/websocket");
        assert_eq!(client.expect_close(3000), "Go away!");
    });
}

#[test]
fn ticker_ticks() {
    everywhere(|config| {
        let server = start(config);
        let mut client = Client::open(server.http_address, "/ticker");
        client.expect(TEXT, b"tick!");
        client.expect(TEXT, b"tick!");
    });
}

#[test]
fn broadcast_reaches_every_session_in_one_order() {
    everywhere(|config| {
        let server = start(config);
        let mut clients: Vec<Client> =
            (0..8).map(|_| Client::open(server.http_address, "/broadcast")).collect();
        // Its own echo says that a session has entered.
        for client in &mut clients {
            client.send_frame(TEXT, b"enter");
            while client.frame().1 != b"enter" {}
        }
        clients[0].send_frame(TEXT, b"first");
        clients[0].send_frame(TEXT, b"second");
        for client in &mut clients {
            let rest = std::iter::from_fn(|| Some(client.frame().1));
            let seen: Vec<Vec<u8>> = rest.filter(|text| text != b"enter").take(2).collect();
            assert_eq!(seen, [b"first".to_vec(), b"second".to_vec()]);
        }
    });
}

#[test]
fn amplify_answers_with_a_power_of_two() {
    everywhere(|config| {
        let server = start(config);
        let mut client = Client::open(server.http_address, "/amplify");
        for (text, power) in [("1", 1), ("11.7", 11), ("18", 18), ("19", 1), ("no number", 1)] {
            client.send_frame(TEXT, text.as_bytes());
            client.expect(TEXT, &vec![b'x'; 1 << power]);
        }
    });
}
