//! The wake-up of the mesh, checked in every interleaving that the memory model allows (loom).
//!
//! `sleep.rs` is compiled here a second time, over loom's atomics. The ring is a model of rtrb's:
//! the same two counters with the same orderings, and slots whose stores nothing else orders. The
//! eventfd is a flag that remembers. A wake-up that gets lost is a deadlock, which loom reports; a
//! message that is taken before it is there is a wrong number.
//!
//! The last test leaves the fences out and must deadlock: so we know that the others could.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

#[path = "../../src/mesh/sleep.rs"]
mod sleep;

mod sync {
    pub use loom::sync::atomic::{fence, AtomicBool, Ordering};
}

/// Of the ring in the model.
const CAPACITY: usize = 2;

trait Flag: Send + Sync + 'static {
    fn new() -> Self;
    fn must_ring(&self) -> bool;
    fn prepare(&self);
    fn wake_up(&self);
}

impl Flag for sleep::Sleep {
    fn new() -> Self {
        sleep::Sleep::new()
    }

    fn must_ring(&self) -> bool {
        self.must_ring()
    }

    fn prepare(&self) {
        self.prepare();
    }

    fn wake_up(&self) {
        self.wake_up();
    }
}

/// The same without fences.
struct Careless(sync::AtomicBool);

impl Flag for Careless {
    fn new() -> Self {
        Careless(sync::AtomicBool::new(false))
    }

    fn must_ring(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }

    fn prepare(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_up(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

struct Ring {
    head: AtomicUsize,
    tail: AtomicUsize,
    slots: [AtomicUsize; CAPACITY],
}

impl Ring {
    fn new() -> Ring {
        let slots = std::array::from_fn(|_| AtomicUsize::new(usize::MAX));
        Ring { head: AtomicUsize::new(0), tail: AtomicUsize::new(0), slots }
    }

    /// False: full.
    fn push(&self, number: usize) -> bool {
        let tail = self.tail.load(Ordering::Relaxed);
        if tail - self.head.load(Ordering::Acquire) == CAPACITY {
            return false;
        }
        self.slots[tail % CAPACITY].store(number, Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Release);
        true
    }

    fn is_empty(&self) -> bool {
        self.tail.load(Ordering::Acquire) == self.head.load(Ordering::Relaxed)
    }

    fn pop(&self) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let head = self.head.load(Ordering::Relaxed);
        let number = self.slots[head % CAPACITY].load(Ordering::Relaxed);
        self.head.store(head + 1, Ordering::Release);
        Some(number)
    }
}

/// An eventfd.
struct Bell {
    is_rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn new() -> Bell {
        Bell { is_rung: Mutex::new(false), changed: Condvar::new() }
    }

    fn ring(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// Takes what was rung; sleeps until it is if `may_sleep`.
    fn wait(&self, may_sleep: bool) {
        let mut is_rung = self.is_rung.lock().unwrap();
        while may_sleep && !*is_rung {
            is_rung = self.changed.wait(is_rung).unwrap();
        }
        *is_rung = false;
    }
}

struct Shard<F> {
    flag: F,
    bell: Bell,
    /// By sender.
    rings: Vec<Ring>,
}

/// Each of `senders` sends so many numbers to one shard, which sleeps whenever it may.
fn check<F: Flag>(senders: &'static [usize]) {
    // Known faults of such protocols need two preemptions; without a bound it takes minutes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let rings = senders.iter().map(|_| Ring::new()).collect();
        let shard = Arc::new(Shard { flag: F::new(), bell: Bell::new(), rings });
        for (sender, &count) in senders.iter().enumerate() {
            let shard = shard.clone();
            thread::spawn(move || send(&shard, sender, count));
        }
        let mut taken = vec![0; senders.len()];
        while taken != senders {
            shard.flag.prepare();
            let may_sleep = shard.rings.iter().all(Ring::is_empty);
            shard.bell.wait(may_sleep);
            shard.flag.wake_up();
            for (ring, expected) in shard.rings.iter().zip(&mut taken) {
                while let Some(number) = ring.pop() {
                    assert_eq!(number, *expected);
                    *expected += 1;
                }
            }
        }
    });
}

fn send<F: Flag>(shard: &Shard<F>, sender: usize, count: usize) {
    for number in 0..count {
        while !shard.rings[sender].push(number) {
            // What does not fit waits in the overflow, and the sender does not sleep.
            thread::yield_now();
        }
        if shard.flag.must_ring() {
            shard.bell.ring();
        }
    }
}

/// Catalogue: L13, L25.
#[test]
fn no_wake_up_is_lost() {
    check::<sleep::Sleep>(&[2]);
}

#[test]
fn no_wake_up_is_lost_between_two_senders() {
    check::<sleep::Sleep>(&[1, 1]);
}

/// Catalogue: L13.
#[test]
fn no_wake_up_is_lost_when_the_ring_is_full() {
    check::<sleep::Sleep>(&[CAPACITY + 1]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_a_wake_up_is_lost() {
    check::<Careless>(&[1]);
}
