//! Password hashes are computed beside the shard: one costs as much as ten thousand deliveries.

use super::action::Asker;
use crate::auth::HashJob;
use crate::mesh::Doorbell;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

/// Jobs that may wait; a flood of logins beyond it is refused at once.
const WAITING_COUNT_MAX: usize = 256;

/// Who asked, and whether the password is right.
type Answer = (Asker, bool);

/// The shard's ends of its hashing thread, which is started by the first job.
pub struct PasswordChecks {
    doorbell: Arc<Doorbell>,
    jobs: Option<Sender<(HashJob, Asker)>>,
    answers: (Sender<Answer>, Receiver<Answer>),
    /// The next answer, if it was looked for before a sleep.
    peeked: Option<Answer>,
    waiting_count: usize,
}

impl PasswordChecks {
    /// `doorbell` is rung for every answer.
    pub fn new(doorbell: Arc<Doorbell>) -> PasswordChecks {
        PasswordChecks { doorbell, jobs: None, answers: channel(), peeked: None, waiting_count: 0 }
    }

    /// Computes `job` on the hashing thread; [`PasswordChecks::take`] gives the answer.
    pub fn ask(&mut self, job: HashJob, asker: Asker) {
        if self.waiting_count >= WAITING_COUNT_MAX {
            // The receiver lives in `self`: the send cannot fail.
            let _ = self.answers.0.send((asker, false));
            return self.doorbell.ring();
        }
        self.waiting_count += 1;
        let jobs = self.jobs.get_or_insert_with(|| {
            let (jobs, queue) = channel::<(HashJob, Asker)>();
            let (answers, doorbell) = (self.answers.0.clone(), self.doorbell.clone());
            std::thread::spawn(move || {
                for (job, asker) in queue {
                    if answers.send((asker, job.run())).is_err() {
                        return;
                    }
                    doorbell.ring();
                }
            });
            jobs
        });
        if let Err(refused) = jobs.send((job, asker)) {
            let _ = self.answers.0.send((refused.0 .1, false));
        }
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
