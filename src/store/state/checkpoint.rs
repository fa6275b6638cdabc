//! The thread that writes checkpoints, so that nobody else waits for sled.
//!
//! One at a time; who asks is told when it is synced. An error is final.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::sync::oneshot;

use super::State;
use super::overlay::Frozen;
use crate::store::error::StoreError;

/// Rows and memory that one checkpoint may take; reached, the next one is due at once. sled keeps a
/// batch of this size in its log without touching its blobs.
pub const MAX_CHECKPOINT_BYTES: usize = 1 << 20;

type Job = (Arc<Frozen>, oneshot::Sender<Result<(), StoreError>>);

/// Hands checkpoints to their thread.
#[derive(Debug, Clone)]
pub struct Checkpointer {
    jobs: SyncSender<Job>,
}

impl Checkpointer {
    /// Starts the thread.
    pub fn start(state: Arc<State>) -> Result<Self, StoreError> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let dir = state.site.dir.clone();
        std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                for (rows, done) in todo {
                    // Whoever asked may be gone; the checkpoint is right all the same.
                    let _ = done.send(write(&state, &rows));
                }
            })
            .map_err(StoreError::io("start a thread for", &dir))?;
        Ok(Self { jobs })
    }

    /// Has a checkpoint written. The receiver hears once it is synced.
    pub fn submit(&self, rows: Arc<Frozen>) -> oneshot::Receiver<Result<(), StoreError>> {
        let (done, heard) = oneshot::channel();
        if let Err(refused) = self.jobs.try_send((rows, done)) {
            let (std::sync::mpsc::TrySendError::Full((_, done))
            | std::sync::mpsc::TrySendError::Disconnected((_, done))) = refused;
            let _ = done.send(Err(StoreError::Poisoned));
        }
        heard
    }
}

/// Writes a checkpoint and waits for it.
pub fn write(state: &State, rows: &Frozen) -> Result<(), StoreError> {
    state.commit(rows)
}
