//! What goes on within the relay while it runs: commits reach the disk, attempts their receivers.

use std::time::Duration;

use super::attempts::Stage;
use super::process::Written;
use super::world::World;
use crate::actors::delivery::core::Moment;
use crate::domain::delivery::Reply;
use crate::domain::directory::SubscriptionStatus;
use crate::store::error::StoreError;

impl World {
    pub(super) fn write(&mut self) {
        if let Some(written) = self.process().write_commit() {
            self.witness.committed(&written);
            self.note(|| {
                let Written {
                    ids,
                    on_disk,
                    attempts,
                } = &written;
                format!("commit {on_disk:?}: {ids:?}, {} attempts", attempts.len())
            });
        }
    }

    pub(super) fn pump(&mut self) -> Option<Duration> {
        let now = Moment {
            at: self.now,
            unix_ms: self.now_ms,
        };
        let process = self.process();
        let before = process.running.len();
        let wait = process.pump(now);
        for begun in &process.running[before..] {
            let now = process.view.subscription(begun.target.subscription.id);
            let active = now.is_some_and(|it| it.status == SubscriptionStatus::Active);
            assert!(active, "{:?} begins though it is paused", begun.todo);
        }
        wait
    }

    /// One of the attempts goes on, in whatever order.
    pub(super) fn attempt(&mut self) -> Result<(), StoreError> {
        let count = self.process().running.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let at = usize::try_from(self.random.below(count)).unwrap();
        self.go_on(at)
    }

    pub(super) fn go_on(&mut self, at: usize) -> Result<(), StoreError> {
        let (now, now_ms) = (self.now, self.now_ms);
        let process = self.process.as_mut().unwrap();
        let running = &process.running[at];
        let (id, todo) = (running.target.subscription.id, running.todo);
        match running.stage {
            Stage::Begun => {
                if let Some(event) = process.read(at, now)? {
                    let number = todo.attempts + 1;
                    let generation = todo.slot.generation;
                    self.witness.receives(&event, id, generation, number);
                    process.running[at].stage = Stage::Sent {
                        started_at_ms: now_ms,
                    };
                    self.note(|| format!("{} for {id}: attempt {number}", todo.event));
                }
            }
            Stage::Sent { started_at_ms } => {
                let reply = self.reply();
                let key = (todo.event, id, todo.slot.generation);
                self.witness.replies(key, &reply);
                self.note(|| format!("{} for {id}: {reply:?}", todo.event));
                let jitter = f64::from(u32::try_from(self.random.below(1001)).unwrap()) / 1000.0;
                let times = (started_at_ms, now_ms);
                let outcome = self.process().end(at, reply, times, jitter, now);
                self.witness.concluded(key, outcome);
            }
            Stage::Pausing { verdict } if process.changing.is_none() => {
                if let Some(pause) = process.with_status(id, false) {
                    process.change(vec![pause]);
                }
                process.leave(at, &verdict, now);
            }
            Stage::Pausing { .. } => {}
        }
        Ok(())
    }

    fn reply(&mut self) -> Reply {
        let status = |code, retry_after_ms| Reply::Status {
            code,
            retry_after_ms,
        };
        if !self.random.chance(self.failing_percent) {
            return status(200, None);
        }
        match self.random.below(20) {
            0..=8 => status(500, None),
            9..=10 => status(503, Some(self.random.below(3_000))),
            11 => status(429, None),
            12 => status(302, None),
            13 => status(410, None),
            _ => Reply::Error("timeout"),
        }
    }
}
