//! The bodies of refusals, one for each dialect.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::shapes;

/// Why a request to send events was not carried out.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IngestError)]
pub struct IngestBody {
    /// What went wrong, in a few words.
    #[schema(example = "Invalid API key")]
    pub(super) error: &'static str,
    /// What exactly.
    #[schema(example = "The provided API key is not valid or has been revoked")]
    pub(super) message: String,
}

/// Why a request was not carried out.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Error)]
pub struct ManageBody {
    /// What went wrong, in a word.
    #[schema(example = "UNAUTHORIZED")]
    pub(super) error: &'static str,
    /// What exactly; of a request that is wrong, with the name of its member.
    #[schema(example = "Invalid API key. Check that your key is correct and active.")]
    pub(super) message: String,
    #[schema(value_type = shapes::KeyTime)]
    pub(super) timestamp: String,
}
