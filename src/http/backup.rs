//! `POST /local/backup`: a backup of the running relay, for the local operator alone.
//!
//! One at a time. The archive is read by a thread of its own, a block at a time, only as fast as it is
//! taken and never faster than `MAX_BYTES_PER_SECOND`, so it costs neither memory nor the time of those
//! who send events. Whoever takes nothing for
//! `MAX_STALL` is given up, because a backup keeps the journal from being shortened. What was broken
//! off lacks its trailer, and so is noticed.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::error::ApiError;
use super::{Answer, Relay, blocking};
use crate::actors::now_ms;
use crate::store::archive::Backup;

/// Blocks that are read ahead.
const BLOCKS_AHEAD: usize = 2;
/// How fast it may go. At full speed it takes most of a core and of a disk: on two cores the slowest
/// hundredth of requests then took five times as long, at this speed as long as without a backup.
const MAX_BYTES_PER_SECOND: u32 = 64 << 20;
/// How long the reader of a backup may take nothing.
const MAX_STALL: Duration = Duration::from_mins(5);

/// Whose turn it is to make a backup.
#[derive(Debug, Clone)]
pub struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Streams an archive of everything that is synced by now.
pub async fn make(relay: Data<Relay>) -> Answer {
    let busy = |_| ApiError::Conflict("A backup is being made; one at a time".to_owned());
    let turn = Arc::clone(&relay.backup.0)
        .try_acquire_owned()
        .map_err(busy)?;
    let log = Arc::clone(&relay.log);
    let key = Some(relay.vault.current());
    let backup = blocking(move || Backup::of_running(&log, key, now_ms())).await?;
    let (blocks, taken) = mpsc::channel(BLOCKS_AHEAD);
    let read = read(backup).map_err(|error| ApiError::internal(&error))?;
    actix_web::rt::spawn(send(read, blocks, turn));
    let archive = stream::unfold(taken, |mut taken| async {
        let block = taken.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(block), taken))
    });
    let mut response = HttpResponse::Ok();
    Ok(response
        .content_type("application/octet-stream")
        .streaming(archive))
}

/// Reads blocks for as long as somebody takes them. One thread does it all, and so uses the same memory
/// again and again: spread over a pool, every thread of it would keep some.
fn read(mut backup: Backup) -> std::io::Result<mpsc::Receiver<Bytes>> {
    let (blocks, read) = mpsc::channel(1);
    let work = move || loop {
        let block = match backup.next_block() {
            Ok(Some(block)) => block,
            Ok(None) => return log::info!(bytes = backup.totals().bytes; "a backup was made"),
            Err(error) => {
                log::error!("a backup could not be finished: {error}");
                let _ = blocks.blocking_send(Backup::unfinished(&error));
                return;
            }
        };
        if blocks.blocking_send(block).is_err() {
            return;
        }
    };
    let thread = std::thread::Builder::new().name("backup".to_owned());
    thread.spawn(work).map(|_| read)
}

/// Hands blocks on, at a measured pace, until the end or until nobody takes them.
async fn send(
    mut read: mpsc::Receiver<Bytes>,
    blocks: mpsc::Sender<Bytes>,
    _turn: OwnedSemaphorePermit,
) {
    let mut next = Instant::now();
    while let Some(block) = read.recv().await {
        sleep_until(next).await;
        next = Instant::now() + time_for(block.len());
        match tokio::time::timeout(MAX_STALL, blocks.send(block)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return log::warn!("a backup was broken off by whoever asked for it"),
            Err(_) => return log::warn!("a backup was given up: nobody took it for {MAX_STALL:?}"),
        }
    }
}

/// How long so many bytes take at full speed.
fn time_for(bytes: usize) -> Duration {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Duration::from_secs(1) * bytes / MAX_BYTES_PER_SECOND
}
