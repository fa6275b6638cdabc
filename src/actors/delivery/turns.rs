//! Attempts begin in turn: on each thread only so many at once that nobody has answered yet.
//!
//! A hundred lanes that come to have work at the same instant would otherwise open thousands of
//! connections where a few dozen do: prompt receivers are not faster for being asked all at once, and each
//! connection costs memory on both sides. A receiver that is slow must not hold up the others, so an
//! attempt gives its turn back at its end or after `YOUNG`, whichever is sooner, and then goes on as long
//! as it may. Lanes get turns in the order in which they ask.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Attempts of one thread that may be under way and young at once: as many as keep it busy.
pub const MAX_YOUNG: usize = 128;
/// How long an attempt is young.
const YOUNG: Duration = Duration::from_millis(10);

/// Turns of the attempts on one thread. Clones share them.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

/// A turn.
#[derive(Debug)]
pub struct Turn(
    #[expect(dead_code, reason = "it is given back when dropped")] Option<OwnedSemaphorePermit>,
);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_YOUNG)))
    }
}

impl Turns {
    /// Waits for a turn.
    pub async fn next(&self) -> Turn {
        Turn(Arc::clone(&self.0).acquire_owned().await.ok())
    }
}

impl Turn {
    /// Makes an attempt, and gives the turn back as soon as that is over or takes its time.
    pub async fn take<T>(self, attempt: impl Future<Output = T>) -> T {
        let mut attempt = pin!(attempt);
        if let Ok(made) = timeout(YOUNG, &mut attempt).await {
            return made;
        }
        drop(self);
        attempt.await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    #[actix::test]
    async fn so_many_begin_at_once_and_the_others_when_those_are_done_or_slow() {
        let turns = Turns::default();
        let mut first = Vec::new();
        for _ in 0..MAX_YOUNG {
            first.push(turns.next().await);
        }
        assert!(turns.next().now_or_never().is_none(), "one too many");
        let done = first.pop().expect("a turn").take(ready(7)).await;
        assert_eq!(done, 7);
        let slow = turns.next().await;
        assert!(turns.next().now_or_never().is_none(), "one too many again");
        // One that hangs gives its turn back, and goes on.
        let hangs = slow.take(pending::<()>());
        let next = turns.next();
        futures_util::pin_mut!(hangs, next);
        let won = futures_util::future::select(hangs, next).await;
        assert!(matches!(won, futures_util::future::Either::Right(_)));
    }
}
