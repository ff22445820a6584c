//! Where an attack takes place: the server's addresses, and what all of its clients share.

use super::peer::{Peer, Told, Wrong};
use super::Order;
use crate::plan::Target;
use crate::soak::scrape::Source;
use crate::wire::Transport;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The server under attack.
pub struct Ground {
    /// STOMP over WebSocket.
    pub target: Target,
    /// STOMP over TCP, if it is known.
    pub stomp: Option<SocketAddr>,
    /// Prefix of a SockJS endpoint; empty if there is none.
    pub sockjs: String,
    /// Where the server shows its metrics, and the path there, if it is known.
    pub metrics: Option<(SocketAddr, String)>,
    /// Name and passcode.
    pub login: Option<(String, String)>,
    /// How long an answer may take.
    pub patience: Duration,
    /// 32 hexadecimal digits that only the canary may read.
    pub secret: String,
    /// Has anybody else read them?
    pub leaked: AtomicBool,
    names: AtomicU64,
}

impl Ground {
    /// As the operator says.
    ///
    /// # Errors
    /// Addresses that are none.
    pub fn new(order: &Order) -> Result<Ground, String> {
        let target = Target::parse(&order.url)?;
        if target.transport != Transport::WebSocket {
            return Err("attacks begin on a WebSocket: write --url ws://host:port/path".into());
        }
        let metrics = order.metrics.as_deref().map(metrics_address).transpose()?;
        let stomp = order.stomp_url.as_deref().map(Target::parse).transpose()?;
        // Random per process: nobody needs it to be secret from anything but chance.
        let random = || RandomState::new().hash_one(0);
        Ok(Ground {
            target,
            stomp: stomp.map(|target| target.address),
            sockjs: if order.sockjs == "off" { String::new() } else { order.sockjs.clone() },
            metrics,
            login: order.login.clone(),
            patience: order.patience,
            secret: format!("{:016x}{:016x}", random(), random()),
            leaked: AtomicBool::new(false),
            names: AtomicU64::new(random() >> 16),
        })
    }

    /// A name that was not used before.
    pub fn name(&self) -> String {
        format!("a{:x}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A connection to the HTTP port.
    ///
    /// # Errors
    /// Refused.
    pub fn open(&self) -> Told<Peer<'_>> {
        Peer::connect(self, self.target.address)
    }

    /// A connection to the STOMP port.
    ///
    /// # Errors
    /// Refused, or there is none.
    pub fn open_tcp(&self) -> Told<Peer<'_>> {
        let address = self.stomp.ok_or(Wrong::NotOffered("no --stomp-url"))?;
        Peer::connect(self, address)
    }

    /// A WebSocket.
    ///
    /// # Errors
    /// Refused.
    pub fn websocket(&self) -> Told<Peer<'_>> {
        let mut peer = self.open()?;
        peer.upgrade("").map(|_| peer)
    }

    /// A session that is logged in.
    ///
    /// # Errors
    /// Refused.
    pub fn session(&self) -> Told<Peer<'_>> {
        let mut peer = self.websocket()?;
        peer.log_in().map(|()| peer)
    }

    /// A WebSocket that may carry compressed messages.
    ///
    /// # Errors
    /// Refused, or not offered.
    pub fn compressed(&self) -> Told<Peer<'_>> {
        let mut peer = self.open()?;
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";
        match peer.upgrade(offer)?.contains("permessage-deflate") {
            true => Ok(peer),
            false => Err(Wrong::NotOffered("no permessage-deflate")),
        }
    }

    /// A request to the SockJS endpoint, answered.
    ///
    /// # Errors
    /// No answer, or there is no endpoint.
    pub fn sockjs(&self, method: &str, path: &str, body: &str) -> Told<(u16, String)> {
        let mut peer = self.open()?;
        peer.send(self.sockjs_request(method, path, body)?);
        let (status, head) = peer.head()?;
        let body = peer.body(&head)?;
        Ok((status, body))
    }

    /// The bytes of such a request.
    ///
    /// # Errors
    /// There is no endpoint.
    pub fn sockjs_request(&self, method: &str, path: &str, body: &str) -> Told<String> {
        let (path, host, length) = (self.sockjs_path(path)?, &self.target.host, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        Ok(format!("{head}Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    /// A path below the prefix of the endpoint.
    ///
    /// # Errors
    /// There is no endpoint.
    pub fn sockjs_path(&self, path: &str) -> Told<String> {
        match self.sockjs.is_empty() {
            true => Err(Wrong::NotOffered("no SockJS endpoint")),
            false => Ok(format!("{}{path}", self.sockjs)),
        }
    }
}

fn metrics_address(url: &str) -> Result<(SocketAddr, String), String> {
    let source = Source::parse(url).map_err(|error| format!("--metrics: {error}"))?;
    source.locate().map(|(address, path)| (address, path.to_owned()))
}
