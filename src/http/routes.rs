//! Every route, on one page.

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::error::{ApiError, Dialect};
use super::{account, deliveries, events, gate, health, ingest, integrations, keys, subscriptions};

/// Adds all routes to an application.
pub fn configure(app: &mut ServiceConfig) {
    app.service(
        web::scope("/api/webhooks")
            .service(at("/{integration_key}").route(web::post().to(ingest::one)))
            .service(at("/{integration_key}/batch").route(web::post().to(ingest::batch))),
    );
    app.service(
        web::scope("/v1")
            .wrap(from_fn(gate::manage))
            .service(at("/account").route(web::get().to(account::show)))
            .service(
                at("/account/api-keys")
                    .route(web::post().to(keys::create))
                    .route(web::get().to(keys::list)),
            )
            .service(
                at("/account/api-keys/{id}")
                    .route(web::get().to(keys::show))
                    .route(web::delete().to(keys::delete)),
            )
            .service(
                at("/integrations")
                    .route(web::post().to(integrations::create))
                    .route(web::get().to(integrations::list)),
            )
            .service(
                at("/integrations/{id}")
                    .route(web::get().to(integrations::show))
                    .route(web::delete().to(integrations::delete)),
            )
            .service(
                at("/subscriptions")
                    .route(web::post().to(subscriptions::create))
                    .route(web::get().to(subscriptions::list)),
            )
            .service(
                at("/subscriptions/{id}")
                    .route(web::get().to(subscriptions::show))
                    .route(web::delete().to(subscriptions::delete)),
            )
            .service(at("/subscriptions/{id}/pause").route(web::post().to(subscriptions::pause)))
            .service(at("/subscriptions/{id}/resume").route(web::post().to(subscriptions::resume)))
            .service(at("/events").route(web::get().to(events::list)))
            .service(at("/events/{uuid}").route(web::get().to(events::show)))
            .service(at("/deliveries").route(web::get().to(deliveries::list)))
            .service(at("/deliveries/{id}").route(web::get().to(deliveries::show)))
            .default_service(web::to(not_found)),
    );
    app.route("/health/live", web::get().to(health::live));
    app.route("/health/ready", web::get().to(health::ready));
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
fn at(path: &str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(method_not_allowed))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    ApiError::NotFound("Route").response(dialect(&request))
}

async fn method_not_allowed(request: HttpRequest) -> HttpResponse {
    ApiError::MethodNotAllowed.response(dialect(&request))
}

fn dialect(request: &HttpRequest) -> Dialect {
    if request.path().starts_with("/api/webhooks") {
        Dialect::Ingest
    } else {
        Dialect::Manage
    }
}
