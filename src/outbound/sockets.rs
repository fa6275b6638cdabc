//! How many connections are open at once, to all receivers together.
//!
//! A connection is an open file, and a process has only so many: without a bound, idle connections to
//! thousands of receivers could leave none for the store, whose failure ends the process. A connection
//! that finds no room waits until another is closed, for as long as its attempt may take.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::progress::Progress;

/// Room for connections. Clones share it.
#[derive(Debug, Clone)]
pub struct Sockets(Arc<Semaphore>);

/// Room for one connection.
#[derive(Debug)]
pub struct Room(
    #[expect(dead_code, reason = "it is given back when dropped")] OwnedSemaphorePermit,
);

impl Sockets {
    /// Room for so many connections.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))))
    }

    /// Waits for room. `None` never happens: the semaphore is not closed.
    pub(super) async fn room(&self) -> Option<Room> {
        Arc::clone(&self.0).acquire_owned().await.ok().map(Room)
    }
}

/// A connection, whose exchange it was opened for, and the room it takes.
#[derive(Debug)]
pub struct Socket {
    stream: TokioIo<TcpStream>,
    opener: Progress,
    _room: Option<Room>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, opener: Progress, room: Option<Room>) -> Self {
        Self {
            stream: TokioIo::new(stream),
            opener,
            _room: room,
        }
    }

    /// The connection alone.
    #[cfg(test)]
    pub(super) fn into_inner(self) -> TcpStream {
        self.stream.into_inner()
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.opener.clone())
    }
}
