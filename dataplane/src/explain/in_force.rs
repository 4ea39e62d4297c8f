//! What the maps say of a frontend: whether what was decided is in force, and what a client gets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use seaway_common::{
    Algorithm, BackendValue, SERVICE_STAND_IN, ServiceKey, ServiceValue, Slice, hash_client,
};
use serde::Serialize;

use crate::maps::{Error, Maps};
use crate::preferences::name_of;

/// A frontend as the programs see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// Id of the service port.
    pub service: u32,
    /// How an endpoint is picked.
    pub algorithm: String,
    /// The endpoints that one is picked from.
    pub candidates: Vec<SocketAddr>,
    /// Places of the consistent table that is looked at; absent where none is.
    pub table: Option<u32>,
    /// The endpoint that this client gets each time, where that follows from its address.
    pub picked: Option<SocketAddr>,
}

/// Looks a frontend up in the maps, for a client inside or outside of the cluster. `stands_in` is what
/// the map `STAND_IN` says at this moment.
///
/// # Errors
/// The first map operation that fails.
pub fn in_force(
    maps: &impl Maps,
    frontend: &ServiceKey,
    client: IpAddr,
    inside: bool,
    stands_in: bool,
) -> Result<Option<InForce>, Error> {
    let found = maps.frontends()?.into_iter().find(|(key, _)| key == frontend);
    let Some((_, value)) = found else { return Ok(None) };
    let (list, table) = lists(&value, inside, stands_in);
    let backends: BTreeMap<u32, BackendValue> = maps.backends()?.into_iter().collect();
    let address = |id: &u32| {
        let found: &BackendValue = backends.get(id)?;
        Some(SocketAddr::new(found.addr.into(), found.port.get()))
    };
    let algorithm = value.algorithm(inside);
    let has_table = algorithm.needs_table() && table.len != 0;
    let picked = match algorithm {
        _ if value.affinity_s != 0 => None,
        Algorithm::SourceHash if has_table => {
            let slot = table.choose(hash_client(&client.into()));
            let ids = slot.map(|offset| maps.slots(Slice { offset, len: 1 })).transpose()?;
            ids.and_then(|ids| address(ids.first()?))
        }
        _ => None,
    };
    let named = name_of(algorithm);
    Ok(Some(InForce {
        service: value.service,
        algorithm: match algorithm.needs_table() && !has_table && list.len > 1 {
            true => format!("random, since there is no table for {named}"),
            false => named.to_owned(),
        },
        candidates: maps.slots(list)?.iter().filter_map(address).collect(),
        table: has_table.then_some(table.len),
        picked,
    }))
}

/// The list and the table that such a client's endpoint is picked from.
fn lists(value: &ServiceValue, inside: bool, stands_in: bool) -> (Slice, Slice) {
    if if value.has(SERVICE_STAND_IN) { stands_in } else { value.uses_local(inside) } {
        (value.local, value.local_table)
    } else {
        (value.cluster, value.cluster_table)
    }
}
