//! Clocks that are not what one would think.
//!
//! There is no namespace for the time of day, and to step it for the machine harms whoever else is
//! on it. So the process asks a library of ours for it (`LD_PRELOAD`), which adds what we write
//! into a file. The monotonic clock has a namespace, but for its start only; what stands still and
//! goes on is stopped here.

use crate::cage::Cage;
use crate::client::Client;
use crate::server::Server;
use crate::DRIVERS;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of day, some seconds on or back: those in the file that `STEP` names, as a number of
/// 64 bits in the order of the machine.
const STEPPED: &str = "
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile int64_t *step;
__attribute__((constructor)) static void begin(void) {
    int file = open(getenv(\"STEP\"), O_RDONLY);
    void *page = mmap(0, sizeof *step, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) abort();
    step = page;
    close(file);
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    long status = syscall(SYS_clock_gettime, clock, time);
    if (status == 0 && clock == CLOCK_REALTIME && step) time->tv_sec += *step;
    return (int)status;
}
";

const HOUR_S: i64 = 3_600;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Sets the time of day of the server that is [`Cage::Stepped`].
fn step(seconds: i64) {
    // Never truncated: the server has it in its memory.
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(place("step"));
    let written = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
    written.expect("a file of ours");
}

/// The environment of [`Cage::Stepped`]: the library is built by what has linked this test.
pub fn stepped() -> [(&'static str, PathBuf); 2] {
    let (source, library) = (place("stepped.c"), place("stepped.so"));
    std::fs::write(&source, STEPPED).expect("a file of ours");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-o"]).args([&library, &source]);
    assert!(command.status().is_ok_and(|status| status.success()), "cc");
    step(0);
    [("LD_PRELOAD", library), ("STEP", place("step"))]
}

/// A message to a queue that expires ten minutes from a time which is `seconds` from now.
fn send(client: &mut Client, body: &str, seconds: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later than 1970").as_millis();
    let expires = now as i64 + (seconds + 600) * 1_000;
    let head = format!("SEND\ndestination:/queue/q\nexpires:{expires}\nreceipt:{body}\n");
    client.send(&format!("{head}\n{body}\0"));
    assert!(client.frame().starts_with("RECEIPT"));
}

#[test]
fn i28_n07_steps_of_the_time_of_day_end_nothing_and_nobody() {
    for io in DRIVERS {
        let server = Server::start_in(Cage::Stepped, &["--io", io, "--shards", "2"]);
        let mut beating = Client::open(server.stomp);
        beating.send("CONNECT\naccept-version:1.2\nheart-beat:0,1000\nhost:/\n\n\0");
        assert!(beating.frame().starts_with("CONNECTED"));
        let mut client = server.session();
        send(&mut client, "before", 0);
        for seconds in [HOUR_S, -HOUR_S, 24 * HOUR_S, 0] {
            step(seconds);
            send(&mut client, "meanwhile", seconds);
            // By the time of day that is now: the server knows of the step.
            send(&mut client, "expired", seconds - 2 * HOUR_S);
            client.round_trip();
            server.session().round_trip();
            assert!(beating.beats(), "a heart-beat");
        }
        client.send("SUBSCRIBE\nid:q\ndestination:/queue/q\n\n\0");
        for body in ["before", "meanwhile", "meanwhile", "meanwhile", "meanwhile"] {
            let frame = client.frame();
            assert!(frame.ends_with(&format!("\n\n{body}\0")), "{frame}");
        }
        client.round_trip();
        server.until("count of the expired", || {
            server.metric("stompede_dead_letters_total{reason=\"expired\"}") == 4
        });
        assert_eq!(server.stop(), Some(0));
    }
}

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
