//! The programs that the documents' snippets are written for, and those that receivers verify with, as
//! `tests/run` installs them.
//!
//! A client that is not here is named loudly, with the reason; its tests pass without having run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// Sets PHP up as it is inside of a Laravel application.
const LARAVEL_APPLICATION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/relay/clients/application.php"
);

/// The clients that `tests/run` found or installed, so that none of them is left out in silence.
const PROMISED: &str = "POSTRIDER_TEST_CLIENTS";

/// What judges deliveries; see `clients/README.md`.
const VERIFY_PY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/clients/verify.py");
const VERIFY_JS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/clients/verify.js");

/// Who runs a snippet, or judges a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// `curl`, called by a shell.
    Curl,
    /// Python with `requests`.
    Requests,
    /// Node with `axios`.
    Axios,
    /// Node's own `fetch`.
    Fetch,
    /// Ruby's own `net/http`.
    Ruby,
    /// PHP with Laravel's `illuminate/http`.
    Laravel,
    /// Python with the library of Standard Webhooks.
    PythonVerifier,
    /// Node with the library of Standard Webhooks.
    NodeVerifier,
    /// Python with Schemathesis and the validator of `OpenAPI` documents.
    Schemathesis,
}

impl Client {
    /// Whether it can run here; if not, says so, and fails where `tests/run` has promised it.
    pub fn is_here(self) -> bool {
        let probe: &[&str] = match self {
            Self::Curl => &["-c", "curl --version"],
            Self::Requests => &["-c", "import requests"],
            Self::Axios => &["-e", "require('axios')"],
            Self::Fetch => &["-e", "fetch.name"],
            Self::Ruby => &["-e", "require 'net/http'; require 'openssl'"],
            Self::Laravel => &[LARAVEL_APPLICATION],
            Self::PythonVerifier => &["-c", "import standardwebhooks"],
            Self::NodeVerifier => &["-e", "require('standardwebhooks')"],
            Self::Schemathesis => &["-c", "import schemathesis, openapi_spec_validator"],
        };
        let reason = match self.command().args(probe).output() {
            Ok(output) if output.status.success() => return true,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("!!! NOT RUN: {self:?} is not here (tests/run installs it): {reason}");
        let name = format!("{self:?}").to_lowercase();
        let promised = std::env::var(PROMISED).unwrap_or_default();
        assert!(promised.split(' ').all(|client| client != name), "{reason}");
        false
    }

    /// Runs a file in its folder, with these variables besides, and the authority trusted.
    pub fn run(
        self,
        folder: &Path,
        file: &str,
        variables: &[(&str, &str)],
        authority: &Path,
    ) -> Output {
        let mut command = self.command();
        if self == Self::Laravel {
            let application = format!("auto_prepend_file={LARAVEL_APPLICATION}");
            let authority = format!("curl.cainfo={}", authority.display());
            command.args(["-d", &application, "-d", &authority]);
        }
        command
            .arg(file)
            .current_dir(folder)
            .env("CURL_CA_BUNDLE", authority)
            .env("REQUESTS_CA_BUNDLE", authority)
            .env("NODE_EXTRA_CA_CERTS", authority)
            .env("SSL_CERT_FILE", authority)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// Which of these deliveries a verifier takes for genuine. Each is `{"secret", "headers", "body"}`.
    pub fn verify(self, deliveries: &[Value]) -> Vec<bool> {
        let script = match self {
            Self::PythonVerifier => VERIFY_PY,
            Self::NodeVerifier => VERIFY_JS,
            other => panic!("{other:?} verifies nothing"),
        };
        let mut command = self.command();
        command.arg(script).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        serde_json::to_writer(&mut input, deliveries).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The program, in a folder, with everything but what it shall run.
    pub fn in_folder(self, folder: &Path) -> Command {
        let mut command = self.command();
        command.current_dir(folder);
        command
    }

    /// The program, with everything but what it shall run; nothing of it leaves this machine.
    fn command(self) -> Command {
        let mut command = match self {
            Self::Curl => Command::new("sh"),
            Self::Requests => Command::new(*PYTHON),
            Self::PythonVerifier | Self::Schemathesis => Command::new("python3"),
            Self::Axios | Self::Fetch | Self::NodeVerifier => Command::new("node"),
            Self::Ruby => Command::new("ruby"),
            Self::Laravel => {
                let mut php = Command::new("php");
                php.args(["-d", "display_errors=stderr"]);
                php
            }
        };
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if upper.ends_with("_PROXY") || upper.ends_with("_API_KEY") {
                command.env_remove(name);
            }
        }
        command.env("NODE_PATH", installed("node/node_modules"));
        command.env(
            "PYTHONPATH",
            installed(match self {
                Self::Schemathesis => "contract",
                _ => "python",
            }),
        );
        command
    }
}

/// The first python3 that has `requests`: Debian's package serves Debian's own only.
static PYTHON: LazyLock<&str> = LazyLock::new(|| {
    let has_requests = |python: &&&str| {
        let tried = Command::new(python)
            .args(["-c", "import requests"])
            .output();
        tried.is_ok_and(|output| output.status.success())
    };
    let candidates = ["python3", "/usr/bin/python3"];
    candidates.iter().find(has_requests).unwrap_or(&"python3")
});

/// Where `tests/run` puts packages.
fn installed(what: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("clients").join(what)
}
