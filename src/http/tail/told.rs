//! What readers are told of a step: made once, for all of them.
//!
//! Many read at a time, and mostly the same. A message depends on the step and on whose it is, never on
//! who reads it, so it is kept for a moment: to make it, above all to seal its id, is most of what a
//! reader costs. At most [`MAX_BYTES`] are kept; the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::sse;
use crate::domain::ids::AccountId;

/// What messages may hold together: some ten thousand of them.
pub const MAX_BYTES: usize = 4 << 20;

/// A step: whose it is, the position of its record, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Which {
    /// Whose it is.
    pub account: AccountId,
    /// Where its record is.
    pub position: u64,
    /// Which of the record's it is.
    pub number: u64,
}

/// A server-sent event.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    text: String,
    data_bytes: usize,
}

impl Message {
    /// A message with this name, this id to come back with, and this data: JSON on one line.
    pub fn new(name: &str, id: &str, data: &str) -> Self {
        let mut text = String::new();
        sse::message(&mut text, name, id, data);
        Self {
            text,
            data_bytes: data.len(),
        }
    }

    /// As it is sent.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its data alone.
    pub fn data(&self) -> &str {
        let end = self.text.len() - sse::END.len();
        self.text.get(end - self.data_bytes..end).unwrap_or("")
    }
}

/// See the module. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    messages: HashMap<Which, Arc<Message>>,
    oldest_first: VecDeque<Which>,
    bytes: usize,
}

impl Told {
    /// The message about a step, which is made if it is not there. An error is that of making it.
    pub fn message<E>(
        &self,
        which: Which,
        make: impl FnOnce() -> Result<Message, E>,
    ) -> Result<Arc<Message>, E> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.messages.get(&which) {
            return Ok(Arc::clone(known));
        }
        let message = Arc::new(make()?);
        kept.keep(which, Arc::clone(&message));
        Ok(message)
    }
}

impl Kept {
    fn keep(&mut self, which: Which, message: Arc<Message>) {
        self.bytes += message.text.len();
        self.messages.insert(which, message);
        self.oldest_first.push_back(which);
        while self.bytes > MAX_BYTES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            let gone = self.messages.remove(&oldest);
            self.bytes -= gone.map_or(0, |message| message.text.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: u64) -> Which {
        Which {
            account: AccountId::from_bits(1),
            position: 64,
            number,
        }
    }

    fn told(told: &Told, which: Which, data: &str) -> String {
        let made = told.message(which, || Ok::<_, ()>(Message::new("x", "i", data)));
        made.unwrap().data().to_owned()
    }

    #[test]
    fn a_message_is_made_once_for_each_step_of_each_account() {
        let kept = Told::default();
        assert_eq!(told(&kept, step(0), "{}"), "{}");
        assert_eq!(told(&kept, step(0), "another"), "{}");
        assert_eq!(told(&kept, step(1), "another"), "another");
        let other = Which {
            account: AccountId::from_bits(2),
            ..step(0)
        };
        assert_eq!(told(&kept, other, "theirs"), "theirs");
    }

    #[test]
    fn no_more_is_kept_than_may_be_and_the_oldest_go_first() {
        let kept = Told::default();
        let large = "x".repeat(MAX_BYTES / 4);
        for number in 0..8 {
            told(&kept, step(number), &large);
            assert!(kept.0.lock().unwrap().bytes <= MAX_BYTES);
        }
        assert_eq!(told(&kept, step(7), "new"), large);
        assert_eq!(told(&kept, step(0), "new"), "new");
        let huge = "x".repeat(2 * MAX_BYTES);
        assert_eq!(told(&kept, step(9), &huge), huge);
        let inner = kept.0.lock().unwrap();
        assert_eq!((inner.messages.len(), inner.oldest_first.len()), (0, 0));
    }
}
