//! Every route, on one page.

use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::error::{ApiError, Dialect};
use super::{
    account, backup, deliveries, events, gate, health, ingest, integrations, keys, subscriptions,
};

/// Adds all routes to an application.
pub fn configure(app: &mut ServiceConfig) {
    app.service(
        web::scope("/api/webhooks")
            .service(at("/{integration_key}", "POST").route(web::post().to(ingest::one)))
            .service(at("/{integration_key}/batch", "POST").route(web::post().to(ingest::batch))),
    );
    app.service(
        web::scope("/v1")
            .wrap(from_fn(gate::manage))
            .service(at("/account", "GET").route(web::get().to(account::show)))
            .service(
                at("/account/api-keys", "POST, GET")
                    .route(web::post().to(keys::create))
                    .route(web::get().to(keys::list)),
            )
            .service(
                at("/account/api-keys/{id}", "GET, DELETE")
                    .route(web::get().to(keys::show))
                    .route(web::delete().to(keys::delete)),
            )
            .service(
                at("/integrations", "POST, GET")
                    .route(web::post().to(integrations::create))
                    .route(web::get().to(integrations::list)),
            )
            .service(
                at("/integrations/{id}", "GET, DELETE")
                    .route(web::get().to(integrations::show))
                    .route(web::delete().to(integrations::delete)),
            )
            .service(
                at("/subscriptions", "POST, GET")
                    .route(web::post().to(subscriptions::create))
                    .route(web::get().to(subscriptions::list)),
            )
            .service(
                at("/subscriptions/{id}", "GET, DELETE")
                    .route(web::get().to(subscriptions::show))
                    .route(web::delete().to(subscriptions::delete)),
            )
            .service(
                at("/subscriptions/{id}/pause", "POST").route(web::post().to(subscriptions::pause)),
            )
            .service(
                at("/subscriptions/{id}/resume", "POST")
                    .route(web::post().to(subscriptions::resume)),
            )
            .service(at("/events", "GET").route(web::get().to(events::list)))
            .service(at("/events/{uuid}", "GET").route(web::get().to(events::show)))
            .service(at("/deliveries", "GET").route(web::get().to(deliveries::list)))
            .service(at("/deliveries/{id}", "GET").route(web::get().to(deliveries::show)))
            .default_service(web::to(not_found)),
    );
    // What has no key, no account and no place in the table of `/v1`: the local socket's alone.
    app.service(
        web::scope("/local")
            .wrap(from_fn(gate::local))
            .service(at("/backup", "POST").route(web::post().to(backup::make)))
            .default_service(web::to(not_found)),
    );
    app.service(
        at("/health/live", "GET, HEAD")
            .route(web::get().to(health::live))
            .route(web::head().to(health::live)),
    );
    app.service(
        at("/health/ready", "GET, HEAD")
            .route(web::get().to(health::ready))
            .route(web::head().to(health::ready)),
    );
    app.default_service(web::to(not_found));
}

/// What is answered while the store is being recovered: that the relay lives, and that it is not ready.
pub fn recovering(app: &mut ServiceConfig) {
    app.route("/health/live", web::get().to(health::live));
    app.route("/health/ready", web::get().to(health::recovering));
    app.default_service(web::to(async |request: HttpRequest| {
        let reason = health::RECOVERING.to_owned();
        let error = ApiError::Unavailable {
            reason,
            retry_after_seconds: 1,
        };
        error.response(dialect(&request))
    }));
}

/// A path; a method that it does not have is answered in the dialect of its prefix.
fn at(path: &str, allowed: &'static str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| {
        let mut response = ApiError::MethodNotAllowed.response(dialect(&request));
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allowed));
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
