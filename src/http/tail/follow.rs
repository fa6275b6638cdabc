//! One reader: follows the log by itself, and is sent what it wants of it.
//!
//! It has nothing but a place in the log. While it keeps up it reads from memory; one that comes back
//! reads on in the journal from where it was, and misses nothing. One that kept up and then takes less
//! than there is would lag further and further: past [`MAX_LAG_BYTES`] it is told how much it missed, and
//! goes on at the end. It holds two chunks at most, and sends each when it is its turn: all readers share
//! what may be sent in a second.
//!
//! Whether its key is still good is asked before each chunk.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use futures_util::future::{Either, select};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::sse;
use super::steps::{Reader, json};
use super::wanted::Wanted;
use crate::actors::auth::Principal;
use crate::actors::tail::Seat;
use crate::domain::permission::Permission;
use crate::http::error::ApiError;
use crate::http::{Relay, as_of_now};
use crate::store::error::StoreError;
use crate::store::log::LogRecord;

/// What is sent at once, give or take a step.
const CHUNK_BYTES: usize = 32 << 10;
/// How far a reader may lag that had caught up: half of what is in memory.
const MAX_LAG_BYTES: u64 = 4 << 20;
/// How long nothing is sent before a comment is.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader may take nothing. It can come back.
const MAX_STALL: Duration = Duration::from_mins(1);
/// Records between two looks at whether others want to run.
const RECORDS_A_TURN: usize = 16;

/// The next step that a reader wants to see: a record, or what follows one, and a step in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// A position in the log.
    pub position: u64,
    /// A step of the record there.
    pub step: u64,
}

impl Mark {
    /// Whatever comes after the reader has begun.
    pub const NOW: Self = Self {
        position: u64::MAX,
        step: 0,
    };
}

/// See the module.
pub struct Follower {
    /// Everything there is to ask.
    pub relay: Data<Relay>,
    /// Who reads.
    pub who: Principal,
    /// What he wants to see.
    pub wanted: Wanted,
    /// Where he stands.
    pub at: Mark,
    /// Whether he goes on with what happens from now on.
    pub follows: bool,
    /// Where chunks go.
    pub out: mpsc::Sender<Bytes>,
    /// His place.
    pub seat: Seat,
}

/// How much a reader missed, and with what he can come back for it.
#[derive(Serialize)]
struct Missed {
    /// Events and attempts of the account; `null` where that is not known.
    missed: Option<u64>,
    /// The `Last-Event-ID` to come back with for them; `null` where they are gone.
    after: Option<String>,
}

/// There is no use in going on.
struct Over;

/// What happened to a reader's steps so far.
struct Progress {
    text: String,
    sent_at: Instant,
    has_caught_up: bool,
    /// The census of the account where the reader stands; only told of once it has caught up.
    census: u64,
}

impl Follower {
    /// Runs until the reader goes, is sent home, or has seen what there is.
    pub async fn run(mut self) {
        let mut ends = self.relay.log.watch();
        let mut progress = Progress {
            text: String::new(),
            sent_at: Instant::now(),
            has_caught_up: false,
            census: 0,
        };
        let mut going = self.begin(&mut progress).await;
        while going.is_ok() {
            ends.mark_unchanged();
            going = self.turn(&mut progress, &mut ends).await;
        }
    }

    async fn begin(&mut self, progress: &mut Progress) -> Result<(), Over> {
        let (end, census) = self.relay.log.census(self.who.account());
        if self.at == Mark::NOW {
            self.at = Mark {
                position: end,
                step: 0,
            };
            progress.has_caught_up = true;
            progress.census = census;
        }
        let id = self.id(self.at)?;
        sse::hello(&mut progress.text, &id);
        self.flush(progress).await
    }

    /// Reads on to the end, and waits for more.
    async fn turn(
        &mut self,
        progress: &mut Progress,
        ends: &mut watch::Receiver<u64>,
    ) -> Result<(), Over> {
        self.read_on(progress).await?;
        self.flush(progress).await?;
        if !self.follows {
            return Err(Over);
        }
        let quiet_until = progress.sent_at + KEEP_ALIVE;
        if !self.more(ends, quiet_until).await? {
            sse::comment(&mut progress.text);
            return self.flush(progress).await;
        }
        // What happens together is sent together.
        sleep_until(self.seat.next_tick()).await;
        Ok(())
    }

    /// Waits until there is more in the log; `false` when the time is up.
    async fn more(
        &mut self,
        ends: &mut watch::Receiver<u64>,
        until: Instant,
    ) -> Result<bool, Over> {
        let more = pin!(ends.changed());
        let (sent_home, gone) = (pin!(self.seat.closed()), pin!(self.out.closed()));
        match timeout_at(until, select(more, select(sent_home, gone))).await {
            Err(_) => Ok(false),
            Ok(Either::Left((Ok(()), _))) => Ok(true),
            Ok(_) => Err(Over),
        }
    }

    /// Reads up to the log's end.
    async fn read_on(&mut self, progress: &mut Progress) -> Result<(), Over> {
        let mut records = 0;
        while let Some(record) = self.next_record(progress)? {
            self.tell(&record, progress)?;
            if progress.text.len() >= CHUNK_BYTES {
                self.flush(progress).await?;
                self.keep_up(progress).await?;
            }
            records += 1;
            if records % RECORDS_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        let (end, census) = self.relay.log.census(self.who.account());
        if self.at.position >= end {
            progress.has_caught_up = true;
            progress.census = census;
        }
        Ok(())
    }

    fn next_record(&mut self, progress: &mut Progress) -> Result<Option<Arc<LogRecord>>, Over> {
        loop {
            match self.relay.log.next(self.at.position) {
                Ok(record) => return Ok(record),
                // Retention was faster.
                Err(StoreError::Gone { .. }) => {
                    self.at = Mark {
                        position: self.relay.log.start(),
                        step: 0,
                    };
                    self.tell_missed(None, None, progress)?;
                }
                Err(error) => {
                    log::error!("the log cannot be read for the tail: {error}");
                    return Err(Over);
                }
            }
        }
    }

    /// Writes what a record holds for the reader.
    fn tell(&mut self, record: &LogRecord, progress: &mut Progress) -> Result<(), Over> {
        let reader = Reader {
            who: &self.who,
            wanted: &self.wanted,
            log: &self.relay.log,
            view: self.relay.directory.view(),
            told: &self.relay.told,
            cursors: &self.relay.cursors,
        };
        // What follows a record may stand further on, in the next segment.
        let from = if record.position == self.at.position {
            self.at.step
        } else {
            0
        };
        let steps = reader
            .steps(record, from)
            .map_err(|error| unsealed(&error))?;
        progress.census += steps.of_account;
        for message in &steps.wanted {
            progress.text.push_str(message.text());
        }
        self.at = Mark {
            position: record.next,
            step: 0,
        };
        Ok(())
    }

    /// Leaves out what a reader that had caught up is too slow for, and tells him.
    async fn keep_up(&mut self, progress: &mut Progress) -> Result<(), Over> {
        let lag_bytes = self.relay.log.end().saturating_sub(self.at.position);
        if !progress.has_caught_up || lag_bytes <= MAX_LAG_BYTES {
            return Ok(());
        }
        // Those who lag go on from one place, so that what they are told is made once.
        sleep_until(self.seat.next_tick()).await;
        let (end, census) = self.relay.log.census(self.who.account());
        let is_bound = self.who.bound_to().is_some();
        // Others' share of it is not for who sees one integration.
        let missed = (!is_bound).then(|| census.saturating_sub(progress.census));
        let after = self.id(self.at)?;
        self.at = Mark {
            position: end,
            step: 0,
        };
        progress.census = census;
        self.tell_missed(missed, Some(after), progress)
    }

    fn tell_missed(
        &self,
        missed: Option<u64>,
        after: Option<String>,
        progress: &mut Progress,
    ) -> Result<(), Over> {
        let (id, data) = (self.id(self.at)?, json(&Missed { missed, after }));
        sse::message(&mut progress.text, "tail.missed", &id, &data);
        Ok(())
    }

    /// Sends what was written, if the reader may still see it.
    async fn flush(&mut self, progress: &mut Progress) -> Result<(), Over> {
        if progress.text.is_empty() {
            return Ok(());
        }
        sleep_until(self.seat.turn(progress.text.len())).await;
        let who = as_of_now(&self.relay, &self.who, Permission::EventsRead);
        self.who = who.ok_or(Over)?;
        let chunk = Bytes::from(std::mem::take(&mut progress.text));
        let sent = pin!(timeout(MAX_STALL, self.out.send(chunk)));
        let sent_home = pin!(self.seat.closed());
        match select(sent, sent_home).await {
            Either::Left((Ok(Ok(())), _)) => {
                progress.sent_at = Instant::now();
                Ok(())
            }
            _ => Err(Over),
        }
    }

    /// What a reader comes back with.
    fn id(&self, mark: Mark) -> Result<String, Over> {
        let numbers = [mark.position, mark.step];
        let id = self.relay.cursors.seal(self.who.account(), &numbers);
        id.map_err(|error| unsealed(&error))
    }
}

fn unsealed(error: &ApiError) -> Over {
    log::error!("a place in the log cannot be sealed: {error}");
    Over
}
