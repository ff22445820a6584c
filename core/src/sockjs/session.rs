//! One HTTP session: the state machine between an application and a client that comes and goes.
//!
//! It lives at its home shard and sees no sockets: receivers (open answers, wherever their
//! connections are) attach and end, messages are queued, time passes in ticks, and frames come out.
//! One receiver at a time; a poll takes one frame, a stream takes frames until its response limit.
//! Whoever has the connection says of every receiver, once, whether its answer was `completed` or
//! `aborted`; stale words about earlier receivers are ignored. A receiver that breaks off ends the
//! session, because nobody knows which bytes arrived; one that ends in order leaves a session that
//! waits for the next. Ended sessions are remembered for a while and answer 1002, so that a late
//! poll does not open a new session in mid-conversation (reference: protocol, "Session", and
//! complaints about lost messages around polls).

use bytes::Bytes;

use super::endpoint::Endpoint;
use super::error::Error;
use super::frame::{Close, Frame, Messages, Wrapping};
use super::url::Transport;
use crate::limits::Limits;

/// What a waiting message costs besides its bytes.
const MESSAGE_OVERHEAD_BYTES: usize = size_of::<Bytes>();

/// An endpoint's options as its sessions need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Ticks of silence before a heart-beat; 0 for none.
    pub heartbeat_ticks: u32,
    /// Ticks a session lives without a receiver.
    pub disconnect_ticks: u32,
    /// Ticks an ended session is remembered; 0 for not at all.
    pub tombstone_ticks: u32,
    /// Bytes of frames after which a streaming answer ends.
    pub response_bytes_max: u32,
    /// Bytes that may wait for the client, those handed to its connection included.
    pub queue_bytes_max: usize,
    /// Bytes handed to a stream's connection before it has to report that they were sent.
    pub window_bytes: u32,
}

impl Rules {
    /// Those of an endpoint, with ticks of `tick_ms` milliseconds (rounded up). Limits:
    /// `sockjs_queue_bytes_max`, `sockjs_window_bytes_max`.
    pub fn new(endpoint: &Endpoint, limits: &Limits, tick_ms: u32) -> Rules {
        let ticks = |ms: u32| ms.div_ceil(tick_ms.max(1));
        Rules {
            heartbeat_ticks: ticks(endpoint.heartbeat_ms),
            disconnect_ticks: ticks(endpoint.disconnect_delay_ms),
            tombstone_ticks: ticks(endpoint.tombstone_ms),
            response_bytes_max: endpoint.response_bytes_max,
            queue_bytes_max: endpoint.queue_bytes_max.unwrap_or(limits.sockjs_queue_bytes_max),
            window_bytes: limits.sockjs_window_bytes_max,
        }
    }
}

/// A frame for a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write<R> {
    /// Whose answer it belongs to.
    pub receiver: R,
    /// What to write.
    pub frame: Frame,
    /// The answer ends behind it.
    pub is_last: bool,
}

/// How a session ended without its application's doing. The application is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No receiver came within the disconnect delay.
    Expired,
    /// A receiver broke off.
    Interrupted,
}

/// What becomes of a batch of messages from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// They are the application's.
    Deliver,
    /// The application has closed: the answer is as usual, the messages are dropped.
    Drop,
}

/// The open answer of an attached receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Receiver<R> {
    id: R,
    transport: Transport,
    /// Bytes of frames handed over, and of these the ones reported as sent.
    response_bytes: u32,
    sent_bytes: u32,
    last_write: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State<R> {
    /// No receiver since the tick `since`.
    Idle { since: u32 },
    /// A receiver takes frames. If it polls, nothing is queued between calls of `flush`.
    Attached(Receiver<R>),
    /// The last frame was handed over, and is not known to have been sent.
    Leaving { id: R },
    /// The application has closed; no receiver came since `since`.
    Closing { close: Box<Close>, since: u32 },
    /// Ended at `since`, and remembered.
    Ended { since: u32 },
    /// To be forgotten.
    Over,
}

/// What waits for a receiver: no memory of its own for one message, and little for none.
#[derive(Debug, Default)]
struct Queue {
    first: Option<Bytes>,
    rest: Option<Box<Rest>>,
}

/// What waits behind the first message.
#[derive(Debug, Default)]
struct Rest {
    messages: Vec<Bytes>,
    bytes: usize,
}

fn cost_bytes(message: &Bytes) -> usize {
    message.len() + MESSAGE_OVERHEAD_BYTES
}

impl Queue {
    fn push(&mut self, message: Bytes) {
        if self.first.is_none() {
            self.first = Some(message);
        } else {
            let rest = self.rest.get_or_insert_default();
            rest.bytes += cost_bytes(&message);
            rest.messages.push(message);
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let first = self.first.take()?;
        let rest = self.rest.take().map(|rest| rest.messages);
        Some(Frame::Messages(Messages::new(first, rest.unwrap_or_default())))
    }

    fn bytes(&self) -> usize {
        let rest_bytes = self.rest.as_ref().map_or(0, |rest| rest.bytes);
        self.first.as_ref().map_or(0, cost_bytes) + rest_bytes
    }
}

/// A session. `R` names a receiver and is never used twice (shard, connection and generation).
#[derive(Debug)]
pub struct Session<R> {
    state: State<R>,
    queue: Queue,
    is_heartbeat_off: bool,
}

impl<R: Copy + Eq> Session<R> {
    /// The session of a receiver with an unknown name: "any receiving request with an unknown id
    /// creates the session" and is answered with `o`.
    pub fn open(
        id: R,
        transport: Transport,
        now: u32,
        rules: &Rules,
        writes: &mut Vec<Write<R>>,
    ) -> Session<R> {
        let state = State::Idle { since: now };
        let mut session = Session { state, queue: Queue::default(), is_heartbeat_off: false };
        session.begin(id, transport, now);
        session.write(Frame::Open, now, rules, writes);
        session
    }

    /// A receiver came. It is told at once when it is the second, or the session has ended; else it
    /// gets what waits, or waits itself.
    pub fn attach(
        &mut self,
        id: R,
        transport: Transport,
        now: u32,
        rules: &Rules,
        writes: &mut Vec<Write<R>>,
    ) {
        let refuse = |close| Write { receiver: id, frame: Frame::Close(close), is_last: true };
        match &mut self.state {
            State::Attached(_) => writes.push(refuse(Close::ANOTHER_CONNECTION)),
            State::Ended { .. } | State::Over => writes.push(refuse(Close::INTERRUPTED)),
            State::Closing { close, since } => {
                *since = now;
                let close = Close::clone(close);
                self.close_receiver(id, transport, close, writes);
            }
            // Who asks again has read the whole last answer, even if we were not told so yet.
            State::Idle { .. } | State::Leaving { .. } => {
                self.begin(id, transport, now);
                self.flush(now, rules, writes);
            }
        }
    }

    /// The answer of a receiver was sent to its end. The disconnect delay begins.
    pub fn completed(&mut self, id: R, now: u32) {
        if self.state == (State::Leaving { id }) {
            self.state = State::Idle { since: now };
        }
    }

    /// The connection of a receiver broke before its answer was sent to its end.
    pub fn aborted(&mut self, id: R, now: u32, rules: &Rules) -> Option<End> {
        let is_current = match &self.state {
            State::Attached(receiver) => receiver.id == id,
            State::Leaving { id: leaving } => *leaving == id,
            _ => false,
        };
        is_current.then(|| self.end(End::Interrupted, now, rules))
    }

    /// The client of a receiver has ended its half of the connection, and may read on. While it
    /// waits, that is the end of the session; behind its last frame it has what it came for.
    pub fn left(&mut self, id: R, now: u32, rules: &Rules) -> Option<End> {
        let is_waiting = self.receiver() == Some(id);
        is_waiting.then(|| self.end(End::Interrupted, now, rules))
    }

    /// So many bytes of the frames of a stream's answer, counted from its start, were sent.
    pub fn sent(
        &mut self,
        id: R,
        sent_bytes: u32,
        now: u32,
        rules: &Rules,
        writes: &mut Vec<Write<R>>,
    ) {
        if let State::Attached(receiver) = &mut self.state {
            if receiver.id == id {
                let sent_bytes = sent_bytes.min(receiver.response_bytes);
                receiver.sent_bytes = receiver.sent_bytes.max(sent_bytes);
                self.flush(now, rules, writes);
            }
        }
    }

    /// Queues a message, as [`super::frame::push_message`] writes it; shared by all sessions that
    /// get it. [`Session::flush`] sends it, once for all messages of a turn. Dropped when the
    /// session has ended.
    ///
    /// # Errors
    /// [`Error::QueueFull`]; the queue is as before, and the policy is the caller's.
    pub fn send(&mut self, message: Bytes, rules: &Rules) -> Result<(), Error> {
        if !self.is_open() {
            return Ok(());
        }
        let seen = self.waiting_bytes();
        // One message more is always taken: a legal one may be larger than the limit.
        if seen > rules.queue_bytes_max {
            return Err(Error::QueueFull { seen, limit: rules.queue_bytes_max });
        }
        self.queue.push(message);
        Ok(())
    }

    /// Hands what waits to the receiver, if there is one and it is ready: one frame.
    pub fn flush(&mut self, now: u32, rules: &Rules, writes: &mut Vec<Write<R>>) {
        let State::Attached(receiver) = &self.state else { return };
        if receiver.response_bytes - receiver.sent_bytes >= rules.window_bytes {
            return;
        }
        if let Some(frame) = self.queue.take() {
            self.write(frame, now, rules, writes);
        }
    }

    /// The application closes. What waits goes out before the close frame, now or to the next
    /// receiver. Only the first close counts.
    pub fn close(&mut self, close: Close, now: u32, writes: &mut Vec<Write<R>>) {
        if !self.is_open() {
            return;
        }
        let closing = State::Closing { close: Box::new(close.clone()), since: now };
        if let State::Attached(receiver) = std::mem::replace(&mut self.state, closing) {
            self.close_receiver(receiver.id, receiver.transport, close, writes);
        }
    }

    /// Messages came from the client.
    ///
    /// # Errors
    /// [`Error::SessionUnknown`] when the session has ended.
    pub fn accept(&self) -> Result<Accept, Error> {
        match self.state {
            State::Closing { .. } => Ok(Accept::Drop),
            _ if self.is_open() => Ok(Accept::Deliver),
            _ => Err(Error::SessionUnknown),
        }
    }

    /// Time passes: heart-beats, the disconnect delay, forgetting. To be called about every tick.
    pub fn tick(&mut self, now: u32, rules: &Rules, writes: &mut Vec<Write<R>>) -> Option<End> {
        let age = |since: u32| now.saturating_sub(since);
        match &self.state {
            State::Attached(receiver) => {
                let is_due = age(receiver.last_write) >= rules.heartbeat_ticks;
                let is_stalled = receiver.response_bytes > receiver.sent_bytes;
                // A line with bytes on it that do not move is not helped by more of them.
                let is_on = rules.heartbeat_ticks > 0 && !self.is_heartbeat_off;
                if is_on && is_due && !is_stalled {
                    self.write(Frame::Heartbeat, now, rules, writes);
                }
            }
            State::Idle { since } if age(*since) >= rules.disconnect_ticks => {
                return Some(self.end(End::Expired, now, rules));
            }
            State::Closing { since, .. } if age(*since) >= rules.disconnect_ticks => {
                self.remember(now, rules);
            }
            State::Ended { since } if age(*since) >= rules.tombstone_ticks => {
                self.state = State::Over;
            }
            _ => {}
        }
        None
    }

    /// The server was held up until now: its client may have come meanwhile, and has to be given
    /// the time to be heard.
    pub fn excuse(&mut self, now: u32) {
        if let State::Idle { since } | State::Closing { since, .. } = &mut self.state {
            *since = now;
        }
    }

    /// Heart-beats stop, because STOMP has agreed on its own.
    pub fn stop_heartbeats(&mut self) {
        self.is_heartbeat_off = true;
    }

    /// The receiver that is attached, if there is one: who asks for frames now is the second.
    pub fn receiver(&self) -> Option<R> {
        match &self.state {
            State::Attached(receiver) => Some(receiver.id),
            _ => None,
        }
    }

    /// Whether the application may send.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Idle { .. } | State::Attached(_) | State::Leaving { .. })
    }

    /// Whether the session is to be removed from its table.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Bytes that wait for the client: queued, or handed to a stream and not reported as sent.
    pub fn waiting_bytes(&self) -> usize {
        let handed_over = match &self.state {
            State::Attached(receiver) => receiver.response_bytes - receiver.sent_bytes,
            _ => 0,
        };
        self.queue.bytes() + handed_over as usize
    }

    fn begin(&mut self, id: R, transport: Transport, now: u32) {
        let receiver =
            Receiver { id, transport, response_bytes: 0, sent_bytes: 0, last_write: now };
        self.state = State::Attached(receiver);
    }

    /// Writes to the attached receiver, which leaves if it polls or its response limit is reached.
    fn write(&mut self, frame: Frame, now: u32, rules: &Rules, writes: &mut Vec<Write<R>>) {
        let State::Attached(receiver) = &mut self.state else { return };
        let id = receiver.id;
        // The callback counts in polls only, where nothing is counted.
        let bytes = frame.wrapped_bytes(Wrapping::of(receiver.transport, ""));
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        receiver.response_bytes = receiver.response_bytes.saturating_add(bytes);
        receiver.last_write = now;
        let is_last = !receiver.transport.is_streaming()
            || receiver.response_bytes >= rules.response_bytes_max;
        writes.push(Write { receiver: id, frame, is_last });
        if is_last {
            self.state = State::Leaving { id };
        }
    }

    /// What waits, then the close frame; a poll has room for one of them and gets the other later.
    fn close_receiver(
        &mut self,
        receiver: R,
        transport: Transport,
        close: Close,
        writes: &mut Vec<Write<R>>,
    ) {
        if let Some(frame) = self.queue.take() {
            let is_last = !transport.is_streaming();
            writes.push(Write { receiver, frame, is_last });
            if is_last {
                return;
            }
        }
        writes.push(Write { receiver, frame: Frame::Close(close), is_last: true });
    }

    fn end(&mut self, end: End, now: u32, rules: &Rules) -> End {
        self.remember(now, rules);
        end
    }

    fn remember(&mut self, now: u32, rules: &Rules) {
        self.queue = Queue::default();
        self.state =
            if rules.tombstone_ticks > 0 { State::Ended { since: now } } else { State::Over };
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
