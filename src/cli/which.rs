//! Which relay a command talks to: the one on this machine, or one elsewhere.

use clap::Args;
use secrecy::SecretString;
use url::Url;

use super::StoreArgs;
use super::client::{ClientError, RelayClient};
use crate::app::SOCKET;
use crate::domain::ids::AccountId;

/// Which relay to talk to, and for which account.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which relay")]
pub struct RelayArgs {
    /// A relay elsewhere; without it, the one on this machine is reached through its data directory
    #[arg(
        long,
        value_name = "URL",
        env = "POSTRIDER_URL",
        hide_env_values = true
    )]
    url: Option<String>,
    /// The key for a relay elsewhere
    #[arg(
        long,
        value_name = "KEY",
        env = "POSTRIDER_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
    /// On this machine: the account to act for; without it, the oldest
    #[arg(long, value_name = "ACCT_ID")]
    account: Option<AccountId>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Where the relay on this machine is, for what no other can be asked.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which relay")]
pub struct LocalArgs {
    /// Refused: whoever means another relay must not change this one
    #[arg(long, env = "POSTRIDER_URL", hide = true, hide_env_values = true)]
    url: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl RelayArgs {
    /// A client for that relay.
    pub fn client(&self) -> Result<RelayClient, ClientError> {
        let Some(url) = given(self.url.as_ref()) else {
            let socket = RelayClient::socket(self.store.load()?.config.data_dir.join(SOCKET));
            return Ok(match self.account {
                Some(account) => socket.acting_for(account),
                None => socket,
            });
        };
        if self.account.is_some() {
            return Err(ClientError::AccountElsewhere);
        }
        let url = relay_url(url).ok_or(ClientError::Url)?;
        let key = given(self.api_key.as_ref()).ok_or(ClientError::NoKey)?;
        Ok(RelayClient::url(url.as_str(), SecretString::from(key)))
    }
}

impl LocalArgs {
    /// A client for that relay.
    pub fn client(&self) -> Result<RelayClient, ClientError> {
        if given(self.url.as_ref()).is_some() {
            return Err(ClientError::LocalOnly);
        }
        Ok(RelayClient::socket(
            self.store.load()?.config.data_dir.join(SOCKET),
        ))
    }
}

/// What was given; an empty text in the environment takes a setting back.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// The text as the address of a relay, which holds no password: it is shown in errors.
fn relay_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (["http", "https"].contains(&url.scheme()) && url.has_host() && is_bare).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relays_url_holds_no_secret() {
        for text in [
            "https://relay.example.com",
            "http://127.0.0.1:8080/",
            "http://[::1]:8080/behind/a/proxy",
        ] {
            assert!(relay_url(text).is_some(), "{text}");
        }
        for text in [
            "",
            "relay.example.com",
            "ftp://relay.example.com",
            "https://",
            "https://me:secret@relay.example.com",
            "https://relay.example.com/?api_key=secret",
            "lwa.sk_live_secret",
        ] {
            assert!(relay_url(text).is_none(), "{text}");
        }
    }
}
