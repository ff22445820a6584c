//! The table of bad input: what a client sends, and exactly what it gets.
//!
//! Each row opens a connection, sends its bytes in one piece and compares the answers, over TCP
//! and over WebSocket. "If the server cannot successfully process the frame ... the server MUST
//! close the connection just after sending the ERROR frame" (STOMP 1.2, ERROR): every row that ends
//! also proves that the ERROR arrives, that nothing follows it, and which close code the WebSocket
//! gets. A row that does not end proves that the session still works.

use super::client::{Client, Event, Frame, Transport};
use super::everywhere;

/// What was agreed before the row's bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given {
    /// Nothing: the row's bytes are the first ones.
    Nothing,
    /// A session of this version.
    Version(&'static str),
    /// A session of this version with subscription `s` to `/topic/own`.
    Subscribed(&'static str),
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// It goes on.
    Stays,
    /// It ends; over WebSocket with this code.
    Ends(u16),
}

use End::{Ends, Stays};
use Given::{Nothing, Subscribed, Version};

const V10: Given = Version("1.0");
const V11: Given = Version("1.1");
const V12: Given = Version("1.2");
/// SENDs go to the row's own subscription.
const OWN: [Given; 3] = [Subscribed("1.0"), Subscribed("1.1"), Subscribed("1.2")];

/// One row: the name says which line of the table of bad input it is.
pub struct Row {
    pub name: &'static str,
    pub given: Given,
    pub sent: Vec<u8>,
    /// In order. Each is the command, then what the frame must contain; `!` before it: must not.
    pub answers: Vec<&'static str>,
    pub end: End,
}

/// A row that is answered and goes on.
pub fn row(
    name: &'static str,
    given: Given,
    sent: impl AsRef<[u8]>,
    answers: &[&'static str],
    end: End,
) -> Row {
    Row { name, given, sent: sent.as_ref().to_vec(), answers: answers.to_vec(), end }
}

/// A row that is answered with an ERROR.
pub fn bad(
    name: &'static str,
    given: Given,
    sent: impl AsRef<[u8]>,
    error: &'static str,
    code: u16,
) -> Row {
    row(name, given, sent, &[error], Ends(code))
}

fn send(headers: &str, body: &str) -> String {
    format!("SEND\ndestination:/topic/own\n{headers}\n{body}\0")
}

fn openings() -> Vec<Row> {
    let many: String = (0..5_000).map(|n| format!("h{n}:v\n")).collect();
    let long = format!("CONNECT\nx:{}\n\n\0", "x".repeat(200_000));
    let connect = |headers: &str| format!("CONNECT\n{headers}\n\0");
    vec![
        bad(
            "1 SEND first",
            Nothing,
            send("", ""),
            "ERROR|message:You must log in using CONNECT",
            1002,
        ),
        bad(
            "4 no LF",
            Nothing,
            "A".repeat(65_536),
            "ERROR|message:Command too long|limit is 32",
            1009,
        ),
        bad(
            "5 5000 headers",
            Nothing,
            connect(&many),
            "ERROR|message:Too many headers|limit is 128",
            1009,
        ),
        bad("6 200 KB header", Nothing, long, "ERROR|message:Frame too large|limit is 16384", 1009),
        row(
            "7 no accept-version",
            Nothing,
            connect(""),
            &["CONNECTED|version:1.0\n|heart-beat:0,0"],
            Stays,
        ),
        bad(
            "8 unknown version",
            Nothing,
            connect("accept-version:9.9\n"),
            "ERROR|version:1.0,1.1,1.2\n|content-type:text/plain|versions are 1.0,1.1,1.2\n",
            1002,
        ),
        row(
            "9 spaces",
            Nothing,
            connect("accept-version:1.0, 1.1, 1.2\n"),
            &["CONNECTED|version:1.2"],
            Stays,
        ),
        row(
            "10 repeats",
            Nothing,
            connect("accept-version:1.1,9,1.1,1.0\n"),
            &["CONNECTED|version:1.1"],
            Stays,
        ),
        row(
            "11 no host",
            Nothing,
            connect("accept-version:1.2\n"),
            &["CONNECTED|version:1.2"],
            Stays,
        ),
        row(
            "12 unknown host",
            Nothing,
            connect("accept-version:1.2\nhost:mars\n"),
            &["CONNECTED"],
            Stays,
        ),
        bad("13 lower case", Nothing, "connect\n\n\0", "ERROR|message:Bad command|connect", 1002),
        row(
            "STOMP is CONNECT",
            Nothing,
            "STOMP\naccept-version:1.2\nhost:/\n\n\0",
            &["CONNECTED"],
            Stays,
        ),
        bad(
            "16 abc",
            Nothing,
            connect("accept-version:1.2\nheart-beat:abc\n"),
            "ERROR|Bad heart-beat",
            1002,
        ),
        bad(
            "16 0",
            Nothing,
            connect("accept-version:1.2\nheart-beat:0\n"),
            "ERROR|Bad heart-beat",
            1002,
        ),
        bad(
            "16 1,2,3",
            Nothing,
            connect("accept-version:1.2\nheart-beat:1,2,3\n"),
            "ERROR|Bad heart-beat",
            1002,
        ),
        bad(
            "17 negative",
            Nothing,
            connect("accept-version:1.2\nheart-beat:-1,5\n"),
            "ERROR|Bad heart-beat",
            1002,
        ),
        bad(
            "18 20 digits",
            Nothing,
            connect("accept-version:1.2\nheart-beat:12345678901234567890,0\n"),
            "ERROR|Bad heart-beat",
            1002,
        ),
        row(
            "19 floor",
            Nothing,
            connect("accept-version:1.2\nheart-beat:10,10\n"),
            &["CONNECTED|heart-beat:1000,1000"],
            Stays,
        ),
        row(
            "20 receipt",
            Nothing,
            connect("accept-version:1.2\nreceipt:r\n"),
            &["CONNECTED|!receipt"],
            Stays,
        ),
        row("21 body in 1.0", Nothing, "CONNECT\n\nbody\0", &["CONNECTED|version:1.0"], Stays),
        bad(
            "21 body in 1.1",
            Nothing,
            "CONNECT\naccept-version:1.1\n\nbody\0",
            "ERROR|Body not allowed",
            1002,
        ),
        bad(
            "21 body in 1.2",
            Nothing,
            "CONNECT\naccept-version:1.2\n\nbody\0",
            "ERROR|Body not allowed",
            1002,
        ),
        row(
            "22 literal",
            Nothing,
            connect("accept-version:1.2\nlogin:a\\t\\\nx:\t\n"),
            &["CONNECTED"],
            Stays,
        ),
        row("23 leading EOLs", Nothing, "\n\r\n\0CONNECT\n\n\0", &["CONNECTED"], Stays),
        row(
            "CRLF",
            Nothing,
            "CONNECT\r\naccept-version:1.2\r\n\r\n\0\r\n",
            &["CONNECTED|version:1.2"],
            Stays,
        ),
        bad("lone CR", Nothing, "\rCONNECT\n\n\0", "ERROR|Carriage return", 1002),
        row(
            "80 CONNECT, then rubbish",
            Nothing,
            "CONNECT\naccept-version:1.2\n\n\0RUBBISH\n\n\0",
            &["CONNECTED", "ERROR|Bad command|RUBBISH"],
            Ends(1002),
        ),
    ]
}

fn malformed() -> Vec<Row> {
    let mut rows = vec![
        bad(
            "25 CONNECT again",
            V12,
            "CONNECT\naccept-version:1.2\n\n\0",
            "ERROR|Already connected",
            1002,
        ),
        bad("25 STOMP again", V10, "STOMP\n\n\0", "ERROR|Already connected", 1002),
        bad(
            "28 FOO",
            V12,
            "FOO\nreceipt:r\n\n\0",
            "ERROR|message:Bad command|receipt-id:r\n|FOO",
            1002,
        ),
        bad(
            "88 echo is escaped",
            V12,
            "F\x07\x1b[1mO\n\n\0",
            "ERROR|F\\u{7}\\u{1b}[1mO|!\x1b",
            1002,
        ),
        bad("32 \\t in 1.1", V11, send("x:a\\tb\n", ""), "ERROR|Undefined escape", 1002),
        bad("32 \\t in 1.2", V12, send("x:a\\tb\n", ""), "ERROR|Undefined escape", 1002),
        row("33 \\t in 1.0", OWN[0], send("x:a\\tb\n", ""), &["MESSAGE|x:a\\tb\n"], Stays),
        row("34 lone \\ in 1.0", OWN[0], send("x:a\\\n", ""), &["MESSAGE|x:a\\\n"], Stays),
        bad("34 lone \\ in 1.1", V11, send("x:a\\\n", ""), "ERROR|Undefined escape", 1002),
        bad("34 lone \\ in 1.2", V12, send("x:a\\\n", ""), "ERROR|Undefined escape", 1002),
        bad("35 CR in 1.2", V12, send("x:a\rb\n", ""), "ERROR|Carriage return", 1002),
        row("35 CR in 1.1", OWN[1], send("x:a\rb\n", ""), &["MESSAGE|x:a b\n"], Stays),
        row(
            "37 binary body",
            OWN[2],
            b"SEND\ndestination:/topic/own\n\n\xff\xfe\0",
            &["MESSAGE|content-length:2\n"],
            Stays,
        ),
        bad("38 negative", V12, send("content-length:-1\n", ""), "ERROR|Bad content-length", 1002),
        bad("39 words", V12, send("content-length:abc\n", ""), "ERROR|Bad content-length", 1002),
        bad(
            "40 too small",
            V12,
            send("content-length:2\nreceipt:r\n", "hello"),
            "ERROR|Frame does not end in NUL|receipt-id:r\n|after the 2 bytes",
            1002,
        ),
        bad(
            "41 too large",
            V12,
            format!("{}SEND\ndestination:/topic/own\n\n\0", send("content-length:9\n", "hello")),
            "ERROR|Frame does not end in NUL",
            1002,
        ),
        bad(
            "42 10^12",
            V12,
            send("content-length:1000000000000\n", ""),
            "ERROR|Frame too large",
            1009,
        ),
        bad(
            "43 2^64+1",
            V12,
            send("content-length:18446744073709551617\n", ""),
            "ERROR|Bad content-length",
            1002,
        ),
        row(
            "44 first wins",
            OWN[2],
            send("content-length:2\ncontent-length:9\n", "hi"),
            &["MESSAGE|\n\nhi"],
            Stays,
        ),
        row(
            "45 NUL in body",
            OWN[2],
            send("receipt:r\n", "ab\0cd\nef"),
            &["MESSAGE|\n\nab", "RECEIPT", "ERROR|Bad command|cd"],
            Ends(1002),
        ),
        bad(
            "51 body over the limit, announced",
            V12,
            send("content-length:2000000\nreceipt:r\n", ""),
            "ERROR|Frame too large|receipt-id:r\n|limit is 1048576",
            1009,
        ),
        bad(
            "51 body over the limit",
            V12,
            send("", &"x".repeat(1_100_000)),
            "ERROR|Frame too large|limit is 1048576",
            1009,
        ),
    ];
    for given in [V10, V11, V12] {
        for (name, frame, error) in [
            ("30 no colon", &b"SEND\ndestination\n\n\0"[..], "ERROR|Header without colon"),
            ("31 no name", b"SEND\n:x\n\n\0", "ERROR|Empty header name"),
            ("36 not UTF-8", b"SEND\ndestination:/topic/own\nx:\xff\n\n\0", "ERROR|not UTF-8"),
        ] {
            rows.push(bad(name, given, frame, error, 1002));
        }
    }
    for (name, frame) in [
        ("29 CONNECTED", "CONNECTED\nversion:1.2\n\n\0"),
        ("29 MESSAGE", "MESSAGE\ndestination:/topic/own\n\nx\0"),
        ("29 RECEIPT", "RECEIPT\nreceipt-id:1\n\n\0"),
        ("29 ERROR", "ERROR\n\n\0"),
    ] {
        rows.push(bad(name, V12, frame, "ERROR|Command is for servers only", 1002));
    }
    for (name, frame) in [
        ("46 SUBSCRIBE", "SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:r\n\nbody\0"),
        ("46 BEGIN", "BEGIN\ntransaction:1\nreceipt:r\n\nbody\0"),
    ] {
        rows.push(row(name, V10, frame, &["RECEIPT|receipt-id:r\n"], Stays));
        rows.push(bad(name, V11, frame, "ERROR|Body not allowed|receipt-id:r\n", 1002));
        rows.push(bad(name, V12, frame, "ERROR|Body not allowed|receipt-id:r\n", 1002));
    }
    rows
}

fn destinations() -> Vec<Row> {
    let to = |destination: &str| format!("SEND\ndestination:{destination}\nreceipt:r\n\n\0");
    let deep = format!("/topic{}", "/**".repeat(1_000));
    let wild = format!("/topic{}", "/**".repeat(20));
    let nested = format!("{}a = 1{}", "(".repeat(7_000), ")".repeat(7_000));
    let deeper = format!("{}a = 1{}", "(".repeat(1_000), ")".repeat(1_000));
    let to_queue =
        |line: &str| format!("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n{line}\n\0");
    let selector = |text: &str| {
        let head = "SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:r";
        format!("{head}\nselector:{text}\n\n\0")
    };
    let subscribe = |headers: &str| format!("SUBSCRIBE\n{headers}receipt:r\n\n\0");
    let mut rows = vec![
        bad(
            "47 no destination",
            V12,
            "SEND\nreceipt:r\n\nx\0",
            "ERROR|Missing destination|receipt-id:r\n",
            1002,
        ),
        bad("48 empty", V12, to(""), "ERROR|Invalid destination|receipt-id:r\n", 1002),
        bad(
            "48 only a prefix",
            V12,
            to("/topic/"),
            "ERROR|Invalid destination|receipt-id:r\n",
            1002,
        ),
        bad(
            "49 no such prefix",
            V12,
            to("/nowhere/a"),
            "ERROR|Unknown destination|receipt-id:r\n|known are /topic/, /queue/, /user/ and /app/",
            1002,
        ),
        bad(
            "49 no prefix",
            V12,
            to("topic"),
            "ERROR|Unknown destination|receipt-id:r\n|known are /topic/",
            1002,
        ),
        bad(
            "49 no service",
            V12,
            to("/app/x"),
            "ERROR|Unknown destination|receipt-id:r\n|no handler or service is there",
            1002,
        ),
        bad(
            "SEND to a temporary queue",
            V12,
            to("/temp-queue/x"),
            "ERROR|message:Invalid destination|in the reply-to header",
            1002,
        ),
        bad(
            "SEND to a pattern of queues",
            V12,
            to("/queue/*"),
            "ERROR|message:Cannot send to a pattern|receipt-id:r\n",
            1002,
        ),
        bad(
            "SUBSCRIBE to another user",
            V12,
            "SUBSCRIBE\nid:s\ndestination:/user/ann/queue/x\n\n\0",
            "ERROR|message:Invalid destination|as /user/queue/x",
            1002,
        ),
        bad(
            "SUBSCRIBE to a temporary queue",
            V12,
            "SUBSCRIBE\nid:s\ndestination:/temp-queue/x\n\n\0",
            "ERROR|message:Invalid destination|in the reply-to header",
            1002,
        ),
        bad(
            "SUBSCRIBE to a pattern of queues",
            V12,
            "SUBSCRIBE\nid:s\ndestination:/queue/*\n\n\0",
            "ERROR|message:Invalid destination|patterns are for topics",
            1002,
        ),
        bad(
            "SUBSCRIBE to no service",
            V12,
            "SUBSCRIBE\nid:s\ndestination:/app/x\n\n\0",
            "ERROR|message:Unknown destination|no handler or service is there",
            1002,
        ),
        bad(
            "50 2 KB",
            V12,
            to(&format!("/topic/{}", "x".repeat(2_000))),
            "ERROR|Destination too long|limit is 1024",
            1009,
        ),
        bad(
            "50 20 KB",
            V12,
            to(&format!("/topic/{}", "x".repeat(20_000))),
            "ERROR|Header too long|limit is 16384",
            1009,
        ),
        bad(
            "50 control",
            V12,
            to("/topic/a\\nb"),
            "ERROR|Invalid destination|receipt-id:r\n",
            1002,
        ),
        bad(
            "SEND to a pattern",
            V12,
            to("/topic/*"),
            "ERROR|Cannot send to a pattern|receipt-id:r\n",
            1002,
        ),
        row(
            "52 server's headers",
            OWN[2],
            send("message-id:mine\nsubscription:mine\nack:mine\nredelivered:mine\n", ""),
            &["MESSAGE|subscription:s\n|message-id:|!mine|!ack:"],
            Stays,
        ),
        bad(
            "54 no destination",
            V12,
            subscribe("id:1\n"),
            "ERROR|Missing destination|receipt-id:r\n",
            1002,
        ),
        bad("57 selector", V12, selector("a ="), "ERROR|Bad selector|byte 3|receipt-id:r\n", 1002),
        bad(
            "58 1 MB selector",
            V12,
            selector(&"x".repeat(1_000_000)),
            "ERROR|Header too long",
            1009,
        ),
        bad("58 long selector", V12, selector(&nested), "ERROR|Selector too long", 1009),
        bad("58 nested selector", V12, selector(&deeper), "ERROR|Selector too complex", 1008),
        bad(
            "prefetch",
            V12,
            to_queue("prefetch-count:many\n"),
            "ERROR|prefetch-count|receipt-id:r\n",
            1002,
        ),
        bad(
            "exclusive",
            V12,
            to_queue("exclusive:maybe\n"),
            "ERROR|exclusive|receipt-id:r\n",
            1002,
        ),
        bad(
            "expires",
            V12,
            "SEND\ndestination:/queue/a\nexpires:soon\nreceipt:r\n\n\0",
            "ERROR|'expires'|receipt-id:r\n",
            1002,
        ),
        bad(
            "59 1000 wildcards",
            V12,
            subscribe(&format!("id:1\ndestination:{deep}\n")),
            "ERROR|Destination too long",
            1009,
        ),
        bad(
            "59 20 wildcards",
            V12,
            subscribe(&format!("id:1\ndestination:{wild}\n")),
            "ERROR|Pattern too complex",
            1008,
        ),
    ];
    for given in [V11, V12] {
        rows.push(bad(
            "53 no id",
            given,
            subscribe("destination:/topic/a\n"),
            "ERROR|Missing id|receipt-id:r\n",
            1002,
        ));
    }
    rows.push(row(
        "53 no id in 1.0",
        V10,
        subscribe("destination:/topic/a\n"),
        &["RECEIPT"],
        Stays,
    ));
    for given in [V10, V11, V12] {
        let twice = subscribe("id:1\ndestination:/topic/a\n").repeat(2);
        let answers =
            ["RECEIPT|receipt-id:r\n", "ERROR|Duplicated subscription identifier|receipt-id:r\n"];
        rows.push(row("56 id twice", given, twice, &answers, Ends(1002)));
        let mode = subscribe("id:1\ndestination:/topic/a\nack:sometimes\n");
        rows.push(bad("55 ack mode", given, mode, "ERROR|Bad ack mode|receipt-id:r\n", 1002));
        let unknown = "UNSUBSCRIBE\nid:nope\nreceipt:r\n\n\0";
        rows.push(bad(
            "63 unknown",
            given,
            unknown,
            "ERROR|Subscription not found|receipt-id:r\n",
            1002,
        ));
        let none = "UNSUBSCRIBE\nreceipt:r\n\n\0";
        rows.push(bad("63 no id", given, none, "ERROR|Missing id|receipt-id:r\n", 1002));
    }
    let many: String =
        (0..=1_000).map(|n| format!("SUBSCRIBE\nid:{n}\ndestination:/topic/a\n\n\0")).collect();
    rows.push(bad("60 one subscription too many", V12, many, "ERROR|Too many subscriptions", 1008));
    rows
}

fn sessions() -> Vec<Row> {
    let ack = |headers: &str| format!("ACK\n{headers}receipt:r\n\n\0");
    let begin = |id: &str| format!("BEGIN\ntransaction:{id}\n\n\0");
    let many: String = (0..17).map(|n| begin(&n.to_string())).collect();
    let filled = begin("t") + &send("transaction:t\n", "").repeat(1_025);
    let mut rows = vec![
        bad("64 unknown id", V12, ack("id:1\n"), "ERROR|Message not found|receipt-id:r\n", 1002),
        bad(
            "65 no id in 1.2",
            V12,
            ack("message-id:1\n"),
            "ERROR|Missing id header|'id'|receipt-id:r\n",
            1002,
        ),
        bad(
            "65 no subscription in 1.1",
            V11,
            ack("message-id:1\n"),
            "ERROR|Missing subscription|receipt-id:r\n",
            1002,
        ),
        bad(
            "65 NACK without subscription in 1.1",
            V11,
            "NACK\nmessage-id:1\nreceipt:r\n\n\0",
            "ERROR|Missing subscription|receipt-id:r\n",
            1002,
        ),
        bad(
            "65 no message-id in 1.1",
            V11,
            ack("subscription:1\n"),
            "ERROR|Missing message-id",
            1002,
        ),
        bad(
            "68 NACK in 1.0",
            V10,
            "NACK\nmessage-id:1\nreceipt:r\n\n\0",
            "ERROR|Message not found|receipt-id:r\n",
            1002,
        ),
        bad("69 BEGIN twice", V12, begin("t").repeat(2), "ERROR|Transaction already started", 1002),
        bad("72 17 transactions", V12, many, "ERROR|Too many transactions", 1008),
        bad("72 1025 actions", V12, filled, "ERROR|Transaction too large", 1009),
        row(
            "73 DISCONNECT, then more",
            OWN[2],
            format!("DISCONNECT\nreceipt:bye\n\n\0{}FOO\n\n\0", send("receipt:r\n", "x")),
            &["RECEIPT|receipt-id:bye\n"],
            Ends(1000),
        ),
        row(
            "81 DISCONNECT with a receipt",
            V12,
            "DISCONNECT\nreceipt:bye\n\n\0",
            &["RECEIPT|receipt-id:bye\n"],
            Ends(1000),
        ),
        row("DISCONNECT without receipt", V12, "DISCONNECT\n\n\0", &[], Ends(1000)),
        row(
            "before and behind the fatal frame",
            V12,
            format!("{}FOO\n\n\0{}", send("receipt:1\n", ""), send("receipt:2\n", "")),
            &["RECEIPT|receipt-id:1\n", "ERROR|Bad command"],
            Ends(1002),
        ),
        row(
            "receipts are opaque",
            V12,
            send("receipt:a\\cb\\\\c\n", ""),
            &["RECEIPT|receipt-id:a\\cb\\\\c\n"],
            Stays,
        ),
        row("empty receipt", V12, send("receipt:\n", ""), &["RECEIPT|receipt-id:\n"], Stays),
    ];
    for (name, command) in [
        ("70 COMMIT", "COMMIT\ntransaction:t\n"),
        ("70 ABORT", "ABORT\ntransaction:t\n"),
        ("70 SEND", "SEND\ndestination:/topic/a\ntransaction:t\n"),
    ] {
        let frame = format!("{command}receipt:r\n\n\0");
        rows.push(bad(name, V12, frame, "ERROR|Unknown transaction|receipt-id:r\n", 1002));
    }
    rows
}

fn prepare(client: &mut Client, given: Given) {
    match given {
        Nothing => {}
        Version(version) => {
            client.connect(version);
        }
        Subscribed(version) => {
            client.connect(version);
            client.subscribe("s", "/topic/own", "");
        }
    }
}

fn is_as_wanted(frame: &Frame, wanted: &str) -> bool {
    let mut parts = wanted.split('|');
    parts.next() == Some(frame.command.as_str())
        && parts.all(|part| match part.strip_prefix('!') {
            Some(unwanted) => !frame.text.contains(unwanted),
            None => frame.text.contains(part),
        })
}

fn check(client: &mut Client, row: &Row) {
    let over = client.transport;
    prepare(client, row.given);
    client.send(&row.sent);
    for &wanted in &row.answers {
        match client.next_but_beats() {
            Event::Frame(frame) if is_as_wanted(&frame, wanted) => {}
            other => panic!("row {} over {over:?}: wanted {wanted}, seen {other:?}", row.name),
        }
    }
    match row.end {
        Ends(code) => client.expect_closed(code),
        Stays => client.sync(),
    }
}

/// The whole table.
pub fn all() -> Vec<Row> {
    [openings(), malformed(), destinations(), sessions()].into_iter().flatten().collect()
}

fn check_all(rows: &[Row]) {
    everywhere(|server, transport| {
        for row in rows {
            let mut client = server.open(transport);
            check(&mut client, row);
        }
    });
}

/// Catalogue: H12, H15, H16, H18.
#[test]
fn opening_a_session() {
    check_all(&openings());
}

/// Catalogue: H02, H03, H04, H06, H07, H08, H09, H10, H17, H19, H20, H23.
#[test]
fn frames_that_are_not_stomp() {
    check_all(&malformed());
}

/// Catalogue: H21, I01, I02, I13, I18, I20, I29.
#[test]
fn destinations_and_subscriptions() {
    check_all(&destinations());
}

/// Catalogue: H25, I03, I06, I10.
#[test]
fn acknowledgements_transactions_and_the_end() {
    check_all(&sessions());
}

/// Catalogue: B02.
#[test]
fn the_wrong_protocol_on_the_stomp_port() {
    everywhere(|server, transport| {
        if transport == Transport::Ws {
            return;
        }
        // Row 2.
        let mut client = server.open(transport);
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.expect_error("This is a STOMP port, not HTTP", 0);
        // Row 3: a TLS client cannot read an ERROR.
        let mut client = server.open(transport);
        client.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
        client.expect_end();
    });
}

/// Catalogue: H01.
#[test]
fn one_byte_at_a_time() {
    // Row 24, and the same within a session: any cut of the input gives the same answers.
    everywhere(|server, transport| {
        let mut client = server.open(transport);
        let frames = "CONNECT\naccept-version:1.2\nhost:/\n\n\0\
                      SUBSCRIBE\nid:s\ndestination:/topic/own\nreceipt:1\n\n\0\
                      SEND\ndestination:/topic/own\nreceipt:2\ncontent-length:3\n\na\0b\0\n\
                      FOO\n\n\0";
        for byte in frames.bytes() {
            client.send([byte]);
        }
        client.expect("CONNECTED");
        client.expect("RECEIPT");
        assert_eq!(client.expect("MESSAGE").body, b"a\0b");
        client.expect("RECEIPT");
        client.expect_error("Bad command", 1002);
    });
}
