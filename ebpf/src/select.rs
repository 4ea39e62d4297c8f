//! Which endpoint a client gets.

use seaway_common::{
    AffinityKey, AffinityValue, Algorithm, BACKEND_IN_CLUSTER, BACKEND_IN_LOCAL, BackendValue, FlowKey,
    Reason, SERVICE_SOMEWHERE, SERVICE_STAND_IN, ServiceValue, Slice, hash_client, hash_flow,
};

use crate::Tables;

/// Endpoints looked at for the one with the fewest connections. A longer list is searched from a
/// random place, which comes close: the best of a few at random is seldom much worse than the best.
const LEAST_OF: u32 = 8;

/// The endpoint of a new flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// Backend id.
    pub(crate) id: u32,
    /// The backend.
    pub(crate) backend: BackendValue,
}

/// Chooses among a service's endpoints for the client that `key` names as its source; `inside`
/// says that it is a pod or a node of the cluster.
///
/// A backend that was taken away since the service entry was read keeps its address for a while,
/// so it is chosen as if it had been chosen a moment earlier.
///
/// # Errors
/// [`Reason::NoEndpoint`] or [`Reason::NoLocalEndpoint`] where there is none;
/// [`Reason::Inconsistent`] where a slot leads to a hole or to another service's backend.
#[inline(never)]
pub(crate) fn select<T: Tables>(
    service: &ServiceValue,
    key: &FlowKey,
    inside: bool,
    tables: &T,
    choice: &mut Choice,
) -> Result<(), Reason> {
    let local = if service.has(SERVICE_STAND_IN) { tables.stands_in() } else { service.uses_local(inside) };
    let (slice, table) =
        if local { (service.local, service.local_table) } else { (service.cluster, service.cluster_table) };
    if slice.len == 0 {
        let somewhere = service.flags & SERVICE_SOMEWHERE != 0;
        return Err(if somewhere { Reason::NoLocalEndpoint } else { Reason::NoEndpoint });
    }
    if service.affinity_s == 0 {
        return pick(service, key, inside, (slice, table), tables, choice);
    }
    let binding = AffinityKey { client: key.src, service: service.service, _pad: 0 };
    let now = tables.now();
    if let Some(bound) = tables.affinity(&binding) {
        let young =
            now.saturating_sub(bound.last_used) <= u64::from(service.affinity_s) * tables.ticks_per_s();
        let member = if local { BACKEND_IN_LOCAL } else { BACKEND_IN_CLUSTER };
        if young
            && let Some(backend) = tables.backend(bound.backend)
            && backend.service == service.service
            && backend.flags & member != 0
        {
            tables.put_affinity(&binding, &AffinityValue { last_used: now, ..bound });
            *choice = Choice { id: bound.backend, backend };
            return Ok(());
        }
    }
    pick(service, key, inside, (slice, table), tables, choice)?;
    tables.put_affinity(&binding, &AffinityValue { last_used: now, backend: choice.id, _pad: 0 });
    Ok(())
}

/// Picks from a list that has endpoints.
#[inline(always)]
fn pick<T: Tables>(
    service: &ServiceValue,
    key: &FlowKey,
    inside: bool,
    (slice, table): (Slice, Slice),
    tables: &T,
    choice: &mut Choice,
) -> Result<(), Reason> {
    let algorithm = service.algorithm(inside);
    let slot = match algorithm {
        Algorithm::Maglev if table.len != 0 => table.choose(hash_flow(key)),
        Algorithm::SourceHash if table.len != 0 => table.choose(hash_client(&key.src)),
        Algorithm::RoundRobin => {
            Some(slice.offset + (tables.turn(service.service) % u64::from(slice.len)) as u32)
        }
        Algorithm::LeastConnections => least_connected(&slice, tables),
        _ => slice.choose(tables.random()),
    };
    let id = slot.and_then(|slot| tables.slot(slot)).ok_or(Reason::Inconsistent)?;
    let backend = tables.backend(id).ok_or(Reason::Inconsistent)?;
    if backend.service != service.service || backend.port.raw() == 0 {
        return Err(Reason::Inconsistent);
    }
    *choice = Choice { id, backend };
    Ok(())
}

/// The slot of the endpoint with the fewest open connections.
#[inline(always)]
fn least_connected<T: Tables>(slice: &Slice, tables: &T) -> Option<u32> {
    let start = slice.choose(tables.random())?;
    // A number, not an option: kernels before 6.3 refuse to read half of one that was never written.
    let mut best = start;
    let mut fewest = u64::MAX;
    let mut step = 0;
    while step < LEAST_OF && step < slice.len {
        let beyond = start - slice.offset + step;
        let slot = slice.offset + if beyond >= slice.len { beyond - slice.len } else { beyond };
        let open = tables.connections(tables.slot(slot)?);
        if open < fewest {
            fewest = open;
            best = slot;
        }
        step += 1;
    }
    Some(best)
}
