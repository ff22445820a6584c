//! Tests of the queue, one per rule of its contract (stomp.md §1.9, §2.4 and §5 rows 64 to 67, 75).

use super::*;

/// A queue, the list it writes to, and what it wrote.
struct Bench {
    queue: Queue,
    out: Vec<Output>,
}

const ALWAYS: u64 = 0;

fn settings() -> Settings {
    Settings::new(&Limits::default())
}

fn bench(settings: Settings) -> Bench {
    Bench { queue: Queue::new(settings, 1), out: Vec::new() }
}

fn id(number: u32) -> ConsumerId {
    ConsumerId { shard: 0, slot: number, generation: 0, subscription: 0 }
}

fn terms(mode: Mode, credit: u32) -> Consumer {
    Consumer {
        mode,
        credit_count: Some(credit),
        credit_bytes: None,
        is_exclusive: false,
        selector: None,
    }
}

fn publication(name: &str) -> Arc<Publication> {
    let headers = [("colour", if name.starts_with('r') { "red" } else { "blue" })];
    Arc::new(Publication::new("/queue/a", headers.into_iter(), name.as_bytes()))
}

fn name(publication: &Publication) -> String {
    String::from_utf8(publication.body().to_vec()).unwrap()
}

impl Bench {
    fn add(&mut self, number: u32, terms: Consumer) {
        self.queue.add_consumer(id(number), terms).unwrap();
    }

    fn publish(&mut self, names: &[&str]) {
        for name in names {
            self.queue.publish(publication(name), None, &mut self.out).unwrap();
        }
    }

    /// What a dispatch sends: consumer, message, how often.
    fn dispatch(&mut self) -> Vec<(u32, String, u32)> {
        self.dispatch_at(ALWAYS)
    }

    fn dispatch_at(&mut self, now_ms: u64) -> Vec<(u32, String, u32)> {
        self.out.clear();
        assert!(!self.queue.dispatch(now_ms, &mut 1_000_000, &mut self.out));
        let deliveries = self.out.iter().filter_map(|output| match output {
            Output::Deliver(delivery) => Some(delivery),
            Output::Dead { .. } => None,
        });
        deliveries
            .map(|delivery| {
                (delivery.consumer.slot, name(&delivery.publication), delivery.deliveries)
            })
            .collect()
    }

    fn names(&mut self) -> Vec<String> {
        self.dispatch().into_iter().map(|(_, name, _)| name).collect()
    }

    /// Tags of the deliveries of the last dispatch.
    fn tags(&self) -> Vec<u64> {
        let tag = |output: &Output| match output {
            Output::Deliver(delivery) => Some(delivery.tag),
            Output::Dead { .. } => None,
        };
        self.out.iter().filter_map(tag).collect()
    }

    fn settle(&mut self, number: u32, tag: u64, what: Settlement) -> Result<usize, QueueError> {
        self.out.clear();
        self.queue.settle(id(number), tag, what, &mut self.out)
    }

    fn remove(&mut self, number: u32, unsettled: Unsettled) {
        self.out.clear();
        assert!(self.queue.remove_consumer(id(number), unsettled, &mut self.out));
    }

    /// The dead of the last call.
    fn dead(&self) -> Vec<(String, Death, u32)> {
        let dead = |output: &Output| match output {
            Output::Dead { publication, death, deliveries } => {
                Some((name(publication), *death, *deliveries))
            }
            Output::Deliver(_) => None,
        };
        self.out.iter().filter_map(dead).collect()
    }
}

fn seen(list: &[(u32, &str, u32)]) -> Vec<(u32, String, u32)> {
    list.iter().map(|(number, name, count)| (*number, (*name).to_string(), *count)).collect()
}

/// Catalogue: I07.
#[test]
fn consumers_take_turns_within_their_credit() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Individual, 1));
    bench.add(2, terms(Mode::Individual, 2));
    bench.publish(&["a", "b", "c", "d"]);
    assert_eq!(bench.dispatch(), seen(&[(1, "a", 1), (2, "b", 1), (2, "c", 1)]));
    let tags = bench.tags();
    assert_eq!(bench.settle(2, tags[1], Settlement::Ack), Ok(1));
    assert_eq!(bench.dispatch(), seen(&[(2, "d", 1)]));
    assert_eq!((bench.queue.waiting_count(), bench.queue.unsettled_count()), (0, 3));
}

#[test]
fn a_message_waits_for_its_first_consumer() {
    let mut bench = bench(settings());
    bench.publish(&["a", "b"]);
    assert_eq!(bench.dispatch(), seen(&[]));
    bench.add(1, terms(Mode::Individual, 10));
    assert_eq!(bench.names(), ["a", "b"]);
    assert_eq!(bench.queue.unsettled_count(), 2);
}

#[test]
fn cumulative_covers_the_consumers_earlier_ones_and_nobody_elses() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Cumulative, 10));
    bench.add(2, terms(Mode::Cumulative, 10));
    bench.publish(&["a", "b", "c", "d", "e"]);
    bench.dispatch();
    let tags = bench.tags();
    assert_eq!(bench.settle(1, tags[2], Settlement::Ack), Ok(2));
    assert_eq!(bench.settle(1, tags[0], Settlement::Ack), Err(QueueError::UnknownDelivery));
    assert_eq!(bench.settle(1, tags[3], Settlement::Ack), Err(QueueError::UnknownDelivery));
    assert!(bench.queue.is_unsettled(id(2), tags[1]) && !bench.queue.is_unsettled(id(1), tags[1]));
    // STOMP 1.2, NACK: as ACK, so it covers the earlier ones too.
    assert_eq!(bench.settle(2, tags[3], Settlement::Reject), Ok(2));
    let dead = [("b", Death::Rejected), ("d", Death::Rejected)];
    assert_eq!(bench.dead(), dead.map(|(name, death)| (name.to_string(), death, 1)));
    assert_eq!(bench.queue.unsettled_count(), 1);
}

#[test]
fn what_is_refused_goes_back_to_its_place_and_to_another_consumer() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Individual, 1));
    bench.publish(&["a", "b", "c"]);
    bench.dispatch();
    let tag = bench.tags()[0];
    bench.add(2, terms(Mode::Individual, 1));
    assert_eq!(bench.settle(1, tag, Settlement::Requeue), Ok(1));
    assert_eq!(bench.dispatch(), seen(&[(2, "a", 2), (1, "b", 1)]));
}

/// stomp.md §5 row 75.
/// Catalogue: I21.
#[test]
fn a_lost_consumers_messages_come_back_in_order_and_marked() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Individual, 3));
    bench.publish(&["a", "b", "c", "d", "e"]);
    bench.dispatch();
    let tags = bench.tags();
    bench.settle(1, tags[1], Settlement::Ack).unwrap();
    bench.dispatch();
    bench.remove(1, Unsettled::Return);
    bench.add(2, terms(Mode::Individual, 10));
    assert_eq!(bench.dispatch(), seen(&[(2, "a", 2), (2, "c", 2), (2, "d", 2), (2, "e", 1)]));
}

/// stomp.md §5 row 67.
/// Catalogue: I08.
#[test]
fn a_delivery_can_be_settled_after_its_consumer_left() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Individual, 2));
    bench.publish(&["a", "b", "c"]);
    bench.dispatch();
    let tags = bench.tags();
    bench.remove(1, Unsettled::KeepThrough(u64::MAX));
    assert_eq!(bench.settle(1, tags[0], Settlement::Ack), Ok(1));
    assert_eq!(bench.dispatch(), seen(&[]), "it gets nothing new");
    bench.remove(1, Unsettled::Return);
    assert_eq!(bench.queue.consumers_count(), 0);
    assert_eq!(bench.queue.waiting_count(), 2);
    assert!(!bench.queue.remove_consumer(id(1), Unsettled::Return, &mut Vec::new()));
}

#[test]
fn one_that_left_goes_with_its_last_delivery() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Individual, 1));
    bench.publish(&["a"]);
    bench.dispatch();
    let tag = bench.tags()[0];
    bench.remove(1, Unsettled::KeepThrough(u64::MAX));
    assert!(!bench.queue.is_unused());
    bench.settle(1, tag, Settlement::Ack).unwrap();
    assert!(bench.queue.is_unused());
}

/// Catalogue: I22.
#[test]
fn a_message_that_comes_back_too_often_dies() {
    let mut bench = bench(Settings { deliveries_count_max: 2, ..settings() });
    bench.add(1, terms(Mode::Individual, 1));
    bench.publish(&["a"]);
    for round in 1..=2 {
        assert_eq!(bench.dispatch(), seen(&[(1, "a", round)]));
        let tag = bench.tags()[0];
        bench.settle(1, tag, Settlement::Requeue).unwrap();
    }
    assert_eq!(bench.dead(), [("a".to_string(), Death::Deliveries, 2)]);
    assert_eq!(bench.queue.waiting_count(), 0);
}

/// Catalogue: I23.
#[test]
fn a_full_queue_rejects_or_drops_its_oldest() {
    let bounds = Settings { messages_count_max: 2, ..settings() };
    let mut rejecting = bench(bounds);
    rejecting.publish(&["a", "b"]);
    let full = QueueError::TooManyMessages { seen: 3, limit: 2 };
    assert_eq!(rejecting.queue.publish(publication("c"), None, &mut Vec::new()), Err(full));
    assert_eq!(full.to_string(), "queue full: seen 3 messages, limit is 2: send later");
    // A delivered message counts until it is settled.
    rejecting.add(1, terms(Mode::Individual, 1));
    rejecting.dispatch();
    assert_eq!(rejecting.queue.publish(publication("c"), None, &mut Vec::new()), Err(full));
    let tag = rejecting.tags()[0];
    rejecting.settle(1, tag, Settlement::Ack).unwrap();
    rejecting.publish(&["c"]);

    let mut dropping = bench(Settings { overflow: Overflow::DropHead, ..bounds });
    dropping.publish(&["a", "b", "c"]);
    assert_eq!(dropping.dead(), [("a".to_string(), Death::Overflow, 0)]);
    dropping.add(1, terms(Mode::Individual, 2));
    assert_eq!(dropping.names(), ["b", "c"]);
    // Nothing waits that could be dropped.
    assert_eq!(dropping.queue.publish(publication("d"), None, &mut Vec::new()), Err(full));
}

/// Catalogue: I23.
#[test]
fn bytes_are_bounded_too() {
    let bytes = publication("a").bytes();
    let bounds = Settings { bytes_max: 2 * bytes, overflow: Overflow::DropHead, ..settings() };
    let mut bench = bench(bounds);
    bench.publish(&["a", "b", "c"]);
    assert_eq!((bench.queue.waiting_count(), bench.queue.bytes()), (2, 2 * bytes));
    // One that can never fit costs nobody else anything.
    let large = publication(&"x".repeat(1_000));
    let full = QueueError::TooManyBytes { seen: large.bytes(), limit: 2 * bytes };
    assert_eq!(bench.queue.publish(large, None, &mut Vec::new()), Err(full));
    assert_eq!(bench.queue.waiting_count(), 2);
}

#[test]
fn credit_in_bytes_stops_at_the_message_that_passes_it() {
    let mut bench = bench(settings());
    let bytes = publication("a").bytes();
    let credit_bytes = Some(bytes + 1);
    bench.add(1, Consumer { credit_bytes, credit_count: None, ..terms(Mode::Individual, 0) });
    bench.publish(&["a", "b", "c"]);
    assert_eq!(bench.names(), ["a", "b"]);
    let tag = bench.tags()[0];
    bench.settle(1, tag, Settlement::Ack).unwrap();
    assert_eq!(bench.names(), ["c"]);
}

/// Catalogue: I29.
#[test]
fn expired_messages_are_not_delivered() {
    let mut bench = bench(settings());
    for (name, expires_ms) in [("a", Some(10)), ("b", None), ("c", Some(5))] {
        bench.queue.publish(publication(name), expires_ms, &mut Vec::new()).unwrap();
    }
    assert_eq!(bench.dispatch_at(6), seen(&[]));
    assert_eq!(bench.dead(), [("c".to_string(), Death::Expired, 0)]);
    bench.add(1, terms(Mode::Individual, 1));
    assert_eq!(bench.dispatch_at(10), seen(&[(1, "a", 1)]));
    // It does not expire with the consumer, but when it comes back.
    let tag = bench.tags()[0];
    assert_eq!(bench.dispatch_at(20), seen(&[]));
    bench.settle(1, tag, Settlement::Requeue).unwrap();
    assert_eq!(bench.dispatch_at(20), seen(&[(1, "b", 1)]));
    assert_eq!(bench.dead(), [("a".to_string(), Death::Expired, 1)]);
}

#[test]
fn the_first_exclusive_consumer_is_the_only_one_served() {
    let mut bench = bench(settings());
    let exclusive = || Consumer { is_exclusive: true, ..terms(Mode::Individual, 2) };
    bench.add(1, terms(Mode::Individual, 10));
    bench.add(2, exclusive());
    bench.add(3, exclusive());
    bench.publish(&["a", "b", "c", "d"]);
    assert_eq!(bench.dispatch(), seen(&[(2, "a", 1), (2, "b", 1)]));
    bench.remove(2, Unsettled::KeepThrough(u64::MAX));
    assert_eq!(bench.dispatch(), seen(&[(3, "c", 1), (3, "d", 1)]));
    bench.remove(3, Unsettled::Return);
    assert_eq!(bench.dispatch(), seen(&[(1, "c", 2), (1, "d", 2)]));
}

fn red() -> Option<Selector> {
    Some(Selector::compile("colour = 'red'", &Limits::default()).unwrap())
}

#[test]
fn a_selector_takes_what_matches_and_leaves_the_rest_in_order() {
    let mut bench = bench(settings());
    bench.add(1, Consumer { selector: red(), ..terms(Mode::Individual, 1) });
    bench.publish(&["b1", "r1", "b2", "r2"]);
    assert_eq!(bench.dispatch(), seen(&[(1, "r1", 1)]));
    let tag = bench.tags()[0];
    bench.settle(1, tag, Settlement::Requeue).unwrap();
    assert_eq!(bench.dispatch(), seen(&[(1, "r1", 2)]));
    let tag = bench.tags()[0];
    bench.settle(1, tag, Settlement::Ack).unwrap();
    assert_eq!(bench.dispatch(), seen(&[(1, "r2", 1)]));
    bench.add(2, terms(Mode::Individual, 10));
    assert_eq!(bench.dispatch(), seen(&[(2, "b1", 1), (2, "b2", 1)]));
    let tag = bench.queue.next_tag - 3;
    bench.settle(1, tag, Settlement::Ack).unwrap();
    assert_eq!(bench.dispatch(), seen(&[]));
    bench.publish(&["b3", "r3"]);
    assert_eq!(bench.dispatch(), seen(&[(2, "b3", 1), (1, "r3", 1)]));
}

#[test]
fn a_selector_looks_again_at_an_earlier_message_that_comes_back() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Individual, 2));
    bench.publish(&["r1", "b2"]);
    bench.dispatch();
    let tags = bench.tags();
    bench.add(2, Consumer { selector: red(), ..terms(Mode::Individual, 1) });
    bench.settle(1, tags[1], Settlement::Requeue).unwrap();
    assert_eq!(bench.dispatch(), seen(&[(1, "b2", 2)]));
    bench.settle(1, tags[0], Settlement::Requeue).unwrap();
    assert_eq!(bench.dispatch(), seen(&[(2, "r1", 2)]));
}

#[test]
fn the_work_of_a_dispatch_is_bounded_and_goes_on_where_it_stopped() {
    let mut bench = bench(settings());
    bench.add(1, Consumer { selector: red(), ..terms(Mode::Individual, 1_000) });
    let blue = vec!["b"; 100];
    bench.publish(&blue);
    bench.publish(&["r"]);
    for _ in 0..10 {
        let mut budget = 10;
        assert!(bench.queue.dispatch(ALWAYS, &mut budget, &mut bench.out));
        assert_eq!((budget, bench.out.len()), (0, 0));
    }
    let mut budget = 10;
    assert!(!bench.queue.dispatch(ALWAYS, &mut budget, &mut bench.out));
    assert_eq!((budget, bench.out.len()), (8, 1));
    // Nothing new: nothing is looked at again.
    assert!(!bench.queue.dispatch(ALWAYS, &mut budget, &mut bench.out));
    assert_eq!(budget, 8);
}

#[test]
fn room_can_be_reserved_for_a_transaction() {
    let mut bench = bench(Settings { messages_count_max: 2, ..settings() });
    let bytes = publication("a").bytes();
    bench.queue.reserve(2, 2 * bytes, &mut Vec::new()).unwrap();
    assert!(bench.queue.publish(publication("x"), None, &mut Vec::new()).is_err());
    assert!(!bench.queue.is_unused());
    bench.queue.release(2, 2 * bytes);
    bench.publish(&["a", "b"]);
    assert!(bench.queue.reserve(1, 0, &mut Vec::new()).is_err());
    bench.queue.release(1, 1);
    assert_eq!(bench.queue.bytes(), 2 * bytes, "nothing was reserved, nothing is given back");
}

#[test]
fn a_purge_drops_what_waits_and_nothing_else() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Individual, 1));
    bench.publish(&["a", "b", "c"]);
    bench.dispatch();
    let tag = bench.tags()[0];
    bench.queue.reserve(1, 7, &mut Vec::new()).unwrap();
    bench.queue.purge();
    assert_eq!((bench.queue.waiting_count(), bench.queue.unsettled_count()), (0, 1));
    assert_eq!(bench.queue.bytes(), publication("a").bytes() + 7);
    bench.settle(1, tag, Settlement::Requeue).unwrap();
    assert_eq!(bench.queue.attached_count(), 1);
    bench.remove(1, Unsettled::KeepThrough(u64::MAX));
    bench.queue.purge();
    bench.queue.release(1, 7);
    assert_eq!(bench.queue.attached_count(), 0);
    assert!(bench.queue.is_unused());
}

#[test]
fn a_consumer_cannot_come_twice() {
    let mut bench = bench(settings());
    bench.add(1, terms(Mode::Individual, 1));
    let again = bench.queue.add_consumer(id(1), terms(Mode::Individual, 1));
    assert_eq!(again, Err(QueueError::DuplicateConsumer));
}
