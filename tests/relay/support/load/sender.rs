//! One sender: single events, batches in both forms, and requests that are repeated with their key,
//! until they are answered and long after.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::promises::{Outgoing, TYPES};
use crate::support::chance::Chance;
use crate::support::http::{Answer, Connection};
use crate::support::relay::text;

const BATCH: u64 = 20;
/// Most events are small; some are large, so that the journal goes on to its next segment.
const SMALL_BYTES: u64 = 600;
const LARGE_BYTES: u64 = 250_000;
const LARGE_ONE_IN: u64 = 60;
/// Answered requests with a key that a sender keeps to repeat.
const REMEMBERED: usize = 32;

/// How events are put into a request.
#[derive(Debug, Clone, Copy)]
enum Form {
    One,
    Json,
    Ndjson,
}

/// A request that can be sent again.
#[derive(Clone)]
struct Request {
    form: Form,
    events: Vec<Outgoing>,
    idempotency_key: Option<String>,
}

pub struct Sender {
    number: u64,
    shared: Arc<Shared>,
    chance: Chance,
    connection: Option<(SocketAddr, Connection)>,
    made: u64,
    /// Requests with a key, and the uuids that they were answered with.
    answered: Vec<(Request, Vec<String>)>,
}

impl Sender {
    pub fn new(number: u64, shared: Arc<Shared>, chance: Chance) -> Self {
        Self {
            number,
            shared,
            chance,
            connection: None,
            made: 0,
            answered: Vec::new(),
        }
    }

    pub fn run(mut self) {
        while let Some(target) = self.shared.target() {
            if self.shared.is_far_ahead() {
                std::thread::park_timeout(Duration::from_millis(2));
                continue;
            }
            if self.chance.once_in(8) && !self.answered.is_empty() {
                self.repeat(target);
                continue;
            }
            let request = self.request();
            if request.idempotency_key.is_some() {
                self.send_until_answered(request);
            } else {
                self.send_once(target, &request);
            }
        }
    }

    fn event(&mut self) -> Outgoing {
        self.made += 1;
        let most = if self.chance.once_in(LARGE_ONE_IN) {
            LARGE_BYTES
        } else {
            SMALL_BYTES
        };
        let filling = "x".repeat(usize::try_from(self.chance.below(most)).unwrap());
        let event_type = TYPES[usize::try_from(self.made).unwrap() % TYPES.len()];
        let (sender, n) = (self.number, self.made);
        let body = format!(
            r#"{{"event":"{event_type}","data":{{"sender":{sender},"n":{n},"x":"{filling}"}}}}"#
        );
        Outgoing {
            event_type,
            body: body.into_bytes(),
        }
    }

    fn request(&mut self) -> Request {
        let form = match self.chance.below(6) {
            0 => Form::Json,
            1 => Form::Ndjson,
            _ => Form::One,
        };
        let count = match form {
            Form::One => 1,
            Form::Json | Form::Ndjson => 1 + self.chance.below(BATCH),
        };
        let events = (0..count).map(|_| self.event()).collect();
        let keyed = self.chance.once_in(3);
        let key = format!("sender-{}-{}", self.number, self.made);
        Request {
            form,
            events,
            idempotency_key: keyed.then_some(key),
        }
    }

    /// Sends a request; without an answer nobody knows, and nothing is promised.
    fn send_once(&mut self, target: SocketAddr, request: &Request) {
        let sent_at = Instant::now();
        if let Some(answer) = self.post(target, request) {
            self.shared
                .promise(uuids(request, &answer), &request.events, sent_at);
        }
    }

    /// Repeats a request with its key, over as many restarts as it takes.
    fn send_until_answered(&mut self, request: Request) {
        // The first try may have been accepted and its answer lost, so that is when it counts from.
        let sent_at = Instant::now();
        while let Some(target) = self.shared.target() {
            let Some(answer) = self.post(target, &request) else {
                continue;
            };
            let uuids = uuids(&request, &answer);
            self.shared
                .promise(uuids.iter().cloned(), &request.events, sent_at);
            if self.answered.len() == REMEMBERED {
                let forgotten = self.chance.below(REMEMBERED as u64);
                self.answered
                    .swap_remove(usize::try_from(forgotten).unwrap());
            }
            self.answered.push((request, uuids));
            return;
        }
    }

    /// Repeats what was answered, perhaps by an earlier process: the answer is the same.
    fn repeat(&mut self, target: SocketAddr) {
        let answered = self.chance.one_of(&self.answered);
        let (request, first) = answered.expect("something was answered").clone();
        if let Some(answer) = self.post(target, &request) {
            assert_eq!(
                uuids(&request, &answer),
                first,
                "another answer to a repeat"
            );
            assert_eq!(answer.header("idempotent-replayed"), Some("true"));
        }
    }

    /// The answer, if there is one and it is a 202.
    fn post(&mut self, target: SocketAddr, request: &Request) -> Option<Answer> {
        let integration = &self.shared.integration;
        let (api_key, mut path) = (integration.api_key.clone(), integration.path());
        let mut headers = vec![("X-API-Key", api_key.as_str())];
        if let Some(key) = &request.idempotency_key {
            headers.push(("Idempotency-Key", key));
        }
        let bodies = request.events.iter().map(|event| &event.body[..]);
        let bodies: Vec<&[u8]> = bodies.collect();
        let body = match request.form {
            Form::One => bodies.concat(),
            Form::Json => [b"{\"events\":[", &bodies.join(&b","[..])[..], b"]}"].concat(),
            Form::Ndjson => {
                headers.push(("Content-Type", "application/x-ndjson"));
                bodies.join(&b"\n"[..])
            }
        };
        if !matches!(request.form, Form::One) {
            path.push_str("/batch");
        }
        let kept = self.connection.take();
        let kept = kept.filter(|(address, _)| *address == target);
        let mut connection = match kept {
            Some((_, connection)) => connection,
            None => Connection::open(target).ok()?,
        };
        let answer = connection.request("POST", &path, &headers, &body).ok()?;
        self.connection = Some((target, connection));
        // A repeat can meet its own first try.
        assert!(
            matches!(answer.status, 202 | 409 | 503),
            "{}",
            answer.text()
        );
        (answer.status == 202).then_some(answer)
    }
}

/// The uuids of an answer, one for each event.
fn uuids(request: &Request, answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    let uuids: Vec<String> = match request.form {
        Form::One => vec![text(&answer["uuid"])],
        Form::Json | Form::Ndjson => answer["uuids"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect(),
    };
    assert_eq!(uuids.len(), request.events.len());
    uuids
}
