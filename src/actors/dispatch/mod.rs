//! The dispatch actor: reads the log in order, and hands each lane what it wants.
//!
//! Mailbox: 256 questions; full is 503. What it reads is not in its mailbox but in the log: it hears
//! only of the latest end, and reads on from where it stands, from memory when it keeps up and from
//! the journal when it does not. Every record goes through the ledger first; then the lanes are told
//! what that means for them.
//!
//! A lane is offered at most [`WINDOW`] deliveries at a time, counted until their outcome comes back
//! through the log. Everything else stays in the ledger: a lane that cannot keep up is *behind*, and
//! is fed from there, in order, as its window empties. So a backlog costs no memory.
//!
//! Lost in a crash: nothing; the ledger is rebuilt from its last checkpoint and the log.

pub mod core;
mod handle;
pub mod lanes;
mod outlet;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context, Handler, Message, SpawnHandle,
    StreamHandler,
};

use self::core::{Bounds, Checkpoint, Core};
use self::handle::{Ask, Save};
pub use self::handle::{DispatchError, DispatchHandle};
pub use self::lanes::Instruction;
use self::outlet::Actors;
use self::watch::{Patience, Telling, Watch};
use super::announce::Announcer;
use super::delivery::{Home, Shared, WINDOW};
use super::directory::DirectoryHandle;
use super::health::{Health, Vital};
use super::mailbox::Mail;
use super::metrics::{Mailed, Metrics};
use super::{now_ms, pause};
use crate::store::error::StoreError;
use crate::store::ledger::Ledger;
use crate::store::log::Log;
use crate::store::state::State;
use crate::store::state::checkpoint::Checkpointer;

const MAILBOX: usize = 256;
/// How often what changed is checkpointed, if that is not due earlier by its size.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How soon an offer that was not taken is sent again.
const SEND_AGAIN_AFTER: Duration = Duration::from_millis(1);
/// How often backlogs are looked at for how long they have waited.
const LOOK_FOR_OLD_EVERY: Duration = Duration::from_secs(5);
/// The wait between two sweeps while there is more.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

#[derive(Message)]
#[rtype(result = "()")]
struct GoOn;

/// What the actor is built from.
#[derive(Debug)]
pub struct Parts {
    /// What the log adds up to so far.
    pub ledger: Ledger,
    /// Told how far checkpoints reach.
    pub state: Arc<State>,
    /// Writes checkpoints.
    pub checkpointer: Checkpointer,
    /// A checkpoint that takes longer than this will not come back: sled can hang after a failed write.
    pub sync_timeout: Duration,
    /// What lanes need.
    pub shared: Shared,
    /// Where lanes run; not empty.
    pub homes: Vec<Home>,
    /// When a subscription is not well.
    pub patience: Patience,
    /// Tells of it.
    pub announcer: Announcer,
    /// Told of the end.
    pub health: Health,
}

/// The actor; see the module.
#[derive(Debug)]
pub struct Dispatch {
    core: Core<Actors>,
    log: Arc<Log>,
    checkpointer: Checkpointer,
    sync_timeout: Duration,
    directory: DirectoryHandle,
    announcer: Announcer,
    health: Health,
    metrics: Metrics,
    _vital: Vital,
    /// The timer of the next retry, and when it rings.
    armed: Option<(u64, SpawnHandle)>,
    going_on: bool,
    sending_again: bool,
    sweeping: bool,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, parts: Parts) -> DispatchHandle {
    let meter = parts.shared.metrics.mailbox(Mailed::Dispatch);
    let own_meter = meter.clone();
    let addr = Dispatch::start_in_arbiter(arbiter, move |ctx| {
        ctx.set_mailbox_capacity(MAILBOX);
        let log = Arc::clone(&parts.shared.log);
        let own = DispatchHandle::new(ctx.address(), own_meter);
        let directory = parts.shared.directory.clone();
        let metrics = parts.shared.metrics.clone();
        let lanes = Actors::new(parts.homes, parts.shared, own);
        let bounds = Bounds::with_window(WINDOW);
        let watch = Watch::new(parts.patience);
        let (ledger, state) = (parts.ledger, parts.state);
        Dispatch {
            core: Core::new(Arc::clone(&log), ledger, state, lanes, bounds, watch),
            log,
            directory,
            announcer: parts.announcer,
            checkpointer: parts.checkpointer,
            sync_timeout: parts.sync_timeout,
            _vital: parts.health.vital("dispatch actor"),
            health: parts.health,
            metrics,
            armed: None,
            going_on: false,
            sending_again: false,
            sweeping: false,
        }
    });
    DispatchHandle::new(addr, meter)
}

impl Actor for Dispatch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let ends = futures_util::stream::unfold(self.log.watch(), |mut ends| async {
            ends.changed().await.ok().map(|()| ((), ends))
        });
        ctx.add_stream(ends);
        ctx.run_interval(CHECKPOINT_EVERY, |dispatch, ctx| {
            dispatch.sweep(ctx);
            dispatch.save(ctx);
        });
        ctx.run_interval(LOOK_FOR_OLD_EVERY, |dispatch, _| {
            dispatch.look();
        });
        let directory = self.core.ledger().directory();
        self.metrics.books().note_subscriptions(directory);
        self.turn(ctx);
    }
}

impl StreamHandler<()> for Dispatch {
    fn handle(&mut self, (): (), ctx: &mut Self::Context) {
        self.turn(ctx);
    }
}

impl Handler<GoOn> for Dispatch {
    type Result = ();

    fn handle(&mut self, _: GoOn, ctx: &mut Self::Context) {
        self.going_on = false;
        self.turn(ctx);
    }
}

impl Handler<Mail<Ask>> for Dispatch {
    type Result = ();

    fn handle(&mut self, mail: Mail<Ask>, ctx: &mut Self::Context) {
        let Ask { answer_with } = mail.open();
        // Whoever was just told that an event is on disk expects to find it.
        self.turn(ctx);
        answer_with(self.core.ledger());
    }
}

impl Handler<Mail<Save>> for Dispatch {
    type Result = ();

    fn handle(&mut self, mail: Mail<Save>, ctx: &mut Self::Context) {
        let Save { reply } = mail.open();
        self.turn(ctx);
        self.core.tell_when_saved(reply);
        self.save(ctx);
    }
}

impl Dispatch {
    /// Reads on in the log, for a bounded while.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        let Some(turn) = self.or_fail(|core| core.turn(now_ms())) else {
            return;
        };
        self.write(turn.checkpoint, ctx);
        self.send_again_later(ctx);
        self.arm(ctx);
        self.tell();
        if turn.more && !self.going_on {
            self.going_on = true;
            ctx.notify(GoOn);
        }
    }

    /// Looks at how subscriptions stand.
    fn look(&mut self) {
        let oldest_ms = self.core.look_for_old_backlogs(now_ms());
        self.metrics.books().note_oldest(oldest_ms);
        self.metrics
            .look_for_forgotten(self.core.ledger(), now_ms());
        let directory = self.core.ledger().directory();
        self.metrics.books().note_subscriptions(directory);
        self.metrics.accounts().keep_those_of(directory);
        self.tell();
    }

    /// Has done what was found out about subscriptions that are not well.
    fn tell(&mut self) {
        for telling in self.core.tellings() {
            match telling {
                Telling::Pause(id, reason) => {
                    let directory = self.directory.clone();
                    actix::spawn(async move { pause::pause(&directory, id, reason).await });
                }
                Telling::Tell(id, news, number) => {
                    actix::spawn(self.announcer.clone().tell(id, news, number));
                }
            }
        }
    }

    fn send_again_later(&mut self, ctx: &mut Context<Self>) {
        if self.core.has_unsent() && !self.sending_again {
            self.sending_again = true;
            ctx.run_later(SEND_AGAIN_AFTER, |dispatch, ctx| {
                dispatch.sending_again = false;
                dispatch.or_fail(|core| core.send_offers(now_ms()));
                dispatch.send_again_later(ctx);
            });
        }
    }

    /// Sees to it that the next retry is noticed when it is due.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let next_alarm_ms = self.core.next_alarm_ms();
        let (open, applied) = (
            self.core.ledger().counts_of_all(),
            self.core.ledger().applied(),
        );
        self.metrics
            .books()
            .note(open, applied.position, next_alarm_ms);
        let Some(due_ms) = next_alarm_ms else {
            return;
        };
        if let Some((armed_ms, timer)) = self.armed {
            if armed_ms <= due_ms {
                return;
            }
            ctx.cancel_future(timer);
        }
        let wait = Duration::from_millis(due_ms.saturating_sub(now_ms()));
        let timer = ctx.run_later(wait, |dispatch, ctx| {
            dispatch.armed = None;
            dispatch.or_fail(|core| core.ring(now_ms()));
            dispatch.send_again_later(ctx);
            dispatch.arm(ctx);
        });
        self.armed = Some((due_ms, timer));
    }

    /// Removes rows that nobody needs, a few at a time.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        if self.sweeping {
            return;
        }
        if self.core.is_full() {
            self.save(ctx);
        }
        if self.or_fail(|core| core.sweep(now_ms())) == Some(true) {
            self.sweeping = true;
            ctx.run_later(SWEEP_PAUSE, |dispatch, ctx| {
                dispatch.sweeping = false;
                dispatch.sweep(ctx);
            });
        }
    }

    fn save(&mut self, ctx: &mut Context<Self>) {
        let checkpoint = self.or_fail(Core::save).flatten();
        self.write(checkpoint, ctx);
    }

    /// Has a checkpoint written, if there is one.
    fn write(&mut self, checkpoint: Option<Checkpoint>, ctx: &mut Context<Self>) {
        let Some(checkpoint) = checkpoint else {
            return;
        };
        let saved = self.checkpointer.submit(Arc::clone(&checkpoint.rows));
        let saved = tokio::time::timeout(self.sync_timeout, saved);
        ctx.spawn(
            wrap_future::<_, Self>(saved).map(move |saved, dispatch, ctx| {
                let problem = match saved {
                    Ok(Ok(Ok(()))) => {
                        dispatch.core.saved(checkpoint);
                        return dispatch.turn(ctx);
                    }
                    Ok(Ok(Err(error))) => error.to_string(),
                    Ok(Err(_)) => "the thread that writes checkpoints is gone".to_owned(),
                    Err(_) => format!("a checkpoint took over {:?}", dispatch.sync_timeout),
                };
                dispatch.health.fail(problem);
            }),
        );
    }

    /// Nothing can be dispatched from a store that cannot be read: the first error ends the process.
    fn or_fail<T>(
        &mut self,
        work: impl FnOnce(&mut Core<Actors>) -> Result<T, StoreError>,
    ) -> Option<T> {
        work(&mut self.core)
            .map_err(|error| {
                if error.is_damaged_state() {
                    self.core.state().condemn();
                }
                self.health.fail(error.to_string());
            })
            .ok()
    }
}
