//! Endpoints joined from EndpointSlices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seaway_cluster::api;
use seaway_cluster::{EndpointSlice, ObjectName, SliceIndex, Snapshot, convert};
use serde::Deserialize;

use super::{Verdict, family, port_name, weakness};

/// The node that the cases call local.
const NODE: &str = "n1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SliceCase {
    #[serde(rename = "id")]
    _id: String,
    family: String,
    slices: Vec<api::EndpointSlice>,
    #[serde(default)]
    steps: Vec<Step>,
    watched: bool,
    api_valid: bool,
    #[serde(default)]
    crashes: bool,
    pub(super) expected: Option<Endpoints>,
    #[serde(default)]
    pub(super) local_ready: Option<LocalReady>,
    #[serde(default)]
    expected_any: Vec<Outcome>,
    #[serde(default, rename = "note")]
    _note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    op: Op,
    slice: api::EndpointSlice,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Apply,
    Delete,
}

type Endpoints = BTreeMap<String, Vec<Entry>>;
type LocalReady = BTreeMap<String, usize>;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    pub(super) expected: Endpoints,
    pub(super) local_ready: LocalReady,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    protocol: String,
    pub(super) address: String,
    pub(super) ready: bool,
    serving: bool,
    terminating: bool,
    pub(super) local: bool,
    zone_hints: BTreeSet<String>,
    node_hints: BTreeSet<String>,
}

pub(super) fn check(case: &SliceCase) -> Verdict {
    // The expected outcome is that of the tracker alone, which takes headless slices as well; a
    // whole proxy never sees them.
    let tracker = |slice| EndpointSlice { headless: false, ..slice };
    let found = joined(case, &case.objects(), tracker);
    let seen_by_a_proxy = joined(case, &case.objects(), |slice| slice);
    if (seen_by_a_proxy == found) != (case.watched || found.expected.is_empty()) {
        return Verdict::Failed(format!("watched is {}", case.watched));
    }
    let same = match (&case.expected, &case.local_ready) {
        (Some(expected), Some(local_ready)) => {
            found.expected == in_order(expected) && found.local_ready == *local_ready
        }
        (None, None) if case.crashes => true,
        _ => case
            .expected_any
            .iter()
            .any(|any| found.expected == in_order(&any.expected) && found.local_ready == any.local_ready),
    };
    let refused = !case.api_valid && found.expected.is_empty() && !case.moves_between_services();
    if same || refused {
        return Verdict::Passed;
    }
    weakness::judge(case, &found, &joined(case, &case.left(), tracker))
}

impl SliceCase {
    /// Whether a slice comes under another Service's name, or none, than it was under before.
    pub(super) fn moves_between_services(&self) -> bool {
        let mut seen: BTreeMap<ObjectName, Option<&String>> = BTreeMap::new();
        self.objects().iter().any(|(_, slice)| {
            let label = label_of(slice);
            seen.insert(name_of(slice), label).is_some_and(|before| before != label)
        })
    }

    /// Every object that is applied or deleted, in order.
    fn objects(&self) -> Vec<(&Op, &api::EndpointSlice)> {
        let slices = self.slices.iter().map(|slice| (&Op::Apply, slice));
        slices.chain(self.steps.iter().map(|step| (&step.op, &step.slice))).collect()
    }

    /// The slices that are there in the end, each in its last version.
    fn left(&self) -> Vec<(&Op, &api::EndpointSlice)> {
        let mut left = BTreeMap::new();
        for (op, slice) in self.objects() {
            match op {
                Op::Apply => _ = left.insert(name_of(slice), (op, slice)),
                Op::Delete => _ = left.remove(&name_of(slice)),
            }
        }
        left.into_values().collect()
    }
}

fn name_of(slice: &api::EndpointSlice) -> ObjectName {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ObjectName::new(text(&slice.metadata.namespace), text(&slice.metadata.name))
}

fn label_of(slice: &api::EndpointSlice) -> Option<&String> {
    slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")
}

/// Lists are compared as sets.
fn in_order(expected: &Endpoints) -> Endpoints {
    let mut lists = expected.clone();
    lists.values_mut().for_each(|entries| entries.sort());
    lists
}

/// What objects come to, one after the other.
fn joined(
    case: &SliceCase,
    objects: &[(&Op, &api::EndpointSlice)],
    view: impl Fn(EndpointSlice) -> EndpointSlice,
) -> Outcome {
    let mut index = SliceIndex::default();
    for (op, object) in objects {
        match (op, convert::endpoint_slice(object, &mut Vec::new())) {
            (Op::Apply, Ok(Some(slice))) => index.insert(Arc::new(view(slice))),
            (Op::Apply | Op::Delete, _) => _ = index.remove(&name_of(object)),
        }
    }
    let snapshot = Snapshot { slices: index.into_slices(), ..Snapshot::default() };
    let family = family(&case.family);
    let mut outcome = Outcome { expected: BTreeMap::new(), local_ready: BTreeMap::new() };
    for service in snapshot.slices.keys() {
        for (key, entries) in snapshot.endpoints_by_port(service, family) {
            let entries = entries.iter().map(|joined| Entry {
                protocol: key.protocol.to_string(),
                address: joined.address.to_string(),
                ready: joined.endpoint.ready,
                serving: joined.endpoint.serving,
                terminating: joined.endpoint.terminating,
                local: joined.endpoint.node() == Some(NODE),
                zone_hints: joined.endpoint.hints().zones.iter().map(ToString::to_string).collect(),
                node_hints: joined.endpoint.hints().nodes.iter().map(ToString::to_string).collect(),
            });
            outcome.expected.entry(port_name(service, key.name)).or_default().extend(entries);
        }
        let ready = snapshot.local_ready(service, family, NODE);
        if ready > 0 {
            outcome.local_ready.insert(service.to_string(), ready);
        }
    }
    outcome.expected.values_mut().for_each(|entries| entries.sort());
    outcome
}
