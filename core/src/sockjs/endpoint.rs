//! What an operator decides about one SockJS endpoint.
//!
//! Any number of endpoints stand side by side, each under its own prefix and with options of its
//! own. Origins are judged by the server before anything here is asked. jsonp, htmlfile and the
//! iframe page are for browsers that are gone, weaken the origin rules, and are off unless switched
//! on.

/// Which transports of an endpoint answer; the others are unknown paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// `websocket` of a session. Default on. `/info` announces it.
    pub websocket: bool,
    /// The WebSocket without SockJS frames, directly below the prefix. Default on.
    pub raw_websocket: bool,
    /// Long polls. Default on.
    pub xhr: bool,
    /// Streams. Default on.
    pub xhr_streaming: bool,
    /// Server-sent events. Default on.
    pub eventsource: bool,
    /// Streams of script elements. Default off.
    pub htmlfile: bool,
    /// Polls by script elements. Default off.
    pub jsonp: bool,
    /// The page that lends other sites its origin. Default off.
    pub iframe: bool,
}

impl Default for Transports {
    fn default() -> Transports {
        Transports {
            websocket: true,
            raw_websocket: true,
            xhr: true,
            xhr_streaming: true,
            eventsource: true,
            htmlfile: false,
            jsonp: false,
            iframe: false,
        }
    }
}

impl Transports {
    /// Every transport, the ones for museums included.
    pub const ALL: Transports = Transports {
        websocket: true,
        raw_websocket: true,
        xhr: true,
        xhr_streaming: true,
        eventsource: true,
        htmlfile: true,
        jsonp: true,
        iframe: true,
    };
}

/// The options of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The path in front, `/sockjs` by default: starts with `/` and does not end with one; empty
    /// for an endpoint at the root. Compared as sent, without percent-decoding.
    pub prefix: String,
    /// Which transports answer.
    pub transports: Transports,
    /// Bytes of frames after which a streaming answer ends and the client asks again, so that it
    /// can free what it has read. Default 131,072. The frame that crosses it is sent whole.
    pub response_bytes_max: u32,
    /// Milliseconds of silence before a heart-beat frame. Default 25,000; the jsonp client gives up
    /// after 35,000. 0: none.
    pub heartbeat_ms: u32,
    /// Milliseconds a session lives without a receiver. Default 5,000.
    pub disconnect_delay_ms: u32,
    /// Milliseconds an ended session is remembered, so that a late poll is told instead of being
    /// given a new session in the middle of a conversation. Default 60,000. 0: forgotten at once.
    pub tombstone_ms: u32,
    /// Whether every answer sets JSESSIONID, for balancers that need it. Default off.
    pub cookie: bool,
    /// Where the iframe page loads the client from.
    pub client_url: String,
    /// Where `/info` sends the client instead of here, if anywhere.
    pub base_url: Option<String>,
    /// Which pages may use it, as [`crate::http::origin::OriginPolicy::parse`] reads them. Default:
    /// the server's.
    pub allowed_origins: Option<Vec<String>>,
    /// Bytes that may wait for one session. Default: `sockjs_queue_bytes_max`.
    pub queue_bytes_max: Option<usize>,
}

impl Default for Endpoint {
    fn default() -> Endpoint {
        Endpoint {
            prefix: "/sockjs".to_owned(),
            transports: Transports::default(),
            response_bytes_max: 128 << 10,
            heartbeat_ms: 25_000,
            disconnect_delay_ms: 5_000,
            tombstone_ms: 60_000,
            cookie: false,
            client_url: "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js"
                .to_owned(),
            base_url: None,
            allowed_origins: None,
            queue_bytes_max: None,
        }
    }
}
