//! Wires everything, bottom up, and runs it until it is told to stop.
//!
//! The order of the start: the port is bound and answers 503; the store is opened and recovered; the
//! actors start, each with the handles of those below; the doors open. The order of the stop: the
//! doors close, what is in flight ends and is journalled, a last checkpoint is written.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use actix_web::dev::ServerHandle;
use actix_web::rt::net::UnixStream;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use secrecy::{ExposeSecret, SecretString};

use crate::actors::delivery::{Defaults, Outcomes, Shared};
use crate::actors::directory::{ChangeError, DirectoryHandle};
use crate::actors::dispatch::{DispatchHandle, Home};
use crate::actors::health::Health;
use crate::actors::rate_limit::Quotas;
use crate::actors::{auth, directory, dispatch, now_ms, queue, rate_limit};
use crate::config::{Config, Limit};
use crate::domain::api_key::{self, Environment, KeyFormError, KeyHash};
use crate::domain::directory::{Account, Change, KeyRecord};
use crate::domain::ids::{AccountId, KeyId};
use crate::domain::permission::Permissions;
use crate::domain::rate::Quota;
use crate::domain::retry::{Schedule, ScheduleError};
use crate::http::gate::LocalSocket;
use crate::http::routes;
use crate::http::{Limits, Relay, error::ApiError, error::Dialect};
use crate::outbound::{Client, ClientError, Guard};
use crate::store::{self, Store, error::StoreError};

/// The local operator's door, in the data directory.
pub const SOCKET: &str = "postrider.sock";
/// The longest path that a Unix socket can have.
const MAX_SOCKET_PATH_BYTES: usize = 107;

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
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    dispatch: DispatchHandle,
    shutdown_timeout: Duration,
}

impl Running {
    /// Waits for an error after which the process must end.
    pub async fn failed(&self) -> AppError {
        AppError::Fatal(self.health.failed().await)
    }

    /// Stops: no new requests, no new attempts; what is under way ends and is journalled, within the
    /// configured time. What is not done by then is done after the next start.
    pub async fn stop(self) {
        let ended = tokio::time::timeout(self.shutdown_timeout, async {
            self.server.stop(true).await;
            self.outcomes.stop().await;
        });
        if ended.await.is_err() {
            log::warn!(
                "the stop timed out; what was in flight is attempted again after the next start"
            );
        }
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
    let (listener, address) = listen(config.server.listen)?;
    let recovering = answer_recovering(&listener)?;
    let opened = open_store(config).await;
    recovering.stop(false).await;
    let Store {
        log,
        state,
        committer,
        checkpointer,
        ledger,
        report,
        lock,
    } = opened?;
    if report.state_rebuilt {
        log::warn!(records = report.records_replayed; "the state was rebuilt from the journal");
    } else if report.records_replayed > 0 {
        log::info!(records = report.records_replayed; "recovered");
    }

    let health = Health::default();
    let guard = Arc::new(Guard::new(config.outbound.allow.clone()));
    let outcomes = Outcomes::default();
    let limits = queue::Limits {
        requests: config.queue.capacity,
        bytes: config.queue.max_bytes,
    };
    let parts = queue::Parts {
        committer,
        state: Arc::clone(&state),
        last_event: ledger.last_event(),
        health: health.clone(),
    };
    let queue = queue::start(&Arbiter::new().handle(), parts, limits);
    let control = Arbiter::new().handle();
    let directory = directory::start(&control, ledger.directory().clone(), queue.clone());
    let auth = auth::start(&control, directory.clone());
    let rate_limit = rate_limit::start(&control, quotas(config));
    let shared = Shared {
        log: Arc::clone(&log),
        directory: directory.clone(),
        queue: queue.clone(),
        defaults: Arc::new(defaults(config)?),
        outcomes: outcomes.clone(),
    };
    let parts = dispatch::Parts {
        ledger,
        state,
        checkpointer,
        shared,
        homes: homes(&guard)?,
        health: health.clone(),
    };
    let dispatch = dispatch::start(&control, parts);
    let first_key = first_start(&directory, bootstrap_key).await?;

    let relay = Relay {
        auth,
        rate_limit,
        directory,
        queue,
        dispatch: dispatch.clone(),
        log,
        guard,
        health: health.clone(),
        limits: Limits {
            max_body_bytes: config.ingest.max_body_bytes,
            max_batch_bytes: config.ingest.max_batch_bytes,
        },
    };
    let server = serve(relay, listener, config)?;
    health.set_ready();
    // The lock is held until the process ends: a stop that is still writing must not be overtaken.
    std::mem::forget(lock);
    Ok(Running {
        address,
        first_key,
        health,
        server,
        outcomes,
        dispatch,
        shutdown_timeout: config.shutdown_timeout,
    })
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|source| AppError::Listen {
        address: address.to_string(),
        source,
    })
}

/// Answers that the store is being recovered, so that whoever asks is told and not refused.
fn answer_recovering(listener: &TcpListener) -> Result<ServerHandle, AppError> {
    let listener = listener.try_clone().map_err(AppError::Server)?;
    let answer = || {
        App::new().default_service(actix_web::web::to(|| async {
            let reason = "the store is being recovered".to_owned();
            ApiError::Unavailable {
                reason,
                retry_after_seconds: 1,
            }
            .response(Dialect::Manage)
        }))
    };
    let server = HttpServer::new(answer)
        .workers(1)
        .disable_signals()
        .listen(listener);
    let server = server.map_err(AppError::Server)?.run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

async fn open_store(config: &Config) -> Result<Store, AppError> {
    let first_wait = config
        .delivery
        .retry_schedule
        .first()
        .copied()
        .unwrap_or_default();
    let options = store::Options {
        dir: config.data_dir.clone(),
        cache_bytes: config.store.cache_bytes,
        min_free_bytes: config.store.min_free_bytes,
        segment_bytes: store::SEGMENT_BYTES,
        first_wait_ms: millis(first_wait),
        now_ms: now_ms(),
    };
    let opened = tokio::task::spawn_blocking(move || store::open(&options)).await;
    Ok(opened.map_err(|error| AppError::Fatal(format!("the recovery panicked: {error}")))??)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
    })
}

/// One thread for deliveries for every two cores: the others take events in.
fn homes(guard: &Arc<Guard>) -> Result<Vec<Home>, AppError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let home = |_| {
        let client = Client::new(Arc::clone(guard))?;
        Ok(Home {
            arbiter: Arbiter::new().handle(),
            client,
        })
    };
    (0..cores.div_ceil(2)).map(home).collect()
}

/// A store without an account gets one, and a key that may do everything.
async fn first_start(
    directory: &DirectoryHandle,
    bootstrap_key: Option<SecretString>,
) -> Result<Option<SecretString>, AppError> {
    if directory.view().read().accounts().next().is_some() {
        return Ok(None);
    }
    let given = bootstrap_key.is_some();
    let key = match bootstrap_key {
        Some(key) => key,
        None => api_key::generate(Environment::Live, getrandom::fill)?,
    };
    let created_at_ms = now_ms();
    let account = Account {
        id: AccountId::from_random(getrandom::u64()?),
        name: "default".to_owned(),
        created_at_ms,
    };
    let record = KeyRecord {
        id: KeyId::from_random(getrandom::u64()?),
        account: account.id,
        name: "owner".to_owned(),
        hash: KeyHash::of(key.expose_secret()),
        permissions: Permissions::ALL,
        integration: None,
        environment: api_key::check_form(key.expose_secret())?,
        quota: None,
        created_at_ms,
        expires_at_ms: None,
        last_used_at_ms: None,
    };
    let changes = vec![
        Change::PutAccount(account.into()),
        Change::PutKey(record.into()),
    ];
    let made: Result<(), ChangeError<std::convert::Infallible>> =
        directory.change(|_| Ok((changes, ()))).await;
    made.map_err(|error| AppError::FirstStart(error.to_string()))?;
    Ok((!given).then_some(key))
}

fn serve(relay: Relay, listener: TcpListener, config: &Config) -> Result<ServerHandle, AppError> {
    let workers = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let relay = Data::new(relay);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(relay.clone())
            .configure(routes::configure)
    })
    .workers(workers)
    .shutdown_timeout(config.shutdown_timeout.as_secs())
    .disable_signals()
    .on_connect(|connection, data| {
        if connection.is::<UnixStream>() {
            data.insert(LocalSocket);
        }
    })
    .listen(listener)
    .map_err(AppError::Server)?;
    let server = match local_socket(&config.data_dir)? {
        Some(socket) => server.listen_uds(socket).map_err(AppError::Server)?,
        None => server,
    };
    let server = server.run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// The socket for the local operator, unless the data directory's path is too long for one. Whoever
/// may open it needs no key, so only its owner may.
fn local_socket(data_dir: &Path) -> Result<Option<UnixListener>, AppError> {
    let path = data_dir.join(SOCKET);
    if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        let path = path.display();
        log::warn!("no local socket: {path} is longer than {MAX_SOCKET_PATH_BYTES} bytes");
        return Ok(None);
    }
    let bind = || {
        // Left behind by a process that was killed; the store's lock says that it is gone.
        if path.exists() {
            std::fs::remove_file(&path)?;
        }
        let socket = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    };
    let address = path.display().to_string();
    bind()
        .map(Some)
        .map_err(|source| AppError::Listen { address, source })
}
