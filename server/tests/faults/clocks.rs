//! Clocks that are not what one would think.
//!
//! The time of day cannot be stepped for one process alone: there is no namespace for it, and to
//! step it for the machine harms whoever else is on it. That it is asked for dates only is asserted
//! by construction (`core/tests/it/tidy.rs`), that its steps harm nobody in the simulated world
//! (`server/src/shard/queues/clock.rs`). The monotonic clock has a namespace, but for its start
//! only; what stands still and goes on is stopped here.

use crate::cage::Cage;
use crate::client::Client;
use crate::server::Server;
use crate::DRIVERS;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

#[test]
fn l19_time_in_which_the_server_stood_still_is_nobodys_silence() {
    for io in DRIVERS {
        let server = Server::start(&["--io", io, "--shards", "1", "--heartbeat-min", "250ms"]);
        let mut client = Client::open(server.stomp);
        client.send("CONNECT\naccept-version:1.2\nheart-beat:250,0\nhost:/\n\n\0");
        assert!(client.frame().starts_with("CONNECTED"));
        let (mut beats, is_over) = (client.writer(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            // By a thread: the shell that sends signals takes its time, too.
            scope.spawn(|| {
                let beat = |_: &u32| !is_over.load(Relaxed) && beats.write_all(b"\n").is_ok();
                let pause = |_| std::thread::sleep(Duration::from_millis(50));
                (0..1_000).take_while(beat).for_each(pause);
            });
            server.signal("STOP");
            // Over three intervals, all of them kept by the client.
            std::thread::sleep(Duration::from_secs(1));
            server.signal("CONT");
            client.round_trip();
            is_over.store(true, Relaxed);
        });
        assert_eq!(server.stop(), Some(0));
    }
}

/// Catalogue: I28.
#[test]
fn a_machine_that_has_been_up_for_a_century_is_served_as_any_other() {
    for io in DRIVERS {
        let server = Server::start_in(Cage::Century, &["--io", io, "--shards", "2"]);
        let mut client = Client::open(server.stomp);
        client.send("CONNECT\naccept-version:1.2\nheart-beat:0,1000\nhost:/\n\n\0");
        assert!(client.frame().starts_with("CONNECTED"));
        client.round_trip();
        assert!(client.beats(), "a heart-beat by that clock");
        assert_eq!(server.stop(), Some(0));
    }
}
