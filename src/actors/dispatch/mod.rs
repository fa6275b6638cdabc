//! The dispatch actor: reads the log in order, and hands each lane what it wants.
//!
//! Mailbox: 256 questions; full is 503. What it reads is not in its mailbox but in the log: it hears
//! only of the latest end, and reads on from where it stands, from memory when it keeps up and from
//! the journal when it does not. Every record goes through the ledger first; then the lanes are told
//! what that means for them.
//!
//! A lane is offered at most [`WINDOW`](super::delivery::WINDOW) deliveries at a time, counted until their outcome comes back
//! through the log. Everything else stays in the ledger: a lane that cannot keep up is *behind*, and
//! is fed from there, in order, as its window empties. So a backlog costs no memory.
//!
//! Lost in a crash: nothing; the ledger is rebuilt from its last checkpoint and the log.

mod handle;
mod lanes;

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context, Handler, Message, SpawnHandle,
    StreamHandler,
};
use tokio::sync::oneshot;

use self::handle::{Ask, Save};
pub use self::handle::{DispatchError, DispatchHandle};
pub use self::lanes::Home;
use self::lanes::Lanes;
use super::delivery::Shared;
use super::health::{Health, Vital};
use super::now_ms;
use crate::store::error::StoreError;
use crate::store::ledger::{Effect, Ledger};
use crate::store::log::Log;
use crate::store::state::State;
use crate::store::state::checkpoint::{Checkpointer, MAX_CHECKPOINT_BYTES};

const MAILBOX: usize = 256;
/// Records applied before other messages get their turn.
const RECORDS_A_TURN: usize = 32;
/// How often what changed is checkpointed, if that is not due earlier by its size.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How soon an offer that was not taken is sent again.
const SEND_AGAIN_AFTER: Duration = Duration::from_millis(1);
/// Rows removed by one sweep, and the wait before the next one while there is more.
const SWEEP_ROWS: usize = 1000;
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
    /// Told of the end.
    pub health: Health,
}

/// The actor; see the module.
#[derive(Debug)]
pub struct Dispatch {
    log: Arc<Log>,
    ledger: Ledger,
    lanes: Lanes,
    state: Arc<State>,
    checkpointer: Checkpointer,
    sync_timeout: Duration,
    health: Health,
    _vital: Vital,
    /// The timer of the next retry, and when it rings.
    armed: Option<(u64, SpawnHandle)>,
    going_on: bool,
    sending_again: bool,
    sweeping: bool,
    savers: Vec<oneshot::Sender<()>>,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, parts: Parts) -> DispatchHandle {
    let addr = Dispatch::start_in_arbiter(arbiter, move |ctx| {
        ctx.set_mailbox_capacity(MAILBOX);
        Dispatch {
            log: Arc::clone(&parts.shared.log),
            ledger: parts.ledger,
            lanes: Lanes::new(
                parts.homes,
                parts.shared,
                DispatchHandle {
                    addr: ctx.address(),
                },
            ),
            state: parts.state,
            checkpointer: parts.checkpointer,
            sync_timeout: parts.sync_timeout,
            _vital: parts.health.vital("dispatch actor"),
            health: parts.health,
            armed: None,
            going_on: false,
            sending_again: false,
            sweeping: false,
            savers: Vec::new(),
        }
    });
    DispatchHandle { addr }
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
        for subscription in self.ledger.directory().subscriptions() {
            self.lanes.resume(subscription.id);
        }
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

impl Handler<Ask> for Dispatch {
    type Result = ();

    fn handle(&mut self, Ask { answer_with }: Ask, ctx: &mut Self::Context) {
        // Whoever was just told that an event is on disk expects to find it.
        self.turn(ctx);
        answer_with(&self.ledger);
    }
}

impl Handler<Save> for Dispatch {
    type Result = ();

    fn handle(&mut self, Save { reply }: Save, ctx: &mut Self::Context) {
        self.turn(ctx);
        self.savers.push(reply);
        self.save(ctx);
    }
}

impl Dispatch {
    /// Reads on in the log, for a bounded while.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        let mut effects = Vec::new();
        let mut more = true;
        for _ in 0..RECORDS_A_TURN {
            if self.is_full(ctx) {
                // The end of the checkpoint that is under way brings us back.
                more = false;
            }
            if !more {
                break;
            }
            more = self
                .or_fail(|dispatch| dispatch.step(&mut effects))
                .unwrap_or(false);
        }
        self.send_offers(ctx);
        self.arm(ctx);
        if more && !self.going_on {
            self.going_on = true;
            ctx.notify(GoOn);
        }
    }

    /// Applies the next record and takes note of what it means. `false` at the end of the log.
    fn step(&mut self, effects: &mut Vec<Effect>) -> Result<bool, StoreError> {
        let Some(record) = self.log.next(self.ledger.applied().position)? else {
            return Ok(false);
        };
        self.ledger.apply(&record, effects)?;
        for effect in effects.drain(..) {
            self.lanes.note(&effect);
        }
        Ok(true)
    }

    /// Memory is bounded by two checkpoints: one that is being written, one that fills.
    fn is_full(&mut self, ctx: &mut Context<Self>) -> bool {
        if self.ledger.unsaved_bytes() >= MAX_CHECKPOINT_BYTES {
            self.save(ctx);
        }
        self.ledger.unsaved_bytes() >= MAX_CHECKPOINT_BYTES
    }

    fn send_offers(&mut self, ctx: &mut Context<Self>) {
        self.or_fail(|dispatch| dispatch.lanes.send_offers(&dispatch.ledger, now_ms()));
        if self.lanes.has_unsent() && !self.sending_again {
            self.sending_again = true;
            ctx.run_later(SEND_AGAIN_AFTER, |dispatch, ctx| {
                dispatch.sending_again = false;
                dispatch.send_offers(ctx);
            });
        }
    }

    /// Sees to it that the next retry is noticed when it is due.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(due_ms) = self.lanes.next_alarm_ms() else {
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
            dispatch.lanes.ring(now_ms());
            dispatch.send_offers(ctx);
            dispatch.arm(ctx);
        });
        self.armed = Some((due_ms, timer));
    }

    /// Removes rows that nobody needs, a few at a time.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        if self.sweeping || self.is_full(ctx) {
            return;
        }
        let more = self.or_fail(|dispatch| {
            let start = dispatch.log.start();
            dispatch.ledger.sweep(now_ms(), start, SWEEP_ROWS)
        });
        if more == Some(true) {
            self.sweeping = true;
            ctx.run_later(SWEEP_PAUSE, |dispatch, ctx| {
                dispatch.sweeping = false;
                dispatch.sweep(ctx);
            });
        }
    }

    /// Begins a checkpoint, unless one is under way or there is nothing to save.
    fn save(&mut self, ctx: &mut Context<Self>) {
        if self.ledger.is_saving() {
            return;
        }
        let position = self.ledger.applied().position;
        if position == self.state.saved_to() && self.ledger.unsaved_bytes() == 0 {
            tell(std::mem::take(&mut self.savers));
            return;
        }
        let Some(rows) = self.or_fail(|dispatch| dispatch.ledger.freeze()) else {
            return;
        };
        let savers = std::mem::take(&mut self.savers);
        let saved = tokio::time::timeout(self.sync_timeout, self.checkpointer.submit(rows));
        ctx.spawn(
            wrap_future::<_, Self>(saved).map(move |saved, dispatch, ctx| {
                let problem = match saved {
                    Ok(Ok(Ok(()))) => {
                        dispatch.ledger.thaw();
                        dispatch.state.note_saved(position);
                        tell(savers);
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
    fn or_fail<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Option<T> {
        work(self)
            .map_err(|error| {
                if error.is_damaged_state() {
                    self.state.condemn();
                }
                self.health.fail(error.to_string());
            })
            .ok()
    }
}

fn tell(savers: Vec<oneshot::Sender<()>>) {
    for saver in savers {
        // Whoever asked may have stopped waiting.
        let _ = saver.send(());
    }
}
