//! Requests below an endpoint's prefix: to a route, to an answer or to the session's home.
//!
//! What needs no session (`/info`, preflights, the iframe page, refusals) is answered where it
//! arrives. Origins are judged by the same policy as `/ws`, for everything that a page of another
//! site could use.

use super::exchange::{Exchange, OwnedAsked, Progress};
use super::{Ask, Key, Login};
use crate::reactor::Reactor;
use crate::shard::Shard;
use crate::sockjs::Service;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use stompede_core::http::origin::OriginPolicy;
use stompede_core::http::request::{Request, Version};
use stompede_core::http::response;
use stompede_core::sockjs::callback;
use stompede_core::sockjs::error::Error;
use stompede_core::sockjs::headers::{expires, fields, session_cookie, Asked, Outcome};
use stompede_core::sockjs::info;
use stompede_core::sockjs::url::{route, Method, Route, Transport, GREETING};
use stompede_core::ws::handshake;

/// A request and what is known of its way.
struct Asking<'a> {
    slot: u32,
    request: &'a Request<'a>,
    /// The path of the endpoint, which may have parameters.
    base: &'a str,
    service: usize,
    route: Route<'a>,
    keep_alive: bool,
}

impl<R: Reactor> Shard<R> {
    /// Bytes of the request's body, if it is one that is gathered.
    pub(in crate::shard) fn gathered_bytes_max(&self, request: &Request<'_>) -> Option<usize> {
        let (service, below) = self.shared.sockjs.find(request.path, &self.shared.endpoints)?;
        let Service { endpoint, limits, .. } = &self.shared.sockjs.services()[service];
        match route(below, endpoint, limits)? {
            Route::Session { transport, .. } if transport.is_sender() => {
                Some(limits.sockjs_payload_bytes_max)
            }
            _ => None,
        }
    }

    /// Answers a request below a prefix. Says whether it is one.
    pub(in crate::shard) fn answer_sockjs(
        &mut self,
        slot: u32,
        request: &Request<'_>,
        keep_alive: bool,
        body: &mut Vec<u8>,
    ) -> bool {
        let shared = self.shared.clone();
        let Some((service, below)) = shared.sockjs.find(request.path, &shared.endpoints) else {
            return false;
        };
        let Service { endpoint, limits, origins, handler, .. } = &shared.sockjs.services()[service];
        let is_upgrade = handshake::is_upgrade(&request.headers);
        if below.is_empty() && handler.is_some() && is_upgrade {
            // A handler's own path is a WebSocket, too.
            return false;
        }
        let Some(route) = route(below, endpoint, limits) else {
            self.count_sockjs_refusal(Error::PageNotFound);
            let text = Error::PageNotFound.body();
            self.respond_text(slot, request, keep_alive, 404, text);
            return true;
        };
        if route != Route::Greeting && !origins.allows_request(request, self.is_tls(slot)) {
            let text = "origin is not allowed; allow it with --allowed-origin\n";
            self.respond_text(slot, request, keep_alive, 403, text);
            return true;
        }
        let base = request.path.strip_suffix(below).unwrap_or_default();
        let ask = Asking { slot, request, base, service, route, keep_alive };
        match route.method(request.method) {
            Method::NotAllowed(allow) => {
                self.respond(slot, keep_alive, 405, &[("Allow", allow)], b"");
            }
            Method::Preflight => {
                let asked = asked_of(request, &shared.sockjs.services()[service]);
                let expires = expires(now_unix_s());
                let asked = Asked { expires: &expires, ..asked.borrowed() };
                let fields = fields(&route, Outcome::Preflight, &asked);
                self.respond(slot, keep_alive, 204, &fields, b"");
            }
            Method::Own => self.answer_route(&ask, &shared.sockjs.services()[service], body),
        }
        true
    }

    /// Answers with a text. RFC 9110 §9.3.2: "The server MUST NOT send content in the response" to
    /// HEAD, which is told its length alone.
    fn respond_text(
        &mut self,
        slot: u32,
        request: &Request<'_>,
        keep_alive: bool,
        status: u16,
        text: &str,
    ) {
        let fields = [("Content-Type", "text/plain; charset=UTF-8")];
        let mut bytes = Vec::new();
        response::encode_head(&mut bytes, status, &fields, text.len() as u64, keep_alive);
        if request.method != "HEAD" {
            bytes.extend_from_slice(text.as_bytes());
        }
        self.push_bytes(slot, &bytes);
        self.finish_answer(slot, keep_alive);
    }

    fn answer_route(&mut self, ask: &Asking<'_>, service: &Service, body: &mut Vec<u8>) {
        let Asking { slot, request, keep_alive, ref route, .. } = *ask;
        match route {
            Route::Greeting => {
                let fields = fields(route, Outcome::Success, &Asked::default());
                self.respond(slot, keep_alive, 200, &fields, GREETING.as_bytes());
            }
            Route::Info => {
                let asked = asked_of(request, service);
                let fields = fields(route, Outcome::Success, &asked.borrowed());
                let mut text = Vec::new();
                info::encode(&mut text, &service.endpoint, self.entropy());
                self.respond(slot, keep_alive, 200, &fields, &text);
            }
            Route::Iframe => self.answer_iframe(ask, service),
            Route::RawWebSocket => self.answer_sockjs_upgrade(ask, false),
            Route::Session { transport: Transport::WebSocket, .. } => {
                self.answer_sockjs_upgrade(ask, true);
            }
            Route::Session { session, transport } => {
                self.answer_session(ask, service, session, *transport, body);
            }
        }
    }

    fn answer_iframe(&mut self, ask: &Asking<'_>, service: &Service) {
        let Some(page) = &service.iframe else { return };
        let text_of = |name| ask.request.header(name).and_then(|v| std::str::from_utf8(v).ok());
        let expires = expires(now_unix_s());
        let asked = Asked {
            expires: &expires,
            etag: &page.etag,
            is_own_site_only: service.origins != OriginPolicy::Any,
            ..Asked::default()
        };
        let (status, outcome) = match page.is_known(text_of("if-none-match")) {
            true => (304, Outcome::NotModified),
            false => (200, Outcome::Success),
        };
        let fields = fields(&ask.route, outcome, &asked);
        self.respond(ask.slot, ask.keep_alive, status, &fields, page.body.as_bytes());
    }

    fn answer_sockjs_upgrade(&mut self, ask: &Asking<'_>, is_sockjs: bool) {
        if !handshake::is_upgrade(&ask.request.headers) {
            self.count_sockjs_refusal(Error::NotWebSocket);
            let body = Error::NotWebSocket.body();
            return self.refuse(ask.slot, Error::NotWebSocket.status(), body);
        }
        let number = u8::try_from(ask.service + 1).unwrap_or(u8::MAX);
        self.connections[ask.slot as usize].sockjs = if is_sockjs { number } else { 0 };
        let session = self.session_info(ask.slot, ask.request);
        self.answer_upgrade(ask.slot, ask.request, session);
    }

    fn answer_session(
        &mut self,
        ask: &Asking<'_>,
        service: &Service,
        session: &str,
        transport: Transport,
        body: &mut Vec<u8>,
    ) {
        let Asking { slot, request, .. } = *ask;
        let limits = &service.limits;
        let callback = match transport.has_callback() {
            true => callback::from_query(request.query, limits),
            false => Ok(String::new()),
        };
        let Ok(claim) = self.claim_of(request) else {
            return self.refuse(slot, 400, "seen more than one authorization");
        };
        let print = claim.as_ref().map_or(0, |claim| claim.print);
        let name = match service.handler {
            // The same name below `/rooms/a` and `/rooms/b` is two sessions.
            Some(_) => [ask.base, "/", session].concat().into(),
            None => session.into(),
        };
        let exchange = Exchange {
            key: Arc::new(Key { service: ask.service, name }),
            transport,
            callback: callback.as_deref().unwrap_or_default().into(),
            asked: asked_of(request, service),
            is_http11: request.version == Version::Http11,
            keep_alive: ask.keep_alive,
            request: self.requests_count(slot),
            progress: Progress::Asked,
            claim,
        };
        if let Err(error) = callback {
            return self.fail_exchange(slot, &exchange, error);
        }
        let call = if transport.is_sender() {
            let form = (transport == Transport::JsonpSend).then(|| {
                let content_type = request.header("content-type").unwrap_or_default();
                String::from_utf8_lossy(content_type).into()
            });
            Ask::Send { body: std::mem::take(body), form, print }
        } else {
            let opening = service.handler.and_then(|_| self.session_info(slot, request));
            let (peer, login) = (self.peers[slot as usize], Login { print, user: None });
            Ask::Attach { transport, peer, is_checked: false, opening, login }
        };
        self.begin_exchange(slot, exchange, call);
    }

    /// Differs from answer to answer: a mixed counter, keyed by this start.
    fn entropy(&mut self) -> u32 {
        self.sessions.infos_count += 1;
        let number = self.sessions.infos_count * self.mesh.shards_count() as u64;
        let number = self.shared.key.wrapping_add(number + self.index as u64);
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29) as u32
    }
}

fn asked_of(request: &Request<'_>, service: &Service) -> OwnedAsked {
    let text_of = |name| request.header(name).and_then(|value| std::str::from_utf8(value).ok());
    let set_cookie = service.endpoint.cookie.then(|| session_cookie(text_of("cookie")).into());
    OwnedAsked {
        origin: text_of("origin").map(Box::from),
        request_headers: text_of("access-control-request-headers").map(Box::from),
        set_cookie,
    }
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
