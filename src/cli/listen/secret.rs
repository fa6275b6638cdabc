//! The signing secret of this machine, which outlives the command, and the machine's name.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::domain::signature::SigningSecret;

/// Random bytes in it.
const SECRET_BYTES: usize = 32;
/// Stands where a machine has no name that can be used.
const NAMELESS: &str = "machine";
/// The longest name that is taken from a machine.
const MAX_NAME_CHARS: usize = 40;

/// A signing secret.
pub struct Secret {
    /// `whsec_…`.
    pub text: String,
    /// It was just made.
    pub is_new: bool,
}

/// The secret in this user's state directory, which is made if there is none.
pub fn of_this_machine() -> Result<Secret, CliError> {
    let path = folder()?.join("listen.secret");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let text = text.trim().to_owned();
            let known = SigningSecret::parse(&text);
            known.map_err(|_| {
                CliError::Usage(format!(
                    "{} holds no signing secret; remove it",
                    path.display()
                ))
            })?;
            Ok(Secret {
                text,
                is_new: false,
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path),
        Err(error) => Err(CliError::io(format!("cannot read {}", path.display()))(
            error,
        )),
    }
}

fn make(path: &Path) -> Result<Secret, CliError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    let secret = SigningSecret::from_bytes(&bytes);
    let secret = secret.map_err(|error| CliError::Failed(error.to_string()))?;
    let text = secret.reveal();
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{text}")
    };
    write().map_err(CliError::io(format!("cannot write {}", path.display())))?;
    Ok(Secret { text, is_new: true })
}

/// Where programs keep what outlives them (XDG Base Directory Specification 0.8).
fn folder() -> Result<PathBuf, CliError> {
    let of = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let state = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")));
    let state = state
        .ok_or_else(|| CliError::Usage("neither XDG_STATE_HOME nor HOME is set".to_owned()))?;
    Ok(state.join("postrider"))
}

/// What this machine is called, as far as that can be a name here.
pub fn machine() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let known = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c));
    let name: String = known.take(MAX_NAME_CHARS).collect();
    if name.is_empty() {
        NAMELESS.to_owned()
    } else {
        name
    }
}
