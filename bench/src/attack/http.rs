//! Attacks on the opening request (rows C and D).

use super::ground::Ground;
use super::peer::{frame, wrong, Peer, Told, Wrong};
use super::{closed, Attack, USUAL};
use crate::wire::stomp::connect_frame;
use crate::wire::websocket::websocket_key;
use std::net::{Ipv4Addr, TcpListener};

/// Refused with a status, counted, and the connection is closed.
const REFUSED: Attack =
    Attack { answer: "400 and the end", counter: closed!("http_error"), ..USUAL };

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        id: "C01",
        sends: "garbage, HTTP/0.9 and HTTP/3.0",
        run: |ground| refused(ground, 400, &["GET /\r\n\r\n", "\0\0", "GET / HTTP/3.0\r\n\r\n"]),
        ..REFUSED
    },
    Attack {
        id: "C02",
        sends: "POST and DELETE to the WebSocket path",
        answer: "405 with Allow",
        run: wrong_methods,
        ..REFUSED
    },
    Attack {
        id: "C03",
        sends: "an upgrade in HTTP/1.0",
        run: |ground| {
            let request = upgrade(ground, "").replace("HTTP/1.1", "HTTP/1.0");
            refused(ground, 400, &[&request])
        },
        ..REFUSED
    },
    Attack {
        id: "C04",
        sends: "a header that does not end",
        answer: "431 and the end at the limit",
        run: |ground| {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}", "a".repeat(100_000));
            refused(ground, 431, &[&head])
        },
        ..REFUSED
    },
    Attack {
        id: "C05",
        sends: "2000 headers",
        answer: "431 and the end",
        run: |ground| {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(2_000));
            refused(ground, 431, &[&head])
        },
        ..REFUSED
    },
    Attack {
        id: "C06",
        sends: "folded lines, blanks before colons, control bytes, bare CR and LF",
        run: |ground| {
            let lines = [
                "a: b\r\n c\r\n",
                "a : b\r\n",
                "a: b\0\r\n",
                "a: b\rc\r\n",
                "a: b\n",
                "\x7f: b\r\n",
            ];
            refused(ground, 400, &lines.map(request))
        },
        ..REFUSED
    },
    Attack {
        id: "C07",
        sends: "bodies whose end two parsers could see differently",
        run: |ground| {
            let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
            let lines = [
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                "Content-Length: 4\r\nContent-Length: 5\r\n",
                "Content-Length: +4\r\n",
                "Content-Length: 0x4\r\n",
                "Transfer-Encoding: chunked, identity\r\n",
            ];
            refused(ground, 400, &lines.map(|line| request(line) + smuggled))
        },
        ..REFUSED
    },
    Attack {
        id: "C08",
        sends: "an upgrade with a body",
        run: |ground| refused(ground, 400, &[&(upgrade(ground, "Content-Length: 4\r\n") + "abcd")]),
        ..REFUSED
    },
    Attack {
        id: "C09",
        sends: "no Host, two, and one with a user",
        run: |ground| {
            let [two, user] = ["Host: b\r\n", ""].map(request);
            let user = user.replace("Host: a", "Host: a@b");
            refused(ground, 400, &["GET / HTTP/1.1\r\n\r\n".into(), two, user])
        },
        ..REFUSED
    },
    Attack {
        id: "C10",
        sends: "thousands of subprotocols",
        run: |ground| {
            let line = format!("Sec-WebSocket-Protocol: {}\r\n", "a, ".repeat(2_000));
            refused(ground, 400, &[&upgrade(ground, &line)])
        },
        ..REFUSED
    },
    Attack {
        id: "C12",
        sends: "no key, two keys, keys that are not 16 bytes",
        run: |ground| {
            let whole = upgrade(ground, "");
            let key = websocket_key([7; 16]).0;
            let without = whole.replace("Sec-WebSocket-Key", "x-key");
            let two = upgrade(ground, &format!("Sec-WebSocket-Key: {key}\r\n"));
            let short = whole.replace(&key, "YWJj");
            refused(ground, 400, &[without, two, short])
        },
        ..REFUSED
    },
    Attack {
        id: "C13",
        sends: "WebSocket versions that are not 13",
        answer: "426 with the version that is spoken",
        run: |ground| {
            let whole = upgrade(ground, "");
            let other = |version: &str| whole.replace("Version: 13", version);
            let all = ["Version: 8", "Version: 0", "Version: 13, 8", "Other: 13"].map(other);
            refused(ground, 426, &all)
        },
        ..REFUSED
    },
    Attack {
        id: "C14",
        sends: "Upgrade without Connection, and Connection in odd case",
        answer: "the first is no upgrade, the second is one",
        run: odd_connections,
        ..REFUSED
    },
    Attack {
        id: "C15",
        sends: "a request behind an upgrade that is refused",
        answer: "400 and the end: it is never read as a request",
        run: |ground| {
            let bad = upgrade(ground, "").replace("Sec-WebSocket-Key", "x-key");
            let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
            refused(ground, 400, &[&(bad + next)])
        },
        ..REFUSED
    },
    Attack {
        id: "C16",
        sends: "origins of other sites, null, and two of them",
        answer: "403 and the end",
        run: |ground| {
            let host = &ground.target.host;
            let lines = [
                format!("Origin: http://{host}.evil.example\r\n"),
                format!("Origin: http://evil{host}\r\n"),
                format!("Origin: http://{host}\r\nOrigin: https://evil.example\r\n"),
                "Origin: null\r\n".to_owned(),
            ];
            refused(ground, 403, &lines.map(|lines| upgrade(ground, &lines)))
        },
        ..REFUSED
    },
    Attack {
        id: "C17",
        sends: "an upgrade of no page, with cookies that name the user",
        answer: "no cookie logs anybody in",
        counter: closed!("login_failed"),
        run: cookies,
        ..REFUSED
    },
    Attack {
        id: "C19",
        sends: "paths that climb, hide, or hold NUL",
        answer: "400 and the end, or 404, never a file",
        run: paths,
        ..REFUSED
    },
    Attack {
        id: "C21",
        sends: "forged X-Forwarded-For and PROXY lines, one and a thousand",
        answer: "one changes nothing, a thousand are 431, and PROXY is 400",
        run: |ground| {
            let forged = "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1;proto=https\r\n";
            ground.open()?.upgrade(forged)?;
            let long = format!("X-Forwarded-For: {}\r\n", "10.0.0.1, ".repeat(1_000));
            refused(ground, 431, &[request(&long)])?;
            let proxied = format!("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n{}", request(""));
            refused(ground, 400, &[proxied])?;
            Ok(2)
        },
        ..REFUSED
    },
    Attack {
        id: "C22",
        sends: "requests for another server's address, and CONNECT to it",
        answer: "an error, and nobody connects there",
        counter: "",
        run: proxying,
        ..REFUSED
    },
    Attack {
        id: "C25",
        sends: "a thousand requests in one write",
        answer: "all are answered in order",
        counter: "",
        run: pipeline,
        ..REFUSED
    },
    Attack {
        id: "C28",
        sends: "subprotocols with line ends and angle brackets",
        answer: "only names of the server's own are echoed",
        counter: "",
        run: |ground| {
            let head = ground.open()?.upgrade("Sec-WebSocket-Protocol: <b>evil\r\n");
            match head {
                Ok(head) if head.contains("evil") => wrong("the client's text is echoed"),
                _ => Ok(0),
            }
        },
        ..REFUSED
    },
    Attack {
        id: "D01",
        sends: "the preface of HTTP/2 and a flood of resets",
        run: |ground| {
            let frames = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8].repeat(1_000);
            let mut peer = ground.open()?;
            peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            peer.send(frames);
            peer.expect_status(400)?;
            Ok(1)
        },
        ..REFUSED
    },
    Attack {
        id: "D02",
        sends: "the preface of HTTP/2 and a flood of CONTINUATION",
        run: |ground| {
            let begun = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
            let more = [0, 0, 1, 9, 0, 0, 0, 0, 1, 0x40].repeat(10_000);
            let mut peer = ground.open()?;
            peer.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &begun[..], &more].concat());
            peer.expect_status(400)?;
            Ok(1)
        },
        ..REFUSED
    },
    Attack {
        id: "D03",
        sends: "an upgrade to h2c",
        answer: "an answer of HTTP/1.1",
        counter: "",
        run: |ground| {
            let mut peer = ground.open()?;
            peer.send(request("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"));
            match peer.head()? {
                (101, _) => wrong("it switches to h2c"),
                _ => Ok(0),
            }
        },
        ..REFUSED
    },
];

/// A request with extra header lines.
fn request(lines: &str) -> String {
    format!("GET /attack.missing HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// An upgrade request with extra header lines.
fn upgrade(ground: &Ground, lines: &str) -> String {
    let (path, host, key) = (&ground.target.path, &ground.target.host, websocket_key([7; 16]).0);
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{lines}\r\n"
    )
}

/// Each of `requests` gets this status once, and then the end.
fn refused(ground: &Ground, status: u16, requests: &[impl AsRef<str>]) -> Told<u64> {
    for request in requests {
        let mut peer = ground.open()?;
        peer.send(request.as_ref());
        let head = peer.expect_status(status)?;
        peer.body(&head)?;
        peer.finish();
        peer.expect_silent_end()?;
    }
    Ok(requests.len() as u64)
}

fn wrong_methods(ground: &Ground) -> Told<u64> {
    let (path, host) = (&ground.target.path, &ground.target.host);
    for method in ["POST", "DELETE"] {
        let mut peer = ground.open()?;
        peer.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        if !peer.expect_status(405)?.to_ascii_lowercase().contains("\r\nallow:") {
            return wrong("405 without Allow");
        }
    }
    Ok(2)
}

fn cookies(ground: &Ground) -> Told<u64> {
    let Some((name, passcode)) = &ground.login else {
        return Err(Wrong::NotOffered("no --login, so perhaps everybody may come in"));
    };
    let mut peer = ground.open()?;
    peer.upgrade(&format!(
        "Cookie: login={name}; passcode={passcode}; user={name}; JSESSIONID={name}\r\n"
    ))?;
    peer.send_stomp(connect_frame("1.2", &ground.target.host, None, "0,0"));
    peer.expect_stomp("ERROR", "message:")?;
    peer.finish();
    peer.expect_end().map(|_| 1)
}

/// A server that asks the one that it is asked for would be seen: it is ours.
fn proxying(ground: &Ground) -> Told<u64> {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    other.set_nonblocking(true)?;
    let address = other.local_addr()?;
    let upgrade = upgrade(ground, "").replacen(&ground.target.path, "/attack.missing", 1);
    let requests = [
        format!("GET http://{address}/attack.missing HTTP/1.1\r\nHost: {address}\r\n\r\n"),
        upgrade.replacen("GET ", &format!("GET http://{address}"), 1),
        format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
        format!("GET /attack.missing?url=http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    ];
    for request in requests {
        let mut peer = ground.open()?;
        peer.send(&request);
        match peer.head()?.0 {
            400.. => {}
            status => return wrong(format!("status {status} for {request:.40}")),
        }
    }
    match other.accept() {
        Err(_) => Ok(0),
        Ok(_) => wrong("it connected to the address that a client named"),
    }
}

fn odd_connections(ground: &Ground) -> Told<u64> {
    let whole = upgrade(ground, "");
    let answer = |request: String| -> Told<u16> {
        let mut peer = ground.open()?;
        peer.send(request);
        Ok(peer.head()?.0)
    };
    if answer(whole.replace("Connection: Upgrade", "Connection: keep-alive"))? == 101 {
        return wrong("an upgrade without Connection: Upgrade");
    }
    let odd = whole.replace("Connection: Upgrade", "Connection: keep-alive, uPGRADE");
    match answer(odd.replace("Upgrade: websocket", "Upgrade: WebSocket"))? {
        101 => Ok(1),
        status => wrong(format!("status {status} for odd case")),
    }
}

fn paths(ground: &Ground) -> Told<u64> {
    let targets = [
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..;/admin",
        "/%00",
        "/.git/config",
        "/%c0%ae%c0%ae/x",
        "/metrics",
    ];
    let mut refused_count = 0;
    for target in targets {
        let mut peer = ground.open()?;
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        match peer.head()?.0 {
            400 => refused_count += 1,
            404 => {}
            status => return wrong(format!("status {status} for {target}")),
        }
    }
    Ok(refused_count)
}

fn pipeline(ground: &Ground) -> Told<u64> {
    let mut peer = ground.open()?;
    let mut writer = peer.stream.try_clone()?;
    let requests = request("").repeat(999);
    let sent = std::thread::spawn(move || {
        // A server that closes shows in the answers.
        let _ = std::io::Write::write_all(&mut writer, requests.as_bytes());
    });
    for _ in 0..999 {
        next_is_404(&mut peer)?;
    }
    let _ = sent.join();
    peer.send(request("Connection: close\r\n"));
    next_is_404(&mut peer)?;
    // What comes behind the last one is not read.
    peer.send(frame(0x81, b"\n"));
    peer.expect_silent_end().map(|()| 0)
}

fn next_is_404(peer: &mut Peer<'_>) -> Told {
    let head = peer.expect_status(404)?;
    peer.body(&head).map(drop)
}
