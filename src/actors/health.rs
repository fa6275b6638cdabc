//! Whether the relay can do its work: what readiness answers, and what ends the process.
//!
//! Three states: recovering (not ready yet), able, refusing (alive, but the disk has no room). A
//! *fatal* error is final: it is kept, it is told to whoever runs the process, and the process ends;
//! the store makes the restart boring.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

/// Shared by all who find something wrong and all who answer for it.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ready: OnceLock<()>,
    refusal: Mutex<Option<String>>,
    fatal: OnceLock<String>,
    noticed: Notify,
}

/// Held by an actor without which the relay does not work. The runtime swallows the panic of a task;
/// what it drops tells of it. In an orderly end nobody listens any more.
#[derive(Debug)]
pub struct Vital {
    health: Health,
    name: &'static str,
}

impl Drop for Vital {
    fn drop(&mut self) {
        self.health
            .fail(format!("the {} is gone; the log above says why", self.name));
    }
}

impl Health {
    /// For an actor whose end is the end of the process.
    pub fn vital(&self, name: &'static str) -> Vital {
        Vital {
            health: self.clone(),
            name,
        }
    }

    /// Recovery is over.
    pub fn set_ready(&self) {
        let _ = self.0.ready.set(());
    }

    /// Why nothing is taken in for now; `None` once it is again.
    pub fn set_refusal(&self, reason: Option<String>) {
        let mut refusal = self
            .0
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *refusal != reason {
            match &reason {
                Some(reason) => log::warn!("events are refused: {reason}"),
                None => log::info!("events are taken in again"),
            }
            *refusal = reason;
        }
    }

    /// An error after which the process must end. The first one counts.
    pub fn fail(&self, reason: String) {
        if self.0.fatal.set(reason).is_ok() {
            self.0.noticed.notify_one();
        }
    }

    /// Why the relay is not ready, if it is not.
    pub fn problem(&self) -> Option<String> {
        if let Some(fatal) = self.0.fatal.get() {
            return Some(fatal.clone());
        }
        if self.0.ready.get().is_none() {
            return Some("the store is being recovered".to_owned());
        }
        self.0
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a fatal error.
    pub async fn failed(&self) -> String {
        loop {
            if let Some(reason) = self.0.fatal.get() {
                return reason.clone();
            }
            self.0.noticed.notified().await;
        }
    }
}
