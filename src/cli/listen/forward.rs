//! Passing deliveries on to a program on this machine, or wherever it is from here.

use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::delivery::{Delivery, Outcome};
use crate::cli::CliError;
use crate::domain::delivery::KEPT_RESPONSE_BYTES;

/// How much of an answer is read; more of it is no use to the relay.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Sends to one URL.
pub struct Forwarder {
    url: Uri,
    client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Forwarder {
    /// To this one.
    pub fn to(url: &str) -> Result<Self, CliError> {
        let parsed = url::Url::parse(url).ok();
        let parsed = parsed.filter(|it| ["http", "https"].contains(&it.scheme()) && it.has_host());
        let uri = parsed.and_then(|it| it.as_str().parse().ok());
        let usage = || {
            CliError::Usage("--forward-to is no URL: http:// or https://, and a host".to_owned())
        };
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            url: uri.ok_or_else(usage)?,
            client: legacy::Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Sends a delivery on as it came, and says what came of it. Never fails: what goes wrong is the outcome.
    pub async fn send(&self, delivery: &Delivery) -> Outcome {
        let began = Instant::now();
        let exchange = timeout(delivery.time(), self.exchange(delivery)).await;
        let mut outcome = match exchange {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(class)) => Outcome {
                answered: Err(class),
                ..Outcome::fine()
            },
            Err(_) => Outcome {
                answered: Err("timeout"),
                ..Outcome::fine()
            },
        };
        outcome.took = began.elapsed();
        outcome
    }

    async fn exchange(&self, delivery: &Delivery) -> Result<Outcome, &'static str> {
        let method = delivery.method.parse().unwrap_or(Method::POST);
        let mut request = Request::builder().method(method).uri(self.url.clone());
        // The host is another one here.
        for (name, value) in delivery.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(delivery.body.clone()))
            .map_err(|_| "connect")?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| {
            if error.is_connect() {
                "connect"
            } else {
                "closed"
            }
        })?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(http::header::RETRY_AFTER);
        let retry_after_s = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let body = body.map_err(|_| "closed")?.to_bytes();
        let kept = &body[..body.len().min(KEPT_RESPONSE_BYTES)];
        Ok(Outcome {
            answered: Ok(status),
            retry_after_s,
            head: String::from_utf8_lossy(kept).into_owned(),
            took: std::time::Duration::ZERO,
        })
    }
}
