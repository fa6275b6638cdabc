//! `postrider tail`: watch events pass.
//!
//! Follows the relay's stream, and comes back to where it was when the connection breaks or the relay is
//! started anew: nothing is shown twice, and nothing left out. That it is not connected is said on standard
//! error, where it does not get between the lines.

mod line;

use actix::System;
use clap::Args;
use http::Method;
use http_body_util::BodyExt;
use tokio::time::timeout;

use self::line::Lines;
use super::ask::Query;
use super::client::{ClientError, RelayClient};
use super::stream::{Comeback, MAX_SILENCE, Message, Parser};
use super::which::RelayArgs;
use super::{CliError, style, values};

/// Watch events pass.
#[derive(Debug, Args)]
#[command(
    after_help = "With --since it shows what has happened since then and ends, or goes on with --follow;
without, it waits for what happens from now on. Ctrl-C ends it.

Examples:
  postrider tail
  postrider tail --type 'order.*' --status dead
  postrider tail --since 10m --follow --json | jq -r '.event_uuid'
  postrider tail --since 1h --status retrying --fields started_at,subscription_id,status_code,error"
)]
pub struct Tail {
    /// Of events of these types, such as `order.*`
    #[arg(long, value_name = "PATTERN")]
    r#type: Option<String>,
    /// Of events of this integration
    #[arg(long, value_name = "INT_ID")]
    integration_id: Option<String>,
    /// Deliveries to this subscription
    #[arg(long, value_name = "SUB_ID")]
    subscription_id: Option<String>,
    /// Deliveries that stand so after an attempt
    #[arg(long, value_parser = ["delivered", "retrying", "dead", "cancelled"])]
    status: Option<String>,
    /// What holds this text, in a payload or in what is told here
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// From this time on, such as 2030-01-31T12:00:00Z, or 10m: so long ago
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    since: Option<String>,
    /// Go on with what happens from now on
    #[arg(long, short)]
    follow: bool,
    /// Print the relay's JSON, an object a line
    #[arg(long, conflicts_with = "fields")]
    json: bool,
    /// Print these fields of it alone, with tabs between them
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    fields: Vec<String>,
    #[command(flatten)]
    relay: RelayArgs,
}

impl Tail {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        let client = self.relay.client()?;
        let mut lines = if self.json {
            Lines::json()
        } else if self.fields.is_empty() {
            Lines::for_people(style::stdout_has_colour(), style::stdout_width())
        } else {
            Lines::of_fields(self.fields.clone())
        };
        System::new().block_on(self.watch(&client, &mut lines))
    }

    /// Whether to go on once all that has happened was shown.
    fn follows(&self) -> bool {
        self.follow || self.since.is_none()
    }

    async fn watch(&self, client: &RelayClient, lines: &mut Lines) -> Result<(), CliError> {
        let path = self.path();
        let mut last_id = None;
        let mut comeback = Comeback::default();
        loop {
            let seen = last_id.clone();
            let ended = follow(client, &path, &mut last_id, lines).await;
            if last_id != seen {
                comeback.reset();
            }
            let why = match ended {
                Ok(()) if !self.follows() => return Ok(()),
                Ok(()) => "the relay ended it".to_owned(),
                // Before anything was seen, whoever typed it is still there.
                Err(CliError::Client(error)) if last_id.is_some() && !error.is_refusal() => {
                    error.to_string()
                }
                Err(error) => return Err(error),
            };
            comeback.wait(&why).await;
        }
    }

    fn path(&self) -> String {
        let follow = self.follows().to_string();
        let parameters: Query = [
            ("type", self.r#type.as_ref()),
            ("integration_id", self.integration_id.as_ref()),
            ("subscription_id", self.subscription_id.as_ref()),
            ("status", self.status.as_ref()),
            ("text", self.text.as_ref()),
            ("since", self.since.as_ref()),
            ("follow", Some(&follow)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.clone())))
        .collect();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        format!("/v1/tail?{query}")
    }
}

/// Shows what comes over one connection, and remembers what was seen last.
async fn follow(
    client: &RelayClient,
    path: &str,
    last_id: &mut Option<String>,
    lines: &mut Lines,
) -> Result<(), CliError> {
    let headers: Vec<_> = last_id
        .iter()
        .map(|id| ("last-event-id", id.as_str()))
        .collect();
    let mut body = client.stream(&headers, Method::GET, path).await?;
    let mut parser = Parser::default();
    loop {
        let frame = timeout(MAX_SILENCE, body.frame()).await;
        let Some(frame) = frame.map_err(|_| ClientError::Timeout)? else {
            return Ok(());
        };
        let frame = frame.map_err(ClientError::from)?;
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        let mut text = String::new();
        for Message { name, id, data } in parser.read(&bytes).map_err(ClientError::Answer)? {
            if let Some(data) = data {
                lines
                    .add(&mut text, &name, &id, &data)
                    .map_err(ClientError::Answer)?;
            }
            *last_id = Some(id);
        }
        super::print(&text)?;
    }
}
