//! A kind of thing that a relay has: where it is, and how it is shown.
//!
//! What is shown once, such as a key, is never part of a table: a [`Resource`] sets it apart. Ids are looked
//! at before anything is asked, because they become part of a path; one that is none is not repeated,
//! because it may be a key.

use serde_json::Value;

use super::CliError;

/// How much of what is no id is repeated: enough to recognise it, too little to use it.
const SHOWN_CHARS: usize = 4;

/// A kind of thing that a relay has.
#[derive(Debug)]
pub struct Resource {
    /// Where its list is.
    pub path: &'static str,
    /// The field of a list that holds its entries; also what they are called in front of people.
    pub plural: &'static str,
    /// What their ids begin with.
    pub prefix: &'static str,
    /// The fields that a list shows, and that come first where one is shown alone.
    pub columns: &'static [&'static str],
    /// The fields that are never shown as they are.
    pub apart: &'static [&'static str],
    /// What is said of those instead, after all others, where one is shown alone.
    pub last: fn(&Value) -> Vec<(&'static str, String)>,
}

impl Resource {
    /// The path of one.
    pub fn place(&self, id: &str) -> Result<String, CliError> {
        let digits = id.strip_prefix(self.prefix).unwrap_or_default();
        let is_id = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_id {
            return Ok(format!("{}/{id}", self.path));
        }
        let shown: String = id.chars().take(SHOWN_CHARS).collect();
        let (shown, prefix) = (shown.escape_debug(), self.prefix);
        Err(CliError::Usage(format!(
            "`{shown}…` is not an id of {}: those begin with `{prefix}`, as lists show them",
            self.plural
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_neither_asked_for_nor_repeated() {
        let keys = Resource {
            path: "/v1/account/api-keys",
            plural: "keys",
            prefix: "key_",
            columns: &[],
            apart: &[],
            last: |_| Vec::new(),
        };
        let place = keys.place("key_0aZ").unwrap();
        assert_eq!(place, "/v1/account/api-keys/key_0aZ");
        for id in [
            "",
            "key_",
            "int_0aZ",
            "key_0aZ/../x",
            "key_?x",
            "key_é",
            "lwa.sk_live_0123456789abcdefghijklmnopqrstuv",
        ] {
            let said = keys.place(id).unwrap_err().to_string();
            assert!(!said.contains("live") && said.contains("`key_`"), "{said}");
        }
    }
}
