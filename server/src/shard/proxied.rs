//! Connections of trusted proxies: the address of each is that of the client in whose name it asks.
//!
//! Behind a proxy all clients have its address. Where the operator trusts it, the head of a request
//! names the client ([`stompede_core::http::forwarded`]), and `peers` holds that address as long
//! as the request is in hand, or for ever after an upgrade: whatever counts by address or logs it
//! needs to know nothing of proxies. Between two requests a connection is nobody's. Who asks
//! for no proxy pays nothing: the list here has one entry for each HTTP connection of one.

use super::connection::Transport;
use super::peer::Peer;
use super::Shard;
use crate::metrics::{ErrorKind, Protocol};
use crate::reactor::Reactor;
use stompede_core::http::forwarded::client;
use stompede_core::http::request::Request;

/// A connection of a trusted proxy, while it speaks HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Proxied {
    /// Its own address.
    proxy: Peer,
    /// Is a request in hand, whose client is in `peers` and is counted?
    is_named: bool,
    /// Did the client of that request come over TLS?
    is_tls: bool,
}

impl<R: Reactor> Shard<R> {
    /// Notes a new connection of a trusted proxy. Says whether it is one, and so not to be counted
    /// by its address.
    pub(super) fn note_proxy(&mut self, slot: u32) -> bool {
        let (proxy, config) = (self.peers[slot as usize], &self.shared.config);
        // STOMP over TCP has no field to name a client in.
        let is_http = matches!(self.connections[slot as usize].transport, Transport::Http { .. });
        let is_trusted = is_http && config.trusts(proxy.ip());
        if is_trusted {
            self.proxied.insert(slot, Proxied { proxy, is_named: false, is_tls: false });
        }
        is_trusted
    }

    /// Learns from the head of a request who asks. Says whether this client may: if not, it was
    /// told, and the connection ends.
    pub(super) fn name_client(&mut self, slot: u32, request: &Request<'_>) -> bool {
        let Some(Proxied { proxy, .. }) = self.proxied.get(&slot).copied() else { return true };
        self.forget_name(slot);
        let config = &self.shared.config;
        let header = config.client_header;
        let client = client(request, header, |ip| config.trusts(ip)).unwrap_or_else(|_| {
            self.metrics.protocol_error(Protocol::Http, ErrorKind::Malformed);
            if self.may_log("unreadable client") {
                let (shard, name) = (self.index, header.name());
                tracing::warn!(shard, peer = %proxy, "seen no address in {name}: its own counts");
            }
            None
        });
        let is_tls = client.is_some_and(|client| client.is_tls);
        self.peers[slot as usize] = client.map_or(proxy, |client| client.address.into());
        self.proxied.insert(slot, Proxied { proxy, is_named: true, is_tls });
        self.admit_address(slot)
    }

    /// The request is answered: the connection is the proxy's again.
    pub(super) fn forget_name(&mut self, slot: u32) {
        let Some(proxied) = self.proxied.get_mut(&slot) else { return };
        if std::mem::take(&mut proxied.is_named) {
            if let Some(counts) = &self.shared.address_counts {
                counts.leave(self.peers[slot as usize].ip());
            }
            self.peers[slot as usize] = proxied.proxy;
        }
    }

    /// The connection was upgraded, and is the client's from now on.
    pub(super) fn keep_name(&mut self, slot: u32) {
        self.proxied.remove(&slot);
    }

    /// The connection is over. Says whether it was counted by its address.
    pub(super) fn end_proxied(&mut self, slot: u32) -> bool {
        self.proxied.remove(&slot).is_none_or(|proxied| proxied.is_named)
    }

    /// Did the client of the request in hand come over TLS, as a trusted proxy says?
    pub(super) fn is_tls(&self, slot: u32) -> bool {
        self.proxied.get(&slot).is_some_and(|proxied| proxied.is_tls)
    }
}
