//! The real program on a store of its own, and the few sentences that tests say to it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use postrider::domain::api_key::{self, Environment};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{Answer, Connection};
use super::{PATIENCE, eventually, tracer};

/// An integration, and the key that was made with it.
#[derive(Debug, Clone)]
pub struct Integration {
    pub id: String,
    /// The last part of its ingest URL.
    pub key: String,
    pub api_key: String,
}

impl Integration {
    /// Where its events are sent.
    pub fn path(&self) -> String {
        format!("/api/webhooks/{}", self.key)
    }
}

/// The setting that says what is logged.
const LEVEL: &str = "POSTRIDER_LOG__LEVEL";

/// A subscription and its secret.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub id: String,
    pub secret: String,
}

/// A store, and the relay that runs on it, if one does.
pub struct Relay {
    data_dir: PathBuf,
    /// What the data directory is in, unless somebody else keeps it.
    root: Option<TempDir>,
    program: PathBuf,
    settings: Vec<(String, String)>,
    /// A file with further ones.
    settings_file: Option<PathBuf>,
    /// A program, and its arguments, that the relay is started by.
    tracer: Vec<String>,
    /// The owner's key.
    pub key: String,
    running: Option<Running>,
    /// Everything that was printed to standard error, by all processes on this store.
    said: Arc<Mutex<String>>,
}

struct Running {
    child: Child,
    address: SocketAddr,
}

impl Relay {
    /// A relay on an empty store.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A relay on an empty store with these settings in its environment, written without
    /// `POSTRIDER_`.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut relay = Self::stopped(settings);
        relay.restart();
        relay
    }

    /// An empty store without a relay.
    pub fn stopped(settings: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut relay = Self::stopped_on(root.path().join("store"), settings);
        relay.root = Some(root);
        relay
    }

    /// Like [`Self::stopped`], with a data directory that somebody else keeps.
    pub fn stopped_on(data_dir: PathBuf, settings: &[(&str, &str)]) -> Self {
        let key = api_key::generate(Environment::Live, getrandom::fill).unwrap();
        let settings = settings
            .iter()
            .map(|(name, value)| (format!("POSTRIDER_{name}"), (*value).to_owned()));
        Self {
            data_dir,
            root: None,
            program: env!("CARGO_BIN_EXE_postrider").into(),
            settings: settings.collect(),
            settings_file: None,
            tracer: Vec::new(),
            key: key.expose_secret().to_owned(),
            running: None,
            said: Arc::default(),
        }
    }

    /// Changes a setting from the next start on; its name is written without `POSTRIDER_`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings
            .push((format!("POSTRIDER_{name}"), value.to_owned()));
    }

    /// Has it read a file of settings from the next start on.
    #[allow(dead_code)] // One suite does.
    pub fn configure_with(&mut self, file: &Path) {
        self.settings_file = Some(file.to_owned());
    }

    /// Starts the relay by another program from the next start on, which becomes the relay.
    #[allow(dead_code)] // Another suite does.
    pub fn trace_with(&mut self, command: &[&str]) {
        self.tracer = command.iter().map(|&word| word.to_owned()).collect();
    }

    /// Has another program run on the store, such as an earlier release, from the next start on.
    #[allow(dead_code)] // One suite does.
    pub fn run_by(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    /// The file of the keys that secrets are sealed under.
    pub fn key_file(&self) -> PathBuf {
        self.data_dir.with_extension("key")
    }

    /// Has the sealing keys of another relay, as whoever moves a store must bring them.
    pub fn has_sealing_keys_of(&self, other: &Self) {
        std::fs::copy(other.key_file(), self.key_file()).unwrap();
    }

    /// The journal's first segment.
    pub fn journal(&self) -> PathBuf {
        let mut segments: Vec<_> = std::fs::read_dir(self.data_dir().join("journal"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        segments.sort();
        segments.remove(0)
    }

    /// The program, with this store's environment and nothing else of ours.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = isolated(&self.program);
        command
            .args(arguments)
            .env("POSTRIDER_DATA_DIR", self.data_dir())
            .env("POSTRIDER_BOOTSTRAP_KEY", &self.key)
            .env("POSTRIDER_OUTBOUND__ALLOW", "127.0.0.0/8")
            .env("POSTRIDER_RATE_LIMIT__MANAGE", "off")
            .env("POSTRIDER_STORE__MIN_FREE_BYTES", "0")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a process on the store, and does not wait for it to be ready.
    pub fn spawn(&self) -> (Child, BufReader<ChildStdout>) {
        let data_dir = self.data_dir();
        let data_dir = data_dir.to_str().unwrap();
        let serve = ["serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0"];
        let mut command = self.command(&serve);
        match &self.settings_file {
            Some(file) => command.arg("--config").arg(file),
            None => command.env(LEVEL, self.level()),
        };
        if let Some((program, arguments)) = self.tracer.split_first() {
            command = tracer::started_by(program, arguments, &command);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        (child, out)
    }

    /// What it logs: more than usual, so that more of it is looked through for secrets.
    fn level(&self) -> &str {
        let chosen = self.settings.iter().rfind(|(name, _)| name == LEVEL);
        chosen.map_or("debug,access=info,attempt=info", |(_, level)| level)
    }

    /// Keeps what a process says, for [`Self::said`].
    fn listen_to(&self, child: &mut Child) {
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::clone(&self.said);
        thread::spawn(move || {
            let mut line = String::new();
            while err.read_line(&mut line).is_ok_and(|read| read > 0) {
                said.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
    }

    /// Starts a process that must refuse to run; returns its exit status and what it said.
    #[track_caller]
    pub fn refusal(&self) -> (Option<i32>, String) {
        let (mut child, mut out) = self.spawn();
        let mut err = child.stderr.take().unwrap();
        let mut line = String::new();
        let _ = out.read_line(&mut line);
        if !line.is_empty() {
            let _ = child.kill();
            panic!("it did not refuse: {line}");
        }
        let mut said = String::new();
        err.read_to_string(&mut said).unwrap();
        (child.wait().unwrap().code(), said)
    }

    /// Starts a relay on the store that is there, and waits until it is ready.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let (mut child, mut out) = self.spawn();
        self.listen_to(&mut child);
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = out.read_line(&mut line);
            let _ = tell.send(line);
            // Read on to the end, so that the relay is never blocked or cut off.
            let _ = out.read_to_string(&mut String::new());
        });
        let line = told.recv_timeout(3 * PATIENCE).unwrap_or_default();
        let address = line.trim_end().strip_prefix("postrider ready http://");
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            let _ = child.kill();
            let status = child.wait();
            panic!("not ready: {line:?}, {status:?}\n{}", self.said());
        };
        self.running = Some(Running { child, address });
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// SIGTERM, and 0 in the end.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.signal_terminate();
        let status = self.wait_for_exit();
        assert_eq!(status.code(), Some(0), "{status}\n{}", self.said());
    }

    /// SIGTERM, without waiting for the end.
    pub fn signal_terminate(&self) {
        self.signal("TERM");
    }

    /// SIGHUP.
    #[allow(dead_code)] // One suite does.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let pid = self.running.as_ref().expect("it runs").child.id();
        let done = Command::new("sh")
            .args(["-c", &format!("kill -{name} \"$0\""), &pid.to_string()])
            .status();
        assert!(done.unwrap().success());
    }

    /// Waits for the end of the process.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("it runs");
        eventually("the end of the process", || {
            running.child.try_wait().unwrap()
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs").address
    }

    /// The memory that it takes, in MiB.
    pub fn resident_mib(&self) -> u64 {
        let pid = self.running.as_ref().expect("it runs").child.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.expect("a VmRSS").trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() / 1024
    }

    /// What was printed to standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address()).unwrap()
    }

    /// A management request with the owner's key.
    pub fn manage(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let headers = [
            ("X-API-Key", self.key.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.connect()
            .request(method, path, &headers, body)
            .unwrap()
    }

    /// What is there.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.manage("GET", path, b"").expect(200)
    }

    /// Makes something.
    #[track_caller]
    pub fn create(&self, path: &str, body: &Value) -> Value {
        let answer = self.manage("POST", path, body.to_string().as_bytes());
        answer.expect(201)
    }

    /// Deletes something.
    #[track_caller]
    pub fn delete(&self, path: &str) {
        self.manage("DELETE", path, b"").expect(204);
    }

    /// Makes an integration.
    pub fn integration(&self, name: &str) -> Integration {
        let made = self.create("/v1/integrations", &json!({ "name": name }));
        Integration {
            id: text(&made["id"]),
            key: text(&made["integration_key"]),
            api_key: text(&made["api_key"]["key"]),
        }
    }

    /// Makes a subscription to these type patterns.
    pub fn subscribe(&self, url: &str, patterns: &[&str]) -> Subscription {
        self.subscribe_as(&json!({ "url": url, "events": patterns }))
    }

    /// Makes a subscription from a whole body.
    pub fn subscribe_as(&self, body: &Value) -> Subscription {
        let made = self.create("/v1/subscriptions", body);
        Subscription {
            id: text(&made["id"]),
            secret: text(&made["secret"]),
        }
    }

    /// Sends to an integration with its own key, and these headers besides.
    pub fn post(&self, to: &Integration, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![
            ("X-API-Key", to.api_key.as_str()),
            ("Content-Type", "application/json"),
        ];
        all.extend(headers);
        let mut connection = self.connect();
        connection.request("POST", &to.path(), &all, body).unwrap()
    }

    /// Sends an event, and returns its uuid.
    #[track_caller]
    pub fn send(&self, to: &Integration, body: &[u8]) -> String {
        text(&self.post(to, &[], body).expect(202)["uuid"])
    }

    /// An event as it is shown; `None` while it is not found. A payload that a [`Value`] cannot hold,
    /// such as one with half a surrogate pair, is left out.
    pub fn event(&self, uuid: &str) -> Option<Value> {
        let answer = self.manage("GET", &format!("/v1/events/{uuid}"), b"");
        if answer.status == 404 {
            return None;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        let members: BTreeMap<String, &RawValue> = serde_json::from_slice(&answer.body).unwrap();
        let members = members.into_iter().map(|(name, value)| {
            let value = serde_json::from_str(value.get()).unwrap_or(Value::Null);
            (name, value)
        });
        Some(Value::Object(members.collect()))
    }

    /// Waits until all deliveries of an event are in this state, and returns the event.
    #[track_caller]
    pub fn wait_for_deliveries(&self, uuid: &str, status: &str) -> Value {
        eventually(&format!("the deliveries of {uuid} are {status}"), || {
            let event = self.event(uuid)?;
            let deliveries = event["deliveries"].as_array().unwrap();
            let settled = deliveries
                .iter()
                .all(|delivery| delivery["status"] == status);
            (settled && !deliveries.is_empty()).then_some(event)
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
        if thread::panicking() {
            eprintln!("---- the relay said:\n{}", self.said());
        } else {
            let said = self.said();
            assert!(!said.contains("panicked"), "{said}");
            let told = said.lines().find(|line| holds_a_secret(line));
            assert!(told.is_none(), "a secret is in the log: {told:?}");
        }
    }
}

/// Whether there is an API key or a signing secret in a line.
fn holds_a_secret(line: &str) -> bool {
    ["lwa.sk_live_", "lwa.sk_test_", "whsec_", "whsk_"]
        .iter()
        .any(|prefix| {
            let mut rest = line.split(prefix).skip(1);
            let is_long = |rest: &str| {
                let secret = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c));
                secret.count() >= 16
            };
            rest.any(is_long)
        })
}

/// The program, without any setting from the environment of the tests.
pub fn program() -> Command {
    isolated(Path::new(env!("CARGO_BIN_EXE_postrider")))
}

fn isolated(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("POSTRIDER_") {
            command.env_remove(name);
        }
    }
    command
        .env("NO_COLOR", "1")
        .current_dir(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .stdin(Stdio::null());
    command
}

/// A JSON string.
#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}
