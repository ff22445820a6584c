//! The queues between shards: one bounded single-producer ring per ordered pair, and the wake-up.
//!
//! A sender writes the other shard's eventfd only on the edge from sleeping to awake, so that a
//! busy shard costs no system call. A full ring never loses and never blocks: what does not fit
//! waits in the sender's overflow, in order, and the shard stops reading from publishers until it
//! is empty.

mod sleep;

use rtrb::{Consumer, Producer, RingBuffer};
use sleep::Sleep;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// The atomics of [`sleep`]; the model check (tests/model) puts loom's in their place.
mod sync {
    pub(super) use std::sync::atomic::{fence, AtomicBool, Ordering};
}

/// Messages that fit into one ring. What is on its way is memory that no other mark bounds, and may
/// all be for one client.
pub const RING_CAPACITY: usize = 1024;

/// How others wake a shard.
#[derive(Debug)]
pub struct Doorbell {
    eventfd: OwnedFd,
    sleep: Sleep,
}

impl Doorbell {
    /// Makes the eventfd of one shard.
    ///
    /// # Errors
    /// What the kernel says (no descriptors left).
    pub fn new() -> io::Result<Arc<Doorbell>> {
        // SAFETY: eventfd makes a new descriptor that is owned at once.
        let eventfd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Arc::new(Doorbell { eventfd, sleep: Sleep::new() }))
    }

    /// The descriptor that the shard's reactor polls.
    pub fn fd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// Wakes the shard if it sleeps; called after something was put where it looks.
    pub fn ring(&self) {
        if self.sleep.must_ring() {
            let one = 1u64;
            // SAFETY: writes eight bytes from a live u64 to our own descriptor.
            unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
        }
    }

    /// Says that the shard is about to sleep; it must look at its queues once more after this.
    pub fn prepare_sleep(&self) {
        self.sleep.prepare();
    }

    /// Says that the shard is awake: senders need not write.
    pub fn wake_up(&self) {
        self.sleep.wake_up();
    }
}

struct Outgoing<T> {
    ring: Producer<T>,
    overflow: VecDeque<T>,
    doorbell: Arc<Doorbell>,
    is_dirty: bool,
}

/// One shard's ends of all rings.
pub struct Mesh<T> {
    own: Arc<Doorbell>,
    /// By shard index; `None` at the own index.
    outgoing: Vec<Option<Outgoing<T>>>,
    incoming: Vec<Option<Consumer<T>>>,
    overflow_count: usize,
    full_count: u64,
    /// The last message, if a later one may take its place, and where it goes.
    held: Option<(usize, T)>,
}

/// Connects `doorbells.len()` shards with each other.
pub fn connect<T>(doorbells: &[Arc<Doorbell>], capacity: usize) -> Vec<Mesh<T>> {
    let mut meshes: Vec<Mesh<T>> = doorbells
        .iter()
        .map(|own| Mesh {
            own: own.clone(),
            outgoing: Vec::new(),
            incoming: doorbells.iter().map(|_| None).collect(),
            overflow_count: 0,
            full_count: 0,
            held: None,
        })
        .collect();
    for source in 0..doorbells.len() {
        for target in 0..doorbells.len() {
            let mut outgoing = None;
            if source != target {
                let (ring, consumer) = RingBuffer::new(capacity);
                meshes[target].incoming[source] = Some(consumer);
                let doorbell = doorbells[target].clone();
                outgoing =
                    Some(Outgoing { ring, overflow: VecDeque::new(), doorbell, is_dirty: false });
            }
            meshes[source].outgoing.push(outgoing);
        }
    }
    meshes
}

impl<T> Mesh<T> {
    /// Puts `message` into the ring to shard `target`, or into the overflow if the ring is full.
    ///
    /// # Panics
    /// If `target` is the own shard: what stays here does not travel.
    pub fn push(&mut self, target: usize, message: T) {
        if self.held.as_ref().is_some_and(|(held, _)| *held == target) {
            self.release();
        }
        self.put(target, message);
    }

    /// As [`Mesh::push`], for a message that the next one may make needless: it is held back until
    /// something else is pushed to that shard, or [`Mesh::release`]. One that is held back for the
    /// same shard goes lost if `is_covered` says that this one stands for both.
    ///
    /// # Panics
    /// As [`Mesh::push`], now or later.
    pub fn push_latest(&mut self, target: usize, message: T, is_covered: impl Fn(&T) -> bool) {
        match &mut self.held {
            Some((held, earlier)) if *held == target && is_covered(earlier) => *earlier = message,
            _ => {
                self.release();
                self.held = Some((target, message));
            }
        }
    }

    /// Puts the message that a later one might have replaced on its way.
    pub fn release(&mut self) {
        if let Some((target, message)) = self.held.take() {
            self.put(target, message);
        }
    }

    fn put(&mut self, target: usize, message: T) {
        let Some(outgoing) = self.outgoing[target].as_mut() else {
            panic!("a shard sent a message to itself through the mesh");
        };
        outgoing.is_dirty = true;
        if outgoing.overflow.is_empty() {
            if let Err(rtrb::PushError::Full(message)) = outgoing.ring.push(message) {
                outgoing.overflow.push_back(message);
                self.overflow_count += 1;
                self.full_count += 1;
            }
        } else {
            outgoing.overflow.push_back(message);
            self.overflow_count += 1;
        }
    }

    /// Moves overflow into rings that have room again and wakes every shard that got something.
    pub fn flush(&mut self) {
        self.release();
        for outgoing in self.outgoing.iter_mut().flatten() {
            while let Some(message) = outgoing.overflow.pop_front() {
                if let Err(rtrb::PushError::Full(message)) = outgoing.ring.push(message) {
                    outgoing.overflow.push_front(message);
                    break;
                }
                self.overflow_count -= 1;
                outgoing.is_dirty = true;
            }
            if std::mem::take(&mut outgoing.is_dirty) {
                outgoing.doorbell.ring();
            }
        }
    }

    /// Messages that wait because a ring is full. While this is not zero, publishers are not read.
    pub fn overflow_count(&self) -> usize {
        self.overflow_count
    }

    /// Times that a ring was found full.
    pub fn full_count(&self) -> u64 {
        self.full_count
    }

    /// Takes the next message from shard `source`.
    pub fn pop(&mut self, source: usize) -> Option<T> {
        self.incoming[source].as_mut()?.pop().ok()
    }

    /// Number of shards, this one included.
    pub fn shards_count(&self) -> usize {
        self.incoming.len()
    }

    /// Is there nothing to take?
    pub fn is_empty(&self) -> bool {
        self.incoming.iter().flatten().all(rtrb::Consumer::is_empty)
    }

    /// The own doorbell.
    pub fn doorbell(&self) -> &Arc<Doorbell> {
        &self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catalogue: L13.
    #[test]
    fn a_full_ring_keeps_everything_in_order() {
        let doorbells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
        let mut meshes = connect::<u32>(&doorbells, 4);
        let mut receiver = meshes.pop().unwrap();
        let mut sender = meshes.pop().unwrap();
        for number in 0..10 {
            sender.push(1, number);
        }
        assert_eq!((sender.overflow_count(), sender.full_count()), (6, 1));
        let mut taken = Vec::new();
        while taken.len() < 10 {
            while let Some(number) = receiver.pop(0) {
                taken.push(number);
            }
            sender.flush();
        }
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
        assert_eq!(sender.overflow_count(), 0);
        assert!(receiver.is_empty());
    }

    #[test]
    fn a_message_covers_the_one_before_it_and_nothing_else() {
        let doorbells = [(); 3].map(|()| Doorbell::new().unwrap());
        let mut meshes = connect::<u32>(&doorbells, 8);
        let [mut sender, mut one, mut two] = [(); 3].map(|()| meshes.remove(0));
        // Tens of the same kind cover each other.
        let push = |sender: &mut Mesh<u32>, target, number: u32| {
            sender.push_latest(target, number, |earlier| earlier / 10 == number / 10);
        };
        for number in [11, 12, 13] {
            push(&mut sender, 1, number);
        }
        assert!(one.is_empty());
        push(&mut sender, 1, 21);
        sender.push(1, 5);
        push(&mut sender, 1, 22);
        push(&mut sender, 2, 23);
        push(&mut sender, 2, 24);
        // For others than its target it stays.
        sender.push(1, 6);
        assert!(two.is_empty());
        sender.release();
        push(&mut sender, 2, 25);
        sender.flush();
        let taken = |mesh: &mut Mesh<u32>| std::iter::from_fn(|| mesh.pop(0)).collect::<Vec<_>>();
        assert_eq!(taken(&mut one), [13, 21, 5, 22, 6]);
        assert_eq!(taken(&mut two), [24, 25]);
    }

    /// Catalogue: L13.
    #[test]
    fn only_a_sleeping_shard_is_written_to() {
        let doorbell = Doorbell::new().unwrap();
        let mut count = 0u64;
        // SAFETY: reads eight bytes into a live u64 from a non-blocking descriptor.
        let mut read = || unsafe { libc::read(doorbell.fd(), (&raw mut count).cast(), 8) };
        doorbell.ring();
        assert_eq!(read(), -1);
        doorbell.prepare_sleep();
        doorbell.ring();
        doorbell.ring();
        assert_eq!(read(), 8);
        assert_eq!(count, 1);
    }

    /// Catalogue: L25.
    #[test]
    fn a_million_messages_cross_threads_without_loss_or_stall() {
        let doorbells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
        let mut meshes = connect::<u32>(&doorbells, 64);
        let mut receiver = meshes.pop().unwrap();
        let mut sender = meshes.pop().unwrap();
        let thread = std::thread::spawn(move || {
            let mut expected = 0;
            while expected < 1_000_000 {
                while let Some(number) = receiver.pop(0) {
                    assert_eq!(number, expected);
                    expected += 1;
                }
            }
        });
        for number in 0..1_000_000 {
            sender.push(1, number);
            while sender.overflow_count() > 0 {
                sender.flush();
                std::hint::spin_loop();
            }
        }
        sender.flush();
        thread.join().unwrap();
    }
}
