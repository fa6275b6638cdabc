//! Where those run who read along: a thread of their own, and how many there may be.
//!
//! Shared, not an actor: each reader is a task that follows the log by itself, and whatever it has not
//! read yet is in the log, so nothing has to be kept for it. The thread has a low priority: a relay that
//! is busy takes events in and sends them first, and those who watch hear of it a little later.
//!
//! Lost in a crash: nothing; a reader goes on from the last step that it saw.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::Unavailable;

/// Readers at a time.
pub const MAX_READERS: usize = 512;
/// How much less than others the thread gets of a processor that everybody wants (see `nice(1)`): a few
/// per cent.
const NICENESS: i32 = 15;
/// What all readers together are sent in a second, so that hundreds who want everything of a busy relay do
/// not take what it needs to take events in. One alone gets more than fifty thousand steps a second.
pub const MAX_BYTES_PER_SECOND: u32 = 16 << 20;
/// How often a reader is sent something at most, unless it is a lot: all of them at the same moments.
const TICK: Duration = Duration::from_millis(100);

/// See the module. Clones share the thread and the bound.
#[derive(Debug, Clone)]
pub struct Tails {
    thread: ArbiterHandle,
    room: Arc<Semaphore>,
    closed: Arc<watch::Sender<bool>>,
    clock: Arc<Clock>,
}

/// When readers are sent something.
#[derive(Debug)]
struct Clock {
    started: Instant,
    /// When the next of all readers may be sent something.
    next_turn: Mutex<Instant>,
}

/// One reader's place.
#[derive(Debug)]
pub struct Seat {
    closed: watch::Receiver<bool>,
    clock: Arc<Clock>,
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
            clock: Arc::new(Clock {
                started: Instant::now(),
                next_turn: Mutex::new(Instant::now()),
            }),
        }
    }

    /// A place for one more reader.
    pub fn seat(&self) -> Result<Seat, Unavailable> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        Ok(Seat {
            closed: self.closed.subscribe(),
            clock: Arc::clone(&self.clock),
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
    /// When this reader may be sent so many bytes: after all that others were promised before.
    pub fn turn(&self, bytes: usize) -> Instant {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let takes = Duration::from_secs(1) * bytes / MAX_BYTES_PER_SECOND;
        let next = self.clock.next_turn.lock();
        let mut next = next.unwrap_or_else(PoisonError::into_inner);
        let turn = Instant::now().max(*next);
        *next = turn + takes;
        turn
    }

    /// When all readers look again.
    pub fn next_tick(&self) -> Instant {
        let ticks = self.clock.started.elapsed().as_millis() / TICK.as_millis() + 1;
        self.clock.started + TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// Ends when all readers are sent home.
    pub async fn closed(&mut self) {
        // An error means that there is nobody left who could.
        let _ = self.closed.wait_for(|closed| *closed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn all_readers_together_are_sent_so_much_a_second_and_look_at_the_same_moments() {
        let tails = Tails::start();
        let (one, other) = (tails.seat().unwrap(), tails.seat().unwrap());
        let first = one.turn(MAX_BYTES_PER_SECOND as usize / 4);
        let second = other.turn(MAX_BYTES_PER_SECOND as usize);
        assert_eq!(second - first, Duration::from_millis(250));
        assert_eq!(one.turn(1) - second, Duration::from_secs(1));

        let now = Instant::now();
        let ticks = [one.next_tick(), other.next_tick()];
        for tick in ticks {
            assert!(tick > now, "the next one is still to come");
            let since_start = tick - tails.clock.started;
            assert_eq!(since_start.as_nanos() % TICK.as_nanos(), 0);
        }
    }
}
