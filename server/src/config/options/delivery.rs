//! What may wait for clients, what slow ones miss, and what is kept of topics.
//!
//! Rows of the table in [`super`].

use super::{Opt, BASE};
use crate::config::choice::{outbound_bytes, pattern};
use crate::config::value;
use stompede_core::broker::{conflate, history};

pub(super) const ROWS: &[Opt] = &[
    row!(
        "outbound-bytes-max",
        "BYTES",
        "1MiB",
        "Bytes that may wait for one client, and one message more, from 4KiB",
        outbound_bytes_max,
        outbound_bytes,
        value::show_size
    ),
    deadline!(
        "stall-deadline",
        "10s",
        "Time a client may take no byte of what waits for it",
        stall_deadline
    ),
    Opt {
        name: "slow-consumer",
        value: "MATCH,POLICY[,RATE]",
        doc: "What slow subscribers of a topic or pattern miss: disconnect, drop-oldest, conflate \
              or conflate:HEADER, and at most RATE (5/s) for each; the first match decides",
        repeatable: true,
        separators: &['\n'],
        apply: |config, text| {
            let (matched, _) = conflate::parse_rule(text).map_err(|error| error.to_string())?;
            pattern(matched)?;
            config.slow_consumer.push(text.to_owned());
            Ok(())
        },
        show: |config| config.slow_consumer.join("\n"),
        ..BASE
    },
    Opt {
        name: "history",
        value: "MATCH,SIZE,TTL",
        doc: "Topic or pattern whose last messages are kept for recovery and replay: how many (or \
              how many bytes) and how long; the first match decides",
        repeatable: true,
        separators: &['\n'],
        apply: |config, text| {
            let (matched, _) = history::parse_rule(text, 1).map_err(|error| error.to_string())?;
            pattern(matched)?;
            config.history.push(text.to_owned());
            Ok(())
        },
        show: |config| config.history.join("\n"),
        ..BASE
    },
    size!(
        "history-memory-max",
        "256MiB",
        "Bytes that all histories may hold together",
        history_bytes_max
    ),
    size!(
        "memory-max",
        "1GiB",
        "Bytes that may wait for all clients or be unfinished; above, nobody new comes in",
        memory_bytes_max
    ),
];
