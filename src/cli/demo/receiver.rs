//! The demo's receiver: someone else's server, as a subscriber would write it.
//!
//! It verifies the signature of what arrives with the subscription's secret and says what it saw. Its
//! path `flaky` fails the first two attempts to deliver one kind of event.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use tokio::sync::mpsc;

use super::FLAKY_EVENT;
use crate::cli::CliError;
use crate::domain::signature::SigningSecret;

/// More than any event the relay takes.
const MAX_BODY_BYTES: usize = 17 << 20;

/// What arrived.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The path it came to.
    pub subscription: String,
    /// `webhook-id`
    pub id: String,
    /// `x-postrider-event`
    pub event: String,
    /// `x-postrider-attempt`
    pub attempt: u32,
    /// Whether the signature is right.
    pub verified: bool,
    /// What was answered.
    pub status: u16,
    /// The body's length.
    pub bytes: usize,
    /// When it arrived.
    pub arrived: Instant,
}

#[derive(Clone)]
struct Shared {
    secrets: Arc<Mutex<HashMap<String, SigningSecret>>>,
    seen: mpsc::Sender<Delivery>,
}

/// A running receiver.
pub struct Receiver {
    address: SocketAddr,
    server: ServerHandle,
    shared: Shared,
}

impl Receiver {
    /// Starts listening on a free port; what arrives goes to `seen`.
    pub fn start(seen: mpsc::Sender<Delivery>) -> Result<Self, CliError> {
        let shared = Shared {
            secrets: Arc::default(),
            seen,
        };
        let data = Data::new(shared.clone());
        let app = move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
                .route("/{name}", web::post().to(receive))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0");
        let server = server.map_err(CliError::io("cannot start a receiver"))?;
        let address = server.addrs().first().copied();
        let address =
            address.ok_or_else(|| CliError::Failed("the receiver has no address".to_owned()))?;
        let server = server.run();
        let handle = server.handle();
        actix::spawn(server);
        Ok(Self {
            address,
            server: handle,
            shared,
        })
    }

    /// Where a subscription of this name is to be sent.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Verifies what comes to this name with this secret.
    pub fn expect(&self, name: &str, secret: &str) -> Result<(), CliError> {
        let secret = SigningSecret::parse(secret)
            .map_err(|error| CliError::Failed(format!("the subscription's secret {error}")))?;
        let mut secrets = self
            .shared
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        secrets.insert(name.to_owned(), secret);
        Ok(())
    }

    /// Stops listening.
    pub async fn stop(&self) {
        self.server.stop(false).await;
    }
}

async fn receive(
    request: HttpRequest,
    name: Path<String>,
    shared: Data<Shared>,
    body: Bytes,
) -> HttpResponse {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let signed = timestamp.parse().ok().and_then(|timestamp| {
        let secrets = shared
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(secrets.get(name.as_str())?.sign(id, timestamp, &body))
    });
    let attempt = header("x-postrider-attempt").parse().unwrap_or(0);
    let event = header("x-postrider-event").to_owned();
    let fails = name.as_str() == "flaky" && event == FLAKY_EVENT && attempt <= 2;
    let verified = signed.is_some_and(|signed| {
        header("webhook-signature")
            .split(' ')
            .any(|it| it == signed)
    });
    let status = match (verified, fails) {
        (false, _) => 401,
        (true, true) => 500,
        (true, false) => 200,
    };
    let (id, bytes) = (id.to_owned(), body.len());
    let delivery = Delivery {
        subscription: name.into_inner(),
        id,
        event,
        attempt,
        verified,
        status,
        bytes,
        arrived: Instant::now(),
    };
    // A screen that cannot keep up loses a line, never a delivery.
    let _ = shared.seen.try_send(delivery);
    let code = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(code).finish()
}
