//! Queues: their bounds, and what becomes of what is too much, too old or refused.
//!
//! Rows of the table in [`super`].

use super::{Opt, BASE};
use crate::config::choice::*;
use crate::config::value;

pub(super) const ROWS: &[Opt] = &[
    count!(
        "queue-messages-max",
        "100000",
        "Messages of one queue, waiting or without ACK",
        limits.queue_messages_count_max
    ),
    size!("queue-bytes-max", "64MiB", "Bytes of the messages of one queue", limits.queue_bytes_max),
    size!(
        "queue-memory-max",
        "1GiB",
        "Bytes of the messages of all queues together",
        queue_memory_bytes_max
    ),
    row!(
        "queue-overflow",
        "POLICY",
        "reject",
        "What a full queue does: reject the new message, or drop-head to make room",
        queue_overflow,
        overflow,
        show_overflow
    ),
    count!(
        "queue-deliveries-max",
        "20",
        "Deliveries of one message of a queue, after which it dies instead of coming back",
        limits.queue_deliveries_count_max
    ),
    count!(
        "queues-kept-max",
        "10000",
        "Queues with arguments, and durable subscriptions, that may outlive their consumers",
        limits.queues_kept_count_max
    ),
    deadline!(
        "queue-idle-max",
        "1h",
        "Life of such a queue while nobody consumes it; x-expires may ask for less",
        queue_idle_max
    ),
    count!(
        "queue-prefetch",
        "1000",
        "Deliveries without ACK of a subscription that does not say prefetch-count",
        queue_prefetch
    ),
    row!(
        "queue-ttl",
        "TIME",
        "0s",
        "Life of a message in a queue; 0s is for ever",
        queue_ttl,
        value::duration,
        value::show_duration
    ),
    row!(
        "dead-letter",
        "DESTINATION",
        "",
        "Where messages go that die in a queue; without it they are dropped, and counted",
        dead_letter,
        destination,
        |destination: Option<String>| destination.unwrap_or_default()
    ),
];
