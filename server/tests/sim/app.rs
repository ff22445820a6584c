//! The application of the simulated server: mappings of both kinds, and snapshots.
//!
//! A mapping passes a publication on, at once or from a task that needs some polls; one that counts
//! says the new total with it, after it has changed the total. So who subscribes gets the total as
//! it is and then all that makes it more: [`crate::history`] checks that no step is missing.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::Poll;
use stompede::app::{Message, Payload};
use stompede::Builder;

/// Topics whose subscribers get a snapshot first: at once, and from a task.
pub const TOTALS: [&str; 2] = ["/topic/total/fast", "/topic/total/slow"];

/// Says that a MESSAGE is a snapshot, and of which total.
pub const SNAPSHOT: &str = "snapshot";
/// The total that a MESSAGE makes.
pub const TOTAL: &str = "total";

/// How a publication comes to its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// SEND to the topic.
    Nothing,
    /// A mapping publishes it.
    Mapping,
    /// An asynchronous mapping does.
    Task,
    /// A mapping counts and publishes it.
    Count,
}

/// Where to send what is to come to `topic` this way.
pub fn mapped(topic: &str, via: Via) -> String {
    let name = topic.rsplit('/').next().expect("split gives one");
    match via {
        Via::Nothing => topic.to_string(),
        Via::Mapping => format!("/app/pass/{name}"),
        Via::Task => format!("/app/later/{name}"),
        Via::Count => format!("/app/count/{name}"),
    }
}

/// Adds the application to a server.
pub fn with_app(builder: Builder) -> Builder {
    let totals: Arc<[AtomicU64; 2]> = Arc::default();
    let (counting, fast, slow) = (totals.clone(), totals.clone(), totals);
    builder
        .message("/app/pass/{name}", |context, message| {
            let name = context.param("name").unwrap_or_default();
            context.publish(&format!("/topic/{name}"), copy(message));
            Ok(())
        })
        .message_async("/app/later/{name}", |context, message| async move {
            polls(message.body().len() % 7).await;
            let name = context.param("name").unwrap_or_default();
            context.publish(&format!("/topic/{name}"), copy(&message));
            Ok(())
        })
        .message("/app/count/{name}", move |context, message| {
            let name = context.param("name").unwrap_or_default();
            let topic = format!("/topic/total/{name}");
            let at = usize::from(topic == TOTALS[1]);
            let total = counting[at].fetch_add(1, Ordering::SeqCst) + 1;
            context.publish(&topic, copy(message).header(TOTAL, &total.to_string()));
            Ok(())
        })
        .subscribe(TOTALS[0], move |_| Ok(Some(snapshot(&fast[0]))))
        .subscribe_async(TOTALS[1], move |_| {
            let totals = slow.clone();
            async move {
                let total = totals[1].load(Ordering::SeqCst) as usize;
                polls(total % 9).await;
                let payload = snapshot(&totals[1]);
                polls(total % 5).await;
                Ok(Some(payload))
            }
        })
}

fn copy(message: &Message) -> Payload {
    ["number", "kind"].into_iter().fold(Payload::new(message.body()), |payload, name| {
        payload.header(name, message.header(name).unwrap_or_default())
    })
}

fn snapshot(total: &AtomicU64) -> Payload {
    Payload::new("").header(SNAPSHOT, &total.load(Ordering::SeqCst).to_string())
}

/// Is ready with the poll after so many.
async fn polls(mut count: usize) {
    poll_fn(|_| match count {
        0 => Poll::Ready(()),
        _ => {
            count -= 1;
            Poll::Pending
        }
    })
    .await;
}
