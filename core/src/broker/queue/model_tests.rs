//! The queue against a model: vectors, scanned for every question.
//!
//! The model holds what waits in a sorted vector and what each consumer has. It does not predict
//! whose turn it is: it checks that each output was allowed and then does the same. So it knows
//! that nothing is lost, nothing comes twice unmarked, order, bounds and credit hold, and that
//! after a dispatch nobody is left who could have been served. At the end all must be empty.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Add { number: u32, mode: Mode, credit: u32, is_exclusive: bool, colour: Option<u8> },
    Remove { number: u32, unsettled: Unsettled },
    Publish { colour: u8, lives_ms: Option<u64>, size: usize },
    Settle { number: u32, which: usize, settlement: Settlement },
    Reserve { count: usize },
    Release,
    Pass { ms: u64 },
    Dispatch { budget: usize },
}

#[derive(Clone, Debug)]
struct Item {
    serial: usize,
    colour: u8,
    expires_ms: Option<u64>,
    deliveries: u32,
    bytes: usize,
}

#[derive(Debug)]
struct Peer {
    id: ConsumerId,
    mode: Mode,
    credit: u32,
    is_exclusive: bool,
    colour: Option<u8>,
    is_gone: bool,
    in_flight: u32,
    unsettled: Vec<(u64, Item)>,
}

#[derive(Debug)]
struct Model {
    settings: Settings,
    waiting: Vec<Item>,
    peers: Vec<Peer>,
    reserved: usize,
    now_ms: u64,
    serial: usize,
    last_tag: u64,
}

impl Model {
    fn unsettled(&self) -> impl Iterator<Item = &Item> {
        self.peers.iter().flat_map(|peer| peer.unsettled.iter().map(|(_, item)| item))
    }

    fn held(&self) -> (usize, usize) {
        let items: Vec<&Item> = self.waiting.iter().chain(self.unsettled()).collect();
        (items.len() + self.reserved, items.iter().map(|item| item.bytes).sum())
    }

    fn is_expired(&self, item: &Item) -> bool {
        item.expires_ms.is_some_and(|time| time < self.now_ms)
    }

    fn may_get(&self, peer: &Peer, item: &Item) -> bool {
        let exclusive = self.peers.iter().find(|peer| peer.is_exclusive && !peer.is_gone);
        !peer.is_gone
            && exclusive.is_none_or(|first| first.id == peer.id)
            && peer.in_flight < peer.credit
            && peer.colour.is_none_or(|colour| colour == item.colour)
    }

    fn put_back(&mut self, item: Item) {
        let at = self.waiting.partition_point(|other| other.serial < item.serial);
        self.waiting.insert(at, item);
    }

    /// Takes over what a dispatch did; all of it must have been allowed.
    fn follow(&mut self, out: &mut Vec<Output>) {
        for output in out.drain(..) {
            match output {
                Output::Deliver(delivery) => self.follow_delivery(&delivery),
                Output::Dead { publication, death, deliveries } => {
                    assert_eq!(death, Death::Expired);
                    let at = self.position(&publication);
                    let item = self.waiting.remove(at);
                    assert!(self.is_expired(&item));
                    assert_eq!(item.deliveries, deliveries);
                }
            }
        }
    }

    fn follow_delivery(&mut self, delivery: &Delivery) {
        let at = self.position(&delivery.publication);
        let peer = self.peers.iter().position(|peer| peer.id == delivery.consumer).unwrap();
        let first = self.waiting.iter().position(|item| self.may_get(&self.peers[peer], item));
        assert_eq!(first, Some(at), "the first that it may have");
        let mut item = self.waiting.remove(at);
        assert!(!self.is_expired(&item));
        item.deliveries += 1;
        assert_eq!(item.deliveries, delivery.deliveries);
        assert!(delivery.tag > self.last_tag);
        self.last_tag = delivery.tag;
        let peer = &mut self.peers[peer];
        peer.in_flight += 1;
        peer.unsettled.push((delivery.tag, item));
    }

    fn position(&self, publication: &Publication) -> usize {
        let serial = serial_of(publication);
        self.waiting.iter().position(|item| item.serial == serial).expect("it waits")
    }

    /// What happens to an item taken from a consumer; the dead in the order of their death.
    fn resolve(&mut self, item: Item, settlement: Settlement, dead: &mut Vec<(usize, Death)>) {
        match settlement {
            Settlement::Ack => {}
            Settlement::Reject => dead.push((item.serial, Death::Rejected)),
            Settlement::Requeue if item.deliveries >= self.settings.deliveries_count_max => {
                dead.push((item.serial, Death::Deliveries));
            }
            Settlement::Requeue => self.put_back(item),
        }
    }

    /// Whether it fits, and who dies for it.
    fn make_room(&mut self, count: usize, bytes: usize) -> Option<Vec<(usize, Death)>> {
        let fits = |model: &Model| {
            let held = model.held();
            held.0 + count <= model.settings.messages_count_max
                && held.1 + bytes <= model.settings.bytes_max
        };
        let before = self.waiting.clone();
        let mut dead = Vec::new();
        while !fits(self) {
            if self.settings.overflow == Overflow::Reject || self.waiting.is_empty() {
                self.waiting = before;
                return None;
            }
            dead.push((self.waiting.remove(0).serial, Death::Overflow));
        }
        Some(dead)
    }
}

fn publication(serial: usize, colour: u8, size: usize) -> Arc<Publication> {
    let headers = [("serial", serial.to_string()), ("colour", colour.to_string())];
    Arc::new(Publication::new("/queue/a", headers.into_iter(), &vec![0; size]))
}

fn serial_of(publication: &Publication) -> usize {
    publication.headers().next().unwrap().1.parse().unwrap()
}

fn dead_of(out: &mut Vec<Output>) -> Vec<(usize, Death)> {
    out.drain(..)
        .map(|output| match output {
            Output::Dead { publication, death, .. } => (serial_of(&publication), death),
            Output::Deliver(delivery) => panic!("{delivery:?} outside a dispatch"),
        })
        .collect()
}

/// The queue and the model, step by step.
struct Pair {
    queue: Queue,
    model: Model,
    out: Vec<Output>,
    added: u32,
}

impl Pair {
    fn new(settings: Settings) -> Pair {
        let model = Model {
            settings,
            waiting: Vec::new(),
            peers: Vec::new(),
            reserved: 0,
            now_ms: 1_000,
            serial: 0,
            last_tag: 0,
        };
        Pair { queue: Queue::new(settings, 7), model, out: Vec::new(), added: 0 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Add { number, mode, credit, is_exclusive, colour } => {
                self.add(number, mode, credit, is_exclusive, colour);
            }
            Step::Remove { number, unsettled } => self.remove(number, unsettled),
            Step::Publish { colour, lives_ms, size } => self.publish(colour, lives_ms, size),
            Step::Settle { number, which, settlement } => self.settle(number, which, settlement),
            Step::Reserve { count } => {
                let dead = self.model.make_room(count, 0);
                let result = self.queue.reserve(count, 0, &mut self.out);
                assert_eq!(result.is_ok(), dead.is_some());
                if let Some(dead) = dead {
                    self.model.reserved += count;
                    assert_eq!(dead_of(&mut self.out), dead);
                }
            }
            Step::Release => {
                self.queue.release(self.model.reserved, 0);
                self.model.reserved = 0;
            }
            Step::Pass { ms } => self.model.now_ms += ms,
            Step::Dispatch { budget } => self.dispatch(budget),
        }
        self.compare();
    }

    /// The newest consumer of this number.
    fn peer(&self, number: u32) -> Option<usize> {
        self.model.peers.iter().rposition(|peer| peer.id.slot == number)
    }

    fn add(
        &mut self,
        number: u32,
        mode: Mode,
        credit: u32,
        is_exclusive: bool,
        colour: Option<u8>,
    ) {
        self.added += 1;
        let id = ConsumerId { shard: 0, slot: number, generation: 0, subscription: self.added };
        let selector = colour.map(|colour| {
            Selector::compile(&format!("colour = {colour}"), &Limits::default()).unwrap()
        });
        let credit_count = Some(credit);
        let terms = Consumer { mode, credit_count, credit_bytes: None, is_exclusive, selector };
        self.queue.add_consumer(id, terms).unwrap();
        let unsettled = Vec::new();
        self.model.peers.push(Peer {
            id,
            mode,
            credit,
            is_exclusive,
            colour,
            is_gone: false,
            in_flight: 0,
            unsettled,
        });
    }

    fn remove(&mut self, number: u32, unsettled: Unsettled) {
        let Some(at) = self.peer(number) else { return };
        let peer = &mut self.model.peers[at];
        peer.is_gone = true;
        let id = peer.id;
        let mut dead = Vec::new();
        if unsettled == Unsettled::Return {
            for (_, item) in std::mem::take(&mut peer.unsettled) {
                self.model.resolve(item, Settlement::Requeue, &mut dead);
            }
        }
        self.forget(at);
        assert!(self.queue.remove_consumer(id, unsettled, &mut self.out));
        assert_eq!(dead_of(&mut self.out), dead);
    }

    fn forget(&mut self, at: usize) {
        let peer = &self.model.peers[at];
        if peer.is_gone && peer.unsettled.is_empty() {
            self.model.peers.remove(at);
        }
    }

    fn publish(&mut self, colour: u8, lives_ms: Option<u64>, size: usize) {
        let model = &mut self.model;
        model.serial += 1;
        let publication = publication(model.serial, colour, size);
        let expires_ms = lives_ms.map(|life| model.now_ms + life);
        let (serial, bytes) = (model.serial, publication.bytes());
        let dead = model.make_room(1, bytes);
        let result = self.queue.publish(publication, expires_ms, &mut self.out);
        assert_eq!(result.is_ok(), dead.is_some(), "{result:?}");
        if let Some(dead) = dead {
            model.waiting.push(Item { serial, colour, expires_ms, deliveries: 0, bytes });
            assert_eq!(dead_of(&mut self.out), dead);
        }
        assert!(self.out.is_empty());
    }

    fn settle(&mut self, number: u32, which: usize, settlement: Settlement) {
        let Some(at) = self.peer(number) else { return };
        let peer = &mut self.model.peers[at];
        let id = peer.id;
        // A tag of anyone: another consumer's must be refused.
        let Some(&(tag, _)) = peer.unsettled.get(which) else {
            let foreign = self.model.peers.iter().find(|other| other.id != id);
            let tag = foreign.and_then(|other| other.unsettled.first()).map_or(0, |(tag, _)| *tag);
            let result = self.queue.settle(id, tag, settlement, &mut self.out);
            assert_eq!(result, Err(QueueError::UnknownDelivery));
            return;
        };
        let first = if peer.mode == Mode::Cumulative { 0 } else { which };
        let covered: Vec<(u64, Item)> = peer.unsettled.drain(first..=which).collect();
        peer.in_flight -= covered.len() as u32;
        let count = covered.len();
        let mut dead = Vec::new();
        for (_, item) in covered {
            self.model.resolve(item, settlement, &mut dead);
        }
        self.forget(at);
        assert_eq!(self.queue.settle(id, tag, settlement, &mut self.out), Ok(count));
        assert_eq!(dead_of(&mut self.out), dead);
        assert!(!self.queue.is_unsettled(id, tag));
    }

    fn dispatch(&mut self, budget: usize) {
        let mut left = budget;
        let is_more = self.queue.dispatch(self.model.now_ms, &mut left, &mut self.out);
        assert!(self.out.len() <= budget);
        assert!(!is_more || left == 0, "it stops only when the budget ends");
        self.model.follow(&mut self.out);
        if !is_more {
            let model = &self.model;
            assert!(!model.waiting.iter().any(|item| model.is_expired(item)));
            for peer in &model.peers {
                let left = model.waiting.iter().find(|item| model.may_get(peer, item));
                assert!(left.is_none(), "{left:?} is left for {peer:?}");
            }
        }
    }

    fn compare(&self) {
        let held = self.model.held();
        assert_eq!(self.queue.waiting_count(), self.model.waiting.len());
        assert_eq!(self.queue.unsettled_count(), self.model.unsettled().count());
        assert_eq!(self.queue.bytes(), held.1);
        assert_eq!(self.queue.consumers_count(), self.model.peers.len());
        assert!(held.0 <= self.model.settings.messages_count_max);
        assert!(held.1 <= self.model.settings.bytes_max);
        let is_unused = held.0 == 0 && self.model.peers.is_empty();
        assert_eq!(self.queue.is_unused(), is_unused);
    }

    /// Everyone goes, one consumer takes the rest.
    fn finish(&mut self) {
        self.step(&Step::Release);
        while let Some(peer) = self.model.peers.first() {
            let number = peer.id.slot;
            self.step(&Step::Remove { number, unsettled: Unsettled::Return });
        }
        self.add(0, Mode::Cumulative, u32::MAX, false, None);
        self.step(&Step::Dispatch { budget: usize::MAX });
        assert_eq!(self.queue.waiting_count(), 0);
        while let Some(peer) = self.model.peers.first() {
            let which = peer.unsettled.len().saturating_sub(1);
            self.settle(0, which, Settlement::Ack);
            self.step(&Step::Remove { number: 0, unsettled: Unsettled::KeepThrough(0) });
        }
        assert!(self.queue.is_unused());
        assert_eq!((self.queue.bytes(), self.queue.waiting_count()), (0, 0));
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let numbers = 0..5u32;
    let modes = prop::sample::select(vec![Mode::Cumulative, Mode::Individual, Mode::Individual]);
    let settlements =
        prop::sample::select(vec![Settlement::Ack, Settlement::Requeue, Settlement::Reject]);
    let unsettled = prop::sample::select(vec![Unsettled::Return, Unsettled::KeepThrough(u64::MAX)]);
    let colours = prop::option::weighted(0.4, 0..3u8);
    prop_oneof![
        2 => (numbers.clone(), modes, 1..5u32, prop::bool::weighted(0.1), colours).prop_map(
            |(number, mode, credit, is_exclusive, colour)| {
                Step::Add { number, mode, credit, is_exclusive, colour }
            }
        ),
        1 => (numbers.clone(), unsettled)
            .prop_map(|(number, unsettled)| Step::Remove { number, unsettled }),
        8 => (0..3u8, prop::option::weighted(0.3, 0..50u64), 0..40usize)
            .prop_map(|(colour, lives_ms, size)| Step::Publish { colour, lives_ms, size }),
        6 => (numbers, 0..4usize, settlements)
            .prop_map(|(number, which, settlement)| Step::Settle { number, which, settlement }),
        1 => (0..3usize).prop_map(|count| Step::Reserve { count }),
        1 => Just(Step::Release),
        2 => (0..20u64).prop_map(|ms| Step::Pass { ms }),
        6 => prop_oneof![3 => Just(1_000_000), 1 => 0..4usize]
            .prop_map(|budget| Step::Dispatch { budget }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn agrees_with_the_model(
        steps in prop::collection::vec(steps(), 1..120),
        messages_count_max in 1..20usize,
        bytes_max in 200..4_000usize,
        deliveries_count_max in 1..4u32,
        drops in any::<bool>(),
    ) {
        let overflow = if drops { Overflow::DropHead } else { Overflow::Reject };
        let mut pair = Pair::new(Settings {
            messages_count_max,
            bytes_max,
            deliveries_count_max,
            overflow,
        });
        for step in &steps {
            pair.step(step);
        }
        pair.finish();
    }
}
