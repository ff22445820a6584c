//! HTTP/1.1 requests: the upgrade to WebSocket, the demo page, clear refusals.

use super::reason::DisconnectReason;
use super::Shard;
use crate::assets;
use crate::metrics::{ErrorKind, Protocol};
use crate::reactor::Reactor;
use stompede_core::http::request::{decode, Request, Version};
use stompede_core::http::response;
use stompede_core::ws::handshake;

/// Sub-protocols of `/ws`, best first.
const SUB_PROTOCOLS: [&str; 4] = ["v12.stomp", "v11.stomp", "v10.stomp", "stomp"];

impl<R: Reactor> Shard<R> {
    /// Takes one request from the front of `input`. Returns the bytes it took; 0: more are needed.
    pub(super) fn on_http(&mut self, slot: u32, input: &[u8]) -> usize {
        let shared = self.shared.clone();
        let limits = &shared.config.limits;
        let (request, head_bytes) = match decode(input, limits) {
            Ok(None) => return 0,
            Ok(Some(decoded)) => decoded,
            Err(error) => {
                self.metrics.protocol_error(Protocol::Http, ErrorKind::of_http(&error));
                self.refuse(slot, error.status(), &error.to_string());
                return 0;
            }
        };
        // Nothing here takes a body: a small one is skipped, a large one is refused.
        if request.is_chunked || request.content_length > limits.http_body_bytes_max as u64 {
            self.refuse(slot, 413, "request body is not accepted here, limit is 65536 bytes");
            return 0;
        }
        let request_bytes = head_bytes + request.content_length as usize;
        if input.len() < request_bytes {
            return 0;
        }
        self.answer(slot, &request);
        request_bytes
    }

    fn answer(&mut self, slot: u32, request: &Request<'_>) {
        if request.path == "/ws" && (request.method == "GET" || request.method == "POST") {
            return self.answer_upgrade(slot, request);
        }
        if request.method != "GET" && request.method != "HEAD" {
            let body = b"method is not allowed here, allowed: GET, HEAD\n";
            return self.respond(slot, request, 405, &[("Allow", "GET, HEAD")], body);
        }
        let Some(asset) = assets::find(request.path) else {
            let body = b"no such page; the WebSocket endpoint is /ws\n";
            let headers = [("Content-Type", "text/plain; charset=utf-8")];
            return self.respond(slot, request, 404, &headers, body);
        };
        let tag = request.header("if-none-match");
        let headers = [
            ("Content-Type", asset.content_type),
            ("ETag", asset.etag),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:"),
        ];
        if tag == Some(asset.etag.as_bytes()) {
            return self.respond(slot, request, 304, &headers[1..], b"");
        }
        self.respond(slot, request, 200, &headers, asset.bytes);
    }

    fn answer_upgrade(&mut self, slot: u32, request: &Request<'_>) {
        let origins_count = request.headers_named("origin").count();
        let host = request.header("host");
        let origin = request.header("origin");
        if origins_count > 1 || !self.shared.origins.allows(origin, host, false) {
            let text = "origin is not allowed; allow it with --allowed-origin";
            return self.refuse(slot, 403, text);
        }
        let is_http11 = request.version == Version::Http11;
        if request.content_length > 0 {
            return self.refuse(slot, 400, "an upgrade request has no body");
        }
        match handshake::accept(request.method, is_http11, &request.headers, &SUB_PROTOCOLS) {
            Ok(accepted) => {
                let mut bytes = Vec::new();
                accepted.encode_response(&mut bytes);
                self.push_bytes(slot, &bytes);
                self.upgrade(slot);
            }
            Err(error) => {
                let extra: Vec<_> = error.extra_header().into_iter().collect();
                let body = format!("{error}\n");
                self.respond_and_close(slot, error.status(), &extra, body.as_bytes());
            }
        }
    }

    fn respond(
        &mut self,
        slot: u32,
        request: &Request<'_>,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let mut bytes = Vec::new();
        if request.method == "HEAD" {
            let length = body.len() as u64;
            response::encode_head(&mut bytes, status, headers, length, request.keep_alive);
        } else {
            response::encode(&mut bytes, status, headers, body, request.keep_alive);
        }
        self.push_bytes(slot, &bytes);
        self.last_write[slot as usize] = self.tick;
        if !request.keep_alive {
            self.end(slot, DisconnectReason::HttpDone);
        }
    }

    /// Answers with an error and closes: what follows on this connection cannot be trusted.
    fn refuse(&mut self, slot: u32, status: u16, text: &str) {
        let body = format!("{text}\n");
        self.respond_and_close(slot, status, &[], body.as_bytes());
    }

    fn respond_and_close(&mut self, slot: u32, status: u16, extra: &[(&str, &str)], body: &[u8]) {
        let mut headers = vec![("Content-Type", "text/plain; charset=utf-8")];
        headers.extend_from_slice(extra);
        let mut bytes = Vec::new();
        response::encode(&mut bytes, status, &headers, body, false);
        self.push_bytes(slot, &bytes);
        self.end(slot, DisconnectReason::HttpError);
    }
}
