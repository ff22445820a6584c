//! Sockets on an io_uring of the shard's own, beside the runtime's ring and awaited through it.
//!
//! Direct descriptors, one multishot accept per listener, one multishot poll per idle connection,
//! batched receives and sends that never block. Facts behind each choice, measured:
//! the ring is COOP_TASKRUN (a DEFER_TASKRUN ring never turns readable for the outer ring); sends
//! carry MSG_WAITALL because CQE_SKIP_SUCCESS would hide a short send; a close is POLL_REMOVE by
//! user_data plus CLOSE (close alone leaves the socket alive under its poll, SHUTDOWN goes to a
//! worker thread, cancel by fd walks every request). user_data is kind, generation and slot, so
//! that completions of a socket that is gone fall out by one comparison.

mod connect;
#[cfg(test)]
mod tests;

use super::listener::decode_address;
use super::{errno, Event, Parts, Reactor, SendRequest, Shortfall, PARTS_MAX, TICK_MS};
use io_uring::{cqueue, opcode, squeue, types, IoUring};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

const SQ_ENTRIES: u32 = 1024;
const CQ_ENTRIES: u32 = 32_768;
/// Until the kernel may have memory again.
const MEMORY_PAUSE: Duration = Duration::from_millis(1);
/// Sends prepared between two submissions.
const SENDS_PER_SUBMIT: usize = 256;

const KIND_ACCEPT: u64 = 1;
const KIND_POLL_IN: u64 = 2;
const KIND_POLL_OUT: u64 = 3;
const KIND_RECV: u64 = 4;
const KIND_SEND: u64 = 5;
const KIND_WAKE: u64 = 6;
const KIND_TICK: u64 = 7;
const KIND_PEER: u64 = 8;
const KIND_IGNORED: u64 = 9;
const KIND_INSTALL: u64 = 10;
const KIND_CONNECT: u64 = 11;
const KIND_ALARM: u64 = 12;

const GENERATION_BITS: u32 = 24;

fn user_data(kind: u64, generation: u32, slot: u32) -> u64 {
    let generation = u64::from(generation & ((1 << GENERATION_BITS) - 1));
    kind << 56 | generation << 32 | u64::from(slot)
}

#[derive(Clone, Copy)]
struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

impl Completion {
    fn kind(self) -> u64 {
        self.user_data >> 56
    }
    fn slot(self) -> u32 {
        self.user_data as u32
    }
    fn generation(self) -> u32 {
        (self.user_data >> 32) as u32 & ((1 << GENERATION_BITS) - 1)
    }
    fn is_last(self) -> bool {
        !cqueue::more(self.flags)
    }
}

/// What the reactor remembers of a slot: its generation, and whether a POLLOUT is armed. One
/// number, so that a fresh table is zeroed memory that nobody has touched.
#[derive(Clone, Copy)]
struct Slot(u32);

impl Slot {
    const ARMED: u32 = 1 << 31;

    fn generation(self) -> u32 {
        self.0 & ((1 << GENERATION_BITS) - 1)
    }
    fn is_writable_armed(self) -> bool {
        self.0 & Slot::ARMED != 0
    }
    /// The slot for its next connection.
    fn next(self) -> Slot {
        Slot(Slot(self.0 + 1).generation())
    }
}

/// The io_uring implementation of [`Reactor`].
pub struct UringReactor {
    ring: IoUring,
    /// The ring's descriptor, wrapped so that the runtime can wait for it.
    readable: monoio::net::UnixStream,
    /// An eventfd that is always readable: waiting for it makes the runtime park and run others.
    always_readable: monoio::net::UnixStream,
    wake: RawFd,
    /// None once we accept no more; and is it IPv4?
    listeners: Vec<(Option<OwnedFd>, bool)>,
    slots: Vec<u32>,
    /// Completions met inside a batch, kept for the next wait.
    deferred: Vec<Completion>,
    accepted: Vec<(u32, u8)>,
    peers: Vec<libc::sockaddr_storage>,
    iovecs: Vec<libc::iovec>,
    messages: Vec<libc::msghdr>,
    tick_interval: Box<types::Timespec>,
    /// Listeners whose multishot accept ended.
    unarmed: Vec<usize>,
    /// Times that the completion queue had no room.
    overflow_count: u64,
    alarm: Box<types::Timespec>,
    connecting: connect::Slots,
    is_accepting: bool,
    started: Instant,
}

/// Makes the runtime that a [`UringReactor`] lives in, for the calling thread.
///
/// # Errors
/// What the kernel says to io_uring_setup.
pub fn runtime() -> io::Result<monoio::Runtime<monoio::time::TimeDriver<monoio::IoUringDriver>>> {
    let mut builder = io_uring_06::IoUring::builder();
    builder.setup_coop_taskrun().setup_single_issuer();
    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(256)
        .uring_builder(builder)
        .enable_timer()
        .build()
}

impl UringReactor {
    /// Sets the ring up with a table of `slots_count` direct descriptors, and arms accept on each
    /// listener, the wake-up eventfd and the tick. Must run inside the shard's runtime.
    ///
    /// # Errors
    /// What the kernel says to io_uring_setup or to the registration of the table.
    pub fn new(listeners: Vec<OwnedFd>, wake: RawFd, slots_count: u32) -> io::Result<Self> {
        UringReactor::with_queues(listeners, wake, slots_count, (SQ_ENTRIES, CQ_ENTRIES))
    }

    /// As [`UringReactor::new`], with so many entries for submissions and for completions.
    fn with_queues(
        listeners: Vec<OwnedFd>,
        wake: RawFd,
        slots_count: u32,
        (sq_entries, cq_entries): (u32, u32),
    ) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(cq_entries).setup_single_issuer();
        builder.setup_coop_taskrun().setup_taskrun_flag();
        let ring: IoUring = builder.build(sq_entries)?;
        ring.submitter().register_files_sparse(slots_count)?;
        let readable = watch(duplicate(ring.as_raw_fd())?)?;
        let always_readable = watch(signalled_eventfd()?)?;
        let listeners = listeners
            .into_iter()
            .map(|fd| super::listener::local_address(&fd).map(|a| (Some(fd), a.is_ipv4())))
            .collect::<io::Result<Vec<_>>>()?;
        let interval =
            types::Timespec::new().sec(TICK_MS / 1000).nsec((TICK_MS % 1000) as u32 * 1_000_000);
        let mut reactor = UringReactor {
            ring,
            readable,
            always_readable,
            wake,
            listeners,
            slots: vec![0; slots_count as usize],
            deferred: Vec::new(),
            accepted: Vec::new(),
            peers: Vec::new(),
            iovecs: Vec::new(),
            messages: Vec::new(),
            tick_interval: Box::new(interval),
            unarmed: Vec::new(),
            overflow_count: 0,
            alarm: Box::default(),
            connecting: connect::Slots::default(),
            is_accepting: true,
            started: Instant::now(),
        };
        for index in 0..reactor.listeners.len() {
            reactor.arm_accept(index);
        }
        reactor.arm_wake();
        reactor.arm_tick();
        reactor.submit()?;
        Ok(reactor)
    }

    /// # Safety of the entry
    /// Whatever the entry points to must live until it completes; callers below say why it does.
    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: see each caller: pointers are to fields of self or to buffers that outlive
        // submit.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            if self.submit().is_err() {
                return;
            }
        }
    }

    /// As [`UringReactor::submit`], if there is anything to submit or to let happen: with nothing
    /// of both, it would be a system call for nothing, and a turn of one event has several.
    fn submit_pending(&mut self) -> io::Result<()> {
        let queue = self.ring.submission();
        let is_idle = queue.is_empty() && !queue.taskrun() && !queue.cq_overflow();
        drop(queue);
        if is_idle {
            return Ok(());
        }
        self.submit()
    }

    fn submit(&mut self) -> io::Result<()> {
        loop {
            match self.ring.submit() {
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // The kernel had no memory for a request. What is queued points to buffers of our
                // caller's: it must not stay behind.
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                    std::thread::sleep(MEMORY_PAUSE);
                }
                // The completion queue overflowed: take what is there, then go on.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    self.overflow_count += 1;
                    self.defer_completions();
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn defer_completions(&mut self) {
        let deferred = &mut self.deferred;
        self.ring.completion().for_each(|entry| {
            deferred.push(Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            });
        });
    }

    fn arm_accept(&mut self, index: usize) {
        let Some(listener) = &self.listeners[index].0 else { return };
        let fd = types::Fd(listener.as_raw_fd());
        let entry = opcode::AcceptMulti::new(fd).allocate_file_index(true).build();
        self.push(&entry.user_data(user_data(KIND_ACCEPT, 0, index as u32)));
    }

    fn arm_accepts(&mut self) {
        while let Some(index) = self.unarmed.pop() {
            if self.is_accepting {
                self.arm_accept(index);
            }
        }
    }

    fn arm_wake(&mut self) {
        let poll = opcode::PollAdd::new(types::Fd(self.wake), libc::POLLIN as u32).multi(true);
        self.push(&poll.build().user_data(user_data(KIND_WAKE, 0, 0)));
    }

    fn arm_tick(&mut self) {
        let interval: *const types::Timespec = &raw const *self.tick_interval;
        let timeout = opcode::Timeout::new(interval).flags(types::TimeoutFlags::MULTISHOT);
        self.push(&timeout.build().user_data(user_data(KIND_TICK, 0, 0)));
    }

    fn arm_readable(&mut self, slot: u32) {
        let generation = Slot(self.slots[slot as usize]).generation();
        let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
        let poll = opcode::PollAdd::new(types::Fixed(slot), events).multi(true);
        self.push(&poll.build().user_data(user_data(KIND_POLL_IN, generation, slot)));
    }

    /// Is `completion` about the socket that the slot holds now?
    fn is_current(&self, completion: Completion) -> bool {
        Slot(self.slots[completion.slot() as usize]).generation() == completion.generation()
    }

    fn on_completion(&mut self, completion: Completion, events: &mut Vec<Event>) {
        let slot = completion.slot();
        match completion.kind() {
            KIND_ACCEPT => {
                if completion.result >= 0 {
                    self.accepted.push((completion.result as u32, slot as u8));
                } else if completion.result != -libc::ECANCELED {
                    events.push(Event::AcceptFailed { errno: -completion.result });
                }
                if completion.is_last() {
                    // With a full table each attempt drops a client: not before the next tick.
                    self.unarmed.push(slot as usize);
                    if completion.result >= 0 {
                        self.arm_accepts();
                    }
                }
            }
            KIND_POLL_IN if self.is_current(completion) => {
                let ends = libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;
                if completion.result >= 0 {
                    let is_end = completion.result & i32::from(ends) != 0;
                    events.push(match is_end {
                        true => Event::Ended { slot },
                        false => Event::Readable { slot },
                    });
                }
                // An overflow of the completion queue ends multishot polls: arm again.
                if completion.is_last() && completion.result != -libc::ECANCELED {
                    self.arm_readable(slot);
                }
            }
            KIND_POLL_OUT if self.is_current(completion) => {
                self.slots[slot as usize] &= !Slot::ARMED;
                events.push(Event::Writable { slot });
            }
            KIND_CONNECT if self.is_current(completion) => {
                if completion.result >= 0 {
                    self.arm_readable(slot);
                    events.push(Event::Connected { slot });
                } else {
                    self.close(slot);
                    events.push(Event::ConnectFailed { slot, errno: -completion.result });
                }
            }
            KIND_ALARM => events.push(Event::Woken),
            KIND_WAKE => {
                drain_eventfd(self.wake);
                events.push(Event::Woken);
                if completion.is_last() {
                    self.arm_wake();
                }
            }
            KIND_TICK => {
                events.push(Event::Tick);
                self.arm_accepts();
                if completion.is_last() {
                    self.arm_tick();
                }
            }
            _ => {}
        }
    }

    /// Asks the kernel for the addresses of what was accepted in this turn, arms their polls and
    /// reports them.
    fn finish_accepts(&mut self, events: &mut Vec<Event>) {
        let accepted = std::mem::take(&mut self.accepted);
        for batch in accepted.chunks(64) {
            self.peers.clear();
            // SAFETY: an all-zero sockaddr_storage is a valid value.
            self.peers.resize(batch.len(), unsafe { std::mem::zeroed() });
            for (index, &(slot, listener)) in batch.iter().enumerate() {
                let is_ipv4 = self.listeners[usize::from(listener)].1;
                let address: *mut libc::sockaddr_storage = &raw mut self.peers[index];
                self.push(&peer_name(slot, is_ipv4, address, index as u32));
                self.arm_readable(slot);
            }
            let mut pending = batch.len();
            let mut peers: [Option<SocketAddr>; 64] = [None; 64];
            self.complete_batch(KIND_PEER, &mut pending, |index, result, peers_raw| {
                peers[index] = if result > 0 { decode_address(&peers_raw[index]) } else { None };
            });
            for (index, &(slot, listener)) in batch.iter().enumerate() {
                let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
                let peer = peers[index].unwrap_or(unknown);
                events.push(Event::Accepted { slot, listener, peer });
            }
        }
        self.accepted = accepted;
        self.accepted.clear();
    }

    /// Submits until `pending` completions of `kind` have come; others are kept for the next wait.
    fn complete_batch(
        &mut self,
        kind: u64,
        pending: &mut usize,
        mut on_result: impl FnMut(usize, i32, &[libc::sockaddr_storage]),
    ) {
        while *pending > 0 {
            if self.submit().is_err() {
                return;
            }
            let (deferred, peers) = (&mut self.deferred, &self.peers);
            let mut others = 0;
            self.ring.completion().for_each(|entry| {
                if entry.user_data() >> 56 == kind {
                    on_result(entry.user_data() as u32 as usize, entry.result(), peers);
                    *pending -= 1;
                } else {
                    others += 1;
                    deferred.push(Completion {
                        user_data: entry.user_data(),
                        result: entry.result(),
                        flags: entry.flags(),
                    });
                }
            });
        }
    }

    fn take_completions(&mut self, events: &mut Vec<Event>) {
        self.defer_completions();
        self.take_deferred(events);
        if !self.accepted.is_empty() {
            self.finish_accepts(events);
            // Who comes with its request is readable as soon as it is asked: in this turn.
            self.take_deferred(events);
        }
    }

    fn take_deferred(&mut self, events: &mut Vec<Event>) {
        let mut completions = std::mem::take(&mut self.deferred);
        for &completion in &completions {
            self.on_completion(completion, events);
        }
        completions.clear();
        // What came meanwhile (while re-arming) stays for the next turn.
        completions.append(&mut self.deferred);
        self.deferred = completions;
    }
}

impl Reactor for UringReactor {
    async fn wait(&mut self, events: &mut Vec<Event>, may_sleep: bool) -> io::Result<()> {
        // Entries must be submitted before the wait: a re-arm left in the queue deadlocks the
        // shard.
        self.submit_pending()?;
        self.take_completions(events);
        if events.is_empty() && may_sleep && self.deferred.is_empty() {
            self.submit_pending()?;
            self.readable.readable(false).await?;
            self.submit_pending()?;
            self.take_completions(events);
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
        results.resize(slots.len(), Err(libc::EAGAIN));
        for (index, (&slot, piece)) in slots.iter().zip(buffer.chunks_mut(stride)).enumerate() {
            let entry = opcode::Recv::new(types::Fixed(slot), piece.as_mut_ptr(), stride as u32);
            let entry = entry.flags(libc::MSG_DONTWAIT).build();
            self.push(&entry.user_data(user_data(KIND_RECV, 0, index as u32)));
        }
        let mut pending = slots.len().min(buffer.len() / stride);
        self.complete_batch(KIND_RECV, &mut pending, |index, result, _| {
            results[index] = if result >= 0 { Ok(result as usize) } else { Err(-result) };
        });
    }

    fn send_batch<'a>(
        &mut self,
        requests: impl Iterator<Item = SendRequest<'a>>,
        shortfalls: &mut Vec<Shortfall>,
    ) {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;
        self.iovecs.reserve(SENDS_PER_SUBMIT * PARTS_MAX);
        self.messages.reserve(SENDS_PER_SUBMIT);
        let mut requests = requests.fuse();
        loop {
            self.iovecs.clear();
            self.messages.clear();
            let capacity = self.ring.submission().capacity();
            let most = SENDS_PER_SUBMIT.min(capacity);
            if self.ring.submission().len() + most > capacity && self.submit().is_err() {
                return;
            }
            let (slots, iovecs, messages) = (&self.slots, &mut self.iovecs, &mut self.messages);
            let mut queue = self.ring.submission();
            let before = queue.len();
            for SendRequest { slot, parts } in requests.by_ref().take(most) {
                let fd = types::Fixed(slot);
                let entry = match parts {
                    Parts::One(part) => {
                        let send = opcode::Send::new(fd, part.as_ptr(), part.len() as u32);
                        send.flags(flags).build()
                    }
                    Parts::Many(..) => {
                        let message = gather(parts, iovecs, messages);
                        opcode::SendMsg::new(fd, message).flags(flags as u32).build()
                    }
                };
                let user_data = user_data(KIND_SEND, Slot(slots[slot as usize]).generation(), slot);
                let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(user_data);
                // SAFETY: the requests' bytes live until this function returns, the messages until
                // the next batch; the kernel has copied both when submit returned. There is room.
                let _ = unsafe { queue.push(&entry) };
            }
            if queue.len() == before {
                return;
            }
            drop(queue);
            // After submit the kernel has copied everything: DONTWAIT makes each send end inline.
            if self.submit().is_err() {
                return;
            }
            self.collect_shortfalls(shortfalls);
        }
    }

    fn arm_writable(&mut self, slot: u32) {
        let state = Slot(self.slots[slot as usize]);
        if state.is_writable_armed() {
            return;
        }
        self.slots[slot as usize] |= Slot::ARMED;
        let generation = state.generation();
        let poll = opcode::PollAdd::new(types::Fixed(slot), libc::POLLOUT as u32);
        self.push(&poll.build().user_data(user_data(KIND_POLL_OUT, generation, slot)));
    }

    fn shutdown_write(&mut self, slot: u32) {
        // Not IORING_OP_SHUTDOWN: it always runs on a worker thread, after a CLOSE that follows it.
        let entry = opcode::FixedFdInstall::new(types::Fixed(slot), 0).build();
        self.push(&entry.user_data(user_data(KIND_INSTALL, 0, 0)));
        let mut installed = -1;
        self.complete_batch(KIND_INSTALL, &mut 1, |_, result, _| installed = result);
        if installed >= 0 {
            // SAFETY: the kernel just made this descriptor for us; it is closed here and nowhere
            // else.
            unsafe {
                libc::shutdown(installed, libc::SHUT_WR);
                libc::close(installed);
            }
        }
    }

    fn close(&mut self, slot: u32) {
        let state = Slot(self.slots[slot as usize]);
        let generation = state.generation();
        let ignored = user_data(KIND_IGNORED, 0, slot);
        let skip = squeue::Flags::SKIP_SUCCESS;
        let remove = opcode::PollRemove::new(user_data(KIND_POLL_IN, generation, slot)).build();
        self.push(&remove.flags(skip).user_data(ignored));
        if state.is_writable_armed() {
            let remove = opcode::PollRemove::new(user_data(KIND_POLL_OUT, generation, slot));
            self.push(&remove.build().flags(skip).user_data(ignored));
        }
        let close = opcode::Close::new(types::Fixed(slot)).build();
        self.push(&close.flags(skip).user_data(ignored));
        self.slots[slot as usize] = state.next().0;
        self.connecting.give_back(slot);
    }

    fn stop_accepting(&mut self) {
        self.is_accepting = false;
        for index in 0..self.listeners.len() {
            let cancel = opcode::AsyncCancel::new(user_data(KIND_ACCEPT, 0, index as u32)).build();
            self.push(&cancel.user_data(user_data(KIND_IGNORED, 0, 0)));
        }
        // A failed submission shows up in the next wait.
        let _ = self.submit();
        for (listener, _) in &mut self.listeners {
            // Whoever waits in the backlog is refused at once instead of waiting for nothing.
            *listener = None;
        }
    }

    fn slots_count(&self) -> usize {
        self.slots.len()
    }

    fn overflow_count(&self) -> u64 {
        self.overflow_count
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl UringReactor {
    fn collect_shortfalls(&mut self, shortfalls: &mut Vec<Shortfall>) {
        let (deferred, slots) = (&mut self.deferred, &self.slots);
        self.ring.completion().for_each(|entry| {
            let (user_data, result, flags) = (entry.user_data(), entry.result(), entry.flags());
            let completion = Completion { user_data, result, flags };
            if completion.kind() != KIND_SEND {
                deferred.push(completion);
                return;
            }
            let slot = completion.slot();
            if Slot(slots[slot as usize]).generation() == completion.generation() {
                let taken = if result >= 0 { Ok(result as usize) } else { Err(-result) };
                shortfalls.push(Shortfall { slot, taken });
            }
        });
    }
}

/// Writes the pieces into the shared iovec array; both arrays have room for the whole batch, so
/// that the pointers stay valid until submit.
fn gather(
    parts: Parts<'_>,
    iovecs: &mut Vec<libc::iovec>,
    messages: &mut Vec<libc::msghdr>,
) -> *const libc::msghdr {
    let start = iovecs.len();
    for part in parts.iter() {
        let base = part.as_ptr().cast_mut().cast();
        iovecs.push(libc::iovec { iov_base: base, iov_len: part.len() });
    }
    // SAFETY: an all-zero msghdr is a valid, empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut iovecs[start];
    message.msg_iovlen = iovecs.len() - start;
    messages.push(message);
    &raw const messages[messages.len() - 1]
}

/// URING_CMD that asks for SO_PEERNAME of a direct descriptor; the crate has no builder for it.
fn peer_name(
    slot: u32,
    is_ipv4: bool,
    address: *mut libc::sockaddr_storage,
    index: u32,
) -> squeue::Entry {
    const SOCKET_URING_OP_GETSOCKOPT: u32 = 2;
    const SO_PEERNAME: u32 = 28;
    // The length must not exceed the address's own: the kernel answers EINVAL else.
    let length: u32 = if is_ipv4 { 16 } else { 28 };
    let mut entry = opcode::UringCmd16::new(types::Fixed(slot), SOCKET_URING_OP_GETSOCKOPT)
        .build()
        .user_data(user_data(KIND_PEER, 0, index));
    let mut write = |at: usize, bytes: &[u8]| {
        // SAFETY: an entry is 64 plain bytes (asserted below) and `at + bytes.len()` stays inside.
        let raw = unsafe { &mut *(&raw mut entry).cast::<[u8; 64]>() };
        raw[at..at + bytes.len()].copy_from_slice(bytes);
    };
    write(16, &(libc::SOL_SOCKET as u32).to_ne_bytes());
    write(20, &SO_PEERNAME.to_ne_bytes());
    write(44, &length.to_ne_bytes());
    write(48, &(address as u64).to_ne_bytes());
    entry
}

const _: () = assert!(size_of::<squeue::Entry>() == 64);

fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl makes a new descriptor that is owned at once.
    unsafe {
        let copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0);
        if copy < 0 {
            return Err(io::Error::from_raw_os_error(errno()));
        }
        Ok(OwnedFd::from_raw_fd(copy))
    }
}

/// An eventfd whose counter is one and is never read: readable for ever.
pub(super) fn signalled_eventfd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd makes a new descriptor that is owned at once.
    unsafe {
        let fd = libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(errno()));
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Wraps any descriptor so that the runtime can wait until it is readable (it has no type for
/// this).
pub(super) fn watch(fd: OwnedFd) -> io::Result<monoio::net::UnixStream> {
    monoio::net::UnixStream::from_std(std::os::unix::net::UnixStream::from(fd))
}

pub(super) fn drain_eventfd(fd: RawFd) {
    let mut count = 0u64;
    // SAFETY: reads eight bytes into a live u64; the descriptor is non-blocking.
    unsafe { libc::read(fd, (&raw mut count).cast(), 8) };
}
