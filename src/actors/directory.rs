//! The directory actor: the only one that changes who there is.
//!
//! Mailbox: 64 changes; full is 503. One change at a time is decided on the directory as it stands,
//! journalled and synced by the queue actor, applied to the shared view, and only then answered: a
//! request that begins after the answer sees it. The shared view is what the hot path reads; nobody
//! but this actor writes it.
//!
//! Lost in a crash: changes that were not answered.

mod view;

pub use self::view::View;

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context, Handler};
use tokio::sync::oneshot;

use super::Unavailable;
use super::health::{Health, Vital};
use super::mailbox::{Mail, Mailbox};
use super::metrics::MailboxMeter;
use super::queue::{QueueError, QueueHandle};
use crate::domain::audit::Deed;
use crate::domain::directory::{Change, Directory};

/// The target of lines that tell what was done.
const TARGET: &str = "audit";
const MAILBOX: usize = 64;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// The directory as it stands does not allow it.
    #[error("{0}")]
    Refused(E),
    /// It could not be journalled.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The actor does not take more.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Reads and changes the directory.
#[derive(Debug, Clone)]
pub struct DirectoryHandle {
    mailbox: Mailbox<DirectoryActor>,
    view: Arc<View>,
}

type Decide = Box<dyn FnOnce(&Directory) -> Vec<Change> + Send>;

impl DirectoryHandle {
    /// The directory as all may read it.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Decides on the directory as it stands, and makes what was decided durable before it returns.
    pub async fn change<T, E>(
        &self,
        decide: impl FnOnce(&Directory) -> Result<(Vec<Change>, T), E> + Send + 'static,
    ) -> Result<T, ChangeError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (tell, decision) = oneshot::channel();
        let decide: Decide = Box::new(move |directory| match decide(directory) {
            Ok((changes, value)) => {
                let _ = tell.send(Ok(value));
                changes
            }
            Err(refusal) => {
                let _ = tell.send(Err(refusal));
                Vec::new()
            }
        });
        let (reply, done) = oneshot::channel();
        self.mailbox
            .post(Make { decide, reply })
            .map_err(Unavailable::from)?;
        done.await.map_err(|_| Unavailable::Stopped)??;
        decision
            .await
            .map_err(|_| Unavailable::Stopped)?
            .map_err(ChangeError::Refused)
    }
}

struct DirectoryActor {
    view: Arc<View>,
    queue: QueueHandle,
    _vital: Vital,
}

struct Make {
    decide: Decide,
    reply: oneshot::Sender<Result<(), QueueError>>,
}

/// Starts the actor.
pub fn start(
    arbiter: &ArbiterHandle,
    directory: Directory,
    queue: QueueHandle,
    health: &Health,
    meter: MailboxMeter,
) -> DirectoryHandle {
    let vital = health.vital("directory actor");
    let view = Arc::new(View::new(directory));
    let shared = Arc::clone(&view);
    let addr = DirectoryActor::start_in_arbiter(arbiter, move |ctx| {
        ctx.set_mailbox_capacity(MAILBOX);
        DirectoryActor {
            view: shared,
            queue,
            _vital: vital,
        }
    });
    let mailbox = Mailbox::new(addr, meter);
    DirectoryHandle { mailbox, view }
}

impl Actor for DirectoryActor {
    type Context = Context<Self>;
}

impl Handler<Mail<Make>> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, mail: Mail<Make>, ctx: &mut Self::Context) {
        let Make { decide, reply } = mail.open();
        let changes = decide(&self.view.read());
        let queue = self.queue.clone();
        let journalled = async move {
            if changes.is_empty() {
                return (Ok(()), changes);
            }
            (queue.change(changes.clone()).await, changes)
        };
        // No other change is decided until this one is in the view.
        ctx.wait(
            wrap_future::<_, Self>(journalled).map(|(result, changes), actor, _| {
                if result.is_ok() {
                    for change in &changes {
                        actor.view.apply(change);
                        tell(change);
                    }
                }
                let _ = reply.send(result);
            }),
        );
    }
}

/// Says in the log what was done.
fn tell(change: &Change) {
    if let Change::Audited(deed) = change {
        let Deed {
            account,
            by,
            action,
            target,
            ..
        } = &**deed;
        log::info!(target: TARGET, account:%, by:%, id:% = target; "{}", action.name());
    }
}
