//! Idempotency keys: reserved before their request is batched, answered once it is synced.
//!
//! A key is in one of three places, and is looked for in this order: *in flight* here, *answered*
//! here until a checkpoint holds it, and in the state for as long as it is kept. Because one actor
//! does all of it, there is no moment between looking and reserving.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::domain::event::{IdempotencyMark, Place};
use crate::domain::ids::EventId;
use crate::store::error::StoreError;
use crate::store::state::State;
use crate::store::state::rows::{self, IDEMPOTENCY_KEEP_MS, KeyedRequest};

/// Keys that may be kept here because no checkpoint holds them yet: some 20 MB. It is reached only when
/// dispatch falls far behind what is accepted; new keys have to wait then.
const MAX_UNSAVED: usize = 1 << 17;

/// What a request with a key finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key is new and now reserved.
    New,
    /// A request with it is not answered yet.
    InFlight,
    /// It was answered.
    Answered(KeyedRequest),
    /// It came with another body.
    OtherBody,
    /// It is new, and there is no room for new ones.
    NoRoom,
}

/// See the module.
pub struct Keys {
    state: Arc<State>,
    in_flight: HashMap<[u8; 16], [u8; 16]>,
    answered: HashMap<[u8; 16], KeyedRequest>,
    /// The answered ones by position, so that they can be forgotten once they are in the state.
    order: VecDeque<(u64, [u8; 16])>,
    max_unsaved: usize,
}

impl Keys {
    /// No key but those of the state.
    pub fn new(state: Arc<State>) -> Self {
        Self {
            state,
            in_flight: HashMap::new(),
            answered: HashMap::new(),
            order: VecDeque::new(),
            max_unsaved: MAX_UNSAVED,
        }
    }

    /// Looks a key up, and reserves it if it is new.
    pub fn claim(
        &mut self,
        scope: [u8; 16],
        body: [u8; 16],
        now_ms: u64,
    ) -> Result<Claim, StoreError> {
        if let Some(first) = self.in_flight.get(&scope) {
            return Ok(if *first == body {
                Claim::InFlight
            } else {
                Claim::OtherBody
            });
        }
        let known = match self.answered.get(&scope) {
            Some(known) => Some(*known),
            None => self.stored(&scope)?,
        };
        if let Some(known) = known.filter(|known| now_ms < known.expires_at_ms) {
            return Ok(if known.body == body {
                Claim::Answered(known)
            } else {
                Claim::OtherBody
            });
        }
        if self.answered.len() >= self.max_unsaved {
            self.forget_saved();
        }
        if self.answered.len() + self.in_flight.len() >= self.max_unsaved {
            return Ok(Claim::NoRoom);
        }
        self.in_flight.insert(scope, body);
        Ok(Claim::New)
    }

    fn stored(&self, scope: &[u8; 16]) -> Result<Option<KeyedRequest>, StoreError> {
        let row = self.state.get(&rows::keyed(scope))?;
        row.map(|row| rows::decode("an idempotency key", &row))
            .transpose()
    }

    /// The request is synced.
    pub fn answered(&mut self, mark: &IdempotencyMark, first: EventId, place: Place, now_ms: u64) {
        let scope = mark.scope;
        self.in_flight.remove(&scope);
        let known = KeyedRequest {
            body: mark.body,
            first,
            place,
            events: mark.events,
            expires_at_ms: now_ms.saturating_add(IDEMPOTENCY_KEEP_MS),
        };
        self.answered.insert(scope, known);
        self.order.push_back((place.position, scope));
    }

    /// The request failed: its key may be used again.
    pub fn release(&mut self, scope: &[u8; 16]) {
        self.in_flight.remove(scope);
    }

    /// Forgets what a checkpoint holds by now.
    pub fn forget_saved(&mut self) {
        let saved_to = self.state.saved_to();
        while let Some((position, scope)) = self.order.front() {
            if *position >= saved_to {
                break;
            }
            // A key that was used anew since is answered from here still.
            if self
                .answered
                .get(scope)
                .is_some_and(|known| known.place.position == *position)
            {
                self.answered.remove(scope);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::state::checkpoint;

    const SCOPE: [u8; 16] = [1; 16];
    const BODY: [u8; 16] = [2; 16];
    const OTHER: [u8; 16] = [3; 16];
    const MARK: IdempotencyMark = IdempotencyMark {
        scope: SCOPE,
        body: BODY,
        events: 4,
    };
    const EXPIRES_MS: u64 = 1_000 + IDEMPOTENCY_KEEP_MS;

    fn keys() -> (Keys, Arc<State>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(&dir.path().join("state"), 1 << 20).unwrap());
        (Keys::new(Arc::clone(&state)), state, dir)
    }

    fn first() -> EventId {
        EventId(uuid::Uuid::from_u128(77))
    }

    fn answer() -> KeyedRequest {
        KeyedRequest {
            body: BODY,
            first: first(),
            place: place(),
            events: 4,
            expires_at_ms: EXPIRES_MS,
        }
    }

    fn place() -> Place {
        Place {
            position: 500,
            index: 2,
        }
    }

    fn store(state: &State) {
        let row = rows::encode(&answer()).unwrap();
        let saved = BTreeMap::from([(rows::keyed(&SCOPE), Some(row))]);
        checkpoint::write(state, &saved).unwrap();
    }

    #[test]
    fn a_key_is_reserved_by_whoever_comes_first() {
        let (mut keys, _, _dir) = keys();
        assert_eq!(keys.claim(SCOPE, BODY, 1).unwrap(), Claim::New);
        assert_eq!(keys.claim(SCOPE, BODY, 2).unwrap(), Claim::InFlight);
        assert_eq!(keys.claim(SCOPE, OTHER, 2).unwrap(), Claim::OtherBody);
        assert_eq!(keys.claim([9; 16], BODY, 2).unwrap(), Claim::New);
    }

    #[test]
    fn new_keys_wait_while_as_many_as_may_be_are_not_saved() {
        let (mut keys, state, _dir) = keys();
        keys.max_unsaved = 1;
        assert_eq!(keys.claim(SCOPE, BODY, 1_000).unwrap(), Claim::New);
        assert_eq!(keys.claim([9; 16], BODY, 1_000).unwrap(), Claim::NoRoom);
        keys.answered(&MARK, first(), place(), 1_000);
        assert_eq!(keys.claim([9; 16], BODY, 1_000).unwrap(), Claim::NoRoom);
        let answered = Claim::Answered(answer());
        assert_eq!(keys.claim(SCOPE, BODY, 1_000).unwrap(), answered);
        store(&state);
        state.note_saved(501);
        assert_eq!(keys.claim([9; 16], BODY, 1_000).unwrap(), Claim::New);
    }

    #[test]
    fn a_released_key_may_be_used_again_with_any_body() {
        let (mut keys, _, _dir) = keys();
        keys.claim(SCOPE, BODY, 1).unwrap();
        keys.release(&SCOPE);
        assert_eq!(keys.claim(SCOPE, OTHER, 2).unwrap(), Claim::New);
    }

    #[test]
    fn an_answered_key_answers_the_same_until_it_expires() {
        let (mut keys, _, _dir) = keys();
        keys.claim(SCOPE, BODY, 1_000).unwrap();
        keys.answered(&MARK, first(), place(), 1_000);
        let answered = Claim::Answered(answer());
        assert_eq!(keys.claim(SCOPE, BODY, EXPIRES_MS - 1).unwrap(), answered);
        assert_eq!(keys.claim(SCOPE, OTHER, 2_000).unwrap(), Claim::OtherBody);
        assert_eq!(keys.claim(SCOPE, OTHER, EXPIRES_MS).unwrap(), Claim::New);
    }

    #[test]
    fn a_key_that_another_process_answered_is_known_from_the_state() {
        let (mut keys, state, _dir) = keys();
        store(&state);
        let answered = Claim::Answered(answer());
        assert_eq!(keys.claim(SCOPE, BODY, 2_000).unwrap(), answered);
        assert_eq!(keys.claim(SCOPE, OTHER, 2_000).unwrap(), Claim::OtherBody);
        assert_eq!(keys.claim(SCOPE, OTHER, EXPIRES_MS).unwrap(), Claim::New);
    }

    #[test]
    fn a_key_that_is_used_anew_is_not_forgotten_with_its_first_use() {
        let (mut keys, state, _dir) = keys();
        keys.claim(SCOPE, OTHER, 0).unwrap();
        let first_use = IdempotencyMark {
            body: OTHER,
            ..MARK
        };
        let earlier = Place {
            position: 400,
            index: 0,
        };
        keys.answered(&first_use, first(), earlier, 0);
        let later_ms = IDEMPOTENCY_KEEP_MS + 1_000;
        assert_eq!(keys.claim(SCOPE, BODY, later_ms).unwrap(), Claim::New);
        keys.answered(&MARK, first(), place(), later_ms);
        state.note_saved(401);
        keys.forget_saved();
        let known = keys.claim(SCOPE, BODY, later_ms).unwrap();
        assert!(matches!(known, Claim::Answered(_)), "{known:?}");
    }

    #[test]
    fn an_answer_leaves_memory_only_once_the_state_holds_it() {
        let (mut keys, state, _dir) = keys();
        keys.claim(SCOPE, BODY, 1_000).unwrap();
        keys.answered(&MARK, first(), place(), 1_000);
        let answered = || Claim::Answered(answer());
        for saved_to in [0, 499, 500] {
            state.note_saved(saved_to);
            keys.forget_saved();
            assert_eq!(keys.claim(SCOPE, BODY, 2_000).unwrap(), answered());
        }
        store(&state);
        state.note_saved(501);
        keys.forget_saved();
        assert!(keys.answered.is_empty() && keys.order.is_empty());
        assert_eq!(keys.claim(SCOPE, BODY, 2_000).unwrap(), answered());
    }
}
