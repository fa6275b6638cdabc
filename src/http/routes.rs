//! Every route, on one page.
//!
//! Each is written once, with its handler and what it asks of its caller; the application, the tables that
//! tests read, and what is common to operations in the description of the interface ([`super::openapi`]) come
//! from the same lines.

use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::error::{ApiError, Dialect};
use super::{
    account, accounts, audit, backup, deliveries, events, explain, gate, health, ingest,
    integrations, keys, listen, metrics, openapi, secrets, stats, steering, subscriptions, tail,
    tasks,
};
use crate::actors::metrics::Refusal;
use crate::actors::rate_limit::Class;
use crate::domain::permission::Permission;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A key.
    Key,
    /// A key that has this right.
    Right(Permission),
    /// To have come through the local socket.
    LocalSocket,
    /// To run on the same machine, or a key that has this right.
    Loopback(Permission),
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Its method.
    pub method: &'static str,
    /// Its path, with `{…}` for what changes.
    pub path: &'static str,
    /// What it asks of its caller.
    pub needs: Needs,
}

macro_rules! routes {
    ($(#[doc = $doc:literal])+ $table:ident, $configure:ident, $prefix:literal:
     $($path:literal => $($method:ident $handler:path: $needs:expr),+;)+) => {
        $(#[doc = $doc])+
        pub const $table: &[Route] = &[$($(Route {
            method: stringify!($method),
            path: concat!($prefix, $path),
            needs: $needs,
        }),+),+];

        fn $configure(app: &mut ServiceConfig) {
            $(app.service(
                at($path, &[$(stringify!($method)),+])
                    $(.route(web::method(actix_web::http::Method::$method).to($handler)))+
            );)+
        }
    };
}

routes! {
    /// Sending events in.
    INGEST, ingest_routes, "/api/webhooks":
    "/{integration_key}" => POST ingest::one: Needs::Right(Permission::EventsWrite);
    "/{integration_key}/batch" => POST ingest::batch: Needs::Right(Permission::EventsWrite);
}

routes! {
    /// Management.
    MANAGE, manage_routes, "/v1":
    "/account" => GET account::show: Needs::Key;
    "/account/audit" => GET audit::list: Needs::Right(Permission::KeysRead);
    "/account/api-keys" =>
        POST keys::create: Needs::Right(Permission::KeysWrite),
        GET keys::list: Needs::Right(Permission::KeysRead);
    "/account/api-keys/{id}" =>
        GET keys::show: Needs::Right(Permission::KeysRead),
        PATCH keys::update: Needs::Right(Permission::KeysWrite),
        DELETE keys::delete: Needs::Right(Permission::KeysWrite);
    "/account/api-keys/{id}/rotate" => POST keys::rotate: Needs::Right(Permission::KeysWrite);
    "/integrations" =>
        POST integrations::create: Needs::Right(Permission::IntegrationsWrite),
        GET integrations::list: Needs::Right(Permission::IntegrationsRead);
    "/integrations/{id}" =>
        GET integrations::show: Needs::Right(Permission::IntegrationsRead),
        PATCH integrations::update: Needs::Right(Permission::IntegrationsWrite),
        DELETE integrations::delete: Needs::Right(Permission::IntegrationsWrite);
    "/integrations/{id}/disable" => POST integrations::disable: Needs::Right(Permission::IntegrationsWrite);
    "/integrations/{id}/enable" => POST integrations::enable: Needs::Right(Permission::IntegrationsWrite);
    "/integrations/{id}/rotate-key" => POST integrations::rotate_key: Needs::Right(Permission::IntegrationsWrite);
    "/subscriptions" =>
        POST subscriptions::create: Needs::Right(Permission::SubscriptionsWrite),
        GET subscriptions::list: Needs::Right(Permission::SubscriptionsRead);
    "/subscriptions/{id}" =>
        GET subscriptions::show: Needs::Right(Permission::SubscriptionsRead),
        PATCH subscriptions::update: Needs::Right(Permission::SubscriptionsWrite),
        DELETE subscriptions::delete: Needs::Right(Permission::SubscriptionsWrite);
    "/subscriptions/{id}/test" => POST subscriptions::trial::test: Needs::Right(Permission::SubscriptionsWrite);
    "/subscriptions/{id}/listen" => GET listen::listen: Needs::Right(Permission::SubscriptionsWrite);
    "/subscriptions/{id}/listen/{exchange}" => POST listen::answer: Needs::Right(Permission::SubscriptionsWrite);
    "/subscriptions/{id}/pause" => POST subscriptions::pause: Needs::Right(Permission::SubscriptionsWrite);
    "/subscriptions/{id}/rotate-secret" => POST subscriptions::rotation::rotate_secret: Needs::Right(Permission::SubscriptionsWrite);
    "/subscriptions/{id}/replay" => POST tasks::replay: Needs::Right(Permission::DeliveriesWrite);
    "/subscriptions/{id}/resume" => POST subscriptions::resume: Needs::Right(Permission::SubscriptionsWrite);
    "/events" => GET events::list: Needs::Right(Permission::EventsRead);
    "/events/{uuid}" => GET events::show: Needs::Right(Permission::EventsRead);
    "/events/{uuid}/explain" => GET explain::explain: Needs::Right(Permission::EventsRead);
    "/events/{uuid}/replay" => POST steering::replay: Needs::Right(Permission::DeliveriesWrite);
    "/deliveries" => GET deliveries::list: Needs::Right(Permission::EventsRead);
    "/deliveries/retry" => POST tasks::retry: Needs::Right(Permission::DeliveriesWrite);
    "/deliveries/cancel" => POST tasks::cancel: Needs::Right(Permission::DeliveriesWrite);
    "/deliveries/{id}" => GET deliveries::show: Needs::Right(Permission::EventsRead);
    "/deliveries/{id}/retry" => POST steering::retry: Needs::Right(Permission::DeliveriesWrite);
    "/deliveries/{id}/cancel" => POST steering::cancel: Needs::Right(Permission::DeliveriesWrite);
    "/tasks" => GET tasks::list: Needs::Right(Permission::EventsRead);
    "/tasks/{id}" =>
        GET tasks::show: Needs::Right(Permission::EventsRead),
        DELETE tasks::stop: Needs::Right(Permission::DeliveriesWrite);
    "/tail" => GET tail::tail: Needs::Right(Permission::EventsRead);
    "/stats" => GET stats::show: Needs::Right(Permission::MetricsRead);
}

/// What of management counts as traffic: what a receiver answers through the connection that it holds.
const TRAFFIC: &[&str] = &["/v1/subscriptions/{id}/listen/{exchange}"];

/// In which windows a request counts that is no event, by the path of its route.
pub fn class_of(path: Option<&str>) -> Class {
    if path.is_some_and(|path| TRAFFIC.contains(&path)) {
        Class::Ingest
    } else {
        Class::Manage
    }
}

routes! {
    /// What has no key and no place under `/v1`: the local socket's alone.
    LOCAL, local_routes, "/local":
    "/accounts" =>
        POST accounts::create: Needs::LocalSocket,
        GET accounts::list: Needs::LocalSocket;
    "/accounts/{id}" => DELETE accounts::delete: Needs::LocalSocket;
    "/accounts/{id}/suspend" => POST accounts::suspend: Needs::LocalSocket;
    "/accounts/{id}/resume" => POST accounts::resume: Needs::LocalSocket;
    "/secrets/rotate" => POST secrets::rotate: Needs::LocalSocket;
    "/backup" => POST backup::make: Needs::LocalSocket;
}

routes! {
    /// What anybody may ask.
    OPEN, open_routes, "":
    "/health/live" => GET health::live: Needs::Nothing, HEAD health::live: Needs::Nothing;
    "/health/ready" => GET health::ready: Needs::Nothing, HEAD health::ready: Needs::Nothing;
    "/metrics" => GET metrics::show: Needs::Loopback(Permission::MetricsRead);
    "/openapi.json" => GET openapi::show: Needs::Nothing;
    "/docs" => GET openapi::page: Needs::Nothing;
}

/// Adds all routes to an application.
pub fn configure(app: &mut ServiceConfig) {
    app.service(web::scope("/api/webhooks").configure(ingest_routes));
    app.service(
        web::scope("/v1")
            .wrap(from_fn(gate::manage))
            .configure(manage_routes)
            .default_service(web::to(not_found)),
    );
    app.service(
        web::scope("/local")
            .wrap(from_fn(gate::local))
            .configure(local_routes)
            .default_service(web::to(not_found)),
    );
    app.configure(open_routes);
    app.default_service(web::to(not_found));
}

/// What is answered while the store is being recovered: that the relay lives, that it is not ready, and what
/// it can be asked once it is.
pub fn recovering(app: &mut ServiceConfig) {
    app.route("/health/live", web::get().to(health::live));
    app.route("/health/ready", web::get().to(health::recovering));
    app.route("/openapi.json", web::get().to(openapi::show));
    app.route("/docs", web::get().to(openapi::page));
    app.default_service(web::to(async |request: HttpRequest| {
        let reason = health::RECOVERING.to_owned();
        let error = ApiError::Unavailable {
            reason,
            retry_after_seconds: 1,
            counted_as: Refusal::Failed,
        };
        error.response(dialect(&request))
    }));
}

/// A path; a method that it does not have is answered in the dialect of its prefix.
fn at(path: &str, allowed: &'static [&'static str]) -> actix_web::Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| {
        let mut response = ApiError::MethodNotAllowed.response(dialect(&request));
        if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        std::future::ready(response)
    }))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    ApiError::NotFound("Route").response(dialect(&request))
}

fn dialect(request: &HttpRequest) -> Dialect {
    if request.path().starts_with("/api/webhooks") {
        Dialect::Ingest
    } else {
        Dialect::Manage
    }
}
