//! HTTP/1.1 requests: the upgrade to WebSocket, files, clear refusals.
//!
//! Requests of a connection are answered in order, each answer (or its first piece) queued as one.
//! What cannot be answered at once makes the connection wait, unread: a password hash, a file's
//! next piece, or too many bytes of answers that the client did not take yet. Request bodies are
//! read (and dropped, but for those of SockJS), and the request is answered after its body.
//!
//! A refusal ends the connection when it is not certain where the next request starts: after
//! malformed requests and after every upgrade that did not succeed.

use super::action::{Asker, Upgrade};
use super::connection::{Phase, Then, Transport, NONE};
use super::files::{Job, Query};
use super::password::TooManyWaiting;
use super::reason::DisconnectReason;
use super::Shard;
use crate::auth::{decode_basic, Verdict};
use crate::config::Compression;
use crate::handler::SessionInfo;
use crate::metrics::{AuthMethod, AuthResult, ErrorKind, Protocol};
use crate::reactor::Reactor;
use crate::static_files::{self, Reply};
use stompede_core::http::body::{Body, Piece};
use stompede_core::http::error::Error;
use stompede_core::http::request::{decode, normalized_path, Request, Version};
use stompede_core::http::response;
use stompede_core::limits::Limits;
use stompede_core::ws::handshake;

/// Sub-protocols of `/ws`, best first.
const SUB_PROTOCOLS: [&str; 4] = ["v12.stomp", "v11.stomp", "v10.stomp", "stomp"];

/// Bytes of answers that may wait for a client before its next request is looked at.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;

/// When to come again if too many log-ins wait: by default they take about as long.
const BUSY_SECONDS: &str = "5";

/// Room for the answer to an upgrade.
const RESPONSE_BYTES: usize = 256;

const TEXT: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");

/// A request whose body is not over.
#[derive(Debug)]
pub struct Held {
    head: Box<[u8]>,
    body: Body,
    /// What came of the body, if it is wanted.
    gathered: Option<Vec<u8>>,
}

impl Held {
    /// Bytes of the body that are kept.
    pub fn gathered_bytes(&self) -> usize {
        self.gathered.as_ref().map_or(0, Vec::len)
    }
}

/// What a refusal says; without text it has no body.
struct Refusal<'a> {
    status: u16,
    headers: &'a [(&'a str, &'a str)],
    text: &'a str,
    reason: DisconnectReason,
}

impl<R: Reactor> Shard<R> {
    /// Takes new bytes of an HTTP connection.
    pub(super) fn on_http_bytes(&mut self, slot: u32, input: &mut [u8]) {
        if !self.is_in_request(slot) {
            // The deadline of a request counts from its first byte.
            self.last_write[slot as usize] = self.tick;
        }
        self.on_stream(slot, input, Self::decode_http);
    }

    /// Did a part of a request come, and not the whole?
    fn is_in_request(&self, slot: u32) -> bool {
        self.connections[slot as usize].spill != NONE || self.is_in_body(slot)
    }

    /// All answers are sent: the pause before the next request begins.
    pub(super) fn rest_http(&mut self, slot: u32) {
        if self.connections[slot as usize].is_http() && !self.is_in_request(slot) {
            self.last_write[slot as usize] = self.tick;
        }
    }

    fn is_in_body(&self, slot: u32) -> bool {
        let extras = self.connections[slot as usize].extras.as_ref();
        extras.is_some_and(|extras| extras.held.is_some())
    }

    /// The number of the request in hand.
    pub(super) fn requests_count(&self, slot: u32) -> u32 {
        match self.connections[slot as usize].transport {
            Transport::Http { requests_count } => requests_count,
            _ => 0,
        }
    }

    /// Takes the request whose body is not over.
    fn take_held(&mut self, slot: u32) -> Option<Box<Held>> {
        let connection = &mut self.connections[slot as usize];
        let held = connection.extras.as_mut()?.held.take();
        connection.give_back_extras();
        held
    }

    /// Takes requests; after an upgrade the rest belongs to the WebSocket.
    pub(super) fn decode_http(&mut self, slot: u32, input: &[u8]) -> usize {
        let mut consumed = 0;
        while consumed < input.len() && self.connections[slot as usize].phase == Phase::Opening {
            let rest = &input[consumed..];
            let count = if self.is_in_body(slot) {
                self.on_body(slot, rest)
            } else {
                self.on_head(slot, rest)
            };
            consumed += count;
            let connection = &self.connections[slot as usize];
            if let Transport::WebSocket(_) = connection.transport {
                self.on_ws(slot, &mut input[consumed..].to_vec());
                return input.len();
            }
            if count == 0 {
                break;
            }
            if connection.phase == Phase::Opening && self.backlog_bytes(slot) > ANSWERS_BYTES_MAX {
                self.wait_for(slot, 0, Then::Flushed);
            }
        }
        consumed
    }

    /// Takes the head of a request. Returns the bytes it took; 0: more are needed.
    fn on_head(&mut self, slot: u32, input: &[u8]) -> usize {
        let shared = self.shared.clone();
        let limits = &shared.config.limits;
        let (request, head_bytes) = match decode(input, limits) {
            Ok(None) => return 0,
            Ok(Some(decoded)) => decoded,
            Err(error) => {
                self.fail_http(slot, error);
                return 0;
            }
        };
        let head = &input[..head_bytes];
        if !self.name_client(slot, &request) {
            return 0;
        }
        if !request.has_body() {
            self.answer(slot, head, &request, &mut Vec::new());
            return head_bytes;
        }
        if handshake::is_upgrade(&request.headers) {
            self.refuse(slot, 400, "an upgrade request has no body");
            return 0;
        }
        let gathered_bytes_max = self.gathered_bytes_max(&request);
        let http_body_bytes_max = gathered_bytes_max.unwrap_or(limits.http_body_bytes_max);
        match Body::new(&request, &Limits { http_body_bytes_max, ..limits.clone() }) {
            Ok(body) => {
                if request.expects_continue && input.len() == head_bytes {
                    self.push_bytes(slot, response::CONTINUE);
                }
                let gathered = gathered_bytes_max.map(|_| Vec::new());
                let held = Box::new(Held { head: head.into(), body, gathered });
                self.connections[slot as usize].extras().held = Some(held);
                head_bytes
            }
            Err(error) => {
                self.fail_http(slot, error);
                0
            }
        }
    }

    /// Gathers or drops bytes of a body; when it is over, answers the request.
    fn on_body(&mut self, slot: u32, input: &[u8]) -> usize {
        let Some(mut held) = self.take_held(slot) else { return 0 };
        let mut consumed = 0;
        loop {
            match held.body.next_piece(&input[consumed..]) {
                Ok(Some((piece, count))) => {
                    consumed += count;
                    if let (Piece::Data(data), Some(gathered)) = (piece, &mut held.gathered) {
                        gathered.extend_from_slice(data);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.fail_http(slot, error);
                    return 0;
                }
            }
        }
        if !held.body.is_done() {
            self.connections[slot as usize].extras().held = Some(held);
            return consumed;
        }
        let Held { head, gathered, .. } = *held;
        let shared = self.shared.clone();
        match decode(&head, &shared.config.limits) {
            Ok(Some((request, _))) => {
                self.answer(slot, &head, &request, &mut gathered.unwrap_or_default());
            }
            // It was decoded before, by the same limits.
            _ => self.refuse(slot, 500, "the request cannot be read again"),
        }
        consumed
    }

    fn answer(&mut self, slot: u32, head: &[u8], request: &Request<'_>, body: &mut Vec<u8>) {
        let transport = &mut self.connections[slot as usize].transport;
        if let Transport::Http { requests_count } = transport {
            *requests_count = requests_count.saturating_add(1);
        }
        let requests_count_max = self.shared.config.limits.http_requests_count_max;
        let is_last = self.requests_count(slot) as usize > requests_count_max;
        // What follows a refused upgrade may be frames, which must not be read as a request.
        let is_upgrade = handshake::is_upgrade(&request.headers);
        let keep_alive = request.keep_alive && !is_last && !is_upgrade;
        if self.answer_sockjs(slot, request, keep_alive, body) {
            return;
        }
        // What is left of a handler's paths is the upgrade of its own.
        let session = self.session_info(slot, request);
        let is_ws = request.path == "/ws" || session.is_some();
        match request.method {
            "OPTIONS" => {
                let methods = if is_ws { "GET, OPTIONS" } else { "GET, HEAD, OPTIONS" };
                self.respond(slot, keep_alive, 204, &[("Allow", methods)], b"");
            }
            // RFC 9110 §9.3.2: "The server MUST NOT send content in the response" to HEAD.
            "HEAD" if is_ws => {
                self.respond(slot, keep_alive, 405, &[("Allow", "GET, OPTIONS")], b"");
            }
            _ if is_ws && !self.shared.origins.allows_request(request, self.is_tls(slot)) => {
                self.refuse(slot, 403, "origin is not allowed; allow it with --allowed-origin");
            }
            _ if is_ws => self.answer_upgrade(slot, request, session),
            "GET" | "HEAD" => self.answer_file(slot, head, request, keep_alive),
            _ => {
                let headers = [("Allow", "GET, HEAD, OPTIONS"), TEXT];
                let body = b"method is not allowed here, allowed: GET, HEAD, OPTIONS\n";
                self.respond(slot, keep_alive, 405, &headers, body);
            }
        }
    }

    fn answer_file(&mut self, slot: u32, head: &[u8], request: &Request<'_>, keep_alive: bool) {
        let is_head = request.method == "HEAD";
        let Some(path) = normalized_path(request.path) else {
            let text = "seen a path that cannot be decoded or leads upwards";
            return self.refuse(slot, 400, if is_head { "" } else { text });
        };
        if self.shared.config.static_dir.is_none() {
            let reply = static_files::answer(request, &path, &self.shared.config, keep_alive);
            self.push_bytes(slot, &reply.bytes);
            return self.finish_answer(slot, keep_alive);
        }
        let job = Job::Open(Query { head: head.into(), path, keep_alive });
        if self.file_reads.ask(job, self.asker(slot)) {
            self.wait_for(slot, 1, Then::File { keep_alive, rest: None });
        } else {
            let headers = [("Retry-After", "1"), TEXT];
            let body: &[u8] = if is_head { b"" } else { b"too many files are being read\n" };
            self.respond(slot, keep_alive, 503, &headers, body);
        }
    }

    /// The reading thread has a piece of a file.
    pub(super) fn on_file(&mut self, asker: Asker, reply: Reply) {
        let slot = asker.slot;
        let connection = &mut self.connections[slot as usize];
        if connection.generation != asker.generation || connection.phase != Phase::Waiting {
            return;
        }
        let waiting = connection.extras().waiting.as_mut();
        let Some(Then::File { keep_alive, rest }) = waiting.map(|waiting| &mut waiting.then) else {
            return;
        };
        let (keep_alive, is_over) = (*keep_alive, reply.rest.is_none());
        *rest = reply.rest;
        if reply.is_broken {
            return self.abort(slot, DisconnectReason::Io);
        }
        self.push_bytes(slot, &reply.bytes);
        if is_over {
            self.stop_waiting(slot);
            self.finish_answer(slot, keep_alive);
            self.resume(slot);
        }
    }

    /// All that was queued for a waiting connection is sent.
    pub(super) fn on_flushed(&mut self, slot: u32) {
        let Some(extras) = self.connections[slot as usize].extras.as_mut() else { return };
        match extras.waiting.as_mut().map(|waiting| &mut waiting.then) {
            Some(Then::File { rest, .. }) => {
                let Some(rest) = rest.take() else { return };
                if !self.file_reads.ask(Job::Continue(rest), self.asker(slot)) {
                    self.abort(slot, DisconnectReason::Io);
                }
            }
            Some(Then::Flushed) => {
                self.stop_waiting(slot);
                self.last_write[slot as usize] = self.tick;
                self.resume(slot);
            }
            Some(Then::SockJs(_)) => self.on_exchange_flushed(slot),
            _ => {}
        }
    }

    /// Upgrades to the session of a handler, or without one to STOMP. The origin is checked.
    pub(super) fn answer_upgrade(
        &mut self,
        slot: u32,
        request: &Request<'_>,
        session: Option<Box<SessionInfo>>,
    ) {
        let is_http11 = request.version == Version::Http11;
        let headers = &request.headers;
        let protocols: &[&str] = if session.is_some() { &[] } else { &SUB_PROTOCOLS };
        let accepted = handshake::accept(request.method, is_http11, headers, protocols);
        let is_compressing = self.shared.config.compression == Compression::Shared;
        let accepted = accepted.and_then(|accepted| match is_compressing {
            true => accepted.with_extensions(headers),
            false => Ok(accepted),
        });
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let (status, text) = (error.status(), &error.to_string());
                let (headers, reason) = (error.extra_headers(), DisconnectReason::HttpError);
                return self.refuse_with(slot, &Refusal { status, headers, text, reason });
            }
        };
        let is_sockjs = self.connections[slot as usize].is_sockjs();
        let is_strict = self.shared.config.strict_subprotocol && session.is_none() && !is_sockjs;
        if accepted.protocol.is_none() && is_strict {
            let accepted = SUB_PROTOCOLS.join(", ");
            let text = format!("seen no subprotocol that is known here, accepted: {accepted}");
            return self.refuse(slot, 400, &text);
        }
        let deflate = accepted.deflate.map(|agreement| agreement.window);
        let mut response = Vec::with_capacity(RESPONSE_BYTES);
        accepted.encode_response(&mut response);
        let upgrade = Upgrade { response, deflate, user: "".into(), session };
        let mut logins = request.headers_named("authorization");
        match (logins.next(), logins.next()) {
            (Some(login), None) if !self.shared.authenticator.is_open() => {
                self.check_basic(slot, login, upgrade);
            }
            (Some(_), Some(_)) => self.refuse(slot, 400, "seen more than one authorization"),
            _ => {
                self.push_bytes(slot, &upgrade.response);
                self.upgrade(slot, upgrade.deflate);
                self.open_session(slot, upgrade.session);
            }
        }
    }

    /// RFC 7617: an upgrade request may log in by itself.
    fn check_basic(&mut self, slot: u32, login: &[u8], mut upgrade: Upgrade) {
        let Some((name, password)) = decode_basic(login) else { return self.refuse_login(slot) };
        if let Some(wait_ms) = self.login_wait_ms(slot, AuthMethod::Basic) {
            return self.refuse_logins(slot, wait_ms);
        }
        let shared = self.shared.clone();
        let verdict = shared.authenticator.check(&name, &password);
        upgrade.user = name.into();
        match verdict {
            Verdict::Accepted => self.finish_upgrade(slot, upgrade),
            Verdict::Refused => self.refuse_login(slot),
            Verdict::NeedsHash(job) => {
                if let Err(busy) = self.password_checks.ask(job, self.asker(slot)) {
                    return self.refuse_login_for_now(slot, busy);
                }
                self.wait_for(slot, 1, Then::Upgrade(Box::new(upgrade)));
            }
        }
    }

    /// The login of an upgrade request is right: CONNECT needs none of its own.
    pub(super) fn finish_upgrade(&mut self, slot: u32, mut upgrade: Upgrade) {
        self.metrics.auth(AuthMethod::Basic, AuthResult::Accepted);
        self.push_bytes(slot, &upgrade.response);
        match upgrade.session.as_mut() {
            Some(session) => session.log_in(&upgrade.user),
            None => self.connections[slot as usize].stomp().basic_user = Some(upgrade.user),
        }
        self.upgrade(slot, upgrade.deflate);
        self.open_session(slot, upgrade.session);
        // Frames that came while the hash was computed.
        if let Some(mut rest) = self.take_spill(slot) {
            self.on_ws(slot, &mut rest.bytes);
        }
    }

    /// The login of an upgrade request is wrong.
    pub(super) fn refuse_login(&mut self, slot: u32) {
        self.note_login_refused(slot, AuthMethod::Basic);
        let refusal = Refusal {
            status: 401,
            headers: &[("WWW-Authenticate", "Basic realm=\"stompede\"")],
            text: "wrong user or password",
            reason: DisconnectReason::LoginFailed,
        };
        self.refuse_with(slot, &refusal);
    }

    /// Too many logins from this address were wrong (RFC 6585 §4).
    pub(super) fn refuse_logins(&mut self, slot: u32, wait_ms: u64) {
        let seconds = wait_ms.div_ceil(1_000).to_string();
        let refusal = Refusal {
            status: 429,
            headers: &[("Retry-After", &seconds)],
            text: "too many wrong log-ins from this address, come again later",
            reason: DisconnectReason::LoginFailed,
        };
        self.refuse_with(slot, &refusal);
    }

    /// Too many log-ins wait for their check; nothing is known of this one, so nothing is counted
    /// against its address (RFC 9110 §15.6.4).
    pub(super) fn refuse_login_for_now(&mut self, slot: u32, busy: TooManyWaiting) {
        self.metrics.auth(AuthMethod::Basic, AuthResult::Busy);
        let limit = busy.limit;
        let text = format!(
            "seen {limit} log-ins that wait for their check, limit is {limit}: come again later"
        );
        let refusal = Refusal {
            status: 503,
            headers: &[("Retry-After", BUSY_SECONDS)],
            text: &text,
            reason: DisconnectReason::LoginsBusy,
        };
        self.refuse_with(slot, &refusal);
    }

    /// A request, or the pause between two, took too long: `last_write` of an HTTP connection is
    /// the tick of its accept, of its last answer, or of the first byte of a request.
    pub(super) fn check_http_deadline(&mut self, slot: u32, age: u32, deadline: u32, idle: u32) {
        let is_in_request = self.is_in_request(slot);
        let is_unused = self.requests_count(slot) == 0;
        if is_in_request && age > deadline {
            let refusal = Refusal {
                status: 408,
                headers: &[],
                text: "seen no whole request within the deadline",
                reason: DisconnectReason::HandshakeTimeout,
            };
            self.refuse_with(slot, &refusal);
        } else if !is_in_request && is_unused && age > deadline {
            self.end(slot, DisconnectReason::HandshakeTimeout);
        } else if !is_in_request && age > idle {
            self.end(slot, DisconnectReason::Idle);
        }
    }

    /// Answers in one piece.
    pub(super) fn respond(
        &mut self,
        slot: u32,
        keep_alive: bool,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let mut bytes = Vec::new();
        response::encode(&mut bytes, status, headers, body, keep_alive);
        self.push_bytes(slot, &bytes);
        self.finish_answer(slot, keep_alive);
    }

    /// An answer is queued: the time for the next request starts, or the connection ends.
    pub(super) fn finish_answer(&mut self, slot: u32, keep_alive: bool) {
        self.last_write[slot as usize] = self.tick;
        if keep_alive {
            self.forget_name(slot);
        } else {
            self.end(slot, DisconnectReason::HttpDone);
        }
    }

    /// Answers a request that cannot be read, or ends what is not HTTP.
    fn fail_http(&mut self, slot: u32, error: Error) {
        let kind = match error.status() {
            413 | 414 | 431 => ErrorKind::Limit,
            417 => ErrorKind::Unsupported,
            _ => ErrorKind::Malformed,
        };
        self.metrics.protocol_error(Protocol::Http, kind);
        if matches!(error, Error::TlsOnPlainPort | Error::StompOnHttpPort | Error::Http2Preface) {
            self.hint_protocol(slot, error);
        }
        if error == Error::TlsOnPlainPort {
            // A TLS client cannot read an answer.
            return self.end(slot, DisconnectReason::HttpError);
        }
        self.refuse(slot, error.status(), &error.to_string());
    }

    /// Tells the operator that clients speak another protocol.
    fn hint_protocol(&mut self, slot: u32, error: Error) {
        if self.may_log("protocol") {
            let peer = self.peers[slot as usize];
            tracing::info!(%peer, "{error}: this port speaks plain http/1.1 and ws://");
        }
    }

    /// Answers with an error and ends the connection.
    pub(super) fn refuse(&mut self, slot: u32, status: u16, text: &str) {
        let reason = DisconnectReason::HttpError;
        self.refuse_with(slot, &Refusal { status, headers: &[], text, reason });
    }

    fn refuse_with(&mut self, slot: u32, refusal: &Refusal<'_>) {
        let mut headers = vec![TEXT];
        headers.extend_from_slice(refusal.headers);
        let mut body = refusal.text.to_owned();
        if !body.is_empty() {
            body.push('\n');
        }
        let mut bytes = Vec::new();
        response::encode(&mut bytes, refusal.status, &headers, body.as_bytes(), false);
        self.push_bytes(slot, &bytes);
        self.end_because(slot, refusal.reason, Some(&refusal.text));
    }
}
