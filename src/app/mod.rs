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
mod told;

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
use crate::actors::delivery::{Home, Shared};
use crate::actors::directory::ChangeError;
use crate::actors::directory::DirectoryHandle;
use crate::actors::dispatch::DispatchHandle;
use crate::actors::health::Health;
use crate::actors::listeners::{Carrier, Listeners};
use crate::actors::metrics::{Mailed, Metrics, MetricsError};
use crate::actors::outcomes::Outcomes;
use crate::actors::reads::Reads;
use crate::actors::samples::Samples;
use crate::actors::tail::Tails;
use crate::actors::vault::VaultError;
use crate::actors::{auth, directory, dispatch, pause, queue, rate_limit, retention, tasks};
use crate::config::Config;
use crate::domain::api_key::{self, KeyFormError};
use crate::domain::directory::NOBODY_LISTENS;
use crate::domain::retry::ScheduleError;
use crate::domain::sealed::SealError;
use crate::http::Relay;
use crate::http::backup::Turn;
use crate::http::body::Arriving;
use crate::http::cursor::Cursors;
use crate::http::tail::Told;
use crate::outbound::{Client, ClientError, Guard, Sockets};
use crate::store::archive::ArchiveError;
use crate::store::error::StoreError;
use crate::store::key_file::KeyFileError;
use crate::store::portable::PortableError;
use crate::store::{self, Store};

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
    pause_listeners(&relay.directory).await;
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
    let parts = queue::Parts {
        committer,
        sync_timeout: config.store.sync_timeout,
        state: Arc::clone(&state),
        last_event: ledger.last_event(),
        health: health.clone(),
        meter: metrics.commit_meter(),
        mailbox: metrics.mailbox(Mailed::Queue),
    };
    let queue = queue::start(&Arbiter::new().handle(), parts, told::queue_limits(config));
    let directory = directory::start(
        &control,
        ledger.directory().clone(),
        queue.clone(),
        &health,
        metrics.mailbox(Mailed::Directory),
    );
    let auth = auth::start(&control, directory.clone());
    let rate_limit = rate_limit::start(&control, told::quotas(config));
    let probed: Arc<DashSet<_>> = Arc::default();
    let shared = Shared {
        log: Arc::clone(&log),
        reads: Reads::default(),
        directory: directory.clone(),
        queue: queue.clone(),
        vault: vault.clone(),
        defaults: Arc::new(told::defaults(config)?),
        outcomes: outcomes.clone(),
        probed: Arc::clone(&probed),
        metrics: metrics.clone(),
    };
    let sockets = Sockets::new(usize::try_from(open_files::for_receivers()).unwrap_or(usize::MAX));
    let listeners = Listeners::default();
    let carrier = || carrier(&guard, &sockets, &listeners);
    let samples = Samples::new(carrier()?, vault.clone(), config.delivery.timeout);
    let parts = dispatch::Parts {
        ledger,
        state: Arc::clone(&state),
        checkpointer,
        sync_timeout: config.store.sync_timeout,
        shared,
        homes: homes(carrier)?,
        patience: told::patience(config),
        announcer: Announcer::new(directory.clone(), queue.clone()),
        health: health.clone(),
    };
    let dispatch = dispatch::start(&control, parts);
    let parts = retention::Parts {
        kept: told::kept(config),
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
    let relay = Relay {
        auth,
        rate_limit,
        directory,
        queue,
        dispatch,
        cursors: Cursors::of_store(log.journal().layout().store_id),
        log,
        probed,
        vault,
        samples,
        tasks: tasks::start(&control, parts, &health, metrics.mailbox(Mailed::Tasks)),
        tails: Tails::start(),
        told: Told::default(),
        listeners: listeners.clone(),
        metrics,
        outcomes: outcomes.clone(),
        guard,
        health,
        arriving: Arriving::default(),
        limits: told::request_limits(config),
        trusted_proxies: config.server.trusted_proxies.clone().into(),
        backup: Turn::default(),
    };
    Ok((relay, lock))
}

async fn open_store(config: &Config) -> Result<Store, AppError> {
    let options = told::store_options(config);
    let opened = tokio::task::spawn_blocking(move || store::open(&options)).await;
    Ok(opened.map_err(|error| AppError::Fatal(format!("the recovery panicked: {error}")))??)
}

/// One thread for deliveries for every two cores: the others take events in.
fn homes(carrier: impl Fn() -> Result<Carrier, ClientError>) -> Result<Vec<Home>, AppError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let home = |_| {
        Ok(Home {
            arbiter: Arbiter::new().handle(),
            carrier: carrier()?,
            turns: Turns::default(),
        })
    };
    (0..cores.div_ceil(2)).map(home).collect()
}

/// Each has a pool of connections of its own.
fn carrier(
    guard: &Arc<Guard>,
    sockets: &Sockets,
    listeners: &Listeners,
) -> Result<Carrier, ClientError> {
    let client = Client::new(Arc::clone(guard), sockets.clone())?;
    Ok(Carrier::new(client, listeners.clone()))
}

/// Nobody listens yet: what is to be sent to them waits, without being overdue.
async fn pause_listeners(directory: &DirectoryHandle) {
    let waiting: Vec<_> = {
        let directory = directory.view().read();
        let listening = directory
            .subscriptions()
            .filter(|it| it.listener().is_some());
        listening.map(|it| it.id).collect()
    };
    for id in waiting {
        pause::pause(directory, id, NOBODY_LISTENS.to_owned()).await;
    }
}
