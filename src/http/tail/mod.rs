//! `GET /v1/tail`: what happens, as it happens, as server-sent events.
//!
//! `event.accepted` for each event once it is on disk, `delivery.attempt` for each attempt once its outcome
//! is, `delivery.settled` for each delivery that is delivered, dead or cancelled, and `tail.missed` where a
//! reader was too slow. Each has an id to come back with, as browsers do by themselves (`Last-Event-ID`),
//! also to a relay that was restarted: then there is no gap and no repetition, as far back as events are
//! kept. A step is never shown before it is synced.

mod follow;
mod sse;
mod steps;
mod told;
mod wanted;

use std::convert::Infallible;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use self::follow::{Follower, Mark};
pub use self::steps::json;
pub use self::told::{MAX_BYTES as MAX_TOLD_BYTES, Told};
pub use self::wanted::MAX_TEXT_BYTES;
use self::wanted::{Query, Wanted};
use super::error::ApiError;
use super::gate::Caller;
use super::openapi::shapes;
use super::{Answer, Relay, body};
use crate::actors::now_ms;
use crate::domain::ids::EventId;
use crate::domain::permission::Permission;

/// Says where a reader was that comes back.
const LAST_EVENT_ID: &str = "last-event-id";
/// Chunks that wait for a connection, beside the one that it is being sent.
const CHUNKS_AHEAD: usize = 1;

/// What happens, as it happens, as server-sent events
///
/// `event.accepted` for each event once it is on disk, `delivery.attempt` for each attempt, `delivery.settled` for each
/// delivery that is delivered, dead or cancelled, and `tail.missed` where a reader was too slow: `{"missed", "after"}`,
/// how much it missed and the id to come back with for it.
///
/// Data is one JSON object. Each message has an id; whoever comes back with the last one it saw, in `Last-Event-ID`,
/// misses nothing and sees nothing twice, also when the relay was started anew. With `follow=false` the stream ends
/// where nothing more has happened yet.
#[utoipa::path(
    get, path = "/v1/tail", operation_id = "tail",
    params(
        Query,
        ("Last-Event-ID" = Option<shapes::Cursor>, Header, description = "The id of the last message that was seen."),
    ),
    responses((
        status = 200, description = "The stream.", body = String, content_type = "text/event-stream",
        example = "retry: 1000\nid: 5m0u\n\nevent: event.accepted\nid: 8d2k\ndata: {\"uuid\":\"01a1ff79-3ae3-7000-9f23-e12f1c0d9d8c\"}\n\n",
    )),
)]
pub async fn tail(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let query: Query = body::query(&request)?;
    let wanted = Wanted::parse(&query)?;
    let at = match request.headers().get(LAST_EVENT_ID) {
        Some(id) => {
            let numbers = relay
                .cursors
                .read(who.account(), id.to_str().unwrap_or_default());
            let known = numbers.filter(|[position, _]| *position <= relay.log.end());
            let [position, step] = known.ok_or_else(|| {
                let message = "Last-Event-ID must be the id of a message of this stream";
                ApiError::Invalid(message.to_owned())
            })?;
            Mark { position, step }
        }
        None => begin(&relay, wanted.since_ms).await?,
    };
    let seat = relay.tails.seat()?;
    let (out, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let follower = Follower {
        relay: Data::clone(&relay),
        who,
        wanted,
        at,
        follows: query.follow.unwrap_or(true),
        out,
        seat,
    };
    relay.tails.run(follower.run())?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // A proxy that collects what it passes on would hold it back.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream_of(chunks)))
}

/// A body whose pieces come as they come.
pub fn stream_of(chunks: mpsc::Receiver<Bytes>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(chunks, next)
}

async fn next(
    mut chunks: mpsc::Receiver<Bytes>,
) -> Option<(Result<Bytes, Infallible>, mpsc::Receiver<Bytes>)> {
    let chunk = chunks.recv().await?;
    Some((Ok(chunk), chunks))
}

/// Where the log tells of this time; its end, if no time is asked for.
async fn begin(relay: &Relay, since_ms: u64) -> Result<Mark, ApiError> {
    if since_ms == 0 || since_ms > now_ms() {
        return Ok(Mark::NOW);
    }
    let near = relay.dispatch.near(EventId::first_of(since_ms)).await?;
    let position = near.unwrap_or(0).max(relay.log.start());
    Ok(Mark { position, step: 0 })
}
