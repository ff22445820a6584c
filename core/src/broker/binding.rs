//! Queues that listen to a topic: what a subscription gets that outlives its connection, or that is
//! read in its own time.
//!
//! A *shared* one is known by the user and a name the client gave (RabbitMQ's `durable` with its
//! `id`, `x-queue-name`, ActiveMQ's `activemq.subscriptionName`; stomp.md §2.2, §2.3): subscribers
//! of the same name compete, another user's are other queues. A *private* one belongs to one
//! subscription with `prefetch-count` and ends with it.
//!
//! The names here begin with a control character, so no client can write one.

use super::queue::ConsumerId;
use super::selector::Filter;
use super::user::INTERNAL;
use std::sync::Arc;

/// How a queue listens to a topic.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The topic, or a pattern.
    pub topic: Box<str>,
    /// What of it the queue wants; `None` is all.
    pub filter: Option<Arc<Filter>>,
    /// Whether the queue belongs to one subscription.
    pub is_private: bool,
    /// Whether it is to stay when nobody consumes it.
    pub is_durable: bool,
}

/// The name of a shared queue. No two of different parts are equal: users and topics have no
/// control characters, and the length of `name` stands before it.
pub fn shared_name(user: Option<&str>, name: &str, topic: &str) -> String {
    let user = user.unwrap_or_default();
    format!("{INTERNAL}s{}{INTERNAL}{name}{INTERNAL}{user}{INTERNAL}{topic}", name.len())
}

/// The name of the queue of one subscription.
pub fn private_name(consumer: ConsumerId) -> String {
    let ConsumerId { shard, slot, generation, subscription } = consumer;
    format!("{INTERNAL}p{shard}.{slot}.{generation}.{subscription}")
}

/// The name that a subscription to `topic` through a queue has in its connection: the topic itself
/// does not reach it.
pub fn link_name(topic: &str) -> String {
    format!("{INTERNAL}q{topic}")
}

#[cfg(test)]
mod tests {
    use super::super::user::is_internal;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_nobodys_and_differ_with_every_part() {
        let id = ConsumerId { shard: 1, slot: 2, generation: 3, subscription: 4 };
        let names = [
            shared_name(None, "a", "/topic/x"),
            shared_name(Some("ann"), "a", "/topic/x"),
            shared_name(Some("ann"), "b", "/topic/x"),
            shared_name(Some("ann"), "a", "/topic/y"),
            // A client's name that tries to be another user's.
            shared_name(None, "a\u{1}ann\u{1}/topic/x", ""),
            shared_name(None, "a\u{1}ann", "/topic/x"),
            private_name(id),
            private_name(ConsumerId { subscription: 5, ..id }),
            link_name("/topic/x"),
        ];
        assert!(names.iter().all(|name| is_internal(name)));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
