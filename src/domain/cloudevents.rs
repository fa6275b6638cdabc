//! Placeholder until the module lands.
#![allow(missing_docs, clippy::all, clippy::pedantic)]
use super::event_type::EventType;
use std::ops::Range;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Plain,
    Structured,
    Batch,
    Binary,
}
#[derive(Debug, thiserror::Error)]
#[error("no")]
pub struct CloudEventError;
pub struct BatchItem {
    pub range: Range<usize>,
    pub event_type: EventType,
}
pub struct BinaryEvent {
    pub event_type: EventType,
    pub attributes: Vec<(String, String)>,
}
pub fn mode(_: &str, _: bool) -> Result<Mode, CloudEventError> {
    Ok(Mode::Plain)
}
pub fn parse_structured(_: &[u8], _: usize) -> Result<EventType, CloudEventError> {
    Err(CloudEventError)
}
pub fn parse_batch(
    _: &[u8],
    _: usize,
    _: usize,
    _: usize,
) -> Result<Vec<BatchItem>, CloudEventError> {
    Err(CloudEventError)
}
pub fn parse_binary<'a>(
    _: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<BinaryEvent, CloudEventError> {
    Err(CloudEventError)
}
