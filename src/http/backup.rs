//! `POST /local/backup`: a backup of the running relay, for the local operator alone.
//!
//! One at a time. The archive is read in blocking tasks, a block at a time and only as fast as it is
//! taken, so it costs neither memory nor the time of those who send events. Whoever takes nothing for
//! [`MAX_STALL`] is given up, because a backup keeps the journal from being shortened. What was broken
//! off lacks its trailer, and so is noticed.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::error::ApiError;
use super::{Answer, Relay, blocking};
use crate::actors::now_ms;
use crate::store::archive::Backup;
use crate::store::error::StoreError;

/// Blocks that are read ahead.
const BLOCKS_AHEAD: usize = 2;
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
    let backup = blocking(move || Backup::of_running(&log, now_ms())).await?;
    let (blocks, taken) = mpsc::channel(BLOCKS_AHEAD);
    actix_web::rt::spawn(send(backup, blocks, turn));
    let archive = stream::unfold(taken, |mut taken| async {
        let block = taken.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(block), taken))
    });
    let mut response = HttpResponse::Ok();
    Ok(response
        .content_type("application/octet-stream")
        .streaming(archive))
}

/// Reads blocks and hands them on until the end, or until nobody takes them.
async fn send(backup: Backup, blocks: mpsc::Sender<Bytes>, _turn: OwnedSemaphorePermit) {
    let mut backup = Some(backup);
    while let Some(mut current) = backup.take() {
        let read = web::block(move || current.next_block().map(|block| (block, current)));
        let block = match read.await {
            Ok(Ok((Some(block), current))) => {
                backup = Some(current);
                block
            }
            Ok(Ok((None, made))) => {
                log::info!(bytes = made.totals().bytes; "a backup was made");
                return;
            }
            Ok(Err(error)) => unfinished(&error),
            Err(_) => return,
        };
        match tokio::time::timeout(MAX_STALL, blocks.send(block)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return log::warn!("a backup was broken off by whoever asked for it"),
            Err(_) => return log::warn!("a backup was given up: nobody took it for {MAX_STALL:?}"),
        }
    }
}

fn unfinished(error: &StoreError) -> Bytes {
    log::error!("a backup could not be finished: {error}");
    Backup::unfinished(error)
}
