//! `postrider listen`: deliveries come to this machine, which needs no address for that.
//!
//! The relay sends them down a connection that this end holds, signed, retried and timed as any. They are
//! shown, and passed on to a program here. The subscription has a name and stays: what comes in while nobody
//! listens waits. It never looks connected when it is not: that is said at once, and the exit status says it
//! too.

mod delivery;
mod forward;
mod keys;
mod secret;

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use actix::System;
use bytes::Bytes;
use clap::Args;
use futures_util::future::{Either, select};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::pin::pin;
use tokio::time::timeout;

use self::delivery::{Delivery, Outcome};
use self::forward::Forwarder;
use self::keys::{Key, Keys};
use super::ask::{AskArgs, Query, Session};
use super::client::ClientError;
use super::stream::{Comeback, MAX_SILENCE, Message, Parser};
use super::style::{self, Style};
use super::{CliError, print};
use crate::config::printable;

const SUBSCRIPTIONS: &str = "/v1/subscriptions";

/// Have deliveries come to this machine.
#[derive(Debug, Args)]
#[command(
    after_help = "The signing secret is this machine's, and the same each time. In a terminal, r sends the
last delivery on once more, d shows it whole, q ends. Exit status 1 if it was not connected at the
end.

Examples:
  postrider listen --forward-to http://127.0.0.1:3000/hooks
  postrider listen --events 'order.*' payment.made --name checkout
  postrider listen --temporary --json | jq -c '{event, status}'"
)]
pub struct Listen {
    /// Where to send what comes, such as `http://127.0.0.1:3000/hooks`; without it, it is shown and answered
    /// with 200
    #[arg(long, value_name = "URL")]
    forward_to: Option<String>,
    /// The types of events, such as `order.*`; several, or repeated
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_delimiter = ',', default_value = "**")]
    events: Vec<String>,
    /// Only events of this integration
    #[arg(long, value_name = "INT_ID")]
    integration_id: Option<String>,
    /// Who listens: it goes on where the one of this name stopped; without it, this machine's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Delete its subscription at the end, and what waits for it
    #[arg(long)]
    temporary: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// What there is while it listens.
struct Ear {
    session: Session,
    subscription: String,
    forwarder: Option<Forwarder>,
    style: Style,
    last: RefCell<Option<Delivery>>,
}

/// Why it ended.
enum End {
    /// Somebody wanted it to.
    Asked,
    /// The connection is lost.
    Lost(String),
}

impl Listen {
    /// Listens until it is told to end.
    pub fn run(&self) -> Result<(), CliError> {
        let forwarder = self.forward_to.as_deref().map(Forwarder::to).transpose()?;
        let session = self.ask.open()?;
        System::new().block_on(self.listen(session, forwarder))
    }

    async fn listen(&self, session: Session, forwarder: Option<Forwarder>) -> Result<(), CliError> {
        let secret = secret::of_this_machine()?;
        let subscription = self.subscription(&session, &secret).await?;
        let to = self.forward_to.as_deref().unwrap_or("this screen");
        say(&format!("{subscription} sends to {}", printable(to)));
        say(&format!("its signing secret is {}", secret.text));
        let ear = Rc::new(Ear {
            session,
            subscription,
            forwarder,
            style: Style::new(style::stdout_has_colour()),
            last: RefCell::default(),
        });
        let ended = ear.stay().await;
        if self.temporary {
            let path = format!("{SUBSCRIPTIONS}/{}", ear.subscription);
            ear.session
                .client
                .send(Method::DELETE, &path, Bytes::new())
                .await?;
        } else {
            say(&format!(
                "what comes in from now on waits; `postrider subscriptions delete {}` forgets it",
                ear.subscription
            ));
        }
        ended
    }

    /// The id of the subscription of this name, which is made if there is none.
    async fn subscription(
        &self,
        session: &Session,
        secret: &secret::Secret,
    ) -> Result<String, CliError> {
        let url = format!(
            "listen:{}",
            self.name.clone().unwrap_or_else(secret::machine)
        );
        let everything = Query::new();
        let all = session.follow(SUBSCRIPTIONS, "subscriptions", &everything, usize::MAX);
        let all = all.await?;
        let mut all = all["subscriptions"].as_array().into_iter().flatten();
        let send = |method, path: String, body: Value| async move {
            let body = Bytes::from(body.to_string());
            session.client.send(method, &path, body).await
        };
        let known = all
            .find(|it| it["url"] == url.as_str())
            .map(|it| it["id"].clone());
        let made = if let Some(id) = known.as_ref().and_then(Value::as_str) {
            let place = format!("{SUBSCRIPTIONS}/{id}");
            if secret.is_new {
                let body = json!({ "secret": secret.text, "overlap_seconds": 0 });
                send(Method::POST, format!("{place}/rotate-secret"), body).await?;
            }
            send(Method::PATCH, place, json!({ "events": self.events })).await?
        } else {
            let mut body = json!({ "url": url, "events": self.events, "secret": secret.text });
            if let Some(integration) = &self.integration_id {
                body["integration_id"] = json!(integration);
            }
            send(Method::POST, SUBSCRIPTIONS.to_owned(), body).await?
        };
        let id = made["id"].as_str();
        let id = id.ok_or_else(|| ClientError::Answer("it has no id".to_owned()))?;
        Ok(printable(id))
    }
}

impl Ear {
    /// Connects again whenever the connection is lost, until somebody wants it to end.
    async fn stay(self: &Rc<Self>) -> Result<(), CliError> {
        let mut keys = Keys::listen();
        let mut comeback = Comeback::default();
        loop {
            let why = match self.connected(&mut keys, &mut comeback).await {
                Ok(End::Asked) => return Ok(()),
                Ok(End::Lost(why)) => why,
                Err(CliError::Client(error)) if !error.is_refusal() && !error.is_usage() => {
                    error.to_string()
                }
                Err(error) => return Err(error),
            };
            let waiting = pin!(comeback.wait(&why));
            let asked = pin!(keys.end());
            if let Either::Right(_) = select(waiting, asked).await {
                return Err(CliError::Failed(
                    "it was not connected at the end".to_owned(),
                ));
            }
        }
    }

    /// Listens over one connection.
    async fn connected(
        self: &Rc<Self>,
        keys: &mut Keys,
        comeback: &mut Comeback,
    ) -> Result<End, CliError> {
        let path = format!("{SUBSCRIPTIONS}/{}/listen", self.subscription);
        let mut body = self.session.client.stream(&[], Method::GET, &path).await?;
        let mut parser = Parser::default();
        let mut is_connected = false;
        loop {
            let frame = pin!(timeout(MAX_SILENCE, body.frame()));
            let frame = match select(frame, pin!(keys.next())).await {
                Either::Left((frame, _)) => frame,
                Either::Right((Key::End, _)) => return Ok(End::Asked),
                Either::Right((key, _)) => {
                    self.press(key);
                    continue;
                }
            };
            let Ok(Some(frame)) = frame else {
                return Ok(End::Lost("the relay is silent or has ended it".to_owned()));
            };
            let Ok(bytes) = frame.map_err(ClientError::from)?.into_data() else {
                continue;
            };
            if !is_connected {
                // The first thing that comes is a comment: now it is true.
                is_connected = true;
                comeback.reset();
                say("connected");
            }
            for message in parser.read(&bytes).map_err(ClientError::Answer)? {
                self.hear(&message)?;
            }
        }
    }

    fn hear(self: &Rc<Self>, message: &Message) -> Result<(), CliError> {
        match (message.name.as_str(), &message.data) {
            ("delivery", Some(data)) => {
                let delivery = Delivery::read(data).map_err(ClientError::Answer)?;
                let ear = Rc::clone(self);
                // The relay has only so many under way.
                actix::spawn(async move { ear.take(delivery).await });
                Ok(())
            }
            ("replaced", _) => {
                let why = "somebody else listens under this name now; --name gives another";
                Err(CliError::Failed(why.to_owned()))
            }
            // Something of a later relay.
            _ => Ok(()),
        }
    }

    /// Passes a delivery on, and tells the relay what came of it.
    async fn take(&self, delivery: Delivery) {
        let outcome = self.pass_on(&delivery).await;
        let path = format!(
            "{SUBSCRIPTIONS}/{}/listen/{}",
            self.subscription, delivery.exchange
        );
        let body = Bytes::from(outcome.said().to_string());
        let told = self.session.client.send(Method::POST, &path, body).await;
        if let Err(error) = told {
            say(&format!(
                "the relay could not be told what came of it: {error}"
            ));
        }
        *self.last.borrow_mut() = Some(delivery);
    }

    async fn pass_on(&self, delivery: &Delivery) -> Outcome {
        let outcome = match &self.forwarder {
            Some(forwarder) => forwarder.send(delivery).await,
            None => Outcome::fine(),
        };
        let line = if self.session.json {
            format!("{}\n", delivery.json(&outcome))
        } else {
            format!("{}\n", delivery.line(&outcome, self.style))
        };
        // Whoever reads no more still wants his program to get them.
        let _ = print(&line);
        outcome
    }

    fn press(self: &Rc<Self>, key: Key) {
        let last = self.last.borrow().clone();
        let Some(delivery) = last else {
            return say("there was no delivery yet");
        };
        match key {
            Key::Again => {
                let ear = Rc::clone(self);
                actix::spawn(async move {
                    ear.pass_on(&delivery).await;
                });
            }
            Key::Details => say(&delivery.details()),
            Key::End => {}
        }
    }
}

/// For people, beside the lines.
fn say(text: &str) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "{text}");
}
