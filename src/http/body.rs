//! Reading a request's body: bounded in bytes and in time, never decompressed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use super::error::ApiError;
use crate::actors::Unavailable;

/// The largest body of a management request.
pub const MAX_MANAGE_BYTES: usize = 64 << 10;
/// What bodies that arrive in pieces may hold together.
const MAX_ARRIVING_BYTES: usize = 64 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The media type of the body in lower case, without parameters; empty when none is stated.
pub fn media_type(request: &HttpRequest) -> String {
    let value = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Bytes of bodies that have arrived in part, over all requests: what slow senders can hold.
#[derive(Debug, Clone, Default)]
pub struct Arriving(Arc<AtomicUsize>);

/// The part of one body; given back when it is dropped.
struct Part {
    arriving: Arriving,
    bytes: usize,
}

impl Part {
    fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.bytes += bytes;
        let total = self.arriving.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if total > MAX_ARRIVING_BYTES {
            // Its connection ends with the answer: there is no next request to hold up.
            return Err(Unavailable::Busy.into());
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.arriving.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads the body, at most `limit_bytes` of it.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit_bytes: usize,
    arriving: &Arriving,
) -> Result<Bytes, ApiError> {
    let encoding = request.headers().get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::MediaType(
            "Send the body without Content-Encoding".to_owned(),
        ));
    }
    let stated = request.headers().get(CONTENT_LENGTH);
    let stated = stated.and_then(|value| value.to_str().ok()?.parse().ok());
    if stated.is_some_and(|length: usize| length > limit_bytes) {
        return Err(ApiError::too_large("The body", limit_bytes));
    }
    let part = Part {
        arriving: arriving.clone(),
        bytes: 0,
    };
    tokio::time::timeout(BODY_TIMEOUT, collect(payload, limit_bytes, stated, part))
        .await
        .map_err(|_| ApiError::BodyTimeout)?
}

async fn collect(
    mut payload: Payload,
    limit_bytes: usize,
    stated: Option<usize>,
    mut part: Part,
) -> Result<Bytes, ApiError> {
    let cut_off = || ApiError::Malformed("The body was cut off".to_owned());
    // Most bodies arrive in one piece, which needs no copy.
    let Some(first) = payload.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|_| cut_off())?;
    part.grow(first.len())?;
    if first.len() > limit_bytes {
        return Err(ApiError::too_large("The body", limit_bytes));
    }
    let Some(second) = payload.next().await else {
        return Ok(first);
    };
    let mut whole = BytesMut::from(&first[..]);
    let mut next = Some(second);
    while let Some(piece) = next {
        let piece = piece.map_err(|_| cut_off())?;
        part.grow(piece.len())?;
        if whole.len() + piece.len() > limit_bytes {
            return Err(ApiError::too_large("The body", limit_bytes));
        }
        // A length is believed once an eighth of it is here. To grow by doubling would leave behind what was
        // outgrown, in all as much as the body.
        let rest = stated.and_then(|stated| stated.checked_sub(whole.len()));
        if let Some(rest) = rest.filter(|rest| rest / 8 <= whole.len()) {
            whole.reserve(rest);
        }
        whole.extend_from_slice(&piece);
        next = payload.next().await;
    }
    Ok(whole.freeze())
}

/// Reads the JSON of a management request.
pub async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    arriving: &Arriving,
) -> Result<T, ApiError> {
    let media_type = media_type(request);
    if !(media_type.is_empty() || media_type == "application/json") {
        return Err(ApiError::MediaType(
            "Content-Type must be application/json".to_owned(),
        ));
    }
    let bytes = read(request, payload, MAX_MANAGE_BYTES, arriving).await?;
    // A struct is also read from an array, member by member: nobody means that.
    if bytes
        .trim_ascii_start()
        .first()
        .is_some_and(|first| *first == b'[')
    {
        return Err(ApiError::Invalid(
            "The body must be a JSON object".to_owned(),
        ));
    }
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        if error.inner().is_data() {
            ApiError::Invalid(named(&error))
        } else {
            ApiError::Malformed(format!("The body is not valid JSON: {}", error.inner()))
        }
    })?;
    json.end()
        .map_err(|error| ApiError::Malformed(format!("The body is not valid JSON: {error}")))?;
    Ok(read)
}

/// The same, where a request without a body asks for what is usual.
pub async fn json_or_nothing<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: Payload,
    arriving: &Arriving,
) -> Result<T, ApiError> {
    let stated = request.headers().get(CONTENT_LENGTH);
    let is_empty = stated.is_none_or(|length| length.as_bytes() == b"0");
    if is_empty && !request.headers().contains_key(TRANSFER_ENCODING) {
        return Ok(T::default());
    }
    json(request, payload, arriving).await
}

/// What a change says of a member that may be without a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// It is not there: the member stays as it is.
    #[default]
    Keep,
    /// It is `null`: the member goes without a value.
    Clear,
    /// The new value.
    Set(T),
}

impl<T> Patch<T> {
    /// What becomes of the old value; a new one is read first.
    pub fn apply<U, E>(
        self,
        old: Option<U>,
        read: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<Option<U>, E> {
        match self {
            Self::Keep => Ok(old),
            Self::Clear => Ok(None),
            Self::Set(new) => read(new).map(Some),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(member: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(member)?;
        Ok(value.map_or(Self::Clear, Self::Set))
    }
}

/// A whole number, however it is written: `3.0` is 3, as JSON Schema has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Whole<T>(pub T);

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(member: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(member)?;
        // Below 2⁵³ a double holds every whole number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let of_double = |double: f64| {
            let is_whole = double.fract() == 0.0 && (0.0..=9e15).contains(&double);
            is_whole.then_some(double as u64)
        };
        let whole = number
            .as_u64()
            .or_else(|| number.as_f64().and_then(of_double));
        let fits = whole.and_then(|whole| T::try_from(whole).ok());
        fits.map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "`{number}` is not a whole number that is allowed here"
            ))
        })
    }
}

/// What is wrong, and with which field.
fn named<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> String {
    match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    }
}

/// Reads the query string; unknown parameters are refused by name.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, ApiError> {
    let pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
        .map_err(|error| ApiError::Invalid(named(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let read = |text| serde_json::from_str::<Whole<u16>>(text).ok();
        for text in ["7", "7.0", "70e-1", "0.7e1"] {
            assert_eq!(read(text), Some(Whole(7)), "{text}");
        }
        for text in [
            "7.5", "-7", "-7.0", "70000", "70000.0", "1e300", "\"7\"", "null", "[7]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
