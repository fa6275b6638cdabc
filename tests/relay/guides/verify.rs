// verify.rs
use http::HeaderMap;
use standardwebhooks::Webhook;

/// Whether `key`, `whsec_…`, vouches for `body`: the bytes as they came.
pub fn verify(key: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    Webhook::new(key).is_ok_and(|webhook| webhook.verify(body, headers).is_ok())
}
