//! `/openapi.json` and `/docs`: the interface, described by the program itself.
//!
//! Handlers say what is theirs: what they do, what they read and what they answer (`api`). What is common
//! to them, errors and limits, permissions and headers, is added from the table of routes (`finish`), and
//! so is what the relay sends itself (`outgoing`). The document is made once and then kept.

mod api;
mod components;
mod errors;
mod examples;
mod finish;
mod outgoing;
mod page;
pub mod shapes;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_SECURITY_POLICY;
use serde_json::Value;
use utoipa::OpenApi as _;

/// Nothing is loaded from anywhere, and nothing runs.
const NO_FOREIGN: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let described = serde_json::to_value(api::Api::openapi());
    described.map_or(Value::Null, finish::finish)
});

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let pretty = serde_json::to_string_pretty(&*DOCUMENT);
    pretty.map(|text| text + "\n").unwrap_or_default()
});

static PAGE: LazyLock<String> = LazyLock::new(|| page::render(&DOCUMENT));

/// The document.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The document as it is published.
pub fn text() -> &'static str {
    &TEXT
}

/// This document
///
/// `OpenAPI` 3.1, as `postrider openapi` prints it.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi",
    responses((
        status = 200, description = "The description of the interface.", body = Object,
        example = json!({ "openapi": "3.1.0" }),
    )),
)]
pub async fn show() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(text())
}

/// This document for people
///
/// One page, which loads nothing from anywhere.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs",
    responses((
        status = 200, description = "A page.", body = String, content_type = "text/html",
        example = "<!doctype html>",
    )),
)]
pub async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, NO_FOREIGN))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("referrer-policy", "no-referrer"))
        .body(PAGE.as_str())
}

#[cfg(test)]
mod tests;
