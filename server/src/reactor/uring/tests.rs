//! The ring under pressure and in unkind orders: rows L02 to L05 and L09 of the catalogue.
//!
//! The ring is real, so a host that forbids io_uring skips these loudly. What the kernel does not
//! do on demand is played to the reactor as completions of our own, by the list of those that were
//! met inside a batch; where a queue has to be full, it is made small. "Nothing comes" is known
//! after two ticks.

use super::*;
use crate::mesh::Doorbell;
use crate::reactor::sim::Rng;
use crate::reactor::Connector;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Runs a test on a reactor with queues of these sizes.
fn on_ring<F: Future>(sq_entries: u32, cq_entries: u32, test: impl FnOnce(UringReactor) -> F) {
    if let Err(why) = crate::probe::is_uring_usable() {
        println!("skipped: {why}");
        return;
    }
    let wake = Doorbell::new().unwrap();
    runtime().unwrap().block_on(async {
        let (listeners, queues) = (Vec::new(), (sq_entries, cq_entries));
        test(UringReactor::with_queues(listeners, wake.fd(), 128, queues).unwrap()).await;
    });
}

/// Everything but ticks that comes until `is_enough`, or until `ticks_max` have passed.
async fn collect(
    reactor: &mut UringReactor,
    ticks_max: usize,
    is_enough: impl Fn(&[Event]) -> bool,
) -> Vec<Event> {
    let (mut seen, mut events, mut ticks) = (Vec::new(), Vec::new(), 0);
    while ticks < ticks_max && !is_enough(&seen) {
        reactor.wait(&mut events, true).await.unwrap();
        ticks += events.iter().filter(|event| **event == Event::Tick).count();
        seen.extend(events.drain(..).filter(|event| *event != Event::Tick));
    }
    seen
}

/// What comes while nobody does anything.
async fn rest(reactor: &mut UringReactor) -> Vec<Event> {
    collect(reactor, 2, |_| false).await
}

/// A connection: its slot, and the other end.
async fn pair(reactor: &mut UringReactor, listener: &TcpListener) -> (u32, TcpStream) {
    let slot = reactor.connect(listener.local_addr().unwrap(), None).unwrap();
    let connected = Event::Connected { slot };
    assert_eq!(collect(reactor, 40, |seen| !seen.is_empty()).await, [connected]);
    (slot, listener.accept().unwrap().0)
}

fn generation(reactor: &UringReactor, slot: u32) -> u32 {
    Slot(reactor.slots[slot as usize]).generation()
}

/// Close with operations pending: their completions and those of the cancels come in any order,
/// also behind the next connection of the slot, which hears nothing of them.
#[test]
fn l02_l03_late_completions_reach_nobody_in_any_order() {
    on_ring(SQ_ENTRIES, CQ_ENTRIES, |mut reactor| async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for seed in 0..16 {
            let mut rng = Rng::new(seed);
            let (slot, mut first) = pair(&mut reactor, &listener).await;
            let old = generation(&reactor, slot);
            reactor.arm_writable(slot);
            reactor.close(slot);
            let (again, mut second) = pair(&mut reactor, &listener).await;
            assert_eq!(again, slot);
            let late = [
                (KIND_POLL_IN, old, i32::from(libc::POLLIN)),
                (KIND_POLL_IN, old, -libc::ECANCELED),
                (KIND_POLL_OUT, old, i32::from(libc::POLLOUT)),
                (KIND_POLL_OUT, old, -libc::ECANCELED),
                (KIND_CONNECT, old, -libc::ECANCELED),
                (KIND_IGNORED, 0, 0),
                (KIND_IGNORED, 0, -libc::ENOENT),
                (KIND_IGNORED, 0, -libc::EALREADY),
            ];
            let mut late = late.map(|(kind, generation, result)| {
                let user_data = user_data(kind, generation, slot);
                Completion { user_data, result, flags: rng.below(2) as u32 * MORE }
            });
            for index in (1..late.len()).rev() {
                late.swap(index, rng.below(index + 1));
            }
            reactor.deferred.extend(late);
            let mut events = Vec::new();
            reactor.wait(&mut events, false).await.unwrap();
            events.retain(|event| *event != Event::Tick);
            assert_eq!(events, [], "seed {seed}");
            assert_eq!(first.read(&mut [0]).unwrap(), 0, "the old socket is closed");
            second.write_all(b"x").unwrap();
            let seen = collect(&mut reactor, 40, |seen| !seen.is_empty()).await;
            assert_eq!(seen, [Event::Readable { slot }], "seed {seed}");
            let (mut buffer, mut results) = ([0; 8], Vec::new());
            reactor.recv_batch(&[slot], &mut buffer, 8, &mut results);
            assert_eq!((results.as_slice(), buffer[0]), (&[Ok(1)][..], b'x'));
            reactor.close(slot);
        }
    });
}

/// IORING_CQE_F_MORE.
const MORE: u32 = 1 << 1;

/// A poll that ends without a word is armed again, and what came meanwhile is told.
#[test]
fn l09_a_multishot_poll_that_ends_is_armed_again() {
    on_ring(SQ_ENTRIES, CQ_ENTRIES, |mut reactor| async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (slot, mut peer) = pair(&mut reactor, &listener).await;
        let name = user_data(KIND_POLL_IN, generation(&reactor, slot), slot);
        let remove = opcode::PollRemove::new(name).build();
        reactor.push(&remove.user_data(user_data(KIND_IGNORED, 0, 0)));
        assert_eq!(rest(&mut reactor).await, []);
        peer.write_all(b"x").unwrap();
        assert_eq!(rest(&mut reactor).await, [], "nothing listens any more");
        reactor.deferred.push(Completion { user_data: name, result: -libc::ENOMEM, flags: 0 });
        let seen = collect(&mut reactor, 40, |seen| !seen.is_empty()).await;
        assert_eq!(seen, [Event::Readable { slot }]);
    });
}

/// The same of the tick: one that does not come again would leave the shard without a clock.
#[test]
fn l09_a_tick_that_ends_is_armed_again() {
    on_ring(SQ_ENTRIES, CQ_ENTRIES, |mut reactor| async move {
        let name = user_data(KIND_TICK, 0, 0);
        let remove = opcode::TimeoutRemove::new(name).build();
        reactor.push(&remove.user_data(user_data(KIND_IGNORED, 0, 0)));
        reactor.submit().unwrap();
        // Either the kernel's last word on the old one, or ours if it has none, arms the next.
        reactor.deferred.push(Completion { user_data: name, result: -libc::ETIME, flags: 0 });
        let (mut events, mut ticks) = (Vec::new(), 0);
        while ticks < 4 {
            reactor.wait(&mut events, true).await.unwrap();
            ticks += events.drain(..).filter(|event| *event == Event::Tick).count();
        }
    });
}

/// More completions than the queue holds: the kernel keeps them, and none is lost.
#[test]
fn l04_an_overflow_of_completions_loses_no_event() {
    on_ring(8, 16, |mut reactor| async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut pairs = Vec::new();
        for _ in 0..64 {
            pairs.push(pair(&mut reactor, &listener).await);
        }
        for round in 0..3 {
            for (_, peer) in &mut pairs {
                peer.write_all(&[round]).unwrap();
            }
            // The queue is full, and what did not fit is with the kernel: when all have arrived,
            // which on a busy machine is a moment later.
            for _ in 0..100_000 {
                reactor.ring.submit().unwrap();
                if reactor.ring.completion().len() == 16 {
                    break;
                }
                std::thread::yield_now();
            }
            assert_eq!(reactor.ring.completion().len(), 16);
            let is_told = |seen: &[Event], slot| seen.contains(&Event::Readable { slot });
            let all = |seen: &[Event]| pairs.iter().all(|(slot, _)| is_told(seen, *slot));
            let seen = collect(&mut reactor, 40, all).await;
            assert!(all(&seen), "round {round}: {seen:?}");
            let slots: Vec<u32> = pairs.iter().map(|(slot, _)| *slot).collect();
            let (mut buffer, mut results) = (vec![0; 64 * 4], Vec::new());
            reactor.recv_batch(&slots, &mut buffer, 4, &mut results);
            assert!(results.iter().all(|result| *result == Ok(1)), "{results:?}");
            assert!(buffer.chunks(4).all(|piece| piece[0] == round));
        }
    });
}

/// More operations than the submission queue holds: all are done, in order.
#[test]
fn l05_a_full_submission_queue_keeps_the_order() {
    on_ring(8, 128, |mut reactor| async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut pairs = Vec::new();
        for _ in 0..64 {
            pairs.push(pair(&mut reactor, &listener).await);
        }
        let mut shortfalls = Vec::new();
        for byte in 0..20u8 {
            let bytes = [byte];
            let send =
                |&(slot, _): &(u32, TcpStream)| SendRequest { slot, parts: Parts::One(&bytes) };
            reactor.send_batch(pairs.iter().map(send), &mut shortfalls);
        }
        assert_eq!(shortfalls, []);
        let expected: Vec<u8> = (0..20).collect();
        for (_, peer) in &mut pairs {
            let mut seen = [0; 20];
            peer.read_exact(&mut seen).unwrap();
            assert_eq!(seen, *expected);
            peer.write_all(b"y").unwrap();
        }
        let is_told = |seen: &[Event], slot| seen.contains(&Event::Readable { slot });
        let all = |seen: &[Event]| pairs.iter().all(|(slot, _)| is_told(seen, *slot));
        assert!(all(&collect(&mut reactor, 40, all).await));
        let slots: Vec<u32> = pairs.iter().map(|(slot, _)| *slot).collect();
        let (mut buffer, mut results) = (vec![0; 64], Vec::new());
        reactor.recv_batch(&slots, &mut buffer, 1, &mut results);
        assert_eq!((results, buffer), (vec![Ok(1); 64], vec![b'y'; 64]));
    });
}
