//! Tests of the subscription table: sizes, each rule of stomp.md §1.8 it serves, and a naive model.
//!
//! The model is a plain vector of tuples; after any sequence of subscribes, unsubscribes and closes
//! both must agree on every answer, the tables must not contradict each other, and after the last
//! close every table must be empty.

use super::*;
use crate::limits::Limits;
use proptest::prelude::*;

fn class(id: Option<&str>, version: u8) -> Class {
    Class { id: id.map(Into::into), version, framing: 1, explicit_ack: false, filter: None }
}

fn pattern_of(destination: &str) -> Option<Pattern> {
    let is_pattern = crate::broker::pattern::Dialect::Ant.is_pattern(destination);
    is_pattern.then(|| Pattern::parse(destination, &Limits::default()).unwrap())
}

fn add(table: &mut Subscriptions, connection: u32, head: u32, name: &str, id: &str) -> (u32, bool) {
    let class = class(Some(id), 12);
    let (key, first) = table.subscribe(connection, head, name, pattern_of(name), class);
    (key.index(), first)
}

fn reached(table: &Subscriptions, destination: &str) -> Vec<(u32, Option<String>)> {
    let mut seen = Vec::new();
    table.for_each_group(destination, |_, class, subscribers| {
        assert!(!subscribers.is_empty());
        let id = class.id.as_deref().map(str::to_owned);
        seen.extend(subscribers.iter().map(|subscriber| (subscriber.connection, id.clone())));
    });
    seen.sort();
    seen
}

#[test]
fn sizes_hold_the_memory_goal() {
    assert_eq!(size_of::<Record>(), 16);
    assert_eq!(size_of::<Subscriber>(), 8);
}

#[test]
fn one_class_is_one_group() {
    let mut table = Subscriptions::new(1);
    for connection in 0..1_000 {
        let (_, first) = add(&mut table, connection, NONE, "/topic/a", "sub-0");
        assert_eq!(first, connection == 0);
    }
    let mut groups = 0;
    table.for_each_group("/topic/a", |_, class, subscribers| {
        groups += 1;
        assert_eq!((class.id.as_deref(), subscribers.len()), (Some("sub-0"), 1_000));
    });
    assert_eq!((groups, table.classes_len(), table.destinations_len()), (1, 1, 1));
    table.check_invariants();
}

#[test]
fn a_connection_is_reached_once_per_matching_subscription() {
    let mut table = Subscriptions::new(1);
    let (head, _) = add(&mut table, 7, NONE, "/topic/a", "1");
    let (head, _) = add(&mut table, 7, head, "/topic/*", "2");
    let (head, _) = add(&mut table, 7, head, "/topic/**", "3");
    assert_eq!(reached(&table, "/topic/a").len(), 3);
    assert_eq!(reached(&table, "/topic/b").len(), 2);
    assert_eq!(reached(&table, "/topic/a/b"), [(7, Some("3".to_owned()))]);
    assert_eq!(table.count_of(head), 3);
}

#[test]
fn a_subscription_without_id_is_found_by_destination_only() {
    let mut table = Subscriptions::new(1);
    let (first, _) = table.subscribe(1, NONE, "/topic/a", None, class(None, 10));
    let (head, _) = add(&mut table, 1, first.index(), "/topic/b", "x");
    assert_eq!(table.find(head, None, Some("/topic/a")), Some(first));
    assert_eq!(table.find(head, None, Some("/topic/b")), None);
    assert_eq!(table.find(head, None, None), None);
    assert_eq!(table.find(head, Some("x"), None), Some(SubscriptionKey(head)));
    assert_eq!(table.find(head, Some("y"), Some("/topic/a")), None);
    assert_eq!(table.find(NONE, Some("x"), None), None);
    assert_eq!((table.connection(first), table.destination(first)), (1, "/topic/a"));
    assert_eq!(table.class(first).version, 10);
}

#[test]
fn the_last_one_out_is_told() {
    let mut table = Subscriptions::new(1);
    let (a, _) = add(&mut table, 1, NONE, "/topic/*", "x");
    let (b, _) = add(&mut table, 2, NONE, "/topic/*", "y");
    assert_eq!(table.unsubscribe(a, SubscriptionKey(a)), (NONE, None));
    let (head, removed) = table.unsubscribe(b, SubscriptionKey(b));
    let gone = Removed { destination: "/topic/*".into(), is_pattern: true };
    assert_eq!((head, removed), (NONE, Some(gone)));
    assert!(table.is_empty());
}

/// Catalogue: I11.
#[test]
fn a_key_of_another_connection_changes_nothing() {
    let mut table = Subscriptions::new(1);
    let (a, _) = add(&mut table, 1, NONE, "/topic/a", "x");
    let (b, _) = add(&mut table, 2, NONE, "/topic/a", "x");
    assert_eq!(table.unsubscribe(a, SubscriptionKey(b)), (a, None));
    assert_eq!(table.unsubscribe(a, SubscriptionKey(99)), (a, None));
    assert_eq!(table.len(), 2);
    table.check_invariants();
}

#[test]
fn a_pattern_and_a_literal_of_the_same_text_are_two() {
    let mut table = Subscriptions::new(1);
    let pattern = pattern_of("/topic/*");
    assert!(table.subscribe(1, NONE, "/topic/*", None, class(None, 10)).1);
    assert!(table.subscribe(2, NONE, "/topic/*", pattern, class(None, 10)).1);
    assert_eq!(reached(&table, "/topic/x"), [(2, None)]);
    assert_eq!(table.destinations_len(), 2);
    table.check_invariants();
}

/// Catalogue: I17, K10.
#[test]
fn unique_ids_and_destinations_leave_nothing_behind() {
    let mut table = Subscriptions::new(1);
    let mut heads = Vec::new();
    for connection in 0..5_000 {
        let unique = format!("/topic/{connection}");
        let (head, _) = add(&mut table, connection, NONE, &unique, &unique);
        heads.push(add(&mut table, connection, head, "/topic/all", &unique).0);
    }
    let mut last = 0;
    for head in heads {
        table.remove_connection(head, |_| last += 1);
    }
    assert_eq!(last, 5_001);
    assert!(table.is_empty());
    table.check_invariants();
    assert_eq!(table.records.capacity() + table.groups.slots.capacity(), 0);
    assert!(table.literals.capacity() <= 64 && table.group_index.capacity() <= 64);
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe { connection: u32, name: usize, id: usize, version: u8 },
    Unsubscribe { connection: u32, nth: usize },
    Close { connection: u32 },
}

const NAMES: [&str; 7] =
    ["/topic/a", "/topic/b", "/topic/a/b", "/topic/*", "/topic/**", "/topic/?", "/topic/*/b"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let subscribe = (0u32..6, 0..NAMES.len(), 0usize..4, 10u8..13).prop_map(
        |(connection, name, id, version)| Step::Subscribe { connection, name, id, version },
    );
    let unsubscribe =
        (0u32..6, 0usize..8).prop_map(|(connection, nth)| Step::Unsubscribe { connection, nth });
    let close = (0u32..6).prop_map(|connection| Step::Close { connection });
    prop::collection::vec(prop_oneof![5 => subscribe, 3 => unsubscribe, 1 => close], 1..120)
}

/// (key, connection, name, id, version), newest last.
type Model = Vec<(u32, u32, &'static str, Option<String>, u8)>;

fn agree(table: &Subscriptions, heads: &[u32], model: &Model) {
    table.check_invariants();
    assert_eq!(table.len(), model.len());
    for (connection, &head) in heads.iter().enumerate() {
        let seen: Vec<u32> = table.iter_connection(head).map(SubscriptionKey::index).collect();
        let mine = model.iter().rev().filter(|row| row.1 == connection as u32);
        assert_eq!(seen, mine.map(|row| row.0).collect::<Vec<_>>());
    }
    for (key, connection, name, id, version) in model {
        let key = SubscriptionKey(*key);
        assert_eq!((table.connection(key), table.destination(key)), (*connection, *name));
        assert_eq!(table.class(key), &class(id.as_deref(), *version));
    }
    for destination in ["/topic/a", "/topic/b", "/topic/a/b", "/topic/x/y/b", "/topic"] {
        let covers = |name: &str| match pattern_of(name) {
            Some(pattern) => pattern.matches(destination),
            None => name == destination,
        };
        let mut wanted: Vec<_> =
            model.iter().filter(|row| covers(row.2)).map(|row| (row.1, row.3.clone())).collect();
        wanted.sort();
        assert_eq!(reached(table, destination), wanted);
    }
}

proptest! {
    #[test]
    fn agrees_with_the_naive_model(steps in steps()) {
        let mut table = Subscriptions::new(99);
        let mut heads = [NONE; 6];
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Subscribe { connection, name, id, version } => {
                    let name = NAMES[name];
                    let id = (id > 0).then(|| format!("sub-{id}"));
                    let is_new = !model.iter().any(|row| row.2 == name);
                    let head = &mut heads[connection as usize];
                    let class = class(id.as_deref(), version);
                    let (key, first) =
                        table.subscribe(connection, *head, name, pattern_of(name), class);
                    prop_assert_eq!(first, is_new);
                    *head = key.index();
                    model.push((key.index(), connection, name, id, version));
                }
                Step::Unsubscribe { connection, nth } => {
                    let head = &mut heads[connection as usize];
                    let mine: Vec<usize> =
                        (0..model.len()).filter(|&row| model[row].1 == connection).collect();
                    if mine.is_empty() {
                        continue;
                    }
                    let row = model.remove(mine[nth % mine.len()]);
                    let (new_head, removed) = table.unsubscribe(*head, SubscriptionKey(row.0));
                    *head = new_head;
                    let was_last = !model.iter().any(|other| other.2 == row.2);
                    let wanted = was_last.then(|| Removed {
                        destination: row.2.into(),
                        is_pattern: pattern_of(row.2).is_some(),
                    });
                    prop_assert_eq!(removed, wanted);
                }
                Step::Close { connection } => {
                    let mut gone = Vec::new();
                    table.remove_connection(heads[connection as usize], |removed| {
                        gone.push(removed.destination.into_string());
                    });
                    heads[connection as usize] = NONE;
                    let had: Vec<_> =
                        model.iter().filter(|row| row.1 == connection).map(|row| row.2).collect();
                    model.retain(|row| row.1 != connection);
                    let mut wanted: Vec<_> = had
                        .into_iter()
                        .filter(|name| !model.iter().any(|row| row.2 == *name))
                        .map(str::to_owned)
                        .collect();
                    wanted.sort();
                    wanted.dedup();
                    gone.sort();
                    prop_assert_eq!(gone, wanted);
                }
            }
            agree(&table, &heads, &model);
        }
        for head in heads {
            table.remove_connection(head, |_| ());
        }
        prop_assert!(table.is_empty());
    }
}
