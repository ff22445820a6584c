//! What a client's STOMP frame does: login, publish, subscribe, acknowledge, transactions.
//!
//! Frames of a connection take effect in order. A frame that needs another shard's answer
//! (SUBSCRIBE with a home elsewhere, a RECEIPT for a SEND that another shard orders) puts the
//! connection into
//! `Waiting`; the frames behind it wait too, so that every RECEIPT comes in order and means what it
//! says.

use super::action::{Action, Login, Message, Subscribe};
use super::connection::{Phase, Then, Transport, Waiting};
use super::deliver::{framing, is_auto_message_id, version_number};
use super::reason::DisconnectReason;
use super::tick::ticks;
use super::Shard;
use crate::auth::Verdict;
use crate::metrics::{AuthMethod, AuthResult, FrameIn};
use crate::reactor::Reactor;
use std::sync::Arc;
use std::time::Duration;
use stompede_core::broker::destination::{
    classify, home_shard, is_pattern, DestinationError, Prefixes,
};
use stompede_core::broker::ledger::{Kind, Ledger};
use stompede_core::broker::pattern::Pattern;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::subscriptions::Class;
use stompede_core::broker::transaction::{self, Transactions};
use stompede_core::stomp::command::Command;
use stompede_core::stomp::decode::Rules;
use stompede_core::stomp::encode;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::frame::Frame;
use stompede_core::stomp::heartbeat::agree;
use stompede_core::stomp::request::{self, AckMode, Connect, Request};

/// What the `server` header of CONNECTED says.
const SERVER: &str = concat!("stompede/", env!("CARGO_PKG_VERSION"));

impl<R: Reactor> Shard<R> {
    /// Carries out one frame; whatever is wrong with it becomes an ERROR with its receipt id.
    pub(super) fn on_frame(&mut self, slot: u32, frame: &Frame<'_>, rules: Rules) {
        self.metrics.frame_received(label(frame.command));
        let receipt = request::receipt(frame);
        let receipt = receipt.as_deref();
        let shared = self.shared.clone();
        let outcome = request::decode_request(frame, rules, &shared.config.limits)
            .and_then(|request| self.carry_out(slot, frame, request, receipt));
        if let Err(error) = outcome {
            let reason = match error {
                Error::LoginFailed => DisconnectReason::LoginFailed,
                _ => DisconnectReason::StompError,
            };
            self.fail_stomp(slot, &error, receipt, reason);
        }
    }

    fn carry_out(
        &mut self,
        slot: u32,
        frame: &Frame<'_>,
        request: Request<'_>,
        receipt: Option<&str>,
    ) -> Result<(), Error> {
        match request {
            Request::Connect(connect) => return self.connect(slot, &connect),
            Request::Send { destination, transaction } => {
                let publication = self.publication(frame, &destination)?;
                if let Some(transaction) = transaction {
                    // The RECEIPT of a SEND in a transaction leaves after COMMIT.
                    let bytes = publication.bytes();
                    let action = Action::Publish(Arc::new(publication), receipt.map(Box::from));
                    return self.add_action(slot, &transaction, action, bytes);
                }
                self.publish(slot, Arc::new(publication), receipt);
                return Ok(());
            }
            Request::Subscribe { id, destination, ack } => {
                let subscribe = Subscribe {
                    id: id.as_deref().map(Box::from),
                    destination: Box::from(&*destination),
                    ack,
                    receipt: receipt.map(Box::from),
                };
                return self.subscribe(slot, subscribe);
            }
            Request::Unsubscribe { id, destination } => {
                self.unsubscribe(slot, id.as_deref(), destination.as_deref())?;
            }
            Request::Ack { id, subscription, transaction } => {
                let (subscription, transaction) = (subscription.as_deref(), transaction.as_deref());
                self.settle(slot, &id, subscription, transaction, true)?;
            }
            Request::Nack { id, subscription, transaction } => {
                let (subscription, transaction) = (subscription.as_deref(), transaction.as_deref());
                self.settle(slot, &id, subscription, transaction, false)?;
            }
            Request::Begin { transaction } => {
                let shared = self.shared.clone();
                self.transactions(slot)
                    .begin(&transaction, &shared.config.limits)
                    .map_err(transaction_error)?;
            }
            Request::Commit { transaction } => return self.commit(slot, &transaction, receipt),
            Request::Abort { transaction } => {
                self.transactions(slot).abort(&transaction).map_err(transaction_error)?;
            }
            Request::Disconnect => {
                self.push_receipt(slot, receipt);
                self.push_close(slot, 1000, "");
                self.end(slot, DisconnectReason::Disconnect);
                return Ok(());
            }
        }
        self.push_receipt(slot, receipt);
        Ok(())
    }

    fn connect(&mut self, slot: u32, connect: &Connect<'_>) -> Result<(), Error> {
        let shared = self.shared.clone();
        // CONNECTED is not escaped: a line end in `user-name` would become a header of its own.
        if connect.login.as_ref().is_some_and(|name| name.chars().any(char::is_control)) {
            self.metrics.auth(AuthMethod::Connect, AuthResult::Refused);
            return Err(Error::LoginFailed);
        }
        let (agreement, heartbeat) =
            agree(connect.heartbeat, connect.version, &shared.config.limits);
        let user = connect.login.as_deref().map(str::to_owned);
        let mut login = Login { version: connect.version, agreement, heartbeat, user };
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
        match shared.authenticator.check(name, passcode) {
            Verdict::Accepted => self.connected(slot, login),
            Verdict::Refused => {
                self.metrics.auth(AuthMethod::Connect, AuthResult::Refused);
                return Err(Error::LoginFailed);
            }
            Verdict::NeedsHash(job) => {
                self.wait_for(slot, 1, Then::Connect(Box::new(login)));
                self.password_checks.ask(job, self.asker(slot));
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
        let session = self.session_id(slot);
        let user = if self.shared.authenticator.is_open() { None } else { login.user };
        let mut bytes = Vec::new();
        encode::connected(
            &mut bytes,
            login.version,
            &session,
            SERVER,
            &login.heartbeat,
            user.as_deref(),
        );
        self.push_stomp(slot, &bytes);
    }

    /// Derived, not stored: nobody can guess it without the key of this start.
    fn session_id(&self, slot: u32) -> String {
        let generation = self.connections[slot as usize].generation;
        let name = format!("{} {slot} {generation}", self.index);
        let first = keyed_hash(self.shared.key, &name);
        let second = keyed_hash(!self.shared.key, &name);
        format!("{first:016x}{second:016x}")
    }

    fn publication(&self, frame: &Frame<'_>, destination: &str) -> Result<Publication, Error> {
        classify(destination, &Prefixes::TOPICS, &self.shared.config.limits)
            .map_err(destination_error)?;
        if is_pattern(destination) {
            return Err(Error::SendToPattern);
        }
        let secret = &self.shared.config.secret_headers;
        let headers = frame.headers().filter(|(name, _)| {
            encode::is_passed_through(name)
                && !secret.iter().any(|other| other.eq_ignore_ascii_case(name))
        });
        Ok(Publication::new(destination, headers, frame.body))
    }

    /// Hands a publication to the home shard of its destination.
    fn publish(&mut self, slot: u32, publication: Arc<Publication>, receipt: Option<&str>) {
        self.metrics.messages_published.inc();
        let home = self.home(publication.destination());
        if home == self.index {
            self.order(publication);
            self.push_receipt(slot, receipt);
        } else if let Some(receipt) = receipt {
            let asker = Some(self.asker(slot));
            self.mesh.push(home, Message::Publish(publication, asker));
            self.wait_for(slot, 1, Then::Receipts(vec![receipt.into()]));
        } else {
            self.mesh.push(home, Message::Publish(publication, None));
        }
    }

    fn subscribe(&mut self, slot: u32, subscribe: Subscribe) -> Result<(), Error> {
        let limits = &self.shared.config.limits;
        classify(&subscribe.destination, &Prefixes::TOPICS, limits).map_err(destination_error)?;
        let head = self.connections[slot as usize].subscriptions;
        if self.subscriptions.count_of(head) >= limits.subscriptions_count_max {
            return Err(Error::TooManySubscriptions);
        }
        let (id, destination) = (subscribe.id.as_deref(), Some(&*subscribe.destination));
        let known = self.subscriptions.find(head, id, destination.filter(|_| id.is_none()));
        if known.is_some() {
            return Err(Error::DuplicateSubscription);
        }
        let destination = subscribe.destination.clone();
        if is_pattern(&destination) {
            let pattern =
                Pattern::parse(&destination, limits).map_err(|_| Error::PatternTooComplex)?;
            self.interest.add_pattern(&destination, pattern, self.index);
            self.announce_pattern(slot, destination, subscribe);
            return Ok(());
        }
        let home = self.home(&destination);
        if home == self.index {
            self.interest.add(&destination, self.index);
            self.subscribed(slot, subscribe);
        } else {
            let asker = Some(self.asker(slot));
            self.pending_interest.push(destination.clone());
            self.mesh.push(home, Message::Interest { destination, is_wanted: true, asker });
            self.wait_for(slot, 1, Then::Subscribe(Box::new(subscribe)));
        }
        Ok(())
    }

    fn announce_pattern(&mut self, slot: u32, pattern: Box<str>, subscribe: Subscribe) {
        let asker = Some(self.asker(slot));
        for target in (0..self.mesh.shards_count()).filter(|&target| target != self.index) {
            let pattern = pattern.clone();
            self.mesh.push(target, Message::PatternInterest { pattern, is_wanted: true, asker });
        }
        let answers_count = self.mesh.shards_count() - 1;
        if answers_count == 0 {
            self.subscribed(slot, subscribe);
        } else {
            self.pending_interest.push(subscribe.destination.clone());
            self.wait_for(slot, answers_count, Then::Subscribe(Box::new(subscribe)));
        }
    }

    /// Every shard that must know knows: the subscription is live, its RECEIPT goes first.
    pub(super) fn subscribed(&mut self, slot: u32, subscribe: Subscribe) {
        self.push_receipt(slot, subscribe.receipt.as_deref());
        let connection = &mut self.connections[slot as usize];
        let mut frames = match connection.transport {
            Transport::WebSocket(_) => framing::WEBSOCKET,
            _ => framing::TCP,
        };
        if subscribe.ack == AckMode::Client {
            frames |= framing::CUMULATIVE;
        }
        let class = Class {
            id: subscribe.id,
            version: version_number(connection.version),
            framing: frames,
            explicit_ack: subscribe.ack != AckMode::Auto,
        };
        let destination = &*subscribe.destination;
        let pattern = if is_pattern(destination) {
            Pattern::parse(destination, &self.shared.config.limits).ok()
        } else {
            None
        };
        let head = connection.subscriptions;
        let (key, _) = self.subscriptions.subscribe(slot, head, destination, pattern, class);
        connection.subscriptions = key.0;
    }

    fn unsubscribe(
        &mut self,
        slot: u32,
        id: Option<&str>,
        destination: Option<&str>,
    ) -> Result<(), Error> {
        let head = self.connections[slot as usize].subscriptions;
        let by_destination = destination.filter(|_| id.is_none());
        let key =
            self.subscriptions.find(head, id, by_destination).ok_or(Error::UnknownSubscription)?;
        let (head, removed) = self.subscriptions.unsubscribe(head, key);
        self.connections[slot as usize].subscriptions = head;
        if let Some(removed) = removed {
            self.withdraw_interest(removed.destination, removed.is_pattern);
        }
        Ok(())
    }

    fn settle(
        &mut self,
        slot: u32,
        id: &str,
        subscription: Option<&str>,
        transaction: Option<&str>,
        is_ack: bool,
    ) -> Result<(), Error> {
        let extras = self.connections[slot as usize].extras.as_ref();
        let ledger = extras.and_then(|extras| extras.ledger.as_ref());
        let number = delivery_number(id).filter(|&number| {
            ledger.is_some_and(|ledger| ledger.check(number, subscription).is_ok())
        });
        let number = number.ok_or_else(|| self.ack_error(slot, id, subscription))?;
        let action = Action::Settle { number, subscription: subscription.map(Box::from), is_ack };
        match transaction {
            Some(transaction) => self.add_action(slot, transaction, action, id.len()),
            None => settle_in(&mut self.connections[slot as usize].extras().ledger, &action),
        }
    }

    /// Why an acknowledgement of something that waits for none is refused.
    fn ack_error(&self, slot: u32, id: &str, subscription: Option<&str>) -> Error {
        let head = self.connections[slot as usize].subscriptions;
        let named = subscription.and_then(|id| self.subscriptions.find(head, Some(id), None));
        let is_auto = match named {
            Some(key) => !self.subscriptions.class(key).explicit_ack,
            None => is_auto_message_id(id),
        };
        if is_auto {
            Error::AckOnAuto
        } else {
            Error::UnknownAck
        }
    }

    fn transactions(&mut self, slot: u32) -> &mut Transactions<Action> {
        let extras = self.connections[slot as usize].extras();
        extras.transactions.get_or_insert_with(Transactions::default)
    }

    fn add_action(
        &mut self,
        slot: u32,
        transaction: &str,
        action: Action,
        bytes: usize,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        self.transactions(slot)
            .push(transaction, action, bytes, &shared.config.limits)
            .map_err(transaction_error)
    }

    /// Applies a transaction whole or not at all: its SENDs were validated when they came, and its
    /// acknowledgements, which may have been settled meanwhile, are tried on a copy of the ledger.
    fn commit(&mut self, slot: u32, transaction: &str, receipt: Option<&str>) -> Result<(), Error> {
        let actions = self.transactions(slot).commit(transaction).map_err(transaction_error)?;
        let extras = self.connections[slot as usize].extras();
        let mut ledger = extras.ledger.clone();
        for action in &actions {
            settle_in(&mut ledger, action)?;
        }
        extras.ledger = ledger;
        let mut publications = Vec::new();
        let mut receipts = Vec::new();
        for action in actions {
            if let Action::Publish(publication, receipt) = action {
                publications.push(publication);
                receipts.extend(receipt);
            }
        }
        receipts.extend(receipt.map(Box::from));
        let asker = (!receipts.is_empty()).then(|| self.asker(slot));
        let mut answers_count = 0;
        for publication in publications {
            self.metrics.messages_published.inc();
            let home = self.home(publication.destination());
            if home == self.index {
                self.order(publication);
            } else {
                answers_count += usize::from(asker.is_some());
                self.mesh.push(home, Message::Publish(publication, asker));
            }
        }
        // A client that publishes to itself may have been ended as too slow by its own messages.
        if answers_count > 0 && self.connections[slot as usize].is_live() {
            self.wait_for(slot, answers_count, Then::Receipts(receipts));
        } else {
            self.push_receipts(slot, &receipts);
        }
        Ok(())
    }

    pub(super) fn push_receipts(&mut self, slot: u32, receipts: &[Box<str>]) {
        for receipt in receipts {
            self.push_receipt(slot, Some(receipt));
        }
    }

    pub(super) fn push_receipt(&mut self, slot: u32, receipt: Option<&str>) {
        let Some(receipt) = receipt else { return };
        if !self.connections[slot as usize].is_live() {
            return;
        }
        let mut bytes = Vec::new();
        encode::receipt(&mut bytes, self.connections[slot as usize].version, receipt);
        self.push_stomp(slot, &bytes);
    }

    pub(super) fn wait_for(&mut self, slot: u32, answers_count: usize, then: Then) {
        let connection = &mut self.connections[slot as usize];
        connection.phase = Phase::Waiting;
        connection.extras().waiting = Some(Waiting { answers_count, then });
    }

    pub(super) fn home(&self, destination: &str) -> usize {
        home_shard(self.shared.key, destination, self.mesh.shards_count())
    }
}

fn destination_error(error: DestinationError) -> Error {
    match error {
        DestinationError::Unroutable => Error::UnroutableDestination,
        _ => Error::BadDestination,
    }
}

/// The number of a delivery as we wrote it.
fn delivery_number(id: &str) -> Option<u64> {
    // `parse` alone would accept a sign and leading zeros.
    let is_ours = id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0');
    id.parse().ok().filter(|_| is_ours)
}

/// Settles what an ACK or NACK names; a SEND settles nothing.
fn settle_in(ledger: &mut Option<Ledger>, action: &Action) -> Result<(), Error> {
    let Action::Settle { number, subscription, is_ack } = action else { return Ok(()) };
    let ledger = ledger.as_mut().ok_or(Error::UnknownAck)?;
    // On a topic a NACK drops the message: there is no other consumer to give it to.
    let kind = if *is_ack { Kind::Ack } else { Kind::Nack };
    let settled = ledger.settle(*number, subscription.as_deref(), kind);
    settled.map(|_| ()).map_err(|_| Error::UnknownAck)
}

fn transaction_error(error: transaction::Error) -> Error {
    match error {
        transaction::Error::Unknown => Error::UnknownTransaction,
        transaction::Error::Duplicate => Error::DuplicateTransaction,
        transaction::Error::TooMany => Error::TooManyTransactions,
        transaction::Error::TooLarge => Error::TransactionTooLarge,
    }
}

fn label(command: Command) -> FrameIn {
    match command {
        Command::Send => FrameIn::Send,
        Command::Subscribe => FrameIn::Subscribe,
        Command::Unsubscribe => FrameIn::Unsubscribe,
        Command::Begin => FrameIn::Begin,
        Command::Commit => FrameIn::Commit,
        Command::Abort => FrameIn::Abort,
        Command::Ack => FrameIn::Ack,
        Command::Nack => FrameIn::Nack,
        Command::Disconnect => FrameIn::Disconnect,
        Command::Connect => FrameIn::Connect,
        Command::Stomp => FrameIn::Stomp,
        _ => FrameIn::Other,
    }
}

fn keyed_hash(key: u64, text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(key);
    hasher.write(text.as_bytes());
    hasher.finish()
}
