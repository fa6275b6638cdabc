//! Retention as its actor goes about it, a step at a time.

use tokio::sync::oneshot;

use super::process::Process;
use crate::actors::queue::{CarryOver, QueueError};
use crate::domain::retention::Retention;
use crate::store::carried::Carry;
use crate::store::error::StoreError;
use crate::store::retention::{self, Oldest};

/// Events that one step carries: few, so that there are many steps.
const CARRIED: usize = 3;

type Answer = oneshot::Receiver<Result<(), QueueError>>;

/// Where it is.
#[derive(Debug, Default)]
pub enum Retire {
    /// It looks whether a segment's time has come.
    #[default]
    Looking,
    /// It carries what is open.
    Events(Oldest, Option<Answer>),
    /// It carries keys, from a position on.
    Keys(Oldest, Option<u64>, Option<Answer>),
    /// It waits for a checkpoint of all before a position.
    Saving(Oldest, u64),
}

impl Process {
    /// The next step, which may be to wait.
    pub fn retire(&mut self, kept: &Retention, now_ms: u64) -> Result<(), StoreError> {
        self.retire = match std::mem::take(&mut self.retire) {
            Retire::Looking => match retention::oldest(&self.log, kept, now_ms)? {
                Some(oldest) => Retire::Events(oldest, None),
                None => Retire::Looking,
            },
            Retire::Events(oldest, Some(answer)) => match self.carried(answer) {
                Waited::On(answer) => Retire::Events(oldest, Some(answer)),
                Waited::Done => Retire::Events(oldest, None),
                Waited::Refused => Retire::Looking,
            },
            Retire::Events(oldest, None) => {
                let ledger = self.dispatch.ledger();
                let as_of = ledger.applied().position;
                let located = ledger.located_before(oldest.end, CARRIED)?;
                if located.is_empty() {
                    Retire::Keys(oldest, Some(self.log.start()), None)
                } else {
                    let carry = retention::carry(&self.log, kept, (as_of, located), now_ms)?;
                    Retire::Events(oldest, Some(self.carry(carry)))
                }
            }
            Retire::Keys(oldest, next, Some(answer)) => match self.carried(answer) {
                Waited::On(answer) => Retire::Keys(oldest, next, Some(answer)),
                Waited::Done => Retire::Keys(oldest, next, None),
                Waited::Refused => Retire::Looking,
            },
            Retire::Keys(oldest, Some(from), None) => {
                let found = retention::keys(&self.log, &oldest, from, now_ms)?;
                let carry = found.carry;
                let answer = (!carry.is_empty()).then(|| self.carry(carry));
                Retire::Keys(oldest, found.next, answer)
            }
            Retire::Keys(oldest, None, None) => Retire::Saving(oldest, self.log.end()),
            Retire::Saving(oldest, end) if self.state.saved_to() >= end => {
                if let Some(remains) = retention::remove(&self.log, &oldest)? {
                    while remains.free_some()? {}
                }
                Retire::Looking
            }
            saving @ Retire::Saving(..) => saving,
        };
        Ok(())
    }

    fn carry(&mut self, carry: Carry) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.queue.carry(CarryOver { carry, reply });
        answer
    }

    /// Committed, and heard of by the dispatcher: until then it would find the same events again.
    fn carried(&self, mut answer: Answer) -> Waited {
        // What was answered stays so: the channel is asked again until the dispatcher has caught up.
        match answer.try_recv() {
            Ok(Err(_)) => Waited::Refused,
            Ok(Ok(())) if self.dispatch.ledger().applied().position >= self.log.end() => {
                Waited::Done
            }
            Ok(Ok(())) => {
                let (again, answer) = oneshot::channel();
                let _ = again.send(Ok(()));
                Waited::On(answer)
            }
            Err(_) => Waited::On(answer),
        }
    }
}

enum Waited {
    On(Answer),
    Done,
    Refused,
}
