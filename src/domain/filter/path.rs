//! Dotted paths into JSON: `data.items.$.sku`.
//!
//! A path leads through arrays, to every element, unless a segment is an element's number; `$` stands for
//! any element, too. A dot in a name is written `\.`. To follow a path never fails: what is not there is
//! not found.

use serde_json::Value;

use super::MAX_PATH_SEGMENTS;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Into a member of an object; or an element of an array, if it is a number.
    Name(String),
    /// Into every element of an array.
    Any,
}

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Two dots meet, or one stands at an end.
    #[error("a path has an empty name")]
    EmptyName,
    /// It has more than [`MAX_PATH_SEGMENTS`] names.
    #[error("a path has at most {MAX_PATH_SEGMENTS} names")]
    TooLong,
}

/// Reads the names of a path that goes on from `below`.
pub fn parse(text: &str, below: &[Segment]) -> Result<Vec<Segment>, PathError> {
    let mut path = below.to_vec();
    let mut name = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next() {
            Some('\\') => name.extend(letters.next()),
            Some(letter) if letter != '.' => name.push(letter),
            end => {
                path.push(match name.as_str() {
                    "" => return Err(PathError::EmptyName),
                    "$" => Segment::Any,
                    _ => Segment::Name(std::mem::take(&mut name)),
                });
                name.clear();
                if end.is_none() {
                    break;
                }
            }
        }
    }
    if path.len() > MAX_PATH_SEGMENTS {
        return Err(PathError::TooLong);
    }
    Ok(path)
}

/// Whether any value that a path leads to is wanted.
pub fn any_at(path: &[Segment], value: &Value, wanted: &mut impl FnMut(&Value) -> bool) -> bool {
    let Some((segment, rest)) = path.split_first() else {
        return wanted(value);
    };
    match (segment, value) {
        (Segment::Name(name), Value::Object(members)) => members
            .get(name)
            .is_some_and(|member| any_at(rest, member, wanted)),
        (Segment::Name(name), Value::Array(elements)) => match name.parse::<usize>() {
            Ok(number) => elements
                .get(number)
                .is_some_and(|element| any_at(rest, element, wanted)),
            Err(_) => elements.iter().any(|it| any_at(path, it, wanted)),
        },
        (Segment::Any, Value::Array(elements)) => {
            elements.iter().any(|it| any_at(rest, it, wanted))
        }
        _ => false,
    }
}
