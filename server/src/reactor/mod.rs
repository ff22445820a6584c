//! The sockets of one shard: the first and the last stop of every byte.
//!
//! One trait, three implementations: [`uring`] (default), [`epoll`] (where io_uring is
//! refused) and [`sim`] (tests). Its shape is readiness plus batched non-blocking transfer, so that
//! all mean the same.
//! The reactor moves bytes and knows no protocol. A connection is named by its slot: a direct
//! descriptor in uring, the file descriptor in epoll. A slot is free again once [`Reactor::close`]
//! returned; late kernel events for the old socket carry an older generation and are dropped inside
//! the reactor.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use stompede_core::outbound::{Outbound, SendArena};

#[cfg(test)]
mod connect_tests;
pub mod epoll;
pub mod listener;
pub mod sim;
pub mod uring;

/// What the kernel told since the last wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new connection on the listener with this index (the order given at construction).
    Accepted { slot: u32, listener: u8, peer: SocketAddr },
    /// A connection was refused because the table is full or the system has no more descriptors.
    AcceptFailed { errno: i32 },
    /// A connection begun by [`Connector::connect`] is open.
    Connected { slot: u32 },
    /// It is not, and never will be; the slot is free again.
    ConnectFailed { slot: u32, errno: i32 },
    /// Bytes wait to be received. Told once for what has come: a receive that fills its buffer may
    /// have left some.
    Readable { slot: u32 },
    /// As `Readable`, and behind the bytes is the end: the peer will send no more, or is gone.
    Ended { slot: u32 },
    /// A socket for which [`Reactor::arm_writable`] was called takes bytes again.
    Writable { slot: u32 },
    /// Another thread wrote to the shard's eventfd, or the alarm of [`Connector::wake_in`] rang.
    Woken,
    /// The tick of [`TICK_MS`] is due.
    Tick,
}

/// Interval of [`Event::Tick`], in milliseconds.
pub const TICK_MS: u64 = 250;

/// Most pieces that one send gathers.
pub const PARTS_MAX: usize = 32;

/// Bytes to send to one connection in one send.
#[derive(Clone, Copy)]
pub struct SendRequest<'a> {
    /// The connection.
    pub slot: u32,
    /// What to send.
    pub parts: Parts<'a>,
}

/// The bytes of one send.
#[derive(Clone, Copy)]
pub enum Parts<'a> {
    /// One piece: the common case.
    One(&'a [u8]),
    /// The first [`PARTS_MAX`] pieces of what waits.
    Many(&'a Outbound, &'a SendArena),
}

impl<'a> Parts<'a> {
    /// The pieces, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let (one, many) = match self {
            Parts::One(bytes) => (Some(bytes), None),
            Parts::Many(outbound, arena) => (None, Some((outbound, arena))),
        };
        let many = many.into_iter().flat_map(|(outbound, arena)| {
            outbound.segments().take(PARTS_MAX).map(|segment| arena.bytes(segment))
        });
        one.into_iter().chain(many)
    }

    /// Sum of the pieces' lengths, in bytes.
    pub fn bytes(self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }
}

/// A send that did not take everything. Sends that took everything are not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The connection.
    pub slot: u32,
    /// Bytes taken, or the error number (EAGAIN when the socket's buffer is full).
    pub taken: Result<usize, i32>,
}

/// The sockets of one shard. All calls come from the shard's own thread.
pub trait Reactor {
    /// Collects events. Sleeps until there is one if `may_sleep`; else lets other tasks of the
    /// runtime run and returns what there is.
    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        may_sleep: bool,
    ) -> impl Future<Output = io::Result<()>>;

    /// Receives once from each of `slots`: the i-th into `buffer[i * stride..][..stride]`.
    /// `results[i]` is the byte count (0: end of stream) or the error number. Never blocks.
    fn recv_batch(
        &mut self,
        slots: &[u32],
        buffer: &mut [u8],
        stride: usize,
        results: &mut Vec<Result<usize, i32>>,
    );

    /// Sends each request without blocking; at most one per connection. The bytes are free on
    /// return.
    fn send_batch<'a>(
        &mut self,
        requests: impl Iterator<Item = SendRequest<'a>>,
        shortfalls: &mut Vec<Shortfall>,
    );

    /// Asks for one [`Event::Writable`].
    fn arm_writable(&mut self, slot: u32);

    /// Ends the sending half (FIN) and leaves the receiving half open, so that unread input cannot
    /// turn our last bytes into a reset.
    fn shutdown_write(&mut self, slot: u32);

    /// Closes the socket; the slot may be given out again from now on.
    fn close(&mut self, slot: u32);

    /// Stops accepting on all listeners.
    fn stop_accepting(&mut self);

    /// Number of slots: every slot in events is below this.
    fn slots_count(&self) -> usize;

    /// Completions that the kernel could not queue in time; none are lost, but work is late.
    fn overflow_count(&self) -> u64 {
        0
    }

    /// Milliseconds since the reactor was made: the shard's only clock.
    fn now_ms(&self) -> u64;

    /// Lets a task run on the shard's thread, beside the turns.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        drop(monoio::spawn(task));
    }

    /// Bits that nobody can guess.
    ///
    /// # Errors
    /// What the kernel says.
    fn random_bits(&self) -> io::Result<u128> {
        crate::random_bits()
    }

    /// Milliseconds since 1970: for times that clients name (`expires`).
    fn unix_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |since| since.as_millis() as u64)
    }
}

/// A reactor whose connections are its own doing: the client's side, for the load generator. Such a
/// reactor has no listeners.
pub trait Connector: Reactor {
    /// Begins a connection, from `source` if given, and returns its slot. The answer is
    /// [`Event::Connected`] or [`Event::ConnectFailed`]; until then the slot is not to be used.
    ///
    /// # Errors
    /// ENFILE when all slots are taken; else what the kernel says.
    fn connect(&mut self, target: SocketAddr, source: Option<SocketAddr>) -> io::Result<u32>;

    /// Asks for one [`Event::Woken`] after `delay`; a further call does not cancel the first.
    fn wake_in(&mut self, delay: Duration);
}

/// The error of the last system call, as a number.
pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
