//! WebSocket, the handlers of WebSockets, HTTP and compression.
//!
//! Rows of the table in [`super`].

use super::{Opt, BASE};
use crate::config::choice::compression;
use crate::config::{value, Compression};

pub(super) const ROWS: &[Opt] = &[
    size!(
        "ws-message-max",
        "1MiB",
        "Payload bytes of one WebSocket message",
        limits.ws_message_bytes_max
    ),
    count!(
        "ws-fragments-max",
        "128",
        "Fragments of one WebSocket message",
        limits.ws_fragments_count_max
    ),
    size!(
        "message-rate-min",
        "100",
        "Bytes per second at which an unfinished message must come; 0 is no limit",
        limits.message_rate_bytes_min
    ),
    deadline!("message-rate-span", "30s", "Time over which it must", message_rate_span),
    size!(
        "handler-inbox-max",
        "16MiB",
        "Bytes that other threads may have waiting for the handlers of one shard",
        limits.handler_inbox_bytes_max
    ),
    size!(
        "publisher-inbox-max",
        "16MiB",
        "Bytes that publishers of the library may have waiting for one shard",
        limits.publisher_inbox_bytes_max
    ),
    deadline!(
        "ping-interval",
        "25s",
        "Silence after which a client of a handler is pinged; it ends after 3 missed pings",
        ping_interval
    ),
    switch!(
        "test-services",
        "false",
        "Serve /echo, /close, /ticker, /broadcast and /amplify for conformance suites",
        test_services
    ),
    size!(
        "http-request-line-max",
        "4KiB",
        "Bytes of an HTTP request line",
        limits.http_request_line_bytes_max
    ),
    size!("http-head-max", "8KiB", "Bytes of an HTTP request head", limits.http_head_bytes_max),
    count!(
        "http-headers-max",
        "64",
        "Fields of an HTTP request head",
        limits.http_headers_count_max
    ),
    size!("http-body-max", "64KiB", "Bytes of an HTTP request body", limits.http_body_bytes_max),
    count!(
        "http-requests-max",
        "1000",
        "Requests of one HTTP connection that leave it open",
        limits.http_requests_count_max
    ),
    row!(
        "compression",
        "MODE",
        "off",
        "off or shared: permessage-deflate, a broadcast compressed once for all subscribers",
        compression,
        compression,
        |compression: Compression| compression.name().to_owned()
    ),
    size!(
        "compression-threshold",
        "1KiB",
        "Bytes of headers and body from which on a broadcast is compressed",
        compression_threshold_bytes
    ),
    count!(
        "ws-inflate-ratio-max",
        "256",
        "Times that a compressed WebSocket message may grow, above 64 KiB",
        limits.ws_inflate_ratio_max
    ),
];
