//! Password hashes are computed beside the shard: one costs as much as ten thousand deliveries.

use super::action::Asker;
use super::guard::caught;
use crate::auth::HashJob;
use crate::mesh::Doorbell;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

/// Who asked, and whether the password is right; `None` if it made us panic.
type Answer = (Asker, Option<bool>);

/// No more log-ins may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWaiting {
    /// As many may.
    pub limit: usize,
}

/// The shard's ends of its hashing thread, which is started by the first job.
pub struct PasswordChecks {
    doorbell: Arc<Doorbell>,
    jobs: Option<Sender<(HashJob, Asker)>>,
    answers: (Sender<Answer>, Receiver<Answer>),
    /// The next answer, if it was looked for before a sleep.
    peeked: Option<Answer>,
    waiting_count: usize,
    /// As many may wait.
    waiting_count_max: usize,
}

impl PasswordChecks {
    /// `doorbell` is rung for every answer; so many jobs may wait.
    pub fn new(doorbell: Arc<Doorbell>, waiting_count_max: usize) -> PasswordChecks {
        let (jobs, answers, peeked) = (None, channel(), None);
        PasswordChecks { doorbell, jobs, answers, peeked, waiting_count: 0, waiting_count_max }
    }

    /// Computes `job` on the hashing thread; [`PasswordChecks::take`] gives the answer.
    ///
    /// # Errors
    /// As many as may wait do: nobody knows whether the password is right.
    pub fn ask(&mut self, job: HashJob, asker: Asker) -> Result<(), TooManyWaiting> {
        let busy = TooManyWaiting { limit: self.waiting_count_max };
        if self.waiting_count >= self.waiting_count_max {
            return Err(busy);
        }
        let jobs = self.jobs.get_or_insert_with(|| {
            let (jobs, queue) = channel::<(HashJob, Asker)>();
            let (answers, doorbell) = (self.answers.0.clone(), self.doorbell.clone());
            std::thread::spawn(move || {
                for (job, asker) in queue {
                    if answers.send((asker, caught(|| job.run()))).is_err() {
                        return;
                    }
                    doorbell.ring();
                }
            });
            jobs
        });
        if jobs.send((job, asker)).is_err() {
            // Its thread is gone: the next job starts another one.
            self.jobs = None;
            self.waiting_count = 0;
            return Err(busy);
        }
        self.waiting_count += 1;
        Ok(())
    }

    /// Is one in? To be asked before a sleep, as the bell does not ring for those who are awake.
    pub fn has_answer(&mut self) -> bool {
        if self.peeked.is_none() {
            self.peeked = self.answers.1.try_recv().ok();
        }
        self.peeked.is_some()
    }

    /// The next answer that is in.
    pub fn take(&mut self) -> Option<Answer> {
        let answer = self.peeked.take().or_else(|| self.answers.1.try_recv().ok())?;
        self.waiting_count = self.waiting_count.saturating_sub(1);
        Some(answer)
    }
}
