//! Application destinations: `/app/...` to the mappings of [`crate::app`].
//!
//! A mapping runs inside the turn of its caller's shard; what it sends is taken when it has
//! returned, so that no delivery nests in another. An asynchronous one is a task of the shard's
//! runtime, of which there is a bounded number. What a new subscriber gets is in
//! [`super::snapshot`], what no mapping takes in [`super::service`].
//! stomp.md §2.1 `/app`, `@SubscribeMapping`, `@MessageExceptionHandler`.

use super::Shard;
use crate::app::{self, AppError, Context, MessageMapping, Payload, Place, Post, Task, TaskGuard};
use crate::metrics::ShardMetrics;
use crate::reactor::Reactor;
use std::future::{poll_fn, Future};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::task::Poll;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::user::{internal_name, send_target, Session};
use stompede_core::stomp::error::Error;

impl<R: Reactor> Shard<R> {
    /// A SEND to an application destination that a mapping takes.
    pub(super) fn call_app(
        &mut self,
        slot: u32,
        publication: Arc<Publication>,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        let found = shared.app.message(publication.destination());
        let (mapping, params) = found.ok_or(Error::NoService)?;
        let context = self.context(slot, publication.destination(), params);
        let message = app::Message(publication);
        match mapping {
            MessageMapping::Immediate(mapping) => {
                self.call_mapping(&context, || mapping(&context, &message));
            }
            MessageMapping::Deferred(mapping) => {
                let own = self.context(slot, &context.destination, context.params.clone());
                self.start_task(&context, || mapping(own, message), run);
            }
        }
        self.take_app_posts();
        Ok(())
    }

    /// Starts the task of a subscribe mapping; says whether it did.
    pub(super) fn start_snapshot(
        &mut self,
        context: Context,
        mapping: &dyn Fn(Context) -> Task<Option<Payload>>,
        place: Place,
    ) -> bool {
        let own = self.context(place.slot, &context.destination, context.params.clone());
        self.start_task(
            &context,
            || mapping(own),
            |task, counted, context, metrics| run_snapshot(task, counted, context, metrics, place),
        )
    }

    /// Makes a task and lets it run, if there are not too many; says whether it did. What goes
    /// wrong is told to the client.
    fn start_task<T, F>(
        &mut self,
        context: &Context,
        task: impl FnOnce() -> Task<T>,
        run: impl FnOnce(Task<T>, TaskGuard, Context, Arc<ShardMetrics>) -> F,
    ) -> bool
    where
        F: Future<Output = ()> + 'static,
    {
        if self.outbox.tasks_count() >= self.shared.config.limits.app_tasks_count_max {
            self.metrics.app_errors.inc();
            context.fail(&AppError::new("too busy: try again later"));
            return false;
        }
        let mut made = None;
        self.call_mapping(context, || {
            made = Some(task());
            Ok(())
        });
        let Some(task) = made else { return false };
        let (counted, metrics) = (TaskGuard::new(&self.outbox), self.metrics.clone());
        let failing = self.context(context.session.slot, &context.destination, Vec::new());
        self.reactor.spawn(run(task, counted, failing, metrics));
        true
    }

    pub(super) fn context(
        &self,
        slot: u32,
        destination: &str,
        params: Vec<(Box<str>, Box<str>)>,
    ) -> Context {
        Context {
            session: self.session(slot),
            user: self.user(slot).map(Box::from),
            destination: destination.into(),
            params,
            outbox: self.outbox.clone(),
            key: self.shared.key,
        }
    }

    /// Runs a mapping; its error, or its panic, goes to the client.
    pub(super) fn call_mapping(
        &self,
        context: &Context,
        mapping: impl FnOnce() -> Result<(), AppError>,
    ) {
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
                match post {
                    Post::Send { session, publication } => self.take_post(session, publication),
                    Post::Failure { session, publication } => {
                        self.note_failure(session, &publication);
                        self.take_post(session, publication);
                    }
                    Post::Snapshot { place, publication } => self.on_snapshot(place, publication),
                }
            }
        }
    }

    /// An error that its client does not ask for is told to the operator.
    fn note_failure(&mut self, session: Session, failure: &Publication) {
        let is_there = self.session(session.slot) == session;
        let name = internal_name(session, app::ERRORS);
        if (is_there && self.subscriptions.has_subscribers(&name)) || !self.may_log("mapping") {
            return;
        }
        let shard = self.index;
        let destination = failure.header(app::FAILED_DESTINATION).unwrap_or_default();
        let error = failure.header("message").unwrap_or_default();
        // Both may be in the client's words: escaped.
        tracing::warn!(
            shard,
            ?destination,
            ?error,
            "a mapping failed; its client has no subscription to /user/queue/errors"
        );
    }

    fn take_post(&mut self, session: Session, publication: Arc<Publication>) {
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
}

/// An asynchronous mapping to its end, which may be a panic.
async fn run(task: Task, _counted: TaskGuard, context: Context, metrics: Arc<ShardMetrics>) {
    outcome(task, &context, &metrics).await;
}

/// As [`run`], of a subscribe mapping: whatever comes of it, the subscription waits no longer.
async fn run_snapshot(
    task: Task<Option<Payload>>,
    _counted: TaskGuard,
    context: Context,
    metrics: Arc<ShardMetrics>,
    place: Place,
) {
    let payload = outcome(task, &context, &metrics).await.flatten();
    let publication = payload.map(|payload| payload.to(&context.destination));
    context.outbox.push(Post::Snapshot { place, publication });
}

/// What a task gives; its error, or its panic, goes to the client.
async fn outcome<T>(mut task: Task<T>, context: &Context, metrics: &ShardMetrics) -> Option<T> {
    let outcome = poll_fn(|waker| {
        let poll = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(waker)));
        poll.unwrap_or_else(|_| {
            metrics.handler_panics.inc();
            Poll::Ready(Err(AppError::new("internal error")))
        })
    });
    match outcome.await {
        Ok(value) => Some(value),
        Err(error) => {
            metrics.app_errors.inc();
            context.fail(&error);
            None
        }
    }
}
