//! Namespaces.

use crate::api;

use super::subject::{Subject, shared_map};
use crate::{Kind, Namespace, Warning};

/// The facts of a Namespace.
///
/// # Errors
/// The warning for a Namespace without a name: it is left out.
pub fn namespace(object: &api::Namespace) -> Result<Namespace, Warning> {
    let (_, name) = Subject::cluster_wide(Kind::Namespace, &object.metadata)?;
    Ok(Namespace { name, labels: shared_map(object.metadata.labels.as_ref()) })
}
