//! What the errors of the floors below are to a caller. Where a caller can do nothing about one, it is internal: logged
//! where it becomes so, and not told.

use super::{ApiError, OVERLOAD_RETRY_SECONDS};
use crate::actors::Unavailable;
use crate::actors::directory::ChangeError;
use crate::actors::dispatch::DispatchError;
use crate::actors::metrics::Refusal;
use crate::actors::queue::QueueError;
use crate::actors::samples::SampleError;
use crate::actors::vault::VaultError;
use crate::domain::batch::BatchError;
use crate::domain::cloudevents::CloudEventError;
use crate::domain::envelope::EnvelopeError;
use crate::store::error::StoreError;

/// How long a caller is asked to wait when the disk is full.
const NO_SPACE_RETRY_SECONDS: u64 = 30;

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::KeyInFlight => Self::Conflict(error.to_string()),
            QueueError::KeyReused => Self::Invalid(error.to_string()),
            QueueError::Overloaded => Self::Overloaded,
            QueueError::NoSpace => {
                Self::unavailable(&error, NO_SPACE_RETRY_SECONDS, Refusal::NoSpace)
            }
            QueueError::Unavailable => {
                Self::unavailable(&error, OVERLOAD_RETRY_SECONDS, Refusal::Failed)
            }
        }
    }
}

impl From<SampleError> for ApiError {
    fn from(error: SampleError) -> Self {
        match error {
            SampleError::Unavailable(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        let counted_as = match error {
            Unavailable::Busy => Refusal::Overloaded,
            Unavailable::Stopped => Refusal::Failed,
        };
        Self::unavailable(&error, OVERLOAD_RETRY_SECONDS, counted_as)
    }
}

impl From<ChangeError<Self>> for ApiError {
    fn from(error: ChangeError<Self>) -> Self {
        match error {
            ChangeError::Refused(refusal) => refusal,
            ChangeError::Queue(error) => error.into(),
            ChangeError::Unavailable(error) => error.into(),
        }
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        Self::internal(&error)
    }
}

impl From<DispatchError> for ApiError {
    fn from(error: DispatchError) -> Self {
        match error {
            DispatchError::Unavailable(error) => error.into(),
            DispatchError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<getrandom::Error> for ApiError {
    fn from(error: getrandom::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<EnvelopeError> for ApiError {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Malformed(_) => Self::Malformed(error.to_string()),
            _ => Self::Invalid(error.to_string()),
        }
    }
}

impl From<CloudEventError> for ApiError {
    fn from(error: CloudEventError) -> Self {
        match error {
            CloudEventError::Malformed(_) => Self::Malformed(error.to_string()),
            CloudEventError::UnsupportedFormat { .. } => Self::MediaType(error.to_string()),
            _ => Self::Invalid(error.to_string()),
        }
    }
}

/// What is wrong with a batch is told like what is wrong with an event, its index in front.
impl<E: Into<ApiError> + std::error::Error + 'static> From<BatchError<E>> for ApiError {
    fn from(error: BatchError<E>) -> Self {
        let message = error.to_string();
        match error {
            BatchError::Body(source) | BatchError::Event { source, .. } => match source.into() {
                Self::Malformed(_) => Self::Malformed(message),
                _ => Self::Invalid(message),
            },
            BatchError::TooLarge { index, limit } => {
                Self::too_large(&format!("Event at index {index}"), limit)
            }
            BatchError::TooMany { .. } | BatchError::Empty => Self::Invalid(message),
        }
    }
}
