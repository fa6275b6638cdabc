//! Long work that a signal ends cleanly: the work has a thread, and who waits for it listens.

use std::io::Read;

use actix::System;
use bytes::{Buf, Bytes};
use tokio::sync::{mpsc, oneshot};

use super::CliError;
use super::serve::Signals;

/// Blocks that may wait between a connection and the thread that writes them.
const BLOCKS_AHEAD: usize = 4;

/// Waits for work to be done. After a signal, what was made so far is abandoned.
pub fn run<T>(
    work: impl Future<Output = Result<T, CliError>>,
    abandon: impl FnOnce(),
) -> Result<T, CliError> {
    System::new().block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            done = work => done,
            () = signals.next() => {
                abandon();
                Err(CliError::Failed("interrupted; nothing was left behind".to_owned()))
            }
        }
    })
}

/// Does work that blocks on a thread of its own, which does not outlive the process.
pub async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .spawn(move || {
            let _ = tell.send(work());
        })
        .map_err(CliError::io("cannot start a thread"))?;
    told.await
        .map_err(|_| CliError::Failed("it failed unexpectedly; see above".to_owned()))
}

/// A way from a connection to a thread that reads; it ends when the sender is dropped.
pub fn pipe() -> (mpsc::Sender<Bytes>, impl Read + Send + 'static) {
    let (blocks, incoming) = mpsc::channel(BLOCKS_AHEAD);
    let current = Bytes::new();
    (blocks, Incoming { incoming, current })
}

struct Incoming {
    incoming: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.incoming.blocking_recv() {
                Some(block) => self.current = block,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
