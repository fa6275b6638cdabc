//! Talks to a relay: through the local socket, without a key, or over HTTP with one.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::StoreArgs;
use crate::app::SOCKET;
use crate::config::ConfigError;

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Which relay to talk to.
#[derive(Debug, Clone, Args)]
pub struct RelayArgs {
    /// A relay elsewhere; without it, the one on this machine is reached through its data directory
    #[arg(long, value_name = "URL", env = "POSTRIDER_URL")]
    url: Option<String>,
    /// The key for a relay elsewhere
    #[arg(
        long,
        value_name = "KEY",
        env = "POSTRIDER_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl RelayArgs {
    /// A client for that relay.
    pub fn client(&self) -> Result<RelayClient, ClientError> {
        match &self.url {
            Some(url) => {
                if !(url.starts_with("http://") || url.starts_with("https://")) {
                    return Err(ClientError::Url(url.clone()));
                }
                let key = self.api_key.clone().ok_or(ClientError::NoKey)?;
                Ok(RelayClient::url(url, SecretString::from(key)))
            }
            None => Ok(RelayClient::socket(
                self.store.load()?.config.data_dir.join(SOCKET),
            )),
        }
    }
}

/// Why the relay gave no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The settings that say where the relay is are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A relay elsewhere wants a key.
    #[error("a relay elsewhere needs a key: set POSTRIDER_API_KEY or give --api-key")]
    NoKey,
    /// Nobody listens on the local socket.
    #[error("no relay runs on {path}: {source}; start one with `postrider serve`, or give --url")]
    NoRelay {
        /// The socket.
        path: PathBuf,
        /// Why it cannot be reached.
        source: std::io::Error,
    },
    /// The URL or a part of the request is wrong.
    #[error("not a request that can be sent: {0}")]
    Request(#[from] http::Error),
    /// The connection failed.
    #[error("{url} cannot be reached: {cause}", cause = root(source))]
    Connect {
        /// Where the relay should be.
        url: String,
        /// Why it cannot be reached.
        source: legacy::Error,
    },
    /// The URL is none.
    #[error("`{0}` is not a relay's URL: it starts with http:// or https://")]
    Url(String),
    /// The exchange broke off.
    #[error("the relay did not answer: {0}")]
    Exchange(#[from] hyper::Error),
    /// The answer could not be read.
    #[error("the relay's answer could not be read: {0}")]
    Answer(String),
    /// Only the local socket leads there.
    #[error("only the relay on this machine can be asked for that")]
    LocalOnly,
    /// The relay said no.
    #[error("the relay answered {status}: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its own words.
        message: String,
    },
}

/// The cause that says most: the last one.
fn root(error: &legacy::Error) -> String {
    let first: &dyn std::error::Error = error;
    let last = std::iter::successors(Some(first), |cause| cause.source()).last();
    last.map_or_else(String::new, ToString::to_string)
}

/// A relay to talk to.
#[derive(Debug, Clone)]
pub struct RelayClient {
    to: To,
}

#[derive(Debug, Clone)]
enum To {
    Socket(PathBuf),
    Url(String, SecretString),
}

impl RelayClient {
    /// The relay behind a local socket.
    pub fn socket(path: PathBuf) -> Self {
        Self {
            to: To::Socket(path),
        }
    }

    /// The relay at a URL.
    pub fn url(url: &str, key: SecretString) -> Self {
        Self {
            to: To::Url(url.trim_end_matches('/').to_owned(), key),
        }
    }

    /// Sends a request; any 2xx is an answer, everything else an error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Value, ClientError> {
        let request = Request::builder()
            .method(method)
            .header("content-type", "application/json");
        let answer = match &self.to {
            To::Socket(socket) => {
                let uri = path.parse::<Uri>().map_err(http::Error::from)?;
                let request = request
                    .uri(uri)
                    .header("host", "localhost")
                    .body(Full::new(body))?;
                send_to_socket(socket, request).await?
            }
            To::Url(url, key) => {
                let request = request
                    .uri(format!("{url}{path}"))
                    .header("x-api-key", key.expose_secret());
                let connector = HttpsConnectorBuilder::new()
                    .with_webpki_roots()
                    .https_or_http()
                    .enable_http1()
                    .build();
                let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
                let request = request.body(Full::new(body))?;
                let answer = client.request(request).await;
                answer.map_err(|source| ClientError::Connect {
                    url: url.clone(),
                    source,
                })?
            }
        };
        read(answer).await
    }
}

impl RelayClient {
    /// Asks the relay behind a local socket for something that may be of any length.
    pub async fn stream(&self, method: Method, path: &str) -> Result<Incoming, ClientError> {
        let To::Socket(socket) = &self.to else {
            return Err(ClientError::LocalOnly);
        };
        let uri = path.parse::<Uri>().map_err(http::Error::from)?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "localhost")
            .body(Full::default())?;
        let answer = send_to_socket(socket, request).await?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        Err(match read(answer).await {
            Err(refused) => refused,
            Ok(_) => ClientError::Answer(format!("{status} without a reason")),
        })
    }
}

async fn send_to_socket(
    path: &std::path::Path,
    request: Request<Full<Bytes>>,
) -> Result<http::Response<Incoming>, ClientError> {
    let stream = tokio::net::UnixStream::connect(path)
        .await
        .map_err(|source| ClientError::NoRelay {
            path: path.to_owned(),
            source,
        })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    actix::spawn(connection);
    Ok(sender.send_request(request).await?)
}

async fn read(answer: http::Response<Incoming>) -> Result<Value, ClientError> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await;
    let body = body
        .map_err(|error| ClientError::Answer(error.to_string()))?
        .to_bytes();
    let value = if body.is_empty() {
        Ok(Value::Null)
    } else {
        serde_json::from_slice(&body)
    };
    if status.is_success() {
        return value.map_err(|error| ClientError::Answer(error.to_string()));
    }
    let message = value
        .ok()
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
    Err(ClientError::Refused {
        status,
        message: message.unwrap_or_default(),
    })
}
