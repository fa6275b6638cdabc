//! Whoever was just refused for overload is heard again a moment later.
//!
//! A refusal costs nearly what any request costs, so clients that come back at once, whatever
//! `Retry-After` says, would take from those who are let in the time that their answers need. The refusal
//! itself goes out at once and whole; only then its connection is left alone for `PAUSE`, in which
//! nothing that it sends is begun. It costs a timer, and there are no more of those than connections.
//!
//! Whoever waits as he was told never notices. Others may share the connection, though: a proxy sends
//! everybody's requests over a few that it keeps, most likely next over the one that has just come back.
//! So the pause is far shorter than any `Retry-After`, and than anybody's patience with a relay that is
//! overloaded; and a request that is let in is never followed by one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;
use tokio::time::Sleep;

/// How long a connection is left alone after a refusal.
const PAUSE: Duration = Duration::from_millis(100);

/// Has the next request of this answer's connection wait.
pub fn slowed(answer: HttpResponse) -> HttpResponse {
    answer.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(Slowed {
            size_bytes: bytes.len() as u64,
            bytes: Some(bytes),
            end: Box::pin(tokio::time::sleep(PAUSE)),
        }),
        Err(streamed) => streamed,
    })
}

/// A body whose end comes some time after its last byte. The server sends what there is of a body before
/// it waits for more of it, and begins the next request of a connection when the body has ended.
struct Slowed {
    size_bytes: u64,
    bytes: Option<Bytes>,
    end: Pin<Box<Sleep>>,
}

impl MessageBody for Slowed {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size_bytes)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(None)
    }
}
