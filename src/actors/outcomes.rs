//! The one bound on attempts whose outcome is not journalled yet, over all lanes.
//!
//! It bounds memory, and what is attempted twice after a crash. Lanes get permits in the order in which
//! they ask, so that none starves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::queue::MAX_UNJOURNALLED;

/// Counts attempts from their start until their outcome is journalled.
#[derive(Debug, Clone)]
pub struct Outcomes {
    permits: Arc<Semaphore>,
    most: usize,
    stopping: Arc<AtomicBool>,
}

impl Default for Outcomes {
    fn default() -> Self {
        Self::new(MAX_UNJOURNALLED)
    }
}

impl Outcomes {
    /// So many at most.
    pub fn new(most: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(most)),
            most,
            stopping: Arc::default(),
        }
    }

    /// Lets no new attempt begin, and waits until the outcomes of all others are journalled.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        if let Ok(permits) = self.permits.acquire_many(all).await {
            permits.forget();
        }
    }

    /// How many there are: attempts that are under way, or whose outcome is not journalled.
    pub fn unjournalled(&self) -> usize {
        self.most.saturating_sub(self.permits.available_permits())
    }

    /// Waits for a permit; `None` when no more attempts begin.
    pub async fn wait(self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        permit.filter(|_| !self.stopping.load(Ordering::Acquire))
    }

    /// A permit for an attempt; `None` when there is none, or no more attempts begin.
    pub fn begin(&self) -> Option<OwnedSemaphorePermit> {
        if self.stopping.load(Ordering::Acquire) {
            return None;
        }
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }
}
