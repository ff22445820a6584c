//! Behind a reverse proxy: who the client is, and that limits by address are the client's own.
//!
//! The proxy is this test: its connections come from 127.0.0.1, and name clients in
//! `X-Forwarded-For`. What the field may hold is tested where it is read (`core/src/http/`).

use crate::client::{config, start, Answer, Client, Running};
use crate::support::{until, UPGRADE};
use stompede::config::Config;
use stompede_core::http::forwarded::ClientHeader;

/// A server that believes proxies in `network`.
fn behind(network: &str, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = config();
    config.trusted_proxies = vec![network.parse().expect("a network")];
    change(&mut config);
    start(config)
}

fn forwarded_for(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

/// A connection of its own, upgraded for that client: what it got, and the connection.
fn upgrade(server: &Running, lines: &str) -> (u16, Client) {
    let mut client = Client::connect(server.http_address);
    client.send(format!("GET /ws HTTP/1.1\r\nHost: a\r\n{UPGRADE}{lines}\r\n"));
    (client.head().status, client)
}

fn get(client: &mut Client, lines: &str) -> Answer {
    client.get("/", lines)
}

#[test]
fn c21_each_client_of_a_trusted_proxy_has_its_own_connections() {
    let server = behind("127.0.0.0/8", |config| config.connections_per_ip_max = 2);
    let [one, other] = ["6.6.6.6, 192.0.2.1", "192.0.2.2:4711"].map(forwarded_for);
    // Idle connections of a proxy are nobody's, whoever asked through them before.
    let mut kept: Vec<Client> = (0..5).map(|_| Client::connect(server.http_address)).collect();
    for client in &mut kept {
        assert_eq!(get(client, &one).status, 200);
        assert_eq!(get(client, &other).status, 200);
    }
    let sockets = [upgrade(&server, &one), upgrade(&server, &one)];
    assert!(sockets.iter().all(|(status, _)| *status == 101));
    let (status, mut refused) = upgrade(&server, &one);
    assert_eq!(status, 503);
    refused.rest();
    // Requests count, too, as long as they take.
    let answer = get(&mut kept[0], &one);
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(get(&mut kept[1], &other).status, 200);
    assert_eq!(upgrade(&server, &other).0, 101);
    drop(sockets);
    until("the sockets to be counted off", || upgrade(&server, &one).0 == 101);
}

#[test]
fn c21_a_header_of_anybody_else_is_not_believed() {
    let server = behind("10.0.0.0/8", |config| config.connections_per_ip_max = 2);
    let sockets = ["192.0.2.1", "10.0.0.1"].map(|client| upgrade(&server, &forwarded_for(client)));
    assert!(sockets.iter().all(|(status, _)| *status == 101));
    assert_eq!(upgrade(&server, &forwarded_for("192.0.2.3")).0, 503);
}

#[test]
fn c21_without_a_readable_name_the_proxy_itself_counts() {
    let server = behind("127.0.0.1", |config| config.connections_per_ip_max = 1);
    let endless = forwarded_for(&"127.0.0.1,".repeat(500));
    let (status, first) = upgrade(&server, &forwarded_for("rubbish"));
    assert_eq!(status, 101);
    for lines in [&*endless, "", "X-Forwarded-For: \r\n", "Forwarded: for=192.0.2.9\r\n"] {
        assert_eq!(upgrade(&server, lines).0, 503, "{lines}");
    }
    assert_eq!(upgrade(&server, &forwarded_for("192.0.2.1")).0, 101);
    let malformed = "stompede_protocol_errors_total{protocol=\"http\",kind=\"malformed\"}";
    assert_eq!(server.metric(malformed), 2);
    drop(first);
    until("the proxy to be counted off", || upgrade(&server, &endless).0 == 101);
}

/// Catalogue: J02.
#[test]
fn c21_wrong_log_ins_are_held_against_the_client_and_not_the_proxy() {
    let server = behind("127.0.0.0/8", |config| {
        config.users = vec![("ann".to_owned(), "secret".to_owned())];
        config.login_failures_max = 1;
        config.client_header = ClientHeader::Forwarded;
    });
    let log_in = |client: &str, login: &str| {
        let lines = format!("Forwarded: for={client}\r\nAuthorization: Basic {login}\r\n");
        upgrade(&server, &lines).0
    };
    let (right, wrong) = ("YW5uOnNlY3JldA==", "YW5uOndyb25n");
    assert_eq!(log_in("192.0.2.1", wrong), 401);
    // A minute may end between two of them.
    until("the guesser to wait", || log_in("192.0.2.1", wrong) == 429);
    assert_eq!(log_in("192.0.2.2", right), 101);
    assert_eq!(log_in("192.0.2.2", wrong), 401);
}

#[test]
fn the_own_origin_has_the_scheme_that_a_trusted_proxy_tells() {
    let origin = "Origin: https://a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n";
    let plain = origin.replace("Proto: https", "Proto: http");
    let server = behind("127.0.0.0/8", |_| {});
    assert_eq!(upgrade(&server, origin).0, 101);
    assert_eq!(upgrade(&server, &plain).0, 403);
    let server = behind("10.0.0.0/8", |_| {});
    assert_eq!(upgrade(&server, origin).0, 403);
}
