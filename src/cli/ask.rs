//! What the commands share that manage what a relay has: a request, and its answer for people or for
//! scripts.
//!
//! A command says what to ask for, a [`Resource`] where things of its kind are and how they are shown,
//! and a [`Session`] does it. A list is followed to its end, or to where enough is seen. JSON is the
//! relay's own, with everything it said.

use std::io::Write;

use actix::System;
use bytes::Bytes;
use clap::Args;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::client::{ClientError, JSON, RelayClient};
use super::resource::Resource;
use super::style::{self, Style};
use super::which::{LocalArgs, RelayArgs};
use super::{CliError, print, table};
use crate::config::printable;

/// How many entries are asked for at a time: the most that a relay gives.
const PAGE: usize = 100;
/// The most pages that are followed, so that no relay keeps a command busy forever.
const MAX_PAGES: usize = 10_000;

/// How to ask a relay, here or elsewhere.
#[derive(Debug, Clone, Args)]
pub struct AskArgs {
    /// Print the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    relay: RelayArgs,
}

/// How to ask the relay on this machine.
#[derive(Debug, Clone, Args)]
pub struct LocalAskArgs {
    /// Print the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    relay: LocalArgs,
}

impl AskArgs {
    /// A relay to ask.
    pub fn open(&self) -> Result<Session, CliError> {
        let client = self.relay.client()?;
        Ok(Session {
            client,
            json: self.json,
        })
    }
}

impl LocalAskArgs {
    /// A relay to ask.
    pub fn open(&self) -> Result<Session, CliError> {
        let client = self.relay.client()?;
        Ok(Session {
            client,
            json: self.json,
        })
    }
}

/// Parameters of a list.
pub type Query = Vec<(&'static str, String)>;

/// A list.
#[derive(Debug, Args)]
pub struct All {
    #[command(flatten)]
    ask: AskArgs,
}

/// One thing.
#[derive(Debug, Args)]
pub struct One {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    pub id: String,
    /// How to ask for it
    #[command(flatten)]
    pub ask: AskArgs,
}

/// One thing or more.
#[derive(Debug, Args)]
pub struct Many {
    /// Their ids, as lists show them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    ask: AskArgs,
}

impl All {
    /// Lists everything.
    pub fn list(&self, of: &Resource) -> Result<(), CliError> {
        self.ask.open()?.list(of, usize::MAX)
    }
}

impl One {
    /// Shows it.
    pub fn show(&self, of: &Resource) -> Result<(), CliError> {
        let session = self.ask.open()?;
        let answer = session.ask(Method::GET, &of.place(&self.id)?, Bytes::new())?;
        session.show(of, &answer)
    }

    /// Has something done with it, such as `pause`, and shows what it is then.
    pub fn act(&self, of: &Resource, verb: &str) -> Result<(), CliError> {
        self.ask.open()?.act(of, &self.id, verb)
    }
}

impl Many {
    /// Deletes them.
    pub fn delete(&self, of: &Resource) -> Result<(), CliError> {
        self.ask.open()?.delete(of, &self.ids)
    }
}

/// A relay, and whether people or scripts read what it answers.
#[derive(Debug)]
pub struct Session {
    /// The relay.
    pub client: RelayClient,
    /// Scripts read it.
    pub json: bool,
}

impl Session {
    /// Asks once.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Value, CliError> {
        Ok(System::new().block_on(self.client.send(method, path, body.into()))?)
    }

    /// Asks for what a [`Value`] could not hold as it is, such as somebody's payload.
    pub fn ask_raw(&self, path: &str) -> Result<String, CliError> {
        let answer = self.client.send_as(JSON, Method::GET, path, Bytes::new());
        let answer = System::new().block_on(answer)?;
        String::from_utf8(answer.into())
            .map_err(|error| ClientError::Answer(error.to_string()).into())
    }

    /// Makes one, and shows it.
    pub fn create(&self, of: &Resource, body: &Value) -> Result<(), CliError> {
        let answer = self.ask(Method::POST, of.path, body.to_string())?;
        self.show(of, &answer)
    }

    /// Changes one, and shows it.
    pub fn update(&self, of: &Resource, id: &str, body: &Value) -> Result<(), CliError> {
        let answer = self.ask(Method::PATCH, &of.place(id)?, body.to_string())?;
        self.show(of, &answer)
    }

    /// Has something done with one, and shows it.
    pub fn act(&self, of: &Resource, id: &str, verb: &str) -> Result<(), CliError> {
        let path = format!("{}/{verb}", of.place(id)?);
        let answer = self.ask(Method::POST, &path, Bytes::new())?;
        self.show(of, &answer)
    }

    /// Shows one.
    pub fn show(&self, of: &Resource, answer: &Value) -> Result<(), CliError> {
        if self.json {
            return print_json(answer);
        }
        let mut pairs = table::details(of.columns, of.apart, answer);
        let last = (of.last)(answer).into_iter();
        pairs.extend(last.map(|(name, says)| (name.to_owned(), printable(&says))));
        print(&table::pairs(&pairs))
    }

    /// Prints what was just made, such as a key: alone, so that a script can take it.
    pub fn print_alone(&self, field: &str, answer: &Value) -> Result<(), CliError> {
        if self.json {
            return print_json(answer);
        }
        let text = answer.get(field).and_then(Value::as_str);
        let text = text.ok_or_else(|| ClientError::Answer(format!("it has no {field}")))?;
        print(&format!("{}\n", printable(text)))
    }

    /// Lists them, so many at most.
    pub fn list(&self, of: &Resource, most: usize) -> Result<(), CliError> {
        self.list_of(of, &Query::new(), most, Value::clone)
    }

    /// Lists those of them that are asked for; people see what `row` makes of each.
    pub fn list_of(
        &self,
        of: &Resource,
        query: &Query,
        most: usize,
        row: fn(&Value) -> Value,
    ) -> Result<(), CliError> {
        let list = System::new().block_on(self.follow(of.path, of.plural, query, most))?;
        if self.json {
            return print_json(&list);
        }
        let entries = list[of.plural].as_array().map_or(&[][..], Vec::as_slice);
        let rows: Vec<Value> = entries.iter().map(row).collect();
        let style = Style::new(style::stdout_has_colour());
        let width = style::stdout_width();
        print(&table::list(of.columns, &rows, width, style))?;
        if !list["next_cursor"].is_null() {
            let says = "there is more; --limit says how many are shown";
            // Who reads the table may not read this.
            let _ = writeln!(std::io::stderr(), "{says}");
        }
        Ok(())
    }

    /// One list of all pages, so many entries at most; what else is in it is the last page's.
    pub async fn follow(
        &self,
        path: &str,
        plural: &'static str,
        query: &Query,
        most: usize,
    ) -> Result<Value, ClientError> {
        let mut entries = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let wanted = most.saturating_sub(entries.len()).min(PAGE).to_string();
            let mut query = query.clone();
            query.push(("limit", wanted));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let query = serde_urlencoded::to_string(query)
                .map_err(|error| ClientError::Answer(error.to_string()))?;
            let path = format!("{path}?{query}");
            let mut page = self.client.send(Method::GET, &path, Bytes::new()).await?;
            let Some(Value::Array(more)) = page.get_mut(plural).map(Value::take) else {
                return Err(ClientError::Answer(format!("it has no {plural}")));
            };
            entries.extend(more);
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || entries.len() >= most {
                page[plural] = Value::Array(entries);
                return Ok(page);
            }
        }
        let most = MAX_PAGES * PAGE;
        Err(ClientError::Answer(format!("there are more than {most}")))
    }

    /// Deletes them.
    pub fn delete(&self, of: &Resource, ids: &[String]) -> Result<(), CliError> {
        let each = self.each(&Method::DELETE, of, ids, "")?;
        let deleted: Vec<&str> = each.done.iter().map(|(id, _)| id.as_str()).collect();
        if self.json {
            print_json(&json!({ "deleted": deleted }))?;
        } else {
            let lines = deleted.iter().map(|id| format!("deleted {id}\n"));
            print(&lines.collect::<String>())?;
        }
        each.ended()
    }

    /// Asks the same of several, one after the other: what is at the end of their paths. One that the relay
    /// refuses does not keep the others.
    pub fn each(
        &self,
        method: &Method,
        of: &Resource,
        ids: &[String],
        at: &str,
    ) -> Result<Each, CliError> {
        let places = ids.iter().map(|id| of.place(id));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let (mut done, mut kept) = (Vec::new(), Vec::new());
        System::new().block_on(async {
            for (id, place) in ids.iter().zip(&places) {
                let path = format!("{place}{at}");
                match self.client.send(method.clone(), &path, Bytes::new()).await {
                    Ok(answer) => done.push((id.clone(), answer)),
                    Err(error) => {
                        let is_last = !error.is_refusal();
                        kept.push((id.clone(), error));
                        if is_last {
                            break;
                        }
                    }
                }
            }
        });
        Ok(Each { done, kept })
    }
}

/// What became of several.
#[derive(Debug)]
pub struct Each {
    /// Those that it was done with, and what the relay answered.
    pub done: Vec<(String, Value)>,
    kept: Vec<(String, ClientError)>,
}

impl Each {
    /// Whether it was done with all of them.
    pub fn ended(self) -> Result<(), CliError> {
        if self.kept.is_empty() {
            Ok(())
        } else {
            Err(CliError::Kept(self.kept))
        }
    }
}

/// JSON: on one line for scripts, laid out on a terminal.
pub fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let text = if style::stdout_width().is_some() {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    let text = text.map_err(|error| CliError::Failed(error.to_string()))?;
    print(&format!("{text}\n"))
}
