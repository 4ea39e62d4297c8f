//! What a flow is: a schema's name and a distinguisher, and the hash of both.

use crate::request::Attributes;
use sha2::{Digest, Sha256};

/// How a schema splits its requests into flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distinguisher {
    /// One flow for all.
    #[default]
    None,
    /// One flow per user name.
    ByUser,
    /// One flow per namespace; requests without one share a flow.
    ByNamespace,
}

impl Distinguisher {
    /// The text that tells this request's flow from the others of its schema.
    #[must_use]
    pub fn of(self, attributes: &Attributes) -> &str {
        match self {
            Self::None => "",
            Self::ByUser => &attributes.user,
            Self::ByNamespace => &attributes.request.namespace,
        }
    }

    /// From the API's `distinguisherMethod.type`; anything unknown is [`Self::None`].
    #[must_use]
    pub fn from_api(kind: Option<&str>) -> Self {
        match kind {
            Some("ByUser") => Self::ByUser,
            Some("ByNamespace") => Self::ByNamespace,
            _ => Self::None,
        }
    }
}

/// Hash of a flow: the first 8 bytes, little-endian, of SHA-256(schema ++ 0 ++ distinguisher).
#[must_use]
pub fn hash(schema: &str, distinguisher: &str) -> u64 {
    finish(prefix(schema), distinguisher)
}

/// The hash state after a schema's name, kept so that only the distinguisher is added per request.
#[must_use]
pub(crate) fn prefix(schema: &str) -> Sha256 {
    Sha256::new().chain_update(schema.as_bytes()).chain_update([0])
}

pub(crate) fn finish(prefix: Sha256, distinguisher: &str) -> u64 {
    let digest = prefix.chain_update(distinguisher.as_bytes()).finalize();
    digest.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
