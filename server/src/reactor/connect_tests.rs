//! The client's side of both reactors against a plain listener.

use super::epoll::EpollReactor;
use super::uring::UringReactor;
use super::{Connector, Event, Reactor};
use crate::mesh::Doorbell;
use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// Connections that are refused: more than a ring has slots.
const ATTEMPTS: usize = 32;

/// Waits for an event that is neither tick nor readiness.
async fn next<R: Reactor>(reactor: &mut R) -> Event {
    let mut events = Vec::new();
    loop {
        reactor.wait(&mut events, true).await.unwrap();
        let wanted = |event: &Event| {
            !matches!(event, Event::Tick | Event::Readable { .. } | Event::Ended { .. })
        };
        if let Some(event) = events.drain(..).find(wanted) {
            return event;
        }
    }
}

async fn connects<R: Connector>(mut reactor: R) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let slot = reactor.connect(target, None).unwrap();
    assert_eq!(next(&mut reactor).await, Event::Connected { slot });

    // From an address and port of our choice.
    let free = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let from = reactor.connect(target, Some(free)).unwrap();
    assert_ne!(from, slot);
    assert_eq!(next(&mut reactor).await, Event::Connected { slot: from });
    listener.accept().unwrap();
    assert_eq!(listener.accept().unwrap().1, free);

    // Refused: slots are given out again. Not always the same one: on epoll they are descriptors,
    // which other tests of the process take and give back, too.
    let nowhere: SocketAddr = "127.0.0.3:1".parse().unwrap();
    let errno = libc::ECONNREFUSED;
    let mut refused = HashSet::new();
    for _ in 0..ATTEMPTS {
        let slot = reactor.connect(nowhere, None).unwrap();
        assert_eq!(next(&mut reactor).await, Event::ConnectFailed { slot, errno });
        refused.insert(slot);
    }
    assert!(refused.len() < ATTEMPTS, "{refused:?}");

    // An address that is not ours fails at bind: at once, or as an event.
    let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
    if let Ok(slot) = reactor.connect(nowhere, Some(foreign)) {
        let errno = libc::EADDRNOTAVAIL;
        assert_eq!(next(&mut reactor).await, Event::ConnectFailed { slot, errno });
    }

    reactor.wake_in(Duration::from_millis(1));
    assert_eq!(next(&mut reactor).await, Event::Woken);
    for slot in [slot, from] {
        reactor.close(slot);
    }
    let mut events = Vec::new();
    reactor.wait(&mut events, false).await.unwrap();
}

#[test]
fn uring_connects() {
    if let Err(why) = crate::probe::is_uring_usable() {
        // Hosts that forbid io_uring run the other half.
        println!("skipped: {why}");
        return;
    }
    let mut runtime = super::uring::runtime().unwrap();
    let wake = Doorbell::new().unwrap();
    runtime.block_on(async {
        connects(UringReactor::new(Vec::new(), wake.fd(), 16).unwrap()).await;
    });
}

/// Catalogue: L17.
#[test]
fn uring_gives_out_no_more_slots_than_it_has() {
    if crate::probe::is_uring_usable().is_err() {
        return;
    }
    let mut runtime = super::uring::runtime().unwrap();
    let wake = Doorbell::new().unwrap();
    runtime.block_on(async {
        let mut reactor = UringReactor::new(Vec::new(), wake.fd(), 2).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let slots = [(); 2].map(|()| reactor.connect(target, None).unwrap());
        let error = reactor.connect(target, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENFILE));
        assert!(matches!(next(&mut reactor).await, Event::Connected { .. }));
        assert_ne!(slots[0], slots[1]);
    });
}

#[test]
fn epoll_connects() {
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().unwrap();
    let wake = Doorbell::new().unwrap();
    runtime.block_on(async {
        connects(EpollReactor::new(Vec::new(), wake.fd(), 1_024).unwrap()).await;
    });
}
