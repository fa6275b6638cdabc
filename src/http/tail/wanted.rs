//! What a reader asked for.

use serde::Deserialize;
use utoipa::IntoParams;

use super::steps::status;
use crate::domain::delivery::{Attempt, Status};
use crate::domain::event::EventMeta;
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{IntegrationId, SubscriptionId};
use crate::http::error::ApiError;
use crate::http::openapi::shapes;
use crate::http::search;

/// The longest text that can be looked for.
pub const MAX_TEXT_BYTES: usize = 256;

/// As it is asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Query {
    /// Only what is about events of these types.
    #[param(value_type = Option<shapes::TypePattern>)]
    r#type: Option<String>,
    /// Only what is about events that came in by this integration.
    #[param(value_type = Option<shapes::IntegrationId>)]
    integration_id: Option<String>,
    /// Only attempts and ends of deliveries to this subscription.
    #[param(value_type = Option<shapes::SubscriptionId>)]
    subscription_id: Option<String>,
    /// Only attempts and ends after which a delivery stands so.
    #[param(value_type = Option<shapes::TriedStatus>)]
    status: Option<Status>,
    /// Only what this text is in, or whose event's body it is in.
    #[param(value_type = Option<shapes::SearchText>)]
    text: Option<String>,
    /// From when on.
    #[param(value_type = Option<shapes::Time>)]
    since: Option<String>,
    /// Whether to go on with what happens from now on; yes, if nothing is said.
    pub follow: Option<bool>,
}

/// As it is understood.
#[derive(Debug, Default)]
pub struct Wanted {
    event_type: Option<TypePattern>,
    integration: Option<IntegrationId>,
    subscription: Option<SubscriptionId>,
    status: Option<Status>,
    text: Option<String>,
    /// From when on, in milliseconds of Unix time; 0 for all there is.
    pub since_ms: u64,
}

impl Wanted {
    /// Reads it. A mistake names its parameter.
    pub fn parse(query: &Query) -> Result<Self, ApiError> {
        let invalid = |name: &'static str| {
            move |error: &dyn std::fmt::Display| ApiError::Invalid(format!("{name}: {error}"))
        };
        if query.status == Some(Status::Pending) {
            let message = "status must be delivered, retrying, dead or cancelled";
            return Err(ApiError::Invalid(message.to_owned()));
        }
        let text = query.text.clone().filter(|text| !text.is_empty());
        if text
            .as_ref()
            .is_some_and(|text| text.len() > MAX_TEXT_BYTES)
        {
            let message = format!("text must be at most {MAX_TEXT_BYTES} bytes");
            return Err(ApiError::Invalid(message));
        }
        let event_type = query.r#type.as_deref().map(str::parse).transpose();
        let integration = query.integration_id.as_deref().map(str::parse).transpose();
        let subscription = query.subscription_id.as_deref().map(str::parse).transpose();
        Ok(Self {
            event_type: event_type.map_err(|error| invalid("type")(&error))?,
            integration: integration.map_err(|error| invalid("integration_id")(&error))?,
            subscription: subscription.map_err(|error| invalid("subscription_id")(&error))?,
            status: query.status,
            text,
            since_ms: search::moment("since", query.since.as_deref(), 0)?,
        })
    }

    /// Whether that an event was accepted is wanted. No subscription got it yet, and it stands nowhere.
    pub fn accepted(&self, event: &EventMeta) -> bool {
        self.subscription.is_none()
            && self.status.is_none()
            && event.accepted_at_ms >= self.since_ms
            && self.event(event)
    }

    /// Whether an attempt is wanted, as far as that can be said without its event.
    pub fn attempt(&self, attempt: &Attempt) -> bool {
        self.subscription
            .is_none_or(|only| only == attempt.subscription)
            && self
                .status
                .is_none_or(|only| only == status(attempt.outcome))
            && attempt.started_at_ms + u64::from(attempt.duration_ms) >= self.since_ms
    }

    /// Whether an attempt is wanted by its event, which may not be there any more.
    pub fn event_of_attempt(&self, event: Option<&EventMeta>) -> bool {
        match event {
            Some(event) => self.event(event),
            None => self.event_type.is_none() && self.integration.is_none(),
        }
    }

    fn event(&self, event: &EventMeta) -> bool {
        let of_type = self.event_type.as_ref();
        of_type.is_none_or(|pattern| pattern.matches(&event.event_type))
            && self
                .integration
                .is_none_or(|only| only == event.integration)
    }

    /// Whether the text that is looked for is in one of these, if any is.
    pub fn text_in(&self, texts: &[&[u8]]) -> bool {
        let Some(wanted) = &self.text else {
            return true;
        };
        let wanted = wanted.as_bytes();
        let mut texts = texts.iter();
        texts.any(|text| text.windows(wanted.len()).any(|window| window == wanted))
    }
}
