//! The queue actor: the only door to the log.
//!
//! Mailbox: `queue.capacity` requests, plus the outcomes that may be unjournalled and the directory's
//! changes. It is never full: requests are counted before they are sent, and beyond
//! `queue.capacity` or `queue.max_bytes` the answer is 503 at once, at no cost in memory.
//!
//! One commit is under way at a time; what comes in meanwhile fills the next one, so there is group
//! commit without a timer. Outcomes of attempts ride along; on their own they wait a few milliseconds
//! for company, because nobody waits for them.
//!
//! Lost in a crash: requests that were not answered, and outcomes that were not journalled (those
//! attempts are repeated).

mod batch;
pub mod core;
mod event_ids;
mod handle;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context, Handler};

use self::core::{Core, Due, Outcome};
pub use self::handle::{
    Accept, Accepted, CarryOver, ChangeDirectory, Incoming, Limits, Permit, Places, QueueError,
    QueueHandle, Settle,
};
use super::health::{Health, Vital};
use super::mailbox::{Mail, Mailbox};
use super::metrics::{CommitMeter, MailboxMeter};
use super::now_ms;
use crate::domain::ids::EventId;
use crate::store::committer::Committer;
use crate::store::state::State;

/// Outcomes of attempts that may wait to be journalled, over all lanes; at this bound lanes stop
/// sending. It also bounds what is delivered twice after a crash.
pub const MAX_UNJOURNALLED: usize = 4096;
/// Directory changes that may wait. They come one at a time.
const MAX_CHANGES: usize = 64;
/// How long outcomes wait for company.
const OUTCOME_LINGER: Duration = Duration::from_millis(5);
/// How often a full disk is looked at again.
const LOOK_FOR_SPACE_EVERY: Duration = Duration::from_secs(1);

/// The actor; see the module.
pub struct Queue {
    core: Core,
    committer: Committer,
    sync_timeout: Duration,
    meter: CommitMeter,
    _vital: Vital,
    lingering: bool,
}

/// What the actor is built from.
pub struct Parts {
    /// The thread that commits.
    pub committer: Committer,
    /// A commit that takes longer than this will not come back.
    pub sync_timeout: Duration,
    /// Looks up idempotency keys that a checkpoint holds.
    pub state: Arc<State>,
    /// The last event id given.
    pub last_event: Option<EventId>,
    /// Told of refusals and of the end.
    pub health: Health,
    /// Counts commits.
    pub meter: CommitMeter,
    /// Counts what waits in the mailbox.
    pub mailbox: MailboxMeter,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, parts: Parts, limits: Limits) -> QueueHandle {
    let mailbox = parts.mailbox.clone();
    let addr = Queue::start_in_arbiter(arbiter, move |ctx| {
        ctx.set_mailbox_capacity(limits.requests + MAX_UNJOURNALLED + MAX_CHANGES);
        Queue {
            _vital: parts.health.vital("queue actor"),
            core: Core::new(parts.state, parts.last_event, parts.health),
            committer: parts.committer,
            sync_timeout: parts.sync_timeout,
            meter: parts.meter,
            lingering: false,
        }
    });
    QueueHandle::new(Mailbox::new(addr, mailbox), limits)
}

impl Actor for Queue {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // A start on a full disk is a start: it says so, and goes on with what is there.
        self.commit(ctx);
        ctx.run_interval(LOOK_FOR_SPACE_EVERY, |queue, ctx| {
            if queue.core.should_look_for_space() {
                queue.commit(ctx);
            }
        });
    }
}

impl Handler<Mail<Accept>> for Queue {
    type Result = ();

    fn handle(&mut self, mail: Mail<Accept>, ctx: &mut Self::Context) {
        if self.core.accept(mail.open(), now_ms()) {
            self.pump(ctx);
        }
    }
}

impl Handler<Mail<ChangeDirectory>> for Queue {
    type Result = ();

    fn handle(&mut self, mail: Mail<ChangeDirectory>, ctx: &mut Self::Context) {
        self.core.change(mail.open());
        self.pump(ctx);
    }
}

impl Handler<Mail<CarryOver>> for Queue {
    type Result = ();

    fn handle(&mut self, mail: Mail<CarryOver>, ctx: &mut Self::Context) {
        self.core.carry(mail.open());
        self.pump(ctx);
    }
}

impl Handler<Mail<Settle>> for Queue {
    type Result = ();

    fn handle(&mut self, mail: Mail<Settle>, ctx: &mut Self::Context) {
        self.core.settle(mail.open());
        self.pump(ctx);
    }
}

impl Queue {
    /// Begins the next commit when it is due.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        match self.core.due() {
            Due::Now => self.commit(ctx),
            Due::Soon => self.linger(ctx),
            Due::Later => {}
        }
    }

    fn linger(&mut self, ctx: &mut Context<Self>) {
        if !self.lingering {
            self.lingering = true;
            ctx.run_later(OUTCOME_LINGER, |queue, ctx| {
                queue.lingering = false;
                if queue.core.due() != Due::Later {
                    queue.commit(ctx);
                }
            });
        }
    }

    fn commit(&mut self, ctx: &mut Context<Self>) {
        let (commit, under_way) = self.core.begin(now_ms());
        let measured = self.meter.begin(&commit.events);
        let done = tokio::time::timeout(self.sync_timeout, self.committer.submit(commit));
        ctx.spawn(wrap_future::<_, Self>(done).map(|done, queue, ctx| {
            let outcome = match done {
                Ok(Ok(Ok(committed))) => {
                    queue.meter.committed(measured, &committed);
                    Outcome::Tried(Ok(committed))
                }
                Ok(Ok(refused)) => Outcome::Tried(refused),
                Ok(Err(_)) => {
                    Outcome::Lost("the thread that writes the journal is gone".to_owned())
                }
                Err(_) => Outcome::Lost(format!(
                    "a sync of the journal took over {:?}",
                    queue.sync_timeout
                )),
            };
            if queue.core.end(under_way, outcome, now_ms()) {
                queue.pump(ctx);
            }
        }));
    }
}
