//! SockJS endpoints.
//!
//! Rows of the table in [`super`].

use super::{Opt, BASE};
use crate::config::{sockjs, value};

pub(super) const ROWS: &[Opt] = &[
    row!(
        "sockjs",
        "PREFIXES",
        "/sockjs",
        "Paths of SockJS endpoints that speak STOMP, separated by commas, or off",
        sockjs_prefixes,
        sockjs::prefixes,
        sockjs::show_prefixes
    ),
    row!(
        "sockjs-transports",
        "NAMES",
        "websocket,raw-websocket,xhr,xhr-streaming,eventsource",
        "SockJS transports, separated by commas; there are htmlfile, jsonp and iframe, too",
        sockjs.transports,
        sockjs::transports,
        sockjs::show_transports
    ),
    row!(
        "sockjs-response-max",
        "BYTES",
        "128KiB",
        "Bytes of a SockJS stream after which its client asks again",
        sockjs.response_bytes_max,
        sockjs::bytes,
        |bytes| value::show_size(u64::from(bytes))
    ),
    row!(
        "sockjs-heartbeat",
        "TIME",
        "25s",
        "Silence before a SockJS heart-beat; 0 is none",
        sockjs.heartbeat_ms,
        sockjs::ms,
        sockjs::show_ms
    ),
    row!(
        "sockjs-disconnect-delay",
        "TIME",
        "5s",
        "Time a SockJS session lives without a request that receives",
        sockjs.disconnect_delay_ms,
        sockjs::ms,
        sockjs::show_ms
    ),
    row!(
        "sockjs-tombstone",
        "TIME",
        "1m",
        "Time an ended SockJS session is remembered, for late clients to be told",
        sockjs.tombstone_ms,
        sockjs::ms,
        sockjs::show_ms
    ),
    switch!("sockjs-cookie", "false", "Set JSESSIONID, for balancers that need it", sockjs.cookie),
    row!(
        "sockjs-client-url",
        "URL",
        "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js",
        "Where the iframe page loads the SockJS client from",
        sockjs.client_url,
        sockjs::client_url,
        |url| url
    ),
    row!(
        "sockjs-base-url",
        "URL",
        "",
        "Where /info sends SockJS clients instead of here",
        sockjs.base_url,
        |url: &str| Ok::<_, String>((!url.is_empty()).then(|| url.to_owned())),
        |url: Option<String>| url.unwrap_or_default()
    ),
    count!(
        "sockjs-sessions-max",
        "0",
        "SockJS sessions of one shard; 0 is as many as connections",
        sockjs_sessions_max
    ),
    count!(
        "sockjs-sessions-per-ip-max",
        "0",
        "SockJS sessions of one client address; 0 is no limit",
        sockjs_sessions_per_ip_max
    ),
    size!(
        "sockjs-queue-max",
        "1MiB",
        "Bytes that may wait for one SockJS session, and one message more",
        limits.sockjs_queue_bytes_max
    ),
    row!(
        "sockjs-window-max",
        "BYTES",
        "64KiB",
        "Bytes under way to one SockJS stream",
        limits.sockjs_window_bytes_max,
        sockjs::bytes,
        |bytes| value::show_size(u64::from(bytes))
    ),
    size!(
        "sockjs-payload-max",
        "1MiB",
        "Bytes of a SockJS request body or WebSocket message",
        limits.sockjs_payload_bytes_max
    ),
    count!(
        "sockjs-payload-messages-max",
        "4096",
        "Messages in one SockJS request body",
        limits.sockjs_payload_messages_max
    ),
    size!(
        "sockjs-id-max",
        "128",
        "Bytes of the names in a SockJS path",
        limits.sockjs_id_bytes_max
    ),
    size!(
        "sockjs-callback-max",
        "32",
        "Bytes of a jsonp or htmlfile callback",
        limits.sockjs_callback_bytes_max
    ),
    Opt {
        name: "sockjs-endpoint",
        value: "PATH NAME=VALUE ...",
        doc: "One more SockJS endpoint that speaks STOMP, with options of its own: origins \
              (separated by commas), and those above without sockjs-, such as transports, \
              heartbeat or queue-max",
        repeatable: true,
        separators: &['\n'],
        apply: |config, text| {
            sockjs::endpoint(config, text)?;
            config.sockjs_endpoints.push(text.to_owned());
            Ok(())
        },
        show: |config| config.sockjs_endpoints.join("\n"),
        ..BASE
    },
];
