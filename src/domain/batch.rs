//! Many events in one body, whatever they are written in: the limits, and which error counts.
//!
//! Invariants: all or none. Each event is held to the limits of an event sent alone. Nothing is
//! allocated ahead on the sender's word. What is malformed outranks what is merely wrong, as long
//! as no limit was met on the way; among the wrong events the first one counts.

use std::ops::Range;

use thiserror::Error;

use crate::domain::json::JsonError;

/// Why a batch is refused, all of it; `E` says what can be wrong with a single event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError<E> {
    /// What surrounds the events is wrong.
    #[error(transparent)]
    Body(E),
    /// One of the events is wrong.
    #[error("Event at index {index}: {source}")]
    Event {
        /// Which one, the first being 0.
        index: usize,
        /// What is wrong with it.
        source: E,
    },
    /// One of the events is too large.
    #[error("Event at index {index}: it is larger than {limit} bytes")]
    TooLarge {
        /// Which one, the first being 0.
        index: usize,
        /// The largest size of an event, in bytes.
        limit: usize,
    },
    /// There are more events than a batch may hold.
    #[error("The batch holds more than {limit} events")]
    TooMany {
        /// The largest number of events.
        limit: usize,
    },
    /// There is no event at all.
    #[error("The batch holds no events")]
    Empty,
}

impl<E> BatchError<E> {
    /// The failing event's index, if one is to blame, the first being 0.
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::Event { index, .. } | Self::TooLarge { index, .. } => Some(*index),
            Self::Body(_) | Self::TooMany { .. } | Self::Empty => None,
        }
    }
}

impl<E: From<JsonError>> From<JsonError> for BatchError<E> {
    fn from(error: JsonError) -> Self {
        Self::Body(error.into())
    }
}

/// The bytes of an event that was read to its end, and what it says or why that is wrong.
pub(super) type ReadEvent<T, E> = (Range<usize>, Result<T, E>);

/// A batch in the making.
pub(super) struct Batch<T, E> {
    items: Vec<T>,
    seen: usize,
    /// The first event that is well formed but wrong: no longer a batch, unless it turns out that
    /// it never was JSON.
    refused: Option<BatchError<E>>,
    max_events: usize,
    max_event_bytes: usize,
}

impl<T, E: From<JsonError>> Batch<T, E> {
    pub(super) fn new(max_events: usize, max_event_bytes: usize) -> Self {
        Self {
            items: Vec::new(),
            seen: 0,
            refused: None,
            max_events,
            max_event_bytes,
        }
    }

    /// Takes in the next event.
    pub(super) fn read(
        &mut self,
        read_event: impl FnOnce() -> Result<ReadEvent<T, E>, JsonError>,
    ) -> Result<(), BatchError<E>> {
        let index = self.seen;
        if index == self.max_events {
            return Err(BatchError::TooMany {
                limit: self.max_events,
            });
        }
        self.seen += 1;
        let (range, item) = read_event().map_err(|error| BatchError::Event {
            index,
            source: error.into(),
        })?;
        match item {
            _ if self.refused.is_some() => {}
            _ if range.len() > self.max_event_bytes => {
                self.refused = Some(BatchError::TooLarge {
                    index,
                    limit: self.max_event_bytes,
                });
            }
            Err(source) => self.refused = Some(BatchError::Event { index, source }),
            Ok(item) => self.items.push(item),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<T>, BatchError<E>> {
        match self.refused {
            Some(error) => Err(error),
            None if self.items.is_empty() => Err(BatchError::Empty),
            None => Ok(self.items),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Error)]
    enum Wrong {
        #[error("odd")]
        Odd,
        #[error("{0}")]
        Json(#[from] JsonError),
    }

    const MALFORMED: JsonError = JsonError::Malformed {
        offset: 9,
        reason: "so",
    };

    type Event = Result<ReadEvent<u8, Wrong>, JsonError>;

    fn read(events: impl IntoIterator<Item = Event>) -> Result<Vec<u8>, BatchError<Wrong>> {
        let mut batch = Batch::new(3, 100);
        for event in events {
            batch.read(|| event)?;
        }
        batch.finish()
    }

    #[test]
    fn all_events_are_taken_or_none() {
        assert_eq!(
            read([Ok((0..1, Ok(7))), Ok((2..102, Ok(8)))]),
            Ok(vec![7, 8])
        );
        assert_eq!(read([]), Err(BatchError::Empty));
        let error = read([Ok((0..1, Ok(7))), Ok((2..3, Err(Wrong::Odd)))]).unwrap_err();
        assert_eq!(
            (error.index(), error.to_string().as_str()),
            (Some(1), "Event at index 1: odd")
        );
    }

    #[test]
    fn the_first_wrong_event_counts_unless_a_later_one_is_malformed() {
        let odd = || Ok((0..1, Err(Wrong::Odd)));
        let large = || Ok((0..101, Ok(7)));
        let too_large = BatchError::TooLarge {
            index: 0,
            limit: 100,
        };
        assert_eq!(read([large(), odd()]), Err(too_large));
        assert_eq!(read([odd(), large()]).unwrap_err().index(), Some(0));
        let malformed = BatchError::Event {
            index: 2,
            source: Wrong::Json(MALFORMED),
        };
        assert_eq!(read([large(), odd(), Err(MALFORMED)]), Err(malformed));
    }

    #[test]
    fn an_event_beyond_the_limit_is_not_read() {
        let event = || Ok((0..1, Ok(7)));
        assert_eq!(read([event(), event(), event()]), Ok(vec![7, 7, 7]));
        let error = read([event(), event(), event(), Err(MALFORMED)]);
        assert_eq!(error, Err(BatchError::TooMany { limit: 3 }));
    }
}
