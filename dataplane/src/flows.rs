//! Choosing flow entries by what they belong to.

use std::collections::BTreeSet;

use seaway_common::{AffinityKey, AffinityValue, FlowKey, FlowValue, proto};

/// Keys of the UDP flows of these backends.
///
/// TCP flows of a removed endpoint run on: its connections end by themselves, and cutting them is
/// not a proxy's business. A UDP flow never ends while its client keeps sending.
pub fn of_backends(
    flows: impl IntoIterator<Item = (FlowKey, FlowValue)>,
    backends: &BTreeSet<u32>,
) -> Vec<FlowKey> {
    flows.into_iter().filter(|(key, value)| belongs(key, value, backends)).map(|(key, _)| key).collect()
}

/// Whether an entry is a UDP flow of one of these backends.
pub fn belongs(key: &FlowKey, value: &FlowValue, backends: &BTreeSet<u32>) -> bool {
    key.proto == proto::UDP && backends.contains(&value.backend)
}

/// Keys of the clients that are bound to these backends.
pub fn bound_to(
    bindings: impl IntoIterator<Item = (AffinityKey, AffinityValue)>,
    backends: &BTreeSet<u32>,
) -> Vec<AffinityKey> {
    bindings.into_iter().filter(|(_, value)| backends.contains(&value.backend)).map(|(key, _)| key).collect()
}
