//! Pages of lists: how many, and from where on.
//!
//! A cursor says where the last page ended, so a page costs the same wherever it is.

use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor::Cursors;
use super::error::ApiError;
use super::openapi::shapes;
use crate::domain::ids::AccountId;

/// How many entries a page has where nothing is said.
pub const DEFAULT_LIMIT: usize = 50;
/// The most that a page has.
pub const MAX_LIMIT: usize = 100;

/// The parameters that every list has.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many entries the page may have.
    #[serde(default)]
    #[param(value_type = Option<shapes::Limit>)]
    limit: Limit,
    /// Where the last page ended.
    #[param(value_type = Option<shapes::Cursor>)]
    cursor: Option<String>,
}

/// How many entries a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(usize);

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

/// A page cannot have so many entries.
#[derive(Debug, thiserror::Error)]
#[error("must be a whole number from 1 to {MAX_LIMIT}")]
pub struct LimitError;

impl TryFrom<String> for Limit {
    type Error = LimitError;

    fn try_from(text: String) -> Result<Self, LimitError> {
        let limit = text.parse().ok();
        let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.map(Self).ok_or(LimitError)
    }
}

impl PageQuery {
    /// These parameters, read elsewhere.
    pub fn new(limit: Limit, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// How many entries are wanted.
    pub fn limit(&self) -> usize {
        self.limit.0
    }

    /// The numbers in the cursor, if there is one.
    pub fn cursor<const N: usize>(
        &self,
        cursors: &Cursors,
        account: AccountId,
    ) -> Result<Option<[u64; N]>, ApiError> {
        let cursor = self.cursor.as_deref();
        cursor
            .map(|cursor| cursors.open(account, cursor))
            .transpose()
    }
}

/// Cuts a page out of entries that are kept in memory, in the order in which they were made. `key`
/// gives when an entry was made, and its id. Returns where the page ended, if there is more.
pub fn cut<T>(
    mut entries: Vec<T>,
    limit: usize,
    after: Option<[u64; 2]>,
    key: impl Fn(&T) -> [u64; 2],
) -> (Vec<T>, Option<[u64; 2]>) {
    if let Some(after) = after {
        entries.retain(|entry| key(entry) > after);
    }
    entries.sort_unstable_by_key(&key);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let end = entries.last().filter(|_| more).map(key);
    (entries, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let entries: Vec<[u64; 2]> = (0..25).map(|n| [n / 3, n]).collect();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let (page, end) = cut(entries.clone(), 10, after, |entry| *entry);
            seen.extend(page);
            after = end;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, entries);
    }

    #[test]
    fn a_limit_that_is_none_is_answered_with_those_that_are() {
        let read = |text: &str| serde_urlencoded::from_str::<PageQuery>(text);
        assert_eq!(read("").unwrap().limit(), DEFAULT_LIMIT);
        assert_eq!(read("limit=100").unwrap().limit(), MAX_LIMIT);
        for text in [
            "0",
            "101",
            "-1",
            "1e3",
            "1.5",
            "x",
            "",
            "99999999999999999999",
        ] {
            let refused = read(&format!("limit={text}")).unwrap_err().to_string();
            assert!(refused.contains("from 1 to 100"), "{text}: {refused}");
        }
    }
}
