//! A path below an endpoint's prefix to a route; routes, their methods and content types.
//!
//! Names are case-sensitive and compared as sent: percent-encoding is not decoded, so that no proxy
//! and we disagree about where a request goes. One trailing slash is allowed everywhere. `{server}`
//! is for load balancers and means nothing here; a session is found by `{session}` alone. Neither
//! may be empty or have a dot (protocol, "Session URLs"), and both are bounded, which the protocol
//! forgot.

use super::endpoint::{Endpoint, Transports};
use crate::limits::Limits;

/// What a client asks of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A WebSocket with SockJS frames; in no session table.
    WebSocket,
    /// One frame per answer.
    Xhr,
    /// Frames until the response limit.
    XhrStreaming,
    /// Messages from the client, for [`Transport::Xhr`] and all streams.
    XhrSend,
    /// Frames as server-sent events.
    EventSource,
    /// Frames as script elements.
    HtmlFile,
    /// One frame per answer, as a script.
    Jsonp,
    /// Messages from the client, for [`Transport::Jsonp`].
    JsonpSend,
}

impl Transport {
    /// Its last path segment.
    pub fn name(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Xhr => "xhr",
            Transport::XhrStreaming => "xhr_streaming",
            Transport::XhrSend => "xhr_send",
            Transport::EventSource => "eventsource",
            Transport::HtmlFile => "htmlfile",
            Transport::Jsonp => "jsonp",
            Transport::JsonpSend => "jsonp_send",
        }
    }

    fn from_name(name: &str) -> Option<Transport> {
        let all = [
            Transport::WebSocket,
            Transport::Xhr,
            Transport::XhrStreaming,
            Transport::XhrSend,
            Transport::EventSource,
            Transport::HtmlFile,
            Transport::Jsonp,
            Transport::JsonpSend,
        ];
        all.into_iter().find(|transport| transport.name() == name)
    }

    /// Whether its answer carries frames: it creates a session when there is none.
    pub fn is_receiver(self) -> bool {
        !self.is_sender() && self != Transport::WebSocket
    }

    /// Whether it brings messages; a send to an unknown session is a 404.
    pub fn is_sender(self) -> bool {
        matches!(self, Transport::XhrSend | Transport::JsonpSend)
    }

    /// Whether its answer goes on after the first frame.
    pub fn is_streaming(self) -> bool {
        matches!(self, Transport::XhrStreaming | Transport::EventSource | Transport::HtmlFile)
    }

    /// Whether it needs a [`super::callback`].
    pub fn has_callback(self) -> bool {
        matches!(self, Transport::HtmlFile | Transport::Jsonp)
    }

    /// The status of its answer when all is well.
    pub fn status(self) -> u16 {
        match self {
            Transport::WebSocket => 101,
            Transport::XhrSend => 204,
            _ => 200,
        }
    }

    /// The `Content-Type` of its answer when all is well; the 204 of `xhr_send` has one too.
    pub fn content_type(self) -> &'static str {
        match self {
            Transport::Xhr | Transport::XhrStreaming | Transport::Jsonp => {
                "application/javascript; charset=UTF-8"
            }
            // Without charset: the stream is UTF-8 by definition and the suite compares.
            Transport::EventSource => "text/event-stream",
            Transport::HtmlFile => "text/html; charset=UTF-8",
            Transport::WebSocket | Transport::XhrSend | Transport::JsonpSend => {
                "text/plain; charset=UTF-8"
            }
        }
    }

    fn is_on(self, transports: &Transports) -> bool {
        match self {
            Transport::WebSocket => transports.websocket,
            Transport::Xhr => transports.xhr,
            Transport::XhrStreaming => transports.xhr_streaming,
            Transport::EventSource => transports.eventsource,
            Transport::HtmlFile => transports.htmlfile,
            Transport::Jsonp | Transport::JsonpSend => transports.jsonp,
            Transport::XhrSend => {
                transports.xhr
                    || transports.xhr_streaming
                    || transports.eventsource
                    || transports.htmlfile
            }
        }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// The prefix itself: 200 with [`GREETING`].
    Greeting,
    /// `/info`.
    Info,
    /// `/iframe*.html`.
    Iframe,
    /// `/websocket`: a WebSocket without SockJS frames.
    RawWebSocket,
    /// `/{server}/{session}/{transport}`.
    Session {
        /// The session's name, unique within its endpoint.
        session: &'a str,
        /// What is asked of it.
        transport: Transport,
    },
}

/// The body of [`Route::Greeting`], `text/plain; charset=UTF-8`.
pub const GREETING: &str = "Welcome to SockJS!\n";

/// What a method means on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The route's own.
    Own,
    /// The CORS preflight: 204 without a body.
    Preflight,
    /// None of it: 405 with this `Allow`, without content type and body.
    NotAllowed(&'static str),
}

impl Route<'_> {
    /// The methods of the route, as `Allow` and `Access-Control-Allow-Methods` list them.
    pub fn methods(&self) -> &'static str {
        match self {
            Route::Info => "OPTIONS, GET",
            Route::Session { transport, .. } => match transport {
                Transport::Xhr | Transport::XhrStreaming | Transport::XhrSend => "OPTIONS, POST",
                Transport::JsonpSend => "POST",
                _ => "GET",
            },
            Route::Greeting | Route::Iframe | Route::RawWebSocket => "GET",
        }
    }

    /// What to do with a request of this method.
    pub fn method(&self, method: &str) -> Method {
        let methods = self.methods();
        // The route's own is the last of them.
        let (own, has_preflight) = match methods.strip_prefix("OPTIONS, ") {
            Some(own) => (own, true),
            None => (methods, false),
        };
        match method {
            "OPTIONS" if has_preflight => Method::Preflight,
            method if method == own => Method::Own,
            _ => Method::NotAllowed(methods),
        }
    }
}

/// Whether `path` belongs to an endpoint with this prefix: the path behind it, empty or with a
/// slash in front.
pub fn below_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The route of a path below the prefix (see [`below_prefix`]), still percent-encoded and without
/// query. `None` is [`super::error::Error::PageNotFound`]. Limit: `sockjs_id_bytes_max`.
pub fn route<'a>(below: &'a str, endpoint: &Endpoint, limits: &Limits) -> Option<Route<'a>> {
    let transports = &endpoint.transports;
    let below = below.strip_prefix('/').unwrap_or(below);
    if below.is_empty() {
        return Some(Route::Greeting);
    }
    let below = below.strip_suffix('/').unwrap_or(below);
    let mut segments = below.split('/');
    let first = segments.next()?;
    let Some(session) = segments.next() else {
        return match first {
            "info" => Some(Route::Info),
            "websocket" if transports.raw_websocket => Some(Route::RawWebSocket),
            page if transports.iframe && is_iframe_page(page) => Some(Route::Iframe),
            _ => None,
        };
    };
    let transport = Transport::from_name(segments.next()?)?;
    let is_id =
        |id: &str| (1..=limits.sockjs_id_bytes_max).contains(&id.len()) && !id.contains('.');
    let is_ours =
        segments.next().is_none() && is_id(first) && is_id(session) && transport.is_on(transports);
    is_ours.then_some(Route::Session { session, transport })
}

/// `iframe`, any of `0-9 - . a-z _`, and `.html`: the client puts its version in between.
fn is_iframe_page(page: &str) -> bool {
    let version = page.strip_prefix("iframe").and_then(|rest| rest.strip_suffix(".html"));
    let is_version_byte = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'-' | b'.' | b'_');
    version.is_some_and(|version| version.bytes().all(is_version_byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Endpoint {
        Endpoint { transports: Transports::ALL, ..Endpoint::default() }
    }

    fn route_of(below: &str) -> Option<Route<'_>> {
        route(below, &everything(), &Limits::default())
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        assert_eq!(below_prefix("/echo", "/echo"), Some(""));
        assert_eq!(below_prefix("/echo/info", "/echo"), Some("/info"));
        assert_eq!(below_prefix("/echoes", "/echo"), None);
        assert_eq!(below_prefix("/Echo", "/echo"), None);
        assert_eq!(below_prefix("/info", ""), Some("/info"));
    }

    /// Catalogue: G18.
    #[test]
    fn fixed_pages_with_and_without_a_slash() {
        assert_eq!(route_of(""), Some(Route::Greeting));
        assert_eq!(route_of("/"), Some(Route::Greeting));
        assert_eq!(GREETING.len(), 19);
        for (path, route) in [("/info", Route::Info), ("/websocket", Route::RawWebSocket)] {
            assert_eq!(route_of(path), Some(route));
            assert_eq!(route_of(&format!("{path}/")), Some(route));
        }
    }

    #[test]
    fn iframe_pages_carry_any_version() {
        let pages = "/iframe.html /iframe-a.html /iframe-.html /iframe-0.1.2.html \
            /iframe-0.1.2abc-dirty.2144.html";
        for page in pages.split_whitespace() {
            assert_eq!(route_of(page), Some(Route::Iframe), "{page}");
        }
        let bad = "/iframe.htm /iframe /IFRAME.HTML /IFRAME /iframe.HTML /iframe.xml \
            /iframe-/.html /iframexhtml /iframe-A.html";
        for page in bad.split_whitespace() {
            assert_eq!(route_of(page), None, "{page}");
        }
    }

    #[test]
    fn any_server_and_session_without_dots_are_a_session() {
        for path in ["/a/a/xhr", "/_/_/xhr", "/1/1/xhr", "/abcdefgh_i-j%20/abcdefg_i-j%20/xhr"] {
            let Some(Route::Session { session, transport }) = route_of(path) else {
                panic!("{path}");
            };
            assert_eq!(session, path.split('/').nth(2).unwrap());
            assert_eq!(transport, Transport::Xhr);
            assert_eq!(route_of(&format!("{path}/")), route_of(path));
        }
    }

    /// Catalogue: G01.
    #[test]
    fn other_paths_are_unknown() {
        let bad = "/a /a.html // /// /a/a /a/a/ /a/ //a/xhr /a//xhr /a.a/a/xhr /a/a.a/xhr ///xhr \
            /a/a/a/xhr /a/a/xhr// /a/a/XHR /a/a/xhr/x /a/a/ws /Info /%69nfo /info// /a/xhr";
        for path in bad.split_whitespace() {
            assert_eq!(route_of(path), None, "{path}");
        }
    }

    /// Catalogue: G02.
    #[test]
    fn names_are_bounded() {
        let long = "x".repeat(128);
        assert!(route_of(&format!("/{long}/{long}/xhr")).is_some());
        assert_eq!(route_of(&format!("/a/{long}x/xhr")), None);
        assert_eq!(route_of(&format!("/{long}x/a/xhr")), None);
    }

    /// Catalogue: C20, G10.
    #[test]
    fn what_is_off_is_unknown() {
        let default = Endpoint::default();
        let off = ["/iframe.html", "/a/a/jsonp", "/a/a/jsonp_send", "/a/a/htmlfile"];
        for path in off {
            assert_eq!(route(path, &default, &Limits::default()), None, "{path}");
            assert!(route_of(path).is_some(), "{path}");
        }
        let mut poor = Endpoint::default();
        poor.transports = Transports { xhr: true, ..poor.transports };
        poor.transports.websocket = false;
        poor.transports.raw_websocket = false;
        for path in ["/websocket", "/a/a/websocket"] {
            assert_eq!(route(path, &poor, &Limits::default()), None, "{path}");
        }
        poor.transports = Transports { eventsource: false, xhr: false, ..poor.transports };
        poor.transports.xhr_streaming = false;
        assert_eq!(route("/a/a/xhr_send", &poor, &Limits::default()), None);
    }

    #[test]
    fn methods_by_route() {
        let check = |path: &str, method: &str| route_of(path).unwrap().method(method);
        assert_eq!(check("/info", "GET"), Method::Own);
        assert_eq!(check("/info", "OPTIONS"), Method::Preflight);
        assert_eq!(check("/a/a/xhr", "GET"), Method::NotAllowed("OPTIONS, POST"));
        assert_eq!(check("/a/a/xhr_streaming", "POST"), Method::Own);
        assert_eq!(check("/a/a/xhr_send", "OPTIONS"), Method::Preflight);
        assert_eq!(check("/a/a/websocket", "POST"), Method::NotAllowed("GET"));
        for path in ["/a/a/eventsource", "/a/a/htmlfile", "/a/a/jsonp", "", "/iframe.html"] {
            assert_eq!(check(path, "GET"), Method::Own, "{path}");
            for method in ["OPTIONS", "HEAD", "POST", "get"] {
                assert_eq!(check(path, method), Method::NotAllowed("GET"), "{path}");
            }
        }
        assert_eq!(check("/a/a/jsonp_send", "OPTIONS"), Method::NotAllowed("POST"));
    }

    #[test]
    fn a_transport_is_either_receiver_or_sender_or_websocket() {
        for name in ["xhr", "xhr_streaming", "eventsource", "htmlfile", "jsonp"] {
            let transport = Transport::from_name(name).unwrap();
            assert!(transport.is_receiver() && !transport.is_sender(), "{name}");
            assert_eq!(transport.is_streaming(), !matches!(name, "xhr" | "jsonp"));
            assert_eq!(transport.status(), 200);
        }
        assert!(Transport::XhrSend.is_sender() && Transport::JsonpSend.is_sender());
        assert!(!Transport::WebSocket.is_receiver() && !Transport::WebSocket.is_sender());
        assert_eq!((Transport::XhrSend.status(), Transport::JsonpSend.status()), (204, 200));
        assert_eq!(Transport::XhrSend.content_type(), "text/plain; charset=UTF-8");
        assert_eq!(Transport::EventSource.content_type(), "text/event-stream");
        assert_eq!(Transport::Jsonp.content_type(), "application/javascript; charset=UTF-8");
    }
}
