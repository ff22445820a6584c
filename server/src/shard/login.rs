//! CONNECT: who is it, which version, which heart-beats.
//!
//! A password hash is computed beside the shard ([`super::password`]); the connection waits
//! meanwhile. stomp.md §1.5 to §1.7.

use super::action::Login;
use super::connection::{Phase, Then};
use super::tick::ticks;
use super::Shard;
use crate::auth::Verdict;
use crate::metrics::{AuthMethod, AuthResult};
use crate::reactor::Reactor;
use std::time::Duration;
use stompede_core::broker::user::{is_usable_name, session_id};
use stompede_core::stomp::encode;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::heartbeat::agree;
use stompede_core::stomp::request::Connect;

/// What the `server` header of CONNECTED says.
const SERVER: &str = concat!("stompede/", env!("CARGO_PKG_VERSION"));

impl<R: Reactor> Shard<R> {
    pub(super) fn connect(&mut self, slot: u32, connect: &Connect<'_>) -> Result<(), Error> {
        let shared = self.shared.clone();
        // CONNECTED is not escaped: a line end in `user-name` would become a header of its own.
        if connect.login.as_deref().is_some_and(|name| !name.is_empty() && !is_usable_name(name)) {
            self.note_login_refused(slot, AuthMethod::Connect);
            return Err(Error::LoginFailed);
        }
        if connect.host.as_deref().is_some_and(|host| !shared.config.is_own_host(host)) {
            return Err(Error::UnknownHost);
        }
        let (agreement, heartbeat) =
            agree(connect.heartbeat, connect.version, &shared.config.limits);
        let user = connect.login.as_deref().map(str::to_owned);
        let (version, is_soft) = (connect.version, connect.is_soft);
        let client_id = connect.client_id.as_deref().map(Box::from);
        let mut login = Login { version, agreement, heartbeat, user, client_id, is_soft };
        let basic_user = self.connections[slot as usize].take_basic_user();
        if shared.authenticator.is_open() {
            self.connected(slot, login);
            return Ok(());
        }
        let name = connect.login.as_deref().unwrap_or_default();
        let passcode = connect.passcode.as_deref().unwrap_or_default();
        if name.is_empty() && basic_user.is_some() {
            // The upgrade request has logged in already.
            login.user = basic_user;
            self.connected(slot, login);
            return Ok(());
        }
        if let (Some(user), "", "") = (&shared.config.default_user, name, passcode) {
            login.user = Some(user.clone());
            self.connected(slot, login);
            return Ok(());
        }
        if self.login_wait_ms(slot, AuthMethod::Connect).is_some() {
            return Err(Error::TooManyLogins);
        }
        match shared.authenticator.check(name, passcode) {
            Verdict::Accepted => self.connected(slot, login),
            Verdict::Refused => {
                self.note_login_refused(slot, AuthMethod::Connect);
                return Err(Error::LoginFailed);
            }
            Verdict::NeedsHash(job) => {
                if let Err(busy) = self.password_checks.ask(job, self.asker(slot)) {
                    self.metrics.auth(AuthMethod::Connect, AuthResult::Busy);
                    return Err(Error::TooManyLoginsWaiting { limit: busy.limit });
                }
                self.wait_for(slot, 1, Then::Connect(Box::new(login)));
            }
        }
        Ok(())
    }

    /// The client is in: CONNECTED, and heart-beats from now on.
    pub(super) fn connected(&mut self, slot: u32, login: Login) {
        self.metrics.auth(AuthMethod::Connect, AuthResult::Accepted);
        let interval = |ms: u32| ticks(Duration::from_millis(u64::from(ms))).min(0xffff) as u16;
        let connection = &mut self.connections[slot as usize];
        connection.version = login.version;
        connection.phase = Phase::Open;
        connection.send_ticks = interval(login.agreement.server_sends_ms);
        connection.expect_ticks = interval(login.agreement.client_sends_ms);
        let session = session_id(self.shared.key, self.session(slot));
        let user = if self.shared.authenticator.is_open() { None } else { login.user };
        let (version, heartbeat) = (login.version, login.heartbeat);
        self.push_frame(slot, |out| {
            encode::connected(out, version, session.as_str(), SERVER, heartbeat, user.as_deref());
        });
        let user = user.map(String::into_boxed_str);
        self.remember_client(slot, user, login.client_id, login.is_soft);
    }
}
