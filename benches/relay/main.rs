//! How fast the relay is, beside what the same machine can do at best, in one run.
//!
//! `cargo bench` prints three figures, each the median of several rounds that alternate, and what it
//! costs to know a key ([`access`]), to have a backlog ([`backlog`]), to write and keep a byte ([`bytes`]),
//! to be flooded ([`overload`]) and to live long ([`churn`]):
//!
//! - *accepted*: durable events a second at 64 connections and 1 KiB, as a ratio to a bare actix-web
//!   handler that reads the same body and answers a uuid;
//! - *delivered*: events a second accepted and delivered to one subscription;
//! - *idle*: resident memory of a relay that has nothing to do.
//!
//! The generator, the receiver and the relay share this machine's cores, over loopback. Nothing is
//! asserted: speed is for people to read.

// A benchmark that cannot go on says so and ends; its figures are far from what a double cannot hold.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::cast_precision_loss
)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod access;
mod backlog;
mod bytes;
mod churn;
mod load;
mod overload;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use load::{Load, Sink};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 64;
const BODY_BYTES: usize = 1024;
const BARE: &str = "--bare-handler";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == BARE) {
        return bare_handler();
    }
    let wanted = |name: &str| {
        let filters: Vec<_> = args[1..]
            .iter()
            .filter(|arg| !arg.starts_with('-'))
            .collect();
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let body = body();
    println!(
        "{CONNECTIONS} connections, {BODY_BYTES} bytes, {ROUNDS} rounds of {ROUND:?}, {} cores\n",
        cores()
    );
    if wanted("idle") {
        idle();
    }
    if wanted("accepted") {
        accepted(&body);
    }
    if wanted("delivered") {
        delivered(&body);
    }
    if wanted("access") {
        access::run();
    }
    if wanted("backlog") {
        backlog::run(&body);
    }
    if wanted("bytes") {
        bytes::run(&body);
    }
    if wanted("overload") {
        overload::run(&body);
    }
    if wanted("churn") {
        churn::run(&body);
    }
}

fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// An event of the size that the figures are for.
fn body() -> String {
    let start = r#"{"event":"order.completed","data":{"order_id":67890,"note":""#;
    let end = r#""}}"#;
    format!(
        "{start}{}{end}",
        "x".repeat(BODY_BYTES - start.len() - end.len())
    )
}

fn idle() {
    let relay = Relay::start();
    std::thread::sleep(Duration::from_secs(3));
    println!("idle        {:.1} MB resident", relay.resident_mb());
}

fn accepted(body: &str) {
    let relay = Relay::start();
    let bare = Bare::start();
    let mut ratios = Vec::new();
    let mut rates = Vec::new();
    for round in 1..=ROUNDS {
        let best = load::run(&bare.load(body), CONNECTIONS, ROUND);
        let ours = load::run(&relay.load(body), CONNECTIONS, ROUND);
        println!(
            "  round {round}: bare {:>7.0}/s (p50 {:>5} µs, p99 {:>6} µs)   relay {:>7.0}/s (p50 {:>5} µs, p99 {:>6} µs)   ratio {:.3}",
            best.rate(),
            best.percentile_us(50.0),
            best.percentile_us(99.0),
            ours.rate(),
            ours.percentile_us(50.0),
            ours.percentile_us(99.0),
            ours.rate() / best.rate()
        );
        ratios.push(ours.rate() / best.rate());
        rates.push(ours.rate());
    }
    println!(
        "accepted    {:.0} durable events a second, {:.2} of the bare handler (medians; {:.1} MB resident after)",
        median(&mut rates),
        median(&mut ratios),
        relay.resident_mb()
    );
}

fn delivered(body: &str) {
    let mut rates = Vec::new();
    for round in 1..=ROUNDS {
        let relay = Relay::start();
        let sink = Sink::start();
        relay.subscribe(sink.address(), "**");
        let sent = load::run(&relay.load(body), CONNECTIONS, ROUND);
        let took = sink.wait_for(sent.count(), sent.started());
        let rate = sent.count() as f64 / took.as_secs_f64();
        println!(
            "  round {round}: accepted {:>7.0}/s, all {} delivered after {:.2} s: {:>6.0}/s",
            sent.rate(),
            sent.count(),
            took.as_secs_f64(),
            rate
        );
        rates.push(rate);
    }
    println!(
        "delivered   {:.0} events a second accepted and delivered (median)",
        median(&mut rates)
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A process that ends with its owner.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts it and waits for a line that ends with its address.
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("its output is piped"));
        out.read_line(&mut line)
            .expect("it prints where it listens");
        let address = line
            .trim()
            .rsplit('/')
            .next()
            .and_then(|address| address.parse().ok());
        Self {
            child,
            address: address.expect("it printed an address"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Relay {
    process: Process,
    owner: String,
    integration_key: String,
    dir: tempfile::TempDir,
}

impl Relay {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings of its own, as environment variables.
    fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_by(|dir, owner| serve(dir, owner, settings))
    }

    /// Under `strace`, which writes every call that writes or syncs a file to this one.
    fn start_traced(trace: &Path) -> Self {
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
            Process::start(configured(&mut strace, dir, owner))
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
        let made = load::post(
            process.address,
            "/v1/integrations",
            &owner,
            r#"{"name":"bench"}"#,
        );
        Self {
            integration_key: text(&made, "integration_key"),
            process,
            owner,
            dir,
        }
    }

    /// Kills the process and starts another on its store; says how long that one took to be ready.
    fn kill_and_restart(&mut self) -> Duration {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        let began = Instant::now();
        self.process = serve(self.dir.path(), &self.owner, &[]);
        began.elapsed()
    }

    /// A management request without a body.
    fn act(&self, path: &str) {
        load::post(self.process.address, path, &self.owner, "");
    }

    fn load(&self, body: &str) -> Load {
        let path = format!("/api/webhooks/{}", self.integration_key);
        Load::new(self.process.address, &path, &self.owner, body)
    }

    /// Returns the subscription's id.
    fn subscribe(&self, to: SocketAddr, pattern: &str) -> String {
        let body = format!(r#"{{"url":"http://{to}/","events":["{pattern}"]}}"#);
        let made = load::post(
            self.process.address,
            "/v1/subscriptions",
            &self.owner,
            &body,
        );
        text(&made, "id")
    }

    /// The data directory.
    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn resident_mb(&self) -> f64 {
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
    Process::start(configured(&mut relay, dir, owner).envs(settings.iter().copied()))
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

struct Bare(Process);

impl Bare {
    fn start() -> Self {
        let this = std::env::current_exe().expect("this program's path");
        Self(Process::start(Command::new(this).arg(BARE)))
    }

    fn load(&self, body: &str) -> Load {
        Load::new(self.0.address, "/", "none", body)
    }
}

/// What the relay is compared with: reads the body, answers a uuid, does nothing else.
fn bare_handler() {
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
