//! Limits of the STOMP decoder and of what one session may hold.
//!
//! Rows of the table in [`super`].

use super::{Opt, BASE};
use crate::config::choice::frame_bytes;
use crate::config::value;

pub(super) const ROWS: &[Opt] = &[
    count!("subscriptions-max", "1000", "Subscriptions of one connection", subscriptions_max),
    Opt {
        name: "frame-max",
        value: "BYTES",
        default: "1MiB",
        doc: "Bytes of one STOMP frame, from 1KiB; raises ws-message-max with it",
        apply: |config, text| {
            config.frame_bytes_max = frame_bytes(text)?;
            let message = &mut config.limits.ws_message_bytes_max;
            *message = (*message).max(config.frame_bytes_max as u64);
            Ok(())
        },
        show: |config| value::show_size(config.frame_bytes_max as u64),
        ..BASE
    },
    size!(
        "connect-frame-max",
        "16KiB",
        "Bytes of a STOMP frame before log-in",
        limits.stomp_connect_bytes_max
    ),
    size!("stomp-command-max", "32", "Bytes of a STOMP command", limits.stomp_command_bytes_max),
    count!(
        "stomp-headers-max",
        "128",
        "Headers of one STOMP frame, repeats not counted",
        limits.stomp_headers_count_max
    ),
    size!(
        "stomp-header-line-max",
        "16KiB",
        "Bytes of one STOMP header line",
        limits.stomp_header_line_bytes_max
    ),
    size!(
        "stomp-head-max",
        "64KiB",
        "Bytes of a STOMP frame before its body",
        limits.stomp_head_bytes_max
    ),
    size!("destination-max", "1KiB", "Bytes of a destination", limits.destination_bytes_max),
    count!(
        "pattern-wildcards-max",
        "8",
        "Wildcards of one pattern",
        limits.pattern_wildcards_count_max
    ),
    size!(
        "id-max",
        "256",
        "Bytes of a receipt, subscription or transaction id",
        limits.id_bytes_max
    ),
    count!(
        "transactions-max",
        "16",
        "Open transactions of one connection",
        limits.transactions_count_max
    ),
    count!(
        "transaction-actions-max",
        "1024",
        "Actions of one transaction",
        limits.transaction_actions_count_max
    ),
    size!(
        "transaction-bytes-max",
        "1MiB",
        "Bytes of the actions of one transaction",
        limits.transaction_bytes_max
    ),
    count!(
        "unacknowledged-max",
        "1000",
        "Deliveries of one subscription that wait for an ACK",
        limits.unacknowledged_count_max
    ),
    count!(
        "selector-sum-max",
        "8388608",
        "Steps that all selectors of a topic on one shard may take for a message; so may patterns'",
        limits.selector_sum_steps_max
    ),
    count!(
        "reply-queues-max",
        "32",
        "Labels of /temp-queue/ of one connection",
        limits.reply_queues_count_max
    ),
];
