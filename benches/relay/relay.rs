//! The processes that are measured: the relay itself, and a bare handler beside it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};

use super::cores;
use super::load::Load;
use super::wire::{self, Caller};

/// Has this program be the bare handler.
pub const BARE: &str = "--bare-handler";

/// A process that ends with its owner.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts it and waits for a line that ends with its address. `None` where it ends without one.
    fn start(command: &mut Command) -> Option<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("its output is piped"));
        out.read_line(&mut line)
            .expect("it prints where it listens");
        let Some(address) = line
            .trim()
            .rsplit('/')
            .next()
            .and_then(|it| it.parse().ok())
        else {
            let _ = child.wait();
            return None;
        };
        Some(Self { child, address })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay on a fresh store, which goes with it.
pub struct Relay {
    process: Process,
    owner: String,
    integration_key: String,
    dir: tempfile::TempDir,
}

impl Relay {
    /// With the defaults.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings of its own, as environment variables.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_by(|dir, owner| serve(dir, owner, settings))
    }

    /// Under `strace`, which writes every call that writes or syncs a file to this one.
    pub fn start_traced(trace: &Path) -> Self {
        Self::start_by(|dir, owner| {
            let mut strace = Command::new("strace");
            strace
                .args(["-D", "-f", "-y", "-s0", "--seccomp-bpf", "-o"])
                .arg(trace)
                .args([
                    "-e",
                    "trace=write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync",
                ])
                .args(["-e", "signal=none", "--", env!("CARGO_BIN_EXE_postrider")]);
            start(configured(&mut strace, dir, owner), dir)
        })
    }

    fn start_by(serve: impl FnOnce(&Path, &str) -> Process) -> Self {
        use secrecy::ExposeSecret;
        // On the disk that the build is on: a temporary directory may be in memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let owner = postrider::domain::api_key::generate(
            postrider::domain::api_key::Environment::Live,
            getrandom::fill,
        );
        let owner = owner.expect("random numbers").expose_secret().to_owned();
        let process = serve(dir.path(), &owner);
        let mut caller = Caller::of(process.address, &owner);
        let made = caller.post("/v1/integrations", r#"{"name":"bench"}"#);
        Self {
            integration_key: text(&made, "integration_key"),
            process,
            owner,
            dir,
        }
    }

    /// Kills the process and starts another on its store; says how long that one took to be ready.
    pub fn kill_and_restart(&mut self) -> Duration {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        let began = Instant::now();
        self.process = serve(self.dir.path(), &self.owner, &[]);
        began.elapsed()
    }

    /// A management request without a body.
    pub fn act(&self, path: &str) {
        self.caller().post(path, "");
    }

    /// Sends this body to it.
    pub fn load(&self, body: &str) -> Load {
        Load::new(self.process.address, &self.path(), &self.owner, body)
    }

    /// Where to send a `GET` of this path, and how.
    pub fn get(&self, path: &str) -> (SocketAddr, Vec<u8>) {
        let address = self.process.address;
        (address, wire::get(address, path, &self.owner))
    }

    /// Where events are sent.
    pub fn path(&self) -> String {
        format!("/api/webhooks/{}", self.integration_key)
    }

    /// Sets things up in it.
    pub fn caller(&self) -> Caller {
        Caller::of(self.process.address, &self.owner)
    }

    /// Returns the subscription's id.
    pub fn subscribe(&self, to: SocketAddr, pattern: &str) -> String {
        self.subscribe_all(&[format!("http://{to}/0")], pattern)
            .remove(0)
    }

    /// A subscription for each of these URLs.
    pub fn subscribe_all(&self, urls: &[String], pattern: &str) -> Vec<String> {
        let mut caller = self.caller();
        let ids = urls.iter().map(|url| {
            let body = format!(r#"{{"url":"{url}","events":["{pattern}"]}}"#);
            text(&caller.post("/v1/subscriptions", &body), "id")
        });
        ids.collect()
    }

    /// The data directory.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// The memory that it takes.
    pub fn resident_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id()));
        let status = status.unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        line.trim()
            .trim_end_matches(" kB")
            .parse::<f64>()
            .unwrap_or(f64::NAN)
            / 1024.0
    }
}

fn serve(dir: &Path, owner: &str, settings: &[(&str, &str)]) -> Process {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_postrider"));
    let configured = configured(&mut relay, dir, owner);
    start(configured.envs(settings.iter().copied()), dir)
}

/// Starts a relay whose log is a file: nobody who waits for figures wants a line for every request.
fn start(relay: &mut Command, dir: &Path) -> Process {
    let path = dir.join("log");
    let log = File::options().append(true).create(true).open(&path);
    let started = Process::start(relay.stderr(log.expect("a file for the log")));
    if started.is_none() {
        eprintln!("{}", std::fs::read_to_string(&path).unwrap_or_default());
    }
    started.expect("the relay starts")
}

fn configured<'a>(command: &'a mut Command, dir: &Path, owner: &str) -> &'a mut Command {
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.join("store"))
        .env("POSTRIDER_BOOTSTRAP_KEY", owner)
        .env("POSTRIDER_OUTBOUND__ALLOW", "127.0.0.0/8")
        .env("POSTRIDER_RATE_LIMIT__MANAGE", "off")
}

/// A text in a JSON object.
fn text(json: &str, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(json).expect("a JSON object");
    json[name].as_str().expect("a text").to_owned()
}

/// What the relay is compared with.
pub struct Bare(Process);

impl Bare {
    /// Starts it in a process of its own.
    pub fn start() -> Self {
        let this = std::env::current_exe().expect("this program's path");
        Self(Process::start(Command::new(this).arg(BARE)).expect("it prints an address"))
    }

    /// Sends this body to it.
    pub fn load(&self, body: &str) -> Load {
        Load::new(self.0.address, "/", "none", body)
    }
}

/// Reads the body, answers a uuid, does nothing else.
pub fn bare_handler() {
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(|| {
            App::new().route(
                "/",
                web::post().to(|_: web::Bytes| async {
                    let uuid = uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000);
                    HttpResponse::Accepted().json(serde_json::json!({ "uuid": uuid }))
                }),
            )
        });
        let server = server.workers(cores()).bind("127.0.0.1:0").expect("a port");
        println!("http://{}", server.addrs()[0]);
        server.run().await.expect("the server runs");
    });
}
