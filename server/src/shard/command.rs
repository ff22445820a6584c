//! What a client's STOMP frame does: each to its own file, and the RECEIPT behind it.
//!
//! CONNECT goes to [`super::login`], SEND to [`super::publish`], SUBSCRIBE and UNSUBSCRIBE to
//! [`super::subscribe`], ACK, NACK and transactions to [`super::settle`]. Frames of a connection
//! take effect in order. A frame that needs another shard's answer (SUBSCRIBE with a home
//! elsewhere, a RECEIPT for a SEND that another shard orders) puts the connection into `Waiting`;
//! the frames behind it wait too, so that every RECEIPT comes in order and means what it says.

use super::action::{Action, Subscribe};
use super::connection::{Phase, Then, Waiting};
use super::reason::DisconnectReason;
use super::settle::transaction_error;
use super::{pace, Shard};
use crate::metrics::FrameIn;
use crate::reactor::Reactor;
use std::sync::Arc;
use stompede_core::broker::destination::{Kind, Profile};
use stompede_core::broker::queue::Settlement;
use stompede_core::stomp::command::Command;
use stompede_core::stomp::decode::Rules;
use stompede_core::stomp::encode;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::frame::Frame;
use stompede_core::stomp::negotiation::Version;
use stompede_core::stomp::replay;
use stompede_core::stomp::request::{self, Request};
use stompede_core::stomp::wording::Wording;

impl<R: Reactor> Shard<R> {
    /// Carries out one frame; whatever is wrong with it becomes an ERROR with its receipt id.
    pub(super) fn on_frame(&mut self, slot: u32, frame: &Frame<'_>, rules: Rules) {
        self.metrics.frame_received(label(frame.command));
        let receipt = request::receipt(frame);
        let receipt = receipt.as_deref();
        let rules = self.lenient_rules(frame.command, rules);
        let outcome = request::decode_request(frame, rules, &self.shared.config.limits)
            .and_then(|request| self.carry_out(slot, frame, request, receipt));
        if let Err(error) = outcome {
            let reason = match error {
                Error::LoginFailed | Error::TooManyLogins => DisconnectReason::LoginFailed,
                Error::TooManyLoginsWaiting { .. } => DisconnectReason::LoginsBusy,
                Error::NotAllowed => {
                    let destination = frame.header("destination").unwrap_or_default();
                    self.on_denied(slot, frame.command.as_str(), &destination);
                    DisconnectReason::StompError
                }
                _ => DisconnectReason::StompError,
            };
            let wording = match self.shared.config.profile {
                Profile::RabbitMq => Wording::rabbitmq(&error, frame),
                _ => Wording::of(&error),
            };
            self.fail_as(slot, &error, receipt, reason, &wording);
        }
    }

    /// RabbitMQ asks for no `subscription` in an ACK of 1.1, as in 1.0: its message ids are unique
    /// in a connection, and so are ours.
    fn lenient_rules(&self, command: Command, rules: Rules) -> Rules {
        match (self.shared.config.profile, command, rules) {
            (Profile::RabbitMq, Command::Ack | Command::Nack, Rules::Version(Version::V1_1)) => {
                Rules::Version(Version::V1_0)
            }
            _ => rules,
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
                let (publication, kind) = self.publication(slot, frame, &destination)?;
                if let Some(transaction) = transaction {
                    if kind == Kind::Queue {
                        self.check_for_queue(slot, &publication)?;
                    }
                    // The RECEIPT of a SEND in a transaction leaves after COMMIT.
                    let bytes = publication.bytes();
                    let action = Action::Publish(Arc::new(publication), receipt.map(Box::from));
                    return self.add_action(slot, &transaction, action, bytes);
                }
                self.publish(slot, Arc::new(publication), kind, receipt)?;
                if self.is_overworked() {
                    self.postpone(slot);
                }
                return Ok(());
            }
            Request::Subscribe { id, destination, ack } => {
                let subscribe = Subscribe {
                    id: id.as_deref().map(Box::from),
                    destination: Box::from(&*destination),
                    ack,
                    receipt: receipt.map(Box::from),
                    replay: replay::replay(frame)?,
                    pace: pace::own(frame)?.map(Box::new),
                    terms: self.terms(slot, frame)?,
                };
                return self.subscribe(slot, subscribe);
            }
            Request::Unsubscribe { id, destination } => {
                let is_final = self.is_final(frame)?;
                self.unsubscribe(slot, id.as_deref(), destination.as_deref(), is_final)?;
            }
            Request::Ack { id, subscription, transaction } => {
                let (subscription, transaction) = (subscription.as_deref(), transaction.as_deref());
                self.settle(slot, &id, subscription, transaction, Settlement::Ack)?;
            }
            Request::Nack { id, subscription, transaction } => {
                let (subscription, transaction) = (subscription.as_deref(), transaction.as_deref());
                // "requeue:false" is RabbitMQ's: the message is dead.
                let settlement = match frame.header("requeue").as_deref() {
                    // Its suite's client writes it as Python does.
                    Some("false" | "False") => Settlement::Reject,
                    _ => Settlement::Requeue,
                };
                self.settle(slot, &id, subscription, transaction, settlement)?;
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
                self.disconnect(slot, receipt);
                return Ok(());
            }
        }
        self.push_receipt(slot, receipt);
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
        let version = self.connections[slot as usize].version;
        self.push_frame(slot, |out| encode::receipt(out, version, receipt));
    }

    pub(super) fn wait_for(&mut self, slot: u32, answers_count: usize, then: Then) {
        let connection = &mut self.connections[slot as usize];
        connection.phase = Phase::Waiting;
        let answers_count = answers_count as u32;
        connection.extras().waiting = Some(Waiting { answers_count, then });
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
