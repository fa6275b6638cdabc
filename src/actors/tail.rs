//! Where those run who read along: a thread of their own, and how many there may be.
//!
//! Shared, not an actor: each reader is a task that follows the log by itself, and whatever it has not
//! read yet is in the log, so nothing has to be kept for it. The thread has a low priority: a relay that
//! is busy takes events in and sends them first, and those who watch hear of it a little later.
//!
//! Lost in a crash: nothing; a reader goes on from the last step that it saw.

use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Unavailable;

/// Readers at a time.
pub const MAX_READERS: usize = 512;
/// How much less than others the thread gets of a processor that everybody wants (see `nice(1)`): a few
/// per cent.
const NICENESS: i32 = 15;
/// How often a reader is sent something at most, unless it is a lot.
pub const LINGER: Duration = Duration::from_millis(100);

/// See the module. Clones share the thread and the bound.
#[derive(Debug, Clone)]
pub struct Tails {
    thread: ArbiterHandle,
    room: Arc<Semaphore>,
    closed: Arc<watch::Sender<bool>>,
}

/// One reader's place.
#[derive(Debug)]
pub struct Seat {
    closed: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
}

impl Tails {
    /// Starts the thread.
    pub fn start() -> Self {
        let thread = Arbiter::new().handle();
        thread.spawn(async {
            // Of this thread alone, on Linux.
            if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
                log::warn!("those who tail run at the priority of everybody else: {error}");
            }
        });
        Self {
            thread,
            room: Arc::new(Semaphore::new(MAX_READERS)),
            closed: Arc::new(watch::Sender::new(false)),
        }
    }

    /// A place for one more reader.
    pub fn seat(&self) -> Result<Seat, Unavailable> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        Ok(Seat {
            closed: self.closed.subscribe(),
            _room: room.map_err(|_| Unavailable::Busy)?,
        })
    }

    /// Has a reader run.
    pub fn run(
        &self,
        reader: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Unavailable> {
        let spawned = self.thread.spawn(reader);
        spawned.then_some(()).ok_or(Unavailable::Stopped)
    }

    /// Sends all readers home: no stop waits for whoever watches.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }
}

impl Seat {
    /// Ends when all readers are sent home.
    pub async fn closed(&mut self) {
        // An error means that there is nobody left who could.
        let _ = self.closed.wait_for(|closed| *closed).await;
    }
}
