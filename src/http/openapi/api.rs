//! What handlers say of themselves, in one document.

use utoipa::OpenApi;

use crate::http::error::{IngestBody, ManageBody};
use crate::http::{
    account, audit, deliveries, events, explain, health, ingest, integrations, keys, listen,
    metrics, openapi, stats, steering, subscriptions, tail, tasks,
};

/// Everything that can be asked for from outside.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postrider",
        description = "A webhook and event relay: events come in over HTTP, and every subscription that wants one gets \
                       it, signed and retried.\n\n\
                       An event is on disk before its sender gets a uuid, and is delivered at least once.\n\n\
                       Keys go in the `X-API-Key` header. Answers to requests with a key tell of its rate limit, where \
                       there is one. A method that a path does not have is answered with 405 and `Allow`. Times are \
                       RFC 3339 in UTC. Lists come in pages: go on with `cursor` as long as there is a \
                       `next_cursor`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This relay.")),
    tags(
        (name = "ingest", description = "Sending events in. Errors have exactly `error` and `message`."),
        (name = "account", description = "Who am I, what may I do, and what was done."),
        (name = "api-keys", description = "Who may do what."),
        (name = "integrations", description = "Where events come in."),
        (name = "subscriptions", description = "Who wants which events, and where they are sent."),
        (name = "events", description = "What came in."),
        (name = "deliveries", description = "How each event fares with each subscription."),
        (name = "tasks", description = "What is being done with many deliveries."),
        (name = "watching", description = "What happens, and how much of it."),
        (name = "operation", description = "How the relay is, for whoever runs it."),
    ),
    components(schemas(IngestBody, ManageBody)),
    paths(
        ingest::one, ingest::batch,
        account::show, audit::list,
        keys::create, keys::list, keys::show, keys::update, keys::delete, keys::rotate,
        integrations::create, integrations::list, integrations::show, integrations::update,
        integrations::delete, integrations::disable, integrations::enable, integrations::rotate_key,
        subscriptions::create, subscriptions::list, subscriptions::show, subscriptions::update,
        subscriptions::delete, subscriptions::trial::test, subscriptions::pause,
        subscriptions::rotation::rotate_secret, subscriptions::resume, tasks::replay, listen::listen, listen::answer,
        events::list, events::show, explain::explain, steering::replay,
        deliveries::list, deliveries::show, tasks::retry, tasks::cancel, steering::retry, steering::cancel,
        tasks::list, tasks::show, tasks::stop,
        tail::tail, stats::show,
        health::live, health::ready, metrics::show, openapi::show, openapi::page,
    ),
)]
pub struct Api;
