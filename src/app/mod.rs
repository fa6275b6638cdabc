//! Wires everything, bottom up, and runs it until it is told to stop.
//!
//! The order of the start: the port is bound and answers 503; the store is opened and recovered; the
//! actors start, each with the handles of those below; the doors open. The order of the stop: the
//! doors close, what is in flight ends and is journalled, a last checkpoint is written.

mod doors;
mod first_start;
pub mod offline;
mod open_files;
pub mod secrets;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use actix_web::dev::ServerHandle;
use dashmap::DashSet;
use secrecy::{ExposeSecret, SecretString};

use crate::actors::announce::Announcer;
use crate::actors::auth::AuthHandle;
use crate::actors::delivery::turns::Turns;
use crate::actors::delivery::{Defaults, Home, Shared};
use crate::actors::directory::ChangeError;
use crate::actors::dispatch::DispatchHandle;
use crate::actors::dispatch::watch::Patience;
use crate::actors::health::Health;
use crate::actors::metrics::{Metrics, MetricsError};
use crate::actors::outcomes::Outcomes;
use crate::actors::rate_limit::Quotas;
use crate::actors::reads::Reads;
use crate::actors::samples::Samples;
use crate::actors::tail::Tails;
use crate::actors::vault::VaultError;
use crate::actors::{auth, directory, dispatch, now_ms, queue, rate_limit, retention, tasks};
use crate::config::{Config, Limit};
use crate::domain::api_key::{self, KeyFormError};
use crate::domain::rate::Quota;
use crate::domain::retention::Retention;
use crate::domain::retry::{Schedule, ScheduleError};
use crate::domain::sealed::SealError;
use crate::http::backup::Turn;
use crate::http::body::Arriving;
use crate::http::cursor::Cursors;
use crate::http::{Limits, Relay};
use crate::outbound::{Client, ClientError, Guard, Sockets};
use crate::store::archive::ArchiveError;
use crate::store::error::StoreError;
use crate::store::key_file::KeyFileError;
use crate::store::portable::PortableError;
use crate::store::{self, Machine, Store};

/// The local operator's door, in the data directory.
pub const SOCKET: &str = "postrider.sock";
/// Why the relay did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was to be listened on.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The data directory's path is too long for a socket in it.
    #[error(
        "{path} is longer than the {limit} bytes that a socket's path may have; choose a shorter data_dir",
        limit = doors::MAX_SOCKET_PATH_BYTES
    )]
    SocketPath {
        /// Where the socket would be.
        path: PathBuf,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A backup cannot be made or used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An export cannot be made or used.
    #[error(transparent)]
    Portable(#[from] PortableError),
    /// Only a store that nobody changes can be exported.
    #[error(
        "a relay runs on {dir}; stop it first, or make a backup, restore it elsewhere and export that"
    )]
    RelayRuns {
        /// The data directory.
        dir: PathBuf,
    },
    /// The client for deliveries cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The configured schedule is none.
    #[error("delivery.retry_schedule {0}")]
    Schedule(#[from] ScheduleError),
    /// `POSTRIDER_BOOTSTRAP_KEY` is not a key.
    #[error("POSTRIDER_BOOTSTRAP_KEY is no key ({0}); make one with `postrider keys generate`")]
    BootstrapKey(#[from] KeyFormError),
    /// The first account could not be made.
    #[error("cannot make the first account: {0}")]
    FirstStart(String),
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The server failed.
    #[error("the server failed: {0}")]
    Server(std::io::Error),
    /// The file of the sealing keys cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key that the store's secrets are sealed under is not there.
    #[error(
        "signing secrets cannot be opened: {source}; bring {path} back, or give the key in POSTRIDER_SECRETS__KEY"
    )]
    SealingKey {
        /// Which.
        source: SealError,
        /// Where it should be.
        path: PathBuf,
    },
    /// Nothing can be counted.
    #[error("nothing can be counted: {0}")]
    Metrics(#[from] MetricsError),
    /// Secrets of an older release cannot be sealed.
    #[error("signing secrets cannot be sealed: {0}")]
    Reseal(#[from] ChangeError<VaultError>),
    /// The relay cannot go on.
    #[error("{0}")]
    Fatal(String),
}

/// A relay that takes events.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The owner's key, if this start made one.
    pub first_key: Option<SecretString>,
    health: Health,
    server: ServerHandle,
    outcomes: Outcomes,
    tails: Tails,
    auth: AuthHandle,
    dispatch: DispatchHandle,
    shutdown_timeout: Duration,
    /// No other process may open the store while this one may still write.
    _lock: File,
}

impl Running {
    /// Waits for an error after which the process must end.
    pub async fn failed(&self) -> AppError {
        AppError::Fatal(self.health.failed().await)
    }

    /// Stops: no new requests, no new attempts; what is under way ends and is journalled, within the
    /// configured time. What is not done by then is done after the next start.
    pub async fn stop(self) {
        self.tails.close();
        let ended = tokio::time::timeout(self.shutdown_timeout, async {
            tokio::join!(self.server.stop(true), self.outcomes.stop());
        });
        if ended.await.is_err() {
            log::warn!(
                "the stop timed out; what was in flight is attempted again after the next start"
            );
        }
        self.auth.note_uses().await;
        if let Err(error) = self.dispatch.save().await {
            log::warn!("no last checkpoint: {error}");
        }
    }
}

/// Starts a relay. Returns when it is ready to take events. Must run inside an actix system.
pub async fn start(
    config: &Config,
    bootstrap_key: Option<SecretString>,
) -> Result<Running, AppError> {
    if let Some(key) = &bootstrap_key {
        api_key::check_form(key.expose_secret())?;
    }
    let (listener, address) = doors::listen(config.server.listen)?;
    let recovering = doors::answer_recovering(&listener)?;
    let opened = open_store(config).await;
    recovering.stop(false).await;
    let store = opened?;
    if store.report.state_rebuilt {
        log::warn!(records = store.report.records_replayed; "the state was rebuilt from the journal");
    } else if store.report.records_replayed > 0 {
        log::info!(records = store.report.records_replayed; "recovered");
    }

    let outcomes = Outcomes::default();
    let (relay, lock) = start_actors(config, store, &outcomes)?;
    let resealed = relay.vault.reseal(&relay.directory).await?;
    if resealed > 0 {
        log::info!(resealed; "signing secrets are sealed under another key than before");
    }
    let first_key = first_start::first_start(&relay.directory, bootstrap_key).await?;
    let (dispatch, health) = (relay.dispatch.clone(), relay.health.clone());
    let (auth, tails) = (relay.auth.clone(), relay.tails.clone());
    let server = doors::serve(relay, listener, config)?;
    health.set_ready();
    Ok(Running {
        address,
        first_key,
        health,
        server,
        outcomes,
        tails,
        auth,
        dispatch,
        shutdown_timeout: config.shutdown_timeout,
        _lock: lock,
    })
}

/// Starts the actors, each with the handles of those below it.
fn start_actors(
    config: &Config,
    store: Store,
    outcomes: &Outcomes,
) -> Result<(Relay, File), AppError> {
    let Store {
        log,
        state,
        committer,
        checkpointer,
        ledger,
        lock,
        ..
    } = store;
    let health = Health::default();
    let metrics = Metrics::new()?;
    let vault = secrets::vault(config, ledger.directory())?;
    let guard = Guard::new(config.outbound.allow.clone());
    let guard = Arc::new(guard.https_only(config.outbound.https_only));
    let control = Arbiter::new().handle();
    let limits = queue::Limits {
        requests: config.queue.capacity,
        bytes: config.queue.max_bytes,
    };
    let queue = queue::start(
        &Arbiter::new().handle(),
        queue::Parts {
            committer,
            sync_timeout: config.store.sync_timeout,
            state: Arc::clone(&state),
            last_event: ledger.last_event(),
            health: health.clone(),
            meter: metrics.commit_meter(),
        },
        limits,
    );
    let directory = directory::start(&control, ledger.directory().clone(), queue.clone(), &health);
    let auth = auth::start(&control, directory.clone());
    let rate_limit = rate_limit::start(&control, quotas(config));
    let probed: Arc<DashSet<_>> = Arc::default();
    let shared = Shared {
        log: Arc::clone(&log),
        reads: Reads::default(),
        directory: directory.clone(),
        queue: queue.clone(),
        vault: vault.clone(),
        defaults: Arc::new(defaults(config)?),
        outcomes: outcomes.clone(),
        probed: Arc::clone(&probed),
        metrics: metrics.clone(),
    };
    let sockets = Sockets::new(usize::try_from(open_files::for_receivers()).unwrap_or(usize::MAX));
    let homes = homes(&guard, &sockets)?;
    let client = Client::new(Arc::clone(&guard), sockets)?;
    let samples = Samples::new(client, vault.clone(), config.delivery.timeout);
    let parts = dispatch::Parts {
        ledger,
        state: Arc::clone(&state),
        checkpointer,
        sync_timeout: config.store.sync_timeout,
        shared,
        homes,
        patience: patience(config),
        announcer: Announcer::new(directory.clone(), queue.clone()),
        health: health.clone(),
    };
    let dispatch = dispatch::start(&control, parts);
    let parts = retention::Parts {
        kept: kept(config),
        log: Arc::clone(&log),
        state,
        queue: queue.clone(),
        dispatch: dispatch.clone(),
    };
    retention::start(&control, parts, &health);
    let parts = tasks::Parts {
        directory: directory.clone(),
        dispatch: dispatch.clone(),
        log: Arc::clone(&log),
    };
    let tasks = tasks::start(&control, parts, &health);
    let cursors = Cursors::of_store(log.journal().layout().store_id);
    let relay = Relay {
        auth,
        rate_limit,
        directory,
        queue,
        dispatch,
        log,
        probed,
        vault,
        samples,
        tasks,
        tails: Tails::start(),
        metrics,
        outcomes: outcomes.clone(),
        guard,
        health,
        arriving: Arriving::default(),
        cursors,
        limits: request_limits(config),
        trusted_proxies: config.server.trusted_proxies.clone().into(),
        backup: Turn::default(),
    };
    Ok((relay, lock))
}

async fn open_store(config: &Config) -> Result<Store, AppError> {
    let options = store_options(config);
    let opened = tokio::task::spawn_blocking(move || store::open(&options)).await;
    Ok(opened.map_err(|error| AppError::Fatal(format!("the recovery panicked: {error}")))??)
}

fn store_options(config: &Config) -> store::Options {
    let first_wait = config
        .delivery
        .retry_schedule
        .first()
        .copied()
        .unwrap_or_default();
    store::Options {
        dir: config.data_dir.clone(),
        cache_bytes: config.store.cache_bytes,
        min_free_bytes: config.store.min_free_bytes,
        segment_bytes: store::SEGMENT_BYTES,
        first_wait_ms: millis(first_wait),
        now_ms: now_ms(),
        machine: Machine::real(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn request_limits(config: &Config) -> Limits {
    Limits {
        max_body_bytes: config.ingest.max_body_bytes,
        max_batch_bytes: config.ingest.max_batch_bytes,
    }
}

fn kept(config: &Config) -> Retention {
    let kept = &config.retention;
    Retention {
        events_ms: millis(kept.events),
        dead_ms: millis(kept.dead),
        max_bytes: Some(kept.max_bytes).filter(|bytes| *bytes > 0),
    }
}

fn patience(config: &Config) -> Patience {
    Patience {
        disable_after_ms: millis(config.delivery.disable_after),
        old_backlog_ms: millis(config.delivery.old_backlog_after),
    }
}

fn quotas(config: &Config) -> Quotas {
    let quota = |limit| match limit {
        Limit::Off => None,
        Limit::Window { limit, window } => Some(Quota {
            limit,
            window_ms: millis(window),
        }),
    };
    Quotas {
        manage: quota(config.rate_limit.manage),
        ingest: quota(config.rate_limit.ingest),
        auth_failures: quota(config.rate_limit.auth_failures),
    }
}

fn defaults(config: &Config) -> Result<Defaults, AppError> {
    let waits = config
        .delivery
        .retry_schedule
        .iter()
        .copied()
        .map(millis)
        .collect();
    Ok(Defaults {
        schedule: Schedule::new(waits)?,
        timeout: config.delivery.timeout,
        max_in_flight: u16::try_from(config.delivery.max_in_flight).unwrap_or(u16::MAX),
        probe_after: config.delivery.probe_after,
    })
}

/// One thread for deliveries for every two cores: the others take events in.
fn homes(guard: &Arc<Guard>, sockets: &Sockets) -> Result<Vec<Home>, AppError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let home = |_| {
        let client = Client::new(Arc::clone(guard), sockets.clone())?;
        Ok(Home {
            arbiter: Arbiter::new().handle(),
            client,
            turns: Turns::default(),
        })
    };
    (0..cores.div_ceil(2)).map(home).collect()
}
