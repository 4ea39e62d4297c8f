//! Fields that may be null where the API means "absent".

use serde::{Deserialize, Deserializer};

/// The value, or its type's default in place of null.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
