//! The whole server over the simulated network: the bytes are what its clients, their network and
//! the clock do.
//!
//! A script connects clients, writes to them what is nearly right or anything at all, cuts them
//! off, lets time pass and faults strike. Whatever it did, a well-behaved client is served
//! afterwards, and when all have left the shards hold nothing: see `World::finish`.

use crate::source::Source;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use stompede::config::{Compression, Config};
use stompede::mesh::{self, Doorbell};
use stompede::reactor::sim::{Faults, Read, SimNet, SimReactor, SocketId};
use stompede::shard::admission::SLOTS_RESERVED;
use stompede::shard::census::Census;
use stompede::shard::reason::NAMES;
use stompede::shard::{Shard, Shared};
use stompede_core::ws::frame::{encode_masked, Opcode};

const SHARDS_COUNT: usize = 2;
const SLOTS_COUNT: u32 = SLOTS_RESERVED as u32 + 16;
const CLIENTS_MAX: usize = 8;
const STEPS_MAX: usize = 200;

/// What a client may write: `%` is replaced by a digit of the script's choice.
const WORDS: [&str; 34] = [
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
     Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    "GET /sockjs/0/s%/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "POST /sockjs/0/s%/xhr HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "POST /sockjs/0/s%/xhr_streaming HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "POST /sockjs/0/s%/xhr_send HTTP/1.1\r\nHost: a\r\nContent-Length: 54\r\n\r\n\
     [\"CONNECT\\naccept-version:1.2\\nhost:a\\nheart-beat:0,0\\n\\n\\u0000\"]",
    "POST /sockjs/0/s%/xhr_send HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
     2f\r\n[\"SUBSCRIBE\\nid:1\\ndestination:/topic/a\\n\\n\\u0000\"]\r\n0\r\n\r\n",
    "GET /sockjs/0/s%/eventsource HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /sockjs/0/s%/jsonp?c=cb HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /sockjs/info HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT\naccept-version:1.%\nhost:a\nheart-beat:1000,1000\n\n\0",
    "CONNECT\naccept-version:1.2\nhost:a\n\n\0",
    "CONNECT\n\n\0",
    "SUBSCRIBE\nid:%\ndestination:/topic/a\n\n\0",
    "SUBSCRIBE\nid:%\ndestination:/topic/**\nreceipt:%\n\n\0",
    "SUBSCRIBE\nid:%\ndestination:/topic/h\nreplay:9\n\n\0",
    "SUBSCRIBE\nid:%\ndestination:/topic/h\nfrom-offset:%\nepoch:x\n\n\0",
    "SUBSCRIBE\nid:%\ndestination:/topic/slow\nselector:a = '%'\n\n\0",
    "SUBSCRIBE\nid:%\ndestination:/queue/q%\nack:client\n\n\0",
    "SUBSCRIBE\nid:%\ndestination:/queue/q%\nack:client-individual\nprefetch-count:1\n\n\0",
    "SUBSCRIBE\nid:%\ndestination:/user/queue/x\n\n\0",
    "UNSUBSCRIBE\nid:%\n\n\0",
    "SEND\ndestination:/topic/a\na:%\n\nx\0",
    "SEND\ndestination:/topic/h\nreceipt:%\n\nx\0",
    "SEND\ndestination:/topic/slow\na:%\n\nx\0",
    "SEND\ndestination:/queue/q%\ntransaction:%\nexpires:1\n\nx\0",
    "SEND\ndestination:/queue/q%\nreply-to:/temp-queue/r\n\nx\0",
    "SEND\ndestination:/user/a/queue/x\ncontent-length:2\n\na\0\0",
    "ACK\nid:%\nmessage-id:%\nsubscription:%\ntransaction:%\n\n\0",
    "ACK\nid:%\n\n\0",
    "NACK\nid:%\n\n\0",
    "BEGIN\ntransaction:%\n\n\0",
    "COMMIT\ntransaction:%\nreceipt:%\n\n\0",
    "ABORT\ntransaction:%\n\n\0",
    "DISCONNECT\nreceipt:%\n\n\0",
];

const OPCODES: [Opcode; 6] =
    [Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Close, Opcode::Pong];

/// Runs a script.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let mut world = World::new(&mut source);
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        world.step(&mut source);
    }
    world.finish();
}

struct World {
    shared: Arc<Shared>,
    nets: Vec<SimNet>,
    shards: Vec<Shard<SimReactor>>,
    is_asleep: [bool; SHARDS_COUNT],
    clients: Vec<(SimNet, SocketId)>,
}

impl World {
    fn new(source: &mut Source<'_>) -> World {
        let mut config = Config {
            shards: SHARDS_COUNT,
            stall_deadline: Duration::from_secs(5),
            outbound_bytes_max: [2_048, 65_536][source.below(2)],
            compression: Compression::Shared,
            compression_threshold_bytes: 1,
            history: vec!["/topic/h,5,2s".to_owned()],
            slow_consumer: vec!["/topic/slow,conflate,2/s".to_owned()],
            ..Config::default()
        };
        config.sockjs.disconnect_delay_ms = 1_000;
        config.sockjs.tombstone_ms = 1_000;
        config.limits.subscriptions_count_max = 6;
        config.limits.transaction_actions_count_max = 3;
        config.limits.queue_messages_count_max = 3;
        config.limits.unacknowledged_count_max = 4;
        let shared = Shared::new(config, 7, "sim").expect("a plain configuration");
        let shared = Arc::new(shared);
        let doorbells: Vec<_> =
            (0..SHARDS_COUNT).map(|_| Doorbell::new().expect("an eventfd")).collect();
        let net = |(seed, bell): (usize, &Arc<Doorbell>)| {
            SimNet::new(seed as u64, Faults::default(), SLOTS_COUNT, bell.fd())
        };
        let nets: Vec<SimNet> = doorbells.iter().enumerate().map(net).collect();
        let shards = mesh::connect(&doorbells, [1, 64][source.below(2)]).into_iter().enumerate();
        let shards = shards
            .map(|(index, mesh)| Shard::new(index, shared.clone(), nets[index].reactor(), mesh))
            .collect();
        World { shared, nets, shards, is_asleep: [false; SHARDS_COUNT], clients: Vec::new() }
    }

    fn step(&mut self, source: &mut Source<'_>) {
        let action = source.below(16);
        if action == 0 || self.clients.is_empty() {
            return self.connect(source.below(4), 64 << source.below(9));
        }
        let (net, socket) = self.clients[source.below(self.clients.len())].clone();
        match action {
            1..=3 => _ = net.write(socket, &word(source)),
            4..=6 => {
                let payload = word(source);
                _ = net.write(socket, &frame(source, &payload));
            }
            7 => _ = net.write(socket, source.bytes(80)),
            8 => {
                let payload = source.bytes(40);
                _ = net.write(socket, &frame(source, payload));
            }
            9 => _ = net.read(socket, 1 << source.below(14)),
            10 => match source.below(3) {
                0 => net.shutdown_write(socket),
                1 => net.reset(socket, 104),
                _ => _ = net.read(socket, usize::MAX),
            },
            11 => {
                let ms = [1, 40, 250, 3_000][source.below(4)];
                self.nets.iter().for_each(|net| net.advance(ms));
            }
            12 => {
                let mut level = || [0, 0, 100, 500][source.below(4)];
                let faults = Faults {
                    short: level(),
                    refused: level(),
                    late: level(),
                    spurious: level(),
                    accept: level(),
                    late_tick: level(),
                };
                self.nets.iter().for_each(|net| net.set_faults(faults));
            }
            _ => self.turns(1 + source.below(4)),
        }
    }

    /// Bit 0 of `at` is the listener, bit 1 the shard.
    fn connect(&mut self, at: usize, window_bytes: usize) {
        if self.clients.len() == CLIENTS_MAX {
            let (net, socket) = self.clients.remove(0);
            net.reset(socket, 104);
        }
        let net = self.nets[at / 2].clone();
        let socket = net.connect((at % 2) as u8, window_bytes);
        self.clients.push((net, socket));
    }

    /// Every shard that is awake, or is woken, runs as often.
    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            for (index, shard) in self.shards.iter_mut().enumerate() {
                if self.is_asleep[index] && !self.nets[index].has_work() {
                    continue;
                }
                let mut context = Context::from_waker(Waker::noop());
                let turn = pin!(shard.turn()).poll(&mut context);
                self.is_asleep[index] = turn.is_pending();
                if let Poll::Ready(is_drained) = turn {
                    assert!(!is_drained.expect("the wait is simulated"));
                }
            }
        }
    }

    /// All faults end; a canary is served; everybody leaves; nothing is held any more.
    fn finish(mut self) {
        self.nets.iter().for_each(|net| net.set_faults(Faults::default()));
        self.canary();
        for (net, socket) in std::mem::take(&mut self.clients) {
            net.reset(socket, 104);
        }
        // Longer than anything is remembered.
        for _ in 0..12 {
            self.nets.iter().for_each(|net| net.advance(1_000));
            self.turns(3);
        }
        for (index, shard) in self.shards.iter().enumerate() {
            let (census, metrics) = (shard.census(), &self.shared.metrics[index]);
            assert!(census.arena_chunks <= 2, "shard {index}: {census:?}");
            // Queues and their messages stay, whoever leaves.
            let Census { arena_chunks, queues, .. } = census;
            let base_line = Census { arena_chunks, queues, ..Census::default() };
            assert_eq!(census, base_line, "shard {index}");
            assert_eq!(self.nets[index].open_slots_count(), 0, "shard {index}: slots");
            let ended: u64 = (0..NAMES.len()).map(|reason| metrics.closed_count(reason)).sum();
            assert_eq!(metrics.connections_opened.get(), ended, "shard {index}: each end counts");
            assert_eq!(metrics.connections.get(), 0, "shard {index}: connections");
            assert_eq!(metrics.outbound_bytes.get(), 0, "shard {index}: outbound bytes");
            assert_eq!(metrics.subscriptions.get(), 0, "shard {index}: subscriptions");
        }
    }

    /// A client that does everything right gets its message and its receipt, and nothing else.
    fn canary(&mut self) {
        // One of the script's may have to make room.
        self.connect(1, 1 << 20);
        let (net, socket) = self.clients.last().expect("just connected").clone();
        net.write(socket, b"CONNECT\naccept-version:1.2\nhost:a\n\n\0");
        self.turns(20);
        net.write(socket, b"SUBSCRIBE\nid:c\ndestination:/topic/canary\nreceipt:1\n\n\0");
        self.turns(40);
        net.write(socket, b"SEND\ndestination:/topic/canary\nreceipt:2\n\nsong\0");
        self.turns(40);
        let Read::Bytes(bytes) = net.read(socket, usize::MAX) else { panic!("no canary") };
        let text = String::from_utf8_lossy(&bytes);
        let starts: Vec<&str> = text
            .split_terminator('\0')
            .map(|frame| frame.trim_start().lines().next().unwrap_or(""))
            .collect();
        let mut sorted = starts.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["CONNECTED", "MESSAGE", "RECEIPT", "RECEIPT"], "{text}");
        assert!(text.contains("\n\nsong\0"), "{text}");
    }
}

fn word(source: &mut Source<'_>) -> Vec<u8> {
    let word = source.pick(&WORDS);
    let digit = |byte: u8, source: &mut Source<'_>| match byte {
        b'%' => b'0' + source.below(4) as u8,
        byte => byte,
    };
    word.bytes().map(|byte| digit(byte, source)).collect()
}

/// A masked frame; now and then a fragment, or marked as compressed.
fn frame(source: &mut Source<'_>, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let shape = source.below(48);
    encode_masked(&mut out, OPCODES[shape % 6], [1, 2, 3, 4], payload);
    match shape / 6 {
        0 => out[0] &= 0x7f,
        1 => out[0] |= 0x40,
        _ => {}
    }
    out
}
