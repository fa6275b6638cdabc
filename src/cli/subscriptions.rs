//! `postrider subscriptions`: who wants which events, and where they are sent.
//!
//! A signing secret is shown once, by the command that makes its subscription.

mod manner;
mod standing;

use std::io::Read;

use clap::{ArgGroup, Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use self::manner::Manner;
use super::CliError;
use super::ask::{All, AskArgs, Many, One};
use super::many::Wish;
use super::resource::Resource;
use super::values::{self, object};

/// What is read of a secret: more than any has.
const MAX_SECRET_BYTES: u64 = 4096;

/// Subscriptions, and how they are shown.
pub const SUBSCRIPTIONS: Resource = Resource {
    path: "/v1/subscriptions",
    plural: "subscriptions",
    prefix: "sub_",
    columns: &["id", "status", "created_at", "ordering", "events", "url"],
    apart: &["secret", "standing"],
    last: |subscription| {
        let standing = standing::in_words(subscription).into_iter();
        standing.chain(secret(subscription)).collect()
    },
};

/// Make, change and delete subscriptions.
#[derive(Debug, Subcommand)]
pub enum Subscriptions {
    /// Have events sent to a URL
    #[command(
        after_help = "A pattern is an event type in which `*` stands for one segment and `**` for any number of them.
The signing secret is shown this once.

Examples:
  postrider subscriptions create https://example.com/hooks --events 'order.*' payment.processed
  postrider subscriptions create https://example.com/all --events '**' --integration-id INT_ID
  postrider subscriptions create https://example.com/x --events '**' --retry-schedule 0s,5m,1h
  postrider subscriptions create https://example.com/big --events '**' --filter '{\"data.vip\": true}'
  postrider subscriptions create https://example.com/ce --events '**' --format cloudevents
  postrider subscriptions create https://example.com/in-order --events '**' --ordering by:data.id
  postrider subscriptions create https://example.com/hooks --events '**' --secret - < secret.txt"
    )]
    Create(Create),
    /// List subscriptions
    #[command(after_help = "Examples:
  postrider subscriptions list
  postrider subscriptions list --json | jq -r '.subscriptions[] | .url'")]
    List(All),
    /// Show a subscription, and how its deliveries stand
    #[command(after_help = "Examples:
  postrider subscriptions show SUB_ID
  postrider subscriptions show SUB_ID --json | jq .standing")]
    Show(One),
    /// Change what is sent, and where
    #[command(
        after_help = "Other events are those accepted afterwards; another URL or schedule holds from the next attempt on.

Examples:
  postrider subscriptions update SUB_ID --to https://example.com/v2/hooks
  postrider subscriptions update SUB_ID --events 'order.*' --max-in-flight default"
    )]
    Update(Update),
    /// Give it a new signing secret; the one before it signs, too, for a while
    #[command(
        after_help = "Both signatures are in one header, so that a receiver verifies with either.

Examples:
  postrider subscriptions rotate-secret SUB_ID
  postrider subscriptions rotate-secret SUB_ID --overlap 7d
  postrider subscriptions rotate-secret SUB_ID --secret - < secret.txt"
    )]
    RotateSecret(RotateSecret),
    /// Send it a signed sample, once, and show what came of it
    #[command(
        after_help = "A handshake sends no event: it asks, as CloudEvents has it, whether the receiver wants any from here.

Examples:
  postrider subscriptions test SUB_ID
  postrider subscriptions test SUB_ID --json | jq .status_code
  postrider subscriptions test SUB_ID --handshake --origin relay.example.com"
    )]
    Test(Test),
    /// Let its events wait
    #[command(after_help = "Examples:
  postrider subscriptions pause SUB_ID")]
    Pause(One),
    /// Send again, what has waited first
    #[command(after_help = "Examples:
  postrider subscriptions resume SUB_ID")]
    Resume(One),
    /// Deliver events to it once more: those that it wants, and of them those that are selected
    #[command(
        after_help = "The `webhook-id` is the same as ever. With a status, only events that have a delivery to it which
stands so.

Examples:
  postrider subscriptions replay SUB_ID --since 2h --dry-run
  postrider subscriptions replay SUB_ID --events 'order.*' payment.processed --status dead"
    )]
    Replay(Replay),
    /// Delete subscriptions and cancel what is open for them
    #[command(after_help = "Examples:
  postrider subscriptions delete SUB_ID
  postrider subscriptions delete SUB_ID SUB_ID")]
    Delete(Many),
}

/// Have events sent.
#[derive(Debug, Args)]
pub struct Create {
    /// Where to send them
    #[arg(value_name = "URL")]
    to: String,
    /// The types of events, such as `order.*` or `**`; several, or repeated
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_delimiter = ',', required = true)]
    events: Vec<String>,
    /// Only events of this integration
    #[arg(long, value_name = "INT_ID")]
    integration_id: Option<String>,
    /// A signing secret, `whsec_…`, or a private key, `whsk_…`; `-` reads it from standard input, where nobody looks over your
    /// shoulder; without it, one is made
    #[arg(long)]
    secret: Option<String>,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    ask: AskArgs,
}

/// Change a subscription.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("changes").required(true).multiple(true).args([
    "to", "events", "description", "filter", "format", "headers", "max_in_flight", "ordering",
    "rate_limit", "retry_schedule",
])))]
pub struct Update {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    id: String,
    // `--url` says which relay.
    /// Where to send events from now on
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The types of events from now on, and no others
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_delimiter = ',')]
    events: Vec<String>,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    ask: AskArgs,
}

/// Replace a signing secret.
#[derive(Debug, Args)]
pub struct RotateSecret {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    id: String,
    /// The new secret, `whsec_…` or `whsk_…`; `-` reads it from standard input; without it, one is made
    #[arg(long)]
    secret: Option<String>,
    /// How long the secret before it still signs, such as 7d; without it, a day
    #[arg(long, value_name = "DURATION", value_parser = values::seconds)]
    overlap: Option<u64>,
    #[command(flatten)]
    ask: AskArgs,
}

/// Try an endpoint.
#[derive(Debug, Args)]
pub struct Test {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    id: String,
    /// Ask whether it wants events, and send none
    #[arg(long)]
    handshake: bool,
    /// Who asks: the relay's own host name; without it, `postrider`
    #[arg(long, value_name = "NAME", requires = "handshake")]
    origin: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

/// Deliver events once more.
#[derive(Debug, Args)]
pub struct Replay {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    id: String,
    /// Those from this time on, such as 2030-01-31T12:00:00Z, or 10m: so long ago
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    since: Option<String>,
    /// Those up to this time
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    until: Option<String>,
    /// Those of these types; several, or repeated
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_delimiter = ',')]
    events: Vec<String>,
    /// Those whose delivery to it stands so
    #[arg(long, value_parser = ["pending", "retrying", "delivered", "dead", "cancelled"])]
    status: Option<String>,
    /// Only say how many there are
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ask: AskArgs,
}

impl Subscriptions {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(all) => all.list(&SUBSCRIPTIONS),
            Self::Show(one) => one.show(&SUBSCRIPTIONS),
            Self::Update(update) => update.run(),
            Self::RotateSecret(rotate) => rotate.run(),
            Self::Test(test) => test.run(),
            Self::Pause(one) => one.act(&SUBSCRIPTIONS, "pause"),
            Self::Resume(one) => one.act(&SUBSCRIPTIONS, "resume"),
            Self::Replay(replay) => replay.run(),
            Self::Delete(many) => many.delete(&SUBSCRIPTIONS),
        }
    }
}

impl Create {
    fn run(&self) -> Result<(), CliError> {
        let secret = given(self.secret.as_deref())?;
        let fields = [
            ("url", Some(json!(self.to))),
            ("events", Some(json!(self.events))),
            (
                "integration_id",
                self.integration_id.as_ref().map(|id| json!(id)),
            ),
            ("secret", secret.map(|secret| json!(secret))),
        ];
        let body = object(fields.into_iter().chain(self.manner.fields()));
        self.ask.open()?.create(&SUBSCRIPTIONS, &body)
    }
}

impl Update {
    fn run(&self) -> Result<(), CliError> {
        let fields = [
            ("url", self.to.as_ref().map(|url| json!(url))),
            ("events", values::texts(&self.events)),
        ];
        let body = object(fields.into_iter().chain(self.manner.fields()));
        self.ask.open()?.update(&SUBSCRIPTIONS, &self.id, &body)
    }
}

impl RotateSecret {
    fn run(&self) -> Result<(), CliError> {
        let secret = given(self.secret.as_deref())?;
        let body = object([
            ("secret", secret.map(|secret| json!(secret))),
            (
                "overlap_seconds",
                self.overlap.map(|seconds| json!(seconds)),
            ),
        ]);
        let session = self.ask.open()?;
        let path = format!("{}/rotate-secret", SUBSCRIPTIONS.place(&self.id)?);
        let answer = session.ask(Method::POST, &path, body.to_string())?;
        session.print_alone("secret", &answer)
    }
}

impl Test {
    fn run(&self) -> Result<(), CliError> {
        let session = self.ask.open()?;
        let body = object([
            ("handshake", self.handshake.then_some(json!(true))),
            ("origin", self.origin.as_ref().map(|name| json!(name))),
        ]);
        let path = format!("{}/test", SUBSCRIPTIONS.place(&self.id)?);
        let answer = session.ask(Method::POST, &path, body.to_string())?;
        session.show(&SUBSCRIPTIONS, &answer)?;
        if answer["delivered"] == false {
            return Err(CliError::Failed("the sample was not delivered".to_owned()));
        }
        if answer["allowed"] == false {
            let message = "the receiver does not say that it wants events from here";
            return Err(CliError::Failed(message.to_owned()));
        }
        Ok(())
    }
}

impl Replay {
    fn run(&self) -> Result<(), CliError> {
        let wish = Wish {
            path: format!("{}/replay", SUBSCRIPTIONS.place(&self.id)?),
            body: object([
                ("since", self.since.as_ref().map(|time| json!(time))),
                ("until", self.until.as_ref().map(|time| json!(time))),
                ("events", values::texts(&self.events)),
                ("status", self.status.as_ref().map(|status| json!(status))),
            ]),
            dry_run: self.dry_run,
        };
        wish.fulfil(&self.ask.open()?)
    }
}

/// A secret that was given, or is read.
fn given(secret: Option<&str>) -> Result<Option<String>, CliError> {
    match secret {
        Some("-") => read_secret().map(Some),
        given => Ok(given.map(str::to_owned)),
    }
}

fn read_secret() -> Result<String, CliError> {
    let mut secret = String::new();
    let mut input = std::io::stdin().lock().take(MAX_SECRET_BYTES);
    input
        .read_to_string(&mut secret)
        .map_err(CliError::io("cannot read the secret from standard input"))?;
    Ok(secret.trim().to_owned())
}

/// The secret, where the relay shows it.
fn secret(subscription: &Value) -> Vec<(&'static str, String)> {
    match subscription["secret"].as_str() {
        Some(secret) => vec![
            ("secret", secret.to_owned()),
            (
                "",
                "shown this once; it verifies the signature of what is sent".to_owned(),
            ),
        ],
        None => Vec::new(),
    }
}
