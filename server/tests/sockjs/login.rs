//! HTTP Basic on the transports of a session, and how many sessions an address may have.

use crate::client::{basic, config, exchange, request, start, Answer, Running, SHARDS};
use crate::support::until;
use std::sync::{Arc, Mutex};
use stompede::config::Config;
use stompede::handler::{Handler, Message, Session};
use stompede::metrics::{AuthMethod, AuthResult};
use stompede::Server;

const CONNECT: &str = r#"["CONNECT\naccept-version:1.2\nhost:a\n\n\u0000"]"#;

fn post(server: &Running, path: &str, lines: &str, body: &str) -> Answer {
    exchange(server.http_address, &request("POST", path, lines, body))
}

fn with_users(config: Config) -> Config {
    Config { users: vec![("ann".to_owned(), "secret".to_owned())], ..config }
}

/// `ann` with `secret` may log in: by whatever transport the session is opened.
fn check_login(server: &Running) {
    let ann = basic("ann:secret");
    for (index, opening) in ["xhr", "xhr_streaming"].into_iter().enumerate() {
        let base = format!("/sockjs/000/login{index}");
        let mut opened = post(server, &format!("{base}/{opening}"), &ann, "");
        assert_eq!(opened.status, 200, "{:?}", *opened);
        if opening == "xhr" {
            assert_eq!(opened.body(), "o\n");
        } else {
            assert_eq!((opened.chunk().len(), opened.chunk()), (2049, "o\n".to_owned()));
        }
        let sent = post(server, &format!("{base}/xhr_send"), &ann, CONNECT);
        assert_eq!(sent.status, 204);
        let frame = match opening {
            "xhr" => post(server, &format!("{base}/xhr"), &ann, "").body(),
            _ => opened.chunk(),
        };
        assert!(frame.contains(r"CONNECTED\n") && frame.contains(r"user-name:ann\n"), "{frame}");
        // The session is that login's: to all others it does not exist.
        for stranger in ["", &*basic("ann:x"), &*basic("bob:secret")] {
            for request in ["xhr", "xhr_send", "xhr_streaming"] {
                let answer = post(server, &format!("{base}/{request}"), stranger, r#"["x"]"#);
                assert_eq!(answer.status, 404, "{request} {stranger}");
            }
        }
    }
    for (index, login) in ["ann:x", "bob:secret", "ann", ""].into_iter().enumerate() {
        let refused = post(server, &format!("/sockjs/000/no{index}/xhr"), &basic(login), "");
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"stompede\""));
        // No session is left of it.
        let sent = post(server, &format!("/sockjs/000/no{index}/xhr_send"), "", "[]");
        assert_eq!(sent.status, 404);
    }
    let two = post(server, "/sockjs/000/two/xhr", &format!("{ann}{ann}"), "");
    assert_eq!(two.status, 400);
    // Without the header, CONNECT has to log in.
    let session = server.session("/sockjs").open();
    session.send(CONNECT);
    assert!(session.poll().starts_with(r#"a["ERROR"#));
}

/// Catalogue: G06, G07.
#[test]
fn who_opens_a_session_logs_in() {
    for shards in SHARDS {
        check_login(&start(with_users(config(shards))));
    }
}

#[test]
fn a_password_hash_is_computed_once_for_a_session() {
    let path = std::env::temp_dir().join(format!("stompede-sockjs-users-{}", std::process::id()));
    let line = stompede::auth::hash_line("ann", "secret").expect("hashed");
    std::fs::write(&path, line + "\n").expect("written");
    let server = start(Config { users_file: Some(path.clone()), ..config(4) });
    std::fs::remove_file(&path).expect("removed");
    check_login(&server);
    let accepted = || server.sum(4, |m| m.auth_count(AuthMethod::Basic, AuthResult::Accepted));
    let before = accepted();
    for _ in 0..3 {
        let sent = post(&server, "/sockjs/000/login0/xhr_send", &basic("ann:secret"), r#"["\n"]"#);
        assert_eq!(sent.status, 204);
    }
    assert_eq!(accepted(), before);
}

#[test]
fn a_login_means_nothing_where_everybody_may_log_in() {
    let server = start(config(2));
    assert_eq!(post(&server, "/echo/000/any/xhr", &basic("ann:x"), "").body(), "o\n");
    assert_eq!(post(&server, "/echo/000/any/xhr_send", "", r#"["x"]"#).status, 204);
}

#[test]
fn a_handler_knows_who_logged_in() {
    struct Who(Arc<Mutex<Vec<Option<String>>>>);
    impl Handler for Who {
        fn on_open(&mut self, session: &mut Session<'_>) {
            self.0.lock().expect("whole").push(session.user().map(str::to_owned));
        }
        fn on_message(&mut self, _: &mut Session<'_>, _: Message<'_>) {}
    }
    for shards in SHARDS {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (shared, config) = (seen.clone(), with_users(config(shards)));
        let builder = Server::builder(config).endpoint("/who", move |_| Who(shared.clone()));
        let server = Running::of(builder);
        assert_eq!(post(&server, "/who/0/a/xhr", &basic("ann:secret"), "").body(), "o\n");
        assert_eq!(post(&server, "/who/0/b/xhr", "", "").body(), "o\n");
        assert_eq!(*seen.lock().expect("whole"), [Some("ann".to_owned()), None]);
    }
}

#[test]
fn sessions_of_one_address_are_limited_over_all_shards() {
    for shards in SHARDS {
        let mut config = config(shards);
        config.sockjs_sessions_per_ip_max = 3;
        let server = start(config);
        let mut streams = [(); 3].map(|()| server.session("/echo").stream());
        for stream in &mut streams {
            assert_eq!(stream.chunk(), "o\n");
        }
        for path in ["xhr", "xhr_streaming"] {
            let mut refused = server.session("/echo").post(path, "");
            assert_eq!((refused.status, &*refused.body()), (503, "Too many sessions."));
        }
        assert_eq!(server.sum(shards, |m| m.sockjs_sessions_refused.get()), 2);
        // What ended does not count, even while it is remembered.
        drop(streams);
        until("room", || server.session("/echo").post("xhr", "").status == 200);
    }
}
