//! Budgets of a client beyond the size of what it sends: control frames, log-ins, connections,
//! unfinished messages (reliability: rows E15, E16, H11, E29, J02).

use super::client::{ws_frame, Client, Event, Transport};
use super::{on_every_server, until, TestServer};

/// Reads up to the end: the ERROR's message, and the close code.
fn ended(client: &mut Client) -> (String, Option<u16>) {
    let mut message = String::new();
    loop {
        match client.next() {
            Event::Frame(frame) if frame.command == "ERROR" => {
                frame.get("message").clone_into(&mut message);
            }
            Event::Closed(code) => return (message, code),
            _ => {}
        }
    }
}

fn is_receipt(event: &Event) -> bool {
    match event {
        Event::Frame(frame) => frame.command == "RECEIPT",
        Event::Closed(code) => panic!("closed with {code:?}"),
        _ => false,
    }
}

/// Catalogue: E15, E16, H11.
#[test]
fn control_frames_in_a_row_have_a_budget() {
    on_every_server(
        |config| config.limits.control_frames_count_max = 20,
        |server| {
            let told = ("Too many control frames".to_owned(), Some(1008));
            for first in [0x89, 0x8a] {
                let mut client = server.session(Transport::Ws);
                client.write(&ws_frame(first, b"x").repeat(200));
                assert_eq!(ended(&mut client), told);
            }
            let mut client = server.session(Transport::Ws);
            client.write(&ws_frame(0x81, b"\n").repeat(200));
            assert_eq!(ended(&mut client), told);
            // Over TCP a run of line ends is one heart-beat, but not for any length.
            let mut client = server.session(Transport::Tcp);
            client.send(vec![b'\n'; 64 * 1024]);
            assert_eq!(ended(&mut client), (told.0, None));
            server.wait_for_closed("control_flood", 4);
        },
    );
}

/// Catalogue: E15, H11.
#[test]
fn what_means_something_gives_the_budget_back() {
    on_every_server(
        |config| config.limits.control_frames_count_max = 20,
        |server| {
            let mut client = server.session(Transport::Ws);
            for round in 0..10 {
                (0..10).for_each(|_| client.send_ws(0x89, b"x"));
                (0..9).for_each(|_| client.send(b"\n"));
                client.send(format!("SEND\ndestination:/topic/a\nreceipt:{round}\n\n\0\n"));
                while !is_receipt(&client.next()) {}
            }
        },
    );
}

/// Catalogue: J02.
#[test]
fn who_guesses_is_refused_even_with_the_right_passcode() {
    on_every_server(
        |config| {
            config.users = vec![("ann".to_owned(), "secret".to_owned())];
            config.login_failures_max = 3;
        },
        |server| {
            let log_in = |passcode: &str| {
                let mut client = server.open(Transport::Tcp);
                let frame = format!(
                    "CONNECT\naccept-version:1.2\nhost:a\nlogin:ann\npasscode:{passcode}\n\n\0"
                );
                client.send(frame);
                client
            };
            log_in("secret").expect("CONNECTED");
            // Twice as many, for a minute may end in between.
            let answers: Vec<String> = (0..6).map(|_| ended(&mut log_in("guess")).0).collect();
            assert_eq!(answers[0], "Bad CONNECT");
            assert_eq!(answers.iter().filter(|told| *told == "Too many wrong log-ins").count(), 3);
            assert_eq!(ended(&mut log_in("secret")).0, "Too many wrong log-ins");
            let mut http = Client::open_http(server.address(Transport::Ws));
            let head = http.upgrade("Authorization: Basic YW5uOnNlY3JldA==\r\n");
            assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("Retry-After: "), "{head}");
            let limited =
                |method| format!("stompede_auth_total{{method=\"{method}\",result=\"limited\"}}");
            assert_eq!(server.metric(&limited("connect")), 4);
            assert_eq!(server.metric(&limited("basic")), 1);
        },
    );
}

/// Twenty log in; gives the number of those who are told to come later, and all others are let in.
fn log_in_at_once(server: &TestServer) -> usize {
    let open = |_| {
        let mut client = server.open(Transport::Tcp);
        client.send("CONNECT\naccept-version:1.2\nlogin:ann\npasscode:secret\n\n\0");
        client
    };
    let mut clients: Vec<Client> = (0..20).map(open).collect();
    let is_busy = |client: &mut Client| match client.next() {
        Event::Frame(frame) if frame.command == "CONNECTED" => false,
        Event::Frame(frame) => {
            assert_eq!(frame.get("message"), "Server is busy", "{frame:?}");
            assert!(frame.body_text().contains("limit is 1: connect again"));
            true
        }
        other => panic!("{other:?}"),
    };
    clients.iter_mut().map(is_busy).filter(|is_busy| *is_busy).count()
}

/// Catalogue: J02.
#[test]
fn log_ins_that_cannot_wait_are_told_so_and_are_no_guesses() {
    let path = std::env::temp_dir().join(format!("stompede-busy-{}", std::process::id()));
    let line = stompede::auth::hash_line("ann", "secret").expect("a hash");
    std::fs::write(&path, format!("{line}\n")).expect("a users file");
    on_every_server(
        |config| {
            config.users_file = Some(path.clone());
            config.limits.logins_waiting_count_max = 1;
            config.login_failures_max = 1;
        },
        |server| {
            let mut busy = 0;
            // More at once than the two shards hash in the time that it takes to send them, unless
            // the sender is held up.
            until("somebody who cannot wait", || {
                let count = log_in_at_once(server);
                assert!(count < 20, "the first can wait");
                busy += count;
                busy > 0
            });
            let heads = std::thread::scope(|scope| {
                let upgrade = || {
                    let mut http = Client::open_http(server.address(Transport::Ws));
                    http.upgrade("Authorization: Basic YW5uOnNlY3JldA==\r\n")
                };
                let threads = [(); 8].map(|()| scope.spawn(upgrade));
                threads.map(|thread| thread.join().expect("a head"))
            });
            for head in heads {
                let is_busy = head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: ");
                assert!(is_busy || head.starts_with("HTTP/1.1 101 "), "{head}");
                busy += usize::from(is_busy);
            }
            let count = |result| {
                let series = |method| {
                    format!("stompede_auth_total{{method=\"{method}\",result=\"{result}\"}}")
                };
                server.metric(&series("connect")) + server.metric(&series("basic"))
            };
            assert_eq!((count("busy"), count("refused"), count("limited")), (busy as u64, 0, 0));
            server.wait_for_closed("logins_busy", busy as u64);
        },
    );
    std::fs::remove_file(path).expect("the file is ours");
}

/// stomp.md §5 row 87.
#[test]
fn a_storm_of_connections_is_told_to_come_later() {
    on_every_server(
        |config| config.connection_rate_max = 1,
        |server| {
            let http = server.address(Transport::Ws);
            let mut heads = Vec::new();
            let count = |heads: &[String], status: &str| {
                heads.iter().filter(|head| head.starts_with(status)).count()
            };
            // Fifty are more than the seconds that they take, on any shard, if nobody is held up.
            until("one too many in a second", || {
                heads.extend((0..50).map(|_| Client::open_http(http).upgrade("")));
                count(&heads, "HTTP/1.1 503 ") > 0
            });
            let refused = count(&heads, "HTTP/1.1 503 ");
            assert!(count(&heads, "HTTP/1.1 101 ") > 0);
            server.wait_for_closed("connection_rate", refused as u64);
        },
    );
}

/// Catalogue: E29.
#[test]
fn unfinished_messages_of_all_clients_have_a_mark() {
    const MARK_BYTES: usize = 512 * 1024;
    on_every_server(
        |config| {
            config.memory_bytes_max = MARK_BYTES as u64;
            config.outbound_bytes_max = MARK_BYTES / 2;
        },
        |server| {
            let mut calm = server.session(Transport::Ws);
            let mut clients: Vec<_> = (0..32).map(|_| server.session(Transport::Tcp)).collect();
            for client in &mut clients {
                client.send(format!("SEND\ndestination:/topic/a\n\n{}", "x".repeat(60_000)));
            }
            // 32 times 60 kB are over three times the mark: some have to go, and some may stay.
            let series = "stompede_connections_closed_total{reason=\"memory_mark\"}";
            until("fewer bytes than the mark", || {
                server.metric("stompede_input_bytes") <= MARK_BYTES as u64
                    && server.metric(series) > 0
            });
            calm.sync();
            clients.iter_mut().for_each(|client| client.send("\0"));
            let mut told = 0;
            for client in &mut clients {
                client.finish();
                told += usize::from(ended(client).0 == "Server is busy");
            }
            assert!(told < clients.len(), "all of them were ended");
            server.wait_for_closed("memory_mark", told as u64);
        },
    );
}
