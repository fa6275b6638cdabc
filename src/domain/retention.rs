//! How long things are kept, and what becomes of what is still open when its time is over.

use super::delivery::OpenState;

/// What is kept how long. Pure: ages are arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events, from their acceptance. What was not delivered by then is dead.
    pub events_ms: u64,
    /// Dead deliveries, from the acceptance of their event.
    pub dead_ms: u64,
    /// What the journal may take on disk before the oldest goes whatever its age; `None` for four fifths
    /// of what the disk has for it.
    pub max_bytes: Option<u64>,
}

/// What becomes of an open delivery whose segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays open, and its event is carried over.
    Carry,
    /// It was not delivered in time: it is dead, and carried over as such.
    Die,
    /// It was kept dead for long enough.
    Forget,
}

impl Retention {
    /// Judges an open delivery of an event that was accepted so long ago.
    pub fn judge(&self, state: OpenState, age_ms: u64) -> Fate {
        let too_old = age_ms >= self.events_ms;
        let forgotten = too_old && age_ms >= self.dead_ms;
        match state {
            OpenState::Dead if forgotten => Fate::Forget,
            OpenState::Waiting | OpenState::Retrying { .. } if too_old => Fate::Die,
            _ => Fate::Carry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3600 * 1000;

    #[test]
    fn what_is_open_dies_when_its_time_is_over_and_is_forgotten_later() {
        let kept = Retention {
            events_ms: 30 * DAY_MS,
            dead_ms: 90 * DAY_MS,
            max_bytes: None,
        };
        let retrying = OpenState::Retrying { due_ms: 1 };
        let cases = [
            (OpenState::Waiting, 29, Fate::Carry),
            (OpenState::Waiting, 30, Fate::Die),
            (retrying, 29, Fate::Carry),
            (retrying, 30, Fate::Die),
            (retrying, 100, Fate::Die),
            (OpenState::Dead, 29, Fate::Carry),
            (OpenState::Dead, 89, Fate::Carry),
            (OpenState::Dead, 90, Fate::Forget),
        ];
        for (state, days, fate) in cases {
            assert_eq!(
                kept.judge(state, days * DAY_MS),
                fate,
                "{state:?}, {days} days"
            );
        }
    }

    #[test]
    fn dead_deliveries_are_kept_at_least_as_long_as_events() {
        let kept = Retention {
            events_ms: 30,
            dead_ms: 5,
            max_bytes: None,
        };
        assert_eq!(kept.judge(OpenState::Dead, 29), Fate::Carry);
        assert_eq!(kept.judge(OpenState::Dead, 30), Fate::Forget);
    }
}
