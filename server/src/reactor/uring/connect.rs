//! The client's side of the ring: sockets that connect, for the load generator.
//!
//! One chain of linked operations makes a direct descriptor, sets its options, binds and connects
//! it; only the first failure or the end of the chain completes. The slot is ours to choose, so it
//! is known before the kernel has answered: a reactor either accepts or connects, never both.

use super::{user_data, Slot, UringReactor, KIND_ALARM, KIND_CONNECT};
use crate::reactor::listener::encode_address;
use crate::reactor::Connector;
use io_uring::{opcode, squeue, types};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Value of the socket options; the kernel reads it when the operation runs, so it is static.
static ON: i32 = 1;

/// Slots given out for connections of our own.
#[derive(Default)]
pub(super) struct Slots {
    /// Slots below this were given out at least once.
    next: u32,
    vacant: Vec<u32>,
}

impl Slots {
    fn take(&mut self, slots_count: usize) -> Option<u32> {
        if let Some(slot) = self.vacant.pop() {
            return Some(slot);
        }
        let slot = self.next;
        ((slot as usize) < slots_count).then(|| {
            self.next += 1;
            slot
        })
    }

    /// Takes back a slot that was closed; those of accepted connections are the kernel's.
    pub(super) fn give_back(&mut self, slot: u32) {
        if slot < self.next {
            self.vacant.push(slot);
        }
    }
}

impl Connector for UringReactor {
    fn connect(&mut self, target: SocketAddr, source: Option<SocketAddr>) -> io::Result<u32> {
        let full = || io::Error::from_raw_os_error(libc::ENFILE);
        let slot = self.connecting.take(self.slots.len()).ok_or_else(full)?;
        let place = types::DestinationSlot::try_from_slot_target(slot).map_err(|_| full())?;
        let (target, target_length) = encode_address(target);
        let source = source.map(encode_address);
        let family = i32::from(target.ss_family);
        let socket = types::Fixed(slot);
        let option = |level: i32, name: i32| {
            let value = (&raw const ON).cast();
            opcode::SetSockOpt::new(socket, level as u32, name as u32, value, 4).build()
        };
        let mut chain = vec![
            opcode::Socket::new(family, libc::SOCK_STREAM, 0).file_index(Some(place)).build(),
            option(libc::IPPROTO_TCP, libc::TCP_NODELAY),
        ];
        if let Some((address, length)) = &source {
            chain.push(option(libc::SOL_SOCKET, libc::SO_REUSEADDR));
            chain.push(opcode::Bind::new(socket, (&raw const *address).cast(), *length).build());
        }
        let name = user_data(KIND_CONNECT, Slot(self.slots[slot as usize]).generation(), slot);
        let linked = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
        let mut chain: Vec<_> =
            chain.into_iter().map(|entry| entry.flags(linked).user_data(name)).collect();
        let end = opcode::Connect::new(socket, (&raw const target).cast(), target_length).build();
        chain.push(end.user_data(name));
        // A chain ends where a submission ends: it goes in as a whole. The kernel copies both
        // addresses when it takes the entries, so they must be submitted before they go.
        // SAFETY: the addresses live until the submit below, the options' value for ever.
        while unsafe { self.ring.submission().push_multiple(&chain) }.is_err() {
            self.submit()?;
        }
        self.submit()?;
        Ok(slot)
    }

    fn wake_in(&mut self, delay: Duration) {
        let delay = types::Timespec::new().sec(delay.as_secs()).nsec(delay.subsec_nanos());
        *self.alarm = delay;
        let timeout = opcode::Timeout::new(&raw const *self.alarm);
        // The kernel reads the time when it takes the entry: before the next change at the latest.
        self.push(&timeout.build().user_data(user_data(KIND_ALARM, 0, 0)));
        // A failed submission shows up in the next wait.
        let _ = self.submit();
    }
}
