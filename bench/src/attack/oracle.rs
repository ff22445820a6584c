//! The oracle: what must hold around every attack, whatever it was.
//!
//! Seven points: the server lives (a stranger can log in, the process is the same, nothing in it
//! panicked); the canary got all its messages in time; what was opened is closed again
//! (connections, subscriptions, bytes that wait or are unfinished, descriptors); memory grew by no
//! more than the attack may cost; the counter of the attack rose by exactly its number; the answer
//! was the right one; no byte of the canary came to anybody else, and none of anybody else's to it.
//! Points that need `--metrics` or `--pid` are left out without them, and the table shows that.

use super::canary::Canary;
use super::ground::Ground;
use super::peer::{Peer, Wrong};
use super::verdict::{Judgement, Verdict};
use super::{Attack, Order, USUAL};
use crate::process::Usage;
use crate::soak::scrape::series;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the canary sings before the first attack: that is the base line.
const BASE_TIME: Duration = Duration::from_millis(500);
/// The canary's 99th percentile may be this many times that of the base line.
const CANARY_FACTOR: f64 = 20.0;
/// Or this, where the base line is next to nothing, in microseconds.
const CANARY_FLOOR_US: f64 = 50_000.0;
/// Pause between two looks at the server.
const LOOK: Duration = Duration::from_millis(50);

/// Gauges that must come back after every attack.
const GAUGES: [&str; 10] = [
    "stompede_connections",
    "stompede_subscriptions",
    "stompede_outbound_bytes",
    "stompede_input_bytes",
    "stompede_mesh_overflow",
    "stompede_sockjs_waiting_bytes",
    "stompede_queue_bytes",
    "stompede_queue_unsettled",
    "stompede_queue_consumers",
    "stompede_queue_messages",
];
/// Bugs that a server caught: it lives, but it did not hold.
const PANICS: [&str; 2] = ["stompede_panics_total", "stompede_handler_panics_total"];
/// The gauge that comes back later: ended sessions are remembered for a while.
const SESSIONS: &str = "stompede_sockjs_sessions";

type Series = BTreeMap<String, i64>;

/// What the server shows of itself at one moment.
#[derive(Clone, Default)]
struct Look {
    series: Option<Series>,
    descriptors: Option<usize>,
    memory_bytes: Option<u64>,
    started: Option<String>,
}

/// Judges one attack after the other.
pub struct Oracle {
    ground: Arc<Ground>,
    canary: Canary,
    pid: Option<u32>,
    is_strict: bool,
    base: Look,
    canary_max_us: f64,
    base_p99_us: f64,
    held: u32,
    fell: u32,
    left_out: u32,
}

impl Oracle {
    /// Looks at the server before anything happens.
    ///
    /// # Errors
    /// Nobody can log in, or `--metrics` and `--pid` show nothing.
    pub fn new(order: &Order) -> Result<Oracle, String> {
        let ground = Arc::new(Ground::new(order)?);
        let canary = Canary::start(&ground)?;
        std::thread::sleep(BASE_TIME);
        let base_p99_us = canary.take(order.patience).p99_us;
        let bound = order.canary_max.map(|bound| bound.as_secs_f64() * 1e6);
        let canary_max_us = bound.unwrap_or((base_p99_us * CANARY_FACTOR).max(CANARY_FLOOR_US));
        let mut oracle = Oracle {
            ground,
            canary,
            pid: order.pid,
            is_strict: order.strict,
            base: Look::default(),
            canary_max_us,
            base_p99_us,
            held: 0,
            fell: 0,
            left_out: 0,
        };
        oracle.base = oracle.look();
        if order.metrics.is_some() && oracle.base.series.is_none() {
            return Err("--metrics shows no metrics".into());
        }
        if order.pid.is_some() && oracle.base.memory_bytes.is_none() {
            return Err("--pid is no process whose memory we may see".into());
        }
        Ok(oracle)
    }

    /// Number of attacks that the server did not hold against.
    pub fn fell_count(&self) -> u32 {
        self.fell
    }

    /// Plays an attack and judges it.
    pub fn judge(&mut self, attack: &Attack) -> Judgement {
        let before = self.look();
        let start = Instant::now();
        let result = (attack.run)(&self.ground);
        let mut judged = Judgement::new(attack.id, attack.sends);
        judged.took = start.elapsed();
        match result {
            Ok(events) => self.check(&mut judged, attack, &before, events),
            Err(Wrong::Answer(what)) => {
                judged.faults.push(format!("answer: {what}; {} is right", attack.answer));
                self.check(&mut judged, &Attack { counter: "", ..*attack }, &before, 0);
            }
            Err(Wrong::NotOffered(why)) => judged.left_out = Some(why),
        }
        match judged.verdict() {
            Verdict::Held => self.held += 1,
            Verdict::Fell => self.fell += 1,
            Verdict::LeftOut => {
                self.left_out += 1;
                self.fell += u32::from(self.is_strict);
            }
        }
        judged
    }

    /// Judges the rest: everything is as before the first attack, SockJS sessions too.
    pub fn rest(&mut self) -> Judgement {
        let mut judged = Judgement::new("rest", "everything is as it was before");
        let before = self.look();
        self.check(&mut judged, &USUAL, &before, 0);
        let has = |look: &Look| look.series.as_ref().and_then(|all| all.get(SESSIONS).copied());
        let base = has(&self.base);
        if !self.wait_until(|look| has(look) <= base) {
            judged.faults.push("back: SockJS sessions are left over".into());
        }
        match judged.verdict() {
            Verdict::Fell => self.fell += 1,
            _ => self.held += 1,
        }
        judged
    }

    /// One line for the whole run.
    pub fn summary(&self) -> String {
        let Oracle { held, fell, left_out, .. } = self;
        let (base, most) = (self.base_p99_us / 1e3, self.canary_max_us / 1e3);
        let canary = format!("canary before {base:.1} ms, bound {most:.1} ms");
        format!("{held} held, {fell} fell, {left_out} left out; {canary}")
    }

    fn check(&self, judged: &mut Judgement, attack: &Attack, before: &Look, events: u64) {
        let after = self.look();
        judged.growth_bytes = growth(before, &after);
        if judged.growth_bytes.is_some_and(|bytes| bytes > attack.growth_bytes_max as i64) {
            let most = attack.growth_bytes_max;
            judged.faults.push(format!("memory: grew by over {most} bytes"));
        }
        let start = Instant::now();
        if !self.wait_until(|look| self.left_over(look).is_empty()) {
            let left = self.left_over(&self.look()).join(", ");
            judged.faults.push(format!("back: left over {left}"));
        }
        judged.back = start.elapsed();
        self.check_counter(judged, attack, before, events);
        if self.started() != self.base.started {
            judged.faults.push("alive: the process is another one".into());
        }
        for name in PANICS {
            let of = |look: &Look| look.series.as_ref()?.get(name).copied();
            if of(&self.look()) > of(before) {
                judged.faults.push(format!("alive: it panicked, {name} rose"));
            }
        }
        if let Err(Wrong::Answer(what)) = self.ground.session().and_then(|mut p| leave(&mut p)) {
            judged.faults.push(format!("alive: nobody can log in: {what}"));
        }
        let span = self.canary.take(self.ground.patience);
        judged.canary_us = span.p99_us;
        if let Some(fault) = span.fault {
            judged.faults.push(format!("canary: {fault}"));
        } else if span.p99_us > self.canary_max_us {
            judged.faults.push(format!("canary: over {:.1} ms", self.canary_max_us / 1e3));
        }
        if self.ground.leaked.swap(false, Ordering::Relaxed) {
            judged.faults.push("foreign: the canary's secret came to somebody else".into());
        }
    }

    fn check_counter(&self, judged: &mut Judgement, attack: &Attack, before: &Look, events: u64) {
        let Some(was) = before.series.as_ref().filter(|_| !attack.counter.is_empty()) else {
            return;
        };
        let was = was.get(attack.counter).copied().unwrap_or(0);
        let of = |look: &Look| look.series.as_ref()?.get(attack.counter).copied();
        let risen = |look: &Look| of(look).unwrap_or(0) - was;
        self.wait_until(|look| risen(look) >= events as i64);
        judged.counted = Some(risen(&self.look()));
        if judged.counted != Some(events as i64) {
            judged.faults.push(format!("counter: {} by {events} is right", attack.counter));
        }
    }

    /// Gauges and descriptors above the base line.
    fn left_over(&self, look: &Look) -> Vec<String> {
        let mut left = Vec::new();
        if let (Some(base), Some(now)) = (&self.base.series, &look.series) {
            for name in GAUGES {
                let (base, now) = (base.get(name), now.get(name));
                if now > base {
                    left.push(format!("{name} {}", now.copied().unwrap_or(0)));
                }
            }
        }
        if let (Some(base), Some(now)) = (self.base.descriptors, look.descriptors) {
            if now > base {
                left.push(format!("{now} descriptors instead of {base}"));
            }
        }
        left
    }

    fn wait_until(&self, is_so: impl Fn(&Look) -> bool) -> bool {
        let until = Instant::now() + self.ground.patience;
        while !is_so(&self.look()) {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    fn look(&self) -> Look {
        let metrics = self.ground.metrics.as_ref();
        Look {
            series: metrics.and_then(|(address, path)| scrape(&self.ground, *address, path)),
            descriptors: self.pid.and_then(|pid| {
                std::fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count)
            }),
            memory_bytes: self.pid.and_then(Usage::read).map(|usage| usage.pss_bytes),
            started: self.started(),
        }
    }

    /// When the process began, which tells it from one with the same number.
    fn started(&self) -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid?)).ok()?;
        let fields = stat.rsplit_once(')')?.1;
        fields.split_whitespace().nth(19).map(str::to_owned)
    }
}

fn leave(peer: &mut Peer<'_>) -> Result<(), Wrong> {
    peer.expect_alive()?;
    peer.send_frame(0x88, &1000_u16.to_be_bytes());
    peer.expect_close(1000)
}

fn growth(before: &Look, after: &Look) -> Option<i64> {
    Some(after.memory_bytes? as i64 - before.memory_bytes? as i64)
}

/// All series of the server's metrics that are whole numbers.
fn scrape(ground: &Ground, address: SocketAddr, path: &str) -> Option<Series> {
    let mut peer = Peer::connect(ground, address).ok()?;
    peer.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
    let text = String::from_utf8(peer.expect_end().ok()?).ok()?;
    Some(series(text.split_once("\r\n\r\n")?.1))
}
