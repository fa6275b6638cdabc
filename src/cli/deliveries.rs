//! `postrider deliveries`: how events fare with subscriptions, and what is done about it.

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::ask::{AskArgs, One, Query, Session, print_json};
use super::many::Wish;
use super::resource::Resource;
use super::style::{self, Style};
use super::subscriptions::SUBSCRIPTIONS;
use super::values::{self, object};
use super::{CliError, attempts, print, table};

/// How many are shown unless another number is wanted.
const DEFAULT_LIMIT: &str = "50";

const DELIVERIES: Resource = Resource {
    path: "/v1/deliveries",
    plural: "deliveries",
    prefix: "dlv_",
    columns: &["id", "status", "event", "attempts", "last"],
    apart: &["attempts"],
    last: |_| Vec::new(),
};
/// What comes first where one is shown.
const FIRST: [&str; 6] = [
    "id",
    "event",
    "event_uuid",
    "subscription_id",
    "status",
    "next_attempt_at",
];

/// Look at deliveries, try them again, give them up.
#[derive(Debug, Subcommand)]
pub enum Deliveries {
    /// List deliveries, those of the newest event first
    #[command(after_help = "Examples:
  postrider deliveries list --status dead
  postrider deliveries list --subscription SUB_ID --since 10m
  postrider deliveries list --event-type 'order.*' --limit 1000 --json")]
    List(List),
    /// Show a delivery: how it stands, every attempt, and what came back
    #[command(after_help = "Examples:
  postrider deliveries show DELIVERY_ID
  postrider deliveries show DELIVERY_ID --json | jq '.attempts[-1]'")]
    Show(One),
    /// Try deliveries again, on their schedule from its beginning
    #[command(
        after_help = "With --all, those that are dead, if no status is given; how many that are is said first.

Examples:
  postrider deliveries retry DELIVERY_ID DELIVERY_ID
  postrider deliveries retry --all --dry-run
  postrider deliveries retry --all --subscription SUB_ID --since 2h --yes"
    )]
    Retry(Steer),
    /// Give deliveries up; an attempt that is under way may still arrive
    #[command(
        after_help = "With --all, those that are pending or retrying, if no status is given; how many is said first.

Examples:
  postrider deliveries cancel DELIVERY_ID
  postrider deliveries cancel --all --status dead --until 30d --dry-run
  postrider deliveries cancel --all --event-type 'order.*' --yes"
    )]
    Cancel(Steer),
}

/// Which deliveries.
#[derive(Debug, Args)]
struct Which {
    /// Those that stand so
    #[arg(long, value_parser = ["pending", "retrying", "delivered", "dead", "cancelled"])]
    status: Option<String>,
    /// Those to this subscription
    #[arg(long, alias = "subscription-id", value_name = "SUB_ID")]
    subscription: Option<String>,
    /// Those of events of these types, such as `order.*`
    #[arg(long, value_name = "PATTERN")]
    event_type: Option<String>,
    /// Those of events from this time on, such as 2030-01-31T12:00:00Z, or 10m: so long ago
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    since: Option<String>,
    /// Those of events up to this time
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    until: Option<String>,
}

/// List deliveries.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    /// How many
    #[arg(long, value_name = "N", default_value = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    ask: AskArgs,
}

/// Do something with deliveries.
#[derive(Debug, Args)]
pub struct Steer {
    /// Their ids, as lists show them
    #[arg(value_name = "ID", conflicts_with_all = [
        "all", "status", "subscription", "event_type", "since", "until", "dry_run", "yes",
    ])]
    ids: Vec<String>,
    /// All of them for which the following holds
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
    /// Only say how many there are
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Yes, however many there are
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    ask: AskArgs,
}

impl Deliveries {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(one) => show(&one.ask.open()?, &one.id),
            Self::Retry(steer) => steer.run("retry", "retried"),
            Self::Cancel(steer) => steer.run("cancel", "cancelled"),
        }
    }
}

impl Which {
    fn fields(&self) -> Result<[(&'static str, Option<&String>); 5], CliError> {
        if let Some(id) = &self.subscription {
            SUBSCRIPTIONS.place(id)?;
        }
        Ok([
            ("status", self.status.as_ref()),
            ("subscription_id", self.subscription.as_ref()),
            ("event_type", self.event_type.as_ref()),
            ("since", self.since.as_ref()),
            ("until", self.until.as_ref()),
        ])
    }
}

impl List {
    fn run(&self) -> Result<(), CliError> {
        let fields = self.which.fields()?.into_iter();
        let query: Query = fields
            .filter_map(|(name, value)| Some((name, value?.clone())))
            .collect();
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let session = self.ask.open()?;
        session.list_of(&DELIVERIES, &query, most, attempts::row)
    }
}

fn show(session: &Session, id: &str) -> Result<(), CliError> {
    let delivery = session.ask(Method::GET, &DELIVERIES.place(id)?, Bytes::new())?;
    if session.json {
        return print_json(&delivery);
    }
    let pairs = table::details(&FIRST, DELIVERIES.apart, &delivery);
    let style = Style::new(style::stdout_has_colour());
    let attempts = attempts::all(&delivery, style::stdout_width(), style);
    let gap = if attempts.is_empty() { "" } else { "\n" };
    print(&format!("{}{gap}{attempts}", table::pairs(&pairs)))
}

impl Steer {
    fn run(&self, verb: &str, done: &str) -> Result<(), CliError> {
        if self.ids.is_empty() && !self.all {
            let message = "name deliveries by their ids, or add --all for all of those that the other options \
                           select";
            return Err(CliError::Usage(message.to_owned()));
        }
        let fields = self.which.fields()?;
        let session = self.ask.open()?;
        if !self.ids.is_empty() {
            return self.each(&session, verb, done);
        }
        let fields = fields.map(|(name, value)| (name, value.map(|text| json!(text))));
        let wish = Wish {
            path: format!("{}/{verb}", DELIVERIES.path),
            body: object(fields),
            dry_run: self.dry_run,
        };
        wish.fulfil_if_agreed(&session, self.yes)
    }

    fn each(&self, session: &Session, verb: &str, done: &str) -> Result<(), CliError> {
        let each = session.each(&Method::POST, &DELIVERIES, &self.ids, &format!("/{verb}"))?;
        if session.json {
            let answers: Vec<&Value> = each.done.iter().map(|(_, answer)| answer).collect();
            print_json(&json!({ "deliveries": answers }))?;
        } else {
            let lines = each.done.iter().map(|(id, _)| format!("{done} {id}\n"));
            print(&lines.collect::<String>())?;
        }
        each.ended()
    }
}
