//! Attacks on SockJS: its paths, its sessions and its bodies (rows G).

use super::ground::Ground;
use super::peer::{wrong, Heard, Told, Wrong};
use super::{closed, sockjs_refused, Attack, USUAL};
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        id: "G01",
        sends: "upgrades to paths that are no WebSocket",
        answer: "an error status, and the server lives",
        run: |ground| {
            for path in ["/upgrade", "/info", "/000/g01/xhr", "/000/g01/xhr_send"] {
                let lines = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
                let request = ground.sockjs_request("GET", path, "")?;
                let mut peer = ground.open()?;
                peer.send(request.replacen("\r\n", &format!("\r\n{lines}"), 1));
                if peer.head()?.0 == 101 {
                    return wrong(format!("{path} upgrades"));
                }
            }
            Ok(0)
        },
        ..USUAL
    },
    Attack {
        id: "G02",
        sends: "names of sessions with dots, too long, or empty",
        answer: "404",
        counter: sockjs_refused!("unsupported"),
        run: |ground| {
            let long = format!("/000/{}/xhr", "a".repeat(1_000));
            let paths = ["/000/a.b/xhr", "/0.0/ab/xhr", "/000//xhr", "//ab/xhr", &long];
            for path in paths {
                is_status(ground, path, "", 404)?;
            }
            Ok(paths.len() as u64)
        },
        ..USUAL
    },
    Attack {
        id: "G03",
        sends: "2000 sessions that are opened and left",
        answer: "each costs little, and all are ended",
        counter: closed!("session_expired"),
        growth_bytes_max: 32 << 20,
        run: |ground| {
            let mut opened = 0;
            for _ in 0..4 {
                let mut peer = ground.open()?;
                let mut ask = |method, path: &str| {
                    peer.send(ground.sockjs_request(method, path, "")?);
                    let (status, head) = peer.head()?;
                    peer.body(&head).map(|_| u64::from(status == 200))
                };
                for _ in 0..500 {
                    opened += ask("POST", &format!("/000/{}/xhr", ground.name()))?;
                }
                // Behind this answer the last session is left, and not broken off.
                ask("GET", "/info")?;
            }
            Ok(opened)
        },
    },
    Attack {
        id: "G04",
        sends: "messages to sessions that are not there, or another endpoint's",
        answer: "404",
        counter: sockjs_refused!("state"),
        run: |ground| {
            for _ in 0..50 {
                let path = format!("/000/{}/xhr_send", ground.name());
                is_status(ground, &path, "[\"x\"]", 404)?;
            }
            Ok(50)
        },
        ..USUAL
    },
    Attack {
        id: "G05",
        sends: "a second receiver of a session that has one",
        answer: "c[2010], and the first stays",
        run: second_receiver,
        ..USUAL
    },
    Attack {
        id: "G10",
        sends: "callbacks that are script",
        answer: "an error status, and the script is not echoed",
        run: |ground| {
            for path in ["jsonp", "htmlfile"] {
                for callback in ["alert(1)//", "%3C/script%3E", "a%0d%0aX:y"] {
                    let path = format!("/000/{}/{path}?c={callback}", ground.name());
                    let (status, body) = ground.sockjs("GET", &path, "")?;
                    if status == 200 || body.contains("alert") || body.contains("</script>") {
                        return wrong(format!("status {status} for {path}"));
                    }
                }
            }
            Ok(0)
        },
        ..USUAL
    },
    Attack {
        id: "G13",
        sends: "bodies that are broken, deep, no array, or too long",
        answer: "500 or 413, and the session goes on",
        counter: sockjs_refused!("malformed"),
        run: broken_bodies,
        ..USUAL
    },
    Attack {
        id: "G17",
        sends: "requests of other sites, with credentials",
        answer: "403, and their origin is not allowed",
        run: |ground| {
            for origin in ["https://evil.example", "null"] {
                let request = ground.sockjs_request("GET", "/info", "")?;
                let lines = format!("\r\nOrigin: {origin}\r\nCookie: a=b\r\n");
                let mut peer = ground.open()?;
                peer.send(request.replacen("\r\n", &lines, 1));
                let head = peer.expect_status(403)?.to_ascii_lowercase();
                if head.contains("access-control-allow-origin: http") {
                    return wrong("a strange origin is allowed");
                }
            }
            Ok(0)
        },
        ..USUAL
    },
    Attack {
        id: "G22",
        sends: "WebSocket messages that are no SockJS payload",
        answer: "empty ones are passed over, bad ones end the connection",
        counter: closed!("sockjs_error"),
        run: bad_messages,
        ..USUAL
    },
];

fn is_status(ground: &Ground, path: &str, body: &str, expected: u16) -> Told {
    match ground.sockjs("POST", path, body)?.0 {
        status if status == expected => Ok(()),
        status => wrong(format!("status {status} for {path:.40}")),
    }
}

/// A session of long polls, opened.
fn session(ground: &Ground) -> Told<String> {
    let base = format!("/000/{}", ground.name());
    match ground.sockjs("POST", &format!("{base}/xhr"), "")? {
        (200, body) if body == "o\n" => Ok(base),
        (404, _) => Err(Wrong::NotOffered("no SockJS by long polls")),
        other => wrong(format!("{other:?} instead of an open frame")),
    }
}

fn second_receiver(ground: &Ground) -> Told<u64> {
    let base = session(ground)?;
    let mut receivers = [ground.open()?, ground.open()?];
    for receiver in &mut receivers {
        receiver.send(ground.sockjs_request("POST", &format!("{base}/xhr"), "")?);
        receiver.stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    }
    // On two connections either may come first: the one that is answered at once was the second.
    let until = Instant::now() + ground.patience;
    while receivers[1].stream.peek(&mut [0]).is_err() {
        if Instant::now() > until {
            return wrong("both receivers wait");
        }
        receivers.swap(0, 1);
    }
    for receiver in &mut receivers {
        receiver.stream.set_read_timeout(Some(ground.patience))?;
    }
    let [mut first, mut second] = receivers;
    let head = second.expect_status(200)?;
    match second.body(&head)? {
        body if body.starts_with("c[2010,") => {}
        body => return wrong(format!("`{}` instead of c[2010", body.escape_debug())),
    }
    let connect = r#"["CONNECT\naccept-version:1.2\nhost:/\n\n\u0000"]"#;
    is_status(ground, &format!("{base}/xhr_send"), connect, 204)?;
    let head = first.expect_status(200)?;
    match first.body(&head)? {
        body if body.starts_with("a[\"") => Ok(0),
        body => wrong(format!("`{}` for the first", body.escape_debug())),
    }
}

fn broken_bodies(ground: &Ground) -> Told<u64> {
    let base = session(ground)?;
    let send = format!("{base}/xhr_send");
    let nested = "[".repeat(50_000);
    let bodies = ["", "{}", "[\"x", "[1]", "[\"\\ud800\"]", "[\"x\"]x", &nested];
    for body in bodies {
        is_status(ground, &send, body, 500)?;
    }
    let mut peer = ground.open()?;
    let request = ground.sockjs_request("POST", &send, "")?;
    peer.send(request.replace("Content-Length: 0", "Content-Length: 100000000"));
    peer.expect_status(413)?;
    is_status(ground, &send, r#"["\n"]"#, 204).map(|()| bodies.len() as u64)
}

fn bad_messages(ground: &Ground) -> Told<u64> {
    let bad: [&[u8]; 3] = [b"nonsense", b"[1]", b"[\"x"];
    for payload in bad {
        let path = ground.sockjs_path(&format!("/000/{}/websocket", ground.name()))?;
        let mut peer = ground.open()?;
        peer.upgrade_to(&path, "")?;
        match peer.hear()? {
            Heard::Frame(0x81, open) if open == b"o" => {}
            other => return wrong(format!("{other:?} instead of an open frame")),
        }
        peer.send_stomp("");
        peer.send_stomp(payload);
        peer.expect_end()?;
    }
    Ok(bad.len() as u64)
}
