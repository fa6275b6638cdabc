//! Having something done with many deliveries: how many there are, whether that is what is wanted, and how
//! far it is until it is over.
//!
//! It is done by a task, which is the relay's: whoever waits for one here may leave, and it goes on.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use actix::System;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::ask::{Session, print_json};
use super::client::ClientError;
use super::progress::Progress;
use super::serve::Signals;
use super::tasks::TASKS;
use super::{CliError, print, work};
use crate::config::printable;

/// How soon a task is looked at again; the wait doubles up to the other.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
const MAX_LOOK_AGAIN: Duration = Duration::from_secs(2);
/// What is read of an answer to a question.
const MAX_REPLY_BYTES: u64 = 64;

/// What is to be done with many.
#[derive(Debug)]
pub struct Wish {
    /// Where it is asked for.
    pub path: String,
    /// With which of them.
    pub body: Value,
    /// How many there are is all that is wanted.
    pub dry_run: bool,
}

impl Wish {
    /// Has it done, and says what came of it.
    pub fn fulfil(self, session: &Session) -> Result<(), CliError> {
        let dry_run = self.dry_run;
        let task = self.begun(session, dry_run)?;
        tell(session, &task)
    }

    /// The same, once somebody has agreed who knows how many there are. With `yes`, he has already.
    pub fn fulfil_if_agreed(self, session: &Session, yes: bool) -> Result<(), CliError> {
        if self.dry_run {
            return self.fulfil(session);
        }
        let can_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !yes && !can_ask {
            let message = "there is no terminal to ask on whether that is what you want: add --yes, or \
                           --dry-run to see how many there are";
            return Err(CliError::Usage(message.to_owned()));
        }
        let counted = self.begun(session, true)?;
        if counted["affected"] == 0 {
            return tell(session, &counted);
        }
        let _ = writeln!(std::io::stderr(), "{}", said(&counted));
        if !yes && !agrees()? {
            return Err(CliError::Failed("nothing was done".to_owned()));
        }
        self.fulfil(session)
    }

    /// The task when it is over.
    fn begun(&self, session: &Session, dry_run: bool) -> Result<Value, CliError> {
        let mut body = self.body.clone();
        body["dry_run"] = json!(dry_run);
        let task = session.ask(Method::POST, &self.path, body.to_string())?;
        follow(session, task)
    }
}

fn agrees() -> Result<bool, CliError> {
    let _ = write!(std::io::stderr(), "Go ahead? [y/N] ");
    let read = work::on_thread(|| {
        let mut reply = String::new();
        let mut input = std::io::stdin().lock().take(MAX_REPLY_BYTES);
        input.read_line(&mut reply).map(|_| reply)
    });
    let reply = work::run(read, || {})?.map_err(CliError::io("cannot read the answer"))?;
    Ok(["y", "yes"].contains(&reply.trim().to_lowercase().as_str()))
}

/// Waits until a task is over. Whoever is interrupted is told that it goes on.
fn follow(session: &Session, task: Value) -> Result<Value, CliError> {
    if task["status"] != "running" {
        return Ok(task);
    }
    let id = task["id"].as_str().unwrap_or_default();
    let place = TASKS.place(id)?;
    let mut progress = Progress::begin();
    let over = System::new().block_on(async {
        let mut signals = Signals::listen()?;
        say(&mut progress, &task);
        tokio::select! {
            over = until_over(session, &place, &mut progress) => Ok(over?),
            () = signals.next() => {
                let look = format!("look at it with `postrider tasks show {id}`");
                let stop = format!("stop it with `postrider tasks stop {id}`");
                Err(CliError::Failed(format!("{id} goes on: {look}, {stop}")))
            }
        }
    });
    progress.end();
    over
}

async fn until_over(
    session: &Session,
    place: &str,
    progress: &mut Progress,
) -> Result<Value, ClientError> {
    let mut wait = LOOK_AGAIN_AFTER;
    loop {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_LOOK_AGAIN);
        let task = session
            .client
            .send(Method::GET, place, Bytes::new())
            .await?;
        if task["status"] != "running" {
            return Ok(task);
        }
        say(progress, &task);
    }
}

fn say(progress: &mut Progress, task: &Value) {
    let text = |name: &str| task[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| task[name].as_u64().unwrap_or_default();
    let counts = if task["dry_run"] == true {
        "counting for "
    } else {
        ""
    };
    let what = format!("{counts}{} {}", text("kind"), text("id"));
    let far = format!("{} of {} so far", number("affected"), number("examined"));
    progress.say_part(number("percent"), &what, &far);
}

/// What a task has done, or would have.
fn said(task: &Value) -> String {
    let (things, done) = match task["kind"].as_str().unwrap_or_default() {
        "retry" => (["delivery", "deliveries"], "retried"),
        "cancel" => (["delivery", "deliveries"], "cancelled"),
        _ => (["event", "events"], "replayed"),
    };
    let affected = task["affected"].as_u64().unwrap_or_default();
    let things = things[usize::from(affected != 1)];
    if task["dry_run"] == true {
        format!("{affected} {things} would be {done}")
    } else {
        format!("{done} {affected} {things}")
    }
}

fn tell(session: &Session, task: &Value) -> Result<(), CliError> {
    if session.json {
        print_json(task)?;
    }
    let id = task["id"].as_str().unwrap_or_default();
    match task["status"].as_str() {
        Some("done") if session.json => Ok(()),
        Some("done") => print(&format!("{}\n", said(task))),
        Some("cancelled") => {
            let done = said(task);
            Err(CliError::Failed(format!("{id} was stopped: {done}")))
        }
        _ => {
            let reason = printable(task["error"].as_str().unwrap_or_default());
            let done = said(task);
            Err(CliError::Failed(format!("{id} failed: {reason}; {done}")))
        }
    }
}
