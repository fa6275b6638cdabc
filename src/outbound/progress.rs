//! How far an exchange has got, told also of one that failed or was given up half-way.
//!
//! The pool does not say for whom it asks the connector, so the progress of an exchange goes with its task,
//! where the connector finds it. A step that is under way counts with the time that it has taken so far.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::CaptureConnection;

use super::Timing;

tokio::task_local! {
    static OF_THIS_TASK: Progress;
}

/// Where one exchange stands. Clones are the same.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<Steps>>);

#[derive(Debug)]
struct Steps {
    begun: Instant,
    resolve: Step,
    connect: Step,
    first_byte: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Ahead,
    UnderWay(Instant),
    Over(Duration),
}

impl Step {
    fn took(self) -> Option<Duration> {
        match self {
            Self::Ahead => None,
            Self::UnderWay(since) => Some(since.elapsed()),
            Self::Over(took) => Some(took),
        }
    }
}

impl Progress {
    /// An exchange that begins now.
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(Steps {
            begun: Instant::now(),
            resolve: Step::Ahead,
            connect: Step::Ahead,
            first_byte: None,
        })))
    }

    /// That of the exchange that polls; a connection that nobody waits for has one that nobody reads.
    pub fn of_this_task() -> Self {
        OF_THIS_TASK
            .try_with(Self::clone)
            .unwrap_or_else(|_| Self::begin())
    }

    /// Runs the exchange.
    pub async fn follow<T>(&self, exchange: impl Future<Output = T>) -> T {
        OF_THIS_TASK.scope(self.clone(), exchange).await
    }

    /// Looks up a name.
    pub async fn resolve<T>(&self, look_up: impl Future<Output = T>) -> T {
        self.step(|steps| &mut steps.resolve, look_up).await
    }

    /// Has an address accept.
    pub async fn connect<T>(&self, dial: impl Future<Output = T>) -> T {
        self.step(|steps| &mut steps.connect, dial).await
    }

    async fn step<T>(
        &self,
        of: impl Fn(&mut Steps) -> &mut Step,
        work: impl Future<Output = T>,
    ) -> T {
        let since = Instant::now();
        *of(&mut self.steps()) = Step::UnderWay(since);
        let done = work.await;
        *of(&mut self.steps()) = Step::Over(since.elapsed());
        done
    }

    /// The head of the reply has come.
    pub fn head_came(&self) {
        let mut steps = self.steps();
        steps.first_byte = Some(steps.begun.elapsed());
    }

    /// Where the time went, over the connection that was used in the end, if there was one. Another one
    /// may have come free before that which was begun for this exchange.
    pub fn timing(&self, used: &CaptureConnection) -> Timing {
        let mut extras = http::Extensions::new();
        let used = used.connection_metadata();
        if let Some(used) = used.as_ref() {
            used.get_extras(&mut extras);
        }
        let opener = extras.get::<Self>();
        let is_own = opener.is_none_or(|opener| Arc::ptr_eq(&opener.0, &self.0));
        let steps = self.steps();
        Timing {
            resolve: steps.resolve.took().filter(|_| is_own),
            connect: steps.connect.took().filter(|_| is_own),
            first_byte: steps.first_byte,
        }
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
