//! Log-ins that failed, by client address: who guesses has to wait (catalogue: J02).
//!
//! Above `login-failures-max` wrong log-ins in a minute, an address is refused without a look at
//! what it sends, until the minute is over: no hash is computed for it, and a right guess is not
//! told from a wrong one. As with connections, the counts are cells of a fixed array for all
//! shards together, chosen by a keyed hash; a cell holds the minute and the count in it, so that
//! nothing has to be swept. There is no count by user name: it would let anybody lock others out.

use super::connection::Then;
use super::reason::DisconnectReason;
use super::Shard;
use crate::metrics::{AuthMethod, AuthResult};
use crate::reactor::Reactor;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use stompede_core::broker::destination::Profile;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::wording::Wording;

/// Cells of the counts: 512 KiB, touched only as far as failures come.
const CELLS: usize = 1 << 16;
/// The span in which failures are counted, in milliseconds.
const SPAN_MS: u64 = 60_000;

/// Failed log-ins by client address, all shards together.
pub struct FailedLogins {
    /// Number of the minute in the upper half, count in the lower.
    cells: Box<[AtomicU64]>,
    hasher: RandomState,
    count_max: u32,
}

impl FailedLogins {
    /// None yet; above `count_max` in a minute an address has to wait.
    pub fn new(count_max: u32) -> FailedLogins {
        let cells = std::iter::repeat_with(AtomicU64::default).take(CELLS).collect();
        FailedLogins { cells, hasher: RandomState::new(), count_max }
    }

    fn cell(&self, ip: IpAddr) -> &AtomicU64 {
        // As in `AddressCounts`: a /64 of IPv6 is one client.
        let name = match ip {
            IpAddr::V4(ip) => u64::from(u32::from(ip)),
            IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
        };
        &self.cells[self.hasher.hash_one(name) as usize % CELLS]
    }

    /// Counts a failure at `now_ms`.
    pub fn note(&self, ip: IpAddr, now_ms: u64) {
        let minute = (now_ms / SPAN_MS) << 32;
        let count = |seen: u64| match seen >> 32 << 32 {
            // The clocks of shards differ by little: the later minute counts.
            known if known >= minute => Some(seen + 1),
            _ => Some(minute + 1),
        };
        let _ = self.cell(ip).fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }

    /// Milliseconds that this address has to wait at `now_ms`, if it has to.
    pub fn wait_ms(&self, ip: IpAddr, now_ms: u64) -> Option<u64> {
        let seen = self.cell(ip).load(Ordering::Relaxed);
        let is_now = seen >> 32 >= now_ms / SPAN_MS;
        (is_now && seen as u32 >= self.count_max).then(|| SPAN_MS - now_ms % SPAN_MS)
    }
}

impl<R: Reactor> Shard<R> {
    /// Has this client's address guessed too often? Milliseconds that it has to wait then.
    pub(super) fn login_wait_ms(&mut self, slot: u32, method: AuthMethod) -> Option<u64> {
        let failed = self.shared.failed_logins.as_ref()?;
        let wait_ms = failed.wait_ms(self.peers[slot as usize].ip(), self.now_ms)?;
        self.metrics.auth(method, AuthResult::Limited);
        Some(wait_ms)
    }

    /// A log-in was wrong.
    pub(super) fn note_login_refused(&mut self, slot: u32, method: AuthMethod) {
        self.metrics.auth(method, AuthResult::Refused);
        if let Some(failed) = &self.shared.failed_logins {
            failed.note(self.peers[slot as usize].ip(), self.now_ms);
        }
    }

    /// The login of CONNECT was wrong, as another thread has found.
    pub(super) fn refuse_connect(&mut self, slot: u32) {
        self.note_login_refused(slot, AuthMethod::Connect);
        let error = Error::LoginFailed;
        let wording = match (self.shared.config.profile, self.stop_waiting(slot)) {
            (Profile::RabbitMq, Some(Then::Connect(login))) => {
                Wording::rabbitmq_login(&error, login.user.as_deref().unwrap_or_default())
            }
            _ => Wording::of(&error),
        };
        self.fail_as(slot, &error, None, DisconnectReason::LoginFailed, &wording);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catalogue: J02.
    #[test]
    fn who_guesses_waits_for_the_next_minute_and_nobody_else_does() {
        let failed = FailedLogins::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        failed.note(one, 59_000);
        failed.note(one, 60_000);
        assert_eq!(failed.wait_ms(one, 60_000), None, "the first was in another minute");
        failed.note(one, 61_000);
        assert_eq!(failed.wait_ms(one, 70_000), Some(50_000));
        assert_eq!(failed.wait_ms(other, 70_000), None);
        // A shard whose clock is behind does not give the guesser a new minute.
        failed.note(one, 59_999);
        assert_eq!(failed.wait_ms(one, 59_999), Some(1));
        assert_eq!(failed.wait_ms(one, 120_000), None);
    }
}
