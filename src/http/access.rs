//! A line in the log for each request, target `access`.
//!
//! It tells the route and never the path: paths hold integration keys, and whatever else somebody mistook
//! for one. Nothing of headers, queries or bodies is in it.

use std::fmt;
use std::time::Instant;

use actix_web::HttpMessage;
use actix_web::HttpRequest;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use log::{Level, log_enabled};

use super::{Relay, client_address};
use crate::actors::auth::Principal;
use crate::domain::audit::Doer;
use crate::domain::ids::AccountId;

/// The target of these lines.
const TARGET: &str = "access";

/// Who asked, for the line.
#[derive(Debug, Clone, Copy)]
struct Asker {
    account: AccountId,
    by: Doer,
}

/// Whether anybody wants these lines.
fn is_wanted() -> bool {
    log_enabled!(target: TARGET, Level::Info)
}

/// Notes who asked.
pub fn note(request: &HttpRequest, who: &Principal) {
    if is_wanted() {
        request.extensions_mut().insert(Asker {
            account: who.account(),
            by: who.doer(),
        });
    }
}

/// Answers, and writes the line.
pub async fn log(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if !is_wanted() {
        return next.call(request).await;
    }
    let began = Instant::now();
    let response = next.call(request).await?;
    write(&response, began);
    Ok(response)
}

/// Nothing of it is made up before the line is known to be written: most are left out under load.
fn write<B>(response: &ServiceResponse<B>, began: Instant) {
    let request = response.request();
    let asker = request.extensions().get::<Asker>().copied();
    // Whoever asks for more gets all of them; at `info` there are only so many a second.
    let level = if log_enabled!(target: TARGET, Level::Debug) {
        Level::Debug
    } else {
        Level::Info
    };
    log::log!(
        target: TARGET, level,
        method:% = request.method(),
        route:% = Route(request),
        status = response.status().as_u16(),
        duration_ms = duration_ms(began),
        account:% = Known(asker.map(|it| it.account)),
        by:% = Known(asker.map(|it| it.by)),
        client:% = Client(request);
        "request"
    );
}

/// Nothing, where it is not known; a field that says nothing is not written.
struct Known<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |it| it.fmt(f))
    }
}

/// The pattern of a request's route.
struct Route<'a>(&'a HttpRequest);

impl fmt::Display for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Known(self.0.match_pattern()).fmt(f)
    }
}

/// Where a request comes from.
struct Client<'a>(&'a HttpRequest);

impl fmt::Display for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relay = self.0.app_data::<Data<Relay>>();
        let address = relay.and_then(|it| client_address::of(self.0, &it.trusted_proxies));
        Known(address).fmt(f)
    }
}

/// To the microsecond.
fn duration_ms(began: Instant) -> f64 {
    let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}
