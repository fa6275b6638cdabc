//! Work that nobody waits for, done beside whoever asks for it.
//!
//! On a thread of its own, or at once where everything has to happen in one thread and in the same
//! order every time.

use std::io;

/// Where such work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// On a thread for each piece of work; there is one for each journal segment.
    Threads,
    /// By the caller, before it goes on.
    Inline,
}

impl Background {
    /// Has it done. `name` is the thread's.
    pub fn run(self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        match self {
            Self::Threads => {
                let thread = std::thread::Builder::new().name(name.to_owned());
                thread.spawn(work).map(drop)
            }
            Self::Inline => {
                work();
                Ok(())
            }
        }
    }
}
