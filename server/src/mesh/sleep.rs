//! The flag between a shard that goes to sleep and those who put something where it looks.
//!
//! The sleeper sets the flag and then looks into its queues; a sender fills a queue and then looks
//! at the flag. A full fence between the two steps on each side lets at most one of them miss the
//! other's: a message is seen, or a bell is rung, or both. The model check in tests/model takes
//! this very file through all interleavings that the memory model allows.

use super::sync::{fence, AtomicBool, Ordering};

/// Does the shard sleep?
#[derive(Debug)]
pub struct Sleep {
    is_sleeping: AtomicBool,
}

impl Sleep {
    /// Of a shard that is awake.
    pub fn new() -> Sleep {
        Sleep { is_sleeping: AtomicBool::new(false) }
    }

    /// Whether the caller, who just filled a queue, has to ring: of several only one has to.
    pub fn must_ring(&self) -> bool {
        // Pairs with the fence in `prepare`: either the sleeper sees the message, or we see it
        // asleep.
        fence(Ordering::SeqCst);
        // Written only on the edge, and nothing over what the sleeper wrote since.
        self.is_sleeping.load(Ordering::Relaxed)
            && self
                .is_sleeping
                .compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Before sleep: whoever calls it looks at its queues once more, and sleeps if they are empty.
    pub fn prepare(&self) {
        self.is_sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Awake again: nobody needs to ring.
    pub fn wake_up(&self) {
        self.is_sleeping.store(false, Ordering::Relaxed);
    }
}
