//! `/v1/tasks`, and what makes one: retrying, giving up and replaying many deliveries.
//!
//! A task is asked for here and done by its actor. With `dry_run` it only counts, and the answer waits a
//! little for that.

mod view;

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use self::view::{TaskView, Tasks};
use super::error::ApiError;
use super::gate::Caller;
use super::openapi::shapes;
use super::page::PageQuery;
use super::search;
use super::subscriptions::reading;
use super::{Answer, Relay, body, owned};
use crate::actors::auth::Principal;
use crate::actors::now_ms;
use crate::domain::audit::Action;
use crate::domain::delivery::Status;
use crate::domain::directory::{Change, Directory, Subscription};
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{AccountId, TaskId};
use crate::domain::permission::Permission;
use crate::domain::task::{Cursor, MAX_OPEN_TASKS, MAX_TASKS, Selection, State, Task, Work};

/// How long the answer to a dry run waits for its count.
const MAX_DRY_RUN_WAIT: Duration = Duration::from_secs(10);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Which deliveries: the parameters of their list.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SelectedDeliveries)]
struct Deliveries {
    /// Only those that stand so.
    #[schema(value_type = Option<shapes::UnsettledStatus>)]
    status: Option<Status>,
    /// Only those to this subscription.
    #[schema(value_type = Option<shapes::SubscriptionId>)]
    subscription_id: Option<String>,
    /// Only those of events of these types.
    #[schema(value_type = Option<shapes::TypePattern>)]
    event_type: Option<String>,
    /// Only those of events that were accepted then or later.
    #[schema(value_type = Option<shapes::Time>)]
    since: Option<String>,
    /// Only those of events that were accepted then or earlier.
    #[schema(value_type = Option<shapes::Time>)]
    until: Option<String>,
    /// Only counts.
    #[schema(example = true)]
    dry_run: bool,
}

/// Which events.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SelectedEvents)]
struct Selected {
    /// Only events of these types; of any if there are none.
    #[schema(value_type = Vec<shapes::TypePattern>, max_items = 64, example = json!(["order.*"]))]
    events: Vec<String>,
    /// Only those whose delivery to this subscription stands so.
    #[schema(value_type = Option<shapes::DeliveryStatus>)]
    status: Option<Status>,
    /// Only events that were accepted then or later.
    #[schema(value_type = Option<shapes::Time>)]
    since: Option<String>,
    /// Only events that were accepted then or earlier.
    #[schema(value_type = Option<shapes::Time>)]
    until: Option<String>,
    /// Only counts.
    #[schema(example = false)]
    dry_run: bool,
}

/// Tries many deliveries again
///
/// Those that are selected: the dead ones, if no `status` is named. What is done is a task, which goes on after a
/// restart. With `dry_run` it only counts, and the answer waits up to ten seconds for the count.
#[utoipa::path(
    post, path = "/v1/deliveries/retry", operation_id = "retryDeliveries", request_body = Option<Deliveries>,
    responses(
        (status = 200, description = "A dry run that is done.", body = TaskView),
        (status = 202, description = "The task is under way.", body = TaskView),
        (status = 404, description = "There is no such subscription."),
        (status = 409, description = "As many tasks are under way as may."),
    ),
)]
pub async fn retry(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    payload: Payload,
) -> Answer {
    of_deliveries(Work::Retry, caller, &request, &relay, payload).await
}

/// Gives many deliveries up
///
/// Those that are selected: all that are neither delivered, dead nor cancelled, if no `status` is named. What is done is
/// a task, which goes on after a restart. With `dry_run` it only counts.
#[utoipa::path(
    post, path = "/v1/deliveries/cancel", operation_id = "cancelDeliveries", request_body = Option<Deliveries>,
    responses(
        (status = 200, description = "A dry run that is done.", body = TaskView),
        (status = 202, description = "The task is under way.", body = TaskView),
        (status = 404, description = "There is no such subscription."),
        (status = 409, description = "As many tasks are under way as may."),
    ),
)]
pub async fn cancel(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    payload: Payload,
) -> Answer {
    of_deliveries(Work::Cancel, caller, &request, &relay, payload).await
}

async fn of_deliveries(
    work: Work,
    caller: Caller,
    request: &HttpRequest,
    relay: &Relay,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::DeliveriesWrite)?;
    let wanted: Deliveries = body::json_or_nothing(request, payload, &relay.arriving).await?;
    if matches!(wanted.status, Some(Status::Delivered | Status::Cancelled)) {
        let message = "status must be pending, retrying or dead";
        return Err(ApiError::Invalid(message.to_owned()).into());
    }
    let subscription = match &wanted.subscription_id {
        None => None,
        Some(id) => {
            let directory = relay.directory.view().read();
            Some(owned::find::<Subscription>(&directory, &who, id)?.id)
        }
    };
    let types = wanted.event_type.as_deref().map(|text| {
        let pattern = text.parse::<TypePattern>();
        pattern.map_err(|error| ApiError::Invalid(format!("event_type: {error}")))
    });
    let selection = Selection {
        subscription,
        integration: who.bound_to(),
        types: types.transpose()?.into_iter().collect(),
        status: wanted.status,
        since_ms: search::moment("since", wanted.since.as_deref(), 0)?,
        until_ms: search::moment("until", wanted.until.as_deref(), u64::MAX)?,
    };
    begin(relay, who, work, selection, wanted.dry_run).await
}

/// Delivers events to a subscription once more
///
/// Those that it wants, and of them those that are selected. What is done is a task, which goes on after a restart. With
/// `dry_run` it only counts.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/replay", operation_id = "replaySubscription",
    request_body = Option<Selected>,
    responses(
        (status = 200, description = "A dry run that is done.", body = TaskView),
        (status = 202, description = "The task is under way.", body = TaskView),
        (status = 409, description = "As many tasks are under way as may."),
    ),
)]
pub async fn replay(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::DeliveriesWrite)?;
    let wanted: Selected = body::json_or_nothing(&request, payload, &relay.arriving).await?;
    let subscription: Arc<Subscription> = owned::find(&relay.directory.view().read(), &who, &id)?;
    let types = match wanted.events.as_slice() {
        [] => Vec::new(),
        texts => reading::patterns(texts)?,
    };
    let selection = Selection {
        subscription: None,
        integration: who.bound_to(),
        types,
        status: wanted.status,
        since_ms: search::moment("since", wanted.since.as_deref(), 0)?,
        until_ms: search::moment("until", wanted.until.as_deref(), u64::MAX)?,
    };
    let work = Work::Replay(subscription.id);
    begin(&relay, who, work, selection, wanted.dry_run).await
}

/// Has a task done. A dry run is waited for, within bounds.
async fn begin(
    relay: &Relay,
    who: Principal,
    work: Work,
    selection: Selection,
    dry_run: bool,
) -> Answer {
    let task = Arc::new(Task {
        id: TaskId::from_random(getrandom::u64()?),
        account: who.account(),
        work,
        selection,
        dry_run,
        log_end: relay.log.end(),
        cursor: Cursor::Start,
        examined: 0,
        affected: 0,
        done: 0,
        total: 0,
        state: State::Running,
        created_at_ms: now_ms(),
        ended_at_ms: None,
    });
    let new = Arc::clone(&task);
    let admitted = relay.change(who, Action::TaskCreated, move |directory, _| {
        let mut changes = vec![Change::PutTask(Arc::clone(&new))];
        changes.extend(make_room(directory, new.account)?);
        Ok((changes, ()))
    });
    admitted.await?;
    relay.tasks.wake();
    let task = if dry_run {
        counted(relay, task).await
    } else {
        task
    };
    let mut answer = if task.is_open() {
        HttpResponse::Accepted()
    } else {
        HttpResponse::Ok()
    };
    Ok(answer.json(TaskView::of(&task)))
}

/// What makes room for one more task.
fn make_room(directory: &Directory, account: AccountId) -> Result<Vec<Change>, ApiError> {
    let own = directory.tasks().filter(|task| task.account == account);
    let (open, mut over): (Vec<_>, Vec<_>) = own.partition(|task| task.is_open());
    if open.len() >= MAX_OPEN_TASKS {
        let message = format!("{MAX_OPEN_TASKS} tasks are under way; wait for one, or stop it");
        return Err(ApiError::Conflict(message));
    }
    over.sort_by_key(|task| task.created_at_ms);
    let too_many = (open.len() + over.len() + 1).saturating_sub(MAX_TASKS);
    let oldest = over.into_iter().take(too_many);
    Ok(oldest.map(|task| Change::DeleteTask(task.id)).collect())
}

/// The task when it is over, or as it is after a while.
async fn counted(relay: &Relay, task: Arc<Task>) -> Arc<Task> {
    let wait = async {
        loop {
            let now = relay.directory.view().read().task(task.id).cloned();
            match now.filter(|task| !task.is_open()) {
                Some(over) => return over,
                None => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            }
        }
    };
    let over = tokio::time::timeout(MAX_DRY_RUN_WAIT, wait).await;
    over.unwrap_or(task)
}

/// Lists tasks
///
/// Those that the caller may see, in the order in which they were asked for. Of those that are over, the oldest are
/// forgotten when there are more than a hundred.
#[utoipa::path(
    get, path = "/v1/tasks", operation_id = "listTasks", params(PageQuery),
    responses((status = 200, description = "A page of tasks.", body = Tasks)),
)]
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let query: PageQuery = body::query(&request)?;
    let (page, next_cursor) = owned::list::<Task>(&relay, &who, &query)?;
    let tasks = page.iter().map(|it| TaskView::of(it)).collect();
    Ok(HttpResponse::Ok().json(Tasks { tasks, next_cursor }))
}

/// Shows a task
///
/// What it does, and how far it is.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", operation_id = "showTask",
    responses((status = 200, description = "The task.", body = TaskView)),
)]
pub async fn show(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let task: Arc<Task> = owned::find(&relay.directory.view().read(), &who, &id)?;
    Ok(HttpResponse::Ok().json(TaskView::of(&task)))
}

/// Stops a task
///
/// What it has done stays done. One that is over stays as it is.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", operation_id = "stopTask",
    responses((status = 200, description = "The task.", body = TaskView)),
)]
pub async fn stop(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::DeliveriesWrite)?;
    let stopped = relay.change(who, Action::TaskCancelled, move |directory, who| {
        let task: Arc<Task> = owned::find(directory, who, &id)?;
        if !task.is_open() {
            return Ok((Vec::new(), task));
        }
        let stopped = Arc::new(Task {
            state: State::Cancelled,
            ended_at_ms: Some(now_ms()),
            ..Task::clone(&task)
        });
        Ok((vec![Change::PutTask(Arc::clone(&stopped))], stopped))
    });
    Ok(HttpResponse::Ok().json(TaskView::of(&*stopped.await?)))
}
