//! What a shard holds, counted: for simulations, which check that all of it comes back.
//!
//! Numbers of things, not of bytes; bytes are in the metrics. After the last client left all are
//! zero, except for the arena, which keeps the chunk that it writes to and the last piece that was
//! larger than a chunk (`core::outbound`).

use super::connection::Phase;
use super::Shard;
use crate::reactor::Reactor;

/// What one shard holds at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Slots that are not free, virtual ones included.
    pub connections: usize,
    /// Live subscriptions.
    pub subscriptions: usize,
    /// SockJS sessions, those included that are only remembered.
    pub sockjs_sessions: usize,
    /// Connections with waiting output.
    pub backlogs: usize,
    /// Connections with an incomplete frame.
    pub spills: usize,
    /// Connections to receive from or to flush in the next turn.
    pub queued: usize,
    /// Chunks of the send arena that somebody refers to.
    pub arena_chunks: usize,
    /// Destinations whose home is here, and patterns, that some shard wants.
    pub interests: usize,
    /// SUBSCRIBEs that wait for other shards.
    pub interests_pending: usize,
    /// Subscriptions whose deliveries wait, or are counted.
    pub paces: usize,
    /// Subscriptions that wait for their snapshot.
    pub gates: usize,
    /// Asynchronous mappings that run.
    pub app_tasks: usize,
    /// Connections and transactions that go on in the next turn.
    pub postponed: usize,
    /// Topics whose home is here and that have a history.
    pub histories: usize,
    /// Clients that logged in or asked for soft errors, users whose home is here, and tables of
    /// reply queues.
    pub identities: usize,
    /// Queues whose home is here, and connections that have private ones with messages.
    pub queues: usize,
    /// Transactions that have room in queues here.
    pub reservations: usize,
    /// Messages that wait because another shard's ring is full.
    pub mesh_overflow: usize,
}

impl<R: Reactor> Shard<R> {
    /// Counts what the shard holds now. Walks all slots: not for the hot path.
    pub fn census(&self) -> Census {
        let is_used = |phase: Phase| phase != Phase::Free;
        Census {
            connections: self.connections.iter().filter(|c| is_used(c.phase)).count(),
            subscriptions: self.subscriptions.len(),
            sockjs_sessions: self.sessions.len(),
            backlogs: self.backlogs.len(),
            spills: self.spills.len(),
            queued: self.ready.len() + self.dirty.len(),
            arena_chunks: self.arena.chunks_in_use(),
            interests: self.interest.len(),
            interests_pending: self.pending_interest.len(),
            paces: self.paces.len(),
            gates: self.gates.len(),
            app_tasks: self.outbox.tasks_count(),
            postponed: self.postponed.len(),
            histories: self.histories.len(),
            identities: self.clients.len()
                + self.users.len()
                + usize::from(!self.replies.is_empty()),
            queues: self.queues.len() + self.queues.private_len(),
            reservations: self.queues.rooms_len(),
            mesh_overflow: self.mesh.overflow_count(),
        }
    }
}
