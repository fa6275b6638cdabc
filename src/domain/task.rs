//! Tasks: what somebody asked to be done with many deliveries, and how far it is.
//!
//! A task goes through what it selects in small steps. Each step and the task as it stands after it are
//! journalled together, so a task survives a restart and no step is taken twice.

use serde::{Deserialize, Serialize};

use super::delivery::Status;
use super::event::{EventMeta, Place};
use super::event_type::TypePattern;
use super::ids::{AccountId, IntegrationId, SubscriptionId, TaskId};

/// The most tasks of an account that are kept; of those that are over, the oldest go first.
pub const MAX_TASKS: usize = 100;
/// The most tasks of an account that may wait or run.
pub const MAX_OPEN_TASKS: usize = 10;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Deliveries that are not delivered are attempted again, on their schedule from its beginning.
    Retry,
    /// Deliveries that are not settled are given up.
    Cancel,
    /// Events are delivered to a subscription once more.
    Replay(SubscriptionId),
}

impl Work {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Replay(_) => "replay",
        }
    }
}

/// What it is done with: everything for which all of this holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Deliveries to this subscription alone.
    pub subscription: Option<SubscriptionId>,
    /// Events that came in by this integration alone.
    pub integration: Option<IntegrationId>,
    /// Events of one of these types; of any if there are none.
    pub types: Vec<TypePattern>,
    /// Deliveries that stand so.
    pub status: Option<Status>,
    /// Events that were accepted at this time or later, in milliseconds of Unix time.
    pub since_ms: u64,
    /// Events that were accepted at this time or earlier.
    pub until_ms: u64,
}

impl Selection {
    /// Whether nothing is asked of an event.
    pub fn is_for_any_event(&self) -> bool {
        self.integration.is_none()
            && self.types.is_empty()
            && (self.since_ms, self.until_ms) == (0, u64::MAX)
    }

    /// Whether an event is one of those.
    pub fn holds(&self, event: &EventMeta) -> bool {
        let integration = self.integration;
        let types = &self.types;
        integration.is_none_or(|only| only == event.integration)
            && (types.is_empty() || types.iter().any(|it| it.matches(&event.event_type)))
            && (self.since_ms..=self.until_ms).contains(&event.accepted_at_ms)
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// Nothing was looked at.
    Start,
    /// Of the deliveries that are open, everything up to this one was looked at.
    Delivery {
        /// Whose.
        subscription: SubscriptionId,
        /// The place that its event was accepted at.
        place: Place,
        /// Which replay.
        generation: u16,
    },
    /// Of the log, everything before this position was looked at.
    Log(u64),
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It waits for its turn, or is under way.
    Running,
    /// Everything was looked at.
    Done,
    /// Somebody stopped it. What it had done stays done.
    Cancelled,
    /// It could not go on.
    Failed {
        /// Why, in a few words.
        reason: String,
    },
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub account: AccountId,
    /// What is done.
    pub work: Work,
    /// With what.
    pub selection: Selection,
    /// It only counts.
    pub dry_run: bool,
    /// Where the log ended when it was asked for: what came later is not its business.
    pub log_end: u64,
    /// How far it is.
    pub cursor: Cursor,
    /// Events or deliveries that it looked at.
    pub examined: u64,
    /// How many of them it did its work with, or would have.
    pub affected: u64,
    /// How far it is and how far it has to go, in a measure of its own; nothing before it has begun.
    pub done: u64,
    /// See above.
    pub total: u64,
    /// Where it stands.
    pub state: State,
    /// When it was asked for, in milliseconds of Unix time.
    pub created_at_ms: u64,
    /// When it was over.
    pub ended_at_ms: Option<u64>,
}

impl Task {
    /// Whether it waits or is under way.
    pub fn is_open(&self) -> bool {
        self.state == State::Running
    }

    /// How much of it is done, in a hundred.
    pub fn percent(&self) -> u64 {
        match self.state {
            State::Done => 100,
            _ if self.total == 0 => 0,
            _ => (self.done.saturating_mul(100) / self.total).min(99),
        }
    }

    /// Whether its work is for a delivery that stands so. Where nothing is said, what is dead is tried
    /// again, and what is not settled is given up.
    pub fn is_for(&self, status: Status) -> bool {
        match (self.selection.status, self.work) {
            (Some(wanted), _) => wanted == status,
            (None, Work::Retry) => status == Status::Dead,
            (None, Work::Cancel) => matches!(status, Status::Pending | Status::Retrying),
            (None, Work::Replay(_)) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(work: Work) -> Task {
        Task {
            id: TaskId::from_bits(1),
            account: AccountId::from_bits(1),
            work,
            selection: Selection {
                subscription: None,
                integration: None,
                types: Vec::new(),
                status: None,
                since_ms: 0,
                until_ms: u64::MAX,
            },
            dry_run: false,
            log_end: 0,
            cursor: Cursor::Start,
            examined: 0,
            affected: 0,
            done: 0,
            total: 0,
            state: State::Running,
            created_at_ms: 0,
            ended_at_ms: None,
        }
    }

    #[test]
    fn what_is_dead_is_tried_again_and_what_is_not_settled_is_given_up() {
        let all = [
            Status::Pending,
            Status::Retrying,
            Status::Delivered,
            Status::Dead,
            Status::Cancelled,
        ];
        let of = |task: &Task| all.map(|status| u8::from(task.is_for(status)));
        assert_eq!(of(&task(Work::Retry)), [0, 0, 0, 1, 0]);
        assert_eq!(of(&task(Work::Cancel)), [1, 1, 0, 0, 0]);
        let mut retry = task(Work::Retry);
        retry.selection.status = Some(Status::Retrying);
        assert_eq!(of(&retry), [0, 1, 0, 0, 0]);
    }

    #[test]
    fn it_is_all_done_only_when_it_is_over() {
        let mut task = task(Work::Retry);
        assert_eq!(task.percent(), 0);
        (task.done, task.total) = (7, 7);
        assert_eq!(task.percent(), 99);
        task.state = State::Done;
        assert_eq!(task.percent(), 100);
    }
}
