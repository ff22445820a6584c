//! Application destinations: `/app/...` to the mappings of [`crate::app`], or to a service
//! connection.
//!
//! A mapping runs inside the turn of its caller's shard; what it sends is taken when it has
//! returned, so that no delivery nests in another. Service connections are pattern subscriptions
//! that every shard knows of: the sender's shard picks a shard that has one, and that one picks
//! the subscription, both in turn. A service sees `user-name`, the sender's own, and answers to
//! the `reply-to` that it is given, or to any other destination. At most once, as for topics.
//! stomp.md §2.1 `/app`, `@SubscribeMapping`, `@MessageExceptionHandler`.

use super::action::{Asker, Message, Placed};
use super::deliver::{framing, Note, One};
use super::Shard;
use crate::app::{self, AppError, Context, MessageMapping, Task, TaskGuard};
use crate::metrics::ShardMetrics;
use crate::reactor::Reactor;
use std::future::poll_fn;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::task::Poll;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::subscriptions::SubscriptionKey;
use stompede_core::broker::user::send_target;
use stompede_core::stomp::error::Error;

/// What a service is told of the sender.
const USER_NAME: &str = "user-name";

impl<R: Reactor> Shard<R> {
    /// A SEND to an application destination. Says whether `asker` gets an answer from elsewhere.
    pub(super) fn call_app(
        &mut self,
        slot: u32,
        publication: Arc<Publication>,
        asker: Option<Asker>,
    ) -> Result<bool, Error> {
        let shared = self.shared.clone();
        let Some((mapping, params)) = shared.app.message(publication.destination()) else {
            return self.call_service(slot, &publication, asker);
        };
        let context = self.context(slot, publication.destination(), params);
        let message = app::Message(publication);
        match mapping {
            MessageMapping::Immediate(mapping) => {
                self.call_mapping(&context, || mapping(&context, &message));
            }
            MessageMapping::Deferred(mapping) => {
                if self.outbox.tasks_count() >= shared.config.limits.app_tasks_count_max {
                    self.metrics.app_errors.inc();
                    context.fail(&AppError::new("too busy: try again later"));
                } else {
                    let own = self.context(slot, &context.destination, context.params.clone());
                    self.call_mapping(&context, || {
                        let task = mapping(own, message);
                        let (counted, metrics) = (TaskGuard::new(&self.outbox), &self.metrics);
                        let failing = self.context(slot, &context.destination, Vec::new());
                        monoio::spawn(run(task, counted, failing, metrics.clone()));
                        Ok(())
                    });
                }
            }
        }
        self.take_app_posts();
        Ok(false)
    }

    /// Has the application something to say to a new subscriber?
    pub(super) fn has_snapshot(&self, destination: &str) -> bool {
        self.shared.app.snapshot(destination).is_some()
    }

    /// The first message of a subscription that is live now, if a mapping has one.
    pub(super) fn push_snapshot(&mut self, slot: u32, key: SubscriptionKey) {
        let shared = self.shared.clone();
        let destination: Box<str> = self.subscriptions.destination(key).into();
        let Some((mapping, params)) = shared.app.snapshot(&destination) else { return };
        let context = self.context(slot, &destination, params);
        let mut payload = None;
        self.call_mapping(&context, || {
            payload = mapping(&context)?;
            Ok(())
        });
        if let Some(payload) = payload {
            let (publication, sequence) = (payload.to(&destination), self.next_sequence());
            let delivery = Placed { publication, sequence, position: None };
            self.deliver_to(slot, key, &One { delivery: &delivery, note: Note::None });
        }
        self.take_app_posts();
    }

    fn context(&self, slot: u32, destination: &str, params: Vec<(Box<str>, Box<str>)>) -> Context {
        Context {
            session: self.session(slot),
            user: self.user(slot).map(Box::from),
            destination: destination.into(),
            params,
            outbox: self.outbox.clone(),
        }
    }

    /// Runs a mapping; its error, or its panic, goes to the client.
    fn call_mapping(&self, context: &Context, mapping: impl FnOnce() -> Result<(), AppError>) {
        let result = catch_unwind(AssertUnwindSafe(mapping)).unwrap_or_else(|_| {
            self.metrics.handler_panics.inc();
            Err(AppError::new("internal error"))
        });
        if let Err(error) = result {
            self.metrics.app_errors.inc();
            context.fail(&error);
        }
    }

    /// Carries out what mappings sent.
    pub(super) fn take_app_posts(&mut self) {
        while !self.outbox.is_empty() {
            for post in self.outbox.take() {
                self.take_post(post);
            }
        }
    }

    fn take_post(&mut self, app::Post { session, publication }: app::Post) {
        let publication = self.canonical(publication);
        let destination = publication.destination();
        let is_there = self.session(session.slot) == session;
        let outcome = match self.kind(destination) {
            Ok(Kind::Topic | Kind::App) => Ok(self.publish_to_topic(publication, None)),
            Ok(Kind::User) => match send_target(destination) {
                Some(target) if target.user.is_some() || is_there => {
                    Ok(self.publish_to_user(session.slot, publication, None))
                }
                Some(_) => {
                    self.metrics.messages_undeliverable.inc();
                    Ok(false)
                }
                None => Err(Error::BadDestination),
            },
            Ok(Kind::ReplyQueue) => Ok(self.publish_reply(publication, None)),
            // In the name of the client: it is the one to whom a full queue says no.
            Ok(Kind::Queue) if is_there => {
                self.publish_to_queue(session.slot, publication, None).map(|()| false)
            }
            Ok(_) => Err(Error::MisusedDestination),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.metrics.app_errors.inc();
            if self.may_log("app") {
                let shard = self.index;
                tracing::warn!(shard, %error, "a mapping sent to a destination that is none");
            }
        }
    }

    /// Hands a SEND to one of the service connections that want it.
    fn call_service(
        &mut self,
        slot: u32,
        publication: &Publication,
        asker: Option<Asker>,
    ) -> Result<bool, Error> {
        let shards = self.interest.pattern_shards(publication.destination());
        let count = shards.len().max(1);
        self.turns = self.turns.wrapping_add(1);
        let target = shards.iter().nth(self.turns % count).ok_or(Error::NoService)?;
        let user = self.user(slot).map(|name| (USER_NAME, name));
        let others = publication.headers().filter(|(name, _)| *name != USER_NAME);
        let headers = user.into_iter().chain(others);
        let destination = publication.destination();
        let publication = Arc::new(Publication::new(destination, headers, publication.body()));
        if target == self.index {
            self.serve(publication);
            return Ok(false);
        }
        self.mesh.push(target, Message::Serve(publication, asker));
        Ok(asker.is_some())
    }

    /// At the shard of a service connection: the next in turn gets it.
    pub(super) fn serve(&mut self, publication: Arc<Publication>) {
        let mut services = std::mem::take(&mut self.scratch.services);
        self.subscriptions.for_each_group(publication.destination(), |_, class, group| {
            if class.framing & framing::SERVICE != 0 {
                services.extend_from_slice(group);
            }
        });
        self.turns = self.turns.wrapping_add(1);
        if let Some(service) = services.get(self.turns % services.len().max(1)) {
            let (slot, key) = (service.connection, service.key());
            let delivery = Placed { publication, sequence: self.next_sequence(), position: None };
            self.deliver_to(slot, key, &One { delivery: &delivery, note: Note::None });
        } else {
            // It left while the message was on its way.
            self.metrics.messages_undeliverable.inc();
        }
        services.clear();
        self.scratch.services = services;
    }
}

/// An asynchronous mapping to its end, which may be a panic.
async fn run(mut task: Task, _counted: TaskGuard, context: Context, metrics: Arc<ShardMetrics>) {
    let outcome = poll_fn(|waker| {
        let poll = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(waker)));
        poll.unwrap_or_else(|_| {
            metrics.handler_panics.inc();
            Poll::Ready(Err(AppError::new("internal error")))
        })
    });
    if let Err(error) = outcome.await {
        metrics.app_errors.inc();
        context.fail(&error);
    }
}
