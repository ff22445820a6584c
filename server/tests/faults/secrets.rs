//! What must not be in a log, at any level, and not in the metrics.

use crate::client::{http, Client};
use crate::server::{Log, Server, Start};
use std::collections::BTreeSet;

const TOKEN: &str = "tok-5b1c9e";
const PASSCODE: &str = "pass-77aa01";
/// `ann:pass-77aa01`.
const BASIC: &str = "YW5uOnBhc3MtNzdhYTAx";

#[test]
fn c27_j17_passcodes_tokens_and_cookies_are_in_no_log() {
    let start = Start { log: Log::Kept, ..Start::default() };
    let user = format!("ann:{PASSCODE}");
    let server = Server::start_in(start, &["--log-level", "trace", "--user", &user]);
    for passcode in [PASSCODE, TOKEN] {
        let mut client = Client::open(server.stomp);
        client.send(&format!(
            "CONNECT\naccept-version:1.2\nhost:/\nlogin:ann\npasscode:{passcode}\n\n\0"
        ));
        assert_eq!(client.frame().starts_with("CONNECTED"), passcode == PASSCODE);
        client.send(&format!("BAD\nauthorization:{TOKEN}\n\n\0"));
        client.read_to_end();
    }
    for target in ["/ws", "/sockjs/1/1/xhr", "/missing", "/sockjs/info"] {
        let answer = http(
            server.http,
            &format!(
                "GET {target}?access_token={TOKEN} HTTP/1.1\r\nHost: a\r\nCookie: id={TOKEN}\r\n\
                 Authorization: Basic {BASIC}\r\nConnection: close\r\n\r\n"
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    }
    assert_eq!(server.stop(), Some(0));
    let log = server.log();
    assert!(log.lines().count() > 5, "it says something: {log}");
    for secret in [TOKEN, PASSCODE, BASIC] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn k13_what_clients_name_makes_no_series() {
    let server = Server::start(&[]);
    let names = || -> BTreeSet<String> {
        let metrics = http(server.admin, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        let lines = metrics.lines().filter(|line| line.starts_with("stompede_"));
        lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    };
    let before = names();
    assert!(before.len() > 50, "{before:?}");
    for n in 0..20 {
        let mut client = Client::open(server.stomp);
        client.send(&format!("CONNECT\naccept-version:1.2\nhost:h{n}\nlogin:user{n}\n\n\0"));
        client.send(&format!("SUBSCRIBE\nid:id{n}\ndestination:/topic/name{n}\n\n\0"));
        client.send(&format!("SEND\ndestination:/queue/name{n}\nx{n}:y\nreceipt:r{n}\n\n\0"));
        client.send(&format!("COMMAND{n}\n\n\0"));
        assert!(client.read_to_end().contains("RECEIPT"));
        http(
            server.http,
            &format!("M{n} /path{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        );
    }
    assert_eq!(before, names());
    assert_eq!(server.stop(), Some(0));
}
