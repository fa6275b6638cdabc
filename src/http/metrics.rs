//! `GET /metrics`: what the relay counts of itself, for Prometheus.
//!
//! It is there for programs on the same machine, and for keys with the right. Whoever comes through a proxy
//! comes from elsewhere, whatever address the proxy has. A reading is outside of the rate windows.

use std::sync::Arc;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::error::ApiError;
use super::{Answer, Relay, gate};
use crate::actors::metrics::{self, Reading};
use crate::actors::now_ms;
use crate::domain::permission::Permission;

/// Headers by which proxies say for whom they ask, beside those that begin with `x-forwarded-`.
const OF_PROXIES: [&str; 3] = ["forwarded", "x-real-ip", "via"];

/// What the relay counts of itself, for Prometheus
///
/// Open to programs on the relay's own machine, unless they come through a proxy. From elsewhere it takes a key with
/// `metrics:read`; without one there is nothing here. A reading is outside of the rate limits.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics",
    responses((
        status = 200, description = "Every metric, in Prometheus' text format.", body = String,
        content_type = "text/plain", example = "postrider_ready 1\n",
    )),
)]
pub async fn show(request: HttpRequest, relay: Data<Relay>) -> Answer {
    admit(&request, &relay)?;
    let reading = Reading {
        is_ready: relay.health.problem().is_none(),
        unjournalled: relay.outcomes.unjournalled(),
        queued: relay.queue.waiting(),
        probing: relay.probed.len(),
        now_ms: now_ms(),
    };
    let (counted, log) = (relay.metrics.clone(), Arc::clone(&relay.log));
    let text = actix_web::web::block(move || counted.text(&log, reading)).await;
    let text = text.map_err(|error| ApiError::internal(&error))?;
    let text = text.map_err(|error| ApiError::internal(&error))?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .content_type(metrics::MEDIA_TYPE)
        .body(text))
}

/// To whoever is elsewhere and shows no key, there is nothing here.
fn admit(request: &HttpRequest, relay: &Relay) -> Result<(), ApiError> {
    if is_from_this_machine(request) {
        return Ok(());
    }
    let is_local_operator = request.conn_data::<gate::LocalSocket>().is_some();
    if !is_local_operator && !gate::shows_a_key(request) {
        return Err(ApiError::NotFound("Route"));
    }
    let who = gate::recognise(request, relay)?;
    if who.may(Permission::MetricsRead) {
        Ok(())
    } else {
        Err(ApiError::Forbidden)
    }
}

fn is_from_this_machine(request: &HttpRequest) -> bool {
    let peer = request.peer_addr();
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) && !is_forwarded(request)
}

fn is_forwarded(request: &HttpRequest) -> bool {
    let mut names = request.headers().keys();
    names.any(|name| {
        let name = name.as_str();
        name.starts_with("x-forwarded-") || OF_PROXIES.contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn is_from_here(peer: &str, header: Option<(&str, &str)>) -> bool {
        let mut request = TestRequest::get().peer_addr(peer.parse().unwrap());
        if let Some(header) = header {
            request = request.insert_header(header);
        }
        is_from_this_machine(&request.to_http_request())
    }

    #[test]
    fn only_the_other_end_says_where_a_request_comes_from_and_a_proxy_is_never_here() {
        for here in [
            "127.0.0.1:1",
            "127.8.9.10:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_from_here(here, None), "{here}");
            assert!(is_from_here(here, Some(("host", "relay.example"))));
            for name in [
                "Forwarded",
                "X-Forwarded-For",
                "X-Forwarded-Host",
                "X-Real-IP",
                "Via",
            ] {
                assert!(!is_from_here(here, Some((name, ""))), "{here} {name}");
            }
        }
        for elsewhere in [
            "192.0.2.1:1",
            "10.0.0.1:1",
            "[2001:db8::1]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert!(!is_from_here(elsewhere, None), "{elsewhere}");
        }
        let nowhere = TestRequest::get().to_http_request();
        assert!(
            !is_from_this_machine(&nowhere),
            "the local socket has its own way"
        );
    }
}
