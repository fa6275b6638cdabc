//! Opening the doors: the port, and the local operator's socket.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::rt::net::UnixStream;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use rustix::fs::Mode;
use rustix::process::umask;

use super::{AppError, SOCKET, open_files};
use crate::config::Config;
use crate::http::gate::LocalSocket;
use crate::http::{Relay, access, routes};

/// The longest path that a Unix socket can have.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;
/// Connections that one worker holds at most, however many files there may be.
const MAX_CONNECTIONS: u64 = 25_000;

/// Binds the port.
pub fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
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
pub fn answer_recovering(listener: &TcpListener) -> Result<ServerHandle, AppError> {
    let listener = listener.try_clone().map_err(AppError::Server)?;
    let server = HttpServer::new(|| App::new().configure(routes::recovering))
        .workers(1)
        .disable_signals()
        .listen(listener);
    let server = server.map_err(AppError::Server)?.run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// Opens the doors to a relay that can work.
pub fn serve(
    relay: Relay,
    listener: TcpListener,
    config: &Config,
) -> Result<ServerHandle, AppError> {
    let workers = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let relay = Data::new(relay);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(relay.clone())
            .wrap(from_fn(access::log))
            .configure(routes::configure)
    })
    .workers(workers)
    .max_connections(max_connections(workers))
    .shutdown_timeout(config.shutdown_timeout.as_secs())
    .disable_signals()
    .on_connect(|connection, data| {
        if connection.is::<UnixStream>() {
            data.insert(LocalSocket);
        }
    })
    .listen(listener)
    .map_err(AppError::Server)?;
    let socket = local_socket(&config.data_dir)?;
    let server = server.listen_uds(socket).map_err(AppError::Server)?;
    let server = server.run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// The connections that each of so many workers may hold.
fn max_connections(workers: usize) -> usize {
    let each = open_files::for_clients() / u64::try_from(workers).unwrap_or(u64::MAX);
    usize::try_from(each.clamp(1, MAX_CONNECTIONS)).unwrap_or(1)
}

/// The socket for the local operator. Whoever may open it needs no key, so only its owner may.
fn local_socket(data_dir: &Path) -> Result<UnixListener, AppError> {
    let path = data_dir.join(SOCKET);
    if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        return Err(AppError::SocketPath { path });
    }
    let bind = || {
        // Left behind by a process that was killed; the store's lock says that it is gone.
        if path.exists() {
            std::fs::remove_file(&path)?;
        }
        // Made for its owner only: between making it and changing its mode others could get in.
        let before = umask(Mode::from_raw_mode(0o177));
        let socket = UnixListener::bind(&path);
        umask(before);
        socket
    };
    let address = path.display().to_string();
    bind().map_err(|source| AppError::Listen { address, source })
}
