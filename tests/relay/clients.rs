//! The programs that the documents' snippets and the guides' programs are written for, and those that
//! receivers verify with, as `tests/run` installs them.
//!
//! A client that is not here is named loudly, with the reason; its tests pass without having run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
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
    /// `curl`, `jq` and Python, called by a shell.
    Shell,
    /// Python with `cryptography`.
    Cryptography,
    /// Ruby with `webrick`.
    Webrick,
    /// PHP with `curl` and `sodium`, and nothing of Laravel's.
    Php,
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
            Self::Shell => &["-c", "curl --version && jq --version && python3 --version"],
            Self::Cryptography => &["-c", "import cryptography"],
            Self::Webrick => &["-e", "require 'webrick'; require 'openssl'"],
            Self::Php => &["-r", "curl_version(); sodium_crypto_sign_keypair();"],
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
            command.args(["-d", &format!("auto_prepend_file={LARAVEL_APPLICATION}")]);
        }
        if [Self::Laravel, Self::Php].contains(&self) {
            command.args(["-d", &format!("curl.cainfo={}", authority.display())]);
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

    /// Starts something that goes on, in its folder, with these variables besides; what it prints can be
    /// read.
    pub fn start(self, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut command = self.command();
        command.args(arguments).current_dir(folder);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().unwrap()
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
            Self::Curl | Self::Shell => Command::new("sh"),
            Self::Requests => Command::new(*WITH_REQUESTS),
            Self::Cryptography => Command::new(*WITH_CRYPTOGRAPHY),
            Self::PythonVerifier | Self::Schemathesis => Command::new("python3"),
            Self::Axios | Self::Fetch | Self::NodeVerifier => Command::new("node"),
            Self::Ruby | Self::Webrick => Command::new("ruby"),
            Self::Laravel | Self::Php => {
                let mut php = Command::new("php");
                php.args(["-d", "display_errors=stderr"]);
                php
            }
        };
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            let ours = upper.starts_with("POSTRIDER_");
            if ours || upper.ends_with("_PROXY") || upper.ends_with("_API_KEY") {
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

static WITH_REQUESTS: LazyLock<&str> = LazyLock::new(|| python_with("requests"));
static WITH_CRYPTOGRAPHY: LazyLock<&str> = LazyLock::new(|| python_with("cryptography"));

/// The first python3 that has a module: Debian's packages serve Debian's own only.
fn python_with(module: &str) -> &'static str {
    let import = format!("import {module}");
    let has_it = |python: &&&str| {
        let tried = Command::new(python).args(["-c", &import]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let candidates = ["python3", "/usr/bin/python3"];
    candidates.iter().find(has_it).unwrap_or(&"python3")
}

/// Where `tests/run` puts packages.
fn installed(what: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("clients").join(what)
}
