//! Pages of lists: how many, and from where on.
//!
//! A cursor is opaque to callers; it says where the last page ended, so a page costs the same wherever
//! it is. One from elsewhere is refused.

use serde::Deserialize;

use super::error::ApiError;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;

/// The parameters that every list has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

impl PageQuery {
    /// These parameters, read elsewhere.
    pub fn new(limit: Option<usize>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// How many entries are wanted.
    pub fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            Ok(limit)
        } else {
            Err(ApiError::Invalid(format!(
                "limit must be from 1 to {MAX_LIMIT}"
            )))
        }
    }

    /// The numbers in the cursor, if there is one.
    pub fn cursor<const N: usize>(&self) -> Result<Option<[u64; N]>, ApiError> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let numbers: Option<Vec<u64>> = cursor
            .split('-')
            .map(|number| u64::from_str_radix(number, 16).ok())
            .collect();
        let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
        numbers.map(Some).ok_or_else(|| {
            ApiError::Invalid(
                "cursor must be the next_cursor of an earlier page of this list".to_owned(),
            )
        })
    }
}

/// A cursor made of these numbers.
pub fn cursor(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:x}")).collect();
    numbers.join("-")
}

/// Cuts a page out of entries that are kept in memory, in the order in which they were made. `key`
/// gives when an entry was made, and its id.
pub fn cut<T>(
    mut entries: Vec<T>,
    query: &PageQuery,
    key: impl Fn(&T) -> (u64, u64),
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let limit = query.limit()?;
    if let Some([made_at_ms, id]) = query.cursor()? {
        entries.retain(|entry| key(entry) > (made_at_ms, id));
    }
    entries.sort_unstable_by_key(&key);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| {
        let (made_at_ms, id) = key(last);
        cursor(&[made_at_ms, id])
    });
    Ok((entries, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let entries: Vec<(u64, u64)> = (0..25).map(|n| (n / 3, n)).collect();
        let mut query = PageQuery {
            limit: Some(10),
            cursor: None,
        };
        let mut seen = Vec::new();
        loop {
            let (page, next) = cut(entries.clone(), &query, |entry| *entry).unwrap();
            seen.extend(page);
            let Some(next) = next else { break };
            query.cursor = Some(next);
        }
        assert_eq!(seen, entries);
    }

    #[test]
    fn absurd_limits_and_foreign_cursors_are_refused() {
        for limit in [0, MAX_LIMIT + 1, usize::MAX] {
            assert!(
                PageQuery {
                    limit: Some(limit),
                    cursor: None
                }
                .limit()
                .is_err()
            );
        }
        for text in ["", "-", "x", "1-2-3", "g-1"] {
            let query = PageQuery {
                limit: None,
                cursor: Some(text.to_owned()),
            };
            assert!(query.cursor::<2>().is_err(), "{text:?}");
        }
    }
}
