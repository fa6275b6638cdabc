//! A task as it is shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::delivery::Status;
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{IntegrationId, SubscriptionId, TaskId};
use crate::domain::task::{Selection, State, Task, Work};
use crate::domain::time;
use crate::http::openapi::shapes;

/// What it is to do, and how far it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Task)]
pub struct TaskView {
    #[schema(value_type = shapes::TaskId)]
    id: TaskId,
    /// `retry`, `cancel` or `replay`.
    #[schema(example = "retry")]
    kind: &'static str,
    /// `running`, `done`, `cancelled` or `failed`.
    #[schema(example = "running")]
    status: &'static str,
    /// Why it failed.
    #[schema(required, example = json!(null))]
    error: Option<String>,
    #[schema(example = false)]
    dry_run: bool,
    /// How much of it is done.
    #[schema(maximum = 100, example = 40)]
    percent: u64,
    /// Events or deliveries that it looked at.
    #[schema(example = 400)]
    examined: u64,
    /// How many of them it did its work with, or would have.
    #[schema(example = 12)]
    affected: u64,
    #[schema(value_type = Option<shapes::SubscriptionId>, required)]
    subscription_id: Option<SubscriptionId>,
    #[schema(value_type = Option<shapes::IntegrationId>, required)]
    integration_id: Option<IntegrationId>,
    #[schema(value_type = Vec<shapes::TypePattern>)]
    events: Vec<TypePattern>,
    #[schema(value_type = Option<shapes::DeliveryStatus>, required)]
    delivery_status: Option<Status>,
    #[schema(value_type = Option<shapes::Time>, required)]
    since: Option<String>,
    #[schema(value_type = Option<shapes::Time>, required)]
    until: Option<String>,
    #[schema(value_type = shapes::Time)]
    created_at: String,
    #[schema(value_type = Option<shapes::Time>, required)]
    ended_at: Option<String>,
}

/// A page of them.
#[derive(Serialize, ToSchema)]
pub struct Tasks {
    pub tasks: Vec<TaskView>,
    #[schema(value_type = Option<shapes::Cursor>, required)]
    pub next_cursor: Option<String>,
}

impl TaskView {
    /// Of this one.
    pub fn of(task: &Task) -> Self {
        let (status, error) = match &task.state {
            State::Running => ("running", None),
            State::Done => ("done", None),
            State::Cancelled => ("cancelled", None),
            State::Failed { reason } => ("failed", Some(reason.clone())),
        };
        let Selection {
            subscription,
            integration,
            types,
            status: delivery_status,
            since_ms,
            until_ms,
        } = &task.selection;
        let replayed_to = match task.work {
            Work::Replay(subscription) => Some(subscription),
            Work::Retry | Work::Cancel => None,
        };
        Self {
            id: task.id,
            kind: task.work.name(),
            status,
            error,
            dry_run: task.dry_run,
            percent: task.percent(),
            examined: task.examined,
            affected: task.affected,
            subscription_id: subscription.or(replayed_to),
            integration_id: *integration,
            events: types.clone(),
            delivery_status: *delivery_status,
            since: (*since_ms > 0).then(|| time::rfc3339(*since_ms)),
            until: (*until_ms < u64::MAX).then(|| time::rfc3339(*until_ms)),
            created_at: time::rfc3339(task.created_at_ms),
            ended_at: task.ended_at_ms.map(time::rfc3339),
        }
    }
}
