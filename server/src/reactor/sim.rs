//! Sockets in memory, seeded faults, and a clock that moves when it is told to (design.md §5, §11).
//!
//! A [`SimNet`] is the network of one shard: the test's clients hold one end of each socket through
//! it, the shard's [`SimReactor`] the other. It behaves as the kernel may and as it seldom does:
//! short receives and sends, EAGAIN, EINTR and ENOBUFS, late, spurious and reordered readiness,
//! late ticks, resets, closed windows, failed accepts. Readiness is told once per arrival, as in
//! uring. Sleep is real: `wait` pends while nothing has happened, and [`SimNet::has_work`] says
//! when the shard's thread would run again, so that a lost wake-up is a shard that never wakes.
//!
//! What the shard may not do is asserted: to use a slot that it closed, to send twice to a
//! connection in one batch. All randomness is of one seed: same calls, same trace.

use super::{Event, Reactor, SendRequest, Shortfall, TICK_MS};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

/// Bytes of a client that the server has not received yet; a client cannot write more.
const INBOUND_BYTES_MAX: usize = 128 * 1024;
/// Connections accepted in one wait.
const ACCEPTS_PER_WAIT: usize = 8;
/// What accept fails with: the peer is gone, or there is nothing left to accept it with.
const ACCEPT_ERRORS: [i32; 6] =
    [libc::ECONNABORTED, libc::EPROTO, libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

/// A small seeded generator (SplitMix64): not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next_u64()) * end.max(1) as u128) >> 64) as usize
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille as usize
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How often each fault strikes, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Receives and sends that take less than they could.
    pub short: u32,
    /// Receives and sends that fail with EAGAIN, EINTR or ENOBUFS though they could succeed.
    pub refused: u32,
    /// Readiness that is told up to 40 ms late.
    pub late: u32,
    /// Waits that tell readiness nobody caused.
    pub spurious: u32,
    /// Connections lost at accept.
    pub accept: u32,
    /// Ticks that are late.
    pub late_tick: u32,
}

/// Something that the kernel seldom does, and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A receive gave less than there was.
    ShortReceive,
    /// A send took less than there was room for.
    ShortSend,
    /// A receive failed with EINTR.
    Interrupted,
    /// A receive failed with ENOBUFS.
    ReceiveNoBuffers,
    /// A send failed with EAGAIN though there was room.
    Again,
    /// A send failed with ENOBUFS though there was room.
    SendNoBuffers,
    /// Readiness was told late.
    LateReadiness,
    /// Readiness that nobody caused was told.
    Spurious,
    /// Readiness was told in another order than it came.
    ReorderedReadiness,
    /// The completion of a send overtook that of an earlier one.
    ReorderedCompletion,
    /// A connection was lost at accept.
    LostAtAccept,
    /// A tick was late.
    LateTick,
    /// A client reset, or its system gave up.
    Reset,
    /// A send filled a client's window.
    WindowFull,
    /// A task needed more than one poll.
    LateTask,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 15] = [
        Fault::ShortReceive,
        Fault::ShortSend,
        Fault::Interrupted,
        Fault::ReceiveNoBuffers,
        Fault::Again,
        Fault::SendNoBuffers,
        Fault::LateReadiness,
        Fault::Spurious,
        Fault::ReorderedReadiness,
        Fault::ReorderedCompletion,
        Fault::LostAtAccept,
        Fault::LateTick,
        Fault::Reset,
        Fault::WindowFull,
        Fault::LateTask,
    ];
}

/// What a client's read brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Bytes, perhaps none yet.
    Bytes(Vec<u8>),
    /// The server ended its half and everything was read.
    End,
    /// The connection was reset.
    Reset,
    /// The connection was lost before the server accepted it.
    Refused,
}

/// Names a socket of one [`SimNet`]; never reused.
pub type SocketId = usize;

#[derive(Default)]
struct Socket {
    listener: u8,
    slot: Option<u32>,
    inbound: VecDeque<u8>,
    /// The client's FIN.
    is_client_done: bool,
    /// What the server's next call meets: the client's reset.
    error: Option<i32>,
    outbound: VecDeque<u8>,
    /// Bytes of `outbound` that the peer's window and our buffer hold together.
    window_bytes: usize,
    /// The server's FIN.
    is_server_done: bool,
    is_reset: bool,
    is_refused: bool,
    is_writable_armed: bool,
    is_spared: bool,
}

struct Pending {
    due_ms: u64,
    generation: u32,
    event: Event,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    generation: u32,
    socket: Option<SocketId>,
}

struct Net {
    rng: Rng,
    faults: Faults,
    now_ms: u64,
    /// How far the time of day is ahead of `now_ms`.
    time_of_day_ms: i64,
    next_tick_ms: u64,
    wake: RawFd,
    is_woken: bool,
    is_accepting: bool,
    sockets: Vec<Socket>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    backlog: VecDeque<SocketId>,
    pending: Vec<Pending>,
    /// Tasks of the shard.
    tasks: Vec<Pin<Box<dyn Future<Output = ()>>>>,
    /// In the order of [`Fault::ALL`].
    struck: [u64; Fault::ALL.len()],
    /// Bytes that the server received and sent.
    moved: [u64; 2],
    trace: u64,
}

/// The clients' side of one shard's network. Clones are the same network.
#[derive(Clone)]
pub struct SimNet(Rc<RefCell<Net>>);

impl SimNet {
    /// A network with room for `slots_count` connections. `wake` is the shard's eventfd.
    pub fn new(seed: u64, faults: Faults, slots_count: u32, wake: RawFd) -> SimNet {
        SimNet(Rc::new(RefCell::new(Net {
            rng: Rng::new(seed),
            faults,
            now_ms: 0,
            time_of_day_ms: 0,
            next_tick_ms: TICK_MS,
            wake,
            is_woken: false,
            is_accepting: true,
            sockets: Vec::new(),
            slots: vec![Slot::default(); slots_count as usize],
            free: (0..slots_count).rev().collect(),
            backlog: VecDeque::new(),
            pending: Vec::new(),
            tasks: Vec::new(),
            struck: [0; Fault::ALL.len()],
            moved: [0; 2],
            trace: 0,
        })))
    }

    /// The shard's end.
    pub fn reactor(&self) -> SimReactor {
        SimReactor(self.clone())
    }

    /// Moves the clock.
    pub fn advance(&self, ms: u64) {
        self.0.borrow_mut().now_ms += ms;
    }

    /// Somebody sets the time of day, so many milliseconds on or back.
    pub fn step_time_of_day(&self, ms: i64) {
        self.0.borrow_mut().time_of_day_ms += ms;
    }

    /// These faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Has something happened that wakes a sleeping shard?
    pub fn has_work(&self) -> bool {
        let mut net = self.0.borrow_mut();
        net.poll_wake();
        let now_ms = net.now_ms;
        net.is_woken
            || (net.is_accepting && !net.backlog.is_empty())
            || now_ms >= net.next_tick_ms
            || net.pending.iter().any(|pending| pending.due_ms <= now_ms)
    }

    /// Is no event on its way, late ones included? (The tick always is.)
    pub fn is_quiet(&self) -> bool {
        let net = self.0.borrow();
        net.pending.is_empty()
            && net.tasks.is_empty()
            && (net.backlog.is_empty() || !net.is_accepting)
    }

    /// Polls one of the shard's tasks, if there is one.
    pub fn run_task(&self) {
        let mut net = self.0.borrow_mut();
        let count = net.tasks.len();
        if count == 0 {
            return;
        }
        let at = net.rng.below(count);
        let mut task = net.tasks.swap_remove(at);
        // A task may use what it was given of the shard, but not while we hold the network.
        drop(net);
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            let mut net = self.0.borrow_mut();
            net.count(Fault::LateTask);
            net.tasks.push(task);
        }
    }

    /// How often each [`Fault`] struck so far, in the order of [`Fault::ALL`].
    pub fn struck(&self) -> [u64; Fault::ALL.len()] {
        self.0.borrow().struck
    }

    /// Bytes that the server received and sent so far.
    pub fn moved(&self) -> [u64; 2] {
        self.0.borrow().moved
    }

    /// Slots that hold a socket.
    pub fn open_slots_count(&self) -> usize {
        self.0.borrow().slots.iter().filter(|slot| slot.socket.is_some()).count()
    }

    /// A hash of every event and every byte so far: equal for equal seeds and calls.
    pub fn trace(&self) -> u64 {
        self.0.borrow().trace
    }

    /// A client connects to the listener with this index; it is accepted later.
    pub fn connect(&self, listener: u8, window_bytes: usize) -> SocketId {
        let mut net = self.0.borrow_mut();
        let id = net.sockets.len();
        let is_refused = !net.is_accepting;
        net.sockets.push(Socket { listener, window_bytes, is_refused, ..Socket::default() });
        if !is_refused {
            net.backlog.push_back(id);
        }
        id
    }

    /// A client writes. Returns the bytes taken; less than given while the server does not read.
    pub fn write(&self, id: SocketId, bytes: &[u8]) -> usize {
        let mut net = self.0.borrow_mut();
        let socket = &mut net.sockets[id];
        if socket.is_reset || socket.is_refused || socket.is_client_done {
            return bytes.len();
        }
        if socket.is_server_done && socket.slot.is_none() {
            // Bytes for a socket that is closed are answered by a reset.
            socket.outbound.clear();
            socket.is_reset = true;
            return bytes.len();
        }
        let count = bytes.len().min(INBOUND_BYTES_MAX.saturating_sub(socket.inbound.len()));
        socket.inbound.extend(&bytes[..count]);
        if count > 0 {
            net.tell_readable(id);
        }
        count
    }

    /// A client reads up to `bytes_max`.
    pub fn read(&self, id: SocketId, bytes_max: usize) -> Read {
        let mut net = self.0.borrow_mut();
        let socket = &mut net.sockets[id];
        if socket.is_refused {
            return Read::Refused;
        }
        if socket.is_reset {
            return Read::Reset;
        }
        if socket.outbound.is_empty() && socket.is_server_done {
            return Read::End;
        }
        let count = socket.outbound.len().min(bytes_max);
        let bytes = take_front(&mut socket.outbound, count);
        net.tell_writable(id);
        Read::Bytes(bytes)
    }

    /// Spares one client all faults of its own connection, and gives it a large window: if it
    /// falls behind, that is the server's doing.
    pub fn spare(&self, id: SocketId) {
        let socket = &mut self.0.borrow_mut().sockets[id];
        socket.is_spared = true;
        socket.window_bytes = 1 << 20;
    }

    /// A client ends its sending half.
    pub fn shutdown_write(&self, id: SocketId) {
        let mut net = self.0.borrow_mut();
        net.sockets[id].is_client_done = true;
        net.tell_readable(id);
    }

    /// A client resets, or its system gives up (`errno`: ECONNRESET, ETIMEDOUT, EHOSTUNREACH).
    pub fn reset(&self, id: SocketId, errno: i32) {
        let mut net = self.0.borrow_mut();
        net.count(Fault::Reset);
        let socket = &mut net.sockets[id];
        socket.error = Some(errno);
        socket.is_reset = true;
        socket.outbound.clear();
        net.tell_readable(id);
        net.tell_writable(id);
    }
}

impl Net {
    fn count(&mut self, fault: Fault) {
        self.struck[fault as usize] += 1;
    }

    fn record(&mut self, value: u64) {
        self.trace = mix(self.trace ^ value).wrapping_add(1);
    }

    fn record_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.record(u64::from_le_bytes(word));
        }
    }

    /// Does a fault strike this socket?
    fn strikes(&mut self, id: SocketId, per_mille: u32) -> bool {
        !self.sockets[id].is_spared && self.rng.chance(per_mille)
    }

    fn tell(&mut self, id: SocketId, slot: u32, event: Event) {
        let is_late = self.strikes(id, self.faults.late);
        let late = if is_late { self.rng.below(40) as u64 } else { 0 };
        if is_late {
            self.count(Fault::LateReadiness);
        }
        let generation = self.slots[slot as usize].generation;
        self.pending.push(Pending { due_ms: self.now_ms + late, generation, event });
    }

    fn tell_readable(&mut self, id: SocketId) {
        let Some(slot) = self.sockets[id].slot else { return };
        let event = self.readable(id, slot);
        let generation = self.slots[slot as usize].generation;
        let covers = |other: &Pending| other.event == event && other.generation == generation;
        // What was not told yet covers this arrival too.
        if !self.pending.iter().any(covers) {
            self.tell(id, slot, event);
        }
    }

    fn readable(&self, id: SocketId, slot: u32) -> Event {
        let socket = &self.sockets[id];
        match socket.is_client_done || socket.error.is_some() {
            true => Event::Ended { slot },
            false => Event::Readable { slot },
        }
    }

    fn tell_writable(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id];
        let Some(slot) = socket.slot else { return };
        let has_room = socket.outbound.len() < socket.window_bytes || socket.error.is_some();
        if socket.is_writable_armed && has_room {
            socket.is_writable_armed = false;
            self.tell(id, slot, Event::Writable { slot });
        }
    }

    fn poll_wake(&mut self) {
        let mut count = 0u64;
        // SAFETY: reads eight bytes into a live u64; the descriptor is non-blocking.
        let bytes = unsafe { libc::read(self.wake, (&raw mut count).cast(), 8) };
        self.is_woken |= bytes == 8;
    }

    fn accept(&mut self, events: &mut Vec<Event>) {
        for _ in 0..ACCEPTS_PER_WAIT {
            let Some(id) = self.backlog.pop_front() else { return };
            let is_lost = self.rng.chance(self.faults.accept);
            let Some(slot) = (if is_lost { None } else { self.free.pop() }) else {
                self.count(Fault::LostAtAccept);
                self.sockets[id].is_refused = true;
                let errno = ACCEPT_ERRORS[self.rng.below(ACCEPT_ERRORS.len())];
                events.push(Event::AcceptFailed { errno });
                continue;
            };
            self.slots[slot as usize].socket = Some(id);
            let socket = &mut self.sockets[id];
            socket.slot = Some(slot);
            let peer = SocketAddr::from(([127, 0, 0, 1], id as u16));
            events.push(Event::Accepted { slot, listener: socket.listener, peer });
            if !socket.inbound.is_empty() || socket.is_client_done || socket.error.is_some() {
                // The poll is armed after the accept was told.
                let generation = self.slots[slot as usize].generation;
                let event = self.readable(id, slot);
                self.pending.push(Pending { due_ms: self.now_ms, generation, event });
            }
        }
    }

    fn take_events(&mut self, events: &mut Vec<Event>) {
        self.poll_wake();
        if std::mem::take(&mut self.is_woken) {
            events.push(Event::Woken);
        }
        if self.now_ms >= self.next_tick_ms {
            if self.rng.chance(self.faults.late_tick) {
                self.count(Fault::LateTick);
            } else {
                self.next_tick_ms = self.now_ms - self.now_ms % TICK_MS + TICK_MS;
                events.push(Event::Tick);
            }
        }
        for Pending { due_ms, generation, event } in std::mem::take(&mut self.pending) {
            let (Event::Readable { slot } | Event::Ended { slot } | Event::Writable { slot }) =
                event
            else {
                continue;
            };
            if due_ms > self.now_ms {
                self.pending.push(Pending { due_ms, generation, event });
            } else if self.slots[slot as usize].generation == generation {
                events.push(event);
            }
        }
        if self.rng.chance(self.faults.spurious) {
            let slot = self.rng.below(self.slots.len());
            if self.slots[slot].socket.is_some() {
                let slot = slot as u32;
                let is_readable = self.rng.chance(500);
                let spurious = [Event::Writable { slot }, Event::Readable { slot }];
                events.push(spurious[usize::from(is_readable)]);
                self.count(Fault::Spurious);
            }
        }
        if self.is_accepting {
            self.accept(events);
        }
        for index in (1..events.len()).rev() {
            let other = self.rng.below(index + 1);
            events.swap(index, other);
            if other != index {
                self.count(Fault::ReorderedReadiness);
            }
        }
        for event in events.iter() {
            let (kind, slot) = match *event {
                Event::Accepted { slot, .. } => (1, slot),
                Event::AcceptFailed { .. } => (2, 0),
                Event::Readable { slot } => (3, slot),
                Event::Ended { slot } => (8, slot),
                Event::Writable { slot } => (4, slot),
                Event::Woken => (5, 0),
                Event::Tick => (6, 0),
                Event::Connected { slot } | Event::ConnectFailed { slot, .. } => (7, slot),
            };
            self.record(kind << 32 | u64::from(slot));
        }
    }

    fn socket_of(&self, slot: u32, call: &str) -> SocketId {
        let socket = self.slots[slot as usize].socket;
        socket.unwrap_or_else(|| panic!("{call} on slot {slot}, which holds no connection"))
    }

    fn recv(&mut self, slot: u32, piece: &mut [u8]) -> Result<usize, i32> {
        let id = self.socket_of(slot, "recv");
        if let Some(errno) = self.sockets[id].error {
            return Err(errno);
        }
        if self.sockets[id].inbound.is_empty() {
            return if self.sockets[id].is_client_done { Ok(0) } else { Err(libc::EAGAIN) };
        }
        if self.strikes(id, self.faults.refused) {
            // Never EAGAIN: with bytes there the kernel does not say it.
            let (fault, errno) =
                [(Fault::Interrupted, libc::EINTR), (Fault::ReceiveNoBuffers, libc::ENOBUFS)]
                    [self.rng.below(2)];
            self.count(fault);
            return Err(errno);
        }
        let mut count = piece.len().min(self.sockets[id].inbound.len());
        if self.strikes(id, self.faults.short) {
            let whole = count;
            count = 1 + self.rng.below(whole);
            if count < whole {
                self.count(Fault::ShortReceive);
            }
            // As if the rest had come just afterwards: a socket gives all it has.
            self.tell_readable(id);
        }
        let bytes = take_front(&mut self.sockets[id].inbound, count);
        piece[..count].copy_from_slice(&bytes);
        self.moved[0] += count as u64;
        self.record_bytes(&bytes);
        Ok(count)
    }

    fn send(&mut self, request: &SendRequest<'_>) -> Result<usize, i32> {
        let id = self.socket_of(request.slot, "send");
        let socket = &self.sockets[id];
        assert!(!socket.is_server_done, "send on slot {} after shutdown_write", request.slot);
        if let Some(errno) = socket.error {
            return Err(errno);
        }
        let room = socket.window_bytes.saturating_sub(socket.outbound.len());
        if room == 0 {
            return Err(libc::EAGAIN);
        }
        if self.strikes(id, self.faults.refused) {
            let (fault, errno) =
                [(Fault::Again, libc::EAGAIN), (Fault::SendNoBuffers, libc::ENOBUFS)]
                    [self.rng.below(2)];
            self.count(fault);
            return Err(errno);
        }
        let mut count = request.parts.bytes().min(room);
        if count == room {
            self.count(Fault::WindowFull);
        }
        assert!(count > 0, "an empty send on slot {}", request.slot);
        if self.strikes(id, self.faults.short) {
            let whole = count;
            count = 1 + self.rng.below(whole);
            if count < whole {
                self.count(Fault::ShortSend);
            }
        }
        let bytes = request.parts.iter().collect::<Vec<_>>().concat();
        self.record_bytes(&bytes[..count]);
        self.moved[1] += count as u64;
        self.sockets[id].outbound.extend(&bytes[..count]);
        Ok(count)
    }
}

fn take_front(queue: &mut VecDeque<u8>, count: usize) -> Vec<u8> {
    let bytes = queue.make_contiguous()[..count].to_vec();
    queue.drain(..count);
    bytes
}

/// The simulated implementation of [`Reactor`].
pub struct SimReactor(SimNet);

impl Reactor for SimReactor {
    /// Pends when there is nothing and the shard may sleep. The test then drops the turn (nothing
    /// is lost: a turn changes nothing before its wait) and begins another when
    /// [`SimNet::has_work`].
    async fn wait(&mut self, events: &mut Vec<Event>, may_sleep: bool) -> io::Result<()> {
        self.0 .0.borrow_mut().take_events(events);
        if events.is_empty() && may_sleep {
            std::future::pending::<()>().await;
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
        let mut net = self.0 .0.borrow_mut();
        results.clear();
        for (index, (&slot, piece)) in slots.iter().zip(buffer.chunks_mut(stride)).enumerate() {
            assert!(!slots[..index].contains(&slot), "slot {slot} twice in one batch of receives");
            results.push(net.recv(slot, piece));
        }
    }

    fn send_batch<'a>(
        &mut self,
        requests: impl Iterator<Item = SendRequest<'a>>,
        shortfalls: &mut Vec<Shortfall>,
    ) {
        let mut net = self.0 .0.borrow_mut();
        let mut seen = Vec::new();
        for request in requests {
            let slot = request.slot;
            assert!(!seen.contains(&slot), "slot {slot} twice in one batch of sends");
            seen.push(slot);
            let taken = net.send(&request);
            if taken != Ok(request.parts.bytes()) {
                let place = net.rng.below(shortfalls.len() + 1);
                if place < shortfalls.len() {
                    net.count(Fault::ReorderedCompletion);
                }
                shortfalls.insert(place, Shortfall { slot, taken });
            }
        }
    }

    fn arm_writable(&mut self, slot: u32) {
        let mut net = self.0 .0.borrow_mut();
        let id = net.socket_of(slot, "arm_writable");
        net.sockets[id].is_writable_armed = true;
        net.tell_writable(id);
    }

    fn shutdown_write(&mut self, slot: u32) {
        let mut net = self.0 .0.borrow_mut();
        let id = net.socket_of(slot, "shutdown_write");
        net.sockets[id].is_server_done = true;
    }

    fn close(&mut self, slot: u32) {
        let mut net = self.0 .0.borrow_mut();
        let id = net.socket_of(slot, "close");
        let state = &mut net.slots[slot as usize];
        *state = Slot { generation: state.generation.wrapping_add(1), socket: None };
        net.free.push(slot);
        let socket = &mut net.sockets[id];
        socket.slot = None;
        socket.is_server_done = true;
        if !socket.inbound.is_empty() {
            // A close over unread bytes is a reset, which overtakes what is under way.
            socket.is_reset = true;
            socket.outbound.clear();
        }
    }

    fn stop_accepting(&mut self) {
        let mut net = self.0 .0.borrow_mut();
        net.is_accepting = false;
        while let Some(id) = net.backlog.pop_front() {
            net.sockets[id].is_refused = true;
        }
    }

    fn slots_count(&self) -> usize {
        self.0 .0.borrow().slots.len()
    }

    fn now_ms(&self) -> u64 {
        self.0 .0.borrow().now_ms
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0 .0.borrow_mut().tasks.push(Box::pin(task));
    }

    /// Nobody here guesses.
    fn random_bits(&self) -> io::Result<u128> {
        let mut net = self.0 .0.borrow_mut();
        Ok(u128::from(net.rng.next_u64()) << 64 | u128::from(net.rng.next_u64()))
    }

    /// The run begins in 1970, unless [`SimNet::step_time_of_day`] says otherwise.
    fn unix_ms(&self) -> u64 {
        self.now_ms().saturating_add_signed(self.0 .0.borrow().time_of_day_ms)
    }
}
