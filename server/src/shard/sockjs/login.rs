//! HTTP Basic (RFC 7617) on the transports of a session: who opens it logs in, as with an upgrade.
//!
//! A session belongs to the login that opened it: requests with another `Authorization`, or none,
//! are told that there is no such session. The home compares a keyed hash only, so that a client
//! that sends its password with every poll costs one check and not thousands: the home asks for it
//! when the session is new, and the shard with the connection makes it. Where everybody may log in,
//! `Authorization` means nothing, and nobody who comes without it is asked for it here: CONNECT may
//! still log in.

use super::{Ask, Login};
use crate::auth::{decode_basic, Verdict};
use crate::handler::SessionInfo;
use crate::metrics::{AuthMethod, AuthResult};
use crate::reactor::Reactor;
use crate::shard::action::Asker;
use crate::shard::connection::Phase;
use crate::shard::Shard;
use std::hash::{DefaultHasher, Hasher};
use stompede_core::http::request::Request;

/// The `Authorization` of a request.
#[derive(Debug)]
pub struct Claim {
    authorization: Box<[u8]>,
    /// Its keyed hash, never 0.
    pub(super) print: u64,
    /// What becomes of it, once it has to be checked.
    checked: Option<Checked>,
}

/// What goes to the home with a login that is right.
#[derive(Debug)]
struct Checked {
    user: Box<str>,
    opening: Option<Box<SessionInfo>>,
}

/// More than one `Authorization`.
pub(super) struct Ambiguous;

impl<R: Reactor> Shard<R> {
    /// As whom a request wants to come, if that means anything here.
    pub(super) fn claim_of(&self, request: &Request<'_>) -> Result<Option<Box<Claim>>, Ambiguous> {
        let mut logins = request.headers_named("authorization");
        let (login, second) = (logins.next(), logins.next());
        if second.is_some() {
            return Err(Ambiguous);
        }
        let login = login.filter(|_| !self.shared.authenticator.is_open());
        Ok(login.map(|login| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.shared.key);
            hasher.write(login);
            let print = hasher.finish().max(1);
            Box::new(Claim { authorization: login.into(), print, checked: None })
        }))
    }

    /// The home wants to know whether a claim is true; `opening` goes back with the answer.
    pub(super) fn check_claim(&mut self, slot: u32, opening: Option<Box<SessionInfo>>) {
        let Some(exchange) = self.exchange(slot) else { return };
        let Some(claim) = exchange.claim.as_mut() else { return };
        let Some((name, password)) = decode_basic(&claim.authorization) else {
            return self.refuse_login(slot);
        };
        if let Some(wait_ms) = self.login_wait_ms(slot, AuthMethod::Basic) {
            return self.refuse_logins(slot, wait_ms);
        }
        let Some(exchange) = self.exchange(slot) else { return };
        let Some(claim) = exchange.claim.as_mut() else { return };
        claim.checked = Some(Checked { user: name.as_str().into(), opening });
        let shared = self.shared.clone();
        match shared.authenticator.check(&name, &password) {
            Verdict::Accepted => self.on_claim_checked(slot, true),
            Verdict::Refused => self.on_claim_checked(slot, false),
            Verdict::NeedsHash(job) => {
                if let Err(busy) = self.password_checks.ask(job, self.asker(slot)) {
                    self.refuse_login_for_now(slot, busy);
                }
            }
        }
    }

    /// Is it the claim of a request for a session that was to be checked?
    pub(in crate::shard) fn is_claimed(&mut self, asker: Asker) -> bool {
        let connection = &self.connections[asker.slot as usize];
        let is_it = connection.generation == asker.generation && connection.phase == Phase::Waiting;
        is_it && self.exchange(asker.slot).is_some()
    }

    /// The claim was checked: if it is true, the home is asked again.
    pub(in crate::shard) fn on_claim_checked(&mut self, slot: u32, is_true: bool) {
        if !is_true {
            return self.refuse_login(slot);
        }
        let peer = self.peers[slot as usize];
        let Some(exchange) = self.exchange(slot) else { return };
        let Some(claim) = exchange.claim.as_mut() else { return };
        let Some(Checked { user, opening }) = claim.checked.take() else { return };
        let login = Login { print: claim.print, user: Some(user) };
        let (key, transport) = (exchange.key.clone(), exchange.transport);
        let request = exchange.request;
        let from = self.receiver_id(slot, request);
        self.metrics.auth(AuthMethod::Basic, AuthResult::Accepted);
        let ask = Ask::Attach { transport, peer, is_checked: false, opening, login };
        self.ask_session_home(key, from, ask);
    }
}
