//! Every limit of the protocols, with its unit, its default and the reason for it.
//!
//! All are on by default and are checked before anything is buffered for the peer.

/// Limits that a peer can run into. One value for the whole server, shared by all shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an HTTP request line. Default 4,096: longer targets are nobody's real URL.
    pub http_request_line_bytes_max: usize,
    /// Bytes of a whole HTTP request head. Default 8,192: design.md §9, the one header buffer.
    pub http_head_bytes_max: usize,
    /// Number of HTTP header fields. Default 64: browsers behind proxies send about 30.
    pub http_headers_count_max: usize,
    /// Bytes of an HTTP request body that is read and dropped. Default 65,536.
    pub http_body_bytes_max: usize,
    /// Requests of one HTTP connection; the one above is the last. Default 1,000: a connection that
    /// lives for ever never moves to another server.
    pub http_requests_count_max: usize,
    /// Payload bytes of a WebSocket message. Default 1 MiB: above any STOMP frame's default.
    pub ws_message_bytes_max: u64,
    /// Fragments of one WebSocket message. Default 128: book-keeping costs, not only bytes.
    pub ws_fragments_count_max: u32,
    /// Bytes per second at which an unfinished frame or message must come. Default 100: slower than
    /// any line; 0 is no limit.
    pub message_rate_bytes_min: usize,
    /// Pings, pongs and heart-beats in a row, without another frame, in
    /// [`CONTROL_FRAMES_SPAN_MS`]. Default 100: ten a second, where heart-beats are one; 0 is no
    /// limit.
    pub control_frames_count_max: u8,
    /// Bytes of the server's and of the session's name in a SockJS path. Default 128: clients use
    /// up to 36.
    pub sockjs_id_bytes_max: usize,
    /// Bytes of a jsonp or htmlfile callback's name. Default 32, as in the reference server.
    pub sockjs_callback_bytes_max: usize,
    /// Bytes of a SockJS body or WebSocket message with messages in it. Default 1 MiB.
    pub sockjs_payload_bytes_max: usize,
    /// Messages in one SockJS body. Default 4,096: a client sends all it has at once.
    pub sockjs_payload_messages_max: usize,
    /// Bytes that may wait for one SockJS session. One message more is taken. Default
    /// 1 MiB, as for any client.
    pub sockjs_queue_bytes_max: usize,
    /// Bytes under way to the connection of one SockJS stream. Default 65,536.
    pub sockjs_window_bytes_max: u32,
    /// How many times larger than its payload an inflated WebSocket message may be, once it is
    /// above [`WS_INFLATED_BYTES_UNRATED`]. Default 256: text compresses 3 to 30 times, zlib's most
    /// is 1,029.
    pub ws_inflate_ratio_max: u32,
    /// Bytes of a STOMP command. Default 32: the longest known one has 11.
    pub stomp_command_bytes_max: usize,
    /// Number of headers of a STOMP frame, repeats not counted. Default 128.
    pub stomp_headers_count_max: usize,
    /// Bytes of one STOMP header line. Default 16,384.
    pub stomp_header_line_bytes_max: usize,
    /// Bytes of a STOMP frame's head, command line included. Default 65,536.
    pub stomp_head_bytes_max: usize,
    /// Bytes of a whole STOMP frame. Default 1 MiB.
    pub stomp_frame_bytes_max: usize,
    /// Bytes of a STOMP frame before the client is logged in. Default 16,384.
    pub stomp_connect_bytes_max: usize,
    /// Bytes of a destination. Default 1,024.
    pub destination_bytes_max: usize,
    /// Wildcards (`*`, `**`) of a pattern. Default 8: bounds the work of one match.
    pub pattern_wildcards_count_max: usize,
    /// Bytes of a receipt id, subscription id or transaction id. Default 256.
    pub id_bytes_max: usize,
    /// Subscriptions of one connection. Default 1,000.
    pub subscriptions_count_max: usize,
    /// Open transactions of one connection. Default 16.
    pub transactions_count_max: usize,
    /// Actions of one transaction. Default 1,024.
    pub transaction_actions_count_max: usize,
    /// Bytes of the actions of one transaction. Default 1 MiB.
    pub transaction_bytes_max: usize,
    /// Unacknowledged deliveries of one subscription. Default 1,000.
    pub unacknowledged_count_max: usize,
    /// Labels of `/temp-queue/` that one connection has as `reply-to`. Default 32: a client has one
    /// for each kind of request.
    pub reply_queues_count_max: usize,
    /// Messages that one queue holds, waiting or unacknowledged. Default 100,000.
    pub queue_messages_count_max: usize,
    /// Bytes of the messages that one queue holds. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Deliveries of one message before it goes to the dead letters. Default 20: a message that
    /// breaks its consumers must not go round for ever.
    pub queue_deliveries_count_max: u32,
    /// Queues that outlive their consumers, durable subscriptions among them, of all shards
    /// together. Default 10,000: each costs memory though nobody may ever come back to it.
    pub queues_kept_count_max: usize,
    /// Bytes of a selector. Default 4,096.
    pub selector_bytes_max: usize,
    /// Operators, literals and names of a selector. Default 64: bounds the work of one evaluation.
    pub selector_nodes_count_max: usize,
    /// Nested parentheses and prefix operators of a selector. Default 16: the parser is recursive.
    pub selector_depth_count_max: usize,
    /// Steps of one evaluation, a character of a LIKE being one. Default 65,536: four times the
    /// longest header line.
    pub selector_steps_count_max: u32,
    /// Steps that all selectors of a destination on one shard may take for one message, and those
    /// of all patterns once more. Default 8 Mi, some tens of milliseconds at the worst: more than a
    /// hundred with `LIKE '%x%'`, a million simple ones.
    pub selector_sum_steps_max: u64,
    /// Steps of selectors in one turn of a shard; who publishes more goes on in the next turn.
    /// Default 1 Mi: some milliseconds.
    pub selector_turn_steps_max: u64,
    /// Asynchronous mappings of `/app` that run at once on a shard. Default 1,024.
    pub app_tasks_count_max: usize,
    /// Smallest heart-beat interval we agree to, in milliseconds. Default 1,000.
    pub heartbeat_ms_min: u32,
    /// Largest heart-beat interval we agree to, in milliseconds. Default 120,000.
    pub heartbeat_ms_max: u32,
    /// Log-ins of one shard that wait for their password hash. Default 256: at some 20 ms each the
    /// last of them is answered within half of the connect deadline.
    pub logins_waiting_count_max: usize,
    /// Bytes that other threads may have waiting for the handlers of one shard. Default 16 MiB.
    pub handler_inbox_bytes_max: usize,
    /// Bytes that publishers of the embedding program may have waiting for one shard. Default
    /// 16 MiB.
    pub publisher_inbox_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            http_request_line_bytes_max: 4_096,
            http_head_bytes_max: 8_192,
            http_headers_count_max: 64,
            http_body_bytes_max: 65_536,
            http_requests_count_max: 1_000,
            ws_message_bytes_max: 1 << 20,
            ws_fragments_count_max: 128,
            message_rate_bytes_min: 100,
            control_frames_count_max: 100,
            sockjs_id_bytes_max: 128,
            sockjs_callback_bytes_max: 32,
            sockjs_payload_bytes_max: 1 << 20,
            sockjs_payload_messages_max: 4_096,
            sockjs_queue_bytes_max: 1 << 20,
            sockjs_window_bytes_max: 65_536,
            ws_inflate_ratio_max: 256,
            stomp_command_bytes_max: 32,
            stomp_headers_count_max: 128,
            stomp_header_line_bytes_max: 16_384,
            stomp_head_bytes_max: 65_536,
            stomp_frame_bytes_max: 1 << 20,
            stomp_connect_bytes_max: 16_384,
            destination_bytes_max: 1_024,
            pattern_wildcards_count_max: 8,
            id_bytes_max: 256,
            subscriptions_count_max: 1_000,
            transactions_count_max: 16,
            transaction_actions_count_max: 1_024,
            transaction_bytes_max: 1 << 20,
            unacknowledged_count_max: 1_000,
            reply_queues_count_max: 32,
            queue_messages_count_max: 100_000,
            queue_bytes_max: 64 << 20,
            queue_deliveries_count_max: 20,
            queues_kept_count_max: 10_000,
            selector_bytes_max: 4_096,
            selector_nodes_count_max: 64,
            selector_depth_count_max: 16,
            selector_steps_count_max: 65_536,
            selector_sum_steps_max: 8 << 20,
            selector_turn_steps_max: 1 << 20,
            app_tasks_count_max: 1_024,
            heartbeat_ms_min: 1_000,
            heartbeat_ms_max: 120_000,
            logins_waiting_count_max: 256,
            handler_inbox_bytes_max: 16 << 20,
            publisher_inbox_bytes_max: 16 << 20,
        }
    }
}

/// Bytes that fit into the largest head of a WebSocket frame (RFC 6455 §5.2).
pub const WS_HEADER_BYTES_MAX: usize = 14;

/// Payload bytes of a WebSocket control frame (RFC 6455 §5.5).
pub const WS_CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// Elements of `X-Forwarded-For` or `Forwarded` that are looked at, from the right: each but the
/// last is a proxy of the operator's own.
pub const FORWARDED_HOPS_COUNT_MAX: usize = 16;

/// Values that a selector may hold at once while it is evaluated; its stack is an array.
pub const SELECTOR_STACK_COUNT_MAX: usize = 32;

/// Milliseconds over which the allowance of control frames comes back.
pub const CONTROL_FRAMES_SPAN_MS: u64 = 10_000;

/// Bytes up to which an inflated message may have any ratio: a run of one letter is no
/// attack yet.
pub const WS_INFLATED_BYTES_UNRATED: u64 = 65_536;

/// Bytes of a compressed message before the client is logged in, inflated or not: design.md §9, one
/// frame of 64 KiB.
pub const WS_DEFLATE_BYTES_MAX_BEFORE_LOGIN: u64 = 65_536;

/// Bytes that are inflated for one connection in a turn of its shard; what it sent behind them
/// waits for the next turn.
pub const WS_INFLATED_BYTES_PER_TURN: usize = 65_536;

const _: () = assert!(WS_CONTROL_PAYLOAD_BYTES_MAX < 126);
