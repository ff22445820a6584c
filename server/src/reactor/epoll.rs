//! Sockets on epoll, for hosts that refuse io_uring: the same events, one system call per transfer.
//!
//! Every socket is registered once, edge-triggered for both directions; a slot is the file
//! descriptor itself. `Writable` edges are passed on only while somebody asked for one. Closing the
//! descriptor ends everything at once, so no generation is needed: events already taken for a
//! descriptor that was closed in the same turn are dropped by the shard, which knows what it
//! closed.

mod connect;

use super::listener::decode_address;
use super::uring::{drain_eventfd, signalled_eventfd, watch};
use super::{errno, Event, Reactor, SendRequest, Shortfall, PARTS_MAX, TICK_MS};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

/// Connections taken from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Events taken from the kernel in one call.
const EVENTS_PER_WAIT: usize = 1024;

const TOKEN_WAKE: u64 = 1 << 32;
const TOKEN_TICK: u64 = 2 << 32;
const TOKEN_LISTENER: u64 = 3 << 32;
const TOKEN_ALARM: u64 = 4 << 32;

/// What a descriptor's writability means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing: nobody asked.
    Open,
    /// What [`Reactor::arm_writable`] asked for.
    WantsWritable,
    /// The answer to a connect.
    Connecting,
}

/// The epoll implementation of [`Reactor`].
pub struct EpollReactor {
    epoll: OwnedFd,
    readable: monoio::net::UnixStream,
    always_readable: monoio::net::UnixStream,
    tick: OwnedFd,
    alarm: OwnedFd,
    wake: RawFd,
    listeners: Vec<OwnedFd>,
    /// By descriptor.
    stages: Vec<Stage>,
    ready: Vec<libc::epoll_event>,
    started: Instant,
}

impl EpollReactor {
    /// Registers the listeners, the wake-up eventfd and the tick. Must run inside the shard's
    /// runtime.
    /// `slots_count` is one more than the largest descriptor number of the process.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(listeners: Vec<OwnedFd>, wake: RawFd, slots_count: u32) -> io::Result<Self> {
        // SAFETY: makes a new descriptor that is owned at once.
        let epoll =
            unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        let (tick, alarm) = (timer()?, timer()?);
        let every = libc::timespec { tv_sec: 0, tv_nsec: TICK_MS as i64 * 1_000_000 };
        let timer = libc::itimerspec { it_interval: every, it_value: every };
        // SAFETY: `timer` is live, the old value is not asked for.
        check(unsafe {
            libc::timerfd_settime(tick.as_raw_fd(), 0, &raw const timer, std::ptr::null_mut())
        })?;
        let reactor = EpollReactor {
            readable: watch(epoll.try_clone()?)?,
            always_readable: watch(signalled_eventfd()?)?,
            epoll,
            tick,
            alarm,
            wake,
            listeners,
            stages: vec![Stage::Open; slots_count as usize],
            ready: Vec::with_capacity(EVENTS_PER_WAIT),
            started: Instant::now(),
        };
        let input = libc::EPOLLIN as u32;
        reactor.register(wake, input, TOKEN_WAKE)?;
        reactor.register(reactor.tick.as_raw_fd(), input, TOKEN_TICK)?;
        reactor.register(reactor.alarm.as_raw_fd(), input, TOKEN_ALARM)?;
        for (index, listener) in reactor.listeners.iter().enumerate() {
            let fd = listener.as_raw_fd();
            // SAFETY: plain fcntl on a descriptor we own.
            check(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) })?;
            reactor.register(fd, input, TOKEN_LISTENER | index as u64)?;
        }
        Ok(reactor)
    }

    fn register(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` is live during the call.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) })
            .map(|_| ())
    }

    fn listen_for(&self, index: usize, events: u32) {
        let mut event = libc::epoll_event { events, u64: TOKEN_LISTENER | index as u64 };
        let (epoll, fd) = (self.epoll.as_raw_fd(), self.listeners[index].as_raw_fd());
        // SAFETY: `event` is live during the call.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, fd, &raw mut event) };
    }

    fn register_socket(&self, fd: RawFd) -> io::Result<()> {
        let bits = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        self.register(fd, bits as u32, fd as u64)
    }

    fn take_events(&mut self, events: &mut Vec<Event>) {
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: the buffer has room for EVENTS_PER_WAIT entries; the kernel fills `count` of
        // them.
        let count = unsafe {
            let count = libc::epoll_wait(epoll, self.ready.as_mut_ptr(), EVENTS_PER_WAIT as i32, 0);
            self.ready.set_len(count.max(0) as usize);
            count
        };
        for index in 0..count.max(0) as usize {
            let libc::epoll_event { events: bits, u64: token } = self.ready[index];
            match token & !0xffff_ffff {
                TOKEN_WAKE => {
                    drain_eventfd(self.wake);
                    events.push(Event::Woken);
                }
                TOKEN_TICK => {
                    drain_eventfd(self.tick.as_raw_fd());
                    for index in 0..self.listeners.len() {
                        self.listen_for(index, libc::EPOLLIN as u32);
                    }
                    events.push(Event::Tick);
                }
                TOKEN_ALARM => {
                    drain_eventfd(self.alarm.as_raw_fd());
                    events.push(Event::Woken);
                }
                TOKEN_LISTENER => self.accept(token as u32 as usize, events),
                _ => self.on_socket(token as u32, bits, events),
            }
        }
    }

    fn on_socket(&mut self, slot: u32, bits: u32, events: &mut Vec<Event>) {
        let failure = libc::EPOLLHUP | libc::EPOLLERR;
        let is_writable = bits & libc::EPOLLOUT as u32 != 0;
        match self.stages[slot as usize] {
            Stage::Connecting if is_writable || bits & failure as u32 != 0 => {
                self.stages[slot as usize] = Stage::Open;
                let outcome = connect::outcome(slot);
                events.push(outcome);
                if let Event::ConnectFailed { .. } = outcome {
                    return self.close(slot);
                }
            }
            Stage::WantsWritable if is_writable => {
                self.stages[slot as usize] = Stage::Open;
                events.push(Event::Writable { slot });
            }
            _ => {}
        }
        if bits & (libc::EPOLLRDHUP | failure) as u32 != 0 {
            events.push(Event::Ended { slot });
        } else if bits & libc::EPOLLIN as u32 != 0 {
            events.push(Event::Readable { slot });
        }
    }

    fn accept(&mut self, index: usize, events: &mut Vec<Event>) {
        for _ in 0..ACCEPTS_PER_TURN {
            // SAFETY: an all-zero sockaddr_storage is valid; its size is passed.
            let (fd, storage) = unsafe {
                let mut storage: libc::sockaddr_storage = std::mem::zeroed();
                let mut length = size_of::<libc::sockaddr_storage>() as u32;
                let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                let listener = self.listeners[index].as_raw_fd();
                let fd = libc::accept4(listener, (&raw mut storage).cast(), &raw mut length, flags);
                (fd, storage)
            };
            if fd < 0 {
                let errno = errno();
                if errno != libc::EAGAIN && errno != libc::ECONNABORTED {
                    events.push(Event::AcceptFailed { errno });
                    // What cannot be accepted stays readable: look again at the next tick.
                    self.listen_for(index, 0);
                }
                return;
            }
            let is_in_table = (fd as usize) < self.stages.len();
            if !is_in_table || self.register_socket(fd).is_err() {
                // SAFETY: the descriptor came from accept4 above and is used nowhere else.
                unsafe { libc::close(fd) };
                events.push(Event::AcceptFailed { errno: libc::ENFILE });
                continue;
            }
            let unknown = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
            let peer = decode_address(&storage).unwrap_or(unknown);
            events.push(Event::Accepted { slot: fd as u32, listener: index as u8, peer });
        }
    }
}

impl Reactor for EpollReactor {
    async fn wait(&mut self, events: &mut Vec<Event>, may_sleep: bool) -> io::Result<()> {
        self.take_events(events);
        if events.is_empty() && may_sleep {
            self.readable.readable(false).await?;
            self.take_events(events);
        } else if !may_sleep {
            self.always_readable.readable(false).await?;
        }
        Ok(())
    }

    fn recv_batch(
        &mut self,
        slots: &[u32],
        buffer: &mut [u8],
        stride: usize,
        results: &mut Vec<Result<usize, i32>>,
    ) {
        results.clear();
        for (&slot, piece) in slots.iter().zip(buffer.chunks_mut(stride)) {
            // SAFETY: the piece is live and its length is passed.
            let count = unsafe {
                let fd = slot as i32;
                libc::recv(fd, piece.as_mut_ptr().cast(), piece.len(), libc::MSG_DONTWAIT)
            };
            results.push(if count >= 0 { Ok(count as usize) } else { Err(errno()) });
        }
    }

    fn send_batch<'a>(
        &mut self,
        requests: impl Iterator<Item = SendRequest<'a>>,
        shortfalls: &mut Vec<Shortfall>,
    ) {
        for request in requests {
            let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
            let mut iovecs = [empty; PARTS_MAX];
            let (mut parts_count, mut offered) = (0, 0);
            for (iovec, part) in iovecs.iter_mut().zip(request.parts.iter()) {
                iovec.iov_base = part.as_ptr().cast_mut().cast();
                iovec.iov_len = part.len();
                parts_count += 1;
                offered += part.len();
            }
            // SAFETY: the message points to live iovecs, which point to live slices.
            let count = unsafe {
                let mut message: libc::msghdr = std::mem::zeroed();
                message.msg_iov = iovecs.as_mut_ptr();
                message.msg_iovlen = parts_count;
                let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
                libc::sendmsg(request.slot as i32, &raw const message, flags)
            };
            if count < 0 {
                shortfalls.push(Shortfall { slot: request.slot, taken: Err(errno()) });
            } else if (count as usize) < offered {
                shortfalls.push(Shortfall { slot: request.slot, taken: Ok(count as usize) });
            }
        }
    }

    fn arm_writable(&mut self, slot: u32) {
        self.stages[slot as usize] = Stage::WantsWritable;
    }

    fn shutdown_write(&mut self, slot: u32) {
        // SAFETY: plain system call on a descriptor that the shard holds open.
        unsafe { libc::shutdown(slot as i32, libc::SHUT_WR) };
    }

    fn close(&mut self, slot: u32) {
        self.stages[slot as usize] = Stage::Open;
        // SAFETY: the shard closes each slot once; nobody else knows the descriptor.
        unsafe { libc::close(slot as i32) };
    }

    fn stop_accepting(&mut self) {
        for listener in self.listeners.drain(..) {
            let fd = listener.as_raw_fd();
            // SAFETY: removes a registration; no event is read.
            unsafe {
                let epoll = self.epoll.as_raw_fd();
                libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut())
            };
        }
    }

    fn slots_count(&self) -> usize {
        self.stages.len()
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// A timer that is not armed.
fn timer() -> io::Result<OwnedFd> {
    let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
    // SAFETY: makes a new descriptor that is owned at once.
    unsafe {
        let fd = check(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
