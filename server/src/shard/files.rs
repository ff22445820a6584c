//! Files are opened and read beside the shard: a disk may take longer than any client may wait.
//!
//! One thread per shard, started by the first job; the doorbell tells of answers. A connection has
//! one job at a time: it asks for the next piece of a file when the last one is sent, so that a
//! slow reader holds one piece and no more.

use super::action::Asker;
use super::guard::{caught, panic_as_asked};
use super::Shared;
use crate::config::Config;
use crate::mesh::Doorbell;
use crate::static_files::{self, Reply, Rest};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use stompede_core::http::request::decode;

/// Jobs that may wait. More are refused: the disk does not keep up.
const WAITING_COUNT_MAX: usize = 1_024;

/// What the reading thread is asked for.
pub enum Job {
    /// The beginning of an answer.
    Open(Query),
    /// The next piece of a file.
    Continue(Rest),
}

/// A request for a file.
pub struct Query {
    /// The head of the request, as it came; it was decoded before.
    pub head: Box<[u8]>,
    /// Its path, decoded.
    pub path: String,
    /// Does the connection stay open after the answer?
    pub keep_alive: bool,
}

/// Who asked, and what is to be sent; `None` if it made us panic.
type Answer = (Asker, Option<Reply>);

/// The shard's ends of its reading thread.
pub struct FileReads {
    doorbell: Arc<Doorbell>,
    shared: Arc<Shared>,
    jobs: Option<Sender<(Job, Asker)>>,
    replies: (Sender<Answer>, Receiver<Answer>),
    /// The next answer, if it was looked for before a sleep.
    peeked: Option<Answer>,
    waiting_count: usize,
}

impl FileReads {
    /// Serves what the configuration says; `doorbell` is rung for every reply.
    pub fn new(doorbell: Arc<Doorbell>, shared: Arc<Shared>) -> FileReads {
        let replies = channel();
        FileReads { doorbell, shared, jobs: None, replies, peeked: None, waiting_count: 0 }
    }

    /// Does `job` on the reading thread; [`FileReads::take`] gives the reply. False if too many
    /// wait already.
    pub fn ask(&mut self, job: Job, asker: Asker) -> bool {
        // A file that was begun is also finished.
        if self.waiting_count >= WAITING_COUNT_MAX && matches!(job, Job::Open(_)) {
            return false;
        }
        let jobs = match self.jobs.take() {
            Some(jobs) => jobs,
            None => match self.start() {
                Ok(jobs) => jobs,
                Err(error) => {
                    tracing::error!(%error, "cannot start the thread that reads files");
                    return false;
                }
            },
        };
        let is_sent = jobs.send((job, asker)).is_ok();
        if is_sent {
            self.waiting_count += 1;
            self.jobs = Some(jobs);
        }
        is_sent
    }

    /// Is one in? To be asked before a sleep, as the bell does not ring for those who are awake.
    pub fn has_reply(&mut self) -> bool {
        if self.peeked.is_none() {
            self.peeked = self.replies.1.try_recv().ok();
        }
        self.peeked.is_some()
    }

    /// The next reply that is in.
    pub fn take(&mut self) -> Option<Answer> {
        let reply = self.peeked.take().or_else(|| self.replies.1.try_recv().ok())?;
        self.waiting_count = self.waiting_count.saturating_sub(1);
        Some(reply)
    }

    fn start(&self) -> std::io::Result<Sender<(Job, Asker)>> {
        let (jobs, queue) = channel::<(Job, Asker)>();
        let (replies, doorbell) = (self.replies.0.clone(), self.doorbell.clone());
        let shared = self.shared.clone();
        let run = move || {
            let config = &shared.config;
            for (job, asker) in queue {
                let reply = caught(|| reply(job, config));
                if replies.send((asker, reply)).is_err() {
                    return;
                }
                doorbell.ring();
            }
        };
        std::thread::Builder::new().name("files".into()).spawn(run)?;
        Ok(jobs)
    }
}

fn reply(job: Job, config: &Config) -> Reply {
    match job {
        Job::Continue(rest) => rest.read(),
        Job::Open(Query { head, path, keep_alive }) => match decode(&head, &config.limits) {
            Ok(Some((request, _))) => {
                panic_as_asked(&path);
                static_files::answer(&request, &path, config, keep_alive)
            }
            // It was decoded before, by the same limits.
            _ => Reply { is_broken: true, ..Reply::default() },
        },
    }
}
