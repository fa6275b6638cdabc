//! What the commands share that manage what a relay has: a request, and its answer for people or for
//! scripts.
//!
//! A command says what to ask for, a [`Resource`] where things of its kind are and how they are shown,
//! and a [`Session`] does it. A list is followed to its end. JSON is the relay's own, with everything
//! it said. What is shown once, such as a key, is never part of a table: a [`Resource`] sets it apart.
//! Ids are looked at before anything is asked, because
//! they become part of a path; one that is none is not repeated, because it may be a key.

use actix::System;
use bytes::Bytes;
use clap::Args;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::client::{ClientError, LocalArgs, RelayArgs, RelayClient};
use super::style::{self, Style};
use super::{CliError, print, table};
use crate::config::printable;

/// How many entries are asked for at a time: the most that a relay gives.
const PAGE: usize = 100;
/// The most pages that are followed, so that no relay keeps a command busy forever.
const MAX_PAGES: usize = 10_000;
/// How much of what is no id is repeated: enough to recognise it, too little to use it.
const SHOWN_CHARS: usize = 4;

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
    id: String,
    #[command(flatten)]
    ask: AskArgs,
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

/// A kind of thing that a relay has.
#[derive(Debug)]
pub struct Resource {
    /// Where its list is.
    pub path: &'static str,
    /// The field of a list that holds its entries; also what they are called in front of people.
    pub plural: &'static str,
    /// What their ids begin with.
    pub prefix: &'static str,
    /// The fields that a list shows, and that come first where one is shown alone.
    pub columns: &'static [&'static str],
    /// The fields that are never shown as they are.
    pub apart: &'static [&'static str],
    /// What is said of those instead, after all others, where one is shown alone.
    pub last: fn(&Value) -> Vec<(&'static str, String)>,
}

impl Resource {
    /// The path of one.
    pub fn place(&self, id: &str) -> Result<String, CliError> {
        let digits = id.strip_prefix(self.prefix).unwrap_or_default();
        let is_id = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_id {
            return Ok(format!("{}/{id}", self.path));
        }
        let shown: String = id.chars().take(SHOWN_CHARS).collect();
        let (shown, prefix) = (shown.escape_debug(), self.prefix);
        Err(CliError::Usage(format!(
            "`{shown}…` is not an id of {}: those begin with `{prefix}`, as lists show them",
            self.plural
        )))
    }
}

/// A relay, and whether people or scripts read what it answers.
#[derive(Debug)]
pub struct Session {
    client: RelayClient,
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
    fn show(&self, of: &Resource, answer: &Value) -> Result<(), CliError> {
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
        let list = System::new().block_on(self.follow(of, most))?;
        if self.json {
            return print_json(&list);
        }
        let entries = list[of.plural].as_array().map_or(&[][..], Vec::as_slice);
        let style = Style::new(style::stdout_has_colour());
        let width = style::stdout_width();
        print(&table::list(of.columns, entries, width, style))
    }

    /// One list of all pages; its cursor is that of the last.
    async fn follow(&self, of: &Resource, most: usize) -> Result<Value, ClientError> {
        let mut entries = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let wanted = most.saturating_sub(entries.len()).min(PAGE).to_string();
            let mut query = vec![("limit", wanted)];
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let query = serde_urlencoded::to_string(query)
                .map_err(|error| ClientError::Answer(error.to_string()))?;
            let path = format!("{}?{query}", of.path);
            let mut page = self.client.send(Method::GET, &path, Bytes::new()).await?;
            let Some(Value::Array(more)) = page.get_mut(of.plural).map(Value::take) else {
                return Err(ClientError::Answer(format!("it has no {}", of.plural)));
            };
            entries.extend(more);
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || entries.len() >= most {
                page[of.plural] = Value::Array(entries);
                return Ok(page);
            }
        }
        let most = MAX_PAGES * PAGE;
        Err(ClientError::Answer(format!("there are more than {most}")))
    }

    /// Deletes them, one after the other. One that the relay refuses to delete does not keep the others.
    pub fn delete(&self, of: &Resource, ids: &[String]) -> Result<(), CliError> {
        let places = ids.iter().map(|id| of.place(id));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let (mut deleted, mut kept) = (Vec::new(), Vec::new());
        System::new().block_on(async {
            for (id, place) in ids.iter().zip(&places) {
                let answer = self.client.send(Method::DELETE, place, Bytes::new()).await;
                match answer {
                    Ok(_) => deleted.push(id.as_str()),
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
        if self.json {
            print_json(&json!({ "deleted": deleted }))?;
        } else {
            let lines = deleted.iter().map(|id| format!("deleted {id}\n"));
            print(&lines.collect::<String>())?;
        }
        if kept.is_empty() {
            Ok(())
        } else {
            Err(CliError::Kept(kept))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_neither_asked_for_nor_repeated() {
        let keys = Resource {
            path: "/v1/account/api-keys",
            plural: "keys",
            prefix: "key_",
            columns: &[],
            apart: &[],
            last: |_| Vec::new(),
        };
        let place = keys.place("key_0aZ").unwrap();
        assert_eq!(place, "/v1/account/api-keys/key_0aZ");
        for id in [
            "",
            "key_",
            "int_0aZ",
            "key_0aZ/../x",
            "key_?x",
            "key_é",
            "lwa.sk_live_0123456789abcdefghijklmnopqrstuv",
        ] {
            let said = keys.place(id).unwrap_err().to_string();
            assert!(!said.contains("live") && said.contains("`key_`"), "{said}");
        }
    }
}
