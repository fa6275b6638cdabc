//! Talks to a relay: through the local socket, without a key, or over HTTP with one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::timeout;

use crate::config::{ConfigError, printable};
use crate::domain::ids::AccountId;

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// Says for which account the local operator acts.
const ACCOUNT: &str = "x-postrider-account";
/// The media type of what is asked.
pub const JSON: &str = "application/json";

/// Why the relay gave no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The settings that say where the relay is are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A relay elsewhere wants a key.
    #[error("a relay elsewhere needs a key: set POSTRIDER_API_KEY or give --api-key")]
    NoKey,
    /// A key has one account.
    #[error(
        "--account is for the relay on this machine; elsewhere the key says for which account it acts"
    )]
    AccountElsewhere,
    /// The URL is none. What was given instead may be a secret and is not repeated.
    #[error(
        "--url or POSTRIDER_URL is not a relay's: http:// or https://, a host, no user, no `?`"
    )]
    Url,
    /// Only the local socket leads there.
    #[error(
        "only the relay on this machine can be asked for that: leave out --url and POSTRIDER_URL"
    )]
    LocalOnly,
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
    /// The exchange broke off.
    #[error("the relay did not answer: {0}")]
    Exchange(#[from] hyper::Error),
    /// The relay took too long.
    #[error("the relay did not answer within {} seconds; whether it did what was asked is not known", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    /// The answer could not be read.
    #[error("the relay's answer could not be read: {0}")]
    Answer(String),
    /// The relay said no.
    #[error("the relay answered {status}: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its own words.
        message: String,
    },
}

impl ClientError {
    /// Whether nothing was asked, because what was typed or configured is wrong.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::NoKey
            | Self::AccountElsewhere
            | Self::Url
            | Self::LocalOnly
            | Self::Request(_) => true,
            Self::NoRelay { .. }
            | Self::Connect { .. }
            | Self::Exchange(_)
            | Self::Timeout
            | Self::Answer(_)
            | Self::Refused { .. } => false,
        }
    }

    /// Whether the relay said no, so that it may be asked for something else.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether the relay has no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }
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
    Socket(PathBuf, Option<AccountId>),
    Url(String, SecretString),
}

impl RelayClient {
    /// The relay behind a local socket.
    pub fn socket(path: PathBuf) -> Self {
        Self {
            to: To::Socket(path, None),
        }
    }

    /// The same, for an account of the local operator's choice; elsewhere the key has chosen.
    #[must_use]
    pub fn acting_for(self, account: AccountId) -> Self {
        let to = match self.to {
            To::Socket(path, _) => To::Socket(path, Some(account)),
            elsewhere @ To::Url(..) => elsewhere,
        };
        Self { to }
    }

    /// The relay at a URL.
    pub fn url(url: &str, key: SecretString) -> Self {
        Self {
            to: To::Url(url.trim_end_matches('/').to_owned(), key),
        }
    }

    /// Sends a request with JSON; any 2xx is an answer, everything else an error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Value, ClientError> {
        let answer = self.send_as(JSON, method, path, body).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// Sends a request whose body is of this media type, and returns the answer's bytes as they came.
    pub async fn send_as(
        &self,
        media_type: &'static str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let exchange = async {
            let answer = self
                .exchange(&[("content-type", media_type)], method, path, body)
                .await?;
            read(answer).await
        };
        let answered = timeout(ANSWER_TIMEOUT, exchange).await;
        answered.map_err(|_| ClientError::Timeout)?
    }

    async fn exchange(
        &self,
        headers: &[(&str, &str)],
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match &self.to {
            To::Socket(socket, account) => {
                let uri = path.parse::<Uri>().map_err(http::Error::from)?;
                let mut request = request.uri(uri).header("host", "localhost");
                if let Some(account) = account {
                    request = request.header(ACCOUNT, account.to_string());
                }
                send_to_socket(socket, request.body(Full::new(body))?).await
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
                let answer = client.request(request.body(Full::new(body))?).await;
                answer.map_err(|source| ClientError::Connect {
                    url: url.clone(),
                    source,
                })
            }
        }
    }

    /// Asks for something that may be of any length, with these headers.
    pub async fn stream(
        &self,
        headers: &[(&str, &str)],
        method: Method,
        path: &str,
    ) -> Result<Incoming, ClientError> {
        let answer = self.exchange(headers, method, path, Bytes::new());
        let answer = timeout(ANSWER_TIMEOUT, answer).await;
        let answer = answer.map_err(|_| ClientError::Timeout)??;
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
    path: &Path,
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

async fn read(answer: http::Response<Incoming>) -> Result<Bytes, ClientError> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await;
    let body = body
        .map_err(|error| ClientError::Answer(error.to_string()))?
        .to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    let said = serde_json::from_slice::<Value>(&body).ok();
    let message = said.and_then(|said| {
        // Health says it in a word of its own.
        let reason = said.get("message").or_else(|| said.get("reason"));
        Some(printable(reason?.as_str()?))
    });
    Err(ClientError::Refused {
        status,
        message: message.unwrap_or_else(|| "it gave no reason".to_owned()),
    })
}
