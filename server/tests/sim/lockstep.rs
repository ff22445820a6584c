//! The sharded server and the model of [`crate::model`] in step.
//!
//! One client does one thing; then, under faults, all becomes quiet; then the model does the same
//! and looks at what was delivered. At the end what is left in each queue and among the dead
//! letters is exactly what the model has there, and the shards are back where they began.

use crate::cluster::Cluster;
use crate::model::{Model, Queue, Settlement, Terms};
use crate::wire;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use stompede::config::Config;
use stompede::reactor::sim::{Faults, Read, Rng, SimNet, SocketId};

/// The queues: plain, one that drops its oldest, one that refuses, one whose messages get old.
const QUEUES: [&str; 5] = ["/queue/a", "/queue/b", "/queue/short", "/queue/strict", "/queue/brief"];
const SHORT: &str = QUEUES[2];
const STRICT: &str = QUEUES[3];
const BRIEF: &str = QUEUES[4];
const GRAVE: &str = "/queue/grave";
/// Messages that the bounded ones hold.
const BOUND: usize = 5;
/// The life of a message of [`BRIEF`]: longer than all steps together.
const TTL_MS: u64 = 36_000_000;
const PEERS_COUNT: usize = 5;
/// Milliseconds without a byte after which nothing more is on its way; two ticks are in it.
const QUIET_MS: u64 = 700;

fn arguments(queue: &str) -> &'static [(&'static str, &'static str)] {
    match queue {
        SHORT => &[("x-max-length", "5")],
        STRICT => &[("x-max-length", "5"), ("x-overflow", "reject-publish")],
        BRIEF => &[("x-message-ttl", "36000000")],
        _ => &[],
    }
}

/// A client that does what it is told, over TCP.
struct Peer {
    net: SimNet,
    socket: SocketId,
    out: Vec<u8>,
    raw: Vec<u8>,
    receipts: BTreeSet<String>,
    /// The `message` of an ERROR.
    error: Option<String>,
    is_gone: bool,
    /// What to name in an ACK, by subscription and serial.
    acks: BTreeMap<(String, usize), String>,
}

struct Lockstep {
    rng: Rng,
    cluster: Cluster,
    faults: Faults,
    peers: Vec<Peer>,
    model: Model,
    /// Queue by subscription.
    queues: BTreeMap<String, &'static str>,
    /// What came since the last step: subscription, serial, `redelivered`.
    seen: Vec<(String, usize, bool)>,
    /// Dead letters at the end.
    letters: BTreeMap<usize, String>,
    names_count: usize,
    serials_count: usize,
    /// What was sent, for whoever looks into a failure.
    log: Vec<String>,
}

/// What a run came to: deliveries, deaths, refusals.
pub type Outcome = (usize, usize, usize);

/// Runs a seed; panics where the two differ.
pub fn run(seed: u64) -> Outcome {
    let mut run = Lockstep::new(seed);
    let (mut deliveries_count, mut refusals_count) = (0, 0);
    for queue in QUEUES {
        // Declared by its first consumer, who leaves.
        let id = run.subscribe(0, queue, Terms { ack: "auto", prefetch: 1, is_exclusive: false });
        run.compare();
        run.unsubscribe(0, &id);
        run.compare();
    }
    for _ in 0..60 + run.rng.below(60) {
        refusals_count += usize::from(!run.act());
        deliveries_count += run.compare();
    }
    let deaths_count = run.end();
    (deliveries_count, deaths_count, refusals_count)
}

impl Lockstep {
    fn new(seed: u64) -> Lockstep {
        let mut rng = Rng::new(seed);
        let mut config = Config { shards: 1 + rng.below(4), ..Config::default() };
        // What was on its way to somebody who left counts as a delivery, and nobody sees that.
        config.limits.queue_deliveries_count_max = u32::MAX;
        // However often messages get old: the queues stay as they were declared.
        config.queue_idle_max = Duration::from_millis(100 * TTL_MS);
        config.dead_letter = Some(GRAVE.to_string());
        let ring_capacity = [2, 64][rng.below(2)];
        let cluster = Cluster::new(config, seed, ring_capacity, &mut rng);
        let mut level = |max: usize| rng.below(max) as u32;
        let faults = Faults {
            short: level(400),
            refused: level(200),
            late: level(400),
            spurious: level(100),
            accept: 0,
            late_tick: level(300),
        };
        let bounded = |name: &str| if [SHORT, STRICT].contains(&name) { BOUND } else { 1_000 };
        let queues = QUEUES.map(|name| (name, Queue::new(bounded(name), name == SHORT)));
        let model = Model { queues: BTreeMap::from(queues), ..Model::default() };
        let mut run = Lockstep {
            rng,
            cluster,
            faults,
            peers: Vec::new(),
            model,
            queues: BTreeMap::new(),
            seen: Vec::new(),
            letters: BTreeMap::new(),
            names_count: 0,
            serials_count: 0,
            log: Vec::new(),
        };
        run.cluster.set_faults(faults);
        for _ in 0..PEERS_COUNT {
            let peer = run.connect();
            run.peers.push(peer);
        }
        run
    }

    fn connect(&mut self) -> Peer {
        let net = self.cluster.any_net(&mut self.rng);
        let socket = net.connect(1, 1 << 20);
        let headers = [("accept-version", "1.2"), ("host", "sim"), ("heart-beat", "0,0")];
        Peer {
            net,
            socket,
            out: wire::stomp("CONNECT", &headers, b""),
            raw: Vec::new(),
            receipts: BTreeSet::new(),
            error: None,
            is_gone: false,
            acks: BTreeMap::new(),
        }
    }

    fn name(&mut self, kind: &str) -> String {
        self.names_count += 1;
        format!("{kind}{}", self.names_count)
    }

    fn push(&mut self, peer: usize, command: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.log.push(format!("{peer}: {command} {headers:?} {}", String::from_utf8_lossy(body)));
        self.peers[peer].out.extend(wire::stomp(command, headers, body));
    }

    /// One thing that a client does, or that happens; says whether it was not refused.
    fn act(&mut self) -> bool {
        let peer = self.rng.below(PEERS_COUNT);
        match self.rng.below(20) {
            0..=6 => return self.send(peer),
            7..=9 => {
                let queue = QUEUES[self.rng.below(QUEUES.len())];
                let ack = ["auto", "client", "client-individual"][self.rng.below(3)];
                let terms = Terms {
                    ack,
                    prefetch: 1 + self.rng.below(4),
                    is_exclusive: self.rng.chance(150),
                };
                self.subscribe(peer, queue, terms);
            }
            10 => {
                let queue = QUEUES[self.rng.below(QUEUES.len())];
                if let Some(id) = self.model.queues[queue].subscriptions(peer).first() {
                    self.unsubscribe(peer, &id.clone());
                }
            }
            11 => self.reset(peer),
            12 if self.rng.chance(300) => {
                self.cluster.set_faults(Faults::default());
                self.cluster.advance(TTL_MS + 1_000);
                self.model.expire(BRIEF);
                self.log.push("time passes".to_string());
            }
            13..=15 => return self.transact(peer),
            _ => self.settle(peer),
        }
        true
    }

    fn send(&mut self, peer: usize) -> bool {
        let queue = QUEUES[self.rng.below(QUEUES.len())];
        let (serial, receipt) = (self.serial(), self.name("r"));
        let headers = [("destination", queue), ("receipt", receipt.as_str())];
        self.push(peer, "SEND", &headers, serial.to_string().as_bytes());
        let is_taken = self.model.make_room(queue, 1);
        if is_taken {
            self.model.publish(queue, serial);
        }
        self.expect(peer, is_taken, &receipt)
    }

    fn serial(&mut self) -> usize {
        self.serials_count += 1;
        self.serials_count
    }

    /// Lets all become quiet and checks the answer: the receipt, or the end as the queue is full.
    fn expect(&mut self, peer: usize, is_taken: bool, receipt: &str) -> bool {
        self.rest();
        let client = &mut self.peers[peer];
        assert_eq!(client.receipts.remove(receipt), is_taken, "peer {peer}: {receipt}");
        let error = client.error.take();
        assert_eq!(error.as_deref(), (!is_taken).then_some("Queue full"), "peer {peer}");
        if !is_taken {
            self.model.leave(peer);
            self.peers[peer] = self.connect();
            self.rest();
        }
        is_taken
    }

    /// SENDs to some queues and a settlement, whole or not at all.
    fn transact(&mut self, peer: usize) -> bool {
        let (name, receipt) = (self.name("t"), self.name("r"));
        self.push(peer, "BEGIN", &[("transaction", &name)], b"");
        // Only one that may refuse: or another's oldest might have died for nothing.
        let bounded = [SHORT, STRICT][self.rng.below(2)];
        let mut sent: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for _ in 0..self.rng.below(8) {
            let queue = [QUEUES[0], QUEUES[1], BRIEF, bounded, bounded][self.rng.below(5)];
            let serial = self.serial();
            let headers = [("destination", queue), ("transaction", name.as_str())];
            self.push(peer, "SEND", &headers, serial.to_string().as_bytes());
            sent.entry(queue).or_default().push(serial);
        }
        let settled = self.any_unsettled(peer).filter(|_| self.rng.chance(500));
        if let Some((queue, id, place, _)) = &settled {
            let ack = self.ack_of(peer, queue, id, *place);
            self.push(peer, "ACK", &[("id", &ack), ("transaction", &name)], b"");
        }
        let headers = [("transaction", name.as_str()), ("receipt", &receipt)];
        if self.rng.chance(200) {
            self.push(peer, "ABORT", &headers, b"");
            return self.expect(peer, true, &receipt);
        }
        self.push(peer, "COMMIT", &headers, b"");
        let is_taken =
            sent.iter().all(|(queue, serials)| self.model.make_room(queue, serials.len()));
        if is_taken {
            for (queue, serials) in sent {
                serials.iter().for_each(|&serial| self.model.publish(queue, serial));
            }
            if let Some((queue, id, place, _)) = settled {
                self.model.settle(queue, &id, place, Settlement::Ack);
            }
        }
        self.expect(peer, is_taken, &receipt)
    }

    fn subscribe(&mut self, peer: usize, queue: &'static str, terms: Terms) -> String {
        let (id, receipt) = (self.name("c"), self.name("r"));
        let prefetch = terms.prefetch.to_string();
        let exclusive = terms.is_exclusive.to_string();
        let mut headers = vec![
            ("id", id.as_str()),
            ("destination", queue),
            ("ack", terms.ack),
            ("prefetch-count", &prefetch),
            ("exclusive", &exclusive),
            ("receipt", &receipt),
        ];
        headers.extend(arguments(queue));
        self.push(peer, "SUBSCRIBE", &headers, b"");
        self.queues.insert(id.clone(), queue);
        if queue != GRAVE {
            self.model.subscribe(queue, peer, &id, &terms);
        }
        self.expect(peer, true, &receipt);
        id
    }

    fn unsubscribe(&mut self, peer: usize, id: &str) {
        let receipt = self.name("r");
        self.push(peer, "UNSUBSCRIBE", &[("id", id), ("receipt", &receipt)], b"");
        self.model.unsubscribe(self.queues[id], id);
        self.expect(peer, true, &receipt);
    }

    /// A delivery that waits for its ACK: queue, subscription, place and how many wait with it.
    fn any_unsettled(&mut self, peer: usize) -> Option<(&'static str, String, usize, usize)> {
        let queues = self.model.queues.iter();
        let all: Vec<_> = queues
            .flat_map(|(name, queue)| {
                queue.unsettled(peer).into_iter().map(|(id, place)| (*name, id, place))
            })
            .collect();
        let count = all.len();
        let (queue, id, place) = all.into_iter().nth(self.rng.below(count))?;
        Some((queue, id, place, count))
    }

    fn ack_of(&self, peer: usize, queue: &str, id: &str, place: usize) -> String {
        let serial = self.model.queues[queue].serial_at(id, place);
        self.peers[peer].acks[&(id.to_string(), serial)].clone()
    }

    fn settle(&mut self, peer: usize) {
        let Some((queue, id, place, _)) = self.any_unsettled(peer) else { return };
        let ack = self.ack_of(peer, queue, &id, place);
        let receipt = self.name("r");
        let settlement = [
            Settlement::Ack,
            Settlement::Ack,
            Settlement::Requeue,
            Settlement::Requeue,
            Settlement::Reject,
        ][self.rng.below(5)];
        let command = if settlement == Settlement::Ack { "ACK" } else { "NACK" };
        let requeue = (settlement != Settlement::Reject).to_string();
        let headers = [("id", ack.as_str()), ("receipt", &receipt), ("requeue", &requeue)];
        self.push(peer, command, &headers, b"");
        self.model.settle(queue, &id, place, settlement);
        self.expect(peer, true, &receipt);
    }

    fn reset(&mut self, peer: usize) {
        let client = &self.peers[peer];
        client.net.reset(client.socket, libc::ECONNRESET);
        self.log.push(format!("{peer}: reset"));
        self.model.leave(peer);
        self.peers[peer] = self.connect();
    }

    /// Runs everybody until nothing comes any more.
    fn rest(&mut self) {
        let mut heard_ms = self.cluster.now_ms;
        for _ in 0..20_000 {
            self.cluster.begin_round(&mut self.rng);
            for _ in 0..self.cluster.shards_count() * 2 {
                let index = self.rng.below(self.cluster.shards_count());
                self.cluster.turn(index);
            }
            if (0..self.peers.len()).any(|peer| self.pump(peer)) {
                heard_ms = self.cluster.now_ms;
            }
            if self.cluster.now_ms > heard_ms + QUIET_MS && self.cluster.is_quiet() {
                return;
            }
        }
        panic!("it does not become quiet: {:#?}", self.cluster.census());
    }

    /// Writes and reads; says whether anything moved.
    fn pump(&mut self, peer: usize) -> bool {
        let client = &mut self.peers[peer];
        let written = client.net.write(client.socket, &client.out);
        client.out.drain(..written);
        let bytes = match client.net.read(client.socket, usize::MAX) {
            Read::Bytes(bytes) => bytes,
            Read::End | Read::Reset | Read::Refused => {
                client.is_gone = true;
                return written > 0;
            }
        };
        client.raw.extend(&bytes);
        let raw = std::mem::take(&mut client.raw);
        let mut rest = &raw[..];
        while let Some(frame) = wire::take_stomp(&mut rest) {
            self.on_frame(peer, &frame);
        }
        self.peers[peer].raw = rest.to_vec();
        written > 0 || !bytes.is_empty()
    }

    fn on_frame(&mut self, peer: usize, frame: &wire::Frame<'_>) {
        let client = &mut self.peers[peer];
        match frame.command {
            "CONNECTED" => {}
            "RECEIPT" => {
                let receipt = frame.header("receipt-id").expect("a RECEIPT names it");
                assert!(client.receipts.insert(receipt.to_string()), "{receipt} twice");
            }
            "ERROR" => client.error = frame.header("message").map(str::to_string),
            "MESSAGE" => {
                let id = frame.header("subscription").expect("MESSAGE names it").to_string();
                let body = std::str::from_utf8(frame.body).expect("text");
                let serial: usize = body.parse().expect("a serial");
                if self.queues[&id] == GRAVE {
                    let reason = frame.header("x-death-reason").expect("a reason").to_string();
                    assert_eq!(self.letters.insert(serial, reason), None, "{serial} twice");
                    return;
                }
                let ack = frame.header("ack").unwrap_or_default().to_string();
                client.acks.insert((id.clone(), serial), ack);
                self.seen.push((id, serial, frame.header("redelivered") == Some("true")));
            }
            other => panic!("peer {peer}: {other} is no server's frame"),
        }
    }

    /// All is quiet: the model does what the server did. Gives how many deliveries those were.
    fn compare(&mut self) -> usize {
        self.rest();
        self.cluster.set_faults(self.faults);
        let seen = std::mem::take(&mut self.seen);
        self.log.extend(seen.iter().map(|seen| format!("came: {seen:?}")));
        for queue in QUEUES {
            let own = seen.iter().filter(|(id, ..)| self.queues[id] == queue);
            let own: Vec<_> = own.cloned().collect();
            self.model.follow(queue, &own);
        }
        seen.len()
    }

    /// Everybody leaves; what is left, and who is dead, is as the model says.
    fn end(&mut self) -> usize {
        for peer in 0..PEERS_COUNT {
            self.reset(peer);
            self.compare();
        }
        self.cluster.set_faults(Faults::default());
        for queue in QUEUES {
            self.subscribe(0, queue, Terms { ack: "auto", prefetch: 1, is_exclusive: false });
            self.compare();
            assert!(self.model.queues[queue].waiting.is_empty(), "{queue} is not empty");
        }
        self.subscribe(0, GRAVE, Terms { ack: "auto", prefetch: 1, is_exclusive: false });
        let dead: BTreeMap<usize, String> =
            self.model.dead.iter().map(|(&serial, reason)| (serial, reason.to_string())).collect();
        assert_eq!(self.letters, dead, "the dead letters");
        for Peer { net, socket, .. } in &self.peers {
            net.reset(*socket, libc::ECONNRESET);
        }
        self.rest();
        let idle_ms = self.cluster.shared.config.queue_idle_max.as_millis() as u64;
        self.cluster.advance(idle_ms + 1_000);
        self.rest();
        self.cluster.check_base_line();
        dead.len()
    }
}

impl Drop for Lockstep {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.iter().for_each(|line| eprintln!("{line}"));
            eprintln!("{:?}", self.model);
        }
    }
}
