//! `postrider demo`: the newcomer's first minute.
//!
//! A relay on a fresh temporary store, a receiver, two subscriptions of which one fails twice before
//! it recovers, the sample events; every delivery is shown as the receiver saw it, with its signature
//! verified there. Nothing is staged: the relay is the one of `postrider serve`, and everything goes
//! over HTTP.

mod receiver;
mod screen;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use actix::System;
use bytes::Bytes;
use clap::Args;
use http::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::receiver::{Delivery, Receiver};
use self::screen::Screen;
use super::client::RelayClient;
use super::serve::Signals;
use super::{CliError, style};
use crate::app;
use crate::config::{Config, Sources};
use crate::telemetry;

/// The events that are sent; the same files as in `data/samples`.
const SAMPLES: [(&str, &str); 5] = [
    (
        "order.completed",
        include_str!("../../../data/samples/order.completed.json"),
    ),
    (
        "payment.processed",
        include_str!("../../../data/samples/payment.processed.json"),
    ),
    (
        "github.push",
        include_str!("../../../data/samples/github.push.json"),
    ),
    (
        "report.large",
        include_str!("../../../data/samples/report.large.json"),
    ),
    (
        "text.unicode",
        include_str!("../../../data/samples/text.unicode.json"),
    ),
];
/// The event that the flaky receiver fails on, twice.
const FLAKY_EVENT: &str = "order.completed";
const FLAKY_SCHEDULE: [&str; 4] = ["0s", "500ms", "1s", "2s"];
/// How long the deliveries may take before the demo is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_WAITING: usize = 1024;

/// See the whole journey in a minute.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider demo
  postrider demo --once")]
pub struct Demo {
    /// End after the deliveries: 0 if all arrived, 1 if one is missing
    #[arg(long)]
    once: bool,
}

/// What a newcomer needs to send an event of their own.
struct Journey {
    integration_key: String,
    api_key: String,
    expected: usize,
}

impl Demo {
    /// Runs the journey.
    pub fn run(&self) -> Result<(), CliError> {
        let store = TemporaryStore::create()?;
        let overrides = [
            ("data_dir", store.path.join("store").display().to_string()),
            ("server.listen", "127.0.0.1:0".to_owned()),
            ("outbound.allow", "127.0.0.0/8".to_owned()),
            ("store.min_free_bytes", "0".to_owned()),
            ("log.level", "warn".to_owned()),
        ];
        let overrides = overrides.map(|(key, value)| (key.to_owned(), value)).into();
        let config = Config::load(Sources {
            overrides,
            ..Sources::default()
        })?
        .config;
        telemetry::init(&config.log)?;
        System::new().block_on(self.journey(&config, Screen::new(style::stdout_has_colour())))
    }

    async fn journey(&self, config: &Config, mut screen: Screen) -> Result<(), CliError> {
        let mut signals = Signals::listen()?;
        let mut running = app::start(config, None).await?;
        let (seen, mut deliveries) = mpsc::channel(MAX_WAITING);
        let receiver = Receiver::start(seen)?;
        let owner = running.first_key.take();
        let owner =
            owner.ok_or_else(|| CliError::Failed("the fresh store made no key".to_owned()))?;
        let relay = format!("http://{}", running.address);
        screen.opening(&relay, &receiver.url(""))?;
        let journey = prepare(&relay, owner, &receiver, &mut screen).await?;

        let missing = tokio::select! {
            missing = show(&mut deliveries, journey.expected, &mut screen) => Some(missing?),
            () = signals.next() => None,
        };
        match missing {
            Some(0) => screen.all_arrived(journey.expected)?,
            Some(_) => {}
            None => screen.stopped()?,
        }
        if !self.once && missing == Some(0) {
            screen.your_turn(&relay, &journey.integration_key, &journey.api_key)?;
            loop {
                tokio::select! {
                    Some(delivery) = deliveries.recv() => screen.delivery(&delivery)?,
                    () = signals.next() => break,
                }
            }
        }
        receiver.stop().await;
        running.stop().await;
        match missing {
            Some(missing) if missing > 0 => {
                let expected = journey.expected;
                Err(CliError::Failed(format!(
                    "{missing} of {expected} deliveries did not arrive"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Makes an integration, its key and two subscriptions, and sends the samples.
async fn prepare(
    relay: &str,
    owner: SecretString,
    receiver: &Receiver,
    screen: &mut Screen,
) -> Result<Journey, CliError> {
    let owner = RelayClient::url(relay, owner);
    let integration = post(&owner, "/v1/integrations", &json!({ "name": "demo shop" })).await?;
    for (name, schedule) in [("steady", None), ("flaky", Some(FLAKY_SCHEDULE))] {
        let mut body = json!({ "url": receiver.url(name), "events": ["**"], "description": name });
        if let Some(schedule) = schedule {
            body["retry_schedule"] = json!(schedule);
        }
        let subscription = post(&owner, "/v1/subscriptions", &body).await?;
        receiver.expect(name, text(&subscription, "secret"))?;
    }
    let integration_key = text(&integration, "integration_key").to_owned();
    let api_key = text(&integration["api_key"], "key").to_owned();
    let sender = RelayClient::url(relay, SecretString::from(api_key.as_str()));
    screen.sending()?;
    for (name, body) in SAMPLES {
        let path = format!("/api/webhooks/{integration_key}");
        let accepted = sender
            .send(Method::POST, &path, Bytes::from_static(body.as_bytes()))
            .await?;
        screen.accepted(name, body.len(), text(&accepted, "uuid"))?;
    }
    screen.delivering()?;
    Ok(Journey {
        integration_key,
        api_key,
        expected: SAMPLES.len() * 2,
    })
}

async fn post(client: &RelayClient, path: &str, body: &Value) -> Result<Value, CliError> {
    Ok(client
        .send(Method::POST, path, body.to_string().into())
        .await?)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Shows deliveries until all have arrived or patience ends; returns how many are missing. One whose
/// signature does not verify has not arrived.
async fn show(
    deliveries: &mut mpsc::Receiver<Delivery>,
    expected: usize,
    screen: &mut Screen,
) -> Result<usize, CliError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut arrived = std::collections::HashSet::new();
    while arrived.len() < expected {
        let Ok(Some(delivery)) = tokio::time::timeout_at(deadline, deliveries.recv()).await else {
            break;
        };
        screen.delivery(&delivery)?;
        if delivery.status == 200 && delivery.verified {
            arrived.insert((delivery.subscription, delivery.id));
        }
    }
    Ok(expected - arrived.len())
}

/// A directory that goes when the demo ends, with the store in it and what the relay keeps beside it.
struct TemporaryStore {
    path: PathBuf,
}

impl TemporaryStore {
    fn create() -> Result<Self, CliError> {
        let name = format!("postrider-demo-{:016x}", getrandom::u64()?);
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(CliError::io(format!("cannot create {}", path.display())))?;
        Ok(Self { path })
    }
}

impl Drop for TemporaryStore {
    fn drop(&mut self) {
        // Temporary directories are cleaned up by the system if this fails.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
