//! Reading the events that attempts send: from memory where a lane keeps up, from the journal where it
//! does not.
//!
//! A read holds a whole record, up to a batch of events, however small the one that is wanted. So only
//! a few run at once, over all lanes; when thousands of lanes fall behind together, they wait here, and
//! mostly find what the one before them has read. What is handed out has its body to itself: thousands
//! of attempts that hang would otherwise hold on to a whole record each.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::domain::event::{Event, Place};
use crate::store::log::Log;

/// Records read at once. More would not make a disk faster, and each may take 4 MiB and more.
pub const MAX_READS: usize = 4;

/// Reads within the bound.
#[derive(Debug, Clone)]
pub struct Reads(Arc<Semaphore>);

impl Default for Reads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_READS)))
    }
}

impl Reads {
    /// The event at a place. `None` when it cannot be read, which is logged.
    pub async fn event(&self, log: &Arc<Log>, place: Place) -> Option<Event> {
        let event = self.read(log, place).await?;
        let body = Bytes::copy_from_slice(&event.body);
        Some(Event { body, ..event })
    }

    async fn read(&self, log: &Arc<Log>, place: Place) -> Option<Event> {
        if let Some(event) = log.cached_event(place) {
            return Some(event);
        }
        let _permit = self.0.acquire().await.ok()?;
        if let Some(event) = log.cached_event(place) {
            return Some(event);
        }
        let log = Arc::clone(log);
        match tokio::task::spawn_blocking(move || log.event(place)).await {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => {
                log::error!("an event cannot be read: {error}");
                None
            }
            Err(_) => None,
        }
    }
}
